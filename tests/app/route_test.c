#include "app/route.h"

#include "app/documents.h"
#include "app/health.h"
#include "app/item.h"
#include "app/listing.h"
#include "app/metrics.h"
#include "app/problems.h"
#include "app/writes.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct route find(enum method method, const char *path)
{
    return route_find(method, bytes_of_text(path));
}

Test(route, leads_each_method_to_its_handler)
{
    cr_assert(find(METHOD_GET, "/users").handler == handle_list);
    cr_assert(find(METHOD_HEAD, "/users").handler == handle_list);
    cr_assert(find(METHOD_POST, "/users").handler == handle_create);
    cr_assert(eq(int, find(METHOD_PUT, "/users").kind, ROUTE_NOT_ALLOWED));
    cr_assert(eq(int, find(METHOD_DELETE, "/users").kind, ROUTE_NOT_ALLOWED));
    cr_assert(find(METHOD_GET, "/livez").handler == handle_livez);
    cr_assert(find(METHOD_GET, "/readyz").handler == handle_readyz);
    cr_assert(find(METHOD_HEAD, "/cluster").handler == handle_cluster);
    cr_assert(find(METHOD_GET, "/metrics").handler == handle_metrics);
    cr_assert(find(METHOD_GET, "/openapi.json").handler == handle_openapi);
    cr_assert(find(METHOD_GET, "/problems").handler == handle_problems);
    cr_assert(find(METHOD_HEAD, "/problems/email-taken").handler == handle_problem);
}

/* By which requests are counted: bounded, whatever is asked for. */
Test(route, has_a_place_for_each_resource_and_one_for_all_else)
{
    static const char *const paths[] = {"/users",   "/livez",        "/readyz",  "/cluster",
                                        "/metrics", "/openapi.json", "/problems"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const char *at_place = route_template(find(METHOD_GET, paths[i]).place);
        cr_expect(eq(str, (char *)at_place, (char *)paths[i]));
        cr_expect(eq(uint, find(METHOD_OTHER, paths[i]).place, find(METHOD_GET, paths[i]).place));
    }
    const char *templated = route_template(find(METHOD_GET, "/problems/not-found").place);
    cr_expect(eq(str, (char *)templated, "/problems/{type}"));
    cr_expect(eq(uint, find(METHOD_GET, "/problems/none").place, ROUTE_ELSEWHERE));
    cr_expect(eq(uint, find(METHOD_GET, "/nope").place, ROUTE_ELSEWHERE));
    cr_expect(eq(str, (char *)route_template(ROUTE_ELSEWHERE), "elsewhere"));
    unsigned places = 0;
    while (route_template(places) != NULL)
        places++;
    cr_expect(places > ARRAY_LEN(paths) && places <= COUNTS_ROUTES);
    cr_expect(route_template(UINT32_MAX) == NULL);
}

Test(route, allows_on_users_exactly_what_the_reference_says)
{
    struct route route = find(METHOD_OTHER, "/users");
    cr_assert(eq(int, route.kind, ROUTE_NOT_ALLOWED));
    cr_assert(eq(str, (char *)route.allow, "GET,HEAD,POST"));
    route = find(METHOD_OPTIONS, "/users");
    cr_assert(eq(int, route.kind, ROUTE_OPTIONS));
    cr_assert(eq(str, (char *)route.allow, "GET,HEAD,POST"));
}

Test(route, leads_to_an_item_by_its_id)
{
    static const char *const paths[] = {"/users/1", "/users/70", "/users/9007199254740991"};
    static const uint64_t ids[] = {1, 70, USER_ID_MAX};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        cr_expect(find(METHOD_GET, paths[i]).handler == handle_item);
        cr_expect(find(METHOD_HEAD, paths[i]).handler == handle_item);
        cr_expect(find(METHOD_PUT, paths[i]).handler == handle_replace);
        cr_expect(find(METHOD_PATCH, paths[i]).handler == handle_patch);
        cr_expect(find(METHOD_DELETE, paths[i]).handler == handle_delete);
        cr_expect(eq(u64, find(METHOD_DELETE, paths[i]).user_id, ids[i]));
        cr_expect(eq(int, find(METHOD_POST, paths[i]).kind, ROUTE_NOT_ALLOWED));
        struct route options = find(METHOD_OPTIONS, paths[i]);
        cr_expect(eq(int, options.kind, ROUTE_OPTIONS));
        cr_expect(eq(str, (char *)options.allow, "GET,HEAD,PUT,PATCH,DELETE"));
        cr_expect(eq(str, (char *)options.accept_patch, MERGE_PATCH));
    }
}

Test(route, allows_only_reading_elsewhere)
{
    static const char *const paths[] = {
        "/livez",        "/readyz",   "/cluster",           "/metrics",
        "/openapi.json", "/problems", "/problems/not-found"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        cr_expect(eq(int, find(METHOD_GET, paths[i]).kind, ROUTE_HANDLER));
        cr_expect(eq(int, find(METHOD_POST, paths[i]).kind, ROUTE_NOT_ALLOWED));
        cr_expect(eq(int, find(METHOD_OTHER, paths[i]).kind, ROUTE_NOT_ALLOWED));
        cr_expect(eq(str, (char *)find(METHOD_OPTIONS, paths[i]).allow, "GET,HEAD"));
    }
}

Test(route, knows_no_path_that_only_looks_like_one)
{
    static const char *const paths[] = {"",
                                        "/",
                                        "*",
                                        "/users/",
                                        "//users",
                                        "/Users",
                                        "/user%73",
                                        "/./users",
                                        "/users;x",
                                        "/users%2F",
                                        "/user",
                                        "/userss",
                                        "/users/1/",
                                        "/nope",
                                        "users",
                                        "/users/0",
                                        "/users/01",
                                        "/users/-1",
                                        "/users/x",
                                        "/users/1x",
                                        "/users/+1",
                                        "/users/%31",
                                        "/users/9007199254740992",
                                        "/users/18446744073709551617",
                                        "/users/1/2",
                                        "/users/1;"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        for (enum method method = METHOD_GET; method <= METHOD_OTHER; method++)
            cr_expect(eq(int, find(method, paths[i]).kind, ROUTE_NOT_FOUND), "%s", paths[i]);
}
