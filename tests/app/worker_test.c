/* The worker as one process: what it answers, and what it does when its node or its peers fail. */
#include "tests/app/stage.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define ALICE "{\"name\":\"Alice\"}"

TestSuite(worker, .timeout = 60);

/* Status, then free: for answers of which nothing else is asked. */
static int status_of(struct reply *reply)
{
    int status = reply->status;
    free(reply);
    return status;
}

static void expect_problem(struct reply *reply, int status, const char *slug)
{
    cr_expect(eq(int, reply->status, status), "%s", reply->body);
    cr_expect(eq(str, (char *)reply_header(reply, "Content-Type"), "application/problem+json"));
    cr_expect(strstr(reply->body, slug) != NULL, "%s", reply->body);
    free(reply);
}

/* --- answers ---------------------------------------------------------------------------------- */

Test(worker, creates_and_lists_users)
{
    struct stage *stage = stage_start((struct stage_options){0});
    struct reply *reply = fcgi_get(stage, "/users");
    cr_assert(eq(int, reply->status, 200));
    cr_assert(eq(str, reply->body, "[]"));
    cr_assert(eq(str, (char *)reply_header(reply, "Content-Length"), "2"));
    cr_assert(eq(str, (char *)reply_header(reply, "Cache-Control"), "private, no-cache"));
    cr_assert(eq(str, (char *)reply_header(reply, "Vary"), "Accept-Encoding"));
    free(reply);
    reply = fcgi_post(stage, ALICE);
    cr_assert(eq(int, reply->status, 201));
    cr_assert(eq(str, reply->body, "{\"id\":1,\"name\":\"Alice\"}"));
    cr_assert(eq(str, (char *)reply_header(reply, "Content-Type"), "application/json"));
    cr_assert(eq(str, (char *)reply_header(reply, "Location"), "/users/1"));
    cr_assert(eq(str, (char *)reply_header(reply, "ETag"), "\"2\""));
    cr_assert(eq(str, (char *)reply_header(reply, "Raft-Index"), "2"));
    cr_assert(eq(str, (char *)reply_header(reply, "Raft-Node"), "7"));
    free(reply);
    cr_assert(eq(int, status_of(fcgi_post(stage, "{\"name\":\"B\\\"\\u0001\"}")), 201));
    reply = fcgi_get(stage, "/users?&&=");
    cr_assert(eq(str, reply->body,
                 "[{\"id\":1,\"name\":\"Alice\"},{\"id\":2,\"name\":\"B\\\"\\u0001\"}]"));
    free(reply);
    reply = fcgi_ask(stage, &(struct fcgi_ask){.method = "HEAD"});
    cr_assert(eq(int, reply->status, 200));
    cr_assert(eq(sz, reply->body_len, 0));
    cr_assert(eq(str, (char *)reply_header(reply, "Content-Length"), "53"));
    free(reply);
    stage_stop(stage);
}

