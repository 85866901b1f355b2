/*
 * Every state of the disk that a loss of power may leave, built and recovered:
 *
 *     crash [--all N] [--samples N] [--starts N] [--every N] [--draws N] [SCENARIO…]
 *     crash test …                                             fewer of them, see struct options
 *
 * A scenario (scenarios.h) is done once on a disk that remembers all (trace.h); the states that
 * crashes leave of it (states.h) are recovered (recovery.h), by a node that is alone and by a
 * member of a cluster; of some of them these starts are told by a trace, and the states that
 * crashes leave of that are recovered, too. A state counts as distinct over all scenarios, by its
 * names and bytes; as recovering, when a member that was sure before comes back recovering. The
 * last line is "N passed, N failed", of scenarios.
 */
#include "tests/crash/recovery.h"
#include "tests/crash/scenarios.h"
#include "tests/crash/states.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    uint32_t all;     /* so many units that are not durable: all subsets of them */
    uint32_t samples; /* of more, beside the regular ones: so many subsets */
    uint32_t starts;  /* crashes during the start from so many of the first states of a scenario */
    uint32_t every;   /* and from every so many'th of the others */
    uint32_t draws;   /* of a scenario that is drawn by lot */
};

struct counts {
    uint64_t operations, built, recovered, starts, recovering, without_floor;
};

/* One scenario under way. */
struct run {
    const struct scenario *scenario;
    const struct options *options;
    struct states *states;       /* that crashes leave of the scenario */
    struct states *again;        /* that crashes leave of a start */
    struct recovery *recovery;   /* from a state of the scenario */
    struct recovery *recovery_2; /* from a state of a start */
    struct trace *trace;
    struct history *history;
    struct stage stage;
    uint64_t starts, recovering, without_floor;
    bool alone;                   /* recovers now */
    bool starting;                /* `again` is what is under way */
    const struct promise *parent; /* then: of the state that is started from */
};

static struct run *run_now;

static void tell(const char *why)
{
    const struct run *run = run_now;
    fprintf(stderr, "%s, state %" PRIu64 ": %s: %s\n", run->scenario->name,
            run->states->built + run->again->built, run->alone ? "alone" : "a member", why);
    states_tell(run->states);
    if (run->starting) {
        fprintf(stderr, "and during the start from there, ");
        states_tell(run->again);
    }
}

static void on_death(int number)
{
    if (run_now != NULL)
        tell(number == SIGABRT ? "an assertion" : "a signal");
    signal(number, SIG_DFL);
    raise(number);
}

/* --- one scenario ----------------------------------------------------------------------------- */

static bool recover(struct run *run, struct recovery *recovery, const struct image *state,
                    const struct promise *promise, bool recording)
{
    if (!recovery_try(recovery, state, promise, run->scenario->segment_bytes, run->alone,
                      recording)) {
        tell(recovery->stage.why);
        return false;
    }
    bool recovering = recovery->stage.recovering && !promise->recovering;
    run->recovering += recovering;
    run->without_floor += recovering && !recovery->stage.floor.known;
    return true;
}

/* What looked like rot before this start still does; whoever was recovering then must be again. */
static bool visit_start(void *context, const struct image *state, const struct promise *promise)
{
    struct run *run = context;
    struct promise now = *promise;
    now.may_doubt = now.may_doubt || run->parent->may_doubt;
    now.recovering = run->parent->recovering;
    now.floor = run->parent->floor;
    return recover(run, run->recovery_2, state, &now, false);
}

static bool visit_starts(struct run *run, const struct promise *promise)
{
    struct promise parent = *promise;
    parent.recovering = run->recovery->stage.recovering;
    parent.floor = run->recovery->stage.floor;
    run->starts++;
    run->starting = true;
    run->parent = &parent;
    bool passed = states_each(run->again, run->recovery->trace, 0, visit_start, run);
    run->starting = false;
    return passed;
}

static bool visit(void *context, const struct image *state, const struct promise *promise)
{
    struct run *run = context;
    const struct options *options = run->options;
    uint64_t number = run->states->checked;
    bool recording = number <= options->starts || number % options->every == 0;
    for (int i = 0; i < 2; i++) {
        run->alone = i == 0;
        if (!recover(run, run->recovery, state, promise, recording) ||
            (recording && !visit_starts(run, promise)))
            return false;
    }
    return true;
}

/* Does what the scenario says; *ret_from is the first operation before which the power fails. */
static bool perform(struct run *run, uint32_t *ret_from)
{
    const struct scenario *scenario = run->scenario;
    history_start(run->history);
    trace_start(run->trace, NULL, true);
    run->trace->promise = (struct promise){.history = run->history};
    *ret_from = 0;
    if (stage_open(&run->stage, run->trace, run->history, scenario->segment_bytes, false) != 0) {
        fprintf(stderr, "%s: %s\n", scenario->name, run->stage.recovered.text);
        return false;
    }
    if (scenario->before != NULL) {
        scenario->before(&run->stage);
        trace_finish_all(run->trace);
        *ret_from = run->trace->operations;
    }
    scenario->run(&run->stage);
    run->trace->dies_at = TRACE_LATE;
    stage_close(&run->stage);
    return !run->stage.failed;
}

