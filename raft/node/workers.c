/* The socket, its connections, and the frames that come and go; workers_calls.c knows what they
 * say. */
#include "raft/node/workers_state.h"

#include "raft/node/diag.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A call of a worker is small: what claims to be larger than this is no call. */
#define CALL_BYTES_MAX (64u << 10)
_Static_assert(CALL_FRAME_BYTES_MAX(USERS_COMMAND_BYTES_MAX) < CALL_BYTES_MAX, "a write fits");
_Static_assert(CALL_BYTES_MAX < WORKERS_IN_BYTES, "a call fits the buffer");
/* With so much unsent a connection is not read from. */
#define OUT_BYTES_PAUSE (4u << 20)
#define BACKLOG         128

/* --- sending ---------------------------------------------------------------------------------- */

static void end_connection(struct worker_connection *connection, const char *why);

void workers_send(struct worker_connection *connection, const struct call *call,
                  size_t variable_bytes)
{
    struct writer out;
    if (connection->closing)
        return;
    if (outbox_writer(&connection->outbox, CALL_FRAME_BYTES_MAX(variable_bytes), &out) != 0) {
        end_connection(connection, "no memory");
        return;
    }
    call_put(&out, call);
    outbox_put(&connection->outbox, &out);
}

static void resume_reading(struct worker_connection *connection);

static void on_sent(struct outbox *outbox)
{
    struct worker_connection *connection = CONTAINER_OF(outbox, struct worker_connection, outbox);
    if (!connection->closing)
        resume_reading(connection);
}

static void on_broken(struct outbox *outbox, int error)
{
    end_connection(CONTAINER_OF(outbox, struct worker_connection, outbox), uv_strerror(error));
}

/* --- receiving -------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    (void)suggested;
    struct worker_connection *connection = handle->data;
    *ret_buffer = uv_buf_init((char *)connection->in + connection->in_len,
                              (unsigned)(WORKERS_IN_BYTES - connection->in_len));
}

static bool has_too_much_unsent(const struct worker_connection *connection)
{
    return outbox_bytes(&connection->outbox) > OUT_BYTES_PAUSE;
}

/*
 * Takes whole frames off the buffer, as long as the worker takes its answers; the rest waits until
 * it does. False when what is there is no frame.
 */
static bool take_frames(struct worker_connection *connection)
{
    size_t at = 0;
    bool good = true;
    while (good && !connection->closing && !has_too_much_unsent(connection)) {
        struct frame frame;
        struct call call;
        struct bytes left = bytes_of(connection->in + at, connection->in_len - at);
        int64_t len = frame_decode(left, &frame);
        if (len == 0) {
            good = left.len < CALL_BYTES_MAX;
            break;
        }
        good = len > 0 && call_decode(frame, &call) == 0 && workers_on_call(connection, &call);
        at += len > 0 ? (size_t)len : 0;
    }
    memmove(connection->in, connection->in + at, connection->in_len - at);
    connection->in_len -= at;
    return good;
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
    (void)buffer;
    struct worker_connection *connection = stream->data;
    if (len == 0)
        return;
    if (len < 0) {
        end_connection(connection, len == UV_EOF ? NULL : uv_strerror((int)len));
        return;
    }
    connection->in_len += (size_t)len;
    if (!take_frames(connection)) {
        end_connection(connection, "what it sent is no call, or one out of turn");
        return;
    }
    if (!connection->closing && has_too_much_unsent(connection)) {
        connection->paused = true;
        (void)uv_read_stop(stream);
    }
}

static void resume_reading(struct worker_connection *connection)
{
    if (!connection->paused)
        return;
    if (!take_frames(connection)) { /* what was read before the pause */
        end_connection(connection, "what it sent is no call, or one out of turn");
        return;
    }
    if (connection->closing || has_too_much_unsent(connection))
        return; /* the next flush comes by here again */
    connection->paused = false;
    int result = uv_read_start((uv_stream_t *)&connection->pipe, on_alloc, on_read);
    if (result != 0)
        end_connection(connection, uv_strerror(result));
}

/* --- connections ------------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    struct worker_connection *connection = handle->data;
    workers_forget_reads(connection);
    outbox_free(&connection->outbox);
    connection->open = false;
}

/* `why` is NULL when the worker left by itself. */
static void end_connection(struct worker_connection *connection, const char *why)
{
    if (connection->closing)
        return;
    if (why != NULL)
        diag("worker_dropped", "connection=%" PRIu32 " text=\"%s\"", connection->place, why);
    connection->closing = true;
    workers_close_lists(connection);
    uv_close((uv_handle_t *)&connection->pipe, on_closed);
}

