/*
 * Putting log, Redis and state together: the snapshot is loaded, the replica starts from it and the
 * log, and from then on other nodes and workers may call. And saving, which is the same backwards.
 */
#include "raft/node/diag.h"
#include "raft/node/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How long a start waits for a Redis before other nodes are asked instead. */
#define REDIS_WAIT_MS 10000u

/* How often a Redis that refuses is asked again. */
#define REDIS_AGAIN_MS 200u

/* How often a first snapshot is tried that a restore cannot do without. */
#define SAVE_AGAIN_MS 1000u

static void start_replica(struct node *node);

/* What Redis says, or does not: once, and again when it is something else. */
static bool is_news(struct node *node, const char *text)
{
    if (strncmp(node->refusal, text, sizeof(node->refusal) - 1) == 0)
        return false;
    snprintf(node->refusal, sizeof(node->refusal), "%s", text);
    return true;
}

static void say_waiting(struct node *node, const char *event, const char *text)
{
    if (is_news(node, text))
        diag(event, "socket=%s text=\"%s\"", node->config.redis, text);
}

static void on_saved(void *context, const struct snapshots_saved *saved)
{
    struct node *node = context;
    uint64_t ms = node_now_ms(NULL) - node->saving_since_ms;
    metrics_saved(&node->saves, saved->durable, ms, node_wall_ms(NULL));
    if (saved->durable) {
        node->snapshot_state = CALL_SNAPSHOT_OK;
        node->refusal[0] = '\0';
        diag("snapshot_done",
             "kind=%s index=%" PRIu64 " users=%" PRIu64 " answers=%" PRIu64 " bytes=%" PRIu64
             " ms=%" PRIu64,
             saved->full ? "full" : "incremental", saved->index, saved->users, saved->answers,
             saved->bytes, ms);
    } else {
        if (is_news(node, saved->text) &&
            (node->snapshot_state == CALL_SNAPSHOT_OK || redis_connected(node->redis)))
            diag("snapshot_failed", "index=%" PRIu64 " ms=%" PRIu64 " text=\"%s\"", saved->index,
                 ms, saved->text);
        node->snapshot_state =
            redis_connected(node->redis) ? CALL_SNAPSHOT_NOT_DURABLE : CALL_SNAPSHOT_DOWN;
    }
    if (!boot_restores(node)) {
        replica_saved(node->replica, saved->durable, saved->index);
        return;
    }
    if (node->phase != NODE_LOADING)
        return;            /* asked to stop meanwhile */
    if (!saved->durable) { /* it may be set right, or come back: it was said, and is tried again */
        node->load_asked = false;
        node->load_ms = node_now_ms(NULL) + SAVE_AGAIN_MS;
        return;
    }
    boot_restore_saved(node);
    start_replica(node);
}

static void refuse_address(struct node *node, const char *what, const char *address, int error)
{
    char text[512];
    snprintf(text, sizeof(text), "%s %s cannot be used: %s%s", what, address, uv_strerror(error),
             error == -EADDRINUSE ? " (another process listens there)"
             : error == -ENOTSOCK ? " (another file has this name; it is left alone)"
                                  : "");
    node_refuse_start(node, text);
}

void boot_refuse_address(struct node *node, int error)
{
    refuse_address(node, "the address for other nodes (--raft)", config_raft(&node->config), error);
}

