/*
 * What conditions, lookups and min_index become on their way to the node, and what its answers
 * become on theirs: the real worker, a fake node.
 */
#include "tests/app/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(conditions, .timeout = 60);

/* Ten users; user 3 has ETag "4", the list has "9". */
static struct stage *stage_of_ten(void)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){
                                     .users_made_up = 10, .made_up_name_bytes = 3, .changed = 9});
    return stage;
}

static struct reply *get_if(const struct stage *stage, const char *method, const char *uri,
                            const char *header)
{
    return fcgi_ask(stage, &(struct fcgi_ask){.method = method, .uri = uri, .headers = {header}});
}

static void expect_same_header(const struct reply *a, const struct reply *b, const char *name)
{
    char value[512];
    snprintf(value, sizeof(value), "%s", reply_header(a, name));
    cr_expect(eq(str, value, (char *)reply_header(b, name)), "%s", name);
}

Test(conditions, that_say_not_modified_leave_all_headers_but_no_body)
{
    static const char *const headers[] = {"ETag", "Cache-Control", "Raft-Index", "Raft-Node"};
    static const struct {
        const char *method, *uri, *header;
    } rows[] = {
        {"GET", "/users/3", "HTTP_IF_NONE_MATCH=\"4\""},
        {"GET", "/users/3", "HTTP_IF_NONE_MATCH=W/\"4\""},
        {"GET", "/users/3", "HTTP_IF_NONE_MATCH=\"x\", \"4\""},
        {"GET", "/users/3", "HTTP_IF_NONE_MATCH=*"},
        {"HEAD", "/users/3", "HTTP_IF_NONE_MATCH=\"4\""},
        {"GET", "/users", "HTTP_IF_NONE_MATCH=\"9\""},
        {"GET", "/users?limit=2", "HTTP_IF_NONE_MATCH=\"9\""},
        {"HEAD", "/users", "HTTP_IF_NONE_MATCH=\"9\""},
    };
    struct stage *stage = stage_of_ten();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *reply = get_if(stage, rows[i].method, rows[i].uri, rows[i].header);
        struct reply *whole = get_if(stage, rows[i].method, rows[i].uri, NULL);
        cr_expect(eq(int, reply->status, 304), "%s %s %s", rows[i].method, rows[i].uri,
                  rows[i].header);
        cr_expect(eq(int, whole->status, 200));
        cr_expect(reply->ended && reply->body_len == 0);
        for (size_t j = 0; j < ARRAY_LEN(headers); j++)
            expect_same_header(reply, whole, headers[j]);
        cr_expect(eq(str, (char *)reply_header(reply, "Content-Type"), ""));
        cr_expect(eq(str, (char *)reply_header(reply, "Content-Length"), ""));
        free(reply);
        free(whole);
    }
    stage_stop(stage);
}

Test(conditions, of_reads_are_judged_in_the_order_of_the_standard)
{
    static const struct {
        const char *uri, *match, *none_match;
        int status;
    } rows[] = {
        {"/users/3", "HTTP_IF_MATCH=\"4\"", NULL, 200},
        {"/users/3", "HTTP_IF_MATCH=W/\"4\"", NULL, 412},
        {"/users/3", "HTTP_IF_MATCH=*", NULL, 200},
        {"/users/3", "HTTP_IF_MATCH=\"5\"", "HTTP_IF_NONE_MATCH=\"4\"", 412},
        {"/users/3", "HTTP_IF_MATCH=\"4\"", "HTTP_IF_NONE_MATCH=\"4\"", 304},
        {"/users/3", "HTTP_IF_MATCH=\"4\"", "HTTP_IF_NONE_MATCH=\"5\"", 200},
        {"/users/3", "HTTP_IF_MATCH=\"4", NULL, 400},
        {"/users/30", "HTTP_IF_MATCH=\"4\"", NULL, 404},
        {"/users/30", "HTTP_IF_NONE_MATCH=*", NULL, 404},
        {"/users", "HTTP_IF_MATCH=\"8\"", NULL, 412},
        {"/users", "HTTP_IF_MATCH=\"9\"", NULL, 200},
    };
    struct stage *stage = stage_of_ten();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *reply =
            fcgi_ask(stage, &(struct fcgi_ask){.uri = rows[i].uri,
                                               .headers = {rows[i].match, rows[i].none_match}});
        cr_expect(eq(int, reply->status, rows[i].status), "row %zu", i);
        if (rows[i].status == 412) {
            const char *etag = strstr(rows[i].uri, "/3") != NULL ? "\"4\"" : "\"9\"";
            cr_expect(eq(str, (char *)reply_header(reply, "ETag"), (char *)etag));
            cr_expect(strstr(reply->body, "precondition") != NULL);
        }
        free(reply);
    }
    stage_stop(stage);
}

