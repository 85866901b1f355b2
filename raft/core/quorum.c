#include "raft/core/quorum.h"

uint32_t quorum_size(uint32_t voters)
{
    return voters / 2 + 1;
}

uint64_t quorum_value(const uint64_t *values, uint32_t voters)
{
    assert(voters > 0 && voters <= RAFT_MEMBERS_MAX);
    uint64_t sorted[RAFT_MEMBERS_MAX]; /* descending */
    for (uint32_t i = 0; i < voters; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] < values[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return sorted[quorum_size(voters) - 1];
}

static uint64_t of_half(const raft_node_id *voter, uint32_t voters,
                        uint64_t (*value_of)(const void *context, raft_node_id id),
                        const void *context)
{
    uint64_t values[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < voters; i++)
        values[i] = value_of(context, voter[i]);
    return quorum_value(values, voters);
}

uint64_t quorum_reached(const struct raft_configuration *configuration,
                        uint64_t (*value_of)(const void *context, raft_node_id id),
                        const void *context)
{
    uint64_t reached = of_half(configuration->voter, configuration->voters, value_of, context);
    if (configuration->outgoing == 0)
        return reached;
    uint64_t before =
        of_half(configuration->outgoing_voter, configuration->outgoing, value_of, context);
    return before < reached ? before : reached;
}
