/*
 * A real Redis that starts with a file that was cut in a transaction, or that answers errors while
 * its node starts.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/load.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLI  "redis-cli -s $N/redis.sock "
#define META CLI "HGET rollcall:rollcall:1:meta "

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

static void expect_users(struct stack *stack, long count)
{
    struct answer users = http_get(stack->port, "/users");

    cr_assert_eq(users_read(users.body, NULL, NULL), count, "%s", users.body);
    answer_done(&users);
}

static void run(struct stack *stack, const char *command)
{
    char output[2048];
    int status = stack_shell(stack, command, output, sizeof output);

    cr_assert_eq(status, 0, "%s: exit code %d\n%s", command, status, output);
}

/* Asks for a snapshot until one holds so many users. */
static void save(struct stack *stack, int users)
{
    char command[256];

    snprintf(command, sizeof command,
             "for i in $(seq 300); do [ \"$(" META "users)\" -ge %d ] && exit 0; "
             "kill -USR1 $(cat $N/raft.pid); sleep 0.1; done; exit 1",
             users);
    run(stack, command);
}

/* The last transaction of the append-only file is cut after so many hundredths of it. */
static void tear(struct stack *stack, int percent)
{
    char command[512];

    snprintf(command, sizeof command,
             "f=$(ls $N/redis/appendonlydir/*.incr.aof | tail -n 1); "
             "at=$(grep -abo MULTI $f | tail -n 1 | cut -d : -f 1); end=$(stat -c %%s $f); "
             "truncate -s $((at + 7 + (end - at - 7) * %d / 100)) $f",
             percent);
    run(stack, command);
}

Test(redis_start, after_a_cut_in_a_transaction_makes_no_torn_half_true, .timeout = 300)
{
    static const int percent[] = {0, 17, 50, 83, 99};

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    for (size_t i = 0; i < sizeof percent / sizeof percent[0]; i++) {
        struct stack stack = stack_start();
        create(&stack, 1, 20);
        save(&stack, 20);
        create(&stack, 21, 40);
        save(&stack, 40);
        stack_down(&stack);
        tear(&stack, percent[i]);
        stack_up(&stack);
        expect_users(&stack, 40);
        create(&stack, 41, 60);
        save(&stack, 60);
        create(&stack, 61, 80);
        save(&stack, 80);
        for (int starts = 0; starts < 2; starts++) {
            stack_down(&stack);
            stack_up(&stack);
            expect_users(&stack, 80);
            run(&stack, "! grep -q 'snapshot_damaged\\|snapshot_lost' $N/log/raft.log");
        }
        stack_stop(&stack);
    }
}

/* A lone node whose log begins later: it waits for Redis to let it in, and says what to do. */
Test(redis_start, behind_a_password_waits_and_calls_nothing_damaged, .timeout = 180)
{
    struct stack stack;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    stack = stack_start();
    for (int users = 60; users <= 180; users += 60) {
        create(&stack, users - 59, users);
        save(&stack, users);
    }
    run(&stack, CLI "CONFIG SET requirepass x");
    stack_kill(stack_pid(&stack, "raft.pid"));
    run(&stack,
        "(for i in $(seq 600); do grep -q 'redis_refuses.*NOAUTH.*requirepass' $N/log/raft.log && "
        "break; sleep 0.1; done; sleep 1; " CLI "--no-auth-warning -a x CONFIG SET requirepass '') "
        "> /dev/null 2>&1 &");
    stack_up(&stack);
    expect_users(&stack, 180);
    run(&stack, "[ $(grep -c redis_refuses $N/log/raft.log) = 1 ]");
    run(&stack, "! grep -q 'snapshot_damaged\\|event=refused' $N/log/raft.log");
    stack_stop(&stack);
}
