/*
 * Leading (§5.3) and what may be called committed (§5.4.2): an entry of the own term that a
 * majority has durable, and with it all before. The leader's own copy counts when its own storage
 * has it; it is written while the others are already being sent theirs.
 *
 * A leader that no majority answers for an election timeout steps down, in its own term and with
 * its vote: clients find another, and stickiness (election.c) cannot keep a dead one alive.
 */
#include "raft/core/quorum.h"
#include "raft/core/state.h"

#include <string.h>

static void broadcast(struct raft *raft, bool always, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    for (uint32_t i = 0; i < leader->peers; i++)
        raft_send_appends(raft, &leader->peer[i], always, out);
    if (always)
        leader->heartbeat_ms = raft->now_ms + raft->options.heartbeat_ms;
}

void raft_leader_append(struct raft *raft, enum raft_entry_kind kind, uint32_t count,
                        const uint32_t *bytes, struct raft_output *out)
{
    assert(out->persist.entries.runs == 0); /* one kind of entries a step */
    out->persist.first = index_next(raft->log.last);
    out->persist.entries.runs = 1;
    out->persist.entries.at[0].term = raft->term;
    out->persist.entries.at[0].count = count;
    out->persist.kind = kind;
    out->persist.from = kind == RAFT_NOOP ? RAFT_FROM_CORE : RAFT_FROM_PROPOSAL;
    for (uint32_t i = 0; i < count; i++)
        log_append(&raft->log, raft->term, bytes[i]);
    raft_want_persist(raft, out);
}

void raft_leader_reconfigured(struct raft *raft)
{
    struct raft_leader *leader = raft_as_leader(raft);
    raft_node_id nodes[RAFT_PEERS_MAX];
    struct raft_progress peers[RAFT_PEERS_MAX];
    uint32_t count = raft_configuration_nodes(raft_configuration(raft), nodes);
    for (uint32_t i = 0; i < count; i++) {
        const struct raft_progress *known = raft_find_progress(leader, nodes[i]);
        peers[i] = known != NULL ? *known
                                 : (struct raft_progress){
                                       .id = nodes[i],
                                       .kind = RAFT_PROBE,
                                       .next = index_max(raft->log.last, (raft_index){1}),
                                       .heard_ms = raft->now_ms,
                                       .moved_ms = raft->now_ms,
                                   };
        if (node_id_equal(nodes[i], raft->options.self))
            peers[i].match = peers[i].counted = raft->durable;
    }
    memcpy(leader->peer, peers, count * sizeof(peers[0]));
    leader->peers = count;
    if (leader->transferring && !raft_is_voter(raft_configuration(raft), leader->transfer_to))
        leader->transferring = false; /* it may not lead any more */
}

void raft_become_leader(struct raft *raft, struct raft_output *out)
{
    raft->role = RAFT_LEADER;
    struct raft_leader *leader = &raft->leader;
    memset(leader, 0, sizeof(*leader));
    leader->first = index_next(raft->log.last);
    leader->quorum_ms = raft->now_ms + raft->options.election_ms;
    const uint32_t noop_bytes = 0;
    if (raft_is_founded(raft)) {
        raft_leader_append(raft, RAFT_NOOP, 1, &noop_bytes, out);
        raft_leader_reconfigured(raft);
    } else {
        raft_found_cluster(raft, out);
    }
    broadcast(raft, true, out);
}

bool raft_leader_is_settled(const struct raft *raft)
{
    return !index_less(raft->commit, raft->leader.first);
}

/* --- proposals -------------------------------------------------------------------------------- */

static void count_uncommitted(struct raft_leader *leader, raft_index last, uint64_t bytes)
{
    if (leader->batches < RAFT_BATCHES_MAX)
        leader->batch[leader->batches++] = (struct raft_batch){.last = last};
    struct raft_batch *newest = &leader->batch[leader->batches - 1];
    newest->last = last;
    newest->bytes += bytes;
    leader->uncommitted_bytes += bytes;
}

static void forget_committed(struct raft_leader *leader, raft_index commit)
{
    uint32_t gone = 0;
    while (gone < leader->batches && !index_less(commit, leader->batch[gone].last))
        leader->uncommitted_bytes -= leader->batch[gone++].bytes;
    leader->batches -= gone;
    memmove(leader->batch, leader->batch + gone, leader->batches * sizeof(leader->batch[0]));
}

