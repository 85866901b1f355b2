/* struct cluster, for cluster*.c only. */
#ifndef ROLLCALL_TESTS_CLUSTER_STATE_H
#define ROLLCALL_TESTS_CLUSTER_STATE_H

#include "tests/core/cluster.h"

#include <stdio.h>
#include <stdlib.h>

#define MESSAGES 4096
#define FLUSHES  512
#define READS    256

#define REQUIRE(what)                                                                            \
    do {                                                                                         \
        if (!(what)) {                                                                           \
            fprintf(stderr, "seed %llu, ms %llu: broken: %s (%s:%d)\n",                          \
                    (unsigned long long)c->seed, (unsigned long long)c->now_ms, #what, __FILE__, \
                    __LINE__);                                                                   \
            abort();                                                                             \
        }                                                                                        \
    } while (0)

/* An entry as a disk has it. `value` says which proposal it is. */
struct cell {
    uint64_t term;
    uint64_t value;
    bool is_configuration;
    struct raft_configuration configuration;
};

struct disk_state {
    uint64_t term;
    bool voted;
    uint64_t vote;
    uint64_t start, start_term, last;
    struct raft_configuration start_configuration;
    struct cell cell[CLUSTER_ENTRIES];
};

struct flush {
    uint64_t due_ms;
    struct raft_persist persist;
    uint64_t values[RAFT_APPEND_ENTRIES_MAX];
    struct raft_configuration configuration;
    bool is_configuration;
};

struct node {
    uint32_t id;
    bool up;
    void *memory;
    struct raft *raft;
    uint64_t deadline_ms;
    struct disk_state *durable; /* what a crash leaves */
    struct disk_state *now;     /* with what is being flushed */
    uint32_t flushes;
    struct flush flush[FLUSHES];
    uint64_t applied;
    uint64_t snapshot;
    uint64_t snapshot_term;
    struct raft_configuration snapshot_configuration;
    uint64_t vote_in_term[4096]; /* by term: every vote it ever had on disk */
};

struct flying {
    uint64_t due_ms;
    struct raft_message message;
    uint64_t values[RAFT_APPEND_ENTRIES_MAX];
    struct raft_configuration configuration;
    bool is_configuration;
    bool is_snapshot; /* not a message of the core's: the driver's transfer */
    uint64_t index, term;
};

struct asked {
    uint64_t token;
    uint32_t node;
    uint64_t floor; /* committed when it was asked */
};

struct cluster {
    uint64_t seed, random, now_ms;
    uint32_t nodes;
    struct node node[CLUSTER_NODES + 1]; /* by id */
    bool cut[CLUSTER_NODES + 1][CLUSTER_NODES + 1];
    uint32_t messages;
    struct flying *flying;
    struct cluster_faults faults;
    uint64_t values; /* proposals made */
    uint64_t committed;
    struct cell history[CLUSTER_ENTRIES]; /* what was applied first at each index */
    uint64_t leader_of[4096];             /* by term */
    uint64_t steps, reads_done, elections;
    uint64_t tokens;
    uint32_t asked;
    struct asked ask[READS];
};

/* --- cluster_nodes.c: the nodes, their disks, what they say to one another, and the rules -------
 */

uint64_t cluster_random(struct cluster *c);
uint32_t cluster_below(struct cluster *c, uint32_t limit);
bool cluster_chance(struct cluster *c, uint32_t of_10000);

/* What `values` a proposal holds, or which configuration: NULL where there is none. */
void cluster_step(struct cluster *c, struct node *n, const struct raft_event *event,
                  const uint64_t *values, const struct raft_configuration *configuration);
void cluster_tick(struct cluster *c, struct node *n);
void cluster_flush_due(struct cluster *c, struct node *n);
void cluster_deliver_due(struct cluster *c);
/* The log begins after the node's snapshot. */
void cluster_begin_at_snapshot(struct disk_state *disk, const struct node *n);

#endif
