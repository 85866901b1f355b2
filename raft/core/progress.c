/*
 * What the leader sends to one peer, by what it knows of it:
 *
 *   PROBE     one append at a time, until one is accepted                         → STREAM
 *   STREAM    appends run ahead of their answers, within a window of entries and bytes;
 *             a refusal, or no progress for an election timeout                   → PROBE
 *   SNAPSHOT  what it needs is compacted away; only heartbeats, until it has one  → PROBE, STREAM
 */
#include "raft/core/state.h"

struct raft_progress *raft_find_progress(struct raft_leader *leader, raft_node_id id)
{
    for (uint32_t i = 0; i < leader->peers; i++) {
        if (node_id_equal(leader->peer[i].id, id))
            return &leader->peer[i];
    }
    return NULL;
}

void progress_probe(struct raft_progress *peer)
{
    peer->kind = RAFT_PROBE;
    peer->next = index_next(peer->match);
    peer->probed = false;
}

/* Entries that one append may carry from `first` on: a configuration travels alone. */
static uint32_t batch_entries(const struct raft *raft, raft_index first)
{
    uint64_t count = raft->log.last.n + 1 - first.n;
    if (count > RAFT_APPEND_ENTRIES_MAX)
        count = RAFT_APPEND_ENTRIES_MAX;
    for (uint32_t i = 0; i < raft->configurations; i++) {
        raft_index at = raft->configured[i].index;
        if (index_equal(at, first))
            return 1;
        if (index_less(first, at) && at.n - first.n < count)
            count = at.n - first.n;
    }
    raft_index before = {first.n - 1};
    while (count > 1 &&
           log_bytes(&raft->log, before, (raft_index){before.n + count}) > RAFT_APPEND_BYTES_MAX)
        count /= 2;
    return (uint32_t)count;
}

static bool window_open(const struct raft *raft, const struct raft_progress *peer)
{
    raft_index sent = {peer->next.n - 1};
    return sent.n - peer->match.n < RAFT_WINDOW_ENTRIES_MAX &&
           log_bytes(&raft->log, index_max(peer->match, raft->log.start), sent) <
               RAFT_WINDOW_BYTES_MAX;
}

/* An append of `count` entries after `prev`, which the log holds. */
static void send_append(struct raft *raft, struct raft_progress *peer, raft_index prev,
                        uint32_t count, struct raft_output *out)
{
    struct raft_append_entries *a =
        &raft_add_send(raft, peer->id, RAFT_APPEND_ENTRIES, out)->append_entries;
    a->prev = prev;
    a->prev_term = log_term(&raft->log, prev);
    a->commit = raft->commit;
    a->round = raft_as_leader(raft)->round;
    if (count > 0)
        log_runs(&raft->log, index_next(prev), count, &a->entries);
    peer->commit_told = raft->commit;
}

/* A heartbeat that asserts nothing about the log but what the peer acknowledged. */
static void send_bare(struct raft *raft, struct raft_progress *peer, struct raft_output *out)
{
    struct raft_append_entries *a =
        &raft_add_send(raft, peer->id, RAFT_APPEND_ENTRIES, out)->append_entries;
    a->commit = index_min(raft->commit, peer->match);
    a->round = raft_as_leader(raft)->round;
}

static void begin_snapshot(struct raft_progress *peer, struct raft_output *out)
{
    peer->kind = RAFT_SNAPSHOT;
    raft_add_result(out, RAFT_SEND_SNAPSHOT)->send_snapshot.to = peer->id;
}

static void send_probe(struct raft *raft, struct raft_progress *peer, bool always,
                       struct raft_output *out)
{
    if (peer->probed && !always)
        return;
    raft_index prev = {peer->next.n - 1};
    uint32_t count = 0;
    if (!peer->probed && !index_less(raft->log.last, peer->next))
        count = batch_entries(raft, peer->next);
    send_append(raft, peer, prev, count, out);
    peer->probed = true;
}

static void send_stream(struct raft *raft, struct raft_progress *peer, bool always,
                        struct raft_output *out)
{
    uint32_t sent = 0;
    for (; sent < RAFT_APPENDS_PER_STEP && !index_less(raft->log.last, peer->next) &&
           window_open(raft, peer);
         sent++) {
        raft_index prev = {peer->next.n - 1};
        struct raft_runs entries;
        log_runs(&raft->log, peer->next, batch_entries(raft, peer->next), &entries);
        uint32_t count = raft_runs_entries(&entries);
        send_append(raft, peer, prev, count, out);
        peer->next.n += count;
    }
    if (sent == 0 && always)
        send_append(raft, peer, (raft_index){peer->next.n - 1}, 0, out);
}