void raft_on_proposed(struct raft *raft, const struct raft_proposed *proposed,
                      struct raft_output *out)
{
    assert(proposed->count > 0);
    if (raft->role != RAFT_LEADER) {
        raft_add_result(out, RAFT_PROPOSAL_REFUSED)->refused.why = RAFT_NOT_LEADER;
        return;
    }
    struct raft_leader *leader = raft_as_leader(raft);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < proposed->count; i++)
        bytes += proposed->bytes[i];
    if (leader->transferring || bytes > RAFT_UNCOMMITTED_BYTES_MAX - leader->uncommitted_bytes) {
        raft_add_result(out, RAFT_PROPOSAL_REFUSED)->refused.why = RAFT_BUSY;
        return;
    }
    raft_leader_append(raft, RAFT_COMMAND, proposed->count, proposed->bytes, out);
    count_uncommitted(leader, raft->log.last, bytes);
    struct raft_result *result = raft_add_result(out, RAFT_ACCEPTED);
    result->accepted.first = out->persist.first;
    result->accepted.term = raft->term;
    result->accepted.count = proposed->count;
    broadcast(raft, false, out);
}

/* --- commit ----------------------------------------------------------------------------------- */

static uint64_t counted_of(const void *context, raft_node_id id)
{
    const struct raft_leader *leader = context;
    for (uint32_t i = 0; i < leader->peers; i++) {
        if (node_id_equal(leader->peer[i].id, id))
            return leader->peer[i].counted.n;
    }
    UNREACHABLE(); /* every voter has a progress: leader_reconfigured */
}

void raft_advance_commit(struct raft *raft, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    raft_index reached = {quorum_reached(raft_configuration(raft), counted_of, leader)};
    /* §5.4.2: counting decides only about entries of the own term (Figure 8). */
    if (index_less(raft->commit, reached) && !index_less(reached, leader->first)) {
        raft->commit = reached;
        forget_committed(leader, raft->commit);
        for (uint32_t i = 0; i < leader->peers; i++) {
            struct raft_progress *peer = &leader->peer[i];
            bool idle = peer->kind == RAFT_REPLICATE && index_less(raft->log.last, peer->next);
            if (idle && index_less(peer->commit_told, raft->commit))
                raft_send_appends(raft, peer, true, out);
        }
        raft_leader_configuration_committed(raft, out);
    }
    if (raft->role == RAFT_LEADER)
        raft_release_reads(raft, out);
}

void raft_leader_persisted(struct raft *raft, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    struct raft_progress *self = raft_find_progress(leader, raft->options.self);
    if (self != NULL)
        self->match = self->counted = raft->durable;
    raft_advance_commit(raft, out);
}

/* --- peers ------------------------------------------------------------------------------------ */

static void push_transfer(struct raft *raft, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    const struct raft_progress *to = raft_find_progress(leader, leader->transfer_to);
    if (!leader->transferring || leader->transfer_sent || to == NULL ||
        !index_equal(to->match, raft->log.last))
        return;
    leader->transfer_sent = true;
    raft_add_send(raft, to->id, RAFT_TIMEOUT_NOW, out)->timeout_now.transfer = true;
}

/*
 * It verified more than this log has: what it verified without being sent it, it has committed. An
 * answer is of this term, in which this log only grew.
 */
static void has_committed_more(struct raft *raft, struct raft_progress *peer, raft_index index,
                               struct raft_output *out)
{
    if (peer->said_diverged)
        return;
    peer->said_diverged = true;
    struct raft_result *result = raft_add_result(out, RAFT_DIVERGED);
    result->diverged.node = peer->id;
    result->diverged.other = raft->options.self;
    result->diverged.index = index;
    result->diverged.term = result->diverged.other_term = (raft_term){0};
}

/* What an answer that is believed says of its sender. */
static void take_answer(struct raft_progress *peer,
                        const struct raft_append_entries_response *response)
{
    if (response->accepted && !response->recovering && !index_less(response->match, peer->floor))
        peer->forgot = false; /* it has again what it had */
    peer->recovering = response->recovering || peer->forgot;
    if (peer->recovering)
        return;
    peer->round = peer->round < response->round ? response->round : peer->round;
    if (response->accepted)
        peer->counted = index_max(peer->counted, response->match);
}

void raft_on_append_entries_response(struct raft *raft, const struct raft_message *m,
                                     struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    const struct raft_append_entries_response *response = &m->append_entries_response;
    struct raft_progress *peer = raft_find_progress(leader, m->from);
    if (peer == NULL || response->round > leader->round)
        return; /* nobody we know, or nothing we ever sent */
    if (response->accepted && index_less(raft->log.last, response->match)) {
        has_committed_more(raft, peer, response->match, out);
        return;
    }
    peer->heard_ms = raft->now_ms;
    if (response->round < peer->believed_from)
        return; /* perhaps from before it forgot */
    take_answer(peer, response);
    if (response->accepted)
        progress_accepted(raft, peer, response->match);
    else
        progress_rejected(raft, peer, response, out);
    if (peer->forgot && !response->recovering)
        progress_tell_that_it_forgot(raft, peer, out);
    raft_advance_commit(raft, out);
    if (raft->role != RAFT_LEADER)
        return;
    push_transfer(raft, out);
    raft_send_appends(raft, peer, false, out);
}

