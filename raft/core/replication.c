/*
 * The leader's log (§5.3) and what it may call committed (§5.4.2): an entry of its own term that a
 * majority has durable, and with it all before. The leader's own copy counts when its own storage
 * has it, not when it was appended.
 */
#include "raft/core/quorum.h"
#include "raft/core/state.h"

#include <string.h>

static void append(struct raft *raft, enum raft_entry_kind kind, uint32_t count,
                   struct raft_output *out)
{
    out->persist.count = count;
    out->persist.kind = kind;
    out->persist.entry_term = raft->term;
    out->persist.first = index_next(raft->log.last);
    log_append(&raft->log, raft->term, count);
    want_persist(raft, out);
}

void become_leader(struct raft *raft, struct raft_output *out)
{
    raft->role = RAFT_LEADER;
    memset(&raft->leader, 0, sizeof(raft->leader));
    raft->deadline_ms = UINT64_MAX;
    raft->leader.first = index_next(raft->log.last);
    raft->leader.match[own_place(raft)] = raft->durable;
    append(raft, RAFT_NOOP, 1, out);
}

bool leader_is_settled(const struct raft *raft)
{
    return !index_less(raft->commit, raft->leader.first);
}

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

void propose(struct raft *raft, const struct raft_proposed *proposed, struct raft_output *out)
{
    assert(proposed->count > 0);
    if (raft->role != RAFT_LEADER) {
        add_verdict(out, RAFT_PROPOSAL_REFUSED)->refused.why = RAFT_NOT_LEADER;
        return;
    }
    struct raft_leader *leader = as_leader(raft);
    if (proposed->bytes > RAFT_UNCOMMITTED_BYTES_MAX - leader->uncommitted_bytes) {
        add_verdict(out, RAFT_PROPOSAL_REFUSED)->refused.why = RAFT_BUSY;
        return;
    }
    append(raft, RAFT_COMMAND, proposed->count, out);
    count_uncommitted(leader, raft->log.last, proposed->bytes);
    struct raft_verdict *verdict = add_verdict(out, RAFT_ACCEPTED);
    verdict->accepted.first = out->persist.first;
    verdict->accepted.term = raft->term;
    verdict->accepted.count = proposed->count;
}

/* §5.3, §5.4.2: counting decides only about entries of the leader's own term (Figure 8). */
static void advance_commit(struct raft *raft, const struct raft_leader *leader)
{
    raft_index reached = quorum_index(leader->match, raft->configuration.voters);
    if (index_less(raft->commit, reached) && !index_less(reached, leader->first))
        raft->commit = reached;
}

void leader_persisted(struct raft *raft, struct raft_leader *leader, struct raft_output *out)
{
    leader->match[own_place(raft)] = raft->durable;
    advance_commit(raft, leader);
    forget_committed(leader, raft->commit);
    if (leader_is_settled(raft))
        release_reads(raft, leader, out);
}
