/*
 * Snapshots, as an operator sees them with redis-cli; and a node whose Redis is away.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/load.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLI  "redis-cli -s $N/redis.sock "
#define KEYS "rollcall:rollcall:1:"

static long meta(struct stack *stack, const char *field)
{
    char command[128], output[256];

    snprintf(command, sizeof command, CLI "HGET " KEYS "meta %s", field);
    stack_shell(stack, command, output, sizeof output);
    return strtol(output, NULL, 10);
}

static void create(struct stack *stack, int from, int to)
{
    struct client *client = client_open(stack->port, true);

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

struct at_least {
    struct stack *stack;
    long users;
};

static bool snapshot_holds(void *context)
{
    struct at_least *least = context;

    return meta(least->stack, "users") >= least->users;
}

static void expect_users(struct stack *stack, long count)
{
    struct answer users = http_get(stack->port, "/users");

    cr_expect_eq(users_read(users.body, NULL, NULL), count, "%s", users.body);
    answer_done(&users);
}

Test(redis, a_snapshot_can_be_read_with_redis_cli_and_the_log_before_it_goes, .timeout = 120)
{
    struct stack stack;
    struct at_least least = {&stack, 150};
    char output[512];

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    stack = stack_start();
    create(&stack, 1, 200);
    cr_assert(wait_for(snapshot_holds, &least, 20), "no snapshot of 150 users");

    stack_shell(&stack, CLI "HGET " KEYS "users 7", output, sizeof output);
    cr_expect_str_eq(output, "{\"id\":7,\"name\":\"user-7\"}\n");
    cr_expect_geq(meta(&stack, "index"), 150);
    cr_expect_geq(meta(&stack, "term"), 1);
    stack_shell(&stack, CLI "HLEN " KEYS "users", output, sizeof output);
    cr_expect_eq(strtol(output, NULL, 10), meta(&stack, "users"));

    stack_down(&stack);
    stack_up(&stack);
    expect_users(&stack, 200);
    create(&stack, 201, 210);
    expect_users(&stack, 210);
    stack_stop(&stack);
}

/* A node may hear a quarter of a second late that Redis is gone (redis.c). */
static bool ready_without_redis(void *context)
{
    const struct stack *stack = context;
    struct answer ready = http_get(stack->port, "/readyz?verbose");
    bool so = ready.status == 200 && strstr(ready.body, "redis-down") != NULL;

    answer_done(&ready);
    return so;
}

Test(redis, while_redis_is_away_service_goes_on_and_snapshots_catch_up_after, .timeout = 120)
{
    struct stack stack;
    struct at_least before = {&stack, 50}, after = {&stack, 201};

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    stack = stack_start();
    create(&stack, 1, 100);
    cr_assert(wait_for(snapshot_holds, &before, 20));

    stack_kill(stack_pid(&stack, "redis.pid"));
    create(&stack, 101, 200);
    expect_users(&stack, 200);
    cr_expect(wait_for(ready_without_redis, &stack, 10), "/readyz?verbose does not say redis-down");

    stack_up(&stack);
    create(&stack, 201, 260);
    cr_assert(wait_for(snapshot_holds, &after, 30), "snapshots do not catch up");
    stack_down(&stack);
    stack_up(&stack);
    expect_users(&stack, 260);
    stack_stop(&stack);
}

Test(redis, a_node_killed_without_redis_comes_back_when_redis_does, .timeout = 120)
{
    struct stack stack;
    struct at_least before = {&stack, 50};

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    stack = stack_start();
    create(&stack, 1, 120);
    cr_assert(wait_for(snapshot_holds, &before, 20));
    stack_kill(stack_pid(&stack, "redis.pid"));
    create(&stack, 121, 240);
    stack_kill(stack_pid(&stack, "raft.pid"));
    stack_up(&stack);
    expect_users(&stack, 240);
    stack_stop(&stack);
}
