/*
 * The numbers of consensus, each a type of its own so that swapping two does not compile, and the
 * limits of the protocol.
 */
#ifndef ROLLCALL_CORE_TYPES_H
#define ROLLCALL_CORE_TYPES_H

#include "raft/base/attr.h"

/* Terms count elections from 1; 0 is before the first (Raft paper, §5.1). */
typedef struct raft_term {
    uint64_t n;
} raft_term;

/* Log entries count from 1; 0 is the place before the first (§5.3). */
typedef struct raft_index {
    uint64_t n;
} raft_index;

/* Nodes are numbered by the operator, from 1. */
typedef struct raft_node_id {
    uint64_t n;
} raft_node_id;

static inline bool term_equal(raft_term a, raft_term b)
{
    return a.n == b.n;
}

static inline bool term_less(raft_term a, raft_term b)
{
    return a.n < b.n;
}

static inline bool index_equal(raft_index a, raft_index b)
{
    return a.n == b.n;
}

static inline bool index_less(raft_index a, raft_index b)
{
    return a.n < b.n;
}

static inline raft_index index_max(raft_index a, raft_index b)
{
    return a.n < b.n ? b : a;
}

static inline raft_index index_min(raft_index a, raft_index b)
{
    return a.n < b.n ? a : b;
}

static inline raft_index index_next(raft_index a)
{
    return (raft_index){a.n + 1};
}

static inline bool node_id_equal(raft_node_id a, raft_node_id b)
{
    return a.n == b.n;
}

/* --- limits ----------------------------------------------------------------------------------- */

/* Members of a configuration: voters and learners together. */
#define RAFT_MEMBERS_MAX 7u

/* Stretches of one term that a log may hold: over it nobody campaigns until a snapshot shortens it.
 */
#define RAFT_TERM_RUNS_MAX 4096u

/* Rounds of ReadIndex that may wait; the driver puts all reads of a turn into one. */
#define RAFT_READ_ROUNDS_MAX 64u

/* Payload of one entry. */
#define RAFT_ENTRY_BYTES_MAX (64u << 10)

/* Bytes of entries that were proposed and are not committed: over it proposals are refused. */
#define RAFT_UNCOMMITTED_BYTES_MAX (UINT64_C(8) << 20)
_Static_assert(RAFT_UNCOMMITTED_BYTES_MAX >= 16 * RAFT_ENTRY_BYTES_MAX, "room to work");

/* Batches of proposals whose bytes are counted apart until they commit. */
#define RAFT_BATCHES_MAX 64u

/* Who votes. Effective when appended (thesis §4.1), carried by snapshots. */
struct raft_configuration {
    uint32_t voters;
    raft_node_id voter[RAFT_MEMBERS_MAX];
};

#endif
