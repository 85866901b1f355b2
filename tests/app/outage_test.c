/* What the worker does when its node is away, silent, broken or wrong. */
#include "tests/app/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define ALICE "{\"name\":\"Alice\"}"
#define ID    "00112233445566778899aabbccddeeff"

TestSuite(outage, .timeout = 60);

static int status_of(struct reply *reply)
{
    int status = reply->status;
    free(reply);
    return status;
}

static int post_as(const struct rig *rig, const char *id)
{
    int fd = fcgi_connect(rig);
    fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE), .id = id});
    return fd;
}

/* 503, and what goes with it. */
static void expect_unavailable(struct reply *reply, const char *why)
{
    cr_expect(eq(int, reply->status, 503), "%s", reply->body);
    cr_expect(eq(str, (char *)reply_header(reply, "Retry-After"), "1"));
    cr_expect(strstr(reply->body, "/problems/unavailable") != NULL, "%s", reply->body);
    cr_expect(strstr(reply->body, why) != NULL, "%s", reply->body);
    free(reply);
}

static void expect_unknown(struct reply *reply)
{
    cr_expect(eq(int, reply->status, 504), "%s", reply->body);
    cr_expect(strstr(reply->body, "/problems/outcome-unknown") != NULL, "%s", reply->body);
    cr_expect(eq(str, (char *)reply_header(reply, "Retry-After"), ""));
    free(reply);
}

Test(outage, node_that_never_was_is_waited_for_and_then_no_longer)
{
    struct rig *rig = rig_start((struct rig_options){.without_node = true, .deadline_ms = 5000});
    long before = ms_now();
    expect_unavailable(fcgi_post(rig, ALICE), "cannot be reached");
    long took = ms_now() - before;
    cr_expect(took < 2500, "took %ld ms", took);
    before = ms_now();
    expect_unavailable(fcgi_post(rig, ALICE), "cannot be reached");
    expect_unavailable(fcgi_get(rig, "/users"), "cannot be reached");
    expect_unavailable(fcgi_get(rig, "/cluster"), "cannot be reached");
    cr_expect(ms_now() - before < 200);
    rig_node_start(rig);
    WAIT_UNTIL(status_of(fcgi_post(rig, ALICE)) == 201, 2000);
    rig_stop(rig);
}

Test(outage, short_enough_costs_nothing_but_time)
{
    struct rig *rig = rig_start((struct rig_options){.deadline_ms = 5000});
    cr_assert(eq(int, status_of(fcgi_post(rig, ALICE)), 201));
    for (int round = 0; round < 3; round++) {
        rig_node_stop(rig);
        int write = post_as(rig, NULL), list = fcgi_connect(rig), cluster = fcgi_connect(rig);
        fcgi_send(list, &(struct fcgi_ask){.method = "GET"});
        fcgi_send(cluster, &(struct fcgi_ask){.uri = "/cluster"});
        ms_sleep(300);
        rig_node_start(rig);
        cr_expect(eq(int, status_of(fcgi_receive(write, 3000)), 201));
        cr_expect(eq(int, status_of(fcgi_receive(list, 3000)), 200));
        cr_expect(eq(int, status_of(fcgi_receive(cluster, 3000)), 200));
        close(write);
        close(list);
        close(cluster);
    }
    cr_assert(eq(uint, fake_node_record(&rig->node).created, 4));
    rig_stop(rig);
}

/* The node executes the write and dies before it says so: exactly what request ids are for. */
Test(outage, after_a_write_sends_it_again_under_the_same_id)
{
    struct rig *rig = rig_start((struct rig_options){0});
    fake_node_play(&rig->node, (struct fake_script){.break_writes = 3});
    int fd = post_as(rig, ID);
    struct reply *reply = fcgi_receive(fd, 5000);
    cr_assert(eq(int, reply->status, 201));
    cr_assert(eq(str, reply->body, "{\"id\":1,\"name\":\"Alice\"}"));
    free(reply);
    struct fake_record record = fake_node_record(&rig->node);
    cr_assert(eq(uint, record.created, 1));
    cr_assert(eq(uint, record.writes, 4));
    cr_assert(eq(u8, record.last_write.at[1], 0x11));
    close(fd);
    rig_stop(rig);
}

Test(outage, before_a_write_was_read_sends_it_again_too)
{
    struct rig *rig = rig_start((struct rig_options){0});
    fake_node_play(&rig->node, (struct fake_script){.lose_writes = 2});
    int fds[40];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = post_as(rig, NULL);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        cr_expect(eq(int, status_of(fcgi_receive(fds[i], 5000)), 201));
        close(fds[i]);
    }
    cr_assert(eq(uint, fake_node_record(&rig->node).created, ARRAY_LEN(fds)));
    rig_stop(rig);
}

/* A worker tries what another worker has tried: the id makes it one. */
Test(outage, of_a_worker_leaves_an_id_that_another_can_use)
{
    struct rig *rig = rig_start((struct rig_options){0});
    fake_node_play(&rig->node, (struct fake_script){.unknown = true});
    int fd = post_as(rig, ID);
    expect_unknown(fcgi_receive(fd, 5000));
    close(fd);
    fake_node_play(&rig->node, (struct fake_script){0});
    fd = post_as(rig, ID);
    struct reply *reply = fcgi_receive(fd, 5000);
    cr_assert(eq(str, reply->body, "{\"id\":1,\"name\":\"Alice\"}"));
    cr_assert(eq(uint, fake_node_record(&rig->node).created, 1));
    free(reply);
    close(fd);
    rig_stop(rig);
}