/* From here on it takes part, and workers may call: they wait until a leader is known. */
static void start_replica(struct node *node)
{
    char text[512];
    struct replica_state state = {.users = node->loading};
    bool restored = boot_restores(node);
    if (restored) {
        state = boot_restore_state(node);
    } else if (users_meta(node->loading).index > 0) {
        state.term = snapshots_loaded_term(node->snapshots);
        state.members = *snapshots_loaded_members(node->snapshots);
    }
    if (replica_start(node->replica, &state, text, sizeof(text)) != 0) {
        node_refuse_start(node, text);
        return;
    }
    node->loading = NULL;
    node->phase = NODE_RUNNING;
    if (restored && !boot_restore_done(node))
        return;
    int result = node->peers != NULL ? peers_start(node->peers) : 0;
    if (result != 0) {
        boot_refuse_address(node, result);
        return;
    }
    result = workers_listen(node->workers, node->config.socket);
    if (result != 0) {
        refuse_address(node, "the workers' socket", node->config.socket, result);
        return;
    }
    diag("started", "node=%" PRIu64 " cluster=%s members=%" PRIu32 " socket=%s", node->config.id,
         node->config.cluster, node->config.member_count, node->config.socket);
    boot_members_keep(node);
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

/* The log is new, or was lost, and the snapshot says whose it was. */
static void learn_cluster(struct node *node)
{
    struct raft_cluster_id id = snapshots_loaded_cluster_id(node->snapshots);
    if (!cluster_id_known(id) || cluster_id_known(replica_identity(node->replica).cluster))
        return;
    replica_identify(node->replica, id);
    snapshots_identify(node->snapshots, id);
}

static void load(struct node *node)
{
    node->load_asked = true;
    snapshots_load(node->snapshots, node->loading);
}

static void on_loaded(void *context, enum snapshots_found found, const char *text)
{
    struct node *node = context;
    char why[700];
    node->load_asked = false;
    if (node->phase != NODE_LOADING)
        return; /* asked to stop meanwhile */
    switch (found) {
    case SNAPSHOTS_NONE:
        if (boot_restores(node)) {
            node->load_asked = true;
            boot_restore_save(node);
            return;
        }
        if (log_is_whole(node) && node->recovered.last.n > 0)
            diag("snapshot_none", "text=\"Redis holds no snapshot of this node: the log holds "
                                  "everything and is replayed\"");
        start_replica(node);
        return;
    case SNAPSHOTS_LOADED:
        diag("snapshot_loaded", "index=%" PRIu64 " users=%" PRIu64 " ms=%" PRIu64,
             users_meta(node->loading).index, users_meta(node->loading).users,
             node_now_ms(NULL) - node->started_ms);
        if (boot_restores(node) && !boot_restore_is_held(node))
            return;
        learn_cluster(node);
        start_replica(node);
        return;
    case SNAPSHOTS_AWAY:
        new_state(node); /* asked again when Redis is back, see on_redis_connected */
        return;
    case SNAPSHOTS_REFUSED:
        new_state(node);
        node->load_ms = node_now_ms(NULL) + REDIS_AGAIN_MS;
        say_waiting(node, "redis_refuses", text);
        return;
    case SNAPSHOTS_DAMAGED:
        if (!boot_restores(node) && (log_is_whole(node) || node->peers != NULL)) {
            diag("snapshot_damaged", "text=\"%s; %s\"", text,
                 log_is_whole(node) ? "the log holds everything and is replayed"
                                    : "the state is fetched from another node");
            new_state(node);
            start_replica(node);
            return;
        }
        snprintf(why, sizeof(why),
                 "the snapshot in Redis cannot be used: %s; bring back the Redis data of this node "
                 "from a copy, or restore the node from its peers or a backup",
                 text);
        node_refuse_start(node, why);
        return;
    }
    UNREACHABLE();
}

static void on_lost(void *context, const char *text)
{
    struct node *node = context;
    node->snapshot_state = CALL_SNAPSHOT_NOT_DURABLE;
    diag("snapshot_lost", "text=\"%s: a complete one is written\"", text);
    replica_store_lost(node->replica);
}

static const struct snapshots_hooks snapshots_hooks = {
    .loaded = on_loaded,
    .saved = on_saved,
    .lost = on_lost,
};

void boot_tick(struct node *node)
{
    uint64_t now_ms = node_now_ms(NULL);
    boot_members_keep(node);
    if (now_ms < node->look_ms || !redis_connected(node->redis))
        return;
    node->look_ms = now_ms + SNAPSHOTS_LOOK_MS;
    snapshots_look(node->snapshots);
}

static void on_redis_connected(void *context)
{
    struct node *node = context;
    if (node->redis_was_down)
        diag("redis_up", "socket=%s", node->config.redis);
    if (node->redis_was_down && node->phase == NODE_RUNNING)
        replica_store_lost(node->replica);
    node->redis_was_down = false;
    if (node->phase == NODE_LOADING && !node->load_asked)
        load(node);
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

/* The log, or others, have what Redis has. One that reads its file still is there soon. */
static bool can_do_without(const struct node *node, uint64_t waited_ms)
{
    static const char reads[] = "Redis says: LOADING";
    if (boot_restores(node) || waited_ms < REDIS_WAIT_MS / 10 ||
        (redis_connected(node->redis) && strncmp(node->refusal, reads, strlen(reads)) == 0))
        return false;
    return log_is_whole(node) || (node->peers != NULL && waited_ms >= REDIS_WAIT_MS);
}

void boot_without_redis(struct node *node)
{
    uint64_t now_ms = node_now_ms(NULL), waited_ms = now_ms - node->started_ms;
    if (node->load_asked)
        return;
    if (can_do_without(node, waited_ms)) {
        diag("redis_down", "socket=%s text=\"starting without: %s\"", node->config.redis,
             log_is_whole(node) ? "the log holds everything"
                                : "the state is fetched from another node");
        start_replica(node);
    } else if (!redis_connected(node->redis)) {
        char text[256];
        snprintf(text, sizeof(text),
                 "Redis does not answer, and the log begins after entry %" PRIu64
                 ": the node waits until Redis is started with its data",
                 boot_restores(node) ? node->restore.meta.index : node->recovered.start.n);
        if (waited_ms >= REDIS_WAIT_MS)
            say_waiting(node, "redis_awaited", text);
    } else if (now_ms >= node->load_ms) {
        load(node);
    }
}

enum call_snapshot boot_snapshot_state(void *context)
{
    const struct node *node = context;
    if (node->phase == NODE_RUNNING && replica_status(node->replica).state_gone)
        return CALL_SNAPSHOT_GONE;
    return redis_connected(node->redis) ? node->snapshot_state : CALL_SNAPSHOT_DOWN;
}

bool boot_shares_a_host(const struct config *config)
{
    char first[PEERS_HOST_BYTES], host[PEERS_HOST_BYTES];
    uint16_t port;
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (peers_address(config->member[i].address, i == 0 ? first : host, &port) != 0 ||
            (i > 0 && strcmp(first, host) != 0))
            return false;
    }
    return config->member_count > 1;
}

int boot_open(struct node *node)
{
    new_state(node);
    node->snapshot_state = CALL_SNAPSHOT_OK;
    node->redis = redis_open(&node->loop, node->config.redis, &redis_hooks, node);
    if (node->redis == NULL)
        return -ENOMEM;
    node->snapshots = snapshots_new(redis_store(node->redis), node->config.cluster, node->config.id,
                                    &snapshots_hooks, node);
    if (node->snapshots == NULL)
        return -ENOMEM;
    snapshots_identify(node->snapshots, replica_identity(node->replica).cluster);
    return 0;
}
