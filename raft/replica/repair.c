/*
 * Damaged entries of the log (node/wal.h, holes). What they were is known; what memory still holds
 * is put back from there, the rest is asked of the other nodes, one after the other, by index. An
 * entry that comes is taken when it is the very one: of its term, length and checksum.
 *
 * While a damaged entry is not applied here the core counts this node for less (core/raft.h,
 * DAMAGED NODES). If no node has such an entry any more, the state is fetched instead.
 *
 * And scrubbing: the log is read through in the background, so that damage is found while others
 * still have what it takes to repair it.
 */
#include "raft/replica/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define ASK_AGAIN_MS     50u
#define ASKED_AT_ONCE    PEER_ENTRIES_REQUEST_MAX
#define SCRUB_MS         100u
#define ENTRIES_PER_TURN 64u
#define ANSWER_BYTES_MAX ((size_t)RAFT_APPEND_BYTES_MAX)

bool repair_blocks_apply(const struct replica *replica)
{
    raft_index next = {replica->applied + 1};
    return replica->applied < replica->committed && wal_has_hole(replica->wal, next, next, &next);
}

bool repair_is_hopeless(const struct replica *replica)
{
    struct raft_status status = raft_status(replica->raft);
    bool waits = repair_blocks_apply(replica) || (status.damaged && !status.leader_known);
    return waits && replica->repair.tries >= REPAIR_TRIES_MAX;
}

bool repair_first(const struct replica *replica, raft_index *ret_index)
{
    return wal_has_hole(replica->wal, (raft_index){replica->applied + 1},
                        raft_status(replica->raft).last, ret_index);
}

static void tell_core(struct replica *replica)
{
    raft_index first;
    bool damaged = repair_first(replica, &first);
    if (damaged == raft_status(replica->raft).damaged)
        return;
    replica_step(replica, &(struct raft_event){.kind = damaged ? RAFT_DAMAGED : RAFT_REPAIRED});
}

/* False when the process must end. */
static bool put_back(struct replica *replica, raft_index index, raft_term term,
                     enum raft_entry_kind kind, struct bytes payload)
{
    struct repair *repair = &replica->repair;
    int result = wal_repair(replica->wal, index, term, kind, payload);
    if (result == -ENOENT || result == -EINVAL)
        return true;
    if (result != 0) {
        replica_failed(replica, "repairing the log", result);
        return false;
    }
    repair->unsynced++;
    repair->tries = 0;
    if (kind == RAFT_CONFIGURATION)
        membership_repaired(replica, index, payload);
    return true;
}

/* From another place each time: the first ones may be such that nobody has. */
static uint32_t next_place(const struct replica *replica)
{
    uint32_t holes = wal_holes(replica->wal);
    return holes > ASKED_AT_ONCE ? replica->repair.place % holes : 0;
}

static void from_memory(struct replica *replica)
{
    struct wal_hole hole;
    uint32_t first = next_place(replica);
    for (uint32_t i = first; i < first + ENTRIES_PER_TURN && wal_hole(replica->wal, i, &hole);
         i++) {
        enum raft_entry_kind kind;
        struct bytes payload;
        if (entries_get(&replica->entries, hole.index, &kind, &payload) &&
            !put_back(replica, hole.index, hole.term, kind, payload))
            return;
    }
}

static void sync(struct replica *replica)
{
    struct repair *repair = &replica->repair;
    if (repair->unsynced == 0)
        return;
    int result = wal_repair_sync(replica->wal);
    if (result != 0) {
        replica_failed(replica, "repairing the log", result);
        return;
    }
    repair->repaired += repair->unsynced;
    replica->measures.repaired += repair->unsynced;
    repair->unsynced = 0;
    repair->asked_ms = 0; /* the next ones at once */
    if (wal_holes(replica->wal) > 0)
        return;
    char text[128];
    snprintf(text, sizeof(text), "%" PRIu64 " damaged entries of the log are whole again",
             repair->repaired);
    replica->options.hooks->note(replica->options.context, "log_repaired", text);
    repair->repaired = 0;
}

static void ask(struct replica *replica, uint64_t now_ms)
{
    struct repair *repair = &replica->repair;
    uint8_t indexes[ASKED_AT_ONCE * 8];
    struct writer out = writer_of(indexes, sizeof(indexes));
    struct wal_hole hole;
    uint32_t first = next_place(replica);
    for (uint32_t i = first; i < first + ASKED_AT_ONCE && wal_hole(replica->wal, i, &hole); i++)
        put_u64(&out, hole.index.n);
    repair->place = first + ASKED_AT_ONCE;
    struct peer_note note = {.kind = PEER_ENTRIES_REQUEST,
                             .entries_request = {.indexes = writer_bytes(&out)}};
    repair->asked_ms = now_ms;
    repair->who = (repair->who + 1) % replica->options.members;
    if (replica->options.member[repair->who].n == replica->options.node)
        repair->who = (repair->who + 1) % replica->options.members;
    repair->tries++;
    replica_send_note(replica, replica->options.member[repair->who], &note);
}

