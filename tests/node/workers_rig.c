#include "tests/node/workers_rig.h"

#include "raft/node/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 120000u /* only a hang takes so long */

/* --- the node --------------------------------------------------------------------------------- */

static uint64_t now_ms(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_written(void *context, struct replica_client client, uint64_t index,
                       const struct users_answer *answer)
{
    workers_written(((struct workers_rig *)context)->workers, client, index, answer);
}

static void on_refused(void *context, struct replica_client client, enum call_reason reason)
{
    workers_refused(((struct workers_rig *)context)->workers, client, reason);
}

static void on_readable(void *context, struct replica_client client)
{
    workers_readable(((struct workers_rig *)context)->workers, client);
}

static void on_unknown(void *context, struct replica_client client)
{
    workers_unknown(((struct workers_rig *)context)->workers, client);
}

static void on_ready(void *context)
{
    struct workers_rig *rig = context;
    rig->ready = true;
    must(workers_listen(rig->workers, rig->path) == 0);
}

static void on_failed(void *context, const char *what, int error)
{
    (void)context;
    cr_fatal("%s: %s", what, strerror(-error));
}

static void on_note(void *context, const char *fact, const char *text)
{
    (void)context, (void)fact, (void)text;
}

static const struct replica_hooks hooks = {
    .note = on_note,
    .now_ms = now_ms,
    .wall_ms = now_ms,
    .written = on_written,
    .refused = on_refused,
    .unknown = on_unknown,
    .readable = on_readable,
    .ready = on_ready,
    .failed = on_failed,
};

static enum call_snapshot snapshot_state(void *context)
{
    (void)context;
    return CALL_SNAPSHOT_OK;
}

static void put_metrics(void *context, struct writer *out)
{
    const struct workers_rig *rig = context;
    const struct metrics_saves saves = {.failures = 0};
    const struct metrics_source source = {
        .replica = rig->replica,
        .node = 1,
        .cluster = "test",
        .workers = workers_connected(rig->workers),
        .snapshot_state = CALL_SNAPSHOT_OK,
        .saves = &saves,
    };
    metrics_put(out, &source);
}

static void on_check(uv_check_t *check)
{
    struct workers_rig *rig = check->data;
    if (!rig->hold)
        replica_turn(rig->replica);
    workers_flush(rig->workers);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void open_replica(struct workers_rig *rig)
{
    struct replica_options options = {
        .node = 1,
        .cluster = "test",
        .election_ms = 100,
        .heartbeat_ms = 10,
        .snapshot_entries = UINT32_MAX,
        .answers_max = 4096,
        .random = 99,
        .segment_bytes = 1u << 20,
        .disk = &rig->disk.disk,
        .runner = &rig->runner.runner,
        .hooks = &hooks,
        .context = rig,
    };
    struct wal_recovered recovered;
    char text[512];
    must(replica_open(&options, &rig->replica, &recovered) == 0);
    struct replica_state state = {.users = users_new(4096)};
    must(replica_start(rig->replica, &state, text, sizeof(text)) == 0);
}

static bool connected(void *context, raft_node_id id)
{
    (void)context;
    return id.n == 1;
}

struct workers_rig *workers_rig_new(void)
{
    struct workers_rig *rig = calloc(1, sizeof(*rig));
    snprintf(rig->directory, sizeof(rig->directory), "/tmp/rollcall-workers-XXXXXX");
    must(mkdtemp(rig->directory) != NULL);
    snprintf(rig->path, sizeof(rig->path), "%s/raft.sock", rig->directory);
    must(uv_loop_init(&rig->loop) == 0 && uv_check_init(&rig->loop, &rig->check) == 0);
    must(uv_timer_init(&rig->loop, &rig->tick) == 0);
    rig->check.data = rig;
    must(uv_check_start(&rig->check, on_check) == 0);
    must(uv_timer_start(&rig->tick, on_tick, 5, 5) == 0);
    must(runner_threads_init(&rig->runner, &rig->loop) == 0);
    must(disk_posix_open(&rig->disk, rig->directory) == 0);
    open_replica(rig);
    struct workers_options options = {
        .loop = &rig->loop,
        .replica = rig->replica,
        .node = 1,
        .cluster = "test",
        .address = "127.0.0.1:7001",
        .connected = connected,
        .snapshot_state = snapshot_state,
        .put_metrics = put_metrics,
        .context = rig,
    };
    rig->workers = workers_new(&options);
    must(rig->workers != NULL);
    for (uint64_t from = now_ms(NULL); !rig->ready; workers_rig_turn(rig))
        must(now_ms(NULL) - from < PATIENCE_MS);
    return rig;
}

void workers_rig_turn(struct workers_rig *rig)
{
    (void)uv_run(&rig->loop, UV_RUN_ONCE);
}

static void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        (void)unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory != NULL)
        closedir(directory);
    (void)rmdir(path);
}