Test(worker, refuses_a_parameter_that_a_resource_does_not_have)
{
    struct stage *stage = stage_start((struct stage_options){0});
    const struct fcgi_ask asks[] = {
        {.uri = "/users?emial=x@y"},
        {.uri = "/users?Email=x@y"},
        {.uri = "/users?min%5Findex=x"},
        {.uri = "/users?%6Cimit=0"},
        {.uri = "/users?limit=1&%6Cimit=1"},
        {.uri = "/users?limit%=1"},
        {.uri = "/users?=1"},
        {.uri = "/users/1?limit=1"},
        {.method = "DELETE", .uri = "/users/1?x=1"},
        {.method = "HEAD", .uri = "/livez?x"},
        {.method = "OPTIONS", .uri = "/users?x"},
        {.uri = "/livez?verbos"},
        {.uri = "/readyz?verbos"},
        {.uri = "/cluster?x"},
        {.uri = "/metrics?x"},
        {.uri = "/openapi.json?x"},
        {.uri = "/problems?x"},
        {.uri = "/problems/not-found?x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        expect_problem(fcgi_ask(stage, &asks[i]), 400,
                       asks[i].method == NULL || asks[i].method[0] != 'H' ? "invalid-parameter"
                                                                          : "");
    cr_assert(eq(uint, fake_node_record(&stage->node).frames, 0));
    stage_stop(stage);
}

Test(worker, checks_in_the_order_of_the_reference)
{
    struct stage *stage = stage_start((struct stage_options){0});
    static uint8_t big[200 << 10];
    memset(big, ' ', sizeof(big));
    struct bytes malformed = bytes_of_text("{oops"), too_big = bytes_of(big, sizeof(big));
    const struct {
        struct fcgi_ask ask;
        int status;
        const char *slug;
    } rows[] = {
        {{.method = "PUT", .uri = "/nope", .content_type = "", .body = too_big}, 404, "not-found"},
        {{.method = "PUT", .content_type = "", .body = too_big}, 405, "method-not-allowed"},
        {{.method = "POST", .content_type = "", .body = too_big}, 415, "unsupported-media-type"},
        {{.method = "POST", .content_type = "text/plain", .body = malformed}, 415, "unsupported"},
        {{.method = "POST", .body = too_big}, 413, "body-too-large"},
        {{.method = "POST", .body = malformed}, 400, "malformed-json"},
        {{.method = "POST", .body = bytes_of_text("{\"name\":1,oops")}, 400, "malformed-json"},
        {{.method = "POST", .body = bytes_of_text("{\"name\":1}")}, 422, "invalid-user"},
        {{.method = "POST", .uri = "/livez"}, 405, "method-not-allowed"},
        {{.method = "POST", .uri = "/users?x=1", .content_type = ""}, 415, "unsupported"},
        {{.method = "POST", .uri = "/users?x=1", .body = too_big}, 413, "body-too-large"},
        {{.method = "POST", .uri = "/users?limit=1", .body = bytes_of_text("{\"name\":1}")},
         400,
         "invalid-parameter"},
        {{.method = "PUT", .uri = "/users?x=1"}, 405, "method-not-allowed"},
        {{.uri = "/nope?x=1"}, 404, "not-found"},
        {{.method = "PUT", .uri = "/users/7", .body = bytes_of_text("{\"id\":8,\"name\":\"A\"}")},
         422,
         "invalid-user"},
        {{.method = "PUT",
          .uri = "/users/7",
          .body = bytes_of_text("{\"name\":\"A\",\"id\":\"7\"}")},
         422,
         "invalid-user"},
        {{.method = "PUT",
          .uri = "/users/7",
          .body = bytes_of_text("{\"\\u0069d\":null,\"name\":\"A\"}")},
         422,
         "invalid-user"},
        {{.method = "PATCH",
          .uri = "/users/7",
          .content_type = "application/merge-patch+json",
          .body = bytes_of_text("{\"id\":70}")},
         422,
         "invalid-user"},
        {{.uri = "/users?limit=0"}, 400, "invalid-parameter"},
        {{.uri = "/users?limit=1001"}, 400, "invalid-parameter"},
        {{.uri = "/users?limit=5x"}, 400, "invalid-parameter"},
        {{.uri = "/users?limit=1&limit=1"}, 400, "invalid-parameter"},
        {{.uri = "/users?after=x"}, 400, "invalid-parameter"},
        {{.uri = "/users?after=9007199254740992"}, 400, "invalid-parameter"},
        {{.uri = "/users?consistency=strong"}, 400, "invalid-parameter"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_problem(fcgi_ask(stage, &rows[i].ask), rows[i].status, rows[i].slug);
    cr_assert(eq(uint, fake_node_record(&stage->node).frames, 0));
    struct reply *reply = fcgi_ask(stage, &(struct fcgi_ask){.method = "DELETE"});
    cr_assert(eq(str, (char *)reply_header(reply, "Allow"), "GET,HEAD,POST"));
    free(reply);
    reply = fcgi_ask(stage, &(struct fcgi_ask){.method = "OPTIONS"});
    cr_assert(eq(int, reply->status, 204));
    cr_assert(eq(str, (char *)reply_header(reply, "Allow"), "GET,HEAD,POST"));
    cr_assert(eq(str, (char *)reply_header(reply, "Content-Length"), ""));
    free(reply);
    stage_stop(stage);
}

Test(worker, gives_pages_with_a_link_to_the_next)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.users_made_up = 5, .made_up_name_bytes = 1});
    struct reply *reply = fcgi_get(stage, "/users?limit=2");
    cr_assert(eq(str, reply->body, "[{\"id\":1,\"name\":\"b\"},{\"id\":2,\"name\":\"c\"}]"));
    cr_assert(
        eq(str, (char *)reply_header(reply, "Link"), "</users?limit=2&after=2>; rel=\"next\""));
    free(reply);
    reply = fcgi_get(stage, "/users?after=2&limit=2&consistency=stale");
    cr_assert(eq(str, reply->body, "[{\"id\":3,\"name\":\"d\"},{\"id\":4,\"name\":\"e\"}]"));
    cr_assert(eq(str, (char *)reply_header(reply, "Link"),
                 "</users?limit=2&after=4&consistency=stale>; rel=\"next\""));
    free(reply);
    static const char *const ends[] = {"/users?limit=2&after=4", "/users?limit=1&after=4",
                                       "/users?after=4"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        reply = fcgi_get(stage, ends[i]);
        cr_expect(eq(str, reply->body, "[{\"id\":5,\"name\":\"f\"}]"));
        cr_expect(eq(str, (char *)reply_header(reply, "Link"), ""));
        free(reply);
    }
    reply = fcgi_get(stage, "/users?after=9007199254740991");
    cr_assert(eq(str, reply->body, "[]"));
    free(reply);
    /* The largest page there is: a megabyte, in many chunks, and still its length and link first.
     */
    fake_node_play(&stage->node,
                   (struct fake_script){.users_made_up = 2000, .made_up_name_bytes = 1024});
    reply = fcgi_get(stage, "/users?limit=1000");
    char length[24];
    snprintf(length, sizeof(length), "%zu", reply->body_len);
    cr_assert(eq(str, (char *)reply_header(reply, "Content-Length"), length));
    cr_assert(eq(str, (char *)reply_header(reply, "Link"),
                 "</users?limit=1000&after=1000>; rel=\"next\""));
    cr_assert(reply->body_len > 1000 * 1024);
    free(reply);
    stage_stop(stage);
}

