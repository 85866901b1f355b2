/* Majorities (§5.2, §5.3), of both halves while a configuration is joint (thesis §4.3). */
#ifndef ROLLCALL_CORE_QUORUM_H
#define ROLLCALL_CORE_QUORUM_H

#include "raft/core/types.h"

/* The smallest number of voters that is more than half of `voters`. */
uint32_t quorum_size(uint32_t voters);

/* The highest value that a majority has reached, given what each voter has; 1 ≤ voters. */
uint64_t quorum_value(const uint64_t *values, uint32_t voters);

/* The highest value that a majority has reached, where `value_of` says what a node has. */
uint64_t quorum_reached(const struct raft_configuration *configuration,
                        uint64_t (*value_of)(const void *context, raft_node_id id),
                        const void *context);

#endif
