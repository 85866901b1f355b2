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

/* A cluster, told from all others: 128 random bits, drawn once; zeros while it is not known. */
struct raft_cluster_id {
    uint64_t high, low;
};

static inline bool cluster_id_known(struct raft_cluster_id a)
{
    return (a.high | a.low) != 0;
}

static inline bool cluster_id_equal(struct raft_cluster_id a, struct raft_cluster_id b)
{
    return a.high == b.high && a.low == b.low;
}

/* Both are known, and they are two. */
static inline bool cluster_id_differ(struct raft_cluster_id a, struct raft_cluster_id b)
{
    return cluster_id_known(a) && cluster_id_known(b) && !cluster_id_equal(a, b);
}

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

/* Whether a log that ends with (a, a_term) is less up to date than one with (b, b_term) (§5.4.1).
 */
static inline bool log_end_less(raft_index a, raft_term a_term, raft_index b, raft_term b_term)
{
    return term_less(a_term, b_term) || (term_equal(a_term, b_term) && index_less(a, b));
}

/* The end of a log, by that order. */
struct raft_floor {
    bool known;
    raft_index index;
    raft_term term;
};

/* What a node must not forget (Figure 2), and what it knows to have forgotten: raft.h, RECOVERING.
 */
struct raft_hard_state {
    raft_term term;
    bool voted; /* in that term, for `vote` */
    raft_node_id vote;
    bool recovering;
    bool rolled_back; /* it is recovering because its storage was put back to an earlier copy */
    struct raft_floor floor;
};

/*
 * NOOP is the first entry of each leader (§8, §5.4.2); COMMAND carries the state machine's bytes;
 * CONFIGURATION says who votes from here on. Numbers are on disk and on the wire.
 */
enum raft_entry_kind { RAFT_NOOP = 1, RAFT_COMMAND = 2, RAFT_CONFIGURATION = 3 };

/* --- limits ----------------------------------------------------------------------------------- */

/*
 * Terms and indexes end here, so that nothing that is added to one wraps around, and a lie cannot
 * use up what there is. A node does not follow a message whose term is more than RAFT_TERM_LEAP
 * above its own: terms grow by one an election, and to get to the end by leaps takes a thousand
 * million messages. A node that has no term yet follows any.
 */
#define RAFT_TERM_MAX  (UINT64_C(1) << 62)
#define RAFT_INDEX_MAX (UINT64_C(1) << 62)
#define RAFT_TERM_LEAP (UINT64_C(1) << 32)

/* Voters of a configuration, and learners of it. */
#define RAFT_MEMBERS_MAX 7u

/* Different nodes in a configuration: voters, outgoing voters and learners together. */
#define RAFT_PEERS_MAX 16u

/* Stretches of one term that a log may hold: over it nobody campaigns until a snapshot shortens it.
 */
#define RAFT_TERM_RUNS_MAX 4096u

/* Configurations in the part of the log that is held; over it entries are turned away for a while.
 */
#define RAFT_CONFIGURATIONS_MAX 16u

/* Rounds of ReadIndex that may wait; the driver puts all reads of a turn into one. */
#define RAFT_READ_ROUNDS_MAX 64u

/* Payload of one entry. */
#define RAFT_ENTRY_BYTES_MAX (64u << 10)

/* One append: entries, their bytes, and the stretches of one term among them. */
#define RAFT_APPEND_ENTRIES_MAX 1024u
#define RAFT_APPEND_BYTES_MAX   (256u << 10)
#define RAFT_APPEND_RUNS_MAX    8u

/* Sent to one peer and not acknowledged: entries, and their bytes. */
#define RAFT_WINDOW_ENTRIES_MAX 8192u
#define RAFT_WINDOW_BYTES_MAX   (UINT64_C(4) << 20)

/* Appends to one peer in one step. */
#define RAFT_APPENDS_PER_STEP 4u

/* Bytes of entries that were proposed and are not committed: over it proposals are refused. */
#define RAFT_UNCOMMITTED_BYTES_MAX (UINT64_C(8) << 20)

/*
 * Sizes are remembered of so many newest entries; a power of two. Older ones count as so many bytes
 * each; a driver that finds an append of them too large sends fewer, which is as if one were lost.
 */
#define RAFT_SIZES_MAX          16384u
#define RAFT_SIZE_UNKNOWN_BYTES 1024u

_Static_assert(RAFT_UNCOMMITTED_BYTES_MAX >= 16 * RAFT_ENTRY_BYTES_MAX, "room to work");
_Static_assert(RAFT_APPEND_BYTES_MAX >= RAFT_ENTRY_BYTES_MAX, "any entry fits an append");
_Static_assert(RAFT_WINDOW_ENTRIES_MAX < RAFT_SIZES_MAX, "what is in a window has a size");
_Static_assert((RAFT_SIZES_MAX & (RAFT_SIZES_MAX - 1)) == 0, "a ring by index");

/*
 * Who votes (thesis §4). Effective when appended, carried by snapshots. Joint while there are
 * outgoing voters: then a majority of both is needed for everything. Learners are sent the log and
 * decide nothing.
 */
struct raft_configuration {
    uint32_t voters;
    raft_node_id voter[RAFT_MEMBERS_MAX];
    uint32_t outgoing;
    raft_node_id outgoing_voter[RAFT_MEMBERS_MAX];
    uint32_t learners;
    raft_node_id learner[RAFT_MEMBERS_MAX];
};

/* One that can be in effect: there are voters, and nobody is there twice. */
bool raft_configuration_valid(const struct raft_configuration *configuration);

#endif
