#include "raft/core/quorum.h"

uint32_t quorum_size(uint32_t voters)
{
    return voters / 2 + 1;
}

raft_index quorum_index(const raft_index *match, uint32_t voters)
{
    assert(voters > 0 && voters <= RAFT_MEMBERS_MAX);
    raft_index sorted[RAFT_MEMBERS_MAX]; /* descending */
    for (uint32_t i = 0; i < voters; i++) {
        uint32_t at = i;
        for (; at > 0 && index_less(sorted[at - 1], match[i]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = match[i];
    }
    return sorted[quorum_size(voters) - 1];
}