static bool run_once(const struct scenario *scenario, uint64_t draw, const struct options *options,
                     struct set *images, struct counts *counts)
{
    struct run *run = calloc(1, sizeof(*run));
    assert(run != NULL);
    *run = (struct run){
        .scenario = scenario,
        .options = options,
        .states = states_new(options->all, options->samples, images),
        .again = states_new(options->all / 2, options->samples / 8, images),
        .recovery = recovery_new(),
        .recovery_2 = recovery_new(),
        .trace = calloc(1, sizeof(*run->trace)),
        .history = calloc(1, sizeof(*run->history)),
    };
    assert(run->trace != NULL && run->history != NULL);
    run->stage.random = draw;
    run_now = run;
    uint32_t from = 0;
    bool passed = perform(run, &from) && states_each(run->states, run->trace, from, visit, run);
    run_now = NULL;
    counts->operations += run->trace->operations - from;
    counts->built += run->states->built + run->again->built;
    counts->recovered += run->states->checked + run->again->checked;
    counts->starts += run->starts;
    counts->recovering += run->recovering;
    counts->without_floor += run->without_floor;
    states_free(run->states);
    states_free(run->again);
    recovery_free(run->recovery);
    recovery_free(run->recovery_2);
    trace_free(run->trace);
    free(run->history);
    free(run);
    return passed;
}

/* --- all of them ------------------------------------------------------------------------------ */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void print_row(const char *name, const struct counts *counts, uint64_t distinct,
                      const char *verdict)
{
    printf("%-26s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %8" PRIu64
           "  %s\n",
           name, counts->operations, counts->built, distinct, counts->recovered, counts->starts,
           counts->recovering, verdict);
    fflush(stdout);
}

static bool is_wanted(const struct scenario *scenario, char **names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], scenario->name) == 0)
            return true;
    }
    return count == 0;
}

static int run_all(const struct options *options, char **names, int count)
{
    struct set images = {.slot = NULL};
    struct counts sum = {.operations = 0};
    uint64_t passed = 0, failed = 0;
    double before = seconds_now();
    printf("%-26s %10s %10s %10s %10s %8s %8s\n", "scenario", "operations", "built", "distinct",
           "recovered", "starts", "recovering");
    for (size_t i = 0; i < scenarios_count; i++) {
        struct counts counts = {.operations = 0};
        uint64_t distinct = images.count;
        if (!is_wanted(&scenarios[i], names, count))
            continue;
        bool good = true;
        uint64_t draws = scenarios[i].drawn ? options->draws : 1;
        for (uint64_t draw = 1; good && draw <= draws; draw++)
            good = run_once(&scenarios[i], draw, options, &images, &counts);
        passed += good;
        failed += !good;
        print_row(scenarios[i].name, &counts, images.count - distinct, good ? "all" : "FAILED");
        sum.operations += counts.operations;
        sum.built += counts.built;
        sum.recovered += counts.recovered;
        sum.starts += counts.starts;
        sum.recovering += counts.recovering;
        sum.without_floor += counts.without_floor;
    }
    print_row("", &sum, images.count, "");
    printf("%" PRIu64
           " crash states, distinct, in %.1f s; a member came back recovering of %" PRIu64
           ", %" PRIu64 " of them without a floor\n",
           images.count, seconds_now() - before, sum.recovering, sum.without_floor);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    set_done(&images);
    return failed == 0 && passed > 0 ? 0 : 1;
}

static bool take_number(int argc, char **argv, int *i, const char *name, uint32_t *ret_number)
{
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
        return false;
    *ret_number = (uint32_t)strtoul(argv[++*i], NULL, 10);
    return *ret_number > 0;
}

int main(int argc, char **argv)
{
    struct options options = {.all = 13, .samples = 256, .starts = 300, .every = 50, .draws = 50};
    int i = 1;
    signal(SIGABRT, on_death);
    signal(SIGSEGV, on_death);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 24); /* logs are opened often: keep their memory */
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 26);
    if (i < argc && strcmp(argv[i], "test") == 0) {
        options =
            (struct options){.all = 10, .samples = 64, .starts = 30, .every = 200, .draws = 6};
#ifdef __SANITIZE_ADDRESS__
        options = (struct options){.all = 8, .samples = 16, .starts = 5, .every = 200, .draws = 6};
#endif
        i++;
    }
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!take_number(argc, argv, &i, "--all", &options.all) &&
            !take_number(argc, argv, &i, "--samples", &options.samples) &&
            !take_number(argc, argv, &i, "--starts", &options.starts) &&
            !take_number(argc, argv, &i, "--every", &options.every) &&
            !take_number(argc, argv, &i, "--draws", &options.draws))
            break;
    }
    if ((i < argc && argv[i][0] == '-') || options.all > 20) {
        fputs("usage: crash [test] [--all N] [--samples N] [--starts N] [--every N] [--draws N] "
              "[SCENARIO…]\n",
              stderr);
        return 2;
    }
    return run_all(&options, argv + i, argc - i);
}