Test(outage, by_silence_ends_at_the_deadline_with_what_is_known)
{
    struct rig *rig = rig_start((struct rig_options){.deadline_ms = 500});
    fake_node_play(&rig->node, (struct fake_script){.mute = true});
    long before = ms_now();
    expect_unknown(fcgi_post(rig, ALICE));
    cr_expect(ms_now() - before >= 490 && ms_now() - before < 1000);
    expect_unavailable(fcgi_get(rig, "/users"), "did not answer in time");
    expect_unavailable(fcgi_get(rig, "/cluster"), "did not answer in time");
    cr_expect(eq(int, status_of(fcgi_get(rig, "/readyz")), 503));
    fake_node_play(&rig->node, (struct fake_script){0});
    cr_assert(eq(int, status_of(fcgi_post(rig, ALICE)), 201));
    rig_stop(rig);
}

/* A write that went out before the connection broke may have been executed, however long ago. */
Test(outage, that_lasts_tells_sent_writes_from_those_that_never_left)
{
    struct rig *rig = rig_start((struct rig_options){.deadline_ms = 3500});
    fake_node_play(&rig->node, (struct fake_script){.hold_writes = true});
    int sent = post_as(rig, NULL);
    WAIT_UNTIL(fake_node_record(&rig->node).writes == 1, 2000);
    rig_node_stop(rig);
    WAIT_UNTIL(rig_said(rig, "event=node-away"), 2000);
    long before = ms_now();
    int unsent = post_as(rig, NULL);
    expect_unavailable(fcgi_receive(unsent, 5000), "cannot be reached"); /* at the grace's end */
    cr_expect(ms_now() - before < 2500);
    expect_unknown(fcgi_receive(sent, 5000)); /* at its deadline */
    close(sent);
    close(unsent);
    rig_stop(rig);
}

Test(outage, by_refusal_gives_the_reason)
{
    struct rig *rig = rig_start((struct rig_options){0});
    for (uint8_t reason = CALL_NO_LEADER; reason <= CALL_INVALID; reason++) {
        fake_node_play(&rig->node, (struct fake_script){.refuse = reason});
        expect_unavailable(fcgi_post(rig, ALICE), call_reason_text(reason));
    }
    fake_node_play(&rig->node, (struct fake_script){.refuse = 99});
    expect_unavailable(fcgi_post(rig, ALICE), "not known here");
    cr_assert(eq(uint, fake_node_record(&rig->node).connections, 1));
    rig_stop(rig);
}

Test(outage, by_nonsense_is_met_with_a_new_connection)
{
    struct rig *rig = rig_start((struct rig_options){0});
    fake_node_play(&rig->node, (struct fake_script){.garbage = true});
    cr_assert(eq(int, status_of(fcgi_post(rig, ALICE)), 201));
    cr_assert(rig_said(rig, "it sent what is no answer"));
    cr_assert(eq(uint, fake_node_record(&rig->node).connections, 2));
    fake_node_play(&rig->node, (struct fake_script){.bad_users = true});
    expect_unavailable(fcgi_get(rig, "/users"), "could not be read");
    expect_unavailable(fcgi_get(rig, "/users?limit=5"), "could not be read");
    fake_node_play(&rig->node, (struct fake_script){0});
    cr_assert(eq(int, status_of(fcgi_get(rig, "/users")), 200));
    rig_stop(rig);
}

Test(outage, by_another_version_is_told_and_waited_out)
{
    struct rig *rig = rig_start((struct rig_options){.without_node = true});
    fake_node_play(&rig->node, (struct fake_script){.wrong_version = true});
    rig_node_start(rig);
    WAIT_UNTIL(fake_node_record(&rig->node).connections >= 2, 2000);
    expect_unavailable(fcgi_post(rig, ALICE), "cannot be reached");
    cr_assert(eq(uint, fake_node_record(&rig->node).frames, 0));
    fake_node_play(&rig->node, (struct fake_script){0});
    WAIT_UNTIL(status_of(fcgi_post(rig, ALICE)) == 201, 2000);
    rig_stop(rig);
}

/* Between a node that takes connections and says nothing, and none at all, there is no difference.
 */
Test(outage, by_a_node_that_does_not_greet_is_one)
{
    struct rig *rig = rig_start((struct rig_options){.without_node = true});
    struct fake_node *node = &rig->node;
    rig_node_start(rig);
    WAIT_UNTIL(fake_node_record(node).open == 1, 2000);
    pthread_mutex_lock(&node->lock); /* its thread stands still, its backlog does not */
    unsigned connections = node->record.connections;
    int fd = fcgi_connect(rig);
    fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    ms_sleep(100);
    pthread_mutex_unlock(&node->lock);
    cr_expect(eq(int, status_of(fcgi_receive(fd, 5000)), 201));
    cr_expect(eq(uint, fake_node_record(node).connections, connections));
    close(fd);
    rig_stop(rig);
}

Test(outage, with_too_many_waiting_refuses_the_rest_at_once)
{
    struct rig *rig = rig_start((struct rig_options){.without_node = true, .deadline_ms = 5000});
    static int fds[1100];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fcgi_connect(rig);
        fcgi_send(fds[i], &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    }
    rig_node_start(rig);
    unsigned created = 0, busy = 0;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        int status = status_of(fcgi_receive(fds[i], 10000));
        created += status == 201;
        busy += status == 503;
        close(fds[i]);
    }
    cr_assert(eq(uint, created + busy, ARRAY_LEN(fds)));
    cr_assert(created >= 1024 || busy == 0, "%u created, %u refused", created, busy);
    cr_assert(eq(uint, fake_node_record(&rig->node).created, created));
    rig_stop(rig);
}
