/*
 * A real Redis that loses, forgets or refuses what it was given, or is changed by hand: each ends
 * in a directory that is whole, or in a clear refusal, and in a line that says what happened.
 */
#include "tests/e2e/cluster.h"
#include "tests/e2e/http.h"
#include "tests/e2e/load.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLI  "redis-cli -s $N/redis.sock "
#define KEYS "rollcall:rollcall:1:"
#define META CLI "HGET " KEYS "meta "

/* --- a node alone ----------------------------------------------------------------------------- */

static struct stack start(void)
{
    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    return stack_start();
}

static void create(int port, int from, int to)
{
    struct client *client = client_open(port, true);

    for (int i = from; i <= to; i++) {
        char name[32];
        struct answer answer;

        snprintf(name, sizeof name, "user-%d", i);
        answer = http_post_name(client, name);
        cr_assert_eq(answer.status, 201, "%s: %ld %s", name, answer.status, answer.body);
        answer_done(&answer);
    }
    client_close(client);
}

/* Names as long as may be, so that logs and snapshots are large. */
static void create_long(int port, int from, int to, long *slowest_ms)
{
    struct client *client = client_open(port, true);

    for (int i = from; i <= to; i++) {
        char name[1025];
        struct answer answer;
        long began = now_ms();

        memset(name, 'x', sizeof name - 1);
        name[sizeof name - 1] = '\0';
        name[snprintf(name, sizeof name, "user-%d-", i)] = 'x';
        answer = http_post_name(client, name);
        cr_assert_eq(answer.status, 201, "%d: %ld %s", i, answer.status, answer.body);
        answer_done(&answer);
        if (slowest_ms != NULL && now_ms() - began > *slowest_ms)
            *slowest_ms = now_ms() - began;
    }
    client_close(client);
}

struct creating {
    int port, from, to;
};

static void *create_part(void *context)
{
    const struct creating *part = context;

    create_long(part->port, part->from, part->to, NULL);
    return NULL;
}

