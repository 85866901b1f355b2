/* backup FILE: as a worker would, over the node's socket; and check FILE. */
#include "raft/ctl/ctl.h"

#include "raft/ctl/target.h"
#include "raft/node/backup.h"
#include "raft/node/diag.h"
#include "raft/wire/call.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A node that says nothing for so long is not waited for. */
#define PATIENCE_S 15
#define CALL       1u

#define IN_BYTES   (2 * CALL_FRAME_BYTES_MAX(CALL_CHUNK_BYTES_MAX))

/* The connection to a node. */
struct caller {
    int fd;
    uint8_t *in;
    size_t in_len, frame_len;
    const char *why; /* after -EPROTO and -ECANCELED: what the node did, or said */
};

static int caller_open(struct caller *caller, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    uint8_t *in = malloc(IN_BYTES);
    if (in == NULL)
        return -ENOMEM;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0) {
        int error = errno;
        free(in);
        if (fd >= 0)
            close(fd);
        return -error;
    }
    *caller = (struct caller){.fd = fd, .in = in};
    return 0;
}

static void caller_close(struct caller *caller)
{
    free(caller->in);
    close(caller->fd);
}

static int say(struct caller *caller, struct call call)
{
    uint8_t at[CALL_FRAME_BYTES_MAX(0)];
    struct writer out = writer_of(at, sizeof(at));
    call_put(&out, &call);
    assert(!out.bad);
    ssize_t sent = send(caller->fd, at, writer_len(&out), MSG_NOSIGNAL);
    return sent == (ssize_t)writer_len(&out) ? 0 : sent < 0 ? -errno : -EPIPE;
}

/* The next call, borrowed until the one after. */
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

static int expect(struct caller *caller, enum call_kind kind, struct call *ret_call)
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

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int greet(struct caller *caller)
{
    struct call call = {.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}};
    int result = say(caller, call);
    return result == 0 ? expect(caller, CALL_WELCOME, &call) : result;
}

static struct backup_head head_of(const struct call_version_is *version)
{
    return (struct backup_head){.cluster = version->cluster,
                                .node = version->node,
                                .made_ms = wall_ms(),
                                .index = version->index,
                                .term = version->term,
                                .known = version->index,
                                USERS_META_FIELDS(USERS_META_FROM_version)};
}

static int take_pieces(struct caller *caller, struct backup_writer *writer)
{
    struct call call;
    int result = 0;
    for (bool last = false; result == 0 && !last;) {
        result = say(caller, (struct call){.kind = CALL_MORE, .more = {.call = CALL}});
        if (result == 0)
            result = expect(caller, CALL_PIECE, &call);
        if (result == 0)
            result = backup_block(writer, BACKUP_USERS, call.piece.users);
        if (result == 0)
            result = backup_block(writer, BACKUP_ANSWERS, call.piece.answers);
        if (result == 0)
            last = call.piece.last != 0;
    }
    return result == 0 ? backup_finish(writer) : result;
}

static int copy_state(struct caller *caller, struct target *target, struct backup_head *ret_head)
{
    struct backup_writer writer = {.write = target_write, .context = target};
    struct call call;
    int result = greet(caller);
    if (result == 0)
        result = say(caller, (struct call){.kind = CALL_BACKUP, .backup = {.call = CALL}});
    if (result == 0)
        result = expect(caller, CALL_VERSION_IS, &call);
    if (result != 0)
        return result;
    *ret_head = head_of(&call.version_is);
    ret_head->cluster = bytes_of("", 0); /* borrowed: it is for the file alone */
    struct backup_head head = head_of(&call.version_is);
    result = backup_begin(&writer, &head);
    return result == 0 ? take_pieces(caller, &writer) : result;
}

static enum ctl_exit failed(const struct caller *caller, const struct ctl_arguments *arguments,
                            int error)
{
    const char *why = caller != NULL && caller->why != NULL ? caller->why : strerror(-error);
    diag("backup_failed", "file=%s socket=%s text=\"%s%s; nothing was written\"", arguments->path,
         arguments->socket, error == -ETIMEDOUT ? "the node does not answer: " : "", why);
    return CTL_FAILED;
}

enum ctl_exit ctl_backup(const struct ctl_arguments *arguments)
{
    struct caller caller = {.fd = -1};
    struct target target;
    struct backup_head head;
    int result = caller_open(&caller, arguments->socket);
    if (result != 0)
        return failed(NULL, arguments, result);
    result = target_open(&target, arguments->path);
    if (result == 0) {
        result = copy_state(&caller, &target, &head);
        if (result == 0)
            result = target_finish(&target);
        else
            target_abandon(&target);
    }
    enum ctl_exit code = result == 0 ? CTL_DONE : failed(&caller, arguments, result);
    if (result == 0)
        diag("backup_done",
             "file=%s index=%" PRIu64 " term=%" PRIu64 " users=%" PRIu64 " answers=%" PRIu64
             " bytes=%" PRIu64,
             arguments->path, head.index, head.term, head.users,
             head.answers_next - head.answers_first, target.bytes);
    caller_close(&caller);
    return code;
}

/* --- check ------------------------------------------------------------------------------------ */

enum ctl_exit ctl_check(const struct ctl_arguments *arguments)
{
    struct users *users = users_new(USERS_ANSWERS_MAX);
    struct backup_head head;
    char cluster[BACKUP_CLUSTER_BYTES_MAX + 1], text[256];
    int result =
        backup_load_file(AT_FDCWD, arguments->path, users, &head, cluster, text, sizeof(text));
    users_free(users);
    if (result != 0) {
        diag("backup_bad", "file=%s text=\"%s\"", arguments->path,
             result == -EBADMSG ? text : strerror(-result));
        return result == -EBADMSG ? CTL_DAMAGED : CTL_FAILED;
    }
    uint8_t line[512];
    struct writer out = writer_of(line, sizeof(line));
    backup_describe(&out, &head);
    printf("%s:%.*s\n", arguments->path, (int)writer_len(&out), (const char *)line);
    return CTL_DONE;
}
