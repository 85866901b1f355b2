/* The driver's turn: gather, step, carry out. */
#include "raft/replica/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How often the log looks whether there is room again. */
#define WAL_TICK_MS 200u
/* Entries that are applied before the loop gets its turn again. */
#define APPLY_PER_TURN 4096u
/* Applied entries that stay in memory for peers that are a little behind. */
#define ENTRIES_KEPT 4096u

uint64_t replica_now_ms(const struct replica *replica)
{
    return replica->options.hooks->now_ms(replica->options.context);
}

uint64_t replica_measure_ns(const struct replica *replica)
{
    return replica->options.measure_ns != NULL ? replica->options.measure_ns() : 0;
}

bool replica_alone(const struct replica *replica)
{
    return replica->options.members <= 1;
}

uint32_t replica_place_of(const struct replica *replica, raft_node_id id)
{
    uint32_t place = 0;
    while (place < replica->options.members && !node_id_equal(replica->options.member[place], id))
        place++;
    return place;
}

bool replica_lacks_state(const struct replica *replica)
{
    return replica->applied < replica->log_start;
}

size_t replica_room(const struct replica *replica)
{
    size_t room = wal_room(replica->wal);
    size_t reserve = replica->options.segment_bytes / ROOM_RESERVE_PART;
    if (reserve < ROOM_RESERVE_BYTES)
        reserve = ROOM_RESERVE_BYTES;
    return room > reserve ? room - reserve : 0;
}

/* A leader opens its term with an entry: no campaign while there is no room for one. */
static bool may_step(const struct replica *replica)
{
    return raft_status(replica->raft).role == RAFT_LEADER || wal_room(replica->wal) > 0;
}

/* Entries up to here are not needed in memory: applied, and to be read from disk. */
static raft_index spent(const struct replica *replica)
{
    raft_index durable = raft_status(replica->raft).durable;
    return index_min(durable, (raft_index){replica->applied});
}

bool replica_make_room(struct replica *replica, uint32_t count, size_t bytes)
{
    struct entries *entries = &replica->entries;
    raft_index last = spent(replica);
    while (!entries_room(entries, count, bytes) && entries->count > 0 &&
           !index_less(last, entries->first))
        entries_drop_to(entries, entries->first);
    return entries_room(entries, count, bytes);
}

/* --- persist ---------------------------------------------------------------------------------- */

static void append_entry(struct replica *replica, raft_index index, raft_term term)
{
    enum raft_entry_kind kind;
    struct bytes payload;
    if (!entries_get(&replica->entries, index, &kind, &payload))
        UNREACHABLE(); /* it was pushed just before, or when it was gathered */
    wal_append(replica->wal, index, term, kind, payload);
}

static void push_entry(struct replica *replica, raft_index index, enum raft_entry_kind kind,
                       struct bytes payload)
{
    if (!replica_make_room(replica, 1, payload.len))
        UNREACHABLE(); /* looked at before it was let in; the core's own are few and small */
    raft_index pushed = entries_push(&replica->entries, kind, payload);
    assert(index_equal(pushed, index));
}

