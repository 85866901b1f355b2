/*
 * Clients that are slow, or go away: they hold up nobody else.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/stack.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define USERS 4000 /* of a kilobyte each: more than sockets and nginx hold for a client */
#define SLOW  12

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void fill(int port)
{
    struct client *client = client_open(port, true);
    char name[1001];

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < USERS; i++) {
        struct answer answer = http_post_name(client, name);

        cr_assert_eq(answer.status, 201, "%ld %s", answer.status, answer.body);
        answer_done(&answer);
    }
    client_close(client);
}

/* A write and a read are answered. */
static void expect_service(int port, const char *when)
{
    struct client *client = client_open(port, true);
    struct answer answer = http_post_name(client, "Ann");

    cr_expect_eq(answer.status, 201, "%s: %ld %s", when, answer.status, answer.body);
    answer_done(&answer);
    answer = client_send(client, &(struct request){.method = "GET", .path = "/readyz"});
    cr_expect_eq(answer.status, 200, "%s: %ld %s", when, answer.status, answer.body);
    answer_done(&answer);
    client_close(client);
}

/* So nobody was answered because these had been given up. */
static void expect_still_slow(const int slow[SLOW])
{
    for (int i = 0; i < SLOW; i++) {
        struct pollfd fd = {.fd = slow[i], .events = POLLRDHUP};

        cr_expect_eq(poll(&fd, 1, 0), 0, "nginx has given up who was slow");
    }
}

Test(slow, readers_of_the_list_who_stop_reading_hold_up_nobody_and_get_all_of_it, .timeout = 120)
{
    static const char get[] = "GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    struct stack stack = stack_start();
    struct answer all;
    int slow[SLOW];

    fill(stack.port);
    for (int i = 0; i < SLOW; i++) {
        slow[i] = connect_to(stack.port);
        cr_assert_eq(send(slow[i], get, sizeof get - 1, 0), (ssize_t)sizeof get - 1);
    }
    sleep_ms(1000);
    expect_service(stack.port, "while readers do not read");
    expect_still_slow(slow);

    /* One reads on, the others leave. */
    for (int i = 1; i < SLOW; i++)
        close(slow[i]);
    expect_service(stack.port, "after they left");
    {
        static char part[1 << 16];
        size_t len = 0;
        ssize_t got;

        while ((got = read(slow[0], part, sizeof part)) > 0)
            len += (size_t)got;
        cr_expect_gt(len, (size_t)USERS * 1000, "%zu bytes came", len);
        close(slow[0]);
    }
    all = http_get(stack.port, "/users");
    cr_expect_eq(users_read(all.body, NULL, NULL), USERS + 2);
    answer_done(&all);
    stack_stop(&stack);
}

Test(slow, senders_who_stop_in_the_middle_of_a_body_hold_up_nobody, .timeout = 120)
{
    static const char half[] =
        "POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 16\r\n\r\n{\"name\":";
    struct stack stack = stack_start();
    struct answer users;
    int slow[SLOW];

    for (int i = 0; i < SLOW; i++) {
        slow[i] = connect_to(stack.port);
        cr_assert_eq(send(slow[i], half, sizeof half - 1, 0), (ssize_t)sizeof half - 1);
    }
    sleep_ms(300);
    expect_service(stack.port, "while senders do not send");
    expect_still_slow(slow);
    for (int i = 0; i < SLOW; i++)
        close(slow[i]);
    expect_service(stack.port, "after they left");
    users = http_get(stack.port, "/users");
    cr_expect_str_eq(users.body, "[{\"id\":1,\"name\":\"Ann\"},{\"id\":2,\"name\":\"Ann\"}]");
    answer_done(&users);
    stack_stop(&stack);
}
