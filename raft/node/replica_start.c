/* Opening a replica, and putting its log and its state together. */
#include "raft/node/replica_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES_HELD (RAFT_UNCOMMITTED_BYTES_MAX + (1u << 20))

static void wal_is_durable(void *context, struct raft_mark mark)
{
    struct replica *replica = context;
    replica->durable = true;
    replica->mark = mark;
}

void replica_failed(void *context, const char *what, int error)
{
    struct replica *replica = context;
    replica->options.hooks->failed(replica->options.context, what, error);
}

static int allocate(struct replica *replica)
{
    replica->raft = calloc(1, raft_size());
    replica->waiting = calloc(REPLICA_WAITING_MAX, sizeof(*replica->waiting));
    replica->readers = calloc(REPLICA_WAITING_MAX, sizeof(*replica->readers));
    replica->asking = calloc(REPLICA_WAITING_MAX, sizeof(*replica->asking));
    replica->proposed_sizes = calloc(REPLICA_WAITING_MAX, sizeof(*replica->proposed_sizes));
    if (replica->raft == NULL || replica->waiting == NULL || replica->readers == NULL ||
        replica->asking == NULL || replica->proposed_sizes == NULL)
        return -ENOMEM;
    return entries_init(&replica->entries, REPLICA_WAITING_MAX, ENTRY_BYTES_HELD);
}

int replica_open(const struct replica_options *options, struct replica **ret_replica,
                 struct wal_recovered *ret_recovered)
{
    memset(ret_recovered, 0, sizeof(*ret_recovered));
    struct replica *replica = calloc(1, sizeof(*replica));
    if (replica == NULL)
        return -ENOMEM;
    replica->options = *options;
    replica->save_retry_ms = SAVE_RETRY_MS_MIN;
    int result = allocate(replica);
    struct wal_options wal_options = {
        .disk = options->disk,
        .runner = options->runner,
        .node = options->node,
        .cluster = options->cluster,
        .generation = options->random,
        .segment_bytes = options->segment_bytes,
        .on_durable = wal_is_durable,
        .on_failed = replica_failed,
        .context = replica,
    };
    if (result == 0)
        result = wal_open(&wal_options, &replica->wal, ret_recovered);
    if (result != 0) {
        replica_close(replica);
        return result;
    }
    replica->recovered = *ret_recovered;
    *ret_replica = replica;
    return 0;
}

void replica_close(struct replica *replica)
{
    if (replica == NULL)
        return;
    wal_close(replica->wal);
    if (replica->users != NULL)
        users_free(replica->users);
    entries_done(&replica->entries);
    free(replica->proposed_sizes);
    free(replica->asking);
    free(replica->readers);
    free(replica->waiting);
    free(replica->raft);
    free(replica);
}

/* --- start ------------------------------------------------------------------------------------ */

static int restore_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                         struct bytes payload)
{
    (void)index, (void)kind;
    return raft_restore_entry(context, term, (uint32_t)payload.len, NULL);
}

/* The state must lie within the log: what the log lacks before it, or has lost after it, is gone.
 */
static int state_fits_log(const struct replica *replica, uint64_t state, char *ret_text,
                          size_t text_bytes)
{
    uint64_t start = replica->recovered.start.n, last = replica->recovered.last.n;
    if (state >= start && state <= last)
        return 0;
    if (state < start)
        snprintf(ret_text, text_bytes,
                 "the log begins after entry %" PRIu64 " and the snapshot in Redis holds %s%" PRIu64
                 ": the users before are not here; bring back the Redis data of this node (or its "
                 "newest copy), or restore the node from its peers or a backup",
                 start, state == 0 ? "nothing, index " : "only entries up to ", state);
    else
        snprintf(ret_text, text_bytes,
                 "the snapshot in Redis holds entries up to %" PRIu64
                 " and the log ends at %" PRIu64
                 ": the log was lost or is an old copy; bring back its directory, or restore the "
                 "node from its peers or a backup",
                 state, last);
    return -ESTALE;
}

static int note_term(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                     struct bytes payload)
{
    (void)index, (void)kind, (void)payload;
    *(raft_term *)context = term;
    return 0;
}

/* The core starts at the state: of the log before it nothing is asked any more. */
static int restore_core(struct replica *replica, raft_index state)
{
    const struct wal_recovered *recovered = &replica->recovered;
    raft_term state_term = recovered->start_term;
    int result = 0;
    if (index_less(recovered->start, state))
        result = wal_read(replica->wal, state, state, note_term, &state_term);
    struct raft_options options = {
        .self = {replica->options.node},
        .election_ms = replica->options.election_ms,
        .heartbeat_ms = replica->options.heartbeat_ms,
        .seed = replica->options.random,
    };
    struct raft_saved saved = {
        .term = recovered->term,
        .voted = recovered->voted,
        .vote = recovered->vote,
        .snapshot_index = state,
        .log_start = state,
        .log_start_term = state_term,
        .configuration = {.voters = 1, .voter = {{replica->options.node}}},
    };
    if (result == 0)
        result = raft_init(replica->raft, &options, &saved, &replica->raft);
    if (result == 0 && index_less(state, recovered->last))
        result = wal_read(replica->wal, index_next(state), recovered->last, restore_entry,
                          replica->raft);
    if (result == 0 && raft_status(replica->raft).stuck)
        result = -ENOBUFS;
    return result;
}

int replica_start(struct replica *replica, struct users *take_users, char *ret_text,
                  size_t text_bytes)
{
    uint64_t state = users_meta(take_users).index;
    int result = state_fits_log(replica, state, ret_text, text_bytes);
    if (result != 0)
        return result;
    result = restore_core(replica, (raft_index){state});
    if (result == -ENOBUFS) {
        snprintf(
            ret_text, text_bytes,
            "the log holds %u terms since the last snapshot, which is all it can: the node was "
            "started so often without saving one; see that Redis answers, and restore the node "
            "from its peers or a backup",
            RAFT_TERM_RUNS_MAX);
        return result;
    }
    if (result != 0) {
        snprintf(ret_text, text_bytes, "the log cannot be read back: %s", strerror(-result));
        return result;
    }
    entries_reset(&replica->entries, index_next(replica->recovered.last));
    replica->users = take_users;
    replica->applied = state;
    replica->saved_index = replica->saved_before = state;
    return 0;
}
