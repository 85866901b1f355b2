/*
 * Configurations (thesis §4). One is in effect from the moment it is in the log, committed or not,
 * and goes with its entry when that is truncated: deciding by the newest is what keeps two disjoint
 * majorities from deciding apart. One change at a time, and only by a leader that has committed an
 * entry of its own term (Ongaro, raft-dev 2015: without that, changes one voter at a time are
 * unsafe). More than one voter at once goes through a joint configuration, which the leader leaves
 * by itself when it is committed.
 */
#include "raft/core/state.h"

#include <string.h>

static bool contains(const raft_node_id *ids, uint32_t count, raft_node_id id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (node_id_equal(ids[i], id))
            return true;
    }
    return false;
}

static bool is_set(const raft_node_id *ids, uint32_t count)
{
    if (count > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i].n == 0 || contains(ids, i, ids[i]))
            return false;
    }
    return true;
}

bool raft_configuration_valid(const struct raft_configuration *c)
{
    if (c->voters == 0 || !is_set(c->voter, c->voters) || !is_set(c->outgoing_voter, c->outgoing) ||
        !is_set(c->learner, c->learners))
        return false;
    uint32_t nodes = c->voters;
    for (uint32_t i = 0; i < c->outgoing; i++)
        nodes += !contains(c->voter, c->voters, c->outgoing_voter[i]);
    for (uint32_t i = 0; i < c->learners; i++) {
        if (contains(c->voter, c->voters, c->learner[i]))
            return false;
        nodes += !contains(c->outgoing_voter, c->outgoing, c->learner[i]);
    }
    return nodes <= RAFT_PEERS_MAX;
}

bool raft_is_voter(const struct raft_configuration *c, raft_node_id id)
{
    return contains(c->voter, c->voters, id) || contains(c->outgoing_voter, c->outgoing, id);
}

static void add_node(raft_node_id nodes[RAFT_PEERS_MAX], uint32_t *count, raft_node_id id)
{
    if (contains(nodes, *count, id))
        return;
    assert(*count < RAFT_PEERS_MAX);
    nodes[(*count)++] = id;
}

uint32_t raft_configuration_nodes(const struct raft_configuration *c,
                                  raft_node_id ret_nodes[RAFT_PEERS_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->voters; i++)
        add_node(ret_nodes, &count, c->voter[i]);
    for (uint32_t i = 0; i < c->outgoing; i++)
        add_node(ret_nodes, &count, c->outgoing_voter[i]);
    for (uint32_t i = 0; i < c->learners; i++)
        add_node(ret_nodes, &count, c->learner[i]);
    return count;
}

const struct raft_configuration *raft_configuration(const struct raft *raft)
{
    return &raft->configured[raft->configurations - 1].configuration;
}

const struct raft_configuration *raft_configuration_at(const struct raft *raft, raft_index index)
{
    assert(!index_less(index, raft->configured[0].index) && !index_less(raft->commit, index));
    uint32_t i = raft->configurations - 1;
    while (i > 0 && index_less(index, raft->configured[i].index))
        i--;
    return &raft->configured[i].configuration;
}

bool raft_configuration_room(const struct raft *raft)
{
    return raft->configurations < RAFT_CONFIGURATIONS_MAX;
}

void raft_configuration_appended(struct raft *raft, raft_index index,
                                 const struct raft_configuration *configuration)
{
    assert(raft_configuration_room(raft) && raft_configuration_valid(configuration));
    raft->configured[raft->configurations++] =
        (struct raft_configured){.index = index, .configuration = *configuration};
}

void raft_on_configuration_repaired(struct raft *raft,
                                    const struct raft_configuration_repaired *repaired)
{
    if (!raft->damaged || !raft_configuration_valid(repaired->configuration))
        return;
    for (uint32_t i = 0; i < raft->configurations; i++) {
        if (index_equal(raft->configured[i].index, repaired->index) && !raft->configured[i].implied)
            raft->configured[i].configuration = *repaired->configuration;
    }
}

void raft_configurations_truncated(struct raft *raft, raft_index first_gone)
{
    while (raft->configurations > 1 &&
           !index_less(raft->configured[raft->configurations - 1].index, first_gone))
        raft->configurations--;
    assert(index_less(raft->configured[raft->configurations - 1].index, first_gone));
}

