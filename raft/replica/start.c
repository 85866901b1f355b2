/* Opening a replica, and putting its log and its state together. */
#include "raft/replica/state.h"

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
    if (replica->raft == NULL)
        return -ENOMEM;
    int result = writes_init(&replica->writes, replica->options.random);
    if (result == 0)
        result = reads_init(&replica->reads, replica->options.random);
    if (result == 0)
        result = entries_init(&replica->entries, REPLICA_WAITING_MAX, ENTRY_BYTES_HELD);
    return result;
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
        .alone = replica_alone(replica),
        .generation = options->random,
        .segment_bytes = options->segment_bytes,
        .on_durable = wal_is_durable,
        .on_scrubbed = repair_scrubbed,
        .on_failed = replica_failed,
        .context = replica,
        .measure_ns = options->measure_ns,
    };
    if (result == 0)
        result = wal_open(&wal_options, &replica->wal, ret_recovered);
    if (result == 0)
        result = identity_open(replica, ret_recovered);
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
    snapshot_send_drop_all(replica);
    snapshot_receive_give_up(replica);
    if (replica->users != NULL)
        users_free(replica->users);
    entries_done(&replica->entries);
    reads_done(&replica->reads);
    writes_done(&replica->writes);
    free(replica->raft);
    free(replica);
}

/* --- start ------------------------------------------------------------------------------------ */

/* What is on this node's disk, or in its store, is of two clusters. */
static bool is_mixed(const struct replica *replica, const struct members *members)
{
    return cluster_id_differ(members->cluster, wal_identity(replica->wal).cluster);
}

/*
 * A damaged configuration is taken to be the one before: a damaged node does not lead, so nothing
 * is counted by it until the entry is repaired (replica/repair.c).
 */
static int decode_members(const struct replica *replica, raft_index index, struct bytes payload,
                          struct members *ret_members)
{
    raft_index hole;
    if (wal_has_hole(replica->wal, index, index, &hole))
        *ret_members = *replica_members(replica);
    else if (members_decode(payload, ret_members) != 0)
        return -EPROTONOSUPPORT; /* its checksum is right: a later version wrote it */
    return is_mixed(replica, ret_members) ? -EXDEV : 0;
}

static int restore_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                         struct bytes payload)
{
    struct replica *replica = context;
    if (kind != RAFT_CONFIGURATION)
        return raft_restore_entry(replica->raft, term, (uint32_t)payload.len, NULL);
    struct members members;
    int result = decode_members(replica, index, payload, &members);
    if (result != 0)
        return result;
    struct raft_configuration configuration = members_configuration(&members);
    result = raft_restore_entry(replica->raft, term, (uint32_t)payload.len, &configuration);
    if (result == 0)
        membership_add(replica, index, &members);
    return result;
}

/* What the snapshot held is not where the log begins, among others: they have it. */
static void note_missing_state(const struct replica *replica)
{
    char text[256];
    if (!replica_lacks_state(replica))
        return;
    snprintf(text, sizeof(text),
             "the log begins after entry %" PRIu64 " and Redis holds %s%" PRIu64
             ": the state is fetched from another node",
             replica->log_start, replica->applied == 0 ? "nothing, index " : "only entries up to ",
             replica->applied);
    replica->options.hooks->note(replica->options.context, "state_missing", text);
}

/*
 * Alone, the state must lie within the log: what the log lacks before it, or has lost after it, is
 * gone. Among others both can be had from them. What was restored begins a log.
 */
