/*
 * A cluster of cores, and everything between them that can go wrong: a network that loses, doubles,
 * delays and reorders, disks that are slow and forget what was not flushed, clocks of their own
 * pace, crashes, compaction and snapshots. One seed, one story.
 *
 * Checked after each step: raft_check on the node, and over the whole run
 *   election safety       one leader a term                                     (paper, Figure 3)
 *   log matching          same index and term, same entry, same entry before it
 *   state machine safety  nobody applies another entry at an index that was applied
 *   leader completeness   a leader's log holds everything that was committed before its term
 *   durability            what was committed is on a majority's disks
 *   promises             what a message promises of its sender's storage is there
 *   votes                 nobody votes twice in a term, crashes or not
 *   reads                 a read's index is not below what was committed when it was asked
 */
#ifndef ROLLCALL_TESTS_CLUSTER_H
#define ROLLCALL_TESTS_CLUSTER_H

#include "raft/core/raft.h"

#include <stdio.h>

#define CLUSTER_NODES   7
#define CLUSTER_ENTRIES 8192

struct cluster_faults {
    uint32_t lose, twice; /* of 100 messages */
    uint32_t delay_ms;    /* each takes up to so long, and so they overtake each other */
    uint32_t disk_ms;     /* a flush takes up to so long */
    uint32_t crash, cut;  /* chances of 10,000 a turn: a crash; a one-way cut of a pair */
    uint32_t compact;     /* of 10,000 a turn */
    uint32_t transfer;    /* of 10,000 a turn */
    uint32_t change;      /* of 10,000 a turn: another configuration is proposed */
    uint32_t wipe;        /* of 10,000 a turn: the disk of a node that is down is lost */
};

/* The story of a seed: how many nodes, what goes wrong, for so many turns. `harder` multiplies how
 * often. */
#define CLUSTER_TURNS 6000u
uint32_t cluster_nodes_of(uint64_t seed);
struct cluster_faults cluster_faults_of(uint64_t seed, uint32_t harder);

struct cluster;

struct cluster *cluster_new(uint32_t nodes, uint64_t seed);
void cluster_free(struct cluster *cluster);

/* So many turns under these faults; each moves time by a millisecond at most. */
void cluster_run(struct cluster *cluster, uint32_t turns, const struct cluster_faults *faults);

/* Everybody up, nothing cut, no more faults: must have a leader and commit within so many ms. */
void cluster_must_settle(struct cluster *cluster, uint32_t ms);

/* Cuts all messages from one node to another, or heals. */
void cluster_cut(struct cluster *cluster, uint32_t from, uint32_t to, bool is_cut);
void cluster_crash(struct cluster *cluster, uint32_t node);
void cluster_start(struct cluster *cluster, uint32_t node);

/* The disk of a node that is down is empty, and the node knows it. */
void cluster_wipe(struct cluster *cluster, uint32_t node);

/* The node that leads in the highest term, 0 for none. */
uint32_t cluster_leader(const struct cluster *cluster);
struct raft_status cluster_status(const struct cluster *cluster, uint32_t node);
/* Tells each step, from now on. */
void cluster_trace(struct cluster *cluster, FILE *to);
/* Steps are added to `steps` too, from now on. */
void cluster_count_steps(struct cluster *cluster, uint64_t *steps);
uint64_t cluster_commits(const struct cluster *cluster);
uint64_t cluster_steps(const struct cluster *cluster);
uint64_t cluster_reads(const struct cluster *cluster);
uint64_t cluster_elections(const struct cluster *cluster);
uint64_t cluster_wipes(const struct cluster *cluster);
uint64_t cluster_admissions(const struct cluster *cluster);

#endif
