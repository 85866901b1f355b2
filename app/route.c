#include "app/route.h"

#include "app/documents.h"
#include "app/health.h"
#include "app/item.h"
#include "app/listing.h"
#include "app/metrics.h"
#include "app/problems.h"
#include "app/writes.h"

#include <string.h>

/* Who may ask. A resource that does not say so does not compile, and if it did it would be for
 * admins: what is forgotten is locked. */
enum door {
    FOR_ADMINS,
    FOR_ROLES, /* reading takes the role read, all else write */
    FOR_ALL,   /* no token */
};
_Static_assert(FOR_ADMINS == 0, "zero opens nothing");

struct resource {
    const char *path;
    enum door door;
    const char *allow;
    const char *parameters;          /* of the query of GET and HEAD; others have none */
    void (*get)(struct exchange *x); /* HEAD too: the same answer without its body */
    void (*post)(struct exchange *x);
    void (*put)(struct exchange *x);
    void (*patch)(struct exchange *x);
    void (*delete)(struct exchange *x);
};

/* The first are not found by their paths: what stands for {id} and {type} is judged. No row may
 * leave a column out, and none is written by the columns' names, with which it could. */
enum { ITEM, PROBLEM, BY_PATH };
#define READING "consistency min_index"
static const struct resource resources[] = {
    [ITEM] = {"/users/{id}", FOR_ROLES, "GET,HEAD,PUT,PATCH,DELETE", READING, handle_item, NULL,
              handle_replace, handle_patch, handle_delete},
    [PROBLEM] = {"/problems/{type}", FOR_ALL, "GET,HEAD", "", handle_problem, NULL, NULL, NULL,
                 NULL},
    {"/users", FOR_ROLES, "GET,HEAD,POST", READING " limit after name email", handle_list,
     handle_create, NULL, NULL, NULL},
    {"/livez", FOR_ALL, "GET,HEAD", "verbose exclude", handle_livez, NULL, NULL, NULL, NULL},
    {"/readyz", FOR_ALL, "GET,HEAD", "verbose exclude", handle_readyz, NULL, NULL, NULL, NULL},
    {"/cluster", FOR_ADMINS, "GET,HEAD", "", handle_cluster, NULL, NULL, NULL, NULL},
    {"/metrics", FOR_ADMINS, "GET,HEAD", "", handle_metrics, NULL, NULL, NULL, NULL},
    {"/openapi.json", FOR_ROLES, "GET,HEAD", "", handle_openapi, NULL, NULL, NULL, NULL},
    {"/problems", FOR_ALL, "GET,HEAD", "", handle_problems, NULL, NULL, NULL, NULL},
};
_Static_assert(ARRAY_LEN(resources) < COUNTS_ROUTES, "each is counted, and what is elsewhere");

const char *route_template(unsigned place)
{
    if (place == ROUTE_ELSEWHERE)
        return "elsewhere";
    return place <= ARRAY_LEN(resources) ? resources[place - 1].path : NULL;
}

static struct route route_to(const struct resource *resource, void (*handler)(struct exchange *))
{
    enum route_kind kind = handler != NULL ? ROUTE_HANDLER : ROUTE_NOT_ALLOWED;
    return (struct route){.kind = kind, .handler = handler, .allow = resource->allow};
}

static struct route route_in(const struct resource *resource, enum method method)
{
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
        return route_to(resource, resource->get);
    case METHOD_POST:
        return route_to(resource, resource->post);
    case METHOD_PUT:
        return route_to(resource, resource->put);
    case METHOD_PATCH:
        return route_to(resource, resource->patch);
    case METHOD_DELETE:
        return route_to(resource, resource->delete);
    case METHOD_OPTIONS:
        return (struct route){
            .kind = ROUTE_OPTIONS,
            .allow = resource->allow,
            .accept_patch = resource->patch != NULL ? MERGE_PATCH : NULL,
        };
    case METHOD_OTHER:
        return route_to(resource, NULL);
    }
    UNREACHABLE();
}

/* An id as it is written: decimal, not 0, no zero in front. */
static bool is_item(struct bytes path, uint64_t *ret_id)
{
    static const char items[] = "/users/";
    size_t begin = sizeof(items) - 1;
    uint64_t id = 0;
    if (path.len <= begin || path.len > begin + 16 || memcmp(path.at, items, begin) != 0 ||
        path.at[begin] == '0')
        return false;
    for (size_t i = begin; i < path.len; i++) {
        if (path.at[i] < '0' || path.at[i] > '9')
            return false;
        id = id * 10 + (uint64_t)(path.at[i] - '0');
    }
    *ret_id = id;
    return id <= USER_ID_MAX;
}

/* What stands under a resource of which there are many is as open as they are, also where there is
 * none; everything else is for roles. */
static enum door door_at(struct bytes path)
{
    for (unsigned i = 0; i < BY_PATH; i++) {
        const char *above = resources[i].path;
        size_t len = strcspn(above, "{");
        if (path.len >= len && memcmp(path.at, above, len) == 0)
            return resources[i].door;
    }
    return FOR_ROLES;
}

static enum token_role role_for(enum door door, enum method method)
{
    bool reads = method == METHOD_GET || method == METHOD_HEAD || method == METHOD_OPTIONS;
    switch (door) {
    case FOR_ADMINS:
        return TOKEN_ADMIN;
    case FOR_ROLES:
        return reads ? TOKEN_READ : TOKEN_WRITE;
    case FOR_ALL:
        return TOKEN_NONE;
    }
    UNREACHABLE();
}

/* Where it is among the resources; after the last when there is nothing at this path. */
static unsigned place_of(struct bytes path, uint64_t *ret_id)
{
    enum problem problem;
    if (is_item(path, ret_id))
        return ITEM;
    if (problems_find(path, &problem))
        return PROBLEM;
    unsigned i = BY_PATH;
    while (i < ARRAY_LEN(resources) && !bytes_equal(path, bytes_of_text(resources[i].path)))
        i++;
    return i;
}

struct route route_find(enum method method, struct bytes path)
{
    uint64_t id = 0;
    unsigned i = place_of(path, &id);
    bool there = i < ARRAY_LEN(resources);
    struct route route = {.kind = ROUTE_NOT_FOUND};
    if (there)
        route = route_in(&resources[i], method);
    route.role = role_for(there ? resources[i].door : door_at(path), method);
    route.place = there ? i + 1 : ROUTE_ELSEWHERE;
    route.user_id = id;
    bool reads = method == METHOD_GET || method == METHOD_HEAD || method == METHOD_OPTIONS;
    route.parameters = there && reads ? resources[i].parameters : "";
    return route;
}
