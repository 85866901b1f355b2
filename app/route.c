#include "app/route.h"

#include "app/documents.h"
#include "app/health.h"
#include "app/item.h"
#include "app/listing.h"
#include "app/metrics.h"
#include "app/problems.h"
#include "app/writes.h"

#include <string.h>

struct resource {
    const char *path;
    const char *allow;
    void (*get)(struct exchange *x); /* HEAD too: the same answer without its body */
    void (*post)(struct exchange *x);
    void (*put)(struct exchange *x);
    void (*patch)(struct exchange *x);
    void (*delete)(struct exchange *x);
};

/* The first are not found by their paths: what stands for {id} and {type} is judged. */
enum { ITEM, PROBLEM, BY_PATH };
static const struct resource resources[] = {
    [ITEM] = {"/users/{id}", "GET,HEAD,PUT,PATCH,DELETE", handle_item, NULL, handle_replace,
              handle_patch, handle_delete},
    [PROBLEM] = {"/problems/{type}", "GET,HEAD", handle_problem, NULL, NULL, NULL, NULL},
    {"/users", "GET,HEAD,POST", handle_list, handle_create, NULL, NULL, NULL},
    {"/livez", "GET,HEAD", handle_livez, NULL, NULL, NULL, NULL},
    {"/readyz", "GET,HEAD", handle_readyz, NULL, NULL, NULL, NULL},
    {"/cluster", "GET,HEAD", handle_cluster, NULL, NULL, NULL, NULL},
    {"/metrics", "GET,HEAD", handle_metrics, NULL, NULL, NULL, NULL},
    {"/openapi.json", "GET,HEAD", handle_openapi, NULL, NULL, NULL, NULL},
    {"/problems", "GET,HEAD", handle_problems, NULL, NULL, NULL, NULL},
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

struct route route_find(enum method method, struct bytes path)
{
    uint64_t id = 0;
    unsigned i = BY_PATH;
    enum problem problem;
    if (is_item(path, &id))
        i = ITEM;
    else if (problems_find(path, &problem))
        i = PROBLEM;
    else
        while (i < ARRAY_LEN(resources) && !bytes_equal(path, bytes_of_text(resources[i].path)))
            i++;
    if (i == ARRAY_LEN(resources))
        return (struct route){.kind = ROUTE_NOT_FOUND, .place = ROUTE_ELSEWHERE};
    struct route route = route_in(&resources[i], method);
    route.place = i + 1;
    route.user_id = id;
    return route;
}