/* A place for a new connection, kept for later ones. NULL: all are taken. */
static struct worker_connection *new_connection(struct workers *workers)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        struct worker_connection *connection = workers->connection[i];
        if (connection == NULL) {
            connection = calloc(1, sizeof(*connection));
            if (connection == NULL || (connection->in = malloc(WORKERS_IN_BYTES)) == NULL) {
                free(connection);
                return NULL;
            }
            workers->connection[i] = connection;
        }
        if (connection->open)
            continue;
        uint8_t *in = connection->in;
        uint32_t generation = connection->generation + 1;
        memset(connection, 0, offsetof(struct worker_connection, list));
        connection->workers = workers;
        connection->place = i;
        connection->generation = generation;
        connection->in = in;
        return connection;
    }
    return NULL;
}

static void on_turned_away(uv_handle_t *handle)
{
    free(handle);
}

static void refuse_connection(uv_stream_t *listener)
{
    /* Accepted and closed: left in the backlog it would call us for ever. */
    uv_pipe_t *turned_away = malloc(sizeof(*turned_away));
    if (turned_away != NULL && uv_pipe_init(listener->loop, turned_away, 0) == 0) {
        (void)uv_accept(listener, (uv_stream_t *)turned_away);
        uv_close((uv_handle_t *)turned_away, on_turned_away);
    }
    diag("worker_refused", "limit=%u text=\"too many connections, or no memory\"", WORKERS_MAX);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct workers *workers = listener->data;
    if (status != 0)
        return;
    struct worker_connection *connection = new_connection(workers);
    if (connection == NULL) {
        refuse_connection(listener);
        return;
    }
    if (uv_pipe_init(listener->loop, &connection->pipe, 0) != 0)
        UNREACHABLE();
    connection->pipe.data = connection;
    connection->open = true;
    uv_stream_t *stream = (uv_stream_t *)&connection->pipe;
    outbox_open(&connection->outbox, stream, on_sent, on_broken);
    int result = uv_accept(listener, stream);
    if (result == 0)
        result = uv_read_start(stream, on_alloc, on_read);
    if (result != 0)
        end_connection(connection, uv_strerror(result));
}

/* A socket file that nobody listens on is left from a crash. Whatever else there is stays. */
static int remove_stale(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat stat;
    if (lstat(path, &stat) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(stat.st_mode))
        return -ENOTSOCK;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
    close(fd);
    if (result == 0)
        return -EADDRINUSE;
    if (result == -ECONNREFUSED)
        return unlink(path) == 0 ? 0 : -errno;
    return result == -ENOENT ? 0 : result;
}

struct workers *workers_new(const struct workers_options *options)
{
    struct workers *workers = calloc(1, sizeof(*workers));
    if (workers != NULL)
        workers->options = *options;
    return workers;
}

int workers_listen(struct workers *workers, const char *path)
{
    if (strlen(path) >= sizeof(workers->path))
        return -ENAMETOOLONG;
    int result = remove_stale(path);
    if (result != 0)
        return result;
    memcpy(workers->path, path, strlen(path) + 1);
    result = uv_pipe_init(workers->options.loop, &workers->listener, 0);
    if (result != 0)
        return result;
    workers->listening = true;
    workers->listener.data = workers;
    result = uv_pipe_bind(&workers->listener, path);
    if (result == 0 && chmod(path, 0600) != 0)
        result = -errno;
    if (result == 0)
        result = uv_listen((uv_stream_t *)&workers->listener, BACKLOG, on_connection);
    return result;
}

void workers_flush(struct workers *workers)
{
    for (uint32_t i = 0; i < WORKERS_MAX && workers->connection[i] != NULL; i++) {
        struct worker_connection *connection = workers->connection[i];
        if (connection->open && !connection->closing)
            outbox_flush(&connection->outbox);
    }
}

uint32_t workers_connected(const struct workers *workers)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < WORKERS_MAX && workers->connection[i] != NULL; i++)
        count += workers->connection[i]->open && !workers->connection[i]->closing;
    return count;
}

bool workers_idle(const struct workers *workers)
{
    for (uint32_t i = 0; i < WORKERS_MAX && workers->connection[i] != NULL; i++) {
        const struct worker_connection *connection = workers->connection[i];
        if (!connection->open)
            continue;
        if (outbox_bytes(&connection->outbox) > 0)
            return false;
        for (uint32_t j = 0; j < connection->lists; j++) {
            if (connection->list[j].open)
                return false;
        }
    }
    return true;
}

void workers_stop_listening(struct workers *workers)
{
    if (!workers->listening)
        return;
    workers->listening = false;
    uv_close((uv_handle_t *)&workers->listener, NULL); /* libuv removes the file */
}

void workers_close(struct workers *workers)
{
    workers_stop_listening(workers);
    for (uint32_t i = 0; i < WORKERS_MAX && workers->connection[i] != NULL; i++) {
        if (workers->connection[i]->open)
            end_connection(workers->connection[i], NULL);
    }
}

void workers_free(struct workers *workers)
{
    for (uint32_t i = 0; i < WORKERS_MAX && workers->connection[i] != NULL; i++) {
        free(workers->connection[i]->in);
        free(workers->connection[i]);
    }
    free(workers);
}
