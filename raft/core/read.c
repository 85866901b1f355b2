/*
 * ReadIndex (thesis §6.4): a read is linearizable at the commit index that a leader had while it
 * was certainly still leader, and only once an entry of its own term is committed: before that it
 * may not know how far its predecessors got. In a cluster of one nobody else can be leader, so a
 * round needs no answer from others.
 */
#include "raft/core/state.h"

static void ready(const struct raft *raft, uint64_t token, struct raft_output *out)
{
    struct raft_verdict *verdict = add_verdict(out, RAFT_READ_READY);
    verdict->read_ready.token = token;
    verdict->read_ready.index = raft->commit;
}

static void refuse(uint64_t token, enum raft_refusal why, struct raft_output *out)
{
    struct raft_verdict *verdict = add_verdict(out, RAFT_READ_REFUSED);
    verdict->read_refused.token = token;
    verdict->read_refused.why = why;
}

void ask_read(struct raft *raft, const struct raft_read_asked *asked, struct raft_output *out)
{
    if (raft->role != RAFT_LEADER) {
        refuse(asked->token, RAFT_NOT_LEADER, out);
        return;
    }
    struct raft_leader *leader = as_leader(raft);
    if (leader_is_settled(raft))
        ready(raft, asked->token, out);
    else if (leader->rounds < RAFT_READ_ROUNDS_MAX)
        leader->round[leader->rounds++] = asked->token;
    else
        refuse(asked->token, RAFT_BUSY, out);
}

void release_reads(struct raft *raft, struct raft_leader *leader, struct raft_output *out)
{
    for (uint32_t i = 0; i < leader->rounds; i++)
        ready(raft, leader->round[i], out);
    leader->rounds = 0;
}
