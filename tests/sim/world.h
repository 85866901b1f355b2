/*
 * One run of the simulator: nodes, network, clients, faults and rules around one queue of events in
 * virtual time. All that happens is an event of the queue, all that is left to chance comes from
 * one generator: the same seed and the same code give the same run, bit for bit. `hash` is of all
 * events, to prove it.
 */
#ifndef ROLLCALL_TESTS_SIM_WORLD_H
#define ROLLCALL_TESTS_SIM_WORLD_H

#include "tests/sim/clients.h"
#include "tests/sim/faults.h"
#include "tests/sim/folders.h"
#include "tests/sim/hostile.h"
#include "tests/sim/machine.h"
#include "tests/sim/net.h"
#include "tests/sim/queue.h"
#include "tests/sim/rollbacks.h"
#include "tests/sim/rules.h"
#include "tests/sim/story.h"

#define SECOND_US UINT64_C(1000000)

/* What a run amounts to. */
struct world_counts {
    uint64_t events;
    uint64_t steps; /* of drivers: a turn, a frame, a job, a reply of the store */
    uint64_t elections, crashes, starts, pauses, cuts, wipes, rolled_back, damages, snapshots,
        installs;
    uint64_t frames, frames_lost;
    uint64_t asked, written, refused, unknown, reads;
    uint64_t refused_to_start;
    uint64_t lies, lies_refused;
};

struct world {
    uint64_t seed;
    uint64_t random;
    uint64_t now_us;
    uint64_t hash;
    struct queue queue;
    uint32_t nodes;
    struct machine machine[SIM_NODES + 1]; /* by id, from 1 */
    struct net net;
    struct clients clients;
    struct rules rules;
    struct faults faults;
    struct rollbacks rollbacks;
    struct folders folders;
    struct hostile hostile;
    struct story story;
    struct world_counts counts;
    bool lies;        /* what options say of the members changes with each start */
    bool may_diverge; /* somebody spoilt a state in memory */
    bool broken;      /* a rule; the run is over */
    char why[512];
};

/* The one that runs. */
extern struct world *world_now;

struct world *world_new(uint64_t seed, uint32_t nodes);
void world_free(struct world *world);

/* The next event; false when there is none. Its time is at most `until_us`, else time is then. */
bool world_step(struct world *world, uint64_t until_us);
/* Until this time, or a broken rule. */
void world_run(struct world *world, uint64_t until_us);

void world_push(struct world *world, uint64_t at_us, struct sim_event event);

uint64_t world_random(struct world *world);
/* In [0, limit); 0 when that is 0. */
uint64_t world_below(struct world *world, uint64_t limit);
uint64_t world_between(struct world *world, uint64_t low, uint64_t high);
/* Of a million. */
bool world_chance(struct world *world, uint64_t of_million);

/* A rule is broken: the first is remembered, and the run ends with this event. After lies that
 * break any Raft none is (hostile.h). */
void world_break(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);

#define RULE(world, condition, ...)            \
    do {                                       \
        if (!(condition))                      \
            world_break((world), __VA_ARGS__); \
    } while (0)

/* TELL(world, node, "text with % and %", 1, 2) */
#define TELL(world, node, text, ...) \
    story_tell(&(world)->story, (world)->now_us, (node), (text), (const uint64_t[4]){__VA_ARGS__})

#endif
