/*
 * How long a failover takes, by the clock: three nodes on loopback, writers at each of them on kept
 * connections, and one node after the other killed, ended or stopped. `make failover` makes 50
 * trials of each kind and holds the figures to what is promised; a usual run of the tests makes a
 * few, and holds them to no failed request and to bounds that a busy machine keeps too.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NODES      3
#define WATCHED_MS 700 /* from the blow on, survivors are watched for so long */
#define TRIALS_MAX 1000
#define PAUSE_MS   2

static int trials(void)
{
    const char *setting = getenv("E2E_TRIALS");
    int count = setting != NULL ? (int)strtol(setting, NULL, 10) : 3;

    cr_assert(count > 0 && count <= TRIALS_MAX);
    return count;
}

static bool in_earnest(void)
{
    return getenv("E2E_TRIALS") != NULL;
}

static int64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* --- writers ---------------------------------------------------------------------------------- */

struct hand {
    struct trial *trial;
    int node;
    pthread_t thread;
    atomic_long failed, slowest_us, written;
};

struct trial {
    struct stack stack;
    atomic_bool stop;
    struct hand hands[NODES];
    struct client
        *probes[NODES]; /* idle, until a blow: each asks once, and is answered how soon? */
    int leader;
};

/* Writes one user; how long that took, or −1. */
static int64_t write_user(struct client *client)
{
    int64_t before = clock_us();
    struct answer answer = http_post_name(client, "Ann");
    bool created = answer.status == 201;

    if (!created && answer.status != 503)
        fprintf(stderr, "told %ld %.200s after %lld ms\n", answer.status, answer.body,
                (long long)(clock_us() - before) / 1000);
    answer_done(&answer);
    return created ? clock_us() - before : -1;
}

static void *write_users(void *context)
{
    struct hand *hand = context;
    struct client *client = client_open(hand->trial->stack.port + hand->node, true);

    while (!hand->trial->stop) {
        int64_t us = write_user(client);

        if (us < 0)
            hand->failed++;
        else if (us > hand->slowest_us)
            hand->slowest_us = us;
        hand->written++;
        sleep_ms(PAUSE_MS);
    }
    client_close(client);
    return NULL;
}

/* --- who leads -------------------------------------------------------------------------------- */

/* All are ready and follow one leader. */
static bool is_settled(void *context)
{
    struct trial *trial = context;
    int leader = 0;

    for (int node = 1; node <= NODES; node++) {
        struct answer ready = http_get(trial->stack.port + node, "/readyz");
        struct answer view = http_get(trial->stack.port + node, "/cluster");
        const char *at = strstr(view.body, "\"leader\":");
        int said = at != NULL ? (int)strtol(at + strlen("\"leader\":"), NULL, 10) : 0;
        bool good = ready.status == 200 && said != 0 && (node == 1 || said == leader);

        leader = said;
        answer_done(&ready);
        answer_done(&view);
        if (!good)
            return false;
    }
    trial->leader = leader;
    return true;
}

static pid_t raft_pid(const struct trial *trial, int node)
{
    char path[64];

    snprintf(path, sizeof path, "../node-%d/raft.pid", node);
    return stack_pid(&trial->stack, path);
}

/* --- the blow --------------------------------------------------------------------------------- */

enum blow { NO_BLOW, KILL_LEADER, END_LEADER, STOP_LEADER, KILL_FOLLOWER, STOP_FOLLOWER };

static const int signals[] = {
    [KILL_LEADER] = SIGKILL,   [END_LEADER] = SIGTERM,    [STOP_LEADER] = SIGSTOP,
    [KILL_FOLLOWER] = SIGKILL, [STOP_FOLLOWER] = SIGSTOP,
};

struct figures {
    int count;
    int64_t first_us[TRIALS_MAX];   /* from the blow to the answer of a write that began after it */
    int64_t slowest_us[TRIALS_MAX]; /* write at a survivor, from the blow on */
    long failed;                    /* at survivors */
};

struct probing {
    pthread_t thread;
    struct client *client;
    int64_t us, answered_us; /* how long it took, −1: it failed; when that was */
};

static void *probe(void *context)
{
    struct probing *probing = context;

    probing->us = write_user(probing->client);
    probing->answered_us = clock_us();
    return NULL;
}

/* What survivors say from the blow on. */
static void watch(struct trial *trial, int victim, int64_t blow_us, struct figures *figures)
{
    struct probing probing[NODES];
    int64_t first = INT64_MAX, slowest = 0;

    for (int i = 0; i < NODES; i++) {
        probing[i] = (struct probing){.client = trial->probes[i]};
        if (i + 1 != victim)
            cr_assert_eq(pthread_create(&probing[i].thread, NULL, probe, &probing[i]), 0);
    }
    for (int i = 0; i < NODES; i++) {
        if (i + 1 == victim)
            continue;
        pthread_join(probing[i].thread, NULL);
        figures->failed += probing[i].us < 0;
        if (probing[i].us >= 0 && probing[i].answered_us - blow_us < first)
            first = probing[i].answered_us - blow_us;
        slowest = probing[i].us > slowest ? probing[i].us : slowest;
    }
    sleep_ms(WATCHED_MS);
    for (int i = 0; i < NODES; i++) {
        if (i + 1 == victim)
            continue;
        figures->failed += trial->hands[i].failed;
        if (trial->hands[i].slowest_us > slowest)
            slowest = trial->hands[i].slowest_us;
    }
    figures->first_us[figures->count] = first;
    figures->slowest_us[figures->count++] = slowest;
}