Test(conditions, and_keys_of_a_write_are_what_the_node_is_asked_on)
{
    struct stage *stage = stage_of_ten();
    free(fcgi_ask(
        stage, &(struct fcgi_ask){.method = "PATCH",
                                  .uri = "/users/3",
                                  .content_type = "application/merge-patch+json",
                                  .body = bytes_of_text("{\"email\":null}"),
                                  .headers = {"HTTP_IF_MATCH=\"4\",W/\"5\"", "HTTP_IF_NONE_MATCH=*",
                                              "HTTP_IDEMPOTENCY_KEY=\"k\""}}));
    struct fake_record record = fake_node_record(&stage->node);
    struct users_command command;
    int bad = users_command_decode(bytes_of(record.command, record.command_len), &command);
    cr_assert(zero(int, bad));
    cr_assert(command.kind == USERS_PATCH && command.patch.id == 3);
    cr_assert(command.patch.sets == USERS_SETS(USER_TEXT_email) &&
              command.patch.texts.email.len == 0);
    cr_assert(command.if_match.kind == CONDITION_LIST && command.if_match.tags.len == 8);
    cr_assert(condition_matches(&command.if_match, 4));
    cr_assert(command.if_none_match.kind == CONDITION_ANY && command.keyed);
    stage_stop(stage);
}

Test(conditions, that_fail_at_the_node_are_412_with_the_tag)
{
    struct stage *stage = stage_of_ten();
    struct fake_script script = fake_node_script(&stage->node);
    script.answers = true;
    script.answer = (struct users_answer){.kind = USERS_CONDITION_FAILED,
                                          .index = 77,
                                          .replayed = true,
                                          .condition_failed = {.id = 3, .etag = 44}};
    fake_node_play(&stage->node, script);
    struct reply *reply = get_if(stage, "DELETE", "/users/3", "HTTP_IF_MATCH=\"4\"");
    cr_expect(eq(int, reply->status, 412));
    cr_expect(eq(str, (char *)reply_header(reply, "ETag"), "\"44\""));
    cr_expect(eq(str, (char *)reply_header(reply, "Raft-Index"), "77"));
    cr_expect(eq(str, (char *)reply_header(reply, "Idempotency-Replayed"), "true"));
    free(reply);
    stage_stop(stage);
}

Test(conditions, lookups_and_min_index_reach_the_node_and_go_on_in_the_link)
{
    static const struct {
        const char *uri;
        uint8_t by;
        const char *text;
        uint64_t min_index;
        const char *link; /* what the query of the next page has besides limit and after */
    } rows[] = {
        {"/users?limit=2&name=%C3%A9+%26%22a~", CALL_BY_NAME, "\xc3\xa9 &\"a~", 0,
         "&name=%C3%A9%20%26%22a~>"},
        {"/users?email=A%2Bb@c&limit=2&consistency=stale", CALL_BY_EMAIL, "A+b@c", 0,
         "&email=A%2Bb%40c&consistency=stale>"},
        {"/users?name=&limit=2&min_index=12", CALL_BY_NAME, "", 12, "&name=&min_index=12>"},
        {"/users/3?min_index=9007199254740991", CALL_BY_ID, "", USER_ID_MAX, ""},
        {"/users?limit=3", CALL_BY_ID, "", 0, "limit=3&after=3>"},
        {"/users?limit=2&consistency=stale&min_index=7", CALL_BY_ID, "", 7,
         "&consistency=stale&min_index=7>"},
        {"/users/3?consistency=stale&min%5Findex=7", CALL_BY_ID, "", 7, ""},
    };
    struct stage *stage = stage_of_ten();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *reply = fcgi_get(stage, rows[i].uri);
        struct fake_record record = fake_node_record(&stage->node);
        struct bytes text = bytes_of(record.text, record.last_list.text.len);
        cr_expect(eq(int, reply->status, 200), "%s", rows[i].uri);
        cr_expect(eq(u8, record.last_list.by, rows[i].by), "%s", rows[i].uri);
        cr_expect(bytes_equal(text, bytes_of_text(rows[i].text)), "%s", rows[i].uri);
        cr_expect(eq(u64, record.last_list.min_index, rows[i].min_index));
        bool stale = strstr(rows[i].uri, "stale") != NULL;
        cr_expect(eq(u8, record.last_list.consistency, stale ? CALL_STALE : CALL_LINEARIZABLE));
        cr_expect(strstr(reply_header(reply, "Link"), rows[i].link) != NULL, "%s: %s", rows[i].uri,
                  reply_header(reply, "Link"));
        free(reply);
    }
    static const char *const bad[] = {"/users?name=a&email=b",
                                      "/users?name=a&name=a",
                                      "/users?name=%zz",
                                      "/users?name=%ff",
                                      "/users?min_index=x",
                                      "/users?min_index=-1",
                                      "/users/3?min_index=9007199254740992",
                                      "/users?limit=0",
                                      "/users?limit=1001",
                                      "/users?email=%c3"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct reply *reply = fcgi_get(stage, bad[i]);
        cr_expect(eq(int, reply->status, 400), "%s", bad[i]);
        free(reply);
    }
    stage_stop(stage);
}

/* The same problem, whatever the method: it is not the query's. */
Test(conditions, that_are_none_are_a_bad_request)
{
    static const struct {
        const char *method, *uri;
    } rows[] = {
        {"GET", "/users/3"},
        {"HEAD", "/users/3"},
        {"GET", "/users"},
        {"DELETE", "/users/3"},
    };
    struct stage *stage = stage_of_ten();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *reply = get_if(stage, rows[i].method, rows[i].uri, "HTTP_IF_MATCH=4");
        cr_expect(eq(int, reply->status, 400), "%s %s", rows[i].method, rows[i].uri);
        cr_expect(strcmp(rows[i].method, "HEAD") == 0 ||
                      strstr(reply->body, "/problems/bad-request") != NULL,
                  "%s", reply->body);
        free(reply);
    }
    stage_stop(stage);
}
