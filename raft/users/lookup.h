/*
 * Lookup: a hash table from hashes to slots in [0, capacity), for an owner who keeps in these slots
 * what has that hash and compares what it finds.
 *
 * Linear hashing (W. Litwin, 1980) with chains: the table grows by one bucket whenever it has more
 * slots in use than buckets, by splitting the next bucket in turn, so that no call ever moves more
 * than one chain. Buckets and links are kept in segments of fixed size, which never move either.
 *
 *     round = 4, buckets = 6: buckets 0 and 1 are split, their other halves are 4 and 5
 *     0' 1' 2 3 | 4 5         hash & 7, and where that bucket is not yet, hash & 3
 *
 * About 12 bytes for a slot in use. Hashes must be keyed or otherwise not for a client to choose:
 * slots that share a hash share a chain.
 */
#ifndef ROLLCALL_USERS_LOOKUP_H
#define ROLLCALL_USERS_LOOKUP_H

#include "raft/base/attr.h"

#define LOOKUP_CAPACITY_MAX (UINT32_C(1) << 30)
/* Not a slot. */
#define LOOKUP_NONE UINT32_MAX

struct lookup_link;

struct lookup {
    uint32_t capacity;
    uint32_t count;             /* slots in use */
    uint32_t buckets;           /* in [round, 2 * round) */
    uint32_t round;             /* a power of two: how many buckets there were when it began */
    uint32_t **heads;           /* segments: the first slot of each bucket */
    struct lookup_link **links; /* segments: of each slot, its hash and the next in its bucket */
};

void lookup_init(struct lookup *lookup, uint32_t capacity);
void lookup_done(struct lookup *lookup);

/* Puts a slot, which must not be in use, under its hash. */
void lookup_add(struct lookup *lookup, uint32_t hash, uint32_t slot);
/* Takes out a slot, which must be there under this hash. */
void lookup_remove(struct lookup *lookup, uint32_t hash, uint32_t slot);

/* The slots with this hash, one after the other in no order, then LOOKUP_NONE. */
uint32_t lookup_first(const struct lookup *lookup, uint32_t hash);
uint32_t lookup_next(const struct lookup *lookup, uint32_t slot);

/* Asserts that every slot in use is once in the bucket of its hash. Costs a walk. */
void lookup_check(const struct lookup *lookup);

#endif
