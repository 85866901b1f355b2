#include "raft/users/lookup.h"

#include "tests/users/support.h"

#define CAPACITY 20000u

static unsigned slots_with(const struct lookup *lookup, uint32_t hash, uint32_t slot,
                           bool *ret_found)
{
    unsigned count = 0;
    *ret_found = false;
    for (uint32_t at = lookup_first(lookup, hash); at != LOOKUP_NONE;
         at = lookup_next(lookup, at)) {
        *ret_found |= at == slot;
        count++;
    }
    return count;
}

Test(lookup, finds_a_slot_by_its_hash_until_it_is_removed)
{
    struct lookup lookup;
    bool found;
    lookup_init(&lookup, 64);
    cr_assert(eq(u32, lookup_first(&lookup, 7), LOOKUP_NONE));
    lookup_add(&lookup, 7, 3);
    cr_assert(eq(u32, lookup_first(&lookup, 7), 3));
    cr_assert(eq(u32, lookup_next(&lookup, 3), LOOKUP_NONE));
    cr_assert(eq(u32, lookup_first(&lookup, 7 + 64), LOOKUP_NONE), "another hash, the same bucket");
    lookup_add(&lookup, 7, 63);
    cr_assert(eq(uint, slots_with(&lookup, 7, 3, &found), 2));
    cr_assert(found);
    lookup_remove(&lookup, 7, 3);
    cr_assert(eq(u32, lookup_first(&lookup, 7), 63));
    lookup_check(&lookup);
    lookup_done(&lookup);
}

Test(lookup, holds_as_many_slots_as_it_has)
{
    static const uint32_t capacities[] = {1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 10000};
    for (size_t i = 0; i < ARRAY_LEN(capacities); i++) {
        struct lookup lookup;
        lookup_init(&lookup, capacities[i]);
        for (uint32_t slot = 0; slot < capacities[i]; slot++)
            lookup_add(&lookup, slot * 2654435761u, slot);
        lookup_check(&lookup);
        for (uint32_t slot = 0; slot < capacities[i]; slot++) {
            must(lookup_first(&lookup, slot * 2654435761u) == slot);
            lookup_remove(&lookup, slot * 2654435761u, slot);
        }
        lookup_check(&lookup);
        cr_assert(zero(u32, lookup.count));
        lookup_done(&lookup);
    }
}

Test(lookup, grows_a_bucket_at_a_time)
{
    struct lookup lookup;
    lookup_init(&lookup, CAPACITY);
    uint32_t buckets = lookup.buckets;
    for (uint32_t slot = 0; slot < CAPACITY; slot++) {
        lookup_add(&lookup, slot * 2654435761u, slot);
        must(lookup.buckets - buckets <= 1);
        must(lookup.buckets >= lookup.count);
        buckets = lookup.buckets;
    }
    lookup_done(&lookup);
}

/* Hashes below `hashes`, so that some are had by many slots. */
static void random_play(uint64_t seed, uint32_t capacity, uint32_t hashes)
{
    static uint32_t hash[CAPACITY];
    static bool used[CAPACITY];
    static uint32_t with[CAPACITY]; /* how many slots have the hash, for few hashes */
    struct chance chance = {seed};
    struct lookup lookup;
    lookup_init(&lookup, capacity);
    memset(used, 0, sizeof(used));
    memset(with, 0, sizeof(with));
    for (uint32_t step = 0; step < 8 * capacity; step++) {
        uint32_t slot = (uint32_t)chance_below(&chance, capacity);
        bool found;
        if (used[slot]) {
            unsigned count = slots_with(&lookup, hash[slot], slot, &found);
            must(found && (hashes > CAPACITY || count == with[hash[slot]]));
        }
        if (used[slot] && chance_below(&chance, 3) == 0) {
            lookup_remove(&lookup, hash[slot], slot);
            if (hashes <= CAPACITY)
                with[hash[slot]]--;
            slots_with(&lookup, hash[slot], slot, &found);
            must(!found);
            used[slot] = false;
        } else if (!used[slot]) {
            hash[slot] = (uint32_t)chance_below(&chance, hashes);
            lookup_add(&lookup, hash[slot], slot);
            if (hashes <= CAPACITY)
                with[hash[slot]]++;
            used[slot] = true;
        }
        if (step % capacity == 0)
            lookup_check(&lookup);
    }
    lookup_check(&lookup);
    lookup_done(&lookup);
}

Test(lookup, finds_exactly_what_was_added_in_random_play)
{
    random_play(1, CAPACITY, UINT32_MAX);
    random_play(2, CAPACITY, CAPACITY / 4);
    random_play(3, 300, 10);
    random_play(4, 300, 1);
}

Test(lookup, a_slot_under_another_hash_cannot_be_removed, .signal = SIGABRT)
{
    struct lookup lookup;
    lookup_init(&lookup, 64);
    lookup_add(&lookup, 1, 1);
    lookup_remove(&lookup, 2, 1);
}
