/* What all answers have in common. */
#include "tests/app/stage.h"

#include <stdlib.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(exchange, .timeout = 60);

static void expect_source(const struct stage *stage, const char *uri, const char *node)
{
    struct reply *reply = fcgi_get(stage, uri);
    cr_expect(eq(str, (char *)reply_header(reply, "Raft-Index"), ""), "%s", uri);
    cr_expect(eq(str, (char *)reply_header(reply, "Raft-Node"), (char *)node), "%s", uri);
    free(reply);
}

/* Index 0 is that of a state, of which nobody has told the worker. */
Test(exchange, name_no_state_before_they_have_heard_of_one)
{
    static const char *const uris[] = {"/nope", "/users?limit=0", "/livez", "/problems"};
    struct stage *stage = stage_start((struct stage_options){.without_node = true});
    for (size_t i = 0; i < ARRAY_LEN(uris); i++)
        expect_source(stage, uris[i], "");
    expect_source(stage, "/readyz", "");
    stage_node_start(stage);
    WAIT_UNTIL(stage_said(stage, "event=node-up"), 5000);
    for (size_t i = 0; i < ARRAY_LEN(uris); i++)
        expect_source(stage, uris[i], "7");
    stage_stop(stage);
}
