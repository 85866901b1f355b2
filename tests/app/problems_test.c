/* The pages to which problem documents lead, and the document that describes the API. */
#include "app/problems.h"
#include "raft/base/json.h"
#include "tests/app/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(problems, .timeout = 60);

#define ROW(name, status, slug, title) {name, status, "/problems/" slug, title},
static const struct {
    enum problem problem;
    unsigned status;
    const char *path, *title;
} rows[] = {PROBLEMS(ROW)};

Test(problems, have_a_page_each_and_an_index_of_all)
{
    struct stage *stage = stage_start((struct stage_options){0});
    struct reply *index = fcgi_get(stage, "/problems");
    cr_assert(eq(int, index->status, 200));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum problem found;
        cr_assert(problems_find(bytes_of_text(rows[i].path), &found));
        cr_expect(eq(int, found, rows[i].problem));
        struct reply *page = fcgi_get(stage, rows[i].path);
        char status[32];
        snprintf(status, sizeof status, "Status %u,", rows[i].status);
        cr_expect(eq(int, page->status, 200), "%s", rows[i].path);
        cr_expect(eq(str, (char *)reply_header(page, "Content-Type"), "text/html; charset=utf-8"));
        cr_expect(strstr(page->body, rows[i].title) != NULL, "%s", page->body);
        cr_expect(strstr(page->body, status) != NULL, "%s", page->body);
        cr_expect(strstr(page->body, "<script") == NULL);
        cr_expect(strstr(index->body, rows[i].path) != NULL, "%s", rows[i].path);
        bool perhaps = strstr(page->body, "<p>Perhaps.") != NULL;
        cr_expect(eq(int, perhaps, rows[i].problem == PROBLEM_OUTCOME_UNKNOWN));
        free(page);
    }
    free(index);
    stage_stop(stage);
}

/* What the state answers is remembered under a key: who mends the request needs another. */
Test(problems, that_are_kept_under_a_key_say_so)
{
    static const char advice[] = "<code>Idempotency-Key</code> this answer is kept for a day: "
                                 "draw a new key";
    struct stage *stage = stage_start((struct stage_options){0});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *page = fcgi_get(stage, rows[i].path);
        bool kept = rows[i].problem == PROBLEM_EMAIL_TAKEN ||
                    rows[i].problem == PROBLEM_PRECONDITION_FAILED ||
                    rows[i].problem == PROBLEM_NOT_FOUND;
        cr_expect(eq(int, strstr(page->body, advice) != NULL, kept), "%s", page->body);
        free(page);
    }
    stage_stop(stage);
}

Test(problems, that_there_are_not_have_none)
{
    static const char *const paths[] = {
        "/problems/",           "/problems/nothing", "/problems/forbidde",   "/problems/forbidden/",
        "/problems/forbiddenn", "/problem",          "/problems/%66orbidden"};
    struct stage *stage = stage_start((struct stage_options){0});
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct reply *reply = fcgi_get(stage, paths[i]);
        cr_expect(eq(int, reply->status, 404), "%s", paths[i]);
        free(reply);
    }
    stage_stop(stage);
}

/* Longer than what is written at a time, and byte for byte what is in the tree. */
Test(problems, and_all_else_are_in_the_document_that_the_worker_has_with_it)
{
    static char text[128 << 10];
    struct json_error error;
    FILE *file = fopen("app/openapi.json", "re");
    cr_assert(file != NULL);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    cr_assert(len < sizeof(text) - 1);
    cr_expect(eq(int, json_check(bytes_of(text, len), &error), 0));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char slug[64];
        snprintf(slug, sizeof slug, "\"%s\"", strrchr(rows[i].path, '/') + 1);
        cr_expect(strstr(text, slug) != NULL, "%s", slug);
    }

    struct stage *stage = stage_start((struct stage_options){.nginx = true});
    struct reply *reply = http_ask(stage, "GET", "/openapi.json", NULL);
    cr_assert(reply != NULL && reply->status == 200 && reply->ended);
    cr_expect(eq(sz, reply->body_len, len));
    cr_expect(memcmp(reply->body, text, len) == 0);
    cr_expect(eq(str, (char *)reply_header(reply, "Cache-Control"), "no-cache"));
    cr_expect(eq(str, (char *)reply_header(reply, "Content-Type"), "application/json"));
    free(reply);
    stage_stop(stage);
}
