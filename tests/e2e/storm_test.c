/*
 * Faults drawn by lot, several at a time, one wave after the other; after each the cluster must get
 * well again, and in the end the history must be linearizable. E2E_STORMS says how many clusters
 * live through one (`make soak`), E2E_SEED repeats the faults of a storm, if not their exact
 * moments.
 */
#include "tests/e2e/clients.h"
#include "tests/e2e/cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define WAVES 6 /* a storm: the lists of users grow, and so does what is recorded */

enum fault {
    KILL_RAFT,
    KILL_REDIS,
    TERMINATE_RAFT,
    PAUSE_RAFT,
    CUT_OFF,
    CUT_HEARING,
    CUT_SPEAKING,
    CUT_PAIR,
    BAD_NETWORK,
    FAULTS
};

static const char *const fault_names[FAULTS] = {
    [KILL_RAFT] = "kill",         [KILL_REDIS] = "redis",  [TERMINATE_RAFT] = "term",
    [PAUSE_RAFT] = "pause",       [CUT_OFF] = "cut-off",   [CUT_HEARING] = "cut-hearing",
    [CUT_SPEAKING] = "cut-speak", [CUT_PAIR] = "cut-pair", [BAD_NETWORK] = "bad-net",
};

struct storm {
    struct cluster cluster;
    struct clients *clients;
    unsigned seed;
    bool raft_gone[CLUSTER_NODES + 1];
    bool redis_gone[CLUSTER_NODES + 1];
};

static int below(struct storm *storm, int limit)
{
    return (int)(rand_r(&storm->seed) % (unsigned)limit);
}

static void cut_others(struct storm *storm, int node, bool hearing, bool speaking)
{
    const struct way cut = {.cut = true};

    for (int other = 1; other <= CLUSTER_NODES; other++) {
        if (other == node)
            continue;
        if (hearing)
            net_set(storm->cluster.net, other, node, cut);
        if (speaking)
            net_set(storm->cluster.net, node, other, cut);
    }
}

static void make_fault(struct storm *storm, enum fault fault, int node)
{
    struct cluster *cluster = &storm->cluster;
    struct way way = {.delay_ms = below(storm, 10),
                      .jitter_ms = below(storm, 30),
                      .lost_permille = below(storm, 100),
                      .doubled_permille = below(storm, 100)};
    int other = node % CLUSTER_NODES + 1;
    bool runs = !storm->raft_gone[node] && !cluster->stopped[node];

    switch (fault) {
    case KILL_RAFT:
    case TERMINATE_RAFT:
        if (runs && fault == KILL_RAFT)
            cluster_kill(cluster, node, "raft.pid");
        else if (runs)
            cluster_terminate(cluster, node);
        storm->raft_gone[node] = storm->raft_gone[node] || runs;
        return;
    case KILL_REDIS:
        if (!storm->redis_gone[node])
            cluster_kill(cluster, node, "redis.pid");
        storm->redis_gone[node] = true;
        return;
    case PAUSE_RAFT:
        if (runs)
            cluster_pause(cluster, node);
        return;
    case CUT_OFF:
    case CUT_HEARING:
    case CUT_SPEAKING:
        cut_others(storm, node, fault != CUT_SPEAKING, fault != CUT_HEARING);
        return;
    case CUT_PAIR:
        net_set(cluster->net, node, other, (struct way){.cut = true});
        net_set(cluster->net, other, node, (struct way){.cut = true});
        return;
    case BAD_NETWORK:
        for (int i = 1; i <= CLUSTER_NODES; i++)
            net_set_all(cluster->net, i, way);
        return;
    case FAULTS:
        break;
    }
    UNREACHABLE();
}

static void get_well(struct storm *storm)
{
    struct cluster *cluster = &storm->cluster;

    net_heal(cluster->net);
    for (int node = 1; node <= CLUSTER_NODES; node++)
        if (cluster->stopped[node])
            cluster_resume(cluster, node);
    for (int node = 1; node <= CLUSTER_NODES; node++) {
        if (storm->raft_gone[node] || storm->redis_gone[node])
            cluster_up(cluster, node);
        storm->raft_gone[node] = storm->redis_gone[node] = false;
    }
    for (int node = 1; node <= CLUSTER_NODES; node++)
        clients_expect_progress(storm->clients, node, 20);
}

/* One to three faults, anywhere: more than the cluster can serve through, never more than it may.
 */
static void wave(struct storm *storm)
{
    int faults = 1 + below(storm, 3);

    for (int i = 0; i < faults; i++) {
        enum fault fault = (enum fault)below(storm, FAULTS);
        int node = 1 + below(storm, CLUSTER_NODES);

        fprintf(stderr, " %s:%d", fault_names[fault], node);
        make_fault(storm, fault, node);
        sleep_ms(below(storm, 400));
    }
    fprintf(stderr, ";");
    sleep_ms(below(storm, 2) * below(storm, 1500));
    get_well(storm);
}

static void weather(unsigned seed)
{
    struct storm storm = {.seed = seed};

    fprintf(stderr, "storm, seed %u:", seed);
    storm.cluster = cluster_start();
    storm.clients = clients_start(&storm.cluster, 2);
    for (int i = 0; i < WAVES; i++)
        wave(&storm);
    fprintf(stderr, "\n");
    clients_judge(storm.clients, "storm");
    clients_free(storm.clients);
    cluster_stop(&storm.cluster);
}

Test(storm, whatever_happens_the_history_is_linearizable, .timeout = 7200)
{
    const char *storms = getenv("E2E_STORMS"), *seed = getenv("E2E_SEED");
    unsigned first = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)now_ms();
    long count = storms != NULL ? strtol(storms, NULL, 10) : 1;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "300", 1);
    for (long i = 0; i < count; i++)
        weather(first + (unsigned)i);
}
