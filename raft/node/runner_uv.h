/* The runner behind runner.h that is one: libuv's threads, one job of a lane at a time. */
#ifndef ROLLCALL_NODE_RUNNER_UV_H
#define ROLLCALL_NODE_RUNNER_UV_H

#include "raft/node/runner.h"

#include <uv.h>

struct runner_uv;

struct runner_uv_lane {
    struct runner_uv *runner;
    uv_work_t work;
    struct job *running; /* NULL: idle */
    struct job *first, *last;
};

struct runner_uv {
    struct runner runner;
    uv_loop_t *loop;
    struct runner_uv_lane lane[RUNNER_LANES];
};

void runner_uv_init(struct runner_uv *runner, uv_loop_t *loop);
bool runner_uv_busy(const struct runner_uv *runner);

#endif