/* The same by several clients at a time: many of them share a flush. */
static void create_many_long(int port, int from, int to)
{
    struct creating parts[8];
    pthread_t threads[ARRAY_LEN(parts)];
    int each = (to - from + 1 + (int)ARRAY_LEN(parts) - 1) / (int)ARRAY_LEN(parts);

    for (int i = 0; i < (int)ARRAY_LEN(parts); i++) {
        int last = from + (i + 1) * each - 1;

        parts[i] = (struct creating){port, from + i * each, last < to ? last : to};
        cr_assert_eq(pthread_create(&threads[i], NULL, create_part, &parts[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        pthread_join(threads[i], NULL);
}

static void expect_users(int port, long count)
{
    struct answer users = http_get(port, "/users");

    cr_expect_eq(users_read(users.body, NULL, NULL), count, "%s", users.body);
    answer_done(&users);
}

static void expect_output(struct stack *stack, const char *command, const char *wanted)
{
    char output[512];

    stack_shell(stack, command, output, sizeof output);
    cr_expect_str_eq(output, wanted, "%s: %s", command, output);
}

static void run(struct stack *stack, const char *command)
{
    char output[2048];
    int status = stack_shell(stack, command, output, sizeof output);

    cr_assert_eq(status, 0, "%s: exit code %d\n%s", command, status, output);
}

/* A command that is to succeed some time. */
struct holding {
    struct stack *stack;
    const char *command;
};

static bool succeeds(void *context)
{
    struct holding *holding = context;
    char output[512];

    return stack_shell(holding->stack, holding->command, output, sizeof output) == 0;
}

static void wait_until(struct stack *stack, const char *command, int seconds)
{
    struct holding holding = {stack, command};

    cr_assert(wait_for(succeeds, &holding, seconds), "not within %d s: %s", seconds, command);
}

/* The node's diagnostics since the last `forget` have such a line. */
static void wait_for_line(struct stack *stack, const char *pattern)
{
    char command[512];

    snprintf(command, sizeof command,
             "tail -n +$(($(cat $D/seen) + 1)) $N/log/raft.log | grep -q '%s'", pattern);
    wait_until(stack, command, 20);
}

static void forget_lines(struct stack *stack)
{
    run(stack, "cat $N/log/raft.log | wc -l > $D/seen");
}

static void wait_for_snapshot_of(struct stack *stack, int users)
{
    char command[256];

    snprintf(command, sizeof command, "[ \"$(" META "users)\" -ge %d ]", users);
    wait_until(stack, command, 20);
}

/* Asks for a snapshot of all that there are. */
static void save(struct stack *stack, int users)
{
    run(stack, "kill -USR1 $(cat $N/raft.pid)");
    wait_for_snapshot_of(stack, users);
}

/* As the next process finds it: from Redis, since the log begins later. */
static void expect_users_after_kill(struct stack *stack, long count)
{
    stack_kill(stack_pid(stack, "raft.pid"));
    stack_up(stack);
    expect_users(stack->port, count);
}

Test(redis, emptied_under_a_running_node_it_holds_all_again, .timeout = 120)
{
    struct stack stack = start();

    create(stack.port, 1, 220);
    save(&stack, 220);
    forget_lines(&stack);
    run(&stack, CLI "FLUSHALL");
    wait_for_snapshot_of(&stack, 220);
    wait_for_line(&stack, "event=snapshot_lost .*Redis holds nothing");
    wait_for_line(&stack, "event=snapshot_done kind=full");
    expect_users_after_kill(&stack, 220);
    stack_stop(&stack);
}

Test(redis, changed_by_hand_under_a_running_node_it_is_put_right, .timeout = 120)
{
    static const struct {
        const char *command, *line;
    } edits[] = {
        {CLI "HSET " KEYS "users 7 '{\"id\":7,\"name\":\"Mallory\"}'", "users field 7 is not what"},
        {CLI "HDEL " KEYS "users 7", "users has 219 fields"},
        {CLI "HSET " KEYS "users 9999 x", "users has 221 fields"},
        {CLI "HSET " KEYS "answers 1 x", "answers field 1 is not what"},
        {CLI "HDEL " KEYS "indexes 2", "indexes has 3 fields"},
        {CLI "HSET " KEYS "meta term 7", "one that was changed"},
        {CLI "DEL " KEYS "meta", "Redis holds nothing"},
        {CLI "RENAME " KEYS "answers elsewhere", "answers has 0 fields"},
    };
    struct stack stack = start();

    create(stack.port, 1, 220);
    save(&stack, 220);
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        char line[256];

        forget_lines(&stack);
        run(&stack, edits[i].command);
        snprintf(line, sizeof line, "event=snapshot_lost .*%s", edits[i].line);
        wait_for_line(&stack, line);
        wait_for_line(&stack, "event=snapshot_done kind=full");
        expect_output(&stack, CLI "HGET " KEYS "users 7", "{\"id\":7,\"name\":\"user-7\"}\n");
        expect_output(&stack, CLI "HLEN " KEYS "users", "220\n");
    }
    expect_users_after_kill(&stack, 220);
    stack_stop(&stack);
}

/* The node does not start, and says why; when the data are back, it does. */
static void expect_refusal(struct stack *stack, const char *line)
{
    char output[4096];

    forget_lines(stack);
    cr_assert_neq(stack_shell(stack,
                              "\"$ROOT/deploy/local\" up --nodes $NODES --dir $D --port $P "
                              "2>&1",
                              output, sizeof output),
                  0);
    wait_for_line(stack, line);
    run(stack, "\"$ROOT/deploy/local\" down --dir $D");
}

Test(redis, lost_or_old_while_down_it_is_replayed_into_from_a_log_that_is_whole, .timeout = 120)
{
    struct stack stack = start();

    create(stack.port, 1, 120);
    save(&stack, 120);
    stack_down(&stack);
    run(&stack, "cp -a $N/redis $D/old");
    stack_up(&stack);
    create(stack.port, 121, 400);
    save(&stack, 400);
    stack_down(&stack);
    run(&stack, "mv $N/redis $D/new");
    stack_up(&stack);
    wait_for_line(&stack, "event=snapshot_none .*the log holds everything");
    expect_users(stack.port, 400);
    stack_down(&stack);

    run(&stack, "rm -rf $N/redis; mv $D/old $N/redis");
    stack_up(&stack);
    expect_users(stack.port, 400);
    stack_down(&stack);

    /* Where the log was lost, the state lies beyond it. */
    run(&stack, "rm -rf $N/redis; mv $D/new $N/redis; mv $N/wal $D/wal; mkdir $N/wal");
    expect_refusal(&stack, "event=refused .*the log ends at 0: the log was lost");
    run(&stack, "rm -rf $N/wal; mv $D/wal $N/wal");
    stack_up(&stack);
    expect_users(stack.port, 400);
    stack_stop(&stack);
}

/* So many that the log of 8 MiB segments begins after the snapshot before the last. */
#define MANY 17000

Test(redis, lost_old_or_changed_while_down_a_lone_node_refuses_and_says_what_to_bring_back,
     .timeout = 240)
{
    struct stack stack = start();

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "100000", 1);
    stack_down(&stack);
    stack_up(&stack);
    create_long(stack.port, 1, 100, NULL);
    save(&stack, 100);
    stack_down(&stack);
    run(&stack, "cp -a $N/redis $D/old");
    stack_up(&stack);
    create_many_long(stack.port, 101, MANY);
    save(&stack, MANY);
    create_long(stack.port, MANY + 1, MANY + 10, NULL);
    save(&stack, MANY + 10);
    stack_down(&stack);
    run(&stack, "mv $N/redis $D/new; cp -a $D/old $N/redis");
    expect_refusal(&stack, "event=refused .*Redis holds only entries up to 102: ");
    run(&stack, "rm -rf $N/redis");
    expect_refusal(&stack, "event=refused .*Redis holds nothing, index 0: ");
    run(&stack, "rm -rf $N/redis; mv $D/new $N/redis");
    stack_up(&stack);
    stack_kill(stack_pid(&stack, "raft.pid"));
    run(&stack, CLI "HDEL " KEYS "users 7");
    expect_refusal(&stack, "event=refused .*users has 17009 fields, and should have 17010");
    run(&stack,
        "redis-server $ROOT/deploy/redis.conf --dir $N/redis --unixsocket $N/redis.sock "
        "--daemonize yes >/dev/null; sleep 1; " CLI "HSET " KEYS
        "users 7 \"{\\\"id\\\":7,\\\"name\\\":\\\"user-7-$(printf 'x%.0s' {1..1017})\\\"}\"; " CLI
        "SHUTDOWN");
    stack_up(&stack);
    expect_users(stack.port, MANY + 10);
    stack_stop(&stack);
}

Test(redis, out_of_memory_it_costs_no_request_and_catches_up, .timeout = 120)
{
    struct stack stack = start();

    create(stack.port, 1, 60);
    save(&stack, 60);
    forget_lines(&stack);
    run(&stack, CLI "CONFIG SET maxmemory 100000");
    create(stack.port, 61, 300);
    wait_for_line(&stack, "event=snapshot_failed .*OOM");
    expect_users(stack.port, 300);
    run(&stack, CLI "CONFIG SET maxmemory 0");
    wait_for_snapshot_of(&stack, 300);
    expect_users_after_kill(&stack, 300);
    stack_stop(&stack);
}

Test(redis, that_may_evict_or_keeps_no_file_is_told_what_to_be_set_to, .timeout = 120)
{
    static const struct {
        const char *wrong, *line, *right;
    } settings[] = {
        {CLI "CONFIG SET maxmemory-policy allkeys-lru", "may evict .*noeviction",
         CLI "CONFIG SET maxmemory-policy noeviction"},
        {CLI "CONFIG SET appendonly no", "keeps nothing on disk .*appendonly yes",
         CLI "CONFIG SET appendonly yes"},
        {CLI "CONFIG SET appendfsync everysec", "set appendfsync always",
         CLI "CONFIG SET appendfsync always"},
    };
    struct stack stack = start();
    int users = 60;

    create(stack.port, 1, users);
    save(&stack, 60);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        char line[256];
        struct answer ready;

        forget_lines(&stack);
        run(&stack, settings[i].wrong);
        create(stack.port, users + 1, users + 60);
        users += 60;
        snprintf(line, sizeof line, "event=snapshot_failed .*%s", settings[i].line);
        wait_for_line(&stack, line);
        ready = http_get(stack.port, "/readyz?verbose");
        cr_expect_eq(ready.status, 200, "%s", ready.body);
        cr_expect_not_null(strstr(ready.body, "not-durable"), "%s", ready.body);
        answer_done(&ready);
        run(&stack, settings[i].right);
        wait_for_line(&stack, "event=snapshot_done");
    }
    expect_users_after_kill(&stack, users);
    stack_stop(&stack);
}

/* kill -9 of Redis at any moment of full and incremental saves, again and again. */
Test(redis, killed_in_the_midst_of_saves_loses_nothing, .timeout = 240)
{
    struct stack stack = start();
    struct load *load = load_start(stack.port, 4, true);
    unsigned seed = 4711;

    for (int round = 0; round < 12; round++) {
        if (round % 3 == 2)
            run(&stack, CLI "FLUSHALL"); /* the next one is complete */
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(kill(stack_pid(&stack, "raft.pid"), SIGUSR1), 0);
            sleep_ms((int)(rand_r(&seed) % 40));
        }
        if (round % 4 ==
            3) /* or nobody has what FLUSHALL took, and a node alone refuses to start */
            wait_until(&stack, CLI "EXISTS rollcall:rollcall:1:meta | grep -qx 1", 20);
        stack_kill(stack_pid(&stack, "redis.pid"));
        if (round % 4 == 3)
            stack_kill(stack_pid(&stack, "raft.pid"));
        stack_up(&stack);
    }
    (void)load_stop(load);
    stack_kill(stack_pid(&stack, "raft.pid"));
    stack_up(&stack);
    load_judge(load, stack.port);
    load_free(load);
    stack_stop(&stack);
}

