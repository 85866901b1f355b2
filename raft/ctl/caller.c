#include "raft/ctl/caller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A node that says nothing for so long is not waited for. */
#define PATIENCE_S 15
#define IN_BYTES   (2 * CALL_FRAME_BYTES_MAX(CALL_CHUNK_BYTES_MAX))

static int open_socket(struct caller *caller, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    *caller = (struct caller){.in = malloc(IN_BYTES), .fd = fd};
    if (caller->in == NULL) {
        close(fd);
        return -ENOMEM;
    }
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                   setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0
               ? 0
               : -errno;
}

void caller_close(struct caller *caller)
{
    if (caller->in != NULL)
        close(caller->fd);
    free(caller->in);
    *caller = (struct caller){0};
}

int caller_say(struct caller *caller, struct call call)
{
    uint8_t at[CALL_FRAME_BYTES_MAX(0)];
    struct writer out = writer_of(at, sizeof(at));
    call_put(&out, &call);
    assert(!out.bad);
    ssize_t sent = send(caller->fd, at, writer_len(&out), MSG_NOSIGNAL);
    return sent == (ssize_t)writer_len(&out) ? 0 : sent < 0 ? -errno : -EPIPE;
}

static int hear(struct caller *caller, struct call *ret_call)
{
    caller->in_len -= caller->frame_len;
    memmove(caller->in, caller->in + caller->frame_len, caller->in_len);
    caller->frame_len = 0;
    for (;;) {
        struct frame frame;
        int64_t len = frame_decode(bytes_of(caller->in, caller->in_len), &frame);
        if (len > 0) {
            caller->frame_len = (size_t)len;
            if (call_decode(frame, ret_call) == 0)
                return 0;
        }
        if (len != 0 || caller->in_len == IN_BYTES) {
            caller->why = "what listens there speaks another language";
            return -EPROTO;
        }
        ssize_t got = recv(caller->fd, caller->in + caller->in_len, IN_BYTES - caller->in_len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (got == 0) {
            caller->why = "the node ended the connection: it stops, or is of an older version";
            return -EPROTO;
        }
        caller->in_len += (size_t)got;
    }
}

int caller_expect(struct caller *caller, enum call_kind kind, struct call *ret_call)
{
    struct call call = {.kind = CALL_HELLO};
    int result = hear(caller, &call);
    if (result != 0)
        return result;
    if (call.kind == CALL_REFUSED) {
        const char *reason = call_reason_text(call.refused.reason);
        caller->why = reason != NULL ? reason : "the node refuses";
        return -ECANCELED;
    }
    if (call.kind != kind) {
        caller->why = "the node's answer is none";
        return -EPROTO;
    }
    *ret_call = call;
    return 0;
}

int caller_open(struct caller *caller, const char *path)
{
    struct call call = {.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}};
    *caller = (struct caller){0};
    int result = open_socket(caller, path);
    if (result == 0)
        result = caller_say(caller, call);
    return result == 0 ? caller_expect(caller, CALL_WELCOME, &call) : result;
}

const char *caller_text(const struct caller *caller, int error)
{
    if (caller->why != NULL)
        return caller->why;
    return error == -ETIMEDOUT ? "the node does not answer" : strerror(-error);
}
