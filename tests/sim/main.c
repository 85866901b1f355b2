/*
 * The simulator:
 *
 *     sim [--seed S] [--runs N] [--nodes N] [--story]   N runs, from this seed on
 *     sim --twice …                                     each twice: must be the same run
 *     sim --bounds …, sim --lies …                      with a hostile peer: hostile.h
 *     sim --heard FILE …                                writes a seed of tests/fuzz/driver_fuzz.c
 *     sim scenario [--story] FILE…                      what these files tell
 *     sim test FILE…                                    a fixed set of seeds, and the scenarios
 *
 * Runs happen in a child, so that a run that dies (an assertion is a broken rule too) ends neither
 * the others nor the count. The last line is "N passed, N failed".
 */
#include "tests/sim/scenario.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEST_RUNS   1000u
#define BOUNDS_RUNS 150u
#define LIES_RUNS   150u
#define STORY_TAIL  120u
/* Then another child goes on, with a memory that is not in pieces. */
#define RUNS_A_CHILD 500u

struct options {
    uint64_t seed, runs;
    uint32_t nodes;
    bool story, twice;
    enum hostile_kind hostile;
    const char *heard;
};

/* What the child did so far; the parent reads it when the child has died. */
struct tally {
    uint64_t seed; /* under way */
    uint64_t passed, failed;
    uint64_t us; /* simulated */
    struct world_counts counts;
};

static struct tally *tally;

/* --- one run ---------------------------------------------------------------------------------- */

static void on_death(int number)
{
    if (world_now != NULL && !world_now->story.aloud)
        story_print(&world_now->story, STORY_TAIL);
    signal(number, SIG_DFL);
    raise(number);
}

static void add_counts(struct world_counts *sum, const struct world_counts *counts)
{
    const uint64_t *from = (const uint64_t *)counts;
    uint64_t *to = (uint64_t *)sum;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
        to[i] += from[i];
}

static uint64_t run_once(uint64_t seed, const struct options *options, bool *ret_passed)
{
    struct world *world = faults_world(seed, options->nodes);
    hostile_draw(world, options->hostile);
    world->story.aloud = options->story;
    if (options->heard != NULL)
        world->net.heard = fopen(options->heard, "w");
    *ret_passed = faults_run(world);
    if (world->net.heard != NULL)
        fclose(world->net.heard);
    if (!*ret_passed) {
        if (!options->story)
            story_print(&world->story, STORY_TAIL);
        fprintf(stderr, "seed %" PRIu64 ", %u nodes: %s\n", seed, world->nodes, world->why);
    }
    uint64_t hash = world->hash;
    tally->us += world->now_us;
    add_counts(&tally->counts, &world->counts);
    world_free(world);
    return hash;
}

static const char *mode_of(const struct options *options)
{
    static const char *const modes[] = {"", " --bounds", " --lies"};
    return modes[options->hostile];
}

static void run_seed(uint64_t seed, const struct options *options)
{
    bool passed, again = true;
    uint64_t hash = run_once(seed, options, &passed);
    if (options->twice && passed && run_once(seed, options, &again) != hash) {
        fprintf(stderr, "seed %" PRIu64 ": the second run was another one\n", seed);
        again = false;
    }
    if (passed && again) {
        tally->passed++;
        return;
    }
    tally->failed++;
    fprintf(stderr, "again, told in full: build/release/sim --seed %" PRIu64 "%s%s --story\n", seed,
            options->nodes > 0 ? " --nodes …" : "", mode_of(options));
}

/* --- all of them ------------------------------------------------------------------------------ */

static void run_from(uint64_t seed, const struct options *options)
{
    if (options->hostile != HOSTILE_NONE)
        hostile_limit_memory();
    signal(SIGABRT, on_death);
    signal(SIGSEGV, on_death);
    uint64_t end = seed + RUNS_A_CHILD;
    for (; seed < options->seed + options->runs && seed < end; seed++) {
        tally->seed = seed;
        run_seed(seed, options);
    }
    tally->seed = seed;
}