/* Silent, not gone: SIGSTOP. Nobody waits for it but the snapshots. */
Test(redis, that_hangs_costs_no_request, .timeout = 120)
{
    struct stack stack = start();

    create(stack.port, 1, 60);
    save(&stack, 60);
    forget_lines(&stack);
    cr_assert_eq(kill(stack_pid(&stack, "redis.pid"), SIGSTOP), 0);
    create(stack.port, 61, 300);
    expect_users(stack.port, 300);
    wait_until(&stack, "tail -n 3 $N/log/raft.log | grep -q 'redis_down .*does not answer'", 30);
    cr_assert_eq(kill(stack_pid(&stack, "redis.pid"), SIGCONT), 0);
    wait_for_snapshot_of(&stack, 250);
    stack_stop(&stack);
}

/* --- among others ----------------------------------------------------------------------------- */

/* All nodes' snapshots of one entry, of one digest. */
static void expect_equal_digests(struct cluster *cluster)
{
    char output[512];

    cluster_settle(cluster, 20);
    run(&cluster->stack, "kill -USR1 $(cat $D/node-*/raft.pid)");
    wait_until(&cluster->stack,
               "for i in 1 2 3; do redis-cli -s $D/node-$i/redis.sock "
               "HMGET rollcall:rollcall:$i:meta index digest | tr '\\n' ' '; echo; done | "
               "tee $D/digests | uniq | wc -l | grep -qx 1",
               20);
    stack_shell(&cluster->stack, "cat $D/digests", output, sizeof output);
    cr_expect_eq(strspn(output, "0123456789abcdef \n"), strlen(output), "%s", output);
    cr_expect_gt(strlen(output), 3 * 20u, "%s", output);
}

