/*
 * Three nodes, and what breaks between and under them, while clients at every node enrol and list.
 * What they were told must be linearizable throughout; and where a majority lives and is connected,
 * requests at its nodes are answered, later at most, and never with an error.
 */
#include "tests/e2e/clients.h"
#include "tests/e2e/cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define EACH_NODE(node) (int node = 1; node <= CLUSTER_NODES; node++)

/* Workers hold what they are asked for so long while their node is away, less what a request
 * takes. */
#define HELD_MS 4000

static const struct way cut = {.cut = true};

static int other_than(int node, int another)
{
    for
        EACH_NODE(i)
    if (i != node && i != another)
        return i;
    return 0;
}

static void expect_survivors_fail_nothing(struct clients *clients, int victim, const char *when)
{
    for
        EACH_NODE(node)
    if (node != victim)
        clients_expect_no_failure(clients, node, when);
}

static void expect_progress_but_at(struct clients *clients, int victim)
{
    for
        EACH_NODE(node)
    if (node != victim)
        clients_expect_progress(clients, node, 10);
}

static void expect_progress(struct clients *clients)
{
    expect_progress_but_at(clients, 0);
}

Test(cluster, a_killed_node_whoever_it_is_fails_no_request_at_the_others, .timeout = 120)
{
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);

    for (int round = 0; round < 4; round++) {
        uint64_t term = cluster_term(&cluster);
        int leader = cluster_leader(&cluster);
        int victim = round % 2 == 0 ? leader : other_than(leader, 0);

        expect_progress(clients);
        clients_forget(clients);
        cluster_kill(&cluster, victim, "raft.pid");
        if (victim == leader)
            cluster_leader_after(&cluster, term);
        expect_progress_but_at(clients, victim);
        expect_survivors_fail_nothing(clients, victim, "a node was killed");
        cluster_up(&cluster, victim);
        expect_progress(clients);
        expect_survivors_fail_nothing(clients, victim, "it came back");
    }
    clients_judge(clients, "kill -9");
    clients_free(clients);
    cluster_stop(&cluster);
}

Test(cluster, a_stopped_node_whoever_it_is_fails_no_request_at_the_others, .timeout = 120)
{
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);

    for (int round = 0; round < 4; round++) {
        uint64_t term = cluster_term(&cluster);
        int leader = cluster_leader(&cluster);
        int victim = round % 2 == 0 ? leader : other_than(leader, 0);

        expect_progress(clients);
        clients_forget(clients);
        cluster_pause(&cluster, victim);
        if (victim == leader)
            cluster_leader_after(&cluster, term);
        expect_progress_but_at(clients, victim);
        clients_add_lister(clients, victim); /* who asks a leader that does not know it was one */
        cluster_resume(&cluster, victim);
        expect_progress(clients);
        expect_survivors_fail_nothing(clients, victim, "a node was stopped and went on");
    }
    clients_judge(clients, "SIGSTOP");
    clients_free(clients);
    cluster_stop(&cluster);
}

Test(cluster, a_leader_cut_off_is_replaced_and_follows_when_it_is_back, .timeout = 120)
{
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);

    for (int round = 0; round < 2; round++) {
        uint64_t term = cluster_term(&cluster);
        int leader = cluster_leader(&cluster);

        expect_progress(clients);
        clients_forget(clients);
        net_set_all(cluster.net, leader, cut);
        cr_expect_neq(cluster_leader_after(&cluster, term), leader);
        expect_progress_but_at(clients, leader);
        sleep_ms(round * 3000); /* and for so long that connections have backed off */
        expect_survivors_fail_nothing(clients, leader, "the leader was cut off");
        net_heal(cluster.net);
        expect_progress(clients);
        expect_survivors_fail_nothing(clients, leader, "it was back");
    }
    clients_judge(clients, "leader cut off");
    clients_free(clients);
    cluster_stop(&cluster);
}

struct at_victim {
    struct clients *clients;
    int node;
};

/* When a node has waited for the outcome of a write for as long as it does, or its worker has. */
static bool is_told_of_a_failure(void *context)
{
    struct at_victim *at = context;
    struct clients_counts counts = clients_counts(at->clients, at->node);

    return counts.unknown + counts.refused > 0;
}

/* What is cut: of a leader or of a follower, what it hears or what it says. */
static void cut_one_way(struct cluster *cluster, struct clients *clients, bool of_leader,
                        bool hearing)
{
    int leader = cluster_leader(cluster);
    int victim = of_leader ? leader : other_than(leader, 0);
    char when[96];

    snprintf(when, sizeof when, "the %s could not be %s", of_leader ? "leader" : "follower",
             hearing ? "reached" : "heard");
    expect_progress(clients);
    clients_forget(clients);
    for
        EACH_NODE(node)
        {
            if (node != victim && hearing)
                net_set(cluster->net, node, victim, cut);
            else if (node != victim)
                net_set(cluster->net, victim, node, cut);
        }
    expect_progress_but_at(clients, victim);
    sleep_ms(1000);
    if (hearing) { /* it has to say something, and what was done may not be called 503 */
        struct at_victim at = {clients, victim};

        cr_expect(wait_for(is_told_of_a_failure, &at, 20), "%s, and nobody noticed", when);
    }
    expect_progress_but_at(clients, victim);
    expect_survivors_fail_nothing(clients, victim, when);
    net_heal(cluster->net);
    expect_progress(clients);
    expect_survivors_fail_nothing(clients, victim, when);
}

