#include "app/response.h"

#include "raft/base/json.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static const char *put(const struct response *response)
{
    static char text[8192];
    struct writer out = writer_of(text, sizeof(text) - 1);
    response_put(&out, response);
    cr_assert(not(out.bad));
    text[writer_len(&out)] = '\0';
    return text;
}

Test(response, has_a_status_a_length_and_what_was_set)
{
    struct response response = {
        .status = 201,
        .content_type = "application/json",
        .location_id = 7,
        .etagged = true,
        .etag = 12,
        .at_index = true,
        .raft_index = 12,
        .raft_node = 3,
        .body = bytes_of_text("{}"),
    };
    cr_assert(eq(str, (char *)put(&response),
                 "Status: 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                 "Location: /users/7\r\nETag: \"12\"\r\nRaft-Index: 12\r\nRaft-Node: 3\r\n\r\n{}"));
}

Test(response, to_head_has_the_length_without_the_body)
{
    struct response response = {.status = 200, .omit_body = true, .body = bytes_of_text("[1,2]")};
    cr_assert(eq(str, (char *)put(&response), "Status: 200 OK\r\nContent-Length: 5\r\n\r\n"));
}

Test(response, has_no_length_where_there_is_none_to_tell)
{
    struct response response = {.status = 204, .length_is = LENGTH_NONE, .allow = "GET,HEAD"};
    cr_assert(eq(str, (char *)put(&response), "Status: 204 No Content\r\nAllow: GET,HEAD\r\n\r\n"));
    response = (struct response){.status = 200, .length_is = LENGTH_STREAMED};
    cr_assert(eq(str, (char *)put(&response), "Status: 200 OK\r\n\r\n"));
    response = (struct response){.status = 200, .length_is = LENGTH_GIVEN, .length = 123456789012};
    cr_assert(
        eq(str, (char *)put(&response), "Status: 200 OK\r\nContent-Length: 123456789012\r\n\r\n"));
}

Test(response, fits_into_what_is_promised_for_its_head)
{
    uint8_t link[3 * 1024 + 128];
    memset(link, 'x', sizeof(link));
    struct response response = {
        .status = 413,
        .length_is = LENGTH_GIVEN,
        .length = UINT64_MAX,
        .content_type = "application/problem+json",
        .cache_control = "private, no-cache",
        .allow = "GET,HEAD,POST,PUT,PATCH,DELETE",
        .accept = "application/json",
        .www_authenticate = "Bearer realm=\"rollcall\", error=\"insufficient_scope\", "
                            "scope=\"write\"",
        .link = bytes_of(link, sizeof(link)),
        .location_id = UINT64_MAX,
        .etagged = true,
        .etag = UINT64_MAX,
        .replayed = true,
        .accept_patch = MERGE_PATCH,
        .accept_encoding = "identity",
        .at_index = true,
        .raft_index = UINT64_MAX,
        .raft_node = UINT64_MAX,
        .retry_after = true,
    };
    cr_assert(strlen(put(&response)) <= RESPONSE_HEAD_BYTES_MAX);
}

#define NAME_OF(name, status, slug, title) name,

Test(problem, is_a_json_document_of_its_kind)
{
    static const enum problem problems[] = {PROBLEMS(NAME_OF)};
    for (size_t i = 0; i < ARRAY_LEN(problems); i++) {
        struct response response = response_of_problem(problems[i], "a \"quoted\"\nword");
        struct json_error error;
        cr_expect(eq(int, json_check(response.body, &error), 0));
        cr_expect(eq(str, (char *)response.content_type, "application/problem+json"));
        cr_expect(eq(str, (char *)response.cache_control, "no-store"));
        cr_expect(eq(int, response.retry_after, response.status == 429 || response.status == 503));
        cr_expect(response.status >= 400 && response.status < 600);
        put(&response); /* every status has a phrase */
    }
}

Test(problem, says_type_title_status_and_detail)
{
    struct response response = response_of_problem(PROBLEM_MALFORMED_JSON, "why");
    cr_assert(bytes_equal(response.body,
                          bytes_of_text("{\"type\":\"/problems/malformed-json\",\"title\":"
                                        "\"Malformed JSON\",\"status\":400,\"detail\":\"why\"}")));
}