static void enrol_long(struct cluster *cluster, int node, int from, int to, long *slowest_ms)
{
    net_enter(cluster->net, node);
    create_long(CLUSTER_PORT, from, to, slowest_ms);
    net_enter(cluster->net, 0);
}

static int follower_of(struct cluster *cluster)
{
    return cluster_leader(cluster) % CLUSTER_NODES + 1;
}

static void wait_for_line_of(struct cluster *cluster, int node, const char *pattern, int seconds)
{
    char command[512];

    snprintf(command, sizeof command,
             "tail -n +$(($(cat $D/seen-%d) + 1)) $D/node-%d/log/raft.log | grep -q '%s'", node,
             node, pattern);
    wait_until(&cluster->stack, command, seconds);
}

Test(redis, lost_while_its_node_was_down_the_state_comes_from_a_peer_through_cuts, .timeout = 240)
{
    const struct way far = {.delay_ms = 60}, cut = {.cut = true};
    struct cluster cluster;
    char command[512];
    long slowest_ms = 0, usual_ms;
    int node, leader;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "500", 1);
    cluster = cluster_start();
    leader = cluster_leader(&cluster);
    enrol_long(&cluster, leader, 1, 4000, &slowest_ms);
    expect_equal_digests(&cluster);
    node = follower_of(&cluster);

    /* Its log is gone with its Redis: what it needs is in snapshots alone. */
    cluster_down(&cluster, node);
    snprintf(command, sizeof command,
             "rm -rf $D/node-%d/redis $D/node-%d/wal; cat $D/node-%d/log/raft.log | wc -l > "
             "$D/seen-%d",
             node, node, node, node);
    run(&cluster.stack, command);
    net_set_all(cluster.net, node, far);
    cluster_up(&cluster, node);
    wait_for_line_of(&cluster, node, "event=snapshot_fetching", 20);
    sleep_ms(500);
    usual_ms = slowest_ms; /* on this machine, when nothing is amiss */
    slowest_ms = 0;
    for (int round = 0; round < 2; round++) {
        net_set_all(cluster.net, node, cut);
        enrol_long(&cluster, leader, 4001 + 100 * round, 4100 + 100 * round, &slowest_ms);
        sleep_ms(1500);
        net_set_all(cluster.net, node, far);
        sleep_ms(700);
    }
    wait_for_line_of(&cluster, node, "event=snapshot_installed", 60);
    net_heal(cluster.net);
    cluster_settle(&cluster, 30);
    expect_equal_digests(&cluster);
    fprintf(stderr, "slowest write while a node was away and installed: %ld ms, before: %ld ms\n",
            slowest_ms, usual_ms);
    cr_expect_leq(slowest_ms, 1000 + 4 * usual_ms);
    cluster_stop(&cluster);
}

