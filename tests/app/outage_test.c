/* What the worker does when its node is away, silent, broken or wrong. */
#include "app/node_client.h"
#include "tests/app/stage.h"

#include <poll.h>
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

static int post_as(const struct stage *stage, const char *id)
{
    int fd = fcgi_connect(stage);
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

Test(outage, from_the_start_is_waited_out_once_and_then_no_longer)
{
    struct stage *stage =
        stage_start((struct stage_options){.without_node = true, .deadline_ms = 1000});
    long before = ms_now();
    expect_unavailable(fcgi_post(stage, ALICE), "cannot be reached");
    cr_expect(ms_now() - before > 500);
    before = ms_now();
    expect_unavailable(fcgi_post(stage, ALICE), "cannot be reached");
    expect_unavailable(fcgi_get(stage, "/users"), "cannot be reached");
    expect_unavailable(fcgi_get(stage, "/cluster"), "cannot be reached");
    cr_expect(ms_now() - before < 3 * 1000); /* each waiting would be three deadlines */
    stage_node_start(stage);
    WAIT_UNTIL(status_of(fcgi_post(stage, ALICE)) == 201, 2000);
    stage_stop(stage);
}

Test(outage, short_enough_costs_nothing_but_time)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 5000});
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    for (int round = 0; round < 3; round++) {
        stage_node_stop(stage);
        int write = post_as(stage, NULL), list = fcgi_connect(stage), cluster = fcgi_connect(stage);
        fcgi_send(list, &(struct fcgi_ask){.method = "GET"});
        fcgi_send(cluster, &(struct fcgi_ask){.uri = "/cluster"});
        ms_sleep(300);
        stage_node_start(stage);
        cr_expect(eq(int, status_of(fcgi_receive(write, 3000)), 201));
        cr_expect(eq(int, status_of(fcgi_receive(list, 3000)), 200));
        cr_expect(eq(int, status_of(fcgi_receive(cluster, 3000)), 200));
        close(write);
        close(list);
        close(cluster);
    }
    cr_assert(eq(uint, fake_node_record(&stage->node).created, 4));
    stage_stop(stage);
}

/* The node executes the write and dies before it says so: exactly what request ids are for. */
Test(outage, after_a_write_sends_it_again_under_the_same_id)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.break_writes = 3});
    int fd = post_as(stage, ID);
    struct reply *reply = fcgi_receive(fd, 5000);
    cr_assert(eq(int, reply->status, 201));
    cr_assert(eq(str, reply->body, "{\"id\":1,\"name\":\"Alice\"}"));
    free(reply);
    struct fake_record record = fake_node_record(&stage->node);
    cr_assert(eq(uint, record.created, 1));
    cr_assert(eq(uint, record.writes, 4));
    cr_assert(eq(u8, record.last_write.at[1], 0x11));
    close(fd);
    stage_stop(stage);
}

Test(outage, before_a_write_was_read_sends_it_again_too)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.lose_writes = 2});
    int fds[40];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = post_as(stage, NULL);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        cr_expect(eq(int, status_of(fcgi_receive(fds[i], 5000)), 201));
        close(fds[i]);
    }
    cr_assert(eq(uint, fake_node_record(&stage->node).created, ARRAY_LEN(fds)));
    stage_stop(stage);
}

/* A worker tries what another worker has tried: the id makes it one. */
Test(outage, of_a_worker_leaves_an_id_that_another_can_use)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.unknown = true});
    int fd = post_as(stage, ID);
    expect_unknown(fcgi_receive(fd, 5000));
    close(fd);
    fake_node_play(&stage->node, (struct fake_script){0});
    fd = post_as(stage, ID);
    struct reply *reply = fcgi_receive(fd, 5000);
    cr_assert(eq(str, reply->body, "{\"id\":1,\"name\":\"Alice\"}"));
    cr_assert(eq(uint, fake_node_record(&stage->node).created, 1));
    free(reply);
    close(fd);
    stage_stop(stage);
}

Test(outage, by_silence_ends_at_the_deadline_with_what_is_known)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 500});
    fake_node_play(&stage->node, (struct fake_script){.mute = true});
    long before = ms_now();
    expect_unknown(fcgi_post(stage, ALICE));
    cr_expect(ms_now() - before >= 490);
    expect_unavailable(fcgi_get(stage, "/users"), "did not answer in time");
    expect_unavailable(fcgi_get(stage, "/cluster"), "did not answer in time");
    cr_expect(eq(int, status_of(fcgi_get(stage, "/readyz")), 503));
    fake_node_play(&stage->node, (struct fake_script){0});
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    stage_stop(stage);
}

