/*
 * rollcall-node: one process, one loop. Start: log, Redis, state, leader, then the workers' socket.
 * Each iteration of the loop is a turn: events are gathered while it polls, replica_turn does the
 * work, workers_flush sends what came of it. Stop: SIGTERM, and what waits is answered first.
 */
#include "raft/node/config.h"
#include "raft/node/diag.h"
#include "raft/node/disk_posix.h"
#include "raft/node/redis.h"
#include "raft/node/replica.h"
#include "raft/node/runner_uv.h"
#include "raft/node/snapshots.h"
#include "raft/node/workers.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* How long a start waits for a Redis that the log cannot do without. */
#define REDIS_WAIT_MS 10000u
/* How long a stop waits for what is under way. */
#define STOP_WAIT_MS 5000u

enum node_phase { NODE_LOADING, NODE_RUNNING, NODE_STOPPING };

struct node {
    struct config config;
    enum node_phase phase;
    uint64_t started_ms;
    uint64_t stop_ms;
    int exit_code;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;
    uint64_t timer_ms; /* when it fires; 0: not set */
    uv_signal_t sigterm, sigint, sigusr1;
    struct disk_posix disk;
    struct runner_uv runner;
    struct redis *redis;
    struct snapshots *snapshots;
    struct replica *replica;
    struct workers *workers;
    struct wal_recovered recovered;
    struct users *loading;
    bool load_asked;
    uint64_t saving_since_ms;
    enum call_snapshot snapshot_state;
    bool redis_was_down;
};

