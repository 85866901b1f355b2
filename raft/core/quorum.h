/* Majorities (§5.2, §5.3): what more than half of the voters hold. */
#ifndef ROLLCALL_CORE_QUORUM_H
#define ROLLCALL_CORE_QUORUM_H

#include "raft/core/types.h"

/* The smallest number of voters that is more than half of `voters`. */
uint32_t quorum_size(uint32_t voters);

/* The highest index that a majority has reached, given what each voter has; 1 ≤ voters. */
raft_index quorum_index(const raft_index *match, uint32_t voters);

#endif
