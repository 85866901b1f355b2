/*
 * What nginx and the workers make of bytes that are no proper request, or barely one. Nothing
 * here may change what is stored, and every refusal is a problem+json.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define H "Host: localhost\r\n"
#define C "Connection: close\r\n"
#define J "Content-Type: application/json\r\n"

static const struct {
    const char *name, *bytes;
    const char *status; /* one of these */
    const char *allow;
} refused[] = {
    {"trace", "TRACE /users HTTP/1.1\r\n" H C "\r\n", "405", "GET,HEAD,POST"},
    {"unknown method", "FOO /users HTTP/1.1\r\n" H C "\r\n", "405", "GET,HEAD,POST"},
    {"delete on the list", "DELETE /users HTTP/1.1\r\n" H C "\r\n", "405", "GET,HEAD,POST"},
    {"lower case method", "get /users HTTP/1.1\r\n" H C "\r\n", "400 405", NULL},
    {"two slashes", "GET //users HTTP/1.1\r\n" H C "\r\n", "404", NULL},
    {"escaped letter", "GET /user%73 HTTP/1.1\r\n" H C "\r\n", "404", NULL},
    {"dot segment", "GET /./users HTTP/1.1\r\n" H C "\r\n", "404", NULL},
    {"dot dot segment", "GET /x/../users HTTP/1.1\r\n" H C "\r\n", "404", NULL},
    {"escaped slash", "GET /users%2F HTTP/1.1\r\n" H C "\r\n", "404", NULL},
    {"above the root", "GET /../users HTTP/1.1\r\n" H C "\r\n", "400", NULL},
    {"escaped NUL", "GET /users%00 HTTP/1.1\r\n" H C "\r\n", "400", NULL},
    {"broken escape", "GET /%zz HTTP/1.1\r\n" H C "\r\n", "400", NULL},
    {"nginx's own place", "GET /.problem HTTP/1.1\r\n" H C "\r\n", "404", NULL},
    {"its other one", "GET /.broken HTTP/1.1\r\n" H C "\r\n", "404", NULL},
    {"HTTP/2.0 in words", "GET /users HTTP/2.0\r\n" H C "\r\n", "505", NULL},
    {"no host", "GET /users HTTP/1.1\r\n" C "\r\n", "400", NULL},
    {"space in a header's name", "GET /users HTTP/1.1\r\n" H "A B: c\r\n" C "\r\n", "400", NULL},
    {"a line that is no header", "GET /users HTTP/1.1\r\n" H ": x\r\n\x01\r\n" C "\r\n", "400",
     NULL},
    {"two lengths",
     "POST /users HTTP/1.1\r\n" H J "Content-Length: 2\r\nContent-Length: 3\r\n" C "\r\n{}", "400",
     NULL},
    {"length and chunks",
     "POST /users HTTP/1.1\r\n" H J "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n" C
     "\r\n0\r\n\r\n",
     "400", NULL},
    {"negative length", "POST /users HTTP/1.1\r\n" H J "Content-Length: -1\r\n" C "\r\n", "400",
     NULL},
    {"broken chunk", "POST /users HTTP/1.1\r\n" H J "Transfer-Encoding: chunked\r\n" C "\r\nzz\r\n",
     "400", NULL},
    {"unknown coding", "POST /users HTTP/1.1\r\n" H J "Transfer-Encoding: gzip\r\n" C "\r\n", "501",
     NULL},
    {"declared too big", "POST /users HTTP/1.1\r\n" H J "Content-Length: 65537\r\n" C "\r\n", "413",
     NULL},
    {"declared too big, expecting 100",
     "POST /users HTTP/1.1\r\n" H J "Content-Length: 9999999\r\nExpect: 100-continue\r\n" C "\r\n",
     "413", NULL},
    {"no body", "POST /users HTTP/1.1\r\n" H J C "\r\n", "400", NULL},
    {"another type",
     "POST /users HTTP/1.1\r\n" H "Content-Type: text/plain\r\nContent-Length: 2\r\n" C "\r\n{}",
     "415", NULL},
    {"too big in another type",
     "POST /users HTTP/1.1\r\n" H "Content-Type: text/plain\r\nContent-Length: 65537\r\n" C "\r\n",
     "415", NULL},
    {"too big by another method",
     "PUT /users HTTP/1.1\r\n" H J "Content-Length: 65537\r\n" C "\r\n", "405", NULL},
    {"too big for nothing", "POST /nope HTTP/1.1\r\n" H J "Content-Length: 65537\r\n" C "\r\n",
     "404", NULL},
    {"too big where none is wanted",
     "DELETE /users/1 HTTP/1.1\r\n" H "Content-Length: 65537\r\n" C "\r\n", "413", NULL},
    {"part of a user",
     "PUT /users/1 HTTP/1.1\r\n" H J "Content-Range: bytes 0-1/2\r\nContent-Length: 2\r\n" C
     "\r\n{}",
     "400", NULL},
};

