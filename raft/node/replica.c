/* The driver's turn: gather, step, carry out. */
#include "raft/node/replica_state.h"

/* A flush that takes so long holds the loop up: for a while the next ones go off it. */
#define FLUSH_SLOW_MS 10u
#define FLUSH_AWAY_MS 1000u
/* How often the log looks whether there is room again. */
#define WAL_TICK_MS 200u

/* --- carrying out ----------------------------------------------------------------------------- */

static void append_entry(struct replica *replica, raft_index index, raft_term term,
                         const struct raft_persist *persist)
{
    enum raft_entry_kind kind = RAFT_COMMAND;
    struct bytes payload = bytes_of(NULL, 0);
    if (persist->from == RAFT_FROM_CORE) {
        kind = persist->kind;
        raft_index pushed = entries_push(&replica->entries, kind, payload);
        assert(index_equal(pushed, index));
    } else if (!entries_get(&replica->entries, index, &kind, &payload)) {
        UNREACHABLE(); /* it was pushed when it was gathered */
    }
    wal_append(replica->wal, index, term, kind, payload);
}

static void carry_persist(struct replica *replica, const struct raft_persist *persist)
{
    if (!persist->wanted)
        return;
    assert(!persist->reset && !persist->truncate); /* what others make one do */
    if (persist->hard_state)
        wal_hard_state(replica->wal, persist->term, persist->voted, persist->vote);
    raft_index index = persist->first;
    for (uint32_t i = 0; i < persist->entries.runs; i++) {
        for (uint32_t j = 0; j < persist->entries.at[i].count; j++) {
            append_entry(replica, index, persist->entries.at[i].term, persist);
            index = index_next(index);
        }
    }
    wal_mark(replica->wal, persist->mark);
}

/* What was gathered this turn is not in the log and never was. */
static void refuse_proposed(struct replica *replica, enum call_reason reason)
{
    raft_index first = {replica->entries.first.n + replica->entries.count - replica->proposed};
    for (uint32_t i = 0; i < replica->proposed; i++) {
        uint64_t slot = (first.n + i) & (REPLICA_WAITING_MAX - 1);
        replica->options.hooks->refused(replica->options.context, replica->waiting[slot], reason);
    }
    replica->waiting_count -= replica->proposed;
    if (replica->proposed > 0)
        entries_drop_from(&replica->entries, first);
    replica->proposed = 0;
}

static enum call_reason reason_of(enum raft_refusal why)
{
    switch (why) {
    case RAFT_NOT_LEADER:
        return CALL_NO_LEADER;
    case RAFT_BUSY:
    case RAFT_NOT_ALLOWED:
        return CALL_BUSY;
    }
    UNREACHABLE();
}

static void end_round(struct replica *replica, uint64_t token, bool granted,
                      enum call_reason reason)
{
    assert(token == replica->round);
    uint32_t count = replica->asking_count;
    replica->asking_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (granted)
            replica->options.hooks->readable(replica->options.context, replica->asking[i]);
        else
            replica->options.hooks->refused(replica->options.context, replica->asking[i], reason);
    }
}

/* Reads end after apply: their index is at most the commit index, which is applied by then. */
static void carry_verdict(struct replica *replica, const struct raft_verdict *verdict)
{
    switch (verdict->kind) {
    case RAFT_ACCEPTED:
        replica->proposed -= verdict->accepted.count;
        return;
    case RAFT_PROPOSAL_REFUSED:
        refuse_proposed(replica, reason_of(verdict->refused.why));
        return;
    case RAFT_READ_READY:
        assert(verdict->read_ready.index.n <= replica->applied);
        end_round(replica, verdict->read_ready.token, true, CALL_NO_LEADER);
        return;
    case RAFT_READ_REFUSED:
        end_round(replica, verdict->read_refused.token, false,
                  reason_of(verdict->read_refused.why));
        return;
    case RAFT_SEND_SNAPSHOT:
        break; /* there is nobody to send it to */
    }
    UNREACHABLE();
}

