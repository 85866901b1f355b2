#include "tests/core/cluster.h"

#include <criterion/criterion.h>

/* Everything that a seed decides, and that a test asks about. */
struct outcome {
    uint64_t steps, commits, reads, elections;
};

static struct outcome run(uint32_t nodes, uint64_t seed, uint32_t turns,
                          const struct cluster_faults *faults)
{
    struct cluster *cluster = cluster_new(nodes, seed);
    cluster_run(cluster, turns, faults);
    cluster_must_settle(cluster, 5000);
    struct outcome outcome = {
        .steps = cluster_steps(cluster),
        .commits = cluster_commits(cluster),
        .reads = cluster_reads(cluster),
        .elections = cluster_elections(cluster),
    };
    cluster_free(cluster);
    return outcome;
}

Test(cluster, agrees_when_nothing_fails)
{
    const struct cluster_faults faults = {.delay_ms = 1, .disk_ms = 1};
    for (uint32_t nodes = 1; nodes <= CLUSTER_NODES; nodes++) {
        struct outcome outcome = run(nodes, nodes, 4000, &faults);
        cr_assert_eq(outcome.elections, 1, "%u nodes held %lu elections", nodes,
                     (unsigned long)outcome.elections);
        cr_assert_gt(outcome.reads, 100);
    }
}

Test(cluster, is_the_same_run_for_the_same_seed)
{
    const struct cluster_faults faults = {.lose = 10,
                                          .twice = 5,
                                          .delay_ms = 10,
                                          .disk_ms = 5,
                                          .crash = 20,
                                          .cut = 20,
                                          .compact = 20};
    struct outcome a = run(5, 42, 6000, &faults), b = run(5, 42, 6000, &faults);
    cr_assert_eq(a.steps, b.steps);
    cr_assert_eq(a.commits, b.commits);
    cr_assert_eq(a.elections, b.elections);
}

Test(cluster, keeps_its_promises_under_all_faults_together, .timeout = 120)
{
    struct outcome sum = {0};
    for (uint32_t seed = 1; seed <= 600; seed++) {
        const struct cluster_faults faults = cluster_faults_of(seed, 1);
        struct outcome one = run(cluster_nodes_of(seed), seed, CLUSTER_TURNS, &faults);
        sum.commits += one.commits;
        sum.elections += one.elections;
        sum.reads += one.reads;
    }
    cr_assert_gt(sum.commits, 100000, "the faults left no room for work");
    cr_assert_gt(sum.elections, 1000);
    cr_assert_gt(sum.reads, 50000);
}

Test(cluster, survives_seeds_that_once_broke_it)
{
    /* A leader removed itself from a cluster of two, and nobody else had the entry (thesis §4.2.2).
     */
    const struct cluster_faults seed_484 = {.lose = 20,
                                            .twice = 5,
                                            .disk_ms = 16,
                                            .crash = 20,
                                            .compact = 30,
                                            .transfer = 10,
                                            .change = 20};
    (void)run(2, 484, 6000, &seed_484);
    static const struct {
        uint64_t seed;
        uint32_t harder;
    } broken[] = {
        {3520, 1}, /* a log full of configurations: append and answer went on without a pause */
        {220, 4},  {880, 4},
        {3432, 1}, /* the transferee was removed: a leader alone waited for it for ever */
        {9108, 4},
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        const struct cluster_faults faults = cluster_faults_of(broken[i].seed, broken[i].harder);
        (void)run(cluster_nodes_of(broken[i].seed), broken[i].seed, CLUSTER_TURNS, &faults);
    }
}

/* Cuts one way between each pair that `is_cut` names, and demands a leader that can commit. */
static void must_lead(uint32_t nodes, bool (*is_cut)(uint32_t from, uint32_t to))
{
    const struct cluster_faults calm = {.delay_ms = 1, .disk_ms = 1};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster *cluster = cluster_new(nodes, seed);
        cluster_run(cluster, 2000, &calm);
        for (uint32_t from = 1; from <= nodes; from++) {
            for (uint32_t to = 1; to <= nodes; to++)
                cluster_cut(cluster, from, to, from != to && is_cut(from, to));
        }
        cluster_run(cluster, 6000, &calm);
        uint64_t before = cluster_commits(cluster);
        uint64_t term = cluster_status(cluster, cluster_leader(cluster)).term.n;
        cluster_run(cluster, 4000, &calm);
        cr_assert_gt(cluster_commits(cluster), before + 100, "seed %lu", (unsigned long)seed);
        cr_assert_leq(cluster_status(cluster, cluster_leader(cluster)).term.n, term + 2,
                      "seed %lu: elections do not end", (unsigned long)seed);
        cluster_free(cluster);
    }
}

static bool deaf_one(uint32_t from, uint32_t to)
{
    (void)from;
    return to == 1;
}

static bool mute_one(uint32_t from, uint32_t to)
{
    (void)to;
    return from == 1;
}

static bool bridge(uint32_t from, uint32_t to) /* only node 3 reaches both sides */
{
    return from != 3 && to != 3 && (from < 3) != (to < 3);
}

static bool lonely_two(uint32_t from, uint32_t to)
{
    return (from <= 2) != (to <= 2);
}

Test(cluster, leads_when_one_node_hears_nobody)
{
    must_lead(3, deaf_one);
    must_lead(5, deaf_one);
}

Test(cluster, leads_when_nobody_hears_one_node)
{
    must_lead(3, mute_one);
    must_lead(5, mute_one);
}

Test(cluster, leads_when_only_a_bridge_reaches_both_sides)
{
    must_lead(5, bridge);
}

Test(cluster, leads_on_the_side_of_the_majority)
{
    must_lead(5, lonely_two);
}

Test(cluster, loses_nothing_when_disks_of_a_minority_are_wiped, .timeout = 120)
{
    uint64_t wipes = 0, admissions = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct cluster_faults faults = cluster_faults_of(seed, 1 + seed % 5);
        faults.change = 0;
        faults.wipe = 30;
        struct cluster *cluster = cluster_new(3 + 2 * (seed % 3), seed);
        cluster_run(cluster, CLUSTER_TURNS, &faults);
        cluster_must_settle(cluster, 5000);
        wipes += cluster_wipes(cluster);
        admissions += cluster_admissions(cluster);
        cluster_free(cluster);
    }
    cr_assert_gt(wipes, 200);
    cr_assert_gt(admissions, 200);
}
