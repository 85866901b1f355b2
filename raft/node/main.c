/*
 * rollcall-node: one process, one loop. Start: log, Redis, state, leader, then the workers' socket.
 * Each iteration of the loop is a turn: events are gathered while it polls, replica_turn does the
 * work, workers_flush sends what came of it. Stop: SIGTERM, and what waits is answered first.
 */
#include "raft/node/diag.h"
#include "raft/node/node.h"
#include "raft/users/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How long a stop waits for what is under way. */
#define STOP_WAIT_MS 5000u

uint64_t node_now_ms(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t node_wall_ms(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t measure_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
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
    node->stop_ms = node_now_ms(NULL);
    if (node->workers != NULL)
        workers_stop_listening(node->workers);
    if (node->replica != NULL)
        replica_stop(node->replica);
}

static void close_handles(struct node *node)
{
    if (node->workers != NULL)
        workers_close(node->workers);
    peers_close(node->peers);
    if (node->redis != NULL)
        redis_close(node->redis);
    runner_threads_close(&node->runner);
    uv_close((uv_handle_t *)&node->prepare, NULL);
    uv_close((uv_handle_t *)&node->check, NULL);
    uv_close((uv_handle_t *)&node->timer, NULL);
    for (int number = 1; number < SIGNALS_MAX; number++) {
        if (node->signals[number].data != NULL)
            uv_close((uv_handle_t *)&node->signals[number], NULL);
    }
}

static void stop_when_idle(struct node *node)
{
    bool started = node->replica != NULL && replica_users(node->replica) != NULL;
    bool busy = runner_threads_busy(&node->runner) || (started && replica_busy(node->replica)) ||
                (node->workers != NULL && !workers_idle(node->workers));
    if (busy && node_now_ms(NULL) - node->stop_ms < STOP_WAIT_MS)
        return;
    if (!uv_is_closing((uv_handle_t *)&node->check))
        close_handles(node);
}

void node_refuse_start(struct node *node, const char *text)
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

static void on_unknown(void *context, struct replica_client client)
{
    struct node *node = context;
    workers_unknown(node->workers, client);
}

static void on_readable(void *context, struct replica_client client)
{
    struct node *node = context;
    workers_readable(node->workers, client);
}

static void on_save(void *context, struct users_view *take_view, raft_term term,
                    const struct members *members)
{
    struct node *node = context;
    node->saving_since_ms = node_now_ms(NULL);
    snapshots_identify(node->snapshots, replica_identity(node->replica).cluster);
    snapshots_save(node->snapshots, take_view, term, members);
}

static void on_ready(void *context)
{
    const struct node *node = context;
    if (node->phase == NODE_STOPPING)
        return; /* it was refused meanwhile, and serves nobody */
    struct replica_status status = replica_status(node->replica);
    struct users_meta meta = users_meta(replica_users(node->replica));
    diag("ready",
         "node=%" PRIu64 " cluster=%s term=%" PRIu64 " leader=%" PRIu64 " applied=%" PRIu64
         " users=%" PRIu64 " start_ms=%" PRIu64 " socket=%s",
         node->config.id, node->config.cluster, status.raft.term.n, status.raft.leader.n,
         status.applied, meta.users, node_now_ms(NULL) - node->started_ms, node->config.socket);
}

static void on_note(void *context, const char *fact, const char *text)
{
    (void)context;
    diag(fact, "text=\"%s\"", text);
}

static void on_failed(void *context, const char *what, int error)
{
    const struct node *node = context;
    char text[512];
    if (error == -EPROTONOSUPPORT)
        snprintf(text, sizeof(text), "%s failed. Nothing was changed", what);
    else
        snprintf(
            text, sizeof(text),
            "%s failed: %s. What was acknowledged is on disk; what was not may be or not. See to "
            "the disk of %s, then start again",
            what, strerror(-error), node->config.dir);
    die(text);
}

static const struct replica_hooks replica_hooks = {
    .now_ms = node_now_ms,
    .wall_ms = node_wall_ms,
    .written = on_written,
    .refused = on_refused,
    .unknown = on_unknown,
    .readable = on_readable,
    .save = on_save,
    .ready = on_ready,
    .note = on_note,
    .failed = on_failed,
};

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
    uint64_t now = node_now_ms(NULL);
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
        boot_without_redis(node);
    if (node->phase == NODE_RUNNING)
        boot_tick(node);
    if (replica_users(node->replica) != NULL) {
        replica_turn(node->replica);
        if (node->peers != NULL)
            peers_resume(node->peers);
        workers_flush(node->workers);
    }
    if (node->phase == NODE_STOPPING)
        stop_when_idle(node);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct node *node = signal->data;
    switch (number) {
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
        begin_stop(node, 0);
        return;
    case SIGUSR1:
        replica_want_snapshot(node->replica);
        return;
    default:
        diag("signal_ignored", "number=%d text=\"%s means nothing to a node; TERM stops it\"",
             number, strsignal(number));
    }
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
    signal(SIGXFSZ, SIG_IGN); /* the write fails instead, and that is said */
    check_result(uv_loop_init(&node->loop), "event loop");
    check_result(uv_prepare_init(&node->loop, &node->prepare), "event loop");
    check_result(uv_check_init(&node->loop, &node->check), "event loop");
    check_result(uv_timer_init(&node->loop, &node->timer), "event loop");
    node->prepare.data = node->check.data = node->timer.data = node;
    check_result(uv_prepare_start(&node->prepare, on_prepare), "event loop");
    check_result(uv_check_start(&node->check, on_check), "event loop");
    for (int number = 1; number < SIGNALS_MAX; number++) {
        uv_signal_t *handle = &node->signals[number];
        if (signal_is_left_alone(number))
            continue;
        check_result(uv_signal_init(&node->loop, handle), "signals");
        handle->data = node;
        check_result(uv_signal_start(handle, on_signal, number), "signals");
    }
}

