/*
 * Index: which users have a hash (of a name, of an email): the pairs (hash, id) in ascending order,
 * in a persistent B+tree. The pairs stand in leaves; nodes above say where the next child begins:
 *
 *                      [ · | (40, 7) ]                    The pairs of a child are not below its
 *                        │       │                        own pair up here, and below the next's;
 *            ┌───────────┘       └─────┐                  the first child's says nothing, for what
 *     [ (12, 1)  (12, 9) ]   [ (40, 7)  (41, 2) ]         is below all the others is there.
 *
 * A hash that a million users share is a million neighbours, and costs a change what any other
 * does; ids come out ascending. Hashes are not compared with anything but each other: whoever asks
 * looks whether the user really has what was hashed.
 *
 * As in tree.h, a part (leaf or node) counts the places that point to it and is edited in place
 * only when it and all above it have one; any other is copied first, with the path to it. Further
 * invariants: all leaves are equally deep, no part is empty, a root that is no leaf has two
 * children or more, and two neighbours below one node together have more than half of what one can
 * have, or they would have been made one: whatever was taken out, of any two neighbours one is more
 * than a quarter full.
 *
 * Derived from the users, and in no snapshot. A part takes memory for what it has, by steps of 8:
 * 17 bytes a pair at a million pairs (20 of resident memory), whether each has a hash of its own or
 * twenty share one. A change copies nothing while no other version is held; else 2 KB or less of
 * each part on its path that this one still shares.
 */
#ifndef ROLLCALL_USERS_INDEX_H
#define ROLLCALL_USERS_INDEX_H

#include "raft/base/attr.h"

/* At most: pairs of a leaf, children of a node. */
#define INDEX_LEAF_MAX 128u
#define INDEX_NODE_MAX 32u

struct index_part;

/* One version. An empty one has no root. */
struct index {
    struct index_part *root;
};

void index_init(struct index *index);

/* This version, held once more: unchanged by edits of `index`, until index_drop. */
struct index index_hold(const struct index *index);

/* Lets the version go; what nobody else holds is freed. `index` is then empty. */
void index_drop(struct index *index);

/* Puts an id, which is not 0 and must not be there, under a hash; takes out one which must be. */
void index_add(struct index *index, uint64_t hash, uint64_t id);
void index_remove(struct index *index, uint64_t hash, uint64_t id);

/* The smallest id above `after` under this hash; 0 for none. */
uint64_t index_find(const struct index *index, uint64_t hash, uint64_t after);

/* Asserts the invariants of an index of which at most `versions` are held; counts its pairs. */
uint64_t index_check(const struct index *index, uint32_t versions);

#endif
