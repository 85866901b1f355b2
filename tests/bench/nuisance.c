/*
 * A client that wants to be in others' way, from an address of its own:
 *
 *     nuisance KIND --port PORT --from 127.0.0.2 --connections N [--ms 1000]
 *
 * slow-bodies  POSTs whose bodies come a byte a second
 * half-heads   half of a request's head, and no more
 * waits        GETs of an index that nobody reaches, asked again as soon as they are refused
 * hang-ups     the same, and hung up at once; ten times a second on each connection
 *
 * What ends is begun again within a tenth of a second. Prints how many connections were begun.
 */
#include "tests/bench/samples.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT "GET /users?min_index=9007199254740991 HTTP/1.1\r\nHost: localhost\r\n"

static const struct kind {
    const char *name, *begin, *drip; /* what is sent first, and then again and again */
    uint64_t drip_ms;
    bool hangs_up;
} kinds[] = {
    {"slow-bodies",
     "POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
     "Content-Length: 60000\r\n\r\n",
     " ", 1000, false},
    {"half-heads", "GET /users HTTP/1.1\r\nHost: loc", "", 1000, false},
    {"waits", WAIT "\r\n", "", 1000, false},
    {"hang-ups", WAIT "\r\n", "", 100, true},
};

struct connection {
    int fd; /* -1: none */
    uint64_t next_ns;
};

static uint64_t begun;

static void begin(struct connection *c, const struct kind *kind, const struct sockaddr_in *from,
                  const struct sockaddr_in *to)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0 || bind(c->fd, (const struct sockaddr *)from, sizeof(*from)) != 0)
        die("bind");
    if (connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) != 0 && errno != EINPROGRESS) {
        close(c->fd);
        c->fd = -1;
        return;
    }
    begun++;
    (void)!send(c->fd, kind->begin, strlen(kind->begin), MSG_NOSIGNAL);
}

/* What is due: a connection, another byte, another request instead of the one that was answered. */
static void tend(struct connection *c, const struct kind *kind, const struct sockaddr_in *from,
                 const struct sockaddr_in *to)
{
    char answer[4096];
    if (c->fd >= 0) {
        ssize_t got = recv(c->fd, answer, sizeof(answer), MSG_DONTWAIT);
        bool gone = got == 0 || (got < 0 && errno != EAGAIN);
        if (got > 0)
            (void)!send(c->fd, kind->begin, strlen(kind->begin), MSG_NOSIGNAL);
        else if (!gone)
            (void)!send(c->fd, kind->drip, strlen(kind->drip), MSG_NOSIGNAL);
        if (gone || kind->hangs_up) {
            close(c->fd);
            c->fd = -1;
        }
    }
    if (c->fd < 0)
        begin(c, kind, from, to);
    c->next_ns = now_ns() + kind->drip_ms * 1000000;
}

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    fprintf(stderr, "nuisance: say slow-bodies, half-heads, waits or hang-ups\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"ms", required_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    uint64_t count = 1, run_ms = 1000;
    from.sin_addr.s_addr = to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'p')
            to.sin_port = htons((uint16_t)number_option("--port", optarg, 1, 65535));
        else if (option == 'f')
            from.sin_addr.s_addr = inet_addr(optarg);
        else if (option == 'c')
            count = number_option("--connections", optarg, 1, 20000);
        else if (option == 'm')
            run_ms = number_option("--ms", optarg, 1, 3600000);
        else
            return 2;
    }
    const struct kind *kind = kind_of(argv[optind]);
    struct connection *connections = calloc(count, sizeof(*connections));
    struct rlimit limit = {count + 64, count + 64};
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (connections == NULL)
        die("calloc");
    for (uint64_t i = 0; i < count; i++)
        connections[i] = (struct connection){.fd = -1, .next_ns = now_ns()};
    for (uint64_t end = now_ns() + run_ms * 1000000; now_ns() < end;) {
        for (uint64_t i = 0; i < count; i++)
            if (connections[i].next_ns <= now_ns())
                tend(&connections[i], kind, &from, &to);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    printf("begun=%llu\n", (unsigned long long)begun);
    free(connections);
    return 0;
}