Test(cluster, a_node_that_hears_and_is_not_heard_or_the_reverse_disturbs_nobody, .timeout = 120)
{
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);

    for (int i = 0; i < 4; i++)
        cut_one_way(&cluster, clients, i & 1, i & 2);
    clients_judge(clients, "one-way cuts");
    clients_free(clients);
    cluster_stop(&cluster);
}

/* The one in the middle reaches both others, and they not each other. */
Test(cluster, two_nodes_cut_from_one_another_do_not_fight_over_the_lead, .timeout = 120)
{
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);
    uint64_t term = cluster_term(&cluster);
    int leader = cluster_leader(&cluster), follower = other_than(leader, 0);
    int middle = other_than(leader, follower);

    net_set(cluster.net, leader, follower, cut);
    net_set(cluster.net, follower, leader, cut);
    clients_expect_progress(clients, middle, 10);
    clients_expect_progress(clients, leader, 10);
    sleep_ms(3000);
    clients_expect_progress(clients, middle, 10);
    cr_expect_leq(cluster_term(&cluster), term + 1, "%d terms in 3 s",
                  (int)(cluster_term(&cluster) - term));
    clients_expect_no_failure(clients, middle, "the others were cut from one another");
    net_heal(cluster.net);
    expect_progress(clients);
    clients_judge(clients, "two cut from one another");
    clients_free(clients);
    cluster_stop(&cluster);
}

Test(cluster, loss_delay_doubling_and_disorder_cost_time_and_nothing_else, .timeout = 120)
{
    static const struct way ways[] = {
        {.delay_ms = 5, .jitter_ms = 20},
        {.lost_permille = 20, .doubled_permille = 20},
        {.delay_ms = 2, .jitter_ms = 10, .lost_permille = 50, .doubled_permille = 50},
    };
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);
    struct net_counts counts;

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        for
            EACH_NODE(node)
        net_set_all(cluster.net, node, ways[i]);
        sleep_ms(2000);
        expect_progress(clients);
    }
    net_heal(cluster.net);
    for
        EACH_NODE(node)
    clients_expect_no_failure(clients, node, "the network was bad");
    clients_judge(clients, "a bad network");
    counts = net_counts(cluster.net);
    fprintf(stderr, "%ld packets carried, %ld lost, %ld doubled\n", counts.carried, counts.lost,
            counts.doubled);
    clients_free(clients);
    cluster_stop(&cluster);
}

Test(cluster, all_three_killed_at_once_lose_no_acknowledged_user, .timeout = 120)
{
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);

    for (int round = 0; round < 3; round++) {
        expect_progress(clients);
        for
            EACH_NODE(node)
            {
                cluster_kill(&cluster, node, "raft.pid");
                if (round == 1)
                    cluster_kill(&cluster, node, "redis.pid");
            }
        cluster_up_all(&cluster);
        expect_progress(clients);
    }
    clients_judge(clients, "all killed at once");
    clients_free(clients);
    cluster_stop(&cluster);
}

Test(cluster, killed_redis_costs_no_request_and_a_node_comes_back_without_its_old_log,
     .timeout = 120)
{
    struct cluster cluster;
    struct clients *clients;
    int leader;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "200", 1);
    cluster = cluster_start();
    clients = clients_start(&cluster, 2);
    expect_progress(clients);
    for
        EACH_NODE(node)
    cluster_kill(&cluster, node, "redis.pid");
    expect_progress(clients);
    sleep_ms(1500);
    expect_progress(clients);
    cluster_up_all(&cluster);
    expect_progress(clients);

    /* A follower is away until what it misses is in snapshots alone. */
    leader = cluster_leader(&cluster);
    for
        EACH_NODE(node)
    clients_expect_no_failure(clients, node, "Redis was killed");
    cluster_kill(&cluster, other_than(leader, 0), "raft.pid");
    clients_forget(clients);
    while (clients_counts(clients, leader).enrolled < 600)
        clients_expect_progress(clients, leader, 10);
    cluster_up(&cluster, other_than(leader, 0));
    expect_progress(clients);
    expect_survivors_fail_nothing(clients, other_than(leader, 0), "a snapshot was sent");
    clients_judge(clients, "Redis killed");
    clients_free(clients);
    cluster_stop(&cluster);
}

Test(cluster, restarted_one_after_the_other_it_fails_no_request, .timeout = 120)
{
    struct cluster cluster = cluster_start();
    struct clients *clients = clients_start(&cluster, 2);

    expect_progress(clients);
    for (int round = 0; round < 2; round++) {
        for
            EACH_NODE(node)
            {
                long away_ms = now_ms();

                clients_forget(clients);
                cluster_terminate(&cluster, node);
                expect_progress_but_at(clients, node);
                cluster_up(&cluster, node);
                away_ms = now_ms() - away_ms;
                expect_progress(clients);
                expect_survivors_fail_nothing(clients, node, "a node was restarted");
                if (away_ms < HELD_MS)
                    clients_expect_no_failure(clients, node, "it was restarted");
            }
    }
    clients_judge(clients, "rolling restarts");
    clients_free(clients);
    cluster_stop(&cluster);
}
