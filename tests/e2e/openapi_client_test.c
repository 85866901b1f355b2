/* The life of a user, walked by a client that was written against openapi.json alone. */
#include "tests/e2e/openapi_client.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WITH(...) ((const struct argument[]){__VA_ARGS__, {NULL, NULL}})

/* The call must have this status; its ETag goes to `etag`, if that is not NULL. */
static void must(const struct api *api, long status, char *etag, const char *operation,
                 const struct argument *arguments, const char *body)
{
    struct called called = api_call(api, operation, arguments, body);

    cr_assert_eq(called.answer.status, status, "%s: %ld, not %ld: %s", operation,
                 called.answer.status, status, called.answer.body);
    if (etag != NULL)
        snprintf(etag, 32, "%s", answer_header(&called.answer, "ETag"));
    called_done(&called);
}

/* The users of all pages, from link to link. `Link` says where, and the document how to ask. */
static long count_by_pages(const struct api *api)
{
    char after[32] = "0";
    long users = 0, pages = 0;
    bool more = true;

    while (more) {
        struct called page =
            api_call(api, "listUsers", WITH({"limit", "2"}, {"after", after}), NULL);
        const char *link = answer_header(&page.answer, "Link"), *at;

        cr_assert_eq(page.answer.status, 200);
        users += (long)json_object_array_length(page.body);
        pages++;
        more = *link != '\0';
        at = strstr(link, "after=");
        cr_assert(!more || at != NULL, "%s", link);
        if (more)
            snprintf(after, sizeof after, "%.*s", (int)strspn(at + 6, "0123456789"), at + 6);
        called_done(&page);
    }
    cr_assert_eq(pages, (users + 1) / 2, "%ld pages", pages);
    return users;
}

static void expect_found(const struct api *api, const char *email, const char *id)
{
    struct called found = api_call(api, "listUsers", WITH({"email", email}), NULL);

    cr_assert_eq(found.answer.status, 200);
    cr_assert_eq(json_object_array_length(found.body), 1, "%s", found.answer.body);
    cr_assert_str_eq(json_text(json_object_array_get_idx(found.body, 0), "id"), id);
    called_done(&found);
}

/* The problem's type leads to a page: its last part is what getProblem takes. */
static void expect_explained(const struct api *api, const char *operation,
                             const struct argument *arguments, const char *body)
{
    struct called refused = api_call(api, operation, arguments, body);
    const char *type = strrchr(json_text(refused.body, "type"), '/');

    cr_assert_not_null(type, "%s", refused.answer.body);
    must(api, 200, NULL, "getProblem", WITH({"type", type + 1}), NULL);
    called_done(&refused);
}

Test(openapi_client, walks_the_life_of_a_user, .timeout = 60)
{
    struct stack stack = stack_start();
    struct api api = api_open(stack.port);
    struct called created = api_call(&api, "createUser", WITH({"Idempotency-Key", "one"}),
                                     "{\"name\":\"Ann Lee\",\"email\":\"ann@example.org\"}");
    char first[32], second[32], id[32];
    struct argument user;
    struct operation read = api_follow(&api, "createUser", &created, "user", &user);

    cr_assert_eq(created.answer.status, 201);
    snprintf(id, sizeof id, "%s", user.value);
    user.value = id;
    must(&api, 200, first, read.id, WITH(user), NULL);
    cr_assert_str_eq(answer_header(&created.answer, "ETag"), first);
    must(&api, 304, NULL, read.id, WITH(user, {"If-None-Match", first}), NULL);

    must(&api, 200, second, "replaceUser", WITH(user, {"If-Match", first}),
         "{\"name\":\"Ann\",\"email\":\"Ann@example.org\"}");
    cr_assert_str_neq(second, first);
    must(&api, 200, first, "replaceUser", WITH(user), /* nothing is another */
         "{\"name\":\"Ann\",\"email\":\"Ann@example.org\"}");
    cr_assert_str_eq(second, first);
    must(&api, 412, NULL, "replaceUser", WITH(user, {"If-Match", "\"1\""}), "{\"name\":\"Bob\"}");
    must(&api, 200, NULL, "patchUser", WITH(user, {"If-Match", second}),
         "{\"name\":\"Ann of Example\"}");
    expect_found(&api, "ANN@example.org", id);

    for (int i = 0; i < 4; i++)
        must(&api, 201, NULL, "createUser", NULL, "{\"name\":\"another\"}");
    cr_assert_eq(count_by_pages(&api), 5);

    must(&api, 204, NULL, "deleteUser", WITH(user), NULL);
    must(&api, 404, NULL, read.id, WITH(user), NULL);
    cr_assert_eq(count_by_pages(&api), 4);
    expect_explained(&api, "deleteUser", WITH(user), NULL);
    expect_explained(&api, "createUser", WITH({"Idempotency-Key", "one"}), "{\"name\":\"Eve\"}");
    must(&api, 200, NULL, "getReadyz", WITH({"verbose", ""}, {"exclude", "disk"}), NULL);
    called_done(&created);
    api_close(&api);
    stack_stop(&stack);
}
