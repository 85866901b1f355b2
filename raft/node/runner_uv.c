#include "raft/node/runner_uv.h"

static void start_next(struct runner_uv_lane *lane);

static void on_work(uv_work_t *work)
{
    struct runner_uv_lane *lane = CONTAINER_OF(work, struct runner_uv_lane, work);
    lane->running->run(lane->running);
}

static void on_after_work(uv_work_t *work, int status)
{
    assert(status == 0); /* jobs are never cancelled */
    struct runner_uv_lane *lane = CONTAINER_OF(work, struct runner_uv_lane, work);
    struct job *job = lane->running;
    lane->running = NULL;
    start_next(lane);
    job->done(job);
}

static void start_next(struct runner_uv_lane *lane)
{
    if (lane->running != NULL || lane->first == NULL)
        return;
    lane->running = lane->first;
    lane->first = lane->first->next;
    if (uv_queue_work(lane->runner->loop, &lane->work, on_work, on_after_work) != 0)
        UNREACHABLE(); /* fails only without a callback */
}

static void submit(struct runner *runner, enum runner_lane number, struct job *job)
{
    struct runner_uv_lane *lane = &CONTAINER_OF(runner, struct runner_uv, runner)->lane[number];
    job->next = NULL;
    if (lane->first == NULL)
        lane->first = job;
    else
        lane->last->next = job;
    lane->last = job;
    start_next(lane);
}

void runner_uv_init(struct runner_uv *runner, uv_loop_t *loop)
{
    *runner = (struct runner_uv){.runner = {.submit = submit}, .loop = loop};
    for (unsigned i = 0; i < RUNNER_LANES; i++)
        runner->lane[i].runner = runner;
}

bool runner_uv_busy(const struct runner_uv *runner)
{
    for (unsigned i = 0; i < RUNNER_LANES; i++) {
        if (runner->lane[i].running != NULL)
            return true;
    }
    return false;
}
