/*
 * Index: which users have a hash (of a name, of an email), in a persistent tree (tree.h).
 *
 * A page of the tree is a bucket: entries ascending by hash, each with the one id that has it or
 * with the set of them, itself a tree of bitmaps by id. So a name that a million users share costs
 * a change what any other does, and ids come out ascending. Hashes are not compared with anything
 * but each other: whoever asks looks whether the user really has what was hashed.
 *
 * Derived from the users, and in no snapshot. About 20 bytes for a hash. Hashes must be keyed or
 * otherwise not for a client to choose: a bucket of very many makes changes slow.
 */
#ifndef ROLLCALL_USERS_INDEX_H
#define ROLLCALL_USERS_INDEX_H

#include "raft/users/tree.h"

/* Buckets: two to the power of this, by the upper bits of the hash. */
#define INDEX_BUCKET_BITS 14u

void index_init(struct tree *index);

/* Puts an id, which is not 0 and must not be there, under a hash; takes out one which must be. */
void index_add(struct tree *index, uint64_t hash, uint64_t id);
void index_remove(struct tree *index, uint64_t hash, uint64_t id);

/* The smallest id above `after`, which is no more than USER_ID_MAX, under this hash; 0 for none. */
uint64_t index_next(const struct tree *index, uint64_t hash, uint64_t after);

/* Asserts that it is sound, at most `versions` of it being held; counts the ids in it. */
uint64_t index_check(const struct tree *index, uint32_t versions);

#endif