static void strike(struct trial *trial, enum blow blow, struct figures *figures)
{
    bool at_leader = blow == KILL_LEADER || blow == END_LEADER || blow == STOP_LEADER;
    int victim = at_leader ? trial->leader : trial->leader % NODES + 1;
    pid_t pid = raft_pid(trial, victim);
    int64_t blow_us;

    for (int i = 0; i < NODES; i++) {
        trial->hands[i].failed = 0;
        trial->hands[i].slowest_us = 0;
    }
    blow_us = clock_us();
    if (blow != NO_BLOW)
        cr_assert_eq(kill(pid, signals[blow]), 0, "kill: %s", strerror(errno));
    watch(trial, blow == NO_BLOW ? 0 : victim, blow_us, figures);
    if (blow == STOP_FOLLOWER || blow == STOP_LEADER)
        kill(pid, SIGCONT);
    else if (blow != NO_BLOW)
        stack_up(&trial->stack);
    cr_assert(wait_for(is_settled, trial, 20), "the nodes do not settle");
}

/* --- trials ----------------------------------------------------------------------------------- */

static void start(struct trial *ret_trial)
{
    struct trial *trial = ret_trial;

    *trial = (struct trial){.stack = stack_start_nodes(NODES)};
    cr_assert(wait_for(is_settled, trial, 20), "the nodes do not settle");
    for (int i = 0; i < NODES; i++) {
        struct hand *hand = &trial->hands[i];

        trial->probes[i] = client_open(trial->stack.port + i + 1, true);
        cr_assert_geq(write_user(trial->probes[i]), 0);
        hand->trial = trial;
        hand->node = i + 1;
        cr_assert_eq(pthread_create(&hand->thread, NULL, write_users, hand), 0);
    }
}

static void finish(struct trial *trial)
{
    trial->stop = true;
    for (int i = 0; i < NODES; i++) {
        pthread_join(trial->hands[i].thread, NULL);
        client_close(trial->probes[i]);
    }
    stack_stop(&trial->stack);
}

static int by_size(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return (a > b) - (a < b);
}

struct promise {
    double median_first_ms, worst_first_ms, slowest_ms; /* 0: none */
};

static void expect_at_most(double ms, double promised, const char *what, const char *title)
{
    if (promised > 0 && in_earnest())
        cr_expect_leq(ms, promised, "%s: %s is %.1f ms, promised are %.0f", title, what, ms,
                      promised);
    cr_expect_leq(ms, 10000, "%s: %s is %.1f ms", title, what, ms);
}

static void measure(const char *title, enum blow blow, struct promise promise)
{
    static struct figures figures;
    struct trial trial;
    int64_t *first = figures.first_us, *slowest = figures.slowest_us;
    int count = trials();

    start(&trial);
    for (int i = 0; i < count; i++)
        strike(&trial, blow, &figures);
    finish(&trial);
    qsort(first, (size_t)count, sizeof *first, by_size);
    qsort(slowest, (size_t)count, sizeof *slowest, by_size);
    fprintf(stderr,
            "%-16s %3d trials: next write median %7.1f worst %7.1f ms; slowest write median %7.1f "
            "worst %7.1f ms; %ld failed\n",
            title, count, (double)first[count / 2] / 1000, (double)first[count - 1] / 1000,
            (double)slowest[count / 2] / 1000, (double)slowest[count - 1] / 1000, figures.failed);
    cr_expect_eq(figures.failed, 0, "%s: %ld requests at survivors failed", title, figures.failed);
    expect_at_most((double)first[count / 2] / 1000, promise.median_first_ms,
                   "the next write, in the median,", title);
    expect_at_most((double)first[count - 1] / 1000, promise.worst_first_ms,
                   "the next write, at worst,", title);
    expect_at_most((double)slowest[count - 1] / 1000, promise.slowest_ms, "the slowest write",
                   title);
}

Test(failover, kill_of_the_leader, .timeout = 1800)
{
    measure("leader killed", KILL_LEADER,
            (struct promise){.median_first_ms = 100, .worst_first_ms = 1000});
}

Test(failover, sigterm_of_the_leader, .timeout = 1800)
{
    measure("leader ended", END_LEADER, (struct promise){.slowest_ms = 100});
}

Test(failover, kill_of_a_follower, .timeout = 1800)
{
    measure("follower killed", KILL_FOLLOWER, (struct promise){.slowest_ms = 50});
}

Test(failover, stop_of_a_follower, .timeout = 1800)
{
    measure("follower stopped", STOP_FOLLOWER, (struct promise){.slowest_ms = 50});
}

/* For comparison only: a leader that stops without dying, and the machine left alone. */
Test(failover, stop_of_the_leader, .timeout = 1800)
{
    measure("leader stopped", STOP_LEADER, (struct promise){0});
}

Test(failover, nothing_at_all, .timeout = 1800)
{
    if (!in_earnest())
        cr_skip_test("only beside the figures of make failover");
    measure("left alone", NO_BLOW, (struct promise){0});
}