static uint64_t now_ms(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t wall_ms(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The one way out when going on would break a promise. Nothing is flushed, nothing is tidied. */
static _Noreturn void die(const char *text)
{
    diag("fatal", "text=\"%s\"", text);
    _exit(1);
}

/* --- stop ------------------------------------------------------------------------------------- */

static void begin_stop(struct node *node, int exit_code)
{
    if (node->phase == NODE_STOPPING)
        return;
    diag("stopping", "exit=%d", exit_code);
    node->phase = NODE_STOPPING;
    node->exit_code = exit_code;
    node->stop_ms = now_ms(NULL);
    if (node->workers != NULL)
        workers_stop_listening(node->workers);
    if (node->replica != NULL)
        replica_stop(node->replica);
}

static void close_handles(struct node *node)
{
    if (node->workers != NULL)
        workers_close(node->workers);
    if (node->redis != NULL)
        redis_close(node->redis);
    uv_close((uv_handle_t *)&node->prepare, NULL);
    uv_close((uv_handle_t *)&node->check, NULL);
    uv_close((uv_handle_t *)&node->timer, NULL);
    uv_close((uv_handle_t *)&node->sigterm, NULL);
    uv_close((uv_handle_t *)&node->sigint, NULL);
    uv_close((uv_handle_t *)&node->sigusr1, NULL);
}

static void stop_when_idle(struct node *node)
{
    bool started = node->replica != NULL && replica_users(node->replica) != NULL;
    bool busy = runner_uv_busy(&node->runner) || (started && replica_busy(node->replica)) ||
                (node->workers != NULL && !workers_idle(node->workers));
    if (busy && now_ms(NULL) - node->stop_ms < STOP_WAIT_MS)
        return;
    if (!uv_is_closing((uv_handle_t *)&node->check))
        close_handles(node);
}

static void refuse_start(struct node *node, const char *text)
{
    diag("refused", "text=\"%s\"", text);
    fprintf(stderr, "rollcall-node: cannot start: %s\n", text);
    begin_stop(node, 1);
}

/* --- the replica's hooks ---------------------------------------------------------------------- */

static void on_written(void *context, struct replica_client client, uint64_t index,
                       const struct users_answer *answer)
{
    struct node *node = context;
    workers_written(node->workers, client, index, answer);
}

static void on_refused(void *context, struct replica_client client, enum call_reason reason)
{
    struct node *node = context;
    workers_refused(node->workers, client, reason);
}

static void on_readable(void *context, struct replica_client client)
{
    struct node *node = context;
    workers_readable(node->workers, client);
}

static void on_save(void *context, struct users_view *take_view, uint64_t term)
{
    struct node *node = context;
    node->saving_since_ms = now_ms(NULL);
    snapshots_save(node->snapshots, take_view, term);
}

static void on_ready(void *context)
{
    struct node *node = context;
    int result = workers_listen(node->workers, node->config.socket);
    if (result != 0) {
        char text[512];
        snprintf(text, sizeof(text), "the workers' socket %s cannot be made: %s%s",
                 node->config.socket, strerror(-result),
                 result == -EADDRINUSE ? " (another process listens there)" : "");
        refuse_start(node, text);
        return;
    }
    struct replica_status status = replica_status(node->replica);
    struct users_meta meta = users_meta(replica_users(node->replica));
    diag("ready",
         "node=%" PRIu64 " cluster=%s term=%" PRIu64 " applied=%" PRIu64 " users=%" PRIu64
         " start_ms=%" PRIu64 " socket=%s",
         node->config.id, node->config.cluster, status.raft.term.n, status.applied, meta.count,
         now_ms(NULL) - node->started_ms, node->config.socket);
}

static void on_failed(void *context, const char *what, int error)
{
    (void)context;
    char text[256];
    snprintf(text, sizeof(text),
             "%s failed: %s. What was acknowledged is on disk; what was not may be or not. See to "
             "the disk, then start again",
             what, strerror(-error));
    die(text);
}

static const struct replica_hooks replica_hooks = {
    .now_ms = now_ms,
    .wall_ms = wall_ms,
    .written = on_written,
    .refused = on_refused,
    .readable = on_readable,
    .save = on_save,
    .ready = on_ready,
    .failed = on_failed,
};

/* --- snapshots -------------------------------------------------------------------------------- */

static void on_saved(void *context, const struct snapshots_saved *saved)
{
    struct node *node = context;
    uint64_t ms = now_ms(NULL) - node->saving_since_ms;
    if (saved->durable) {
        node->snapshot_state = CALL_SNAPSHOT_OK;
        diag("snapshot_done",
             "kind=%s index=%" PRIu64 " users=%" PRIu64 " answers=%" PRIu64 " bytes=%" PRIu64
             " ms=%" PRIu64,
             saved->full ? "full" : "incremental", saved->index, saved->users, saved->answers,
             saved->bytes, ms);
    } else {
        if (node->snapshot_state == CALL_SNAPSHOT_OK || redis_connected(node->redis))
            diag("snapshot_failed", "index=%" PRIu64 " ms=%" PRIu64 " text=\"%s\"", saved->index,
                 ms, saved->text);
        node->snapshot_state =
            redis_connected(node->redis) ? CALL_SNAPSHOT_NOT_DURABLE : CALL_SNAPSHOT_DOWN;
    }
    replica_saved(node->replica, saved->durable, saved->index);
}

static void start_replica(struct node *node)
{
    char text[512];
    if (replica_start(node->replica, node->loading, text, sizeof(text)) != 0) {
        refuse_start(node, text);
        return;
    }
    node->loading = NULL;
    node->phase = NODE_RUNNING;
}

/* The log alone holds everything: no snapshot is needed to start. */
static bool log_is_whole(const struct node *node)
{
    return node->recovered.start.n == 0;
}

static void new_state(struct node *node)
{
    if (node->loading != NULL)
        users_free(node->loading);
    node->loading = users_new(USERS_ANSWERS_MAX);
}

static void on_loaded(void *context, enum snapshots_found found, const char *text)
{
    struct node *node = context;
    char why[700];
    node->load_asked = false;
    switch (found) {
    case SNAPSHOTS_NONE:
    case SNAPSHOTS_LOADED:
        start_replica(node);
        return;
    case SNAPSHOTS_AWAY:
        new_state(node); /* asked again when Redis is back, see on_redis_connected */
        return;
    case SNAPSHOTS_DAMAGED:
        if (log_is_whole(node)) {
            diag("snapshot_damaged", "text=\"%s; the log holds everything and is replayed\"", text);
            new_state(node);
            start_replica(node);
            return;
        }
        snprintf(why, sizeof(why),
                 "the snapshot in Redis cannot be used: %s; bring back the Redis data of this node "
                 "from a copy, or restore the node from its peers or a backup",
                 text);
        refuse_start(node, why);
        return;
    }
    UNREACHABLE();
}

static const struct snapshots_hooks snapshots_hooks = {.loaded = on_loaded, .saved = on_saved};

static void on_redis_connected(void *context)
{
    struct node *node = context;
    if (node->redis_was_down)
        diag("redis_up", "socket=%s", node->config.redis);
    if (node->redis_was_down && node->phase == NODE_RUNNING)
        replica_store_is_back(node->replica);
    node->redis_was_down = false;
    if (node->phase == NODE_LOADING && !node->load_asked) {
        node->load_asked = true;
        snapshots_load(node->snapshots, node->loading);
    }
}

static void on_redis_disconnected(void *context, const char *why)
{
    struct node *node = context;
    if (!node->redis_was_down && node->phase != NODE_STOPPING)
        diag("redis_down", "socket=%s text=\"%s\"", node->config.redis, why);
    node->redis_was_down = true;
}

static const struct redis_hooks redis_hooks = {
    .connected = on_redis_connected,
    .disconnected = on_redis_disconnected,
};

/* While Redis is away at start: go on without it if the log allows, else give up in time. */
static void consider_start_without_redis(struct node *node)
{
    uint64_t waited_ms = now_ms(NULL) - node->started_ms;
    if (node->load_asked || waited_ms < REDIS_WAIT_MS / 10)
        return;
    if (log_is_whole(node)) {
        diag("redis_down", "socket=%s text=\"starting without: the log holds everything\"",
             node->config.redis);
        start_replica(node);
    } else if (waited_ms >= REDIS_WAIT_MS) {
        char text[512];
        snprintf(text, sizeof(text),
                 "Redis does not answer on %s, and the log begins after entry %" PRIu64
                 ": start Redis with the data of this node first",
                 node->config.redis, node->recovered.start.n);
        refuse_start(node, text);
    }
}

static enum call_snapshot snapshot_state(void *context)
{
    const struct node *node = context;
    return redis_connected(node->redis) ? node->snapshot_state : CALL_SNAPSHOT_DOWN;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct node *node = timer->data;
    node->timer_ms = 0;
}

/* Before the loop polls: it must wake for the replica's deadline. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct node *node = prepare->data;
    uint64_t now = now_ms(NULL);
    uint64_t deadline = now + 100;
    if (node->phase == NODE_RUNNING && replica_deadline_ms(node->replica) < deadline)
        deadline = replica_deadline_ms(node->replica);
    if (node->timer_ms != 0 && node->timer_ms <= deadline)
        return;
    node->timer_ms = deadline;
    uv_update_time(&node->loop);
    if (uv_timer_start(&node->timer, on_timer, deadline > now ? deadline - now : 0, 0) != 0)
        UNREACHABLE();
}

/* After it polled: a turn. */
static void on_check(uv_check_t *check)
{
    struct node *node = check->data;
    if (node->phase == NODE_LOADING)
        consider_start_without_redis(node);
    if (replica_users(node->replica) != NULL) {
        replica_turn(node->replica);
        workers_flush(node->workers);
    }
    if (node->phase == NODE_STOPPING)
        stop_when_idle(node);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct node *node = signal->data;
    if (number == SIGUSR1)
        replica_want_snapshot(node->replica);
    else
        begin_stop(node, 0);
}

static void check_result(int result, const char *what)
{
    if (result != 0) {
        fprintf(stderr, "rollcall-node: %s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

static void start_loop(struct node *node)
{
    signal(SIGPIPE, SIG_IGN);
    check_result(uv_loop_init(&node->loop), "event loop");
    check_result(uv_prepare_init(&node->loop, &node->prepare), "event loop");
    check_result(uv_check_init(&node->loop, &node->check), "event loop");
    check_result(uv_timer_init(&node->loop, &node->timer), "event loop");
    node->prepare.data = node->check.data = node->timer.data = node;
    check_result(uv_prepare_start(&node->prepare, on_prepare), "event loop");
    check_result(uv_check_start(&node->check, on_check), "event loop");
    struct {
        uv_signal_t *handle;
        int number;
    } const signals[] = {
        {&node->sigterm, SIGTERM}, {&node->sigint, SIGINT}, {&node->sigusr1, SIGUSR1}};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        check_result(uv_signal_init(&node->loop, signals[i].handle), "signals");
        signals[i].handle->data = node;
        check_result(uv_signal_start(signals[i].handle, on_signal, signals[i].number), "signals");
    }
}

/* --- start ------------------------------------------------------------------------------------ */

static int open_log(struct node *node)
{
    const struct config *config = &node->config;
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -errno;
    struct replica_options options = {
        .node = config->id,
        .cluster = config->cluster,
        .election_ms = config->election_ms,
        .heartbeat_ms = config->heartbeat_ms,
        .snapshot_entries = config->snapshot_entries,
        .random = random,
        .segment_bytes = WAL_SEGMENT_BYTES,
        .flush_here_while_quick = true, /* alone, it has no heartbeats to be late with */
        .disk = &node->disk.disk,
        .runner = &node->runner.runner,
        .hooks = &replica_hooks,
        .context = node,
    };
    int result = replica_open(&options, &node->replica, &node->recovered);
    const struct wal_recovered *recovered = &node->recovered;
    if (result != 0) {
        fprintf(stderr, "rollcall-node: cannot open the log in %s: %s\n", config->dir,
                recovered->text[0] != '\0' ? recovered->text : strerror(-result));
        return result;
    }
    if (recovered->damaged_hard_state_blocks > 0)
        diag("hard_state_damaged", "blocks=%" PRIu32 " text=\"a copy was read\"",
             recovered->damaged_hard_state_blocks);
    if (recovered->cut_bytes > 0)
        diag("log_cut", "bytes=%" PRIu64 " text=\"%s\"", recovered->cut_bytes, recovered->text);
    diag("log_opened", "fresh=%d term=%" PRIu64 " start=%" PRIu64 " last=%" PRIu64,
         recovered->fresh, recovered->term.n, recovered->start.n, recovered->last.n);
    return 0;
}

static int open_directory(struct node *node)
{
    int result = disk_posix_open(&node->disk, node->config.dir);
    if (result == -EWOULDBLOCK)
        fprintf(stderr, "rollcall-node: the log in %s is in use by another process\n",
                node->config.dir);
    else if (result != 0)
        fprintf(stderr, "rollcall-node: cannot use the directory %s (--dir): %s\n",
                node->config.dir, strerror(-result));
    return result;
}

static int write_pid_file(const char *path)
{
    if (path[0] == '\0')
        return 0;
    FILE *file = fopen(path, "we");
    bool written = file != NULL && fprintf(file, "%ld\n", (long)getpid()) > 0;
    if (file != NULL && fclose(file) != 0)
        written = false;
    if (!written) {
        fprintf(stderr, "rollcall-node: cannot write %s (--pid-file): %s\n", path, strerror(errno));
        return -EIO;
    }
    return 0;
}

static int start(struct node *node)
{
    node->started_ms = now_ms(NULL);
    int result = open_directory(node);
    if (result == 0)
        result = write_pid_file(node->config.pid_file);
    if (result != 0)
        return result;
    start_loop(node);
    runner_uv_init(&node->runner, &node->loop);
    result = open_log(node);
    if (result != 0)
        return result;
    new_state(node);
    node->snapshot_state = CALL_SNAPSHOT_OK;
    struct workers_options workers = {
        .loop = &node->loop,
        .replica = node->replica,
        .node = node->config.id,
        .cluster = node->config.cluster,
        .address = node->config.raft,
        .snapshot_state = snapshot_state,
        .context = node,
    };
    node->workers = workers_new(&workers);
    node->redis = redis_open(&node->loop, node->config.redis, &redis_hooks, node);
    if (node->workers == NULL || node->redis == NULL)
        return -ENOMEM;
    node->snapshots = snapshots_new(redis_store(node->redis), node->config.cluster, node->config.id,
                                    &snapshots_hooks, node);
    return node->snapshots != NULL ? 0 : -ENOMEM;
}

static void tidy_up(struct node *node)
{
    if (node->config.pid_file[0] != '\0')
        (void)unlink(node->config.pid_file);
    snapshots_free(node->snapshots);
    if (node->loading != NULL)
        users_free(node->loading);
    replica_close(node->replica);
    workers_free(node->workers);
    redis_free(node->redis);
    disk_posix_close(&node->disk);
}

int main(int argc, char **argv)
{
    static struct node node;
    switch (config_read(argc, argv, &node.config)) {
    case CONFIG_RUN:
        break;
    case CONFIG_SHOWN:
        return 0;
    case CONFIG_REFUSED:
        return 2;
    }
    if (start(&node) != 0)
        return 1;
    int open_handles = uv_run(&node.loop, UV_RUN_DEFAULT);
    if (open_handles != 0 || runner_uv_busy(&node.runner))
        _exit(node.exit_code); /* the disk did not answer in time: nothing may be freed under it */
    tidy_up(&node);
    diag("stopped", "exit=%d", node.exit_code);
    return node.exit_code;
}