/* The one in effect at `index` stays, as the first. */
void raft_configurations_compacted(struct raft *raft, raft_index index)
{
    uint32_t gone = 0;
    while (gone + 1 < raft->configurations && !index_less(index, raft->configured[gone + 1].index))
        gone++;
    raft->configurations -= gone;
    memmove(raft->configured, raft->configured + gone,
            raft->configurations * sizeof(raft->configured[0]));
}

static bool same_set(const raft_node_id *a, uint32_t a_count, const raft_node_id *b,
                     uint32_t b_count)
{
    for (uint32_t i = 0; i < a_count; i++) {
        if (!contains(b, b_count, a[i]))
            return false;
    }
    return a_count == b_count;
}

/* From the present configuration in one step: one voter differs, or it goes through a joint one. */
static bool is_legal_step(const struct raft_configuration *now,
                          const struct raft_configuration *next)
{
    if (!raft_configuration_valid(next))
        return false;
    if (now->outgoing > 0) /* joint: only out of it */
        return next->outgoing == 0 && same_set(now->voter, now->voters, next->voter, next->voters);
    if (next->outgoing > 0)
        return same_set(now->voter, now->voters, next->outgoing_voter, next->outgoing);
    uint32_t differ = 0;
    for (uint32_t i = 0; i < now->voters; i++)
        differ += !contains(next->voter, next->voters, now->voter[i]);
    for (uint32_t i = 0; i < next->voters; i++)
        differ += !contains(now->voter, now->voters, next->voter[i]);
    return differ <= 1;
}

static void append_configuration(struct raft *raft, const struct raft_configuration *configuration,
                                 uint32_t bytes, enum raft_entries_from from,
                                 struct raft_output *out)
{
    raft_configuration_appended(raft, index_next(raft->log.last), configuration);
    raft_leader_append(raft, RAFT_CONFIGURATION, 1, &bytes, out);
    out->persist.from = from;
    out->persist.configuration = *configuration;
    raft_leader_reconfigured(raft);
}

bool raft_is_founded(const struct raft *raft)
{
    return !raft->configured[raft->configurations - 1].implied;
}

void raft_found_cluster(struct raft *raft, struct raft_output *out)
{
    struct raft_configuration first = *raft_configuration(raft);
    append_configuration(raft, &first, 0, RAFT_FROM_CORE, out);
}

void raft_on_change_proposed(struct raft *raft, const struct raft_change_proposed *change,
                             struct raft_output *out)
{
    if (raft->role != RAFT_LEADER) {
        raft_add_result(out, RAFT_PROPOSAL_REFUSED)->refused.why = RAFT_NOT_LEADER;
        return;
    }
    bool under_way = index_less(raft->commit, raft->configured[raft->configurations - 1].index);
    if (under_way || !raft_leader_is_settled(raft) || !raft_configuration_room(raft) ||
        !is_legal_step(raft_configuration(raft), change->configuration)) {
        raft_add_result(out, RAFT_PROPOSAL_REFUSED)->refused.why = RAFT_NOT_ALLOWED;
        return;
    }
    append_configuration(raft, change->configuration, change->bytes, RAFT_FROM_PROPOSAL, out);
    struct raft_leader *leader = raft_as_leader(raft);
    for (uint32_t i = 0; i < leader->peers; i++)
        raft_send_appends(raft, &leader->peer[i], false, out);
    struct raft_result *result = raft_add_result(out, RAFT_ACCEPTED);
    result->accepted.first = raft->log.last;
    result->accepted.term = raft->term;
    result->accepted.count = 1;
}

void raft_leader_configuration_committed(struct raft *raft, struct raft_output *out)
{
    const struct raft_configured *newest = &raft->configured[raft->configurations - 1];
    if (index_less(raft->commit, newest->index))
        return;
    if (newest->configuration.outgoing > 0) {
        if (!raft_configuration_room(raft) || !raft_leader_is_settled(raft) || out->persist.wanted)
            return; /* the next commit comes by here again */
        struct raft_configuration next = newest->configuration;
        next.outgoing = 0;
        append_configuration(raft, &next, 0, RAFT_FROM_CORE, out);
        return;
    }
    if (!raft_is_voter(&newest->configuration, raft->options.self))
        raft_become_follower(raft, false, (raft_node_id){0}, out); /* thesis §4.2.2 */
}
