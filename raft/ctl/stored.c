#include "raft/ctl/stored.h"

#include "raft/node/redis.h"
#include "raft/snapshots/snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 10000u

struct stored {
    uv_loop_t loop;
    uv_timer_t patience;
    struct redis *redis;
    struct snapshots *snapshots;
    struct users *users;
    bool asked, done;
    int result;
    char *text;
    size_t text_bytes;
};

static void end(struct stored *stored, int result, const char *text)
{
    if (stored->done)
        return;
    stored->done = true;
    stored->result = result;
    snprintf(stored->text, stored->text_bytes, "%s", text);
    redis_close(stored->redis);
    uv_close((uv_handle_t *)&stored->patience, NULL);
}

static void on_connected(void *context)
{
    struct stored *stored = context;
    if (stored->asked)
        return;
    stored->asked = true;
    snapshots_load(stored->snapshots, stored->users);
}

static void on_disconnected(void *context, const char *why)
{
    (void)context, (void)why; /* patience ends it, or the load that was under way */
}

static void on_patience(uv_timer_t *timer)
{
    end(timer->data, -ENOTCONN, "Redis does not answer");
}

static void ask(void *context)
{
    struct stored *stored = context;
    snapshots_load(stored->snapshots, stored->users);
}

static void on_loaded(void *context, enum snapshots_found found, const char *text)
{
    struct stored *stored = context;
    switch (found) {
    case SNAPSHOTS_NONE:
        end(stored, -ENODATA, "Redis holds no snapshot of this node");
        return;
    case SNAPSHOTS_LOADED:
        end(stored, 0, "");
        return;
    case SNAPSHOTS_DAMAGED:
        end(stored, -EBADMSG, text);
        return;
    case SNAPSHOTS_REFUSED:
        if (strstr(text, "LOADING") == NULL) {
            end(stored, -ENOTCONN, text);
            return;
        }
        struct store *store =
            redis_store(stored->redis); /* it said so at once: ask until patience ends */
        store->later(store, 100, ask, stored);
        return;
    case SNAPSHOTS_AWAY:
        end(stored, -ENOTCONN, text);
        return;
    }
    UNREACHABLE();
}

static void on_saved(void *context, const struct snapshots_saved *saved)
{
    (void)context, (void)saved; /* nothing is saved here */
}

int stored_load(const char *socket, const char *cluster, struct raft_cluster_id id, uint64_t node,
                struct users *users, raft_term *ret_term, struct members *ret_members,
                char *ret_text, size_t text_bytes)
{
    static const struct redis_hooks redis_hooks = {
        .connected = on_connected,
        .disconnected = on_disconnected,
    };
    static const struct snapshots_hooks hooks = {.loaded = on_loaded, .saved = on_saved};
    struct stored stored = {.users = users, .text = ret_text, .text_bytes = text_bytes};
    if (uv_loop_init(&stored.loop) != 0)
        return -ENOMEM;
    if (uv_timer_init(&stored.loop, &stored.patience) != 0 ||
        uv_timer_start(&stored.patience, on_patience, PATIENCE_MS, 0) != 0)
        UNREACHABLE();
    stored.patience.data = &stored;
    stored.redis = redis_open(&stored.loop, socket, &redis_hooks, &stored);
    assert(stored.redis != NULL);
    stored.snapshots = snapshots_new(redis_store(stored.redis), cluster, node, &hooks, &stored);
    assert(stored.snapshots != NULL);
    snapshots_identify(stored.snapshots, id);
    (void)uv_run(&stored.loop, UV_RUN_DEFAULT);
    if (stored.result == 0) {
        *ret_term = snapshots_loaded_term(stored.snapshots);
        *ret_members = *snapshots_loaded_members(stored.snapshots);
    }
    snapshots_free(stored.snapshots);
    redis_free(stored.redis);
    (void)uv_loop_close(&stored.loop);
    return stored.result;
}
