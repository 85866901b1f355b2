#include "raft/node/runner_threads.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void push(struct runner_queue *queue, struct job *job)
{
    job->next = NULL;
    if (queue->first == NULL)
        queue->first = job;
    else
        queue->last->next = job;
    queue->last = job;
}

static struct job *pop(struct runner_queue *queue)
{
    struct job *job = queue->first;
    if (job != NULL)
        queue->first = job->next;
    return job;
}

/* --- off the loop ----------------------------------------------------------------------------- */

static void lock(struct runner_lane_thread *lane)
{
    if (pthread_mutex_lock(&lane->mutex) != 0)
        UNREACHABLE();
}

static void unlock(struct runner_lane_thread *lane)
{
    if (pthread_mutex_unlock(&lane->mutex) != 0)
        UNREACHABLE();
}

static void *run(void *context)
{
    struct runner_lane_thread *lane = context;
    static const uint64_t one = 1;
    lock(lane);
    for (;;) {
        struct job *job = pop(&lane->waiting);
        if (job == NULL && lane->stop)
            break;
        if (job == NULL) {
            (void)pthread_cond_wait(&lane->wanted, &lane->mutex);
            continue;
        }
        unlock(lane);
        job->run(job);
        lock(lane);
        push(&lane->finished, job);
        if (write(lane->runner->event, &one, sizeof(one)) != (ssize_t)sizeof(one))
            UNREACHABLE(); /* an eventfd takes 2^64 - 2 of them */
    }
    unlock(lane);
    return NULL;
}

/* --- on it ------------------------------------------------------------------------------------ */

static void submit(struct runner *base, enum runner_lane number, struct job *job)
{
    struct runner_threads *runner = CONTAINER_OF(base, struct runner_threads, runner);
    struct runner_lane_thread *lane = &runner->lane[number];
    runner->open++;
    lock(lane);
    push(&lane->waiting, job);
    unlock(lane);
    (void)pthread_cond_signal(&lane->wanted);
}

static void finish(struct runner_threads *runner, struct runner_lane_thread *lane)
{
    for (;;) {
        lock(lane);
        struct job *job = pop(&lane->finished);
        unlock(lane);
        if (job == NULL)
            return;
        runner->open--;
        job->done(job);
    }
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct runner_threads *runner = CONTAINER_OF(poll, struct runner_threads, poll);
    uint64_t count;
    (void)status, (void)events;
    if (read(runner->event, &count, sizeof(count)) < 0)
        return;
    for (unsigned i = 0; i < RUNNER_LANES; i++)
        finish(runner, &runner->lane[i]);
}

/* Threads of ours take no signals: they are the loop's. */
static int start_thread(struct runner_lane_thread *lane)
{
    sigset_t all, before;
    sigfillset(&all);
    int result = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (result == 0)
        result = pthread_create(&lane->thread, NULL, run, lane);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -result;
}

int runner_threads_init(struct runner_threads *runner, uv_loop_t *loop)
{
    *runner = (struct runner_threads){.runner = {.submit = submit}};
    runner->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (runner->event < 0)
        return -errno;
    int result = uv_poll_init(loop, &runner->poll, runner->event);
    if (result == 0)
        result = uv_poll_start(&runner->poll, UV_READABLE, on_event);
    for (unsigned i = 0; i < RUNNER_LANES && result == 0; i++) {
        struct runner_lane_thread *lane = &runner->lane[i];
        lane->runner = runner;
        if (pthread_mutex_init(&lane->mutex, NULL) != 0 ||
            pthread_cond_init(&lane->wanted, NULL) != 0)
            return -ENOMEM;
        result = start_thread(lane);
    }
    return result;
}

bool runner_threads_busy(const struct runner_threads *runner)
{
    return runner->open > 0;
}

void runner_threads_close(struct runner_threads *runner)
{
    uv_close((uv_handle_t *)&runner->poll, NULL);
}

void runner_threads_join(struct runner_threads *runner)
{
    assert(runner->open == 0);
    for (unsigned i = 0; i < RUNNER_LANES; i++) {
        struct runner_lane_thread *lane = &runner->lane[i];
        lock(lane);
        lane->stop = true;
        unlock(lane);
        (void)pthread_cond_signal(&lane->wanted);
        (void)pthread_join(lane->thread, NULL);
        (void)pthread_mutex_destroy(&lane->mutex);
        (void)pthread_cond_destroy(&lane->wanted);
    }
    close(runner->event);
}
