/*
 * The floor under a node: the workers' socket, a file, and nothing else. One thread reads what all
 * connections have sent, writes it to a zero-filled file, flushes once, and answers. No consensus,
 * no checks, no users. What a node's rate divided by this one's says is the price of being a node;
 * what its own rate says is the price of the socket and the disk.
 *
 *     floor_node --socket PATH --file PATH
 *
 * It also stands in for a node while the bench itself is worked on.
 */
#include "raft/users/command.h"
#include "raft/wire/call.h"
#include "tests/bench/samples.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64u
#define BUFFER_BYTES    (2u << 20)
#define FILE_BYTES      (64u << 20)
#define TURN_BYTES      (CONNECTIONS_MAX * BUFFER_BYTES)

struct connection {
    uint8_t *in_at;
    size_t in_len;
    struct writer out;
};

static struct connection connections[CONNECTIONS_MAX];
static struct pollfd polled[1 + CONNECTIONS_MAX]; /* [0] listens; [i + 1] is connection i */
static uint64_t next_id = 1;
static int file_fd;
static off_t file_at;
static struct writer turn;

static void file_open(const char *path)
{
    file_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file_fd < 0)
        die(path);
    static const uint8_t zeros[1u << 20];
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += (off_t)sizeof(zeros))
        if (pwrite(file_fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
            die(path);
    if (fsync(file_fd) != 0)
        die(path);
}

/* What this turn appends: written and flushed at its end, at once. */
static void turn_flush(void)
{
    struct bytes bytes = writer_bytes(&turn);
    if (file_at + (off_t)bytes.len > (off_t)FILE_BYTES)
        file_at = 0;
    if (pwrite(file_fd, bytes.at, bytes.len, file_at) != (ssize_t)bytes.len ||
        fdatasync(file_fd) != 0)
        die("flush");
    file_at += (off_t)bytes.len;
    turn = writer_of(turn.start, TURN_BYTES);
}

/* Puts the answer of one call into its connection's buffer, to be sent after the flush. */
static void answer_call(struct connection *connection, const struct call *call)
{
    if (call->kind == CALL_WRITE) {
        uint8_t encoded[64];
        struct writer out = writer_of(encoded, sizeof(encoded));
        struct users_answer answer = {
            .kind = USERS_CREATED, .index = next_id, .created = {.id = next_id, .etag = next_id}};
        next_id++;
        users_answer_put(&out, &answer);
        struct call written = {.kind = CALL_WRITTEN,
                               .written = {.call = call->write.call,
                                           .index = answer.index,
                                           .answer = writer_bytes(&out)}};
        call_put(&connection->out, &written);
        put_request_id(&turn, call->write.request);
        put_bytes(&turn, call->write.command);
        if (turn.bad)
            die("more writes in one turn than its buffer holds");
        return;
    }
    struct call answer = {.kind = CALL_REFUSED, .refused = {.reason = CALL_INVALID}};
    if (call->kind == CALL_HELLO)
        answer = (struct call){.kind = CALL_WELCOME, .welcome = {CALL_VERSION, 1, 0}};
    else if (call->kind == CALL_LIST)
        answer = (struct call){.kind = CALL_USERS,
                               .users = {.call = call->list.call, .index = next_id, .last = 1}};
    else if (call->kind == CALL_STATUS)
        answer = (struct call){.kind = CALL_STATUS_RESPONSE,
                               .status_response = {.call = call->status.call,
                                                   .node = 1,
                                                   .role = CALL_LEADER,
                                                   .ready = 1,
                                                   .users = next_id - 1,
                                                   .snapshot_state = CALL_SNAPSHOT_OK}};
    else if (call->kind == CALL_DROP)
        return;
    call_put(&connection->out, &answer);
}

static void connection_close(size_t index)
{
    close(polled[index + 1].fd);
    polled[index + 1].fd = -1;
    connections[index].in_len = 0;
    connections[index].out = writer_of(connections[index].out.start, BUFFER_BYTES);
}

/* Reads what one connection has and answers into its buffer. */
static void connection_read(size_t index)
{
    struct connection *connection = &connections[index];
    ssize_t got = recv(polled[index + 1].fd, connection->in_at + connection->in_len,
                       BUFFER_BYTES - connection->in_len, MSG_DONTWAIT);
    if (got <= 0) {
        connection_close(index);
        return;
    }
    connection->in_len += (size_t)got;
    size_t begin = 0;
    for (;;) {
        struct frame frame;
        struct call call;
        int64_t len =
            frame_decode(bytes_of(connection->in_at + begin, connection->in_len - begin), &frame);
        if (len == 0)
            break;
        if (len < 0 || call_decode(frame, &call) != 0) {
            connection_close(index);
            return;
        }
        answer_call(connection, &call);
        begin += (size_t)len;
    }
    memmove(connection->in_at, connection->in_at + begin, connection->in_len - begin);
    connection->in_len -= begin;
}

static void connection_write(size_t index)
{
    struct connection *connection = &connections[index];
    struct bytes left = writer_bytes(&connection->out);
    while (left.len > 0) {
        ssize_t sent = send(polled[index + 1].fd, left.at, left.len, MSG_NOSIGNAL);
        if (sent <= 0) {
            connection_close(index);
            return;
        }
        left = bytes_of(left.at + sent, left.len - (size_t)sent);
    }
    connection->out = writer_of(connection->out.start, BUFFER_BYTES);
}

static void accept_one(void)
{
    int fd = accept4(polled[0].fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        die("accept");
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (polled[i + 1].fd >= 0)
            continue;
        if (connections[i].in_at == NULL) {
            connections[i].in_at = malloc(BUFFER_BYTES);
            connections[i].out = writer_of(malloc(BUFFER_BYTES), BUFFER_BYTES);
            if (connections[i].in_at == NULL || connections[i].out.start == NULL)
                die("malloc");
        }
        polled[i + 1] = (struct pollfd){.fd = fd, .events = POLLIN};
        return;
    }
    close(fd);
}

_Noreturn static void loop(void)
{
    for (;;) {
        if (poll(polled, ARRAY_LEN(polled), -1) < 0 && errno != EINTR)
            die("poll");
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
            if (polled[i + 1].fd >= 0 && polled[i + 1].revents != 0)
                connection_read(i);
        if (writer_len(&turn) > 0)
            turn_flush();
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
            if (polled[i + 1].fd >= 0 && writer_len(&connections[i].out) > 0)
                connection_write(i);
        if (polled[0].revents != 0)
            accept_one();
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"file", required_argument, NULL, 'f'}, {0}};
    const char *socket_path = NULL;
    const char *file_path = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's')
            socket_path = optarg;
        else if (option == 'f')
            file_path = optarg;
        else
            return 2;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (socket_path == NULL || file_path == NULL ||
        strlen(socket_path) >= sizeof(address.sun_path)) {
        fputs("floor_node: --socket (a short path) and --file are needed\n", stderr);
        return 2;
    }
    file_open(file_path);
    turn = writer_of(malloc(TURN_BYTES), TURN_BYTES);
    if (turn.start == NULL)
        die("malloc");
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    unlink(socket_path);
    for (size_t i = 0; i < ARRAY_LEN(polled); i++)
        polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    polled[0].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (polled[0].fd < 0 || bind(polled[0].fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(polled[0].fd, 64) != 0)
        die(socket_path);
    fputs("event=ready\n", stderr);
    loop();
}