/* --- start ------------------------------------------------------------------------------------ */

/* How much later a leader flushes its own copy where all nodes share a disk. */
#define OWN_FLUSH_AFTER_MS 3u

/* What has no words of its own is said here. */
static int said(int result)
{
    if (result != 0)
        fprintf(stderr, "rollcall-node: cannot start: %s\n", strerror(-result));
    return result;
}

/* A log that is no good has its text; what else failed on the way has a reason besides. */
static void say_unopened(const char *dir, int error, const char *text)
{
    bool judged = error == -EBADMSG && text[0] != '\0';
    fprintf(stderr, "rollcall-node: cannot open the log in %s: %s%s%s%s\n", dir,
            judged ? text : strerror(-error), !judged && text[0] != '\0' ? " (" : "",
            judged ? "" : text, !judged && text[0] != '\0' ? ")" : "");
}

static int open_log(struct node *node)
{
    const struct config *config = &node->config;
    uint64_t random;
    struct raft_cluster_id drawn;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random) ||
        getrandom(&drawn, sizeof(drawn), 0) != (ssize_t)sizeof(drawn))
        return said(-errno);
    struct replica_options options = {
        .node = config->id,
        .cluster = config->cluster,
        .election_ms = config->election_ms,
        .heartbeat_ms = config->heartbeat_ms,
        .snapshot_entries = config->snapshot_entries,
        .scrub_bytes_per_s = config->scrub_kib_per_s << 10,
        .random = random,
        .drawn = drawn,
        .segment_bytes = WAL_SEGMENT_BYTES,
        .answers_max = USERS_ANSWERS_MAX,
        .flush_here_while_quick = true,
        .own_flush_after_ms = boot_shares_a_host(config) ? OWN_FLUSH_AFTER_MS : 0,
        .members = config->member_count,
        .network = node->peers != NULL ? peers_network(node->peers) : NULL,
        .disk = &node->disk.disk,
        .runner = &node->runner.runner,
        .hooks = &replica_hooks,
        .context = node,
        .measure_ns = measure_ns,
    };
    for (uint32_t i = 0; i < config->member_count; i++) {
        options.member[i].n = config->member[i].id;
        options.address[i] = config->member[i].address;
    }
    int result = replica_open(&options, &node->replica, &node->recovered);
    const struct wal_recovered *recovered = &node->recovered;
    if (result != 0) {
        say_unopened(config->dir, result, recovered->text);
        return result;
    }
    if (recovered->damaged_hard_state_blocks > 0)
        diag("hard_state_damaged", "blocks=%" PRIu32 " text=\"a copy was read\"",
             recovered->damaged_hard_state_blocks);
    if (recovered->text[0] != '\0')
        diag(recovered->cut_bytes > 0 ? "log_cut" : "log_damaged",
             "cut_bytes=%" PRIu64 " repaired=%" PRIu32 " holes=%" PRIu32 " text=\"%s\"",
             recovered->cut_bytes, recovered->repaired, recovered->holes, recovered->text);
    boot_members_judge(node);
    diag("log_opened", "fresh=%d term=%" PRIu64 " start=%" PRIu64 " last=%" PRIu64 " recovering=%d",
         recovered->fresh, recovered->hard.term.n, recovered->start.n, recovered->last.n,
         recovered->hard.recovering);
    return 0;
}

