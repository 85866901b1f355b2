/*
 * Elections (§5.2, §5.4.1). A node that hears of no leader until its deadline asks for votes in the
 * next term. Its own vote is a vote like any other: it counts when storage has it (a node that
 * forgot it in a crash could vote again in the same term, and two leaders would stand).
 */
#include "raft/core/quorum.h"
#include "raft/core/state.h"

#include <string.h>

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
static uint64_t draw(struct raft *raft)
{
    if (raft->random == 0)
        raft->random = 0x9e3779b97f4a7c15u;
    raft->random ^= raft->random >> 12;
    raft->random ^= raft->random << 25;
    raft->random ^= raft->random >> 27;
    return raft->random * 0x2545f4914f6cdd1du;
}

/* Drawn anew at each campaign: a timeout drawn once makes split votes repeat for ever. */
static void redraw_deadline(struct raft *raft)
{
    uint64_t span = raft->options.election_ms;
    raft->deadline_ms = raft->now_ms + span + draw(raft) % span;
}

void become_follower(struct raft *raft)
{
    raft->role = RAFT_FOLLOWER;
    raft->follower = (struct raft_follower){.leader_known = false};
    if (raft->configuration.voters == 1)
        raft->deadline_ms = raft->now_ms; /* nobody else could be leader: no need to wait */
    else
        redraw_deadline(raft);
}

void election_deadline_passed(struct raft *raft, struct raft_output *out)
{
    redraw_deadline(raft);
    raft_term next = {raft->term.n + 1};
    if (!log_has_room(&raft->log, next))
        return; /* a leader opens its term with an entry */
    set_term(raft, next, out);
    raft->voted = true;
    raft->vote = raft->options.self;
    raft->role = RAFT_CANDIDATE;
    memset(&raft->candidate, 0, sizeof(raft->candidate));
    want_persist(raft, out);
}

void candidate_persisted(struct raft *raft, struct raft_candidate *candidate,
                         struct raft_output *out)
{
    if (!term_equal(raft->durable_term, raft->term) || !raft->durable_vote)
        return;
    candidate->granted[own_place(raft)] = true;
    uint32_t votes = 0;
    for (uint32_t i = 0; i < raft->configuration.voters; i++)
        votes += candidate->granted[i];
    if (votes >= quorum_size(raft->configuration.voters))
        become_leader(raft, out);
}