static void apply(struct replica *replica, raft_index index, enum raft_entry_kind kind,
                  struct bytes payload)
{
    assert(index.n == replica->applied + 1);
    replica->applied = index.n;
    if (kind == RAFT_NOOP) {
        users_skip(replica->users, index.n);
        return;
    }
    struct users_request request;
    struct users_answer answer = {.kind = USERS_REJECTED, .rejected = {.index = index.n}};
    if (users_request_decode(payload, &request) == 0)
        answer = users_apply(replica->users, index.n, &request);
    else
        users_skip(replica->users, index.n); /* the same on every replica */
    if (replica->waiting_count == 0 || index_less(index, replica->waiting_first))
        return;
    struct replica_client client = replica->waiting[index.n & (REPLICA_WAITING_MAX - 1)];
    replica->waiting_first = index_next(index);
    replica->waiting_count--;
    replica->options.hooks->written(replica->options.context, client, index.n, &answer);
}

static int replay(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                  struct bytes payload)
{
    (void)term;
    apply(context, index, kind, payload);
    return 0;
}

static void carry_apply(struct replica *replica, raft_index first, raft_index last)
{
    if (index_less(last, first))
        return;
    raft_index held = replica->entries.first;
    if (index_less(first, held)) { /* from before the start: they are only on disk */
        raft_index to = index_min(last, (raft_index){held.n - 1});
        int result = wal_read(replica->wal, first, to, replay, replica);
        if (result != 0) {
            replica_failed(replica, "reading the log back", result);
            return;
        }
        first = index_next(to);
    }
    for (raft_index i = first; !index_less(last, i); i = index_next(i)) {
        enum raft_entry_kind kind;
        struct bytes payload;
        if (!entries_get(&replica->entries, i, &kind, &payload))
            UNREACHABLE(); /* dropped only when applied */
        apply(replica, i, kind, payload);
    }
    entries_drop_to(&replica->entries, last);
}

static void step(struct replica *replica, const struct raft_event *event)
{
    struct raft_output output;
    raft_step(replica->raft, event, &output);
    assert(output.sends.count == 0);
    carry_persist(replica, &output.persist);
    carry_apply(replica, output.apply.first, output.apply.last);
    for (uint32_t i = 0; i < output.verdicts.count; i++)
        carry_verdict(replica, &output.verdicts.at[i]);
    replica->deadline_ms = output.deadline_ms;
}

/* --- gathering -------------------------------------------------------------------------------- */

static bool refusal_for(struct replica *replica, size_t request_bytes, enum call_reason *ret_reason)
{
    /* What is gathered is not in the WAL's own count yet. */
    size_t gathered = replica->proposed_bytes + replica->proposed * (wal_entry_bytes(0) + 8) +
                      wal_entry_bytes(request_bytes);
    if (replica->stopping)
        *ret_reason = CALL_STOPPING;
    else if (!replica->ready)
        *ret_reason = CALL_NO_LEADER;
    else if (gathered > wal_room(replica->wal))
        *ret_reason = wal_full(replica->wal) ? CALL_DISK_FULL : CALL_BUSY;
    else if (replica->waiting_count == REPLICA_WAITING_MAX ||
             !entries_room(&replica->entries, request_bytes))
        *ret_reason = CALL_BUSY;
    else
        return false;
    return true;
}