static int send_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                      struct bytes payload)
{
    struct replica *replica = context;
    replica->repair.answer_bytes += payload.len;
    struct peer_note note = {
        .kind = PEER_ENTRY,
        .entry = {.index = index.n, .term = term.n, .kind = (uint8_t)kind, .payload = payload}};
    replica_send_note(replica, replica->repair.asker, &note);
    return 0;
}

/* One question a turn, and not more than an append of entries for it: each is read from the disk.
 * Who asked asks for the others again. */
int repair_asked(struct replica *replica, raft_node_id from,
                 const struct peer_entries_request *please)
{
    struct repair *repair = &replica->repair;
    struct reader in = reader_of(please->indexes);
    raft_index first = {replica->log_start + 1}, last = raft_status(replica->raft).durable;
    if (repair->answered == replica->turns)
        return -EAGAIN;
    repair->answered = replica->turns;
    repair->asker = from;
    repair->answer_bytes = 0;
    while (reader_left(&in) > 0 && repair->answer_bytes < ANSWER_BYTES_MAX) {
        raft_index index = {get_u64(&in)};
        enum raft_entry_kind kind;
        struct bytes payload;
        if (in.bad || index_less(index, first) || index_less(last, index))
            continue;
        if (entries_get(&replica->entries, index, &kind, &payload))
            (void)send_entry(replica, index, raft_entry_term(replica->raft, index), kind, payload);
        else
            (void)!wal_read(replica->wal, index, index, send_entry, replica);
    }
    return 0;
}

int repair_entry(struct replica *replica, const struct peer_entry_here *entry)
{
    enum raft_entry_kind kind = (enum raft_entry_kind)entry->kind;
    if (!replica_can_read(replica, kind, entry->payload))
        return -EBADMSG; /* what fits a checksum can be made up */
    (void)put_back(replica, (raft_index){entry->index}, (raft_term){entry->term}, kind,
                   entry->payload);
    return 0;
}

void repair_tick(struct replica *replica, uint64_t now_ms)
{
    struct repair *repair = &replica->repair;
    if (wal_holes(replica->wal) > 0)
        from_memory(replica);
    sync(replica);
    tell_core(replica);
    if (wal_holes(replica->wal) > 0 && !replica_alone(replica) &&
        now_ms - repair->asked_ms >= ASK_AGAIN_MS)
        ask(replica, now_ms);
    if (replica->options.scrub_bytes_per_s > 0 && now_ms >= repair->scrub_ms) {
        repair->scrub_ms = now_ms + SCRUB_MS;
        wal_scrub(replica->wal, replica->options.scrub_bytes_per_s / (1000u / SCRUB_MS));
    }
}

void repair_scrubbed(void *context, const struct wal_scrubbed *scrubbed)
{
    struct replica *replica = context;
    char text[256];
    if (scrubbed->error != 0)
        replica_failed(replica, "reading the log through", scrubbed->error);
    replica->measures.scrubbed_bytes += scrubbed->bytes;
    replica->measures.damage += scrubbed->damaged;
    replica->measures.repaired += scrubbed->repaired;
    bool news = wal_holes(replica->wal) > replica->repair.holes_said;
    replica->repair.holes_said = wal_holes(replica->wal);
    if (!news && scrubbed->repaired == 0 && scrubbed->unknown == 0)
        return;
    snprintf(text, sizeof(text),
             "%016" PRIx64 ".wal offset %" PRIu64 ": %" PRIu32 " damaged places, %" PRIu32
             " repaired, %" PRIu32 " entries to be repaired%s",
             scrubbed->segment, scrubbed->offset, scrubbed->damaged, scrubbed->repaired,
             scrubbed->holes,
             scrubbed->unknown > 0
                 ? "; it cannot be told what else was there: this start goes on from memory, a "
                   "next one would end the log there (see deploy/README.md)"
                 : "");
    replica->options.hooks->note(replica->options.context, "log_damaged", text);
    if (scrubbed->unknown > 0 || (scrubbed->holes > 0 && replica_alone(replica)))
        replica->save_wanted = true; /* the sooner this part of the log is not needed any more */
}
