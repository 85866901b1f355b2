/*
 * The runner behind runner.h that is one: a thread for each lane, and an eventfd by which they call
 * the loop. (Not libuv's own pool: its loop spins while a thread is about to wake it, which with
 * few processors is while that thread waits for the very processor; measured on two: an eighth of a
 * leader's time.)
 */
#ifndef ROLLCALL_NODE_RUNNER_THREADS_H
#define ROLLCALL_NODE_RUNNER_THREADS_H

#include "raft/wal/runner.h"

#include <pthread.h>
#include <uv.h>

struct runner_queue {
    struct job *first, *last;
};

struct runner_lane_thread {
    struct runner_threads *runner;
    pthread_t thread;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t wanted;
    struct runner_queue waiting, finished;
    bool stop;
};

struct runner_threads {
    struct runner runner;
    uint32_t open; /* jobs submitted and not done: the loop's own count */
    int event;
    uv_poll_t poll;
    struct runner_lane_thread lane[RUNNER_LANES];
};

NODISCARD int runner_threads_init(struct runner_threads *runner, uv_loop_t *loop);
bool runner_threads_busy(const struct runner_threads *runner);
/* Nothing is called back any more; then, when the loop has ended and nothing is busy, join. */
void runner_threads_close(struct runner_threads *runner);
void runner_threads_join(struct runner_threads *runner);

#endif