Test(redis, emptied_or_changed_while_its_node_was_down_is_told_and_mended, .timeout = 240)
{
    static const struct {
        const char *damage, *line;
    } damages[] = {
        {"HSET rollcall:rollcall:$I:users 7 '{\"id\":7,\"name\":\"Mallory\"}'",
         "event=snapshot_damaged"},
        {"HSET rollcall:rollcall:$I:meta index 1", "event=snapshot_damaged .*was changed"},
        {"FLUSHALL", "event=\\(snapshot_none\\|state_missing\\)"},
    };
    struct cluster cluster;
    long slowest_ms = 0;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    cluster = cluster_start();
    enrol_long(&cluster, cluster_leader(&cluster), 1, 200, &slowest_ms);
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        int node = follower_of(&cluster);
        char command[512];

        expect_equal_digests(&cluster);
        cluster_kill(&cluster, node, "raft.pid");
        snprintf(command, sizeof command,
                 "I=%d; cat $D/node-$I/log/raft.log | wc -l > $D/seen-$I; "
                 "redis-cli -s $D/node-$I/redis.sock %s",
                 node, damages[i].damage);
        run(&cluster.stack, command);
        cluster_up(&cluster, node);
        wait_for_line_of(&cluster, node, damages[i].line, 20);
        cluster_settle(&cluster, 30);
        expect_equal_digests(&cluster);
    }
    cluster_stop(&cluster);
}
