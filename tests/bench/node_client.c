#include "tests/bench/node_client.h"

#include "tests/bench/samples.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OUT_BYTES (1u << 20)
#define IN_BYTES  (2 * (FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX))

_Noreturn static void broken(const char *what)
{
    errno = 0;
    die(what);
}

void node_connect(struct node_client *client, const char *socket_path, enum node_wait wait)
{
    *client = (struct node_client){.wait = wait, .in_at = malloc(IN_BYTES)};
    uint8_t *out = malloc(OUT_BYTES);
    if (out == NULL || client->in_at == NULL)
        die("malloc");
    client->out = writer_of(out, OUT_BYTES);
    if (getrandom(&client->random, sizeof(client->random), 0) != (ssize_t)sizeof(client->random))
        die("getrandom");

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        die(socket_path);
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die(socket_path);

    struct call hello = {.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}};
    node_put(client, &hello);
    node_flush(client);
    struct call welcome = node_take(client);
    if (welcome.kind != CALL_WELCOME)
        broken("the node did not say WELCOME");
}

void node_close(struct node_client *client)
{
    close(client->fd);
    free(client->out.start);
    free(client->in_at);
}

void node_put(struct node_client *client, const struct call *call)
{
    call_put(&client->out, call);
    if (client->out.bad)
        broken("more calls gathered than a buffer holds");
}

void node_flush(struct node_client *client)
{
    struct bytes left = writer_bytes(&client->out);
    while (left.len > 0) {
        ssize_t sent = send(client->fd, left.at, left.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            die("send");
        left = bytes_of(left.at + sent, left.len - (size_t)sent);
    }
    client->out = writer_of(client->out.start, OUT_BYTES);
}

static void receive(struct node_client *client)
{
    if (client->in_begin > 0) {
        memmove(client->in_at, client->in_at + client->in_begin, client->in_end - client->in_begin);
        client->in_end -= client->in_begin;
        client->in_begin = 0;
    }
    int flags = client->wait == NODE_WAIT_POLL ? MSG_DONTWAIT : 0;
    for (;;) {
        ssize_t got =
            recv(client->fd, client->in_at + client->in_end, IN_BYTES - client->in_end, flags);
        if (got > 0) {
            client->in_end += (size_t)got;
            client->received_bytes += (uint64_t)got;
            client->received_ns = now_ns();
            return;
        }
        if (got == 0)
            broken("the node closed the connection");
        if (errno != EINTR && errno != EAGAIN)
            die("recv");
    }
}

static struct bytes received(const struct node_client *client)
{
    return bytes_of(client->in_at + client->in_begin, client->in_end - client->in_begin);
}

bool node_ready(const struct node_client *client)
{
    struct frame frame;
    return frame_decode(received(client), &frame) != 0;
}

struct call node_take(struct node_client *client)
{
    for (;;) {
        struct frame frame;
        int64_t len = frame_decode(received(client), &frame);
        if (len < 0)
            broken("bytes from the node that are no frame");
        if (len == 0) {
            receive(client);
            continue;
        }
        struct call call;
        if (call_decode(frame, &call) != 0)
            broken("a frame from the node that is no call");
        client->in_begin += (size_t)len;
        return call;
    }
}

static uint64_t rotate_left(uint64_t value, int by)
{
    return (value << by) | (value >> (64 - by));
}

uint64_t node_random(struct node_client *client)
{
    uint64_t *s = client->random.at;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

void node_put_create(struct node_client *client, uint64_t call, size_t name_bytes)
{
    static const char letters[64] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -";
    char name[USER_NAME_BYTES_MAX];
    uint64_t bits = 0;
    for (size_t i = 0; i < name_bytes; i++, bits >>= 6) {
        if (i % 10 == 0)
            bits = node_random(client);
        name[i] = letters[bits % sizeof(letters)];
    }
    uint8_t encoded[USERS_COMMAND_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    struct users_command command = {.kind = USERS_CREATE,
                                    .create = {{.name = bytes_of(name, name_bytes)}}};
    users_command_put(&out, &command);
    struct call write = {.kind = CALL_WRITE,
                         .write = {.call = call, .command = writer_bytes(&out)}};
    uint64_t id[2] = {node_random(client), node_random(client)};
    memcpy(write.write.request.at, id, sizeof(id));
    node_put(client, &write);
}
