#include "raft/core/quorum.h"

#include "tests/core/support.h"

#include <criterion/theories.h>

/* The definition: the highest index that more than half of the voters have. */
static uint64_t naive(const raft_index *match, uint32_t voters)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < voters; i++) {
        uint32_t have = 0;
        for (uint32_t j = 0; j < voters; j++)
            have += match[j].n >= match[i].n;
        if (2 * have > voters && match[i].n > best)
            best = match[i].n;
    }
    return best;
}

Test(quorum, is_more_than_half)
{
    for (uint32_t voters = 1; voters <= RAFT_MEMBERS_MAX; voters++) {
        must(2 * quorum_size(voters) > voters);
        must(2 * (quorum_size(voters) - 1) <= voters);
    }
}

/* All of 1 … 7 voters with every combination of as many values as voters: 7^7 for the last. */
Test(quorum, reaches_what_the_definition_says_for_every_combination)
{
    for (uint32_t voters = 1; voters <= RAFT_MEMBERS_MAX; voters++) {
        uint64_t combinations = 1;
        for (uint32_t i = 0; i < voters; i++)
            combinations *= voters;
        for (uint64_t c = 0; c < combinations; c++) {
            raft_index match[RAFT_MEMBERS_MAX];
            uint64_t rest = c;
            for (uint32_t i = 0; i < voters; i++, rest /= voters)
                match[i].n = rest % voters * 3;
            must(quorum_index(match, voters).n == naive(match, voters));
        }
    }
}

TheoryDataPoints(quorum, does_not_depend_on_who_is_who) = {
    DataPoints(uint64_t, 0, 1, 2, UINT64_MAX - 1, UINT64_MAX),
    DataPoints(uint64_t, 0, 1, 2, UINT64_MAX - 1, UINT64_MAX),
    DataPoints(uint64_t, 0, 1, 2, UINT64_MAX - 1, UINT64_MAX),
};

Theory((uint64_t a, uint64_t b, uint64_t c), quorum, does_not_depend_on_who_is_who)
{
    raft_index match[3] = {{a}, {b}, {c}}, turned[3] = {{c}, {a}, {b}};
    must(quorum_index(match, 3).n == naive(match, 3));
    must(quorum_index(turned, 3).n == quorum_index(match, 3).n);
}