/* Which node, as soon as it is known; at which index: of the state that was looked at, else of the
 * newest that is known. */
Test(worker, says_in_every_answer_where_it_comes_from)
{
    struct stage *stage = stage_start((struct stage_options){0});
    const struct {
        struct fcgi_ask ask;
        int status;
        const char *index;
    } rows[] = {
        {{.method = "POST", .body = bytes_of_text(ALICE)}, 201, "2"},
        {{.uri = "/users"}, 200, "2"},
        {{.uri = "/users?limit=1"}, 200, "2"},
        {{.method = "HEAD"}, 200, "2"},
        {{.uri = "/cluster"}, 200, "40"},
        {{.uri = "/readyz"}, 200, "40"},
        {{.uri = "/users/9"}, 404, "2"},
        {{.uri = "/livez"}, 200, "40"},
        {{.method = "OPTIONS"}, 204, "40"},
        {{.uri = "/nope"}, 404, "40"},
        {{.method = "DELETE"}, 405, "40"},
        {{.method = "POST", .body = bytes_of_text("{")}, 400, "40"},
        {{.method = "POST", .body = bytes_of_text("{}")}, 422, "40"},
        {{.uri = "/users?limit=0"}, 400, "40"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *reply = fcgi_ask(stage, &rows[i].ask);
        cr_expect(eq(int, reply->status, rows[i].status));
        cr_expect(eq(str, (char *)reply_header(reply, "Raft-Node"), "7"), "row %zu", i);
        cr_expect(eq(str, (char *)reply_header(reply, "Raft-Index"), (char *)rows[i].index));
        free(reply);
    }
    static const struct fake_script scripts[] = {
        {.refuse = CALL_NO_LEADER}, {.unknown = true}, {.bad_users = true}};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        fake_node_play(&stage->node, scripts[i]);
        struct reply *reply = i < 2 ? fcgi_post(stage, ALICE) : fcgi_get(stage, "/users");
        cr_expect(eq(int, reply->status, i == 1 ? 504 : 503));
        cr_expect(eq(str, (char *)reply_header(reply, "Raft-Node"), "7"));
        cr_expect(eq(str, (char *)reply_header(reply, "Raft-Index"), "40"));
        free(reply);
    }
    stage_stop(stage);
}