static int received(void *context, raft_node_id from, struct frame frame)
{
    struct node *node = context;
    return replica_receive(node->replica, from, frame);
}

static void peer_up(void *context, raft_node_id peer)
{
    struct node *node = context;
    replica_peer_up(node->replica, peer);
}

static void peer_lost(void *context, raft_node_id peer)
{
    struct node *node = context;
    replica_peer_lost(node->replica, peer);
}

static void peers_unusable(void *context, int error)
{
    boot_refuse_address(context, error);
}

static struct record_identity identity(void *context)
{
    const struct node *node = context;
    return replica_identity(node->replica);
}

static const struct peers_hooks peers_hooks = {
    .identity = identity,
    .received = received,
    .up = peer_up,
    .lost = peer_lost,
    .unusable = peers_unusable,
};

static const char *address_of(void *context, raft_node_id id)
{
    const struct config *config = &((const struct node *)context)->config;
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (config->member[i].id == id.n)
            return config->member[i].address;
    }
    return "";
}

static bool connected(void *context, raft_node_id id)
{
    const struct node *node = context;
    return node->peers != NULL ? peers_connected(node->peers, id) : id.n == node->config.id;
}

static uint64_t unsent_bytes(void *context, raft_node_id id)
{
    const struct node *node = context;
    return node->peers != NULL ? peers_unsent_bytes(node->peers, id) : 0;
}

static void put_metrics(void *context, struct writer *out)
{
    struct node *node = context;
    struct peers_measures refused = {.refused_frames = 0};
    if (node->peers != NULL)
        refused = peers_measures(node->peers);
    const struct metrics_source source = {
        .replica = node->replica,
        .node = node->config.id,
        .cluster = node->config.cluster,
        .workers = workers_connected(node->workers),
        .redis_up = redis_connected(node->redis),
        .snapshot_state = boot_snapshot_state(node),
        .saves = &node->saves,
        .started_wall_ms = node->started_wall_ms,
        .dir = node->config.dir,
        .refused_frames = refused.refused_frames,
        .refused_greetings = refused.refused_greetings,
        .connected = connected,
        .unsent_bytes = unsent_bytes,
        .context = node,
    };
    metrics_put(out, &source);
}