void raft_on_snapshot_sent(struct raft *raft, const struct raft_snapshot_sent *sent,
                           struct raft_output *out)
{
    if (raft->role != RAFT_LEADER)
        return;
    struct raft_progress *peer = raft_find_progress(raft_as_leader(raft), sent->to);
    if (peer == NULL || peer->kind != RAFT_SNAPSHOT)
        return;
    progress_probe(peer);
    if (!sent->installed) {
        peer->probed = true; /* it may be down: the next heartbeat asks for another */
        return;
    }
    if (!index_less(raft->log.last, sent->index))
        peer->next = index_max(peer->next, index_next(sent->index));
    raft_send_appends(raft, peer, false, out); /* or it needs a snapshot still */
}

/* What was under way to it may be lost. */
void raft_leader_lost_peer(struct raft *raft, raft_node_id id)
{
    struct raft_progress *peer = raft_find_progress(raft_as_leader(raft), id);
    if (peer != NULL && peer->kind == RAFT_REPLICATE)
        progress_probe(peer);
}

/* Again, when the peer asks again: FORGOT may have been lost. */
void raft_leader_rolled_back_peer(struct raft *raft, raft_node_id id, struct raft_output *out)
{
    struct raft_progress *peer = raft_find_progress(raft_as_leader(raft), id);
    if (peer == NULL || node_id_equal(id, raft->options.self))
        return;
    if (!peer->forgot) {
        raft_index elected_with = {raft_as_leader(raft)->first.n - 1};
        progress_forgot(raft, peer, index_max(peer->match, elected_with), (raft_index){0}, out);
        if (peer->kind == RAFT_REPLICATE)
            peer->kind = RAFT_PROBE;
        peer->probed = false;
    }
    progress_tell_that_it_forgot(raft, peer, out);
}

static uint64_t heard_of(const void *context, raft_node_id id)
{
    const struct raft *raft = context;
    for (uint32_t i = 0; i < raft->leader.peers; i++) {
        const struct raft_progress *peer = &raft->leader.peer[i];
        if (node_id_equal(peer->id, id))
            return node_id_equal(id, raft->options.self) ||
                   ((!peer->recovering || peer->forgot) &&
                    raft->now_ms - peer->heard_ms < raft->options.election_ms);
    }
    UNREACHABLE();
}

static void look_at_peers(struct raft *raft)
{
    struct raft_leader *leader = raft_as_leader(raft);
    for (uint32_t i = 0; i < leader->peers; i++) {
        struct raft_progress *peer = &leader->peer[i];
        bool stalled = raft->now_ms - peer->moved_ms >= raft->options.election_ms;
        if (peer->kind == RAFT_REPLICATE && stalled && peer->next.n > peer->match.n + 1) {
            progress_probe(peer);
            peer->moved_ms = raft->now_ms;
        }
    }
}

void raft_leader_ticked(struct raft *raft, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    if (raft->now_ms >= leader->quorum_ms) {
        leader->quorum_ms = raft->now_ms + raft->options.election_ms;
        if (quorum_reached(raft_configuration(raft), heard_of, raft) == 0) {
            raft_become_follower(raft, false, (raft_node_id){0}, out);
            return;
        }
    }
    if (leader->transferring && raft->now_ms >= leader->transfer_until_ms)
        leader->transferring = false;
    if (raft->now_ms >= leader->heartbeat_ms) {
        look_at_peers(raft);
        broadcast(raft, true, out);
    }
}

uint64_t raft_leader_deadline_ms(const struct raft *raft)
{
    const struct raft_leader *leader = &raft->leader;
    if (leader->peers == 1 && node_id_equal(leader->peer[0].id, raft->options.self))
        return UINT64_MAX; /* nobody to be heard by */
    uint64_t deadline =
        leader->heartbeat_ms < leader->quorum_ms ? leader->heartbeat_ms : leader->quorum_ms;
    if (leader->transferring && leader->transfer_until_ms < deadline)
        deadline = leader->transfer_until_ms;
    return deadline;
}

void raft_on_transfer_asked(struct raft *raft, const struct raft_transfer_asked *asked,
                            struct raft_output *out)
{
    if (raft->role != RAFT_LEADER)
        return;
    struct raft_leader *leader = raft_as_leader(raft);
    const struct raft_progress *best = NULL;
    for (uint32_t i = 0; i < leader->peers; i++) {
        const struct raft_progress *peer = &leader->peer[i];
        bool wanted = asked->to_known ? node_id_equal(peer->id, asked->to)
                                      : raft->now_ms - peer->heard_ms < raft->options.election_ms;
        if (wanted && raft_is_voter(raft_configuration(raft), peer->id) &&
            !node_id_equal(peer->id, raft->options.self) && !peer->recovering &&
            (best == NULL || index_less(best->match, peer->match)))
            best = peer;
    }
    if (best == NULL)
        return;
    leader->transferring = true;
    leader->transfer_sent = false;
    leader->transfer_to = best->id;
    leader->transfer_until_ms = raft->now_ms + raft->options.election_ms;
    push_transfer(raft, out);
}
