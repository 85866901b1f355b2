/* The pages to which problem documents lead. */
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