/* A write that went out before the connection broke may have been executed, however long ago. */
Test(outage, that_lasts_tells_sent_writes_from_those_that_never_left)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 1500});
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    int sent = post_as(stage, NULL);
    WAIT_UNTIL(fake_node_record(&stage->node).writes == 1, 2000);
    stage_node_stop(stage);
    WAIT_UNTIL(stage_said(stage, "event=node-away"), 2000);
    long before = ms_now();
    int unsent = post_as(stage, NULL);
    expect_unknown(fcgi_receive(sent, 5000));
    expect_unavailable(fcgi_receive(unsent, 5000), "cannot be reached");
    cr_expect(ms_now() - before > 1400); /* each at its deadline */
    close(sent);
    close(unsent);
    stage_stop(stage);
}

/* A refusal speaks of this try, and not of the one that was lost. */
Test(outage, after_a_write_leaves_it_in_doubt_though_it_is_refused_then)
{
    struct stage *stage = stage_start((struct stage_options){0});
    WAIT_UNTIL(fake_node_record(&stage->node).connections == 1, 5000);
    for (uint8_t reason = CALL_NO_LEADER; reason <= CALL_INVALID; reason++) {
        fake_node_play(&stage->node, (struct fake_script){.lose_writes = 1, .refuse = reason});
        unsigned before = fake_node_record(&stage->node).connections;
        expect_unknown(fcgi_post(stage, ALICE)); /* after CALL_STOPPING at its deadline */
        /* Its connection was lost with the write; a node that stops is left for another, too. */
        unsigned after = before + (reason == CALL_STOPPING ? 2 : 1);
        WAIT_UNTIL(fake_node_record(&stage->node).connections >= after, 5000);
    }
    stage_stop(stage);
}

Test(outage, by_refusal_gives_the_reason)
{
    struct stage *stage = stage_start((struct stage_options){0});
    for (uint8_t reason = CALL_NO_LEADER; reason <= CALL_INVALID; reason++) {
        if (reason == CALL_STOPPING)
            continue; /* below */
        fake_node_play(&stage->node, (struct fake_script){.refuse = reason});
        expect_unavailable(fcgi_post(stage, ALICE), call_reason_text(reason));
        expect_unavailable(fcgi_get(stage, "/users"), call_reason_text(reason));
    }
    fake_node_play(&stage->node, (struct fake_script){.refuse = 99});
    expect_unavailable(fcgi_post(stage, ALICE), "not known here");
    cr_assert(eq(uint, fake_node_record(&stage->node).connections, 1));
    stage_stop(stage);
}

/* --- by a stop: the node says so, and another comes after it ---------------------------------- */

Test(outage, by_a_stop_is_waited_out)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 5000});
    fake_node_play(&stage->node, (struct fake_script){.refuse = CALL_STOPPING});
    int fds[6];
    fds[0] = post_as(stage, NULL); /* is refused, and makes it known */
    WAIT_UNTIL(fake_node_record(&stage->node).writes == 1, 2000);
    WAIT_UNTIL(status_of(fcgi_get(stage, "/readyz")) == 503, 2000);
    static const char *const uris[] = {"/users", "/users?limit=3", "/cluster"};
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        fds[1 + i] = fcgi_connect(stage);
        fcgi_send(fds[1 + i], &(struct fcgi_ask){.uri = uris[i]});
    }
    fds[4] = post_as(stage, NULL);
    fds[5] = post_as(stage, NULL);
    close(fds[5]); /* nobody waits for this one: it is not sent to anyone */
    ms_sleep(200);
    struct fake_record record = fake_node_record(&stage->node);
    cr_expect(eq(uint, record.writes, 1)); /* who is stopping is not asked again */
    cr_expect(eq(uint, record.lists, 0));
    stage_node_stop(stage);
    fake_node_play(&stage->node, (struct fake_script){0});
    stage_node_start(stage);
    for (size_t i = 0; i < 5; i++) {
        int status = status_of(fcgi_receive(fds[i], 3000));
        cr_expect(eq(int, status, i == 0 || i == 4 ? 201 : 200), "%zu", i);
        close(fds[i]);
    }
    cr_expect(eq(uint, fake_node_record(&stage->node).created, 2));
    cr_expect(eq(int, status_of(fcgi_get(stage, "/readyz")), 503)); /* the script says not ready */
    stage_stop(stage);
}

