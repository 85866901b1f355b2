/*
 * What both nginx keep from the workers, and what they add: names, limits, compression, headers,
 * TLS; access_log_test.c looks at what they log. A stranger here is a client from 127.0.0.2, which
 * is trusted no more once guard.conf trusts 127.0.0.1 alone.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STRANGER  "127.0.0.2"
#define NEIGHBOUR "127.0.0.1"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static void expect_problem(const char *what, struct answer answer, long status)
{
    char member[32];

    snprintf(member, sizeof member, "\"status\":%ld,", status);
    cr_expect_eq(answer.status, status, "%s: %ld, not %ld\n%s", what, answer.status, status,
                 answer.body);
    cr_expect_str_eq(answer_header(&answer, "Content-Type"), "application/problem+json", "%s",
                     what);
    cr_expect_not_null(strstr(answer.body, member), "%s: %s", what, answer.body);
    answer_done(&answer);
}

/* The front of the stack and its node, from now on, take 127.0.0.2 for somebody else. */
static void estrange(const struct stack *stack)
{
    operator_does(stack, 0, NULL,
                  "sed -i 's|127.0.0.0/8|127.0.0.1|' $D/guard.conf $D/watchers.conf $N/guard.conf "
                  "$N/watchers.conf && kill -HUP $(cat $D/front.pid) $(cat $N/nginx.pid)");
    for (int port = stack->port; port <= stack->port + 1; port++) {
        long deadline = now_ms() + HANGS_AFTER_S * 1000L, status = 0;

        while (status != 403 && now_ms() < deadline) {
            struct answer answer = http_raw_from(STRANGER, port, bytes_of_text(GET("/metrics")));

            status = answer.status;
            answer_done(&answer);
            sleep_ms(20);
        }
        cr_assert_eq(status, 403, "a stranger may ask for /metrics at %d: %ld", port, status);
    }
}

/* --- names ------------------------------------------------------------------------------------ */