Test(worker, tells_its_health_and_its_node)
{
    struct stage *stage = stage_start((struct stage_options){0});
    cr_assert(eq(int, status_of(fcgi_get(stage, "/livez")), 200));
    struct reply *reply = fcgi_get(stage, "/readyz");
    cr_assert(eq(int, reply->status, 200));
    cr_assert(eq(str, reply->body, "ok\n"));
    free(reply);
    reply = fcgi_get(stage, "/readyz?verbose");
    cr_assert(strstr(reply->body, "[+]leader ok\n") != NULL, "%s", reply->body);
    free(reply);
    reply = fcgi_get(stage, "/cluster");
    cr_assert(eq(str, reply->body,
                 "{\"cluster\":\"test\",\"node\":7,\"role\":\"leader\",\"term\":3,\"leader\":7,"
                 "\"commit\":41,\"applied\":40,\"last\":42,\"snapshot\":{\"index\":30,\"state\":"
                 "\"ok\"},\"members\":[{\"id\":7,\"address\":\"127.0.0.1:7001\",\"voter\":true,"
                 "\"match\":42,\"reachable\":true},{\"id\":8,\"address\":\"b:2\",\"voter\":"
                 "false,\"match\":null,\"reachable\":false}]}"));
    free(reply);
    struct fake_script script = fake_node_script(&stage->node);
    script.status.leader = 0;
    script.status.ready = 0;
    script.status.role = CALL_CANDIDATE;
    script.status.wal_full = 1;
    script.status.snapshot_state = CALL_SNAPSHOT_DOWN;
    fake_node_play(&stage->node, script);
    reply = fcgi_get(stage, "/readyz");
    cr_assert(eq(int, reply->status, 503));
    cr_assert(eq(str, (char *)reply_header(reply, "Retry-After"), "1"));
    cr_assert(strstr(reply->body, "[+]node ok\n[-]leader failed: no leader is known\n") != NULL);
    cr_assert(strstr(reply->body, "[-]disk failed: full") != NULL);
    cr_assert(strstr(reply->body, "[-]snapshots failed: redis-down\n") != NULL);
    free(reply);
    reply = fcgi_get(stage, "/cluster");
    cr_assert(strstr(reply->body, "\"role\":\"candidate\",\"term\":3,\"leader\":null") != NULL);
    free(reply);
    script.status.members.len--; /* the last is cut */
    fake_node_play(&stage->node, script);
    expect_problem(fcgi_get(stage, "/cluster"), 503, "unavailable");
    stage_node_stop(stage);
    WAIT_UNTIL(stage_said(stage, "event=node-away"), 2000);
    reply = fcgi_get(stage, "/readyz");
    cr_assert(eq(int, reply->status, 503));
    cr_assert(strstr(reply->body, "[-]node failed: it cannot be reached\n") != NULL);
    free(reply);
    cr_assert(eq(int, status_of(fcgi_get(stage, "/livez")), 200));
    stage_stop(stage);
}

/* --- connections ------------------------------------------------------------------------------ */

Test(worker, keeps_a_connection_when_it_is_asked_to)
{
    struct stage *stage = stage_start((struct stage_options){0});
    int fd = fcgi_connect(stage);
    for (int i = 0; i < 300; i++) {
        fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
        struct reply *reply = fcgi_receive(fd, 5000);
        cr_assert(reply->ended && reply->status == 201);
        free(reply);
    }
    fcgi_send(fd, &(struct fcgi_ask){.close = true});
    struct reply *reply = fcgi_receive(fd, 5000);
    cr_assert(reply->ended && reply->status == 200);
    free(reply);
    reply = fcgi_receive(fd, 5000);
    cr_assert(reply->closed);
    free(reply);
    close(fd);
    stage_stop(stage);
}