/* A write that the stopping node has taken is answered by it. */
Test(outage, by_a_stop_leaves_what_was_taken_its_answers)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 5000});
    fake_node_play(&stage->node,
                   (struct fake_script){.users_made_up = 20000, .made_up_name_bytes = 100});
    int list =
        fcgi_connect(stage); /* of a client that reads slowly: it is under way all the time */
    fcgi_send(list, &(struct fcgi_ask){.method = "GET"});
    WAIT_UNTIL(fake_node_record(&stage->node).lists == 1, 2000);
    struct fake_script script = fake_node_script(&stage->node);
    script.refuse = CALL_STOPPING;
    fake_node_play(&stage->node, script);
    int write = post_as(stage, NULL);
    WAIT_UNTIL(fake_node_record(&stage->node).writes == 1, 2000);
    struct reply *reply = fcgi_receive(list, 5000);
    cr_expect(reply->ended && reply->body_len > 20000 * 100);
    free(reply);
    stage_node_stop(stage);
    fake_node_play(&stage->node, (struct fake_script){0});
    stage_node_start(stage);
    cr_expect(eq(int, status_of(fcgi_receive(write, 3000)), 201));
    close(write);
    close(list);
    stage_stop(stage);
}

Test(outage, by_a_stop_that_does_not_end_is_left_at_the_deadline)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 500});
    fake_node_play(&stage->node, (struct fake_script){.refuse = CALL_STOPPING});
    long before = ms_now();
    expect_unavailable(fcgi_post(stage, ALICE), "cannot be reached");
    cr_expect(ms_now() - before > 400);
    WAIT_UNTIL(stage_said(stage, "it said that it is stopping, and does not end"), 2000);
    fake_node_play(&stage->node, (struct fake_script){0});
    WAIT_UNTIL(status_of(fcgi_post(stage, ALICE)) == 201, 2000);
    cr_expect(eq(uint, fake_node_record(&stage->node).created, 1));
    stage_stop(stage);
}

Test(outage, by_a_stop_keeps_in_doubt_what_was_lost_before)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 1000});
    fake_node_play(&stage->node, (struct fake_script){.lose_writes = 1, .refuse = CALL_STOPPING});
    expect_unknown(fcgi_post(stage, ALICE));
    stage_stop(stage);
}

Test(outage, by_nonsense_is_met_with_a_new_connection)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.garbage = true});
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    cr_assert(stage_said(stage, "it sent what is no frame"));
    cr_assert(eq(uint, fake_node_record(&stage->node).connections, 2));
    fake_node_play(&stage->node, (struct fake_script){.bad_users = true});
    expect_unavailable(fcgi_get(stage, "/users"), "could not be read");
    expect_unavailable(fcgi_get(stage, "/users?limit=5"), "could not be read");
    fake_node_play(&stage->node, (struct fake_script){0});
    cr_assert(eq(int, status_of(fcgi_get(stage, "/users")), 200));
    stage_stop(stage);
}

Test(outage, by_another_version_is_told_and_waited_out)
{
    struct stage *stage = stage_start((struct stage_options){.without_node = true});
    fake_node_play(&stage->node, (struct fake_script){.wrong_version = true});
    stage_node_start(stage);
    WAIT_UNTIL(fake_node_record(&stage->node).connections >= 2, 2000);
    expect_unavailable(fcgi_post(stage, ALICE), "cannot be reached");
    cr_assert(eq(uint, fake_node_record(&stage->node).frames, 0));
    fake_node_play(&stage->node, (struct fake_script){0});
    WAIT_UNTIL(status_of(fcgi_post(stage, ALICE)) == 201, 2000);
    stage_stop(stage);
}

/* Between a node that takes connections and says nothing, and none at all, there is no difference.
 */