static void run_all(const struct options *options)
{
    uint64_t seed = options->seed;
    while (seed < options->seed + options->runs) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            run_from(seed, options);
            exit(0); /* a leak is found here, with VARIANT=asan */
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child)
            abort();
        seed = tally->seed;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        tally->failed++;
        fprintf(stderr,
                "seed %" PRIu64 " died of signal %d\nagain, told in full: "
                "build/release/sim --seed %" PRIu64 "%s --story\n",
                seed, WIFSIGNALED(status) ? WTERMSIG(status) : 0, seed, mode_of(options));
        seed++;
    }
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void print_counts(double seconds)
{
    const struct world_counts *c = &tally->counts;
    printf("%" PRIu64 " runs, %.1f simulated hours in %.1f s; %" PRIu64 " steps, %.0f a second\n",
           tally->passed + tally->failed, (double)tally->us / 3.6e9, seconds, c->steps,
           (double)c->steps / (seconds > 0 ? seconds : 1));
    printf("%" PRIu64 " elections, %" PRIu64 " deaths, %" PRIu64 " starts (%" PRIu64 " refused), "
           "%" PRIu64 " pauses, %" PRIu64 " cuts, %" PRIu64 " damages, %" PRIu64 " wipes, %" PRIu64
           " rolled back\n",
           c->elections, c->crashes, c->starts, c->refused_to_start, c->pauses, c->cuts, c->damages,
           c->wipes, c->rolled_back);
    printf("%" PRIu64 " frames (%" PRIu64 " lost), %" PRIu64 " snapshots, %" PRIu64 " installed\n",
           c->frames, c->frames_lost, c->snapshots, c->installs);
    if (c->lies > 0)
        printf("%" PRIu64 " lies (%" PRIu64 " refused)\n", c->lies, c->lies_refused);
    printf("%" PRIu64 " asks: %" PRIu64 " written, %" PRIu64 " read, %" PRIu64 " refused, "
           "%" PRIu64 " unknown\n",
           c->asked, c->written, c->reads, c->refused, c->unknown);
}

static void run_scenarios(char **files, int count, bool story)
{
    for (int i = 0; i < count; i++) {
        if (scenario_run(files[i], story))
            tally->passed++;
        else
            tally->failed++;
    }
}

static int usage(void)
{
    fputs("usage: sim [--seed S] [--runs N] [--nodes N] [--story] [--twice] [--bounds|--lies]\n"
          "       sim scenario [--story] FILE…\n"
          "       sim test FILE…\n",
          stderr);
    return 2;
}

static bool take_number(int argc, char **argv, int *i, const char *name, uint64_t *ret_number)
{
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
        return false;
    char *end;
    *ret_number = strtoull(argv[++*i], &end, 10);
    return *end == '\0';
}

static int run_main(int argc, char **argv)
{
    struct options options = {.seed = 1, .runs = 1};
    for (int i = 1; i < argc; i++) {
        uint64_t nodes;
        if (strcmp(argv[i], "--story") == 0)
            options.story = true;
        else if (strcmp(argv[i], "--twice") == 0)
            options.twice = true;
        else if (strcmp(argv[i], "--heard") == 0 && i + 1 < argc)
            options.heard = argv[++i];
        else if (strcmp(argv[i], "--bounds") == 0)
            options.hostile = HOSTILE_BOUNDS;
        else if (strcmp(argv[i], "--lies") == 0)
            options.hostile = HOSTILE_LIES;
        else if (take_number(argc, argv, &i, "--nodes", &nodes) && nodes <= SIM_NODES)
            options.nodes = (uint32_t)nodes;
        else if (!take_number(argc, argv, &i, "--seed", &options.seed) &&
                 !take_number(argc, argv, &i, "--runs", &options.runs))
            return usage();
    }
    double before = seconds_now();
    run_all(&options);
    print_counts(seconds_now() - before);
    return 0;
}

static int test_main(int argc, char **argv)
{
    double before = seconds_now();
    run_all(&(struct options){.seed = 1, .runs = TEST_RUNS});
    run_all(&(struct options){.seed = 1000001, .runs = 10, .twice = true});
    run_all(&(struct options){.seed = 1, .runs = BOUNDS_RUNS, .hostile = HOSTILE_BOUNDS});
    run_all(&(struct options){.seed = 1, .runs = LIES_RUNS, .hostile = HOSTILE_LIES});
    print_counts(seconds_now() - before);
    run_scenarios(argv + 2, argc - 2, false);
    return 0;
}

int main(int argc, char **argv)
{
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED)
        return 2;
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 18); /* nodes start often: zeroed pages cost less */
    int result = 0;
    if (argc > 1 && strcmp(argv[1], "test") == 0) {
        result = test_main(argc, argv);
    } else if (argc > 1 && strcmp(argv[1], "scenario") == 0) {
        bool story = argc > 2 && strcmp(argv[2], "--story") == 0;
        run_scenarios(argv + 2 + story, argc - 2 - story, story);
    } else {
        result = run_main(argc, argv);
    }
    if (result != 0)
        return result;
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", tally->passed, tally->failed);
    return tally->failed == 0 ? 0 : 1;
}
