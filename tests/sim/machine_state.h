/* What machine*.c share: machine.c has time, events, jobs and the store; machine_life.c how a node
 * starts and ends, and what its driver tells. */
#ifndef ROLLCALL_TESTS_SIM_MACHINE_STATE_H
#define ROLLCALL_TESTS_SIM_MACHINE_STATE_H

#include "tests/sim/world.h"

/* As in main.c: how long a start waits for a Redis that the log cannot do without, or can. */
#define REDIS_WAIT_US       (10 * SECOND_US)
#define REDIS_WAIT_WHOLE_US (1 * SECOND_US)
#define REDIS_AGAIN_US      UINT64_C(200000)

/* An event of this life of the node. */
void machine_push(struct machine *machine, uint64_t at_us, enum sim_event_kind kind,
                  uint64_t number);
/* Its next turn is then at the latest. */
void machine_set_turn(struct machine *machine, uint64_t at_us);
void machine_drop_waiting(struct machine *machine);

struct runner machine_runner(void);
/* What the threads were at comes to nothing, but the loop hears of it. */
void machine_drain_jobs(struct machine *machine);
bool machine_jobs_left(const struct machine *machine);

/* The store is asked for the state. */
void machine_load(struct machine *machine);
/* While Redis is away at start: on without it, if the log or the others allow. */
void machine_consider_start(struct machine *machine);

#endif