static int make_peers(struct node *node)
{
    const struct config *config = &node->config;
    struct peers_options options = {
        .loop = &node->loop,
        .node = config->id,
        .cluster = config->cluster,
        .listen = config_raft(config),
        .members = config->member_count,
        .dead_ms = 3 * config->election_ms,
        .random = uv_hrtime() ^ config->id,
        .hooks = &peers_hooks,
        .context = node,
    };
    if (config->member_count <= 1)
        return 0;
    for (uint32_t i = 0; i < config->member_count; i++)
        options.member[i] = (struct peers_member){.id = {config->member[i].id},
                                                  .address = config->member[i].address};
    node->peers = peers_new(&options);
    return node->peers != NULL ? 0 : -ENOMEM;
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

/* Whether nothing but a number stands there: what else there is belongs to somebody else. */
static bool holds_a_pid(int file)
{
    char text[32];
    struct stat stat;
    ssize_t len = read(file, text, sizeof(text));
    return fstat(file, &stat) == 0 && S_ISREG(stat.st_mode) && len >= 0 && stat.st_size == len &&
           strspn(memcpy((char[sizeof(text) + 1]){0}, text, (size_t)len), "0123456789\n") ==
               (size_t)len;
}

static int write_pid_file(const char *path)
{
    if (path[0] == '\0')
        return 0;
    char text[32];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    int file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    bool ours = file >= 0 && holds_a_pid(file);
    bool written = ours && ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0 &&
                   write(file, text, (size_t)len) == len;
    if (!written)
        fprintf(stderr, "rollcall-node: cannot write %s (--pid-file): %s\n", path,
                file >= 0 && !ours ? "it holds something else than a pid" : strerror(errno));
    if (file >= 0)
        close(file);
    return written ? 0 : -EIO;
}

static int start(struct node *node)
{
    node->started_ms = node_now_ms(NULL);
    node->started_wall_ms = node_wall_ms(NULL);
    start_loop(node); /* first: from here on signals are handled */
    int result = open_directory(node);
    if (result == 0)
        result = write_pid_file(node->config.pid_file);
    if (result != 0)
        return result;
    check_result(runner_threads_init(&node->runner, &node->loop), "threads");
    result = boot_members_read(node);
    if (result == 0)
        result = said(make_peers(node));
    if (result == 0)
        result = boot_restore_find(node);
    if (result == 0)
        result = open_log(node);
    if (result == 0)
        result = boot_restore_judge(node);
    if (result != 0)
        return result;
    struct workers_options workers = {
        .loop = &node->loop,
        .replica = node->replica,
        .node = node->config.id,
        .cluster = node->config.cluster,
        .address = config_raft(&node->config),
        .address_of = address_of,
        .connected = connected,
        .snapshot_state = boot_snapshot_state,
        .put_metrics = put_metrics,
        .context = node,
    };
    node->workers = workers_new(&workers);
    return said(node->workers != NULL ? boot_open(node) : -ENOMEM);
}

static void tidy_up(struct node *node)
{
    if (node->config.pid_file[0] != '\0')
        (void)unlink(node->config.pid_file);
    snapshots_free(node->snapshots);
    users_free(node->loading);
    users_free(node->restore.users);
    replica_close(node->replica);
    workers_free(node->workers);
    peers_free(node->peers);
    redis_free(node->redis);
    runner_threads_join(&node->runner);
    disk_posix_close(&node->disk);
}

int main(int argc, char **argv)
{
    static struct node node;
    umask(077);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* it would hold the directory */
    switch (config_read(argc, argv, &node.config)) {
    case CONFIG_RUN:
        break;
    case CONFIG_SHOWN:
        return 0;
    case CONFIG_REFUSED:
        return 2;
    }
    struct siphash_key key;
    if (getrandom(&key, sizeof(key), 0) != (ssize_t)sizeof(key))
        return 1;
    users_hash_with(key);
    if (start(&node) != 0)
        return 1;
    int open_handles = uv_run(&node.loop, UV_RUN_DEFAULT);
    if (open_handles != 0 || runner_threads_busy(&node.runner))
        _exit(node.exit_code); /* the disk did not answer in time: nothing may be freed under it */
    tidy_up(&node);
    diag("stopped", "exit=%d", node.exit_code);
    return node.exit_code;
}