void replica_write(struct replica *replica, struct replica_client client,
                   const struct request_id *request, struct bytes command)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    struct users_request entry = {.id = *request};
    uint8_t encoded[USERS_REQUEST_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    struct users_answer answer;
    if (users_command_decode(command, &entry.command) != 0) {
        hooks->refused(replica->options.context, client, CALL_INVALID);
        return;
    }
    if (replica->ready && users_answered(replica->users, request, &answer)) {
        hooks->written(replica->options.context, client, replica->applied, &answer);
        return;
    }
    entry.time_ms = hooks->wall_ms(replica->options.context);
    users_request_put(&out, &entry);
    enum call_reason reason = CALL_INVALID;
    if (out.bad || refusal_for(replica, writer_len(&out), &reason)) {
        hooks->refused(replica->options.context, client, reason);
        return;
    }
    raft_index index = entries_push(&replica->entries, RAFT_COMMAND, writer_bytes(&out));
    if (replica->waiting_count == 0)
        replica->waiting_first = index;
    replica->waiting[index.n & (REPLICA_WAITING_MAX - 1)] = client;
    replica->waiting_count++;
    replica->proposed_sizes[replica->proposed++] = (uint32_t)writer_len(&out);
    replica->proposed_bytes += writer_len(&out);
}

void replica_read(struct replica *replica, struct replica_client client, bool stale)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    if (replica->stopping)
        hooks->refused(replica->options.context, client, CALL_STOPPING);
    else if (replica->ready && stale)
        hooks->readable(replica->options.context, client);
    else if (replica->readers_count == REPLICA_WAITING_MAX)
        hooks->refused(replica->options.context, client, CALL_BUSY);
    else
        replica->readers[replica->readers_count++] = client;
}

/* --- a turn ----------------------------------------------------------------------------------- */

/* Accepted ones leave `proposed` by their verdict; a refusal is of all that are left. */
static void propose_gathered(struct replica *replica, uint64_t now_ms)
{
    const uint32_t *sizes = replica->proposed_sizes;
    while (replica->proposed > 0) {
        uint32_t count = replica->proposed;
        if (count > RAFT_APPEND_ENTRIES_MAX)
            count = RAFT_APPEND_ENTRIES_MAX;
        step(replica, &(struct raft_event){.kind = RAFT_PROPOSED,
                                           .now_ms = now_ms,
                                           .proposed = {.count = count, .bytes = sizes}});
        sizes += count;
    }
    replica->proposed_bytes = 0;
}

static void step_gathered(struct replica *replica, uint64_t now_ms)
{
    if (replica->durable) {
        replica->durable = false;
        step(replica, &(struct raft_event){.kind = RAFT_PERSISTED,
                                           .now_ms = now_ms,
                                           .persisted = {.mark = replica->mark}});
    }
    propose_gathered(replica, now_ms);
    if (replica->readers_count > 0 && replica->asking_count == 0) {
        struct replica_client *asking = replica->readers;
        replica->readers = replica->asking;
        replica->asking = asking;
        replica->asking_count = replica->readers_count;
        replica->readers_count = 0;
        replica->round++;
        step(replica, &(struct raft_event){.kind = RAFT_READ_ASKED,
                                           .now_ms = now_ms,
                                           .read_asked = {.token = replica->round}});
    }
    /* A leader opens its term with an entry: no campaign while there is no room for one. */
    if (now_ms >= replica->deadline_ms && wal_room(replica->wal) > 0)
        step(replica, &(struct raft_event){.kind = RAFT_TICKED, .now_ms = now_ms});
}

static void save_if_due(struct replica *replica, uint64_t now_ms)
{
    bool due = replica->applied - replica->saved_index >= replica->options.snapshot_entries ||
               (raft_status(replica->raft).crowded && replica->applied > replica->saved_index);
    if (replica->saving || !replica->ready || (!due && !replica->save_wanted) ||
        now_ms < replica->save_after_ms || replica->applied == 0)
        return;
    replica->saving = true;
    replica->save_wanted = false;
    struct users_view *view = users_pin(replica->users);
    raft_term term = raft_entry_term(replica->raft, (raft_index){replica->applied});
    replica->options.hooks->save(replica->options.context, view, term.n);
}

/*
 * A lone write is flushed here and now: handing it to another thread and hearing back costs two
 * wake-ups, which is as long as the flush itself. With company the flush may go off the loop, so
 * that the next batch gathers meanwhile; but where processors are few the wake-ups cost more than
 * that gains (measured on two: a tenth of all processor time), so a replica of its own may be told
 * to flush here as long as the disk is quick. One flush that is not sends the next off the loop.
 */