void workers_rig_free(struct workers_rig *rig)
{
    rig->hold = false;
    replica_stop(rig->replica);
    while (replica_busy(rig->replica) || runner_threads_busy(&rig->runner))
        workers_rig_turn(rig);
    workers_close(rig->workers);
    runner_threads_close(&rig->runner);
    uv_close((uv_handle_t *)&rig->check, NULL);
    uv_close((uv_handle_t *)&rig->tick, NULL);
    (void)uv_run(&rig->loop, UV_RUN_DEFAULT);
    must(uv_loop_close(&rig->loop) == 0);
    workers_free(rig->workers);
    replica_close(rig->replica);
    runner_threads_join(&rig->runner);
    disk_posix_close(&rig->disk);
    remove_directory(rig->directory);
    free(rig);
}

/* --- a worker --------------------------------------------------------------------------------- */

struct worker worker_connect(struct workers_rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct worker worker = {.rig = rig, .in = malloc(WORKERS_RIG_IN_BYTES)};
    memcpy(address.sun_path, rig->path, strlen(rig->path) + 1);
    worker.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(worker.fd >= 0);
    must(connect(worker.fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    must(fcntl(worker.fd, F_SETFL, O_NONBLOCK) == 0);
    return worker;
}

void worker_close(struct worker *worker)
{
    close(worker->fd);
    free(worker->in);
    worker->in = NULL;
}

bool worker_send_bytes(struct worker *worker, struct bytes bytes)
{
    uint64_t moved = now_ms(NULL);
    while (bytes.len > 0 && now_ms(NULL) - moved < 300) {
        ssize_t sent = send(worker->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0) {
            bytes = bytes_of(bytes.at + sent, bytes.len - (size_t)sent);
            moved = now_ms(NULL);
        }
        (void)uv_run(&worker->rig->loop, bytes.len > 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    }
    return bytes.len == 0;
}

void worker_send(struct worker *worker, struct call call)
{
    static uint8_t at[CALL_FRAME_BYTES_MAX(65536)];
    struct writer out = writer_of(at, sizeof(at));
    call_put(&out, &call);
    must(!out.bad);
    (void)worker_send_bytes(worker, writer_bytes(&out));
}

void worker_write(struct worker *worker, uint64_t call, uint64_t request, const char *name)
{
    uint8_t encoded[USERS_COMMAND_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    struct users_command command = {.kind = USERS_CREATE,
                                    .create = {{.name = bytes_of_text(name)}}};
    users_command_put(&out, &command);
    worker_send(worker, (struct call){.kind = CALL_WRITE,
                                      .write = {.call = call,
                                                .request = request_id_of(request),
                                                .command = writer_bytes(&out)}});
}

bool worker_next(struct worker *worker, bool wait, struct call *ret_call)
{
    worker->in_len -= worker->frame_len;
    memmove(worker->in, worker->in + worker->frame_len, worker->in_len);
    worker->frame_len = 0;
    for (uint64_t from = now_ms(NULL);;) {
        struct frame frame;
        int64_t len = frame_decode(bytes_of(worker->in, worker->in_len), &frame);
        must(len >= 0);
        if (len > 0) {
            worker->frame_len = (size_t)len;
            must(call_decode(frame, ret_call) == 0);
            return true;
        }
        must(worker->in_len < WORKERS_RIG_IN_BYTES);
        ssize_t got =
            recv(worker->fd, worker->in + worker->in_len, WORKERS_RIG_IN_BYTES - worker->in_len, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return false;
        if (got > 0)
            worker->in_len += (size_t)got;
        else if (!wait)
            return false;
        (void)uv_run(&worker->rig->loop, got > 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        must(now_ms(NULL) - from < PATIENCE_MS);
    }
}

struct call worker_expect(struct worker *worker, enum call_kind kind)
{
    struct call call;
    must(worker_next(worker, true, &call));
    if (call.kind != kind)
        cr_fatal("call of kind %d came, and %d was expected", call.kind, kind);
    return call;
}

struct worker worker_greeted(struct workers_rig *rig)
{
    struct worker worker = worker_connect(rig);
    worker_send(&worker, (struct call){.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}});
    must(worker_expect(&worker, CALL_WELCOME).welcome.node == 1);
    return worker;
}

bool worker_is_dropped(struct worker *worker)
{
    struct call call;
    for (int i = 0; i < 400; i++) {
        char byte;
        ssize_t got = recv(worker->fd, &byte, 1, MSG_PEEK);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return true;
        if (got > 0)
            (void)worker_next(worker, false, &call);
        workers_rig_turn(worker->rig);
    }
    return false;
}
