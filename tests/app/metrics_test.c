/* GET /metrics of the real worker, with a fake node behind it. */
#include "tests/app/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define ALICE "{\"name\":\"Alice\"}"

TestSuite(metrics_page, .timeout = 60);

static int status_of(struct reply *reply)
{
    int status = reply->status;
    free(reply);
    return status;
}

/* The sample's value in a page; -1 when there is none. */
static long value_in(const struct reply *reply, const char *name)
{
    char start[160];
    snprintf(start, sizeof(start), "\n%s ", name);
    const char *at = strstr(reply->body, start);
    return at != NULL ? atol(at + strlen(start)) : -1;
}

static long value_of(const struct stage *stage, const char *name)
{
    struct reply *reply = fcgi_get(stage, "/metrics");
    cr_assert(eq(int, reply->status, 200));
    long value = value_in(reply, name);
    free(reply);
    return value;
}

Test(metrics_page, holds_the_workers_part_and_the_nodes)
{
    struct stage *stage = stage_start((struct stage_options){0});
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    cr_assert(eq(int, status_of(fcgi_post(stage, "{oops")), 400));
    cr_assert(eq(int, status_of(fcgi_get(stage, "/nope")), 404));
    cr_assert(eq(int, status_of(fcgi_get(stage, "/nope2?x=\"")), 404));
    cr_assert(eq(int, status_of(fcgi_ask(stage, &(struct fcgi_ask){.method = "BREW"})), 405));
    struct reply *reply = fcgi_get(stage, "/metrics");
    char length[32];
    cr_assert(eq(int, reply->status, 200));
    cr_expect(eq(str, (char *)reply_header(reply, "Content-Type"),
                 "text/plain; version=0.0.4; charset=utf-8"));
    cr_expect(eq(str, (char *)reply_header(reply, "Cache-Control"), "no-store"));
    snprintf(length, sizeof(length), "%zu", reply->body_len);
    cr_expect(eq(str, (char *)reply_header(reply, "Content-Length"), length));
    cr_expect(strstr(reply->body, FAKE_METRICS) != NULL, "%s", reply->body);
    static const struct {
        const char *name;
        long value;
    } rows[] = {
        {"rollcall_node_up", 1},
        {"rollcall_http_requests_total{route=\"/users\",method=\"POST\",status=\"201\"}", 1},
        {"rollcall_http_requests_total{route=\"/users\",method=\"POST\",status=\"400\"}", 1},
        {"rollcall_http_requests_total{route=\"/users\",method=\"other\",status=\"405\"}", 1},
        {"rollcall_http_requests_total{route=\"elsewhere\",method=\"GET\",status=\"404\"}", 2},
        {"rollcall_http_request_duration_seconds_count{route=\"/users\",method=\"POST\",class="
         "\"2xx\"}",
         1},
        {"rollcall_http_request_duration_seconds_bucket{route=\"/users\",method=\"POST\",class="
         "\"4xx\",le=\"+Inf\"}",
         1},
        {"rollcall_http_requests_in_flight", 1}, /* the one that asks */
        {"rollcall_workers", 1},
        {"rollcall_worker_starts_total", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect(eq(long, value_in(reply, rows[i].name), rows[i].value), "%s\n%s", rows[i].name,
                  reply->body);
    free(reply);
    reply = fcgi_ask(stage, &(struct fcgi_ask){.method = "HEAD", .uri = "/metrics"});
    cr_expect(reply->status == 200 && reply->body_len == 0 && reply->ended);
    free(reply);
    stage_stop(stage);
}

Test(metrics_page, is_there_without_the_node_and_says_so)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 500});
    fake_node_play(&stage->node, (struct fake_script){.mute = true});
    cr_expect(eq(long, value_of(stage, "rollcall_workers"), 1)); /* waits for its deadline */
    struct reply *reply = fcgi_get(stage, "/metrics");
    cr_expect(strstr(reply->body, "rollcall_node_up 0\n") != NULL, "%s", reply->body);
    cr_expect(value_in(reply, "rollcall_http_requests_total{route=\"/metrics\",method=\"GET\","
                              "status=\"200\"}") == 1);
    free(reply);
    stage_stop(stage);
}

/* With a deadline that only a hang would reach. */
Test(metrics_page, does_not_wait_for_a_node_that_is_away)
{
    struct stage *stage = stage_start((struct stage_options){.deadline_ms = 600000});
    stage_node_stop(stage);
    WAIT_UNTIL(stage_said(stage, "event=node-away"), 2000);
    struct reply *reply = fcgi_get(stage, "/metrics");
    cr_expect(eq(int, reply->status, 200));
    cr_expect(strstr(reply->body, "rollcall_node_up 0\n") != NULL, "%s", reply->body);
    cr_expect(strstr(reply->body, "fake") == NULL);
    free(reply);
    stage_stop(stage);
}

