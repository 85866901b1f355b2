#include "app/route.h"

#include "app/health.h"
#include "app/metrics.h"

struct resource {
    const char *path;
    const char *allow;
    void (*get)(struct exchange *x); /* HEAD too: the same answer without its body */
    void (*post)(struct exchange *x);
};

static const struct resource resources[] = {
    {"/users", "GET,HEAD,POST", handle_list, handle_create},
    {"/livez", "GET,HEAD", handle_livez, NULL},
    {"/readyz", "GET,HEAD", handle_readyz, NULL},
    {"/cluster", "GET,HEAD", handle_cluster, NULL},
    {"/metrics", "GET,HEAD", handle_metrics, NULL},
};
_Static_assert(ARRAY_LEN(resources) < COUNTS_ROUTES, "each is counted, and what is elsewhere");

const char *route_template(unsigned place)
{
    if (place == ROUTE_ELSEWHERE)
        return "elsewhere";
    return place <= ARRAY_LEN(resources) ? resources[place - 1].path : NULL;
}

static struct route route_to(void (*handler)(struct exchange *), const char *allow)
{
    enum route_kind kind = handler != NULL ? ROUTE_HANDLER : ROUTE_NOT_ALLOWED;
    return (struct route){.kind = kind, .handler = handler, .allow = allow};
}

static struct route route_in(const struct resource *resource, enum method method)
{
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
        return route_to(resource->get, resource->allow);
    case METHOD_POST:
        return route_to(resource->post, resource->allow);
    case METHOD_OPTIONS:
        return (struct route){.kind = ROUTE_OPTIONS, .allow = resource->allow};
    case METHOD_OTHER:
        return route_to(NULL, resource->allow);
    }
    UNREACHABLE();
}

struct route route_find(enum method method, struct bytes path)
{
    for (unsigned i = 0; i < ARRAY_LEN(resources); i++) {
        if (!bytes_equal(path, bytes_of_text(resources[i].path)))
            continue;
        struct route route = route_in(&resources[i], method);
        route.place = i + 1;
        return route;
    }
    return (struct route){.kind = ROUTE_NOT_FOUND, .place = ROUTE_ELSEWHERE};
}