static void expect_problem(const char *name, const struct answer *answer, const char *status)
{
    char got[16], member[32];

    snprintf(got, sizeof got, "%ld", answer->status);
    snprintf(member, sizeof member, "\"status\":%s,", got);
    cr_expect(answer->status != 0 && strstr(status, got) != NULL, "%s: %s for %s\n%s\n%s", name,
              got, status, answer->head, answer->body);
    cr_expect_str_eq(answer_header(answer, "Content-Type"), "application/problem+json", "%s", name);
    cr_expect_not_null(strstr(answer->body, member), "%s: %s", name, answer->body);
}

static void expect_no_users(int port)
{
    struct answer users = http_get(port, "/users");

    cr_expect_str_eq(users.body, "[]");
    answer_done(&users);
}

Test(edge, bytes_that_are_no_request_are_refused_as_problems_and_change_nothing, .timeout = 120)
{
    struct stack stack = stack_start();

    for (int port = stack.port; port <= stack.port + 1; port++) {
        for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
            struct answer answer = http_raw(port, bytes_of_text(refused[i].bytes));

            expect_problem(refused[i].name, &answer, refused[i].status);
            if (refused[i].allow != NULL)
                cr_expect_str_eq(answer_header(&answer, "Allow"), refused[i].allow, "%s",
                                 refused[i].name);
            answer_done(&answer);
        }
        expect_no_users(port);
    }
    stack_stop(&stack);
}

/* `frame` with so many bytes in place of its '@'. */
static struct answer send_long(int port, const char *frame, size_t fill)
{
    size_t before = strcspn(frame, "@"), after = strlen(frame + before + 1);
    char *all = malloc(before + fill + after);
    struct answer answer;

    memcpy(all, frame, before);
    memset(all + before, 'a', fill);
    memcpy(all + before + fill, frame + before + 1, after);
    answer = http_raw(port, bytes_of(all, before + fill + after));
    free(all);
    return answer;
}

Test(edge, what_is_too_long_is_refused_by_its_own_status, .timeout = 120)
{
    static const struct {
        const char *name, *frame; /* '@' stands for what is long */
        size_t fill;
        const char *status;
    } cases[] = {
        {"uri of 8 KiB", "GET /users?name=@ HTTP/1.1\r\n" H C "\r\n", 8192, "400"},
        {"uri of 20 KiB", "GET /users?name=@ HTTP/1.1\r\n" H C "\r\n", 20480, "414"},
        {"header of 20 KiB", "GET /users HTTP/1.1\r\n" H "A: @\r\n" C "\r\n", 20480, "431"},
        {"a name of 1,024 bytes",
         "POST /users HTTP/1.1\r\n" H J "Content-Length: 1035\r\n" C "\r\n{\"name\":\"@\"}", 1024,
         "201"},
        {"a name of 1,025 bytes",
         "POST /users HTTP/1.1\r\n" H J "Content-Length: 1036\r\n" C "\r\n{\"name\":\"@\"}", 1025,
         "422"},
        {"a body of 65,536 bytes",
         "POST /users HTTP/1.1\r\n" H J "Content-Length: 65536\r\n" C
         "\r\n{\"name\":\"B\",\"x\":\"@\"}",
         65536 - 19, "201"},
        {"a body of 65,537 bytes in chunks",
         "POST /users HTTP/1.1\r\n" H J "Transfer-Encoding: chunked\r\n" C
         "\r\n10001\r\n{\"name\":\"B\",\"x\":\"@\"}\r\n0\r\n\r\n",
         65537 - 19, "413"},
        {"in chunks and of another type",
         "POST /users HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" C
         "\r\n10001\r\n{\"name\":\"B\",\"x\":\"@\"}\r\n0\r\n\r\n",
         65537 - 19, "415"},
    };
    struct stack stack = stack_start();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer answer = send_long(stack.port, cases[i].frame, cases[i].fill);

        if (cases[i].status[0] == '2')
            cr_expect_eq(answer.status, strtol(cases[i].status, NULL, 10), "%s: %ld %s",
                         cases[i].name, answer.status, answer.body);
        else
            expect_problem(cases[i].name, &answer, cases[i].status);
        answer_done(&answer);
    }
    stack_stop(&stack);
}

