/*
 * What the tests of raft/core share: a node with a pretended storage, stepped event by event and
 * checked after each; and a check for the inside of long loops (Criterion's own assertions report
 * each success to another process).
 */
#ifndef ROLLCALL_TESTS_CORE_SUPPORT_H
#define ROLLCALL_TESTS_CORE_SUPPORT_H

#include "raft/core/raft.h"
#include "raft/core/state.h"

#include <signal.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define must(condition)                                            \
    do {                                                           \
        if (!(condition))                                          \
            cr_fatal("%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)

/* SplitMix64 (G. Steele, D. Lea, C. Flood, 2014). */
struct chance {
    uint64_t state;
};

static inline uint64_t chance_u64(struct chance *chance)
{
    uint64_t z = chance->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In [0, n). */
static inline uint64_t chance_below(struct chance *chance, uint64_t n)
{
    return chance_u64(chance) % n;
}

/* A node, the time, and the output of its last step. */
struct node {
    struct raft *raft;
    uint64_t now_ms;
    struct raft_output out;
};

#define ELECTION_MS 100u

static inline struct raft_saved saved_nothing(void)
{
    return (struct raft_saved){.configuration = {.voters = 1, .voter = {{1}}}};
}

/* A node made out of `saved` and `entries` terms of a log; freed with node_free. */
struct node node_start(const struct raft_saved *saved, const uint64_t *entry_term, size_t entries);
struct node node_fresh(void);
void node_free(struct node *node);

/* Steps, and asserts every invariant. */
void node_step(struct node *node, struct raft_event event);
void node_tick(struct node *node);
void node_propose(struct node *node, uint32_t count, uint64_t bytes);
void node_read(struct node *node, uint64_t token);
void node_persisted(struct node *node, struct raft_mark mark);
void node_compacted(struct node *node, uint64_t index);

/* Everything up to the last persist is durable. */
void node_all_durable(struct node *node);

/* A fresh node that leads term 1, its no-op committed. */
struct node node_leader(void);

/* The verdict of the last step, which must be the only one. */
const struct raft_verdict *node_verdict(const struct node *node);

#endif
