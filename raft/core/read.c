/*
 * ReadIndex (thesis §6.4). A read is linearizable at the commit index that a leader had while it
 * was certainly still leader: while a majority, asked after the read came in, still followed it.
 * The asking goes in rounds that the leader numbers itself, one under way at a time, for all reads
 * that wait; every append carries the number of the last and every answer returns it. (Numbers that
 * clients made and answers that came late have let reads go stale elsewhere: etcd-io/raft#397.)
 *
 * Before an entry of its own term is committed a leader may not know how far its predecessors got,
 * so until then rounds do not begin.
 *
 * A follower asks its leader for the index only, and reads its own state when it has got there.
 */
#include "raft/core/quorum.h"
#include "raft/core/state.h"

#include <string.h>

static void answer(struct raft *raft, const struct raft_round_waiter *waiter,
                   struct raft_output *out)
{
    if (node_id_equal(waiter->from, raft->options.self)) {
        struct raft_result *result = raft_add_result(out, RAFT_READ_READY);
        result->read_ready.token = waiter->token;
        result->read_ready.index = waiter->index;
        return;
    }
    struct raft_message *response =
        raft_add_send(raft, waiter->from, RAFT_READ_INDEX_RESPONSE, out);
    response->read_index_response.token = waiter->token;
    response->read_index_response.granted = true;
    response->read_index_response.index = waiter->index;
}

static void refuse(uint64_t token, enum raft_refusal why, struct raft_output *out)
{
    struct raft_result *result = raft_add_result(out, RAFT_READ_REFUSED);
    result->read_refused.token = token;
    result->read_refused.why = why;
}

static bool wait_for_round(struct raft *raft, uint64_t token, raft_node_id from,
                           struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    if (leader->waiters == RAFT_READ_ROUNDS_MAX)
        return false;
    leader->waiter[leader->waiters++] =
        (struct raft_round_waiter){.token = token, .from = from, .round = 0};
    raft_release_reads(raft, out);
    return true;
}

void raft_on_read_asked(struct raft *raft, uint64_t token, struct raft_output *out)
{
    if (raft->role == RAFT_LEADER) {
        if (!wait_for_round(raft, token, raft->options.self, out))
            refuse(token, RAFT_BUSY, out);
        return;
    }
    if (raft->role != RAFT_FOLLOWER || !raft->follower.leader_known || raft->diverged ||
        !raft_term_is_durable(raft)) {
        refuse(token, RAFT_NOT_LEADER, out);
        return;
    }
    struct raft_follower *f = raft_as_follower(raft);
    if (f->reads == RAFT_READ_ROUNDS_MAX) { /* the oldest has waited longest: its answer is lost */
        refuse(f->read[0], RAFT_BUSY, out);
        memmove(f->read, f->read + 1, --f->reads * sizeof(f->read[0]));
    }
    f->read[f->reads++] = token;
    struct raft_message *ask = raft_add_send(raft, f->leader, RAFT_READ_INDEX, out);
    ask->read_index.token = token;
}

void raft_on_read_index(struct raft *raft, const struct raft_message *m, struct raft_output *out)
{
    if (raft->role == RAFT_LEADER && wait_for_round(raft, m->read_index.token, m->from, out))
        return;
    if (raft_term_is_durable(raft))
        raft_add_send(raft, m->from, RAFT_READ_INDEX_RESPONSE, out)->read_index_response.token =
            m->read_index.token;
}

void raft_on_read_index_response(struct raft *raft, const struct raft_message *m,
                                 struct raft_output *out)
{
    struct raft_follower *f = raft_as_follower(raft);
    if (!f->leader_known || !node_id_equal(f->leader, m->from))
        return; /* nobody else was asked */
    for (uint32_t i = 0; i < f->reads; i++) {
        if (f->read[i] != m->read_index_response.token)
            continue;
        f->reads--;
        memmove(f->read + i, f->read + i + 1, (f->reads - i) * sizeof(f->read[0]));
        if (m->read_index_response.granted) {
            struct raft_result *result = raft_add_result(out, RAFT_READ_READY);
            result->read_ready.token = m->read_index_response.token;
            result->read_ready.index = m->read_index_response.index;
        } else {
            refuse(m->read_index_response.token, RAFT_BUSY, out);
        }
        return;
    }
}

static uint64_t round_of(const void *context, raft_node_id id)
{
    const struct raft *raft = context;
    if (node_id_equal(id, raft->options.self))
        return raft->leader.round;
    for (uint32_t i = 0; i < raft->leader.peers; i++) {
        if (node_id_equal(raft->leader.peer[i].id, id))
            return raft->leader.peer[i].round;
    }
    UNREACHABLE();
}

/* Begins a round for everybody who waits without one; false when nobody does. */
static bool begin_round(struct raft *raft, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    bool wanted = false;
    for (uint32_t i = 0; i < leader->waiters; i++) {
        if (leader->waiter[i].round != 0)
            continue;
        leader->waiter[i].round = leader->round + 1;
        leader->waiter[i].index = raft->commit;
        wanted = true;
    }
    if (!wanted)
        return false;
    leader->round++;
    for (uint32_t i = 0; i < leader->peers; i++)
        raft_send_appends(raft, &leader->peer[i], true, out);
    return true;
}

static void answer_confirmed(struct raft *raft, uint64_t confirmed, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < leader->waiters; i++) {
        const struct raft_round_waiter waiter = leader->waiter[i];
        if (waiter.round != 0 && waiter.round <= confirmed)
            answer(raft, &waiter, out);
        else
            leader->waiter[kept++] = waiter;
    }
    leader->waiters = kept;
}

void raft_release_reads(struct raft *raft, struct raft_output *out)
{
    struct raft_leader *leader = raft_as_leader(raft);
    if (leader->waiters == 0 || !raft_leader_is_settled(raft))
        return;
    uint64_t confirmed = quorum_reached(raft_configuration(raft), round_of, raft);
    answer_confirmed(raft, confirmed, out);
    if (confirmed == leader->round && begin_round(raft, out)) {
        confirmed = quorum_reached(raft_configuration(raft), round_of, raft);
        answer_confirmed(raft, confirmed, out); /* at once in a cluster of one */
    }
}

void raft_refuse_reads(struct raft *raft, struct raft_output *out)
{
    if (raft->role == RAFT_LEADER) {
        struct raft_leader *leader = raft_as_leader(raft);
        for (uint32_t i = 0; i < leader->waiters; i++) {
            const struct raft_round_waiter *waiter = &leader->waiter[i];
            if (node_id_equal(waiter->from, raft->options.self))
                refuse(waiter->token, RAFT_NOT_LEADER, out);
        } /* those who forwarded theirs hear of the new leader, and ask again */
        leader->waiters = 0;
    } else if (raft->role == RAFT_FOLLOWER) {
        struct raft_follower *f = raft_as_follower(raft);
        for (uint32_t i = 0; i < f->reads; i++)
            refuse(f->read[i], RAFT_NOT_LEADER, out);
        f->reads = 0;
    }
}
