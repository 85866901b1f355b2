#include "raft/core/quorum.h"

#include "tests/core/support.h"

#include <criterion/theories.h>

/* The definition: the highest index that more than half of the voters have. */
static uint64_t naive(const uint64_t *match, uint32_t voters)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < voters; i++) {
        uint32_t have = 0;
        for (uint32_t j = 0; j < voters; j++)
            have += match[j] >= match[i];
        if (2 * have > voters && match[i] > best)
            best = match[i];
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
            uint64_t match[RAFT_MEMBERS_MAX];
            uint64_t rest = c;
            for (uint32_t i = 0; i < voters; i++, rest /= voters)
                match[i] = rest % voters * 3;
            must(quorum_value(match, voters) == naive(match, voters));
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
    const uint64_t match[3] = {a, b, c}, turned[3] = {c, a, b};
    must(quorum_value(match, 3) == naive(match, 3));
    must(quorum_value(turned, 3) == quorum_value(match, 3));
}

static uint64_t table_of(const void *context, raft_node_id id)
{
    return ((const uint64_t *)context)[id.n];
}

/* All pairs of sets among four nodes, with every combination of four values. */
Test(quorum, of_a_joint_configuration_is_reached_in_both_halves)
{
    for (uint32_t sets = 0; sets < 16 * 16; sets++) {
        struct raft_configuration c = {0};
        for (uint64_t id = 1; id <= 4; id++) {
            if ((sets >> (id - 1) & 1) != 0)
                c.voter[c.voters++].n = id;
            if ((sets >> (id + 3) & 1) != 0)
                c.outgoing_voter[c.outgoing++].n = id;
        }
        if (c.voters == 0)
            continue;
        for (uint32_t combination = 0; combination < 256; combination++) {
            uint64_t value[5] = {0}, in[4], out[4];
            for (uint32_t id = 1; id <= 4; id++)
                value[id] = combination >> 2 * (id - 1) & 3;
            for (uint32_t i = 0; i < c.voters; i++)
                in[i] = value[c.voter[i].n];
            for (uint32_t i = 0; i < c.outgoing; i++)
                out[i] = value[c.outgoing_voter[i].n];
            uint64_t expected = naive(in, c.voters);
            if (c.outgoing > 0 && naive(out, c.outgoing) < expected)
                expected = naive(out, c.outgoing);
            must(quorum_reached(&c, table_of, value) == expected);
        }
    }
}