Test(guard, a_name_that_is_not_its_own_is_refused_and_every_other_way_to_ask_is_answered,
     .timeout = 60)
{
    static const struct {
        const char *request;
        long status;
    } cases[] = {
        {"GET /users HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421},
        {"GET /livez HTTP/1.1\r\nHost: localhost.evil.example\r\nConnection: close\r\n\r\n", 421},
        {"GET /x HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\nConnection: close\r\n\r\n", 421},
        {"GET http://evil.example/users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
         421},
        {"POST /users HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"
         "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"name\":\"E\"}",
         421},
        {"GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200},
        {"GET /users HTTP/1.1\r\nHost: LOCALHOST.:99\r\nConnection: close\r\n\r\n", 200},
        {"GET /users HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n", 200},
        {"GET /users HTTP/1.1\r\nHost: 192.0.2.7\r\nConnection: close\r\n\r\n", 200},
        {"GET /users HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nConnection: close\r\n\r\n", 200},
        {"GET /users HTTP/1.1\r\nHost: Directory.Example.org\r\nConnection: close\r\n\r\n", 200},
        {"GET /users HTTP/1.0\r\n\r\n", 200},
    };
    struct stack stack;

    setenv("ROLLCALL_NAMES", "directory.example.org other.example.org", 1);
    stack = stack_start();
    for (int port = stack.port; port <= stack.port + 1; port++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct answer answer = http_raw(port, bytes_of_text(cases[i].request));

            if (cases[i].status == 421) {
                expect_problem(cases[i].request, answer, 421);
                continue;
            }
            cr_expect_eq(answer.status, 200, "%s: %ld", cases[i].request, answer.status);
            cr_expect_str_eq(answer.body, "[]"); /* the stranger's POST left nothing */
            answer_done(&answer);
        }
    stack_stop(&stack);
}

Test(guard, a_name_that_is_none_is_refused_by_deploy, .timeout = 60)
{
    struct stack stack = stack_prepare();

    setenv("ROLLCALL_NAMES", "a;b", 1);
    operator_does(&stack, 1, "ROLLCALL_NAMES: a;b is no name",
                  "\"$ROOT/deploy/node\" config --dir $N --http 127.0.0.1:$P");
    unsetenv("ROLLCALL_NAMES");
    stack_up(&stack);
    stack_stop(&stack);
}

/* --- limits ----------------------------------------------------------------------------------- */

/* So many requests, one after the other without waiting for answers, on one connection. */
static char *pipeline(int count)
{
    static const char one[] = "GET /problems HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char *all = malloc((size_t)count * sizeof one + 256), *at = all;

    for (int i = 1; i < count; i++)
        at = stpcpy(at, one);
    stpcpy(at, GET("/problems"));
    return all;
}

static int count_of(const char *text, const char *part)
{
    int count = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        count++;
    return count;
}

Test(guard, a_client_that_asks_too_often_is_told_to_wait_and_no_neighbour_is, .timeout = 60)
{
    struct stack stack = stack_start();
    char *requests = pipeline(1500);

    estrange(&stack);
    for (int port = stack.port; port <= stack.port + 1; port++) {
        struct answer answer = http_raw(port, bytes_of_text(requests));

        cr_expect_eq(count_of(answer.body, "HTTP/1.1 200 OK"), 1499);
        answer_done(&answer);

        answer = http_raw_from(STRANGER, port, bytes_of_text(requests));
        cr_expect_geq(count_of(answer.body, "HTTP/1.1 200 OK"), 300);
        cr_expect_geq(count_of(answer.body, "HTTP/1.1 429 Too Many Requests"), 100);
        cr_expect_eq(count_of(answer.body, "\r\nRetry-After: 1\r\n"),
                     count_of(answer.body, "HTTP/1.1 429"));
        cr_expect_not_null(strstr(answer.body, "{\"type\":\"/problems/too-many-requests\","));
        answer_done(&answer);
    }
    free(requests);
    sleep_ms(1500); /* nginx keeps lines for a second */
    operator_does(&stack, 0, NULL,
                  "for f in $D/log/front-access.log $N/log/access.log; do "
                  "[ $(grep -c '\"status\":429' $f) -lt 60 ] || { wc $f; exit 1; }; done");
    stack_stop(&stack);
}

static const char refusal[] = "{\"type\":\"/problems/unavailable\","
                              "\"title\":\"Service Unavailable\",\"status\":503,"
                              "\"detail\":\"too many requests of this client are under way; "
                              "the request was not executed\"}";

/* POSTs whose bodies do not come. */
static void hold(int *fds, size_t count, const char *from, int port)
{
    static const char post[] = "POST /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                               "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n";

    for (size_t i = 0; i < count; i++) {
        fds[i] = http_connect_from(from, port);
        cr_assert_eq(send(fds[i], post, sizeof post - 1, MSG_NOSIGNAL), sizeof post - 1);
    }
}

static void let_go(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* Asks until the answer has this status; too seldom for the limit a second. */
static void expect_soon(const char *from, int port, const char *request, long status,
                        const char *text)
{
    struct answer answer = {0};

    for (long deadline = now_ms() + HANGS_AFTER_S * 1000L;
         answer.status != status && now_ms() < deadline;) {
        answer_done(&answer);
        answer = http_raw_from(from, port, bytes_of_text(request));
        sleep_ms(20);
    }
    cr_expect_eq(answer.status, status, "%ld at port %d: %s", answer.status, port, request);
    cr_expect_not_null(strstr(answer.body, text), "%s", answer.body);
    cr_expect_str_eq(answer_header(&answer, "Retry-After"), status == 503 ? "1" : "");
    answer_done(&answer);
}

/* A request counts while its body is awaited. */
Test(guard, a_client_has_so_many_requests_at_a_time_and_no_more, .timeout = 60)
{
    struct stack stack = stack_start();
    int fds[80]; /* more than the limit: one of ours may be turned away for the one that asks */

    estrange(&stack);
    for (int port = stack.port; port <= stack.port + 1; port++) {
        hold(fds, ARRAY_LEN(fds), STRANGER, port);
        expect_soon(STRANGER, port, GET("/problems"), 503, refusal);
        expect_soon(NEIGHBOUR, port, GET("/users"), 200, "[]");
        let_go(fds, ARRAY_LEN(fds));
        expect_soon(STRANGER, port, GET("/problems"), 200, "");
    }
    stack_stop(&stack);
}

/* Bodies that do not come hold places of their own: however many, nobody else is refused. */
Test(guard, clients_that_are_slow_shut_out_nobody_else, .timeout = 60)
{
    static const char *const many[] = {"127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6",
                                       "127.0.0.7", "127.0.0.8", NEIGHBOUR};
    struct stack stack = stack_start();
    int fds[ARRAY_LEN(many)][80];

    estrange(&stack);
    for (int port = stack.port; port <= stack.port + 1; port++) {
        for (size_t i = 0; i < ARRAY_LEN(many); i++)
            hold(fds[i], ARRAY_LEN(fds[i]), many[i], port);
        for (int i = 0; i < 20; i++) {
            struct answer answer = http_raw_from(STRANGER, port, bytes_of_text(GET("/users")));

            cr_expect_eq(answer.status, 200, "%ld at port %d", answer.status, port);
            answer_done(&answer);
        }
        for (size_t i = 0; i < ARRAY_LEN(many); i++)
            let_go(fds[i], ARRAY_LEN(fds[i]));
    }
    stack_stop(&stack);
}

/* Before its head is there, nobody knows whose a connection is: there are enough of them. */
Test(guard, thousands_of_heads_that_do_not_end_shut_out_nobody_else, .timeout = 60)
{
    static const char head[] = "GET /users HTTP/1.1\r\nHost: loc";
    static int fds[9000];
    struct stack stack = stack_start();

    estrange(&stack);
    for (int port = stack.port; port <= stack.port + 1; port++) {
        struct answer answer;

        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
            fds[i] = http_connect_from(STRANGER, port);
            cr_assert_eq(send(fds[i], head, sizeof head - 1, MSG_NOSIGNAL), sizeof head - 1);
        }
        expect_soon(NEIGHBOUR, port, GET("/users"), 200, "[]");
        answer = http_raw_from("127.0.0.9", port, bytes_of_text(GET("/users")));
        cr_expect_eq(answer.status, 200, "%ld at port %d", answer.status, port);
        answer_done(&answer);
        let_go(fds, ARRAY_LEN(fds));
    }
    operator_does(&stack, 0, NULL, "! grep -r 'worker_connections are not' $D --include='*.log'");
    stack_stop(&stack);
}

/* The node knows the front for a neighbour: what is for neighbours alone is kept at the front. */
Test(guard, what_is_for_this_machine_alone_is_given_to_nobody_else_by_either_door, .timeout = 60)
{
    static const char *paths[] = {
        GET("/metrics"),        GET("//metrics"),  GET("/x/../metrics?x"), GET("/%6Detrics"),
        GET("/metrics#"),       GET("/livez"),     GET("/cluster"),        GET("/readyz"),
        GET("/readyz?verbose"), GET("/./cluster"), GET("/%6Civez"),
    };
    struct stack stack = stack_start();

    estrange(&stack);
    for (int port = stack.port; port <= stack.port + 1; port++)
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
            expect_problem(paths[i], http_raw_from(STRANGER, port, bytes_of_text(paths[i])), 403);
            struct answer answer = http_raw(port, bytes_of_text(paths[i]));

            cr_expect_neq(answer.status, 403, "%s", paths[i]);
            answer_done(&answer);
        }
    stack_stop(&stack);
}

Test(guard, watchers_elsewhere_are_let_in_by_name_of_their_addresses, .timeout = 60)
{
    struct stack stack = stack_prepare();

    setenv("ROLLCALL_WATCHERS", "10.9.0.0/16 ::2", 1);
    stack_up(&stack);
    operator_does(&stack, 0, NULL,
                  "for d in $D $N; do grep -qx 'allow 10.9.0.0/16;' $d/watchers.conf && "
                  "grep -qx 'allow ::2;' $d/watchers.conf || exit 1; done");
    setenv("ROLLCALL_WATCHERS", "monitor.example.org", 1);
    operator_does(&stack, 1, "ROLLCALL_WATCHERS: monitor.example.org is no address",
                  "\"$ROOT/deploy/node\" config --dir $N --http 127.0.0.1:$P");
    unsetenv("ROLLCALL_WATCHERS");
    stack_stop(&stack);
}

/* --- what answers have ------------------------------------------------------------------------ */

static void expect_headers(int port, const char *request, long status)
{
    struct answer answer = http_raw(port, bytes_of_text(request));

    cr_expect_eq(answer.status, status, "%s: %ld", request, answer.status);
    cr_expect_eq(count_of(answer.head, "\r\nX-Content-Type-Options: nosniff\r\n"), 1, "%s",
                 answer.head);
    cr_expect_eq(count_of(answer.head, "\r\nContent-Security-Policy: default-src 'none'; "
                                       "frame-ancestors 'none'\r\n"),
                 1, "%s", answer.head);
    cr_expect_eq(count_of(answer.head, "\r\nReferrer-Policy: no-referrer\r\n"), 1, "%s",
                 answer.head);
    cr_expect_eq(count_of(answer.head, "\r\nCross-Origin-Resource-Policy: same-origin\r\n"), 1,
                 "%s", answer.head);
    cr_expect_eq(count_of(answer.head, "Strict-Transport-Security"), 0, "%s", answer.head);
    cr_expect_leq(count_of(answer.head, "\r\nAllow: "), 1, "%s", answer.head);
    cr_expect_leq(count_of(answer.head, "\r\nRetry-After: "), 1, "%s", answer.head);
    answer_done(&answer);
}

#define POST_HEAD "POST /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"

Test(guard, every_answer_tells_browsers_what_to_leave_alone_once, .timeout = 60)
{
    static const char json[] = "Content-Type: application/json\r\n";
    struct stack stack = stack_start();
    char post[256];

    snprintf(post, sizeof post, POST_HEAD "%sContent-Length: 12\r\n\r\n{\"name\":\"A\"}", json);
    for (int port = stack.port; port <= stack.port + 1; port++) {
        expect_headers(port, post, 201);
        expect_headers(port, GET("/users"), 200);
        expect_headers(port, GET("/nowhere"), 404);
        expect_headers(port, GET("/users%00"), 400);
        expect_headers(port, "GET /users HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
                       400);
        expect_headers(
            port, "TRACE /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405);
        expect_headers(port, "GET /users HTTP/1.0\r\nHost: x.example\r\n\r\n", 421);
        expect_headers(
            port, POST_HEAD "Content-Type: application/json\r\nContent-Length: 65537\r\n\r\n", 413);
    }
    operator_does(&stack, 0, NULL,
                  "kill -QUIT $(cat $N/nginx.pid); while [ -e $N/nginx.pid ]; do sleep 0.05; done");
    expect_headers(stack.port, GET("/livez"), 503); /* the front's own */
    stack_stop(&stack);
}

Test(guard, nginx_own_405_names_the_methods_of_the_resource, .timeout = 60)
{
    static const struct {
        const char *path, *allow;
    } cases[] = {
        {"/users", "GET,HEAD,POST"},
        {"/users?limit=1", "GET,HEAD,POST"},
        {"/users/7", "GET,HEAD,PUT,PATCH,DELETE"},
        {"/livez", "GET,HEAD"},
    };
    struct stack stack = stack_start();

    for (int port = stack.port; port <= stack.port + 1; port++)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            char request[128];
            struct answer answer;

            snprintf(request, sizeof request,
                     "TRACE %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                     cases[i].path);
            answer = http_raw(port, bytes_of_text(request));
            cr_expect_str_eq(answer_header(&answer, "Allow"), cases[i].allow, "%s", request);
            expect_problem(request, answer, 405);
        }
    stack_stop(&stack);
}

Test(guard, the_list_is_compressed_for_who_asks_and_a_users_own_answer_never_is, .timeout = 60)
{
    static const char *gzip = "Accept-Encoding: gzip";
    struct stack stack = stack_start();
    char name[1025], body[1100];

    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(body, sizeof body, "{\"name\":\"%s\"}", name);
    for (int i = 0; i < 40; i++) {
        struct answer answer = http_send(
            stack.port, &(struct request){.method = "POST",
                                          .path = "/users",
                                          .headers = {"Content-Type: application/json", gzip},
                                          .body = bytes_of_text(body)});

        cr_assert_eq(answer.status, 201);
        cr_expect_str_eq(answer_header(&answer, "Content-Encoding"), "");
        cr_expect_eq(answer_header(&answer, "ETag")[0], '"'); /* strong still */
        answer_done(&answer);
    }
    for (int port = stack.port; port <= stack.port + 1; port++) {
        struct answer answer = http_send(
            port, &(struct request){.method = "GET", .path = "/users", .headers = {gzip}});

        cr_expect_str_eq(answer_header(&answer, "Content-Encoding"), "gzip");
        cr_expect_str_eq(answer_header(&answer, "Vary"), "Accept-Encoding");
        cr_expect_lt(answer.len, 40 * 1024 / 10, "%zu", answer.len);
        answer_done(&answer);
        answer = http_get(port, "/users");
        cr_expect_str_eq(answer_header(&answer, "Content-Encoding"), "");
        cr_expect_str_eq(answer_header(&answer, "Vary"), "Accept-Encoding");
        cr_expect_eq(users_read(answer.body, NULL, NULL), 40);
        answer_done(&answer);
    }
    stack_stop(&stack);
}

/* --- what nginx itself cannot do ---------------------------------------------------------------
 */

/* How many sockets nginx's workers have. */
static int sockets_of(const struct stack *stack, const char *pid_file)
{
    char command[256];

    snprintf(command, sizeof command,
             "for p in $(cat /proc/$(cat %s)/task/*/children); do ls -l /proc/$p/fd; done | "
             "grep -c socket: || true",
             pid_file);
    return (int)strtol(operator_does(stack, 0, NULL, command), NULL, 10);
}

/*
 * Without a descriptor for the way to a worker nothing was executed: that is 503 and not 500. Some
 * of these find a connection that is kept; not all can.
 */
Test(guard, nginx_without_descriptors_says_503_and_when_to_come_again, .timeout = 60)
{
    struct stack stack = stack_start();
    int fds[40];

    for (int port = stack.port; port <= stack.port + 1; port++) {
        const char *pid_file = port == stack.port ? "$D/front.pid" : "$N/nginx.pid";
        char command[512], text[4096];
        int refused = 0;

        int before = sockets_of(&stack, pid_file);

        hold(fds, ARRAY_LEN(fds), NEIGHBOUR, port);
        while (sockets_of(&stack, pid_file) < before + (int)ARRAY_LEN(fds))
            sleep_ms(20); /* until they are accepted: afterwards nothing is */
        snprintf(command, sizeof command,
                 "for p in $(cat /proc/$(cat %s)/task/*/children); do "
                 "prlimit --pid $p --nofile=3: && kill -STOP $p || exit 1; done",
                 pid_file);
        operator_does(&stack, 0, NULL, command);
        for (size_t i = 0; i < ARRAY_LEN(fds); i++)
            cr_assert_eq(send(fds[i], "{\"name\":\"A\"}", 12, MSG_NOSIGNAL), 12);
        snprintf(command, sizeof command,
                 "for p in $(cat /proc/$(cat %s)/task/*/children); do kill -CONT $p; done",
                 pid_file);
        operator_does(&stack, 0, NULL, command);
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
            ssize_t got = read(fds[i], text, sizeof text - 1);

            text[got > 0 ? got : 0] = '\0';
            if (strstr(text, "HTTP/1.1 201 ") != NULL)
                continue;
            refused++;
            cr_expect_not_null(strstr(text, "HTTP/1.1 503 "), "%s", text);
            cr_expect_not_null(strstr(text, "\r\nRetry-After: 1\r\n"), "%s", text);
        }
        cr_expect_gt(refused, 0);
        let_go(fds, ARRAY_LEN(fds));
        snprintf(command, sizeof command,
                 "for p in $(cat /proc/$(cat %s)/task/*/children); do "
                 "prlimit --pid $p --nofile=1024:; done",
                 pid_file);
        operator_does(&stack, 0, NULL, command);
    }
    stack_stop(&stack);
}

/* A client may end its sending side when it has asked: it still wants the answer. */
Test(guard, a_client_that_has_no_more_to_say_gets_its_answer, .timeout = 60)
{
    struct stack stack = stack_start();
    static const char post[] = "POST /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                               "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"
                               "{\"name\":\"A\"}";

    for (int i = 0; i < 40; i++) {
        int fd = http_connect_from(NEIGHBOUR, stack.port + i % 2);
        char answer[4096];
        ssize_t got;

        cr_assert_eq(send(fd, post, sizeof post - 1, MSG_NOSIGNAL), sizeof post - 1);
        shutdown(fd, SHUT_WR);
        got = read(fd, answer, sizeof answer - 1);
        cr_assert_gt(got, 12, "no answer");
        answer[got] = '\0';
        cr_expect_not_null(strstr(answer, "HTTP/1.1 201 "), "%s", answer);
        close(fd);
    }
    stack_stop(&stack);
}

/* --- TLS -------------------------------------------------------------------------------------- */

/* A request as it is, by TLS of a version; what came. */
static const char *by_tls(const struct stack *stack, int port, const char *options,
                          const char *request)
{
    static char output[16384];
    char command[1024];

    snprintf(command, sizeof command,
             "printf '%s' | timeout 10 openssl s_client -quiet -connect 127.0.0.1:%d "
             "-CAfile $D/certificate.pem -verify_return_error -servername localhost %s 2>&1",
             request, port, options);
    stack_shell(stack, command, output, sizeof output);
    return output;
}

Test(guard, one_line_switches_tls_on_at_either_door, .timeout = 120)
{
    static const char get[] =
        "GET /users HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n";
    struct stack stack = stack_prepare();
    char own[128], strange[128];

    snprintf(own, sizeof own, get, "localhost");
    snprintf(strange, sizeof strange, get, "evil.example");
    operator_does(
        &stack, 0, NULL,
        "mkdir -p $N && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-keyout $D/key.pem -out $D/certificate.pem && "
        "tls() { sed \"s|/etc/rollcall/tls|$D|; s|0.0.0.0:8443|127.0.0.1:$1|\" "
        "\"$ROOT/deploy/tls.conf\"; }; "
        "tls $((P + 60)) >$D/tls.conf; tls $((P + 61)) >$N/tls.conf");
    stack_up(&stack);
    operator_does(&stack, 0, NULL,
                  "grep -q '^ *include tls.conf;' $D/front.conf && "
                  "grep -q '^ *include tls.conf;' $N/nginx.conf && "
                  "nginx -t -q -c $D/front.conf -e $D/log/front.log && "
                  "nginx -t -q -c $N/nginx.conf -e $N/log/nginx.log");
    for (int port = stack.port + 60; port <= stack.port + 61; port++) {
        for (int version = 2; version <= 3; version++) {
            const char *said = by_tls(&stack, port, version == 2 ? "-tls1_2" : "-tls1_3", own);

            cr_expect_not_null(strstr(said, "HTTP/1.1 200 OK"), "%s", said);
            cr_expect_not_null(strstr(said, "Strict-Transport-Security: max-age=31536000"), "%s",
                               said);
            cr_expect_not_null(strstr(said, "X-Content-Type-Options: nosniff"), "%s", said);
        }
        cr_expect_null(
            strstr(by_tls(&stack, port, "-tls1_1 -cipher ALL:@SECLEVEL=0", own), "HTTP/1.1"));
        cr_expect_not_null(strstr(by_tls(&stack, port, "", strange), "HTTP/1.1 421"));
        cr_expect_not_null(strstr(by_tls(&stack, port, "", strange), "Referrer-Policy: no"));
    }
    for (int port = stack.port + 60; port <= stack.port + 61; port++)
        expect_problem("no TLS at its port", http_raw(port, bytes_of_text(GET("/users"))), 400);
    expect_headers(stack.port, GET("/users"), 200); /* without TLS no HSTS */
    stack_stop(&stack);
}

Test(guard, nginx_takes_every_configuration_that_is_shipped, .timeout = 60)
{
    struct stack stack = stack_prepare();

    operator_does(&stack, 0, NULL,
                  "mkdir -p $N && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "
                  "/CN=localhost -keyout $D/key.pem -out $D/certificate.pem");
    for (int tls = 0; tls < 2; tls++) {
        operator_does(&stack, 0, "nginx.conf",
                      "\"$ROOT/deploy/node\" config --dir $N --http 127.0.0.1:$P");
        operator_does(&stack, 0, "nginx.conf",
                      "\"$ROOT/deploy/node\" config --dir $N --http [::1]:$P");
        operator_does(&stack, 0, "nginx.conf",
                      "\"$ROOT/deploy/node\" config --dir $N --http localhost:$P");
        operator_does(&stack, 0, "front.conf",
                      "\"$ROOT/deploy/local\" config --nodes 3 --dir $D --port $P");
        operator_does(&stack, 0, NULL,
                      "for d in $D $N; do sed \"s|/etc/rollcall/tls|$D|\" "
                      "\"$ROOT/deploy/tls.conf\" >$d/tls.conf; done");
    }
    operator_does(&stack, 1, "nginx refuses",
                  "rm $D/key.pem; \"$ROOT/deploy/node\" config --dir $N --http 127.0.0.1:$P");
    operator_does(&stack, 0, NULL, "rm $D/tls.conf $N/tls.conf");
    stack_up(&stack);
    stack_stop(&stack);
}
