/*
 * Two nodes that applied the same entries have the same state (State Machine Safety, Figure 3).
 * Each says, once a second, the digest of its state after its last applied entry; whoever has
 * applied that entry too, lately, compares. What differs is a bug, a state that was restored
 * differently, or memory that flipped: nothing that a node could mend, so it is said and counted.
 */
#include "raft/replica/state.h"

#include <inttypes.h>
#include <stdio.h>

#define SAY_MS 1000u

static uint64_t digest_at(const struct digests *digests, uint64_t index)
{
    return digests->at[index % DIGESTS_KEPT];
}

void digests_applied(struct replica *replica)
{
    struct digests *digests = &replica->digests;
    uint64_t index = replica->applied;
    if (digests->first == 0 || digests->last + 1 != index)
        digests->first = index;
    digests->last = index;
    if (index - digests->first >= DIGESTS_KEPT)
        digests->first = index - DIGESTS_KEPT + 1;
    digests->at[index % DIGESTS_KEPT] = users_digest(replica->users);
}

static bool is_kept(const struct digests *digests, uint64_t index)
{
    return digests->first > 0 && index >= digests->first && index <= digests->last;
}

static void compare(struct replica *replica, uint32_t who)
{
    struct digests *digests = &replica->digests;
    struct digest_heard *heard = &digests->heard[who];
    char text[300];
    if (!is_kept(digests, heard->index))
        return;
    uint64_t index = heard->index, theirs = heard->digest, ours = digest_at(digests, index);
    heard->index = 0;
    if (ours == theirs || heard->differs)
        return;
    heard->differs = true; /* for good: once is enough */
    replica->measures.state_diverged++;
    snprintf(text, sizeof(text),
             "after entry %" PRIu64 " node %" PRIu64 " has the state of digest %016" PRIx64
             " and node %" PRIu64 " that of %016" PRIx64
             ": they differ; see the runbook, \"Nodes that differ\"",
             index, replica->options.node, ours, replica->options.member[who].n, theirs);
    replica->options.hooks->note(replica->options.context, "state_diverged", text);
}

void digests_heard(struct replica *replica, raft_node_id from, const struct peer_digest *digest)
{
    uint32_t place = replica_place_of(replica, from);
    if (place == replica->options.members)
        return;
    replica->digests.heard[place].index = digest->index;
    replica->digests.heard[place].digest = digest->digest;
    compare(replica, place);
}

static void say(struct replica *replica)
{
    const struct replica_options *options = &replica->options;
    const struct digests *digests = &replica->digests;
    struct peer_note note = {
        .kind = PEER_DIGEST,
        .digest = {.index = digests->last, .digest = digest_at(digests, digests->last)}};
    for (uint32_t i = 0; i < options->members; i++) {
        if (options->member[i].n != options->node)
            replica_send_note(replica, options->member[i], &note);
    }
}

void digests_tick(struct replica *replica, uint64_t now_ms)
{
    struct digests *digests = &replica->digests;
    if (replica_alone(replica) || digests->last == 0 || replica_lacks_state(replica))
        return;
    for (uint32_t i = 0; i < replica->options.members; i++)
        compare(replica, i); /* of what was ahead of this node when it was heard */
    if (now_ms - digests->said_ms < SAY_MS)
        return;
    digests->said_ms = now_ms;
    say(replica);
}
