/*
 * Jobs that wait for the disk, run off the loop. What stands behind it is a thread (main.c), or in
 * tests something that chooses when they end.
 *
 * Jobs of one lane run one after another, in the order of submission; `done` is called on the loop.
 */
#ifndef ROLLCALL_WAL_RUNNER_H
#define ROLLCALL_WAL_RUNNER_H

#include "raft/base/attr.h"

enum runner_lane {
    RUNNER_LOG,          /* appends and hard state: what acknowledgements wait for */
    RUNNER_HOUSEKEEPING, /* preparing and removing segments */
};
#define RUNNER_LANES 2u

struct job {
    void (*run)(struct job *job);  /* off the loop: touches only what the job owns */
    void (*done)(struct job *job); /* on the loop; the job may be submitted again from here */
    struct job *next;              /* the runner's */
};

struct runner {
    void (*submit)(struct runner *runner, enum runner_lane lane, struct job *job);
};

#endif
