/*
 * What goes wrong, drawn anew for each seed: which kinds of faults, how often, how bad (a swarm:
 * A. Groce et al., "Swarm testing", 2012). Never more than the protocol promises to survive:
 *
 *   disks and stores that lose or spoil what they said was durable   of a minority at a time (the
 *       atlas); such a node counts until it runs again, has caught up and saved a new snapshot
 *   the first start                                                 has no faults: it needs all
 * nodes crashes, pauses, partitions, slow and failing disks, clocks      of all at once, if it so
 * happens
 *
 * At the end: a majority is chosen that is not damaged, started and connected; all other faults
 * stay as they are, for ever. Then there must be a leader, service at each of these nodes, and one
 * state, within bounds; and again after all of them lost power at once.
 */
#ifndef ROLLCALL_TESTS_SIM_FAULTS_H
#define ROLLCALL_TESTS_SIM_FAULTS_H

#include "tests/sim/queue.h"

enum fault_kind {
    FAULT_POWER,      /* a node loses power, in the midst of its next writes */
    FAULT_KILL,       /* its process dies */
    FAULT_STOP,       /* its process is asked to end */
    FAULT_PAUSE,      /* its process stands still for a while */
    FAULT_CUT,        /* the network is cut in some way for a while */
    FAULT_BREAK,      /* a connection ends and is made again */
    FAULT_DISK_SLOW,  /* syncs take long, or not any more */
    FAULT_DISK_STALL, /* no sync ends for a while */
    FAULT_DISK_FAIL,  /* a write or sync fails */
    FAULT_DISK_FULL,  /* for a while */
    FAULT_ROT,        /* a sector that was durable is not what it was */
    FAULT_MISDIRECT,  /* a write goes somewhere else */
    FAULT_CLOCK,      /* a clock drifts or jumps */
    FAULT_STORE_DOWN, /* Redis is away for a while */
    FAULT_STORE_SLOW,
    FAULT_STORE_CRASH,  /* it comes back with what its file holds */
    FAULT_STORE_EMPTY,  /* somebody emptied it */
    FAULT_STORE_BACK,   /* it holds what it held some time ago */
    FAULT_STORE_REFUSE, /* it answers errors for a while */
    FAULT_STORE_TEAR,   /* it loses power while it writes the next transaction */
    FAULT_WIPE,         /* a node's disk is new */
    FAULT_SNAPSHOT,     /* somebody asks for a snapshot */
};
#define FAULT_KINDS 22u

struct faults {
    bool over;     /* nothing new goes wrong, and */
    uint32_t core; /*   these nodes, as bits, are started again whatever they died of */
    uint32_t weight[FAULT_KINDS];
    uint32_t weights;
    uint64_t every_us; /* between two, on average */
    uint64_t down_us;  /* how long a node is down, on average */
    uint64_t long_us;  /* how long a cut, pause or stall lasts, on average */
    bool with_wipes;   /* the driver knows what to do with a log that was lost */
    bool forgetful;    /* what a failed sync did not write, the kernel takes for written */
    bool rotten_block; /* one block of one hard state is spoilt */
};

/* Whether the driver knows what to do with a log that was lost. */
#define FAULTS_WITH_WIPES true
/* Whether it starts without trust in what a failed sync left in the page cache ("fsyncgate"). */
#define FAULTS_FORGETFUL true

struct world;

/* Draws settings and faults, and how big everything is, from the seed. */
struct world *faults_world(uint64_t seed, uint32_t nodes);
/* All of a run: start, faults, liveness. True when no rule was broken. */
bool faults_run(struct world *world);

void faults_event(struct world *world);
/* Looks who has again what it had lost. */
void faults_look(struct world *world);
/* A node is down and not on purpose: it will start again. */
void faults_restart_later(struct world *world, uint32_t node);

#endif