Test(worker, waits_for_a_request_in_pieces_and_serves_others_meanwhile)
{
    struct stage *stage = stage_start((struct stage_options){0});
    uint8_t bytes[1024];
    struct writer out = writer_of(bytes, sizeof(bytes));
    put_request(&out, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    int fd = fcgi_connect(stage);
    size_t len = writer_len(&out);
    for (size_t at = 0; at < len; at++) {
        fcgi_send_bytes(fd, bytes_of(bytes + at, 1));
        if (at % 16 == 0)
            cr_assert(eq(int, status_of(fcgi_get(stage, "/users")), 200));
    }
    struct reply *reply = fcgi_receive(fd, 5000);
    cr_assert(eq(int, reply->status, 201));
    free(reply);
    close(fd);
    stage_stop(stage);
}

/* A request that never gets complete is given up, costs no processor meanwhile, and harms nobody.
 */
Test(worker, gives_up_a_request_that_does_not_come)
{
    struct stage *stage = stage_start((struct stage_options){0});
    uint8_t bytes[1024];
    struct writer out = writer_of(bytes, sizeof(bytes));
    put_request(&out, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    int fds[50];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fcgi_connect(stage);
        fcgi_send_bytes(fds[i], bytes_of(bytes, writer_len(&out) - 1 - i));
    }
    long before = ms_now();
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) /* that was answered before these are given up */
        cr_assert(eq(int, poll(&(struct pollfd){.fd = fds[i], .events = POLLIN}, 1, 0), 0));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        struct reply *reply = fcgi_receive(fds[i], 8000);
        cr_expect(reply->closed);
        free(reply);
        close(fds[i]);
    }
    cr_assert(ms_now() - before > 4000);
    cr_assert(eq(uint, fake_node_record(&stage->node).created, 1));
    stage_stop(stage);
}

Test(worker, closes_on_what_is_no_request)
{
    struct stage *stage = stage_start((struct stage_options){0});
    static const struct {
        const char *at;
        size_t len;
    } rows[] = {{"GET / HTTP/1.1\r\n\r\n", 18},
                {"\x01\x01\0\x01\0\x08\0\0\0\x03\x01\0\0\0\0\0", 16},
                {"\x01\x09\0\0\0\0\0\0", 8},
                {"\xff", 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = fcgi_connect(stage);
        fcgi_send_bytes(fd, bytes_of(rows[i].at, rows[i].len));
        struct reply *reply = fcgi_receive(fd, 8000);
        cr_expect(reply->closed, "row %zu", i);
        free(reply);
        close(fd);
    }
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    stage_stop(stage);
}

Test(worker, answers_too_big_a_body_before_it_is_all_there)
{
    struct stage *stage = stage_start((struct stage_options){0});
    static uint8_t body[4 << 20];
    struct bytes whole = bytes_of(body, sizeof(body));
    int fd = fcgi_connect(stage);
    fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = whole}); /* all of it is taken */
    struct reply *reply = fcgi_receive(fd, 5000);
    expect_problem(reply, 413, "body-too-large");
    close(fd);
    stage_stop(stage);
}

