/* struct cluster, for cluster*.c only. */
#ifndef ROLLCALL_TESTS_CLUSTER_STATE_H
#define ROLLCALL_TESTS_CLUSTER_STATE_H

#include "tests/core/cluster.h"

#include <stdio.h>
#include <stdlib.h>

#define MESSAGES 4096
#define FLUSHES  512
#define READS    256
#define STEPS_MS 20000 /* more steps in a millisecond: messages chase one another for ever */

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
    bool recovering;
    struct raft_floor floor;
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

/* What the driver of a recovering node knows since it started. */
struct admission {
    uint64_t began; /* the round of asking, at this step */
    uint32_t round;
    bool heard[CLUSTER_NODES + 1];
    uint64_t term;            /* the highest that was heard */
    uint64_t last, last_term; /* the furthest end of a log */
    uint64_t hello_ms;
    bool counted;
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
    struct admission admission;
    uint64_t admitted_term; /* the last in which it was: it counts as having voted there */
};

struct flying {
    uint64_t due_ms;
    struct raft_message message;
    uint64_t values[RAFT_APPEND_ENTRIES_MAX];
    struct raft_configuration configuration;
    bool is_configuration;
    bool is_hello;    /* a driver's word on its term, and where its log ends: index, term */
    uint64_t sent;    /* at this step */
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
    uint64_t steps, reads_done, elections, wipes, admissions;
    uint64_t *steps_too;   /* counted there too; NULL for nowhere */
    FILE *trace;           /* NULL: told to nobody */
    uint64_t steps_before; /* this millisecond's */
    uint64_t tokens;
    uint32_t asked;
    struct asked ask[READS];
};

/* --- cluster_nodes.c: the nodes, their disks, what they say to one another, and the rules ----- */

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

/* Sends the sender's term and where its log ends, as its driver does when it is asked. */
void cluster_say_hello(struct cluster *c, struct node *from, const struct node *to);

/* --- cluster_wipe.c --------------------------------------------------------------------------- */

bool cluster_is_recovering(const struct node *n);
/* Wipes a node that is down while a majority remembers. */
void cluster_wipe_one(struct cluster *c, uint32_t id);
void cluster_started_recovering(struct cluster *c, struct node *n);
void cluster_heard(struct cluster *c, struct node *n, const struct flying *hello);
void cluster_admit_turn(struct cluster *c, struct node *n);

/* --- cluster_trace.c -------------------------------------------------------------------------- */

void cluster_tell(const struct cluster *c, const struct node *n, const struct raft_event *event,
                  const struct raft_output *out);

#endif