static int state_fits_log(const struct replica *replica, const struct replica_state *taken,
                          char *ret_text, size_t text_bytes)
{
    uint64_t start = replica->recovered.start.n, last = replica->recovered.last.n;
    uint64_t state = users_meta(taken->users).index;
    if (taken->restored || !replica_alone(replica) || (state >= start && state <= last))
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

static bool find_hole(const struct replica *replica, raft_index index, struct wal_hole *ret_hole)
{
    for (uint32_t i = 0; wal_hole(replica->wal, i, ret_hole); i++) {
        if (index_equal(ret_hole->index, index))
            return true;
    }
    return false;
}

/* Entries first … last; of damaged ones what their headers say, with a payload of zeros. */
static int read_known(const struct replica *replica, raft_index first, raft_index last,
                      wal_each *each, void *context)
{
    static const uint8_t zeros[RAFT_ENTRY_BYTES_MAX];
    raft_index hole;
    int result = 0;
    while (result == 0 && !index_less(last, first)) {
        bool has_hole = wal_has_hole(replica->wal, first, last, &hole);
        raft_index to = {has_hole ? hole.n - 1 : last.n};
        if (!index_less(to, first))
            result = wal_read(replica->wal, first, to, each, context);
        struct wal_hole known;
        if (result == 0 && has_hole && find_hole(replica, hole, &known))
            result = each(context, hole, known.term, known.kind, bytes_of(zeros, known.length));
        first = has_hole ? index_next(hole) : index_next(last);
    }
    return result;
}

/* The term of the state's last entry in the log, if the log has it. */
static int term_in_log(const struct replica *replica, raft_index state, bool *ret_has,
                       raft_term *ret_term)
{
    const struct wal_recovered *recovered = &replica->recovered;
    *ret_has = !index_less(state, recovered->start) && !index_less(recovered->last, state);
    *ret_term = recovered->start_term;
    if (!*ret_has || index_equal(state, recovered->start))
        return 0;
    return read_known(replica, state, state, note_term, ret_term);
}

/* Alone: with others the log would go, see place_start; alone nobody knows which of the two. */
static int state_is_of_log(const struct replica *replica, const struct replica_state *state,
                           char *ret_text, size_t text_bytes)
{
    raft_index index = {users_meta(state->users).index};
    bool has = false;
    raft_term term;
    int result = replica_alone(replica) ? term_in_log(replica, index, &has, &term) : 0;
    if (result != 0 || !has || index.n == 0 || term_equal(term, state->term))
        return 0; /* what cannot be read is told when all of it is read */
    snprintf(ret_text, text_bytes,
             "entry %" PRIu64 " is of term %" PRIu64
             " in the snapshot in Redis and of term %" PRIu64
             " in the log: they are not of one node, or not of one life of it; bring back the two "
             "of one copy",
             index.n, state->term.n, term.n);
    return -ESTALE;
}

/*
 * Where the core begins: at the state, of the log before it nothing is asked any more. Where the
 * state does not reach the log, at the log's start: the state is to come from another node. Where
 * the log does not have the state's last entry, the log goes: the crash came between a snapshot
 * from another node and the log that belongs to it.
 */
static int place_start(struct replica *replica, const struct replica_state *state,
                       struct raft_saved *saved, bool *ret_drop_log)
{
    const struct wal_recovered *recovered = &replica->recovered;
    raft_index index = {users_meta(state->users).index};
    bool has = false;
    raft_term term;
    int result = term_in_log(replica, index, &has, &term);
    if (result != 0)
        return result;
    *saved = (struct raft_saved){
        .hard = recovered->hard,
        .snapshot_index = index,
        .log_start = index,
        .log_start_term = has ? term : state->term,
    };
    /* Storage that never held a term is new, or was wiped: what it promised it does not know. */
    if (!replica_alone(replica) && recovered->hard.term.n == 0)
        saved->hard.recovering = true;
    *ret_drop_log = state->restored || (!replica_alone(replica) &&
                                        (index_less(recovered->last, index) ||
                                         (has && index.n > 0 && !term_equal(term, state->term))));
    if (*ret_drop_log)
        saved->log_start_term = state->term;
    if (index_less(index, recovered->start) && !*ret_drop_log) {
        saved->snapshot_index = saved->log_start = recovered->start;
        saved->log_start_term = recovered->start_term;
    }
    if (term_less(saved->hard.term, saved->log_start_term)) { /* the snapshot teaches it */
        saved->hard.term = saved->log_start_term;
        saved->hard.voted = false;
        saved->hard.vote.n = 0;
    }
    return 0;
}

static int restore_core(struct replica *replica, const struct replica_state *state,
                        raft_index *ret_last)
{
    struct raft_options options = {
        .self = {replica->options.node},
        .election_ms = replica->options.election_ms,
        .heartbeat_ms = replica->options.heartbeat_ms,
        .seed = replica->options.random,
    };
    struct raft_saved saved = {.damaged = false};
    bool drop_log = false;
    int result = place_start(replica, state, &saved, &drop_log);
    raft_index hole;
    membership_begin(replica, saved.log_start, &state->members);
    saved.configuration = members_configuration(replica_members(replica));
    saved.implied = !cluster_id_known(replica_members(replica)->cluster);
    saved.damaged = result == 0 && !drop_log &&
                    wal_has_hole(replica->wal, index_next(saved.snapshot_index),
                                 replica->recovered.last, &hole);
    if (result == 0)
        result = raft_init(replica->raft, &options, &saved, &replica->raft);
    *ret_last = drop_log ? saved.log_start : replica->recovered.last;
    if (result == 0 && !drop_log && index_less(saved.log_start, *ret_last))
        result =
            read_known(replica, index_next(saved.log_start), *ret_last, restore_entry, replica);
    /* What differs from what the disk said is durable before anything is said of it. */
    const struct wal_recovered *recovered = &replica->recovered;
    if (result == 0 && (!term_equal(saved.hard.term, recovered->hard.term) ||
                        saved.hard.recovering != recovered->hard.recovering))
        wal_hard_state(replica->wal, &saved.hard);
    if (result == 0 && drop_log && wal_room(replica->wal) == 0)
        result = -ENOSPC;
    if (result == 0 && drop_log)
        wal_reset(replica->wal, saved.log_start, saved.log_start_term);
    if (result == 0) {
        identity_start(replica);
        wal_flush(replica->wal, true);
    }
    if (result == 0 && raft_status(replica->raft).log_full)
        result = -ENOBUFS;
    replica->log_start = drop_log ? saved.log_start.n : replica->recovered.start.n;
    replica->committed = saved.log_start.n;
    return result;
}

int replica_start(struct replica *replica, const struct replica_state *take_state, char *ret_text,
                  size_t text_bytes)
{
    uint64_t index = users_meta(take_state->users).index;
    raft_index last;
    assert(!take_state->restored || replica->recovered.last.n == 0);
    int result = state_fits_log(replica, take_state, ret_text, text_bytes);
    if (result == 0 && !take_state->restored)
        result = state_is_of_log(replica, take_state, ret_text, text_bytes);
    if (result != 0)
        return result;
    if (is_mixed(replica, &take_state->members))
        result = -EXDEV;
    if (result == 0)
        result = restore_core(replica, take_state, &last);
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
        snprintf(ret_text, text_bytes, "the log cannot be %s: %s",
                 result == -ENOSPC ? "begun again" : "read back",
                 result == -EXDEV ? "it, or the snapshot in Redis, is of another cluster than the "
                                    "hard state says: they were mixed of two; bring back those of "
                                    "one copy"
                 : result == -EPROTONOSUPPORT
                     ? "a newer version of Rollcall wrote an entry of it: start that version"
                     : strerror(-result));
        return result;
    }
    entries_reset(&replica->entries, index_next(last));
    replica->users = take_state->users;
    replica->applied = index;
    if (index > 0)
        digests_applied(replica);
    replica->saved_index = replica->saved_before = index;
    lives_begin(replica);
    note_missing_state(replica);
    return 0;
}
