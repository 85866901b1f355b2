/* What POST, PUT, PATCH and DELETE take, and what they make of the node's answers. */
#include "tests/app/stage.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define ALICE "{\"name\":\"Alice\"}"
#define GZIP  "HTTP_CONTENT_ENCODING=gzip"
#define PART  "HTTP_CONTENT_RANGE=bytes 0-16/17"
#define MERGE "application/merge-patch+json"

TestSuite(writes, .timeout = 60);

/* Clients tell by Accept-Encoding that the type is not to blame (RFC 9110 §15.5.16). */
Test(writes, refuse_a_coded_body_by_another_word_than_one_of_another_type)
{
    static char patch[] = MERGE;
    struct stage *stage = stage_start((struct stage_options){0});
    const struct {
        struct fcgi_ask ask;
        int status;
        const char *accept, *accept_patch, *accept_encoding;
    } rows[] = {
        {{.method = "POST", .headers = {GZIP}}, 415, "application/json", "", "identity"},
        {{.method = "PUT", .uri = "/users/1", .headers = {GZIP}},
         415,
         "application/json",
         "",
         "identity"},
        {{.method = "PATCH", .uri = "/users/1", .content_type = patch, .headers = {GZIP}},
         415,
         "",
         patch,
         "identity"},
        {{.method = "POST", .headers = {GZIP}, .content_type = "text/plain"},
         415,
         "application/json",
         "",
         ""},
        {{.method = "PATCH", .uri = "/users/1", .headers = {GZIP}}, 415, "", patch, ""},
        {{.method = "POST", .headers = {"HTTP_CONTENT_ENCODING=identity"}}, 400, "", "", ""},
        {{.method = "DELETE", .uri = "/users/1", .headers = {GZIP}}, 504, "", "", ""},
    };
    fake_node_play(&stage->node, (struct fake_script){.unknown = true});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *reply = fcgi_ask(stage, &rows[i].ask);
        cr_expect(eq(int, reply->status, rows[i].status), "row %zu: %s", i, reply->body);
        cr_expect(eq(str, (char *)reply_header(reply, "Accept"), (char *)rows[i].accept));
        cr_expect(
            eq(str, (char *)reply_header(reply, "Accept-Patch"), (char *)rows[i].accept_patch));
        cr_expect(eq(str, (char *)reply_header(reply, "Accept-Encoding"),
                     (char *)rows[i].accept_encoding));
        free(reply);
    }
    stage_stop(stage);
}

/* A coding is looked at after the type and before the body's length, its text and the query. */
Test(writes, judge_the_coding_in_its_place)
{
    static uint8_t big[200 << 10];
    struct stage *stage = stage_start((struct stage_options){0});
    const struct {
        struct fcgi_ask ask;
        int status;
    } rows[] = {
        {{.method = "PUT", .headers = {GZIP}}, 405},
        {{.method = "POST", .headers = {GZIP}, .body = bytes_of(big, sizeof(big))}, 415},
        {{.method = "POST", .headers = {GZIP}, .body = bytes_of_text("{oops")}, 415},
        {{.method = "POST", .uri = "/users?x=1", .headers = {GZIP}}, 415},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *reply = fcgi_ask(stage, &rows[i].ask);
        cr_expect(eq(int, reply->status, rows[i].status), "row %zu: %s", i, reply->body);
        free(reply);
    }
    cr_assert(eq(uint, fake_node_record(&stage->node).frames, 0));
    stage_stop(stage);
}

/* RFC 9110 §14.5: else a part would stand for the whole. */
Test(writes, take_no_part_of_a_user)
{
    struct stage *stage = stage_start((struct stage_options){0});
    const struct fcgi_ask asks[] = {
        {.method = "POST", .headers = {PART}, .body = bytes_of_text(ALICE)},
        {.method = "PUT", .uri = "/users/1", .headers = {PART}, .body = bytes_of_text(ALICE)},
        {.method = "PATCH",
         .uri = "/users/1",
         .content_type = MERGE,
         .headers = {PART},
         .body = bytes_of_text(ALICE)},
    };
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        struct reply *reply = fcgi_ask(stage, &asks[i]);
        cr_expect(eq(int, reply->status, 400), "row %zu: %s", i, reply->body);
        cr_expect(strstr(reply->body, "Content-Range") != NULL, "%s", reply->body);
        free(reply);
    }
    cr_assert(eq(uint, fake_node_record(&stage->node).frames, 0));
    stage_stop(stage);
}

/* Conditions and keys are for the state to judge, whatever the method. */
Test(writes, bring_their_conditions_and_their_key_to_the_node)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    struct stage *stage = stage_start((struct stage_options){0});
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct fcgi_ask ask = {
            .method = methods[i],
            .uri = i == 0 ? "/users" : "/users/1",
            .content_type = i == 2 ? MERGE : NULL,
            .body = i == 3 ? bytes_of(NULL, 0) : bytes_of_text(ALICE),
            .headers = {"HTTP_IF_MATCH=\"4\"", "HTTP_IF_NONE_MATCH=*", "HTTP_IDEMPOTENCY_KEY=k"}};
        free(fcgi_ask(stage, &ask));
        struct fake_record record = fake_node_record(&stage->node);
        struct users_command command;
        cr_assert(eq(uint, record.writes, i + 1));
        cr_assert(eq(
            int, users_command_decode(bytes_of(record.command, record.command_len), &command), 0));
        cr_expect(command.keyed, "%s", methods[i]);
        cr_expect(condition_matches(&command.if_match, 4), "%s", methods[i]);
        cr_expect(eq(int, command.if_match.kind, CONDITION_LIST), "%s", methods[i]);
        cr_expect(eq(int, command.if_none_match.kind, CONDITION_ANY), "%s", methods[i]);
    }
    stage_stop(stage);
}

/* Also where no body is read, one has its limit. */
Test(writes, and_reads_have_no_longer_body_than_all)
{
    static uint8_t big[200 << 10];
    static const char *const methods[] = {"DELETE", "GET", "PUT", "PATCH"};
    struct stage *stage = stage_start((struct stage_options){0});
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct reply *reply =
            fcgi_ask(stage, &(struct fcgi_ask){.method = methods[i],
                                               .uri = "/users/1",
                                               .content_type = i == 3 ? MERGE : NULL,
                                               .body = bytes_of(big, sizeof(big))});
        cr_expect(eq(int, reply->status, 413), "%s: %s", methods[i], reply->body);
        free(reply);
    }
    cr_assert(eq(uint, fake_node_record(&stage->node).frames, 0));
    stage_stop(stage);
}

/* It is about that request alone: others wait for theirs on the same connection. */
Test(writes, that_are_answered_as_another_leave_the_node_alone)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(
        &stage->node,
        (struct fake_script){.answers = true, .answer = {.kind = USERS_DELETED, .index = 5}});
    for (int i = 0; i < 3; i++) {
        struct reply *reply = fcgi_post(stage, ALICE);
        cr_expect(eq(int, reply->status, 504), "%s", reply->body);
        free(reply);
    }
    fake_node_play(&stage->node, (struct fake_script){0});
    free(fcgi_get(stage, "/users"));
    cr_assert(eq(uint, fake_node_record(&stage->node).connections, 1));
    stage_stop(stage);
}
