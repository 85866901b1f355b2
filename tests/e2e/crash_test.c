/*
 * Parts die, and what was acknowledged stays.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/load.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int kills(int usual)
{
    const char *setting = getenv("E2E_KILLS");

    return setting != NULL ? (int)strtol(setting, NULL, 10) : usual;
}

struct progress {
    struct load *load;
    long from;
};

static bool has_progressed(void *context)
{
    struct progress *progress = context;

    return load_counts(progress->load).created > progress->from;
}

/* The load gets users created again, after whatever happened. */
static void expect_progress(struct load *load)
{
    struct progress progress = {load, load_counts(load).created + 10};

    cr_assert(wait_for(has_progressed, &progress, 20), "no user is created any more");
}

Test(crash, a_node_killed_under_load_again_and_again_loses_no_acknowledged_user, .timeout = 1800)
{
    struct stack stack = stack_start();
    struct load *load = load_start(stack.port, 4, true);
    unsigned seed = (unsigned)now_ms();
    struct load_counts counts;
    int times = kills(25);

    for (int i = 0; i < times; i++) {
        expect_progress(load);
        sleep_ms((int)(rand_r(&seed) % 200));
        stack_kill(stack_pid(&stack, "raft.pid"));
        sleep_ms((int)(rand_r(&seed) % 3 * 40));
        stack_node_up(&stack);
    }
    expect_progress(load);
    counts = load_stop(load);
    fprintf(stderr, "%d kills, seed %u: %ld created, %ld refused, %ld unknown\n", times, seed,
            counts.created, counts.refused, counts.unknown);
    cr_expect_eq(counts.other, 0, "%ld answers were neither 201 nor 503 nor 504", counts.other);
    load_judge(load, stack.port);

    /* And once more from the disk alone. */
    stack_down(&stack);
    stack_up(&stack);
    load_judge(load, stack.port);
    load_free(load);
    stack_stop(&stack);
}

struct workers {
    const struct stack *stack;
    pid_t dead;
};

/* app.pid names two workers that live, and the dead one no more. */
static bool has_two_workers(void *context)
{
    struct workers *workers = context;
    pid_t pids[2];

    if (stack_workers(workers->stack, pids) != 2)
        return false;
    return pids[0] != workers->dead && pids[1] != workers->dead && process_lives(pids[0]) &&
           process_lives(pids[1]);
}

Test(crash, a_killed_worker_is_started_again_and_no_request_fails, .timeout = 120)
{
    struct stack stack = stack_start();
    struct load *load = load_start(stack.port, 4, true);
    struct load_counts counts;

    for (int i = 0; i < 6; i++) {
        struct workers workers = {.stack = &stack};
        pid_t pids[2];

        expect_progress(load);
        cr_assert_eq(stack_workers(&stack, pids), 2);
        workers.dead = pids[i % 2];
        stack_kill(workers.dead);
        cr_assert(wait_for(has_two_workers, &workers, 10), "app.pid does not name two workers");
        expect_progress(load);
    }
    counts = load_stop(load);
    cr_expect_eq(counts.refused + counts.unknown + counts.other, 0,
                 "%ld refused, %ld unknown, %ld other", counts.refused, counts.unknown,
                 counts.other);
    load_judge(load, stack.port);
    load_free(load);
    stack_stop(&stack);
}

Test(crash, whatever_part_is_killed_up_brings_it_back_and_leaves_the_rest_alone, .timeout = 240)
{
    static const char *parts[] = {"redis.pid", "raft.pid", "app-master.pid", "nginx.pid",
                                  "../front.pid"};
    struct stack stack = stack_start();
    struct load *load = load_start(stack.port, 2, false);

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        pid_t before[ARRAY_LEN(parts)];

        for (size_t j = 0; j < ARRAY_LEN(parts); j++)
            before[j] = stack_pid(&stack, parts[j]);
        stack_kill(before[i]);
        stack_up(&stack);
        for (size_t j = 0; j < ARRAY_LEN(parts); j++)
            cr_expect_eq(stack_pid(&stack, parts[j]) == before[j], j != i, "%s, when %s was killed",
                         parts[j], parts[i]);
        expect_progress(load);
    }
    load_stop(load);
    load_judge(load, stack.port);
    load_free(load);
    stack_stop(&stack);
}

Test(crash, a_power_cut_of_everything_loses_no_acknowledged_user, .timeout = 120)
{
    static const char *parts[] = {"raft.pid", "redis.pid", "app-master.pid", "nginx.pid",
                                  "../front.pid"};
    struct stack stack = stack_start();
    struct load *load = load_start(stack.port, 4, false);

    for (int round = 0; round < 2; round++) {
        expect_progress(load);
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            stack_kill(stack_pid(&stack, parts[i]));
        stack_up(&stack);
    }
    expect_progress(load);
    load_stop(load);
    load_judge(load, stack.port);
    load_free(load);
    stack_stop(&stack);
}