static void flush(struct replica *replica)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    uint64_t before_ms = hooks->now_ms(replica->options.context);
    bool here = (replica->waiting_count <= 1 || replica->options.flush_here_while_quick) &&
                before_ms >= replica->flush_away_until_ms;
    wal_flush(replica->wal, here);
    if (!here)
        return;
    uint64_t after_ms = hooks->now_ms(replica->options.context);
    if (after_ms - before_ms >= FLUSH_SLOW_MS)
        replica->flush_away_until_ms = after_ms + FLUSH_AWAY_MS;
}

void replica_turn(struct replica *replica)
{
    uint64_t now_ms = replica->options.hooks->now_ms(replica->options.context);
    if (now_ms >= replica->wal_tick_ms) {
        wal_tick(replica->wal);
        replica->wal_tick_ms = now_ms + WAL_TICK_MS;
    }
    do {
        step_gathered(replica, now_ms);
        flush(replica);
    } while (replica->durable);

    if (!replica->ready && raft_status(replica->raft).settled) {
        replica->ready = true;
        replica->options.hooks->ready(replica->options.context);
    }
    save_if_due(replica, now_ms);
}

uint64_t replica_deadline_ms(const struct replica *replica)
{
    bool waits_for_room = wal_room(replica->wal) == 0;
    if (waits_for_room || replica->wal_tick_ms < replica->deadline_ms)
        return replica->wal_tick_ms;
    return replica->deadline_ms;
}

/* --- snapshots, stop, looking in -------------------------------------------------------------- */

void replica_want_snapshot(struct replica *replica)
{
    replica->save_wanted = true;
}

void replica_store_is_back(struct replica *replica)
{
    replica->save_wanted = true;
    replica->save_after_ms = 0;
    replica->save_retry_ms = SAVE_RETRY_MS_MIN;
}

void replica_saved(struct replica *replica, bool durable, uint64_t index)
{
    assert(replica->saving);
    replica->saving = false;
    uint64_t now_ms = replica->options.hooks->now_ms(replica->options.context);
    if (!durable) {
        replica->save_wanted = true;
        replica->save_after_ms = now_ms + replica->save_retry_ms;
        replica->save_retry_ms *= 2;
        if (replica->save_retry_ms > SAVE_RETRY_MS_MAX)
            replica->save_retry_ms = SAVE_RETRY_MS_MAX;
        return;
    }
    replica->save_retry_ms = SAVE_RETRY_MS_MIN;
    if (index == replica->saved_index)
        return; /* the same again, because the store may have lost it */
    replica->saved_before = replica->saved_index;
    replica->saved_index = index;
    /* The log back to the snapshot before is kept: a store that loses the newest is no loss. */
    raft_index gone = {replica->saved_before};
    wal_compact(replica->wal, gone);
    if (index_less(replica->recovered.start, gone)) {
        replica->recovered.start = gone;
        step(replica, &(struct raft_event){
                          .kind = RAFT_COMPACTED, .now_ms = now_ms, .compacted = {.index = gone}});
    }
}

void replica_stop(struct replica *replica)
{
    replica->stopping = true;
}

bool replica_busy(const struct replica *replica)
{
    return wal_flushing(replica->wal) || replica->waiting_count > 0 || replica->readers_count > 0 ||
           replica->asking_count > 0;
}

struct users *replica_users(struct replica *replica)
{
    return replica->users;
}

struct replica_status replica_status(const struct replica *replica)
{
    return (struct replica_status){
        .raft = raft_status(replica->raft),
        .applied = replica->applied,
        .snapshot_index = replica->saved_index,
        .snapshot_wanted = replica->save_wanted,
        .wal_full = wal_full(replica->wal),
        .wal_bytes = wal_disk_bytes(replica->wal),
        .waiting = replica->waiting_count,
    };
}
