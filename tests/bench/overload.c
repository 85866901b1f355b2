/*
 * Asks for more than can be had, over HTTP, and tells what was accepted from what was refused.
 *
 *     overload --port PORT --connections N [--ms 1000] [--back-off-ms 1000]
 *
 * Each connection POSTs a user, waits for the answer and POSTs the next; after a 503 or 429 it
 * waits first, for a random time of --back-off-ms on average, which is what Retry-After says. The
 * first requests are spread over that time, too. Latency: from before the send to after the read
 * that ends the answer's head; there is no pipelining, and bodies come with their heads.
 *
 * Prints one line of key=value: `accepted` are 201, `refused` 503 and 429, `errors` all else and
 * connections that broke.
 */
#include "tests/bench/samples.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 20000u
#define ANSWER_BYTES    4096u

struct connection {
    int fd;
    uint64_t sent_ns;  /* 0: nothing is asked */
    uint64_t after_ns; /* refused: not before */
};

struct bench {
    uint16_t port;
    uint64_t count, run_ms, back_off_ms;
    int epoll;
    struct connection *connections;
    struct samples accepted, refused;
    uint64_t errors, serial, random;
};

static uint64_t draw(struct bench *b)
{
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return b->random >> 33;
}

static uint64_t ns_of(struct timespec time)
{
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The clock by which the kernel says when bytes arrived. */
static uint64_t wall_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return ns_of(time);
}

static void open_connection(struct bench *b, struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(b->port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void ask(struct bench *b, struct connection *c)
{
    char body[64], request[512];
    int body_len = snprintf(body, sizeof(body), "{\"name\":\"overload %011llu\"}",
                            (unsigned long long)++b->serial);
    int len = snprintf(request, sizeof(request),
                       "POST /users HTTP/1.1\r\nHost: localhost\r\n"
                       "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                       body_len, body);
    c->after_ns = 0;
    c->sent_ns = wall_ns();
    if (send(c->fd, request, (size_t)len, MSG_NOSIGNAL) != len)
        b->errors++;
}

static void begin_again(struct bench *b, struct connection *c)
{
    close(c->fd);
    open_connection(b, c);
    ask(b, c);
}

/* As recv, and when the last byte of it arrived. */
static ssize_t receive(int fd, char *at, size_t size, uint64_t *ret_ns)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct timespec))];
    } control;
    struct iovec to = {.iov_base = at, .iov_len = size};
    struct msghdr message = {.msg_iov = &to,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
    *ret_ns = wall_ns();
    struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_type == SCM_TIMESTAMPNS) {
        struct timespec time;
        memcpy(&time, CMSG_DATA(header), sizeof(time));
        *ret_ns = ns_of(time);
    }
    return got;
}

static void on_answer(struct bench *b, struct connection *c)
{
    char answer[ANSWER_BYTES + 1];
    uint64_t arrived_ns;
    ssize_t got = receive(c->fd, answer, ANSWER_BYTES, &arrived_ns);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got < 13 || c->sent_ns == 0) {
        b->errors += c->sent_ns != 0;
        begin_again(b, c);
        return;
    }
    answer[got] = '\0';
    uint64_t took_ns = arrived_ns - c->sent_ns;
    int status = (int)strtol(answer + 9, NULL, 10);
    bool closes = strstr(answer, "\r\nConnection: close") != NULL;
    c->sent_ns = 0;
    if (status == 201) {
        samples_add(&b->accepted, took_ns);
    } else if (status == 503 || status == 429) {
        samples_add(&b->refused, took_ns);
        c->after_ns = now_ns() + (b->back_off_ms / 2 + draw(b) % (b->back_off_ms + 1)) * 1000000;
    } else {
        b->errors++;
    }
    if (closes)
        begin_again(b, c);
    else if (c->after_ns == 0)
        ask(b, c);
}

static void ask_again(struct bench *b)
{
    uint64_t now = now_ns();
    for (uint64_t i = 0; i < b->count; i++) {
        struct connection *c = &b->connections[i];
        if (c->after_ns != 0 && c->after_ns <= now)
            ask(b, c);
    }
}

static void run(struct bench *b)
{
    static struct epoll_event events[1024];
    uint64_t end = now_ns() + b->run_ms * 1000000, looked = now_ns();
    for (uint64_t i = 0; i < b->count; i++)
        b->connections[i].after_ns = looked + 1 + draw(b) % (b->back_off_ms * 1000000);
    while (now_ns() < end) {
        int count = epoll_wait(b->epoll, events, (int)(sizeof(events) / sizeof(events[0])), 5);
        for (int i = 0; i < count; i++)
            on_answer(b, events[i].data.ptr);
        if (now_ns() - looked > 5000000) {
            looked = now_ns();
            ask_again(b);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"ms", required_argument, NULL, 'm'},
                                            {"back-off-ms", required_argument, NULL, 'b'},
                                            {NULL, 0, NULL, 0}};
    struct bench b = {.count = 1, .run_ms = 1000, .back_off_ms = 1000, .random = now_ns()};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'p')
            b.port = (uint16_t)number_option("--port", optarg, 1, 65535);
        else if (option == 'c')
            b.count = number_option("--connections", optarg, 1, CONNECTIONS_MAX);
        else if (option == 'm')
            b.run_ms = number_option("--ms", optarg, 1, 3600000);
        else if (option == 'b')
            b.back_off_ms = number_option("--back-off-ms", optarg, 1, 60000);
        else
            return 2;
    }
    struct rlimit limit = {CONNECTIONS_MAX + 64, CONNECTIONS_MAX + 64};
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    b.epoll = epoll_create1(EPOLL_CLOEXEC);
    b.connections = calloc(b.count, sizeof(*b.connections));
    if (b.epoll < 0 || b.connections == NULL)
        die("epoll_create1");
    for (uint64_t i = 0; i < b.count; i++)
        open_connection(&b, &b.connections[i]);
    run(&b);
    printf("rate=%llu errors=%llu", (unsigned long long)(b.accepted.len * 1000 / b.run_ms),
           (unsigned long long)b.errors);
    samples_print(&b.accepted, "accepted_");
    samples_print(&b.refused, "refused_");
    printf("\n");
    samples_done(&b.accepted);
    samples_done(&b.refused);
    return 0;
}