static unsigned workers_but(const struct stage *stage, pid_t gone)
{
    pid_t pids[8];
    unsigned count = stage_pids(stage, pids, 8), others = 0;
    for (unsigned i = 0; i < count; i++)
        others += pids[i] != gone;
    return others;
}

/* Whoever is asked: all that all workers did, those too that are dead. */
Test(metrics_page, is_the_same_whichever_worker_answers)
{
    static const char created[] =
        "rollcall_http_requests_total{route=\"/users\",method=\"POST\",status=\"201\"}";
    struct stage *stage = stage_start((struct stage_options){.workers = 3});
    WAIT_UNTIL(workers_but(stage, 0) == 3, 5000);
    long posts = 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 30; i++, posts++)
            cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
        /* A worker counts a request when it is done with it: a moment after its answer. */
        WAIT_UNTIL(value_of(stage, created) == posts, 5000);
        for (int i = 0; i < 12; i++)
            cr_expect(eq(long, value_of(stage, created), posts));
        pid_t pids[8];
        cr_assert(eq(uint, stage_pids(stage, pids, 8), 3));
        cr_assert(eq(int, kill(pids[round % 3], SIGKILL), 0));
        WAIT_UNTIL(workers_but(stage, pids[round % 3]) == 3, 5000);
    }
    cr_expect(eq(long, value_of(stage, created), posts));
    cr_expect(eq(long, value_of(stage, "rollcall_worker_starts_total"), 3 + 4));
    WAIT_UNTIL(value_of(stage, "rollcall_http_requests_in_flight") == 1, 5000);
    stage_stop(stage);
}

/* A client that hangs up has no status, and is counted all the same. */
Test(metrics_page, counts_requests_that_nobody_waits_for_any_more)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    int fd = fcgi_connect(stage);
    fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    WAIT_UNTIL(fake_node_record(&stage->node).writes == 1, 2000);
    cr_expect(eq(long, value_of(stage, "rollcall_http_requests_in_flight"), 2));
    close(fd);
    WAIT_UNTIL(value_of(stage, "rollcall_http_requests_in_flight") == 1, 2000);
    cr_expect(eq(long,
                 value_of(stage, "rollcall_http_requests_total{route=\"/users\",method=\"POST\","
                                 "status=\"cut\"}"),
                 1));
    stage_stop(stage);
}

/* What a killed worker was answering is answered by nobody. */
Test(metrics_page, forgets_what_a_killed_worker_was_answering)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 1});
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    int fd = fcgi_connect(stage);
    fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    WAIT_UNTIL(fake_node_record(&stage->node).writes == 1, 2000);
    kill(stage_worker(stage), SIGKILL);
    free(fcgi_receive(fd, 5000));
    cr_expect(eq(long, value_of(stage, "rollcall_http_requests_in_flight"), 1));
    cr_expect(eq(long, value_of(stage, "rollcall_worker_starts_total"), 2));
    close(fd);
    stage_stop(stage);
}

Test(metrics_page, is_asked_for_by_head_without_its_body)
{
    struct stage *stage = stage_start((struct stage_options){0});
    struct reply *reply = fcgi_ask(stage, &(struct fcgi_ask){.method = "HEAD", .uri = "/metrics"});
    cr_expect(eq(int, reply->status, 200));
    cr_expect(eq(sz, reply->body_len, 0));
    cr_expect(atol(reply_header(reply, "Content-Length")) > 1000);
    free(reply);
    stage_stop(stage);
}

/* Over what is written at a time: nginx takes it in pieces. */
Test(metrics_page, comes_whole_when_it_is_long)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS", "BREW"};
    static const char *const uris[] = {"/users", "/livez", "/readyz", "/cluster", "/metrics", "/x"};
    struct stage *stage = stage_start((struct stage_options){.nginx = true});
    for (size_t i = 0; i < ARRAY_LEN(methods) * ARRAY_LEN(uris); i++)
        free(fcgi_ask(stage, &(struct fcgi_ask){.method = methods[i % ARRAY_LEN(methods)],
                                                .uri = uris[i / ARRAY_LEN(methods)],
                                                .body = bytes_of_text(ALICE)}));
    struct reply *reply = http_ask(stage, "GET", "/metrics", NULL);
    cr_assert(reply != NULL && reply->status == 200 && reply->ended, "%d", reply->status);
    cr_assert(reply->body_len > 40u << 10, "%zu", reply->body_len);
    cr_assert(reply->body_len < REPLY_BODY_MAX);
    cr_expect(strcmp(reply->body + reply->body_len - strlen(FAKE_METRICS), FAKE_METRICS) == 0);
    free(reply);
    stage_stop(stage);
}