void raft_send_appends(struct raft *raft, struct raft_progress *peer, bool always,
                       struct raft_output *out)
{
    if (node_id_equal(peer->id, raft->options.self))
        return;
    raft_index prev = {peer->next.n - 1};
    if (peer->kind != RAFT_SNAPSHOT && index_less(prev, raft->log.start)) {
        if (peer->probed && !always)
            return;
        begin_snapshot(peer, out);
    }
    switch (peer->kind) {
    case RAFT_PROBE:
        send_probe(raft, peer, always, out);
        return;
    case RAFT_REPLICATE:
        send_stream(raft, peer, always, out);
        return;
    case RAFT_SNAPSHOT:
        if (always)
            send_bare(raft, peer, out);
        return;
    }
    UNREACHABLE();
}

void progress_accepted(struct raft *raft, struct raft_progress *peer, raft_index match)
{
    if (index_less(peer->match, match)) {
        peer->match = match;
        peer->match_round = raft_as_leader(raft)->round;
        peer->moved_ms = raft->now_ms;
    }
    if (!index_less(peer->match, peer->next))
        peer->next = index_next(peer->match);
    if (index_equal(peer->match, (raft_index){peer->next.n - 1}))
        peer->moved_ms = raft->now_ms; /* nothing is under way */
    bool has_what_is_held = !index_less(peer->match, raft->log.start);
    if (peer->kind == RAFT_PROBE || (peer->kind == RAFT_SNAPSHOT && has_what_is_held)) {
        if (peer->kind == RAFT_SNAPSHOT)
            peer->next = index_next(peer->match);
        peer->kind = RAFT_REPLICATE;
        peer->probed = false;
    }
}

void progress_forgot(struct raft *raft, struct raft_progress *peer, raft_index floor,
                     raft_index has, struct raft_output *out)
{
    struct raft_result *result = raft_add_result(out, RAFT_ROLLED_BACK);
    result->rolled_back.node = peer->id;
    result->rolled_back.floor = floor;
    result->rolled_back.has = has;
    peer->forgot = peer->recovering = true;
    peer->floor = floor;
    peer->match = peer->counted = (raft_index){0};
    peer->believed_from = ++raft_as_leader(raft)->round;
}

void progress_tell_that_it_forgot(struct raft *raft, const struct raft_progress *peer,
                                  struct raft_output *out)
{
    struct raft_forgot *forgot = &raft_add_send(raft, peer->id, RAFT_FORGOT, out)->forgot;
    forgot->index = index_max(peer->floor, raft->log.start);
    forgot->index_term = log_term(&raft->log, forgot->index);
}

void progress_rejected(struct raft *raft, struct raft_progress *peer,
                       const struct raft_append_entries_response *response, struct raft_output *out)
{
    bool had_it =
        !response->recovering && peer->match.n > 0 && !index_less(peer->match, response->prev);
    if (had_it && response->round > peer->match_round)
        progress_forgot(raft, peer, peer->match, response->hint, out);
    else if (had_it && raft_as_leader(raft)->round == peer->match_round)
        raft_as_leader(raft)->round++; /* late, or true: what it answers to this round tells */
    if (response->recovering && index_less(response->hint, peer->match) &&
        !index_less(peer->match, response->prev))
        peer->match = (raft_index){0}; /* it forgot what it had: begin where it says */
    bool stale =
        !index_less(peer->match, response->prev) || !index_less(response->prev, peer->next);
    if (peer->kind == RAFT_PROBE)
        stale = response->prev.n != peer->next.n - 1 || !index_less(peer->match, response->prev);
    if (stale || peer->kind == RAFT_SNAPSHOT)
        return;
    raft_index hint = index_min(response->hint, (raft_index){response->prev.n - 1});
    raft_index agreed = log_find_term(&raft->log, hint, response->hint_term);
    raft_index next = index_next(agreed);
    if (index_less(response->prev, next)) /* the log begins after what they agree on */
        next = response->prev;
    peer->next = index_max(next, index_next(peer->match));
    peer->kind = RAFT_PROBE;
    peer->probed = false;
}