Test(edge, chunks_and_an_expected_100_carry_a_body_like_any_other, .timeout = 60)
{
    static const char chunks[] = "POST /users HTTP/1.1\r\n" H J "Transfer-Encoding: chunked\r\n" C
                                 "\r\n5\r\n{\"nam\r\n9\r\ne\":\"Ann\"}\r\n0\r\n\r\n";
    static const char expecting[] =
        "POST /users HTTP/1.1\r\n" H J "Content-Length: 14\r\nExpect: 100-continue\r\n" C
        "\r\n{\"name\":\"Bob\"}";
    struct stack stack = stack_start();
    struct answer answer = http_raw(stack.port, bytes_of_text(chunks));

    cr_expect_eq(answer.status, 201);
    cr_expect_str_eq(answer.body, "{\"id\":1,\"name\":\"Ann\"}");
    answer_done(&answer);

    answer = http_raw(stack.port, bytes_of_text(expecting));
    cr_expect_eq(answer.status, 100);
    cr_expect_not_null(strstr(answer.body, "{\"id\":2,\"name\":\"Bob\"}"), "%s", answer.body);
    answer_done(&answer);
    stack_stop(&stack);
}

Test(edge, no_header_of_a_clients_makes_two_requests_one, .timeout = 60)
{
    static const char *headers[] = {
        "X-Request-Id: 0123456789abcdef0123456789abcdef",
        "Request-Id: 0123456789abcdef0123456789abcdef",
        "Rollcall-Request-Id: 0123456789abcdef0123456789abcdef",
    };
    struct stack stack = stack_start();
    struct answer users;

    /* At the front, and at the node's own door: who stands on this machine is no front for that. */
    for (size_t i = 0; i < 4 * ARRAY_LEN(headers); i++) {
        struct answer answer = http_send(
            stack.port + (int)(i % 4 / 2),
            &(struct request){.method = "POST",
                              .path = "/users",
                              .headers = {"Content-Type: application/json", headers[i / 4]},
                              .body = bytes_of_text("{\"name\":\"Ann\"}")});

        cr_expect_eq(answer.status, 201);
        answer_done(&answer);
    }
    users = http_get(stack.port, "/users");
    cr_expect_eq(users_read(users.body, NULL, NULL), 4 * (long)ARRAY_LEN(headers), "%s",
                 users.body);
    answer_done(&users);
    stack_stop(&stack);
}

/* The same request from an address, and the id of the user whom it names in its answer. */
static void expect_id_from(const char *address, int port, int id)
{
    static const char post[] = "POST /users HTTP/1.1\r\n" H J C "Content-Length: 14\r\n"
                               "Rollcall-Request-Id: 0123456789abcdef0123456789abcdef\r\n\r\n"
                               "{\"name\":\"Ann\"}";
    struct answer answer = http_raw_from(address, port, bytes_of_text(post));
    char body[32];

    snprintf(body, sizeof body, "{\"id\":%d,\"name\":\"Ann\"}", id);
    cr_expect_eq(answer.status, 201, "%s: %ld", address, answer.status);
    cr_expect_not_null(strstr(answer.body, body), "%s: %s", address, answer.body);
    answer_done(&answer);
}

/* What a front does when it tries again: the same id, at the node's door for fronts, or from where
 * one stands. */
Test(edge, one_request_id_tried_twice_is_carried_out_once_and_answered_alike, .timeout = 60)
{
    struct stack stack;
    char door[96];
    struct request request = {.socket = door,
                              .method = "POST",
                              .path = "/users",
                              .headers = {"Content-Type: application/json",
                                          "Rollcall-Request-Id: 0123456789abcdef0123456789abcdef"},
                              .body = bytes_of_text("{\"name\":\"Ann\"}")};

    setenv("ROLLCALL_FRONTS", "2001:db8::5 127.0.0.9", 1);
    stack = stack_start();
    snprintf(door, sizeof door, "%s/front.sock", stack.node_dir);
    for (int i = 0; i < 3; i++) {
        struct answer answer = http_send(stack.port + 1, &request);

        cr_expect_eq(answer.status, 201);
        cr_expect_str_eq(answer.body, "{\"id\":1,\"name\":\"Ann\"}");
        answer_done(&answer);
    }
    expect_id_from("127.0.0.9", stack.port + 1, 1);
    for (int id = 2; id < 4; id++)
        expect_id_from("127.0.0.8", stack.port + 1, id); /* is none */
    stack_stop(&stack);
}
