/*
 * Runs stories of tests/core/cluster.h, a range of seeds at a time, and says which of them broke:
 *   seeds [--first] [--harder N] [--trace] FROM TO
 * --first stops at the first that breaks, and says after how many seeds and steps; --harder makes
 * faults N times as frequent; --trace tells each step on stderr. Each failure leaves its own words
 * on stderr before its line here.
 */
#include "tests/core/cluster.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the process that runs the stories leaves for the one that counts them. */
struct tally {
    uint64_t seed; /* under way */
    uint64_t steps, commits, reads, elections, wipes, admissions;
};

static void run_from(struct tally *tally, uint64_t to, uint32_t harder, bool trace)
{
    for (; tally->seed <= to; tally->seed++) {
        const struct cluster_faults faults = cluster_faults_of(tally->seed, harder);
        struct cluster *cluster = cluster_new(cluster_nodes_of(tally->seed), tally->seed);
        cluster_count_steps(cluster, &tally->steps);
        if (trace)
            cluster_trace(cluster, stderr);
        cluster_run(cluster, CLUSTER_TURNS, &faults);
        cluster_must_settle(cluster, 5000);
        tally->commits += cluster_commits(cluster);
        tally->reads += cluster_reads(cluster);
        tally->elections += cluster_elections(cluster);
        tally->wipes += cluster_wipes(cluster);
        tally->admissions += cluster_admissions(cluster);
        cluster_free(cluster);
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: seeds [--first] [--harder N] [--trace] FROM TO\n");
    return 2;
}

int main(int argc, char **argv)
{
    bool first = false, trace = false;
    uint32_t harder = 1;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--first") == 0)
            first = true;
        else if (strcmp(argv[at], "--trace") == 0)
            trace = true;
        else if (strcmp(argv[at], "--harder") == 0 && at + 1 < argc)
            harder = (uint32_t)strtoul(argv[++at], NULL, 10);
        else
            return usage();
    }
    if (at + 2 != argc || harder == 0)
        return usage();
    uint64_t from = strtoull(argv[at], NULL, 10), to = strtoull(argv[at + 1], NULL, 10);

    struct tally *tally =
        mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED)
        return 1;
    tally->seed = from;
    uint64_t failed = 0;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    while (tally->seed <= to && !(first && failed > 0)) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            run_from(tally, to, harder, trace);
            _exit(0);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child)
            return 1;
        if (status == 0)
            break;
        failed++;
        printf("seed=%llu harder=%u nodes=%u failed after_seeds=%llu after_steps=%llu\n",
               (unsigned long long)tally->seed, harder, cluster_nodes_of(tally->seed),
               (unsigned long long)(tally->seed - from + 1), (unsigned long long)tally->steps);
        tally->seed++;
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    uint64_t ran = tally->seed > to ? to - from + 1 : tally->seed - from;
    printf("seeds=%llu steps=%llu steps_per_s=%.0f commits=%llu reads=%llu elections=%llu "
           "wipes=%llu admissions=%llu\n",
           (unsigned long long)ran, (unsigned long long)tally->steps,
           (double)tally->steps / seconds, (unsigned long long)tally->commits,
           (unsigned long long)tally->reads, (unsigned long long)tally->elections,
           (unsigned long long)tally->wipes, (unsigned long long)tally->admissions);
    printf("%llu passed, %llu failed\n", (unsigned long long)(ran - failed),
           (unsigned long long)failed);
    return failed > 0;
}
