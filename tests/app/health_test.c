/* What a worker says of its own health and its node's; see also worker_test.c. */
#include "tests/app/stage.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(health, .timeout = 60);

static void expect_ready(const struct stage *stage, const char *uri, int status, const char *text)
{
    struct reply *reply = fcgi_get(stage, uri);
    cr_expect(eq(int, reply->status, status), "%s: %s", uri, reply->body);
    cr_expect(strstr(reply->body, text) != NULL, "%s: %s", uri, reply->body);
    free(reply);
}

Test(health, leaves_out_what_is_excluded)
{
    struct stage *stage = stage_start((struct stage_options){0});
    struct fake_script script = fake_node_script(&stage->node);
    script.status.leader = 0;
    script.status.ready = 0;
    fake_node_play(&stage->node, script);
    expect_ready(stage, "/readyz", 503, "[-]leader failed: no leader is known\n[-]caught-up");
    expect_ready(stage, "/readyz?exclude=leader", 503,
                 "[+]node ok\n[+]leader excluded: ok\n[-]caught-up failed: ");
    expect_ready(stage, "/readyz?exclude=leader&exclude=caught%2Dup", 200, "ok\n");
    expect_ready(stage, "/readyz?exclude=leader&exclude=caught-up&verbose", 200,
                 "[+]leader excluded: ok\n[+]caught-up excluded: ok\n[+]disk ok\n");
    stage_stop(stage);
}

Test(health, a_node_that_knows_a_leader_and_is_behind_is_not_ready)
{
    struct stage *stage = stage_start((struct stage_options){0});
    struct fake_script script = fake_node_script(&stage->node);
    script.status.leader = 2;
    script.status.ready = 0;
    fake_node_play(&stage->node, script);
    expect_ready(stage, "/readyz", 503, "[+]leader ok\n[-]caught-up failed: ");
    script.status.ready = 1;
    fake_node_play(&stage->node, script);
    expect_ready(stage, "/readyz", 200, "ok\n");
    stage_stop(stage);
}

/* It answers reads, and others may take the writes. */
Test(health, a_node_with_a_full_disk_or_without_redis_is_ready)
{
    struct stage *stage = stage_start((struct stage_options){0});
    struct fake_script script = fake_node_script(&stage->node);
    script.status.wal_full = 1;
    fake_node_play(&stage->node, script);
    expect_ready(stage, "/readyz", 200, "ok\n");
    expect_ready(stage, "/readyz?verbose", 200, "[-]disk failed: full");
    script.status.wal_full = 0;
    script.status.snapshot_state = CALL_SNAPSHOT_DOWN;
    fake_node_play(&stage->node, script);
    expect_ready(stage, "/readyz", 200, "ok\n");
    expect_ready(stage, "/readyz?verbose", 200, "[-]snapshots failed: redis-down\n");
    stage_stop(stage);
}

Test(health, refuses_to_exclude_what_it_does_not_check)
{
    struct stage *stage = stage_start((struct stage_options){0});
    static const char *const uris[] = {
        "/readyz?exclude=", "/readyz?exclude", "/readyz?exclude=leader&exclude=Leader",
        "/readyz?exclude=%zz", "/readyz?exclude=a-name-that-is-too-long-for-any-check"};
    for (size_t i = 0; i < ARRAY_LEN(uris); i++)
        expect_ready(stage, uris[i], 400, "/problems/invalid-parameter");
    expect_ready(stage, "/readyz?exclude=disk&exclude=disk", 200, "ok\n");
    stage_stop(stage);
}
