#include "tests/crash/set.h"

#include <stdlib.h>
#include <string.h>

static bool put(struct set *set, uint64_t hash)
{
    uint64_t i = hash & (set->slots - 1);
    while (set->slot[i] != 0 && set->slot[i] != hash)
        i = (i + 1) & (set->slots - 1);
    bool fresh = set->slot[i] == 0;
    set->slot[i] = hash;
    return fresh;
}

static void grow(struct set *set)
{
    struct set larger = {.slots = set->slots == 0 ? 1024 : 2 * set->slots};
    larger.slot = calloc(larger.slots, sizeof(*larger.slot));
    assert(larger.slot != NULL);
    for (uint64_t i = 0; i < set->slots; i++) {
        if (set->slot[i] != 0)
            put(&larger, set->slot[i]);
    }
    larger.count = set->count;
    free(set->slot);
    *set = larger;
}

bool set_add(struct set *set, uint64_t hash)
{
    if (2 * set->count >= set->slots)
        grow(set);
    bool fresh = put(set, hash != 0 ? hash : 1);
    set->count += fresh;
    return fresh;
}

void set_empty(struct set *set)
{
    if (set->slots > 0)
        memset(set->slot, 0, set->slots * sizeof(*set->slot));
    set->count = 0;
}

void set_done(struct set *set)
{
    free(set->slot);
    *set = (struct set){.slot = NULL};
}