Test(worker, out_of_descriptors_serves_on_and_recovers)
{
    struct stage *stage = stage_start((struct stage_options){0});
    pid_t pid = stage_worker(stage);
    int kept = fcgi_connect(stage);
    fcgi_send(kept, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    free(fcgi_receive(kept, 5000));
    struct rlimit before, few = {.rlim_cur = 24, .rlim_max = 1024};
    cr_assert(eq(int, prlimit(pid, RLIMIT_NOFILE, &few, &before), 0));
    int fds[60];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fcgi_connect(stage);
        fcgi_send(fds[i], &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    }
    WAIT_UNTIL(stage_said(stage, "event=accept-failed"), 5000);
    fcgi_send(kept, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    struct reply *reply = fcgi_receive(kept, 1000);
    cr_assert(eq(int, reply->status, 201));
    free(reply);
    /* Those that waited are served as others leave. */
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        reply = fcgi_receive(fds[i], 5000);
        cr_expect(eq(int, reply->status, 201));
        free(reply);
        close(fds[i]);
    }
    close(kept);
    stage_stop(stage);
}

/* --- who has hung up is not served ------------------------------------------------------------ */

/* SIGSTOP is not obeyed at once by what runs on another processor. */
static void stop_process(pid_t pid)
{
    char path[64], state = '?';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    kill(pid, SIGSTOP);
    for (unsigned i = 0; i < 5000 && state != 'T'; i++) {
        FILE *file = fopen(path, "re");
        cr_assert(file != NULL && fscanf(file, "%*d (%*[^)]) %c", &state) == 1);
        fclose(file);
        usleep(1000);
    }
    cr_assert(eq(chr, state, 'T'));
}

Test(worker, does_not_begin_what_nobody_waits_for)
{
    struct stage *stage = stage_start((struct stage_options){0});
    pid_t pid = stage_worker(stage);
    int kept = fcgi_connect(stage);
    fcgi_send(kept, &(struct fcgi_ask){.uri = "/livez"});
    free(fcgi_receive(kept, 5000));
    stop_process(pid);
    /* On a new connection and on a kept one: complete in the socket before its sender gave up. */
    int fresh = fcgi_connect(stage);
    fcgi_send(fresh, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    fcgi_send(kept, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    close(fresh);
    close(kept);
    kill(pid, SIGCONT);
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    cr_assert(eq(uint, fake_node_record(&stage->node).writes, 1));
    stage_stop(stage);
}

Test(worker, does_not_send_what_was_given_up_while_the_node_was_away)
{
    struct stage *stage = stage_start((struct stage_options){.without_node = true});
    int gone = fcgi_connect(stage), waits = fcgi_connect(stage);
    fcgi_send(gone, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    fcgi_send(waits, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    ms_sleep(100);
    close(gone);
    stage_node_start(stage);
    struct reply *reply = fcgi_receive(waits, 5000);
    cr_assert(eq(int, reply->status, 201));
    cr_assert(eq(uint, fake_node_record(&stage->node).writes, 1));
    free(reply);
    close(waits);
    stage_stop(stage);
}

Test(worker, forgets_a_write_whose_client_left_while_it_waited)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    for (int i = 0; i < 20; i++) {
        int fd = fcgi_connect(stage);
        fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
        WAIT_UNTIL(fake_node_record(&stage->node).writes == (unsigned)i + 1, 2000);
        close(fd);
    }
    fake_node_play(&stage->node, (struct fake_script){0});
    cr_assert(eq(int, status_of(fcgi_post(stage, ALICE)), 201));
    stage_stop(stage);
}

/* --- the process ------------------------------------------------------------------------------ */

Test(worker, without_a_listening_socket_says_so)
{
    char self[400] = "", command[512], line[256] = "";
    cr_assert(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    *strrchr(self, '/') = '\0';
    const char *given = getenv("ROLLCALL_BIN");
    snprintf(command, sizeof(command), "%s/rollcall-app 2>&1 </dev/null",
             given != NULL ? given : self);
    FILE *output = popen(command, "r");
    cr_assert(output != NULL && fgets(line, sizeof(line), output) != NULL);
    cr_assert(strstr(line, "standard input is no listening socket") != NULL, "%s", line);
    cr_assert(eq(int, WEXITSTATUS(pclose(output)), 2));
}

Test(worker, told_to_stop_answers_what_runs_and_ends)
{
    struct stage *stage = stage_start((struct stage_options){0});
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    int idle = fcgi_connect(stage), late = fcgi_connect(stage), runs[10];
    fcgi_send(idle, &(struct fcgi_ask){.uri = "/livez"});
    free(fcgi_receive(idle, 5000));
    fcgi_send(late, &(struct fcgi_ask){.uri = "/livez"});
    free(fcgi_receive(late, 5000));
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        runs[i] = fcgi_connect(stage);
        fcgi_send(runs[i], &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    }
    WAIT_UNTIL(fake_node_record(&stage->node).writes == ARRAY_LEN(runs), 2000);
    kill(stage->app, SIGTERM);
    WAIT_UNTIL(stage_said(stage, "event=stopping"), 2000);
    /* nginx may be writing to a kept connection at this moment: that is answered too. */
    fcgi_send(late, &(struct fcgi_ask){.uri = "/livez"});
    cr_expect(eq(int, status_of(fcgi_receive(late, 2000)), 200));
    struct reply *reply = fcgi_receive(idle, 3000);
    cr_expect(reply->closed);
    free(reply);
    /* At its deadline each is answered, and the process ends well. */
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        cr_expect(eq(int, status_of(fcgi_receive(runs[i], 5000)), 504));
    }
    cr_expect(eq(int, stage_app_stop(stage), 0));
    cr_expect(not(stage_said(stage, "event=stop-overtime")), "it closes what it has answered");
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        close(runs[i]);
    char path[96];
    snprintf(path, sizeof(path), "%s/app.pid", stage->dir);
    cr_expect(eq(int, access(path, F_OK), -1));
    close(idle);
    close(late);
    stage_stop(stage);
}