static void push_configuration(struct replica *replica, const struct raft_persist *persist)
{
    uint8_t encoded[MEMBERS_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    struct members members = membership_next(replica, &persist->configuration);
    members_put(&out, &members);
    push_entry(replica, persist->first, RAFT_CONFIGURATION, writer_bytes(&out));
    membership_add(replica, persist->first, &members);
}

/* Into memory, from where they are. Those of a proposal are there since they were gathered. */
static void push_new(struct replica *replica, const struct raft_persist *persist)
{
    uint32_t count = raft_runs_entries(&persist->entries);
    switch (persist->from) {
    case RAFT_FROM_PROPOSAL:
        return;
    case RAFT_FROM_MESSAGE: {
        uint32_t all = raft_runs_entries(&replica->inbound.message.append_entries.entries);
        for (uint32_t i = 0; i < count; i++) {
            const struct peer_entry *entry = &replica->inbound.entry[all - count + i];
            push_entry(replica, (raft_index){persist->first.n + i}, entry->kind, entry->payload);
        }
        if (count == 1 && replica->inbound.entry[0].kind == RAFT_CONFIGURATION)
            membership_add(replica, persist->first, &replica->inbound_members);
        return;
    }
    case RAFT_FROM_CORE:
        if (count > 0 && persist->kind == RAFT_CONFIGURATION)
            push_configuration(replica, persist);
        else if (count > 0)
            push_entry(replica, persist->first, persist->kind, bytes_of(NULL, 0));
        return;
    }
    UNREACHABLE();
}

static void carry_persist(struct replica *replica, const struct raft_persist *persist)
{
    if (!persist->wanted)
        return;
    flush_request(replica, persist->first, persist->hard_state);
    if (persist->hard_state)
        wal_hard_state(replica->wal, &persist->hard);
    if (persist->reset) {
        wal_reset(replica->wal, persist->reset_index, persist->reset_term);
        entries_reset(&replica->entries, index_next(persist->reset_index));
        replica->log_start = persist->reset_index.n;
        membership_begin(replica, persist->reset_index, &replica->receive.members);
    }
    if (persist->truncate) {
        wal_truncate(replica->wal, persist->first_gone, persist->term_before);
        membership_truncate(replica, persist->first_gone);
        entries_drop_from(&replica->entries, persist->first_gone);
        raft_index next = {replica->entries.first.n + replica->entries.count};
        if (!index_equal(next, persist->first_gone)) /* all of them were older than what is held */
            entries_reset(&replica->entries, persist->first_gone);
    }
    push_new(replica, persist);
    raft_index index = persist->first;
    for (uint32_t i = 0; i < persist->entries.runs; i++) {
        for (uint32_t j = 0; j < persist->entries.at[i].count; j++) {
            append_entry(replica, index, persist->entries.at[i].term);
            index = index_next(index);
        }
    }
    wal_mark(replica->wal, persist->mark);
}

/* --- apply ------------------------------------------------------------------------------------ */

/*
 * Every entry was decoded before it was proposed, and before it was taken from another node
 * (replica/peers.c): so a newer version wrote it into this log. To pass over it would make another
 * state of this node than of those that can read it: the process ends.
 */
static void unreadable(struct replica *replica, raft_index index)
{
    static char text[160];
    snprintf(text, sizeof(text),
             "reading entry %" PRIu64
             ", which was written by a newer version (this is " ROLLCALL_VERSION
             "; start the version that wrote it)",
             index.n);
    replica_failed(replica, text, -EPROTONOSUPPORT);
}

static int apply(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                 struct bytes payload)
{
    struct replica *replica = context;
    struct users_request request;
    (void)term;
    assert(index.n == replica->applied + 1);
    if ((kind == RAFT_COMMAND && users_request_decode(payload, &request) != 0) ||
        (kind == RAFT_CONFIGURATION && !replica_can_read(replica, kind, payload))) {
        unreadable(replica, index);
        return -EPROTONOSUPPORT;
    }
    replica->applied = index.n;
    if (kind == RAFT_COMMAND) {
        struct users_answer answer = users_apply(replica->users, index.n, &request);
        writes_applied(replica, &request, index.n, &answer);
    } else {
        users_skip(replica->users, index.n); /* the same on every replica */
    }
    digests_applied(replica);
    return 0;
}

static void apply_batch(struct replica *replica)
{
    raft_index first = {replica->applied + 1}, last = {replica->committed};
    if (last.n - first.n >= APPLY_PER_TURN)
        last.n = first.n + APPLY_PER_TURN - 1;
    raft_index held = replica->entries.first, hole;
    if (wal_has_hole(replica->wal, first, last, &hole) && index_less(hole, held)) {
        last = (raft_index){hole.n - 1}; /* until it is repaired: replica/repair.c */
        if (index_less(last, first))
            return;
    }
    if (index_less(first, held)) { /* from before the start: they are only on disk */
        raft_index to = index_min(last, (raft_index){held.n - 1});
        int result = wal_read(replica->wal, first, to, apply, replica);
        if (result == -EPROTONOSUPPORT)
            return; /* said, and the process ends */
        if (result != 0 && !repair_blocks_apply(replica)) {
            replica_failed(replica, "reading the log back", result);
            return;
        }
        if (result != 0)
            return; /* found just now */
        first = index_next(to);
    }
    for (raft_index i = first; !index_less(last, i); i = index_next(i)) {
        enum raft_entry_kind kind;
        struct bytes payload;
        if (!entries_get(&replica->entries, i, &kind, &payload))
            UNREACHABLE(); /* dropped only when applied */
        if (apply(replica, i, (raft_term){0}, kind, payload) != 0)
            return;
    }
    raft_index kept = spent(replica);
    uint64_t keep = replica_alone(replica) ? 0 : ENTRIES_KEPT;
    if (kept.n > keep)
        entries_drop_to(&replica->entries, (raft_index){kept.n - keep});
}

static void apply_committed(struct replica *replica)
{
    uint64_t applied = replica->applied;
    if (applied >= replica->committed || replica_lacks_state(replica))
        return;
    replica->applying_ns = replica_measure_ns(replica);
    apply_batch(replica);
    if (replica->applied > applied)
        histogram_observe(&replica->measures.apply,
                          replica_measure_ns(replica) - replica->applying_ns);
}

/* --- a step ----------------------------------------------------------------------------------- */

static void note_rolled_back(struct replica *replica, const struct raft_result *result)
{
    char text[320];
    uint64_t node = result->rolled_back.node.n;
    replica->measures.rolled_back++;
    if (replica->lives.taking_word)
        return; /* replica/lives.c says it */
    snprintf(text, sizeof(text),
             "node %" PRIu64 " acknowledged entries up to %" PRIu64 " and has them up to %" PRIu64
             " at most: its disk was put back to an earlier copy; it does not vote and is not "
             "counted until it has them again",
             node, result->rolled_back.floor.n, result->rolled_back.has.n);
    replica->options.hooks->note(replica->options.context, "log_rolled_back", text);
}

static void note_diverged(struct replica *replica, const struct raft_result *result)
{
    char text[400];
    replica->measures.diverged++;
    snprintf(text, sizeof(text),
             "entry %" PRIu64 " is committed at node %" PRIu64 " (term %" PRIu64
             ") and is not what node %" PRIu64 " has there (term %" PRIu64
             "): the two have different histories; see the runbook, \"Nodes that differ\"",
             result->diverged.index.n, result->diverged.node.n, result->diverged.term.n,
             result->diverged.other.n, result->diverged.other_term.n);
    replica->options.hooks->note(replica->options.context, "log_diverged", text);
}

static void carry_result(struct replica *replica, const struct raft_result *result)
{
    switch (result->kind) {
    case RAFT_ACCEPTED:
        replica->proposal_accepted = result->accepted.count;
        return;
    case RAFT_PROPOSAL_REFUSED:
        return; /* it stays unsent */
    case RAFT_READ_READY:
        reads_ready(replica, result->read_ready.token, result->read_ready.index);
        return;
    case RAFT_READ_REFUSED:
        reads_refused(replica, result->read_refused.token);
        return;
    case RAFT_SEND_SNAPSHOT:
        (void)snapshot_send_begin(replica, result->send_snapshot.to, true);
        return;
    case RAFT_ROLLED_BACK:
        note_rolled_back(replica, result);
        return;
    case RAFT_DIVERGED:
        note_diverged(replica, result);
        return;
    }
    UNREACHABLE();
}

void replica_step(struct replica *replica, const struct raft_event *event)
{
    struct raft_output *output = &replica->output;
    struct raft_event stamped = *event;
    uint64_t now_ms = replica_now_ms(replica);
    if (replica->stepped_ms < now_ms) /* no clock is worth dying of */
        replica->stepped_ms = now_ms;
    stamped.now_ms = replica->stepped_ms;
    writes_observe_clock(replica);
    raft_step(replica->raft, &stamped, output);
    carry_persist(replica, &output->persist);
    for (uint32_t i = 0; i < output->sends.count; i++)
        replica_send(replica, &output->sends.at[i]);
    if (!index_less(output->apply.last, output->apply.first))
        replica->committed = output->apply.last.n;
    for (uint32_t i = 0; i < output->results.count; i++)
        carry_result(replica, &output->results.at[i]);
    replica->deadline_ms = output->deadline_ms;
}

/* --- a turn ----------------------------------------------------------------------------------- */

/* A term has one leader, and a node stands in it once: so terms are counted. */
static void count_terms(struct replica *replica, const struct raft_status *status)
{
    bool stood = status->role == RAFT_CANDIDATE || status->role == RAFT_LEADER;
    if (stood && !term_equal(status->term, replica->measured_election_term)) {
        replica->measured_election_term = status->term;
        replica->measures.elections++;
    }
    if (status->leader_known && !term_equal(status->term, replica->measured_leader_term)) {
        replica->measured_leader_term = status->term;
        replica->measures.leader_changes++;
    }
}

/* Who leads has changed: what was sent to the one before may be lost. */
static void look_for_leader(struct replica *replica)
{
    struct raft_status status = raft_status(replica->raft);
    if (status.leader_known == replica->leader_known &&
        node_id_equal(status.leader, replica->leader) &&
        term_equal(status.term, replica->leader_term))
        return;
    count_terms(replica, &status);
    replica->leader_known = status.leader_known;
    replica->leader = status.leader;
    replica->leader_term = status.term;
    writes_unsend(replica, false, (raft_node_id){0});
    reads_again(replica);
}

static void ask_transfer(struct replica *replica, uint64_t now_ms)
{
    if (replica->transfer_asked_ms != 0 &&
        now_ms - replica->transfer_asked_ms < replica->options.election_ms)
        return;
    replica->transfer_asked_ms = now_ms;
    replica_step(replica, &(struct raft_event){.kind = RAFT_TRANSFER_ASKED});
}

/* A leader that stops, or whose disk stalls, is to be followed by another. */
static void hand_over(struct replica *replica, uint64_t now_ms)
{
    if (replica_alone(replica) || raft_status(replica->raft).role != RAFT_LEADER)
        return;
    bool stalled = wal_flushing(replica->wal) &&
                   now_ms - replica->flush_began_ms >= replica->options.election_ms;
    if (replica->stopping || stalled)
        ask_transfer(replica, now_ms);
}

static void step_gathered(struct replica *replica, uint64_t now_ms)
{
    if (replica->durable) {
        replica->durable = false;
        replica_step(replica, &(struct raft_event){.kind = RAFT_PERSISTED,
                                                   .persisted = {.mark = replica->mark}});
    }
    if (now_ms >= replica->deadline_ms && may_step(replica))
        replica_step(replica, &(struct raft_event){.kind = RAFT_TICKED});
    look_for_leader(replica);
    writes_send(replica);
    reads_ask(replica, now_ms);
    apply_committed(replica);
    reads_deliver(replica);
}

static void save_if_due(struct replica *replica, uint64_t now_ms)
{
    struct raft_status status = raft_status(replica->raft);
    bool due = replica->applied - replica->saved_index >= replica->options.snapshot_entries ||
               (status.log_nearly_full && replica->applied > replica->saved_index);
    if (replica->saving || !replica->ready || (!due && !replica->save_wanted) ||
        now_ms < replica->save_after_ms || replica->applied == 0 ||
        replica->receive.phase != RECEIVE_NONE || replica_lacks_state(replica))
        return;
    replica->saving = true;
    replica->save_wanted = false;
    raft_index index = {replica->applied};
    replica->options.hooks->save(replica->options.context, users_pin(replica->users),
                                 raft_entry_term(replica->raft, index),
                                 replica_members_at(replica, index));
}

static void flush_network(struct replica *replica)
{
    if (replica->options.network != NULL)
        replica->options.network->flush(replica->options.network);
}

void replica_turn(struct replica *replica)
{
    uint64_t now_ms = replica_now_ms(replica);
    replica->turns++;
    if (now_ms >= replica->wal_tick_ms) {
        wal_tick(replica->wal);
        replica->wal_tick_ms = now_ms + WAL_TICK_MS;
    }
    if (now_ms >= replica->look_ms) {
        replica->look_ms = now_ms + TICK_MS;
        writes_tick(replica, now_ms);
        reads_tick(replica, now_ms);
        snapshot_send_tick(replica, now_ms);
        snapshot_receive_tick(replica, now_ms);
        digests_tick(replica, now_ms);
    }
    lives_tick(replica, now_ms);
    rejoin_tick(replica, now_ms);
    repair_tick(replica, now_ms);
    hand_over(replica, now_ms);
    do {
        step_gathered(replica, now_ms);
        flush_network(replica);
        flush_gathered(replica);
    } while (replica->durable);
    flush_network(replica);
    save_if_due(replica, now_ms);
}

uint64_t replica_deadline_ms(const struct replica *replica)
{
    uint64_t deadline_ms = replica->look_ms;
    if (replica->applied < replica->committed && !replica_lacks_state(replica) &&
        !repair_blocks_apply(replica))
        return 0;
    if (replica->wal_tick_ms < deadline_ms)
        deadline_ms = replica->wal_tick_ms;
    if (replica->unflushed && !wal_flushing(replica->wal) &&
        replica->unflushed_since_ms + replica->options.own_flush_after_ms < deadline_ms)
        deadline_ms = replica->unflushed_since_ms + replica->options.own_flush_after_ms;
    if (replica->deadline_ms < deadline_ms && may_step(replica))
        deadline_ms = replica->deadline_ms;
    return deadline_ms;
}

/* --- snapshots, stop, looking in -------------------------------------------------------------- */

void replica_want_snapshot(struct replica *replica)
{
    replica->save_wanted = true;
}

void replica_store_lost(struct replica *replica)
{
    replica->save_wanted = replica->save_wanted || !replica->saving; /* one under way will do */
    replica->save_after_ms = 0;
    replica->save_retry_ms = SAVE_RETRY_MS_MIN;
}

static void compact(struct replica *replica)
{
    /* The log back to the snapshot before is kept: a store that loses the newest is no loss. And
     * what is not on disk yet does not go: who loses the store must know by the log what it had. */
    raft_index gone =
        index_min((raft_index){replica->saved_before}, raft_status(replica->raft).durable);
    wal_compact(replica->wal, gone);
    if (gone.n <= replica->log_start)
        return;
    replica->log_start = gone.n;
    replica_step(replica,
                 &(struct raft_event){.kind = RAFT_COMPACTED, .compacted = {.index = gone}});
}

void replica_saved(struct replica *replica, bool durable, uint64_t index)
{
    assert(replica->saving);
    replica->saving = false;
    if (replica->receive.phase == RECEIVE_SAVING) {
        snapshot_receive_saved(replica, durable);
        return;
    }
    uint64_t now_ms = replica_now_ms(replica);
    if (!durable) {
        replica->save_wanted = true;
        replica->save_after_ms = now_ms + replica->save_retry_ms;
        replica->save_retry_ms *= 2;
        if (replica->save_retry_ms > SAVE_RETRY_MS_MAX)
            replica->save_retry_ms = SAVE_RETRY_MS_MAX;
        return;
    }
    replica->save_retry_ms = SAVE_RETRY_MS_MIN;
    if (index <= replica->saved_index)
        return; /* the same again, because the store may have lost it */
    replica->saved_before = replica->saved_index;
    replica->saved_index = index;
    compact(replica);
}

void replica_stop(struct replica *replica)
{
    replica->stopping = true;
}

bool replica_busy(const struct replica *replica)
{
    bool leads = !replica_alone(replica) && raft_status(replica->raft).role == RAFT_LEADER;
    return leads || wal_flushing(replica->wal) || replica->writes.count > 0 ||
           replica->reads.gathered_count > 0 || replica->reads.asking_count > 0;
}

struct users *replica_users(struct replica *replica)
{
    return replica->users;
}

const struct raft *replica_raft(const struct replica *replica)
{
    return replica->raft;
}

struct replica_status replica_status(const struct replica *replica)
{
    struct raft_status status = raft_status(replica->raft);
    return (struct replica_status){
        .raft = status,
        .ready = replica->ready && status.leader_known && !status.diverged &&
                 !replica_lacks_state(replica) &&
                 replica->committed - replica->applied < APPLY_PER_TURN,
        .applied = replica->applied,
        .snapshot_index = replica->saved_index,
        .snapshot_wanted = replica->save_wanted,
        .wal_full = wal_full(replica->wal),
        .damaged_entries = wal_holes(replica->wal),
        .state_gone = replica->receive.gone,
        .wal_bytes = wal_disk_bytes(replica->wal),
        .waiting = replica->writes.count,
        .waiting_bytes = replica->writes.bytes,
        .waiting_reads = replica->reads.gathered_count + replica->reads.asking_count +
                         replica->reads.behind_count,
        .forwarded = replica->writes.forwarded,
    };
}

struct replica_measures replica_measures(const struct replica *replica)
{
    struct replica_measures measures = replica->measures;
    measures.wal = wal_measures(replica->wal);
    return measures;
}