Test(outage, by_a_node_that_does_not_greet_is_one)
{
    struct stage *stage = stage_start((struct stage_options){.without_node = true});
    struct fake_node *node = &stage->node;
    stage_node_start(stage);
    WAIT_UNTIL(fake_node_record(node).open == 1, 2000);
    pthread_mutex_lock(&node->lock); /* its thread stands still, its backlog does not */
    unsigned connections = node->record.connections;
    int fd = fcgi_connect(stage);
    fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    ms_sleep(100);
    pthread_mutex_unlock(&node->lock);
    cr_expect(eq(int, status_of(fcgi_receive(fd, 5000)), 201));
    cr_expect(eq(uint, fake_node_record(node).connections, connections));
    close(fd);
    stage_stop(stage);
}

static unsigned answered(const int *fds, size_t count)
{
    unsigned answers = 0;
    for (size_t i = 0; i < count; i++)
        answers += poll(&(struct pollfd){.fd = fds[i], .events = POLLIN}, 1, 0) != 0;
    return answers;
}

/* While nothing is answered, as in an election, what waits is no sign of too much: it may be more
 * than NODE_BUSY. */
Test(outage, by_an_election_lets_the_queue_grow)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = HANGS_AFTER_MS});
    int fds[NODE_BUSY + 50];
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = post_as(stage, NULL);
    WAIT_UNTIL(fake_node_record(&stage->node).writes + answered(fds, ARRAY_LEN(fds)) ==
                   ARRAY_LEN(fds),
               5000);
    cr_assert(eq(uint, answered(fds, ARRAY_LEN(fds)), 0));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    stage_stop(stage);
}

/* The node answers all the time, so that NODE_BUSY holds. */
static void expect_served(const struct stage *stage)
{
    for (int i = 0; i < 20; i++) {
        free(fcgi_get(stage, "/cluster"));
        cr_expect(eq(int, status_of(fcgi_get(stage, "/users/1")), 404));
    }
}

/* Of those who wait for an index there may be so many, and no others are refused for them. */
Test(outage, by_waits_for_an_index_is_none_for_others)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = HANGS_AFTER_MS});
    static int fds[NODE_AHEAD_MAX + 8];
    fake_node_play(&stage->node, (struct fake_script){.hold_ahead = true});
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fcgi_connect(stage);
        fcgi_send(fds[i], &(struct fcgi_ask){.uri = "/users?min_index=1000"});
    }
    WAIT_UNTIL(fake_node_record(&stage->node).lists + answered(fds, ARRAY_LEN(fds)) ==
                   ARRAY_LEN(fds),
               5000);
    cr_assert(eq(uint, answered(fds, ARRAY_LEN(fds)), 8));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (answered(&fds[i], 1) == 1)
            expect_unavailable(fcgi_receive(fds[i], 5000), "too many requests are waiting");
    }
    expect_served(stage);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    stage_stop(stage);
}

/* What is let wait by its own reader waits for nobody here. */
Test(outage, by_slow_readers_is_none_for_others)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = HANGS_AFTER_MS});
    static int fds[NODE_BUSY + 20];
    fake_node_play(&stage->node,
                   (struct fake_script){.users_made_up = 10000, .made_up_name_bytes = 1000});
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fcgi_connect(stage);
        fcgi_send(fds[i], &(struct fcgi_ask){.uri = "/users"});
        WAIT_UNTIL(answered(&fds[i], 1) == 1, 5000); /* it has begun */
    }
    fake_node_play(&stage->node, (struct fake_script){0});
    expect_served(stage);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    stage_stop(stage);
}

Test(outage, with_too_many_waiting_refuses_the_rest_at_once)
{
    struct stage *stage =
        stage_start((struct stage_options){.without_node = true, .deadline_ms = HANGS_AFTER_MS});
    static int fds[1100];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fcgi_connect(stage);
        fcgi_send(fds[i], &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    }
    WAIT_UNTIL(answered(fds, ARRAY_LEN(fds)) >= ARRAY_LEN(fds) - NODE_WAITING_MAX, 5000);
    stage_node_start(stage);
    unsigned created = 0, busy = 0;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        int status = status_of(fcgi_receive(fds[i], 10000));
        created += status == 201;
        busy += status == 503;
        close(fds[i]);
    }
    cr_assert(eq(uint, created, NODE_WAITING_MAX));
    cr_assert(eq(uint, busy, ARRAY_LEN(fds) - NODE_WAITING_MAX));
    cr_assert(eq(uint, fake_node_record(&stage->node).created, created));
    stage_stop(stage);
}
