/*
 * deploy/local and deploy/node, as an operator meets them: what they say when something is wrong,
 * and what they leave behind.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/stack.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOCAL "\"$ROOT/deploy/local\" "
#define NODE  "\"$ROOT/deploy/node\" "

static void expect_nothing_runs(struct stack *stack)
{
    char output[2048];

    cr_expect_eq(stack_shell(stack, LOCAL "status --dir $D", output, sizeof output), 1);
    cr_expect_null(strstr(output, "running"), "%s", output);
}

/* The command fails and says `text`. */
static void expect_failure(struct stack *stack, const char *command, const char *text)
{
    char output[4096];
    int status = stack_shell(stack, command, output, sizeof output);

    cr_expect_neq(status, 0, "%s succeeds", command);
    cr_expect_not_null(strstr(output, text), "%s says\n%s\nand not: %s", command, output, text);
}

/* Listens where the stack wants to. */
static int take_port(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 1), 0);
    return fd;
}

Test(deploy, a_taken_port_is_named_with_its_holder_and_nothing_is_left_running, .timeout = 60)
{
    struct stack stack = stack_prepare();
    char who[64];

    snprintf(who, sizeof who, "is taken by pid %d", (int)getpid());
    for (int port = stack.port; port <= stack.port + 1; port++) {
        int fd = take_port(port);

        expect_failure(&stack, LOCAL "up --nodes $NODES --dir $D --port $P", who);
        expect_failure(&stack, LOCAL "run --nodes $NODES --dir $D --port $P", who);
        expect_nothing_runs(&stack);
        close(fd);
    }
    stack_up(&stack);
    stack_stop(&stack);
}

Test(deploy, a_node_that_refuses_to_start_is_quoted_and_nothing_is_left_running, .timeout = 60)
{
    struct stack stack = stack_prepare();

    expect_failure(
        &stack, "mkdir -p $N; echo no folder >$N/wal;" LOCAL "up --nodes $NODES --dir $D --port $P",
        "raft says:");
    expect_nothing_runs(&stack);
    expect_failure(&stack,
                   "rm $N/wal; ROLLCALL_SNAPSHOT_ENTRIES=many " LOCAL
                   "up --nodes $NODES --dir $D --port $P",
                   "raft did not start");
    expect_nothing_runs(&stack);
    stack_up(&stack);
    stack_stop(&stack);
}

Test(deploy, bad_options_are_refused_by_name, .timeout = 60)
{
    struct stack stack = stack_prepare();

    expect_failure(&stack, LOCAL "up --dir $D --port 99999", "--port 99999");
    expect_failure(&stack, LOCAL "up --dir $D --port x", "--port x");
    expect_failure(&stack, LOCAL "up --dir $D --nodes 0", "--nodes 0");
    expect_failure(&stack, LOCAL "up --dir", "--dir needs a value");
    expect_failure(&stack, LOCAL "sideways", "say up, run, down, status or config");
    expect_failure(&stack, NODE "up --id 1", "--dir is missing");
    expect_failure(&stack, NODE "up --id one --dir $N", "--id");
    expect_failure(&stack, NODE "up --id 1 --dir $N --http 8080", "--http 8080");
    expect_failure(&stack, NODE "up --id 1 --dir '/tmp/a b'", "only letters");
    expect_failure(&stack, NODE "up --id 1 --dir $D/$(printf '%0100d' 0)", "at most 107 bytes");
    expect_failure(&stack, NODE "up --id 1 --dir /proc/none", "choose another --dir");
    expect_failure(&stack, "ROLLCALL_BIN=/nowhere " NODE "up --id 1 --dir $N --http 127.0.0.1:$P",
                   "ROLLCALL_BIN=/nowhere");
    expect_nothing_runs(&stack);
    stack_stop(&stack);
}

Test(deploy, a_pid_file_that_names_a_stranger_is_not_believed, .timeout = 60)
{
    struct stack stack = stack_start();
    char command[256];

    stack_down(&stack);
    snprintf(command, sizeof command,
             "for f in redis raft app-master nginx ../front; do echo %d >$N/$f.pid; done",
             (int)getpid());
    stack_shell(&stack, command, NULL, 0);
    expect_nothing_runs(&stack);
    stack_down(&stack);
    stack_shell(&stack, command, NULL, 0);
    stack_up(&stack);
    stack_stop(&stack);
}

static bool answers(void *context)
{
    struct answer answer = http_get(*(int *)context, "/readyz");
    bool ready = answer.status == 200;

    answer_done(&answer);
    return ready;
}

static bool says_nothing(void *context)
{
    struct answer answer = http_get(*(int *)context, "/readyz");
    bool silent = answer.status == 0;

    answer_done(&answer);
    return silent;
}

/* deploy/local run is what `make run` becomes. */
Test(deploy, run_stops_all_of_it_on_ctrl_c_and_finds_the_users_again, .timeout = 120)
{
    struct stack stack = stack_prepare();

    for (int round = 1; round <= 3; round++) {
        static const char *signals[] = {"INT", "TERM", "INT"};
        char command[256], expected[64];
        struct client *client;
        struct answer answer;

        stack_shell(&stack,
                    "env --default-signal=INT setsid " LOCAL
                    "run --nodes $NODES --dir $D --port $P >$D/run.out 2>&1 </dev/null & echo $! "
                    ">$D/run.pid",
                    NULL, 0);
        cr_assert(wait_for(answers, &stack.port, 30), "run does not get ready");
        client = client_open(stack.port, true);
        answer = http_post_name(client, "Ann");
        snprintf(expected, sizeof expected, "{\"id\":%d,\"name\":\"Ann\"}", round);
        cr_expect_str_eq(answer.body, expected);
        answer_done(&answer);
        client_close(client);

        snprintf(command, sizeof command,
                 "kill -%s $(cat $D/run.pid); while [ -e /proc/$(cat $D/run.pid)/exe ]; do sleep "
                 "0.1; done",
                 signals[round - 1]);
        stack_shell(&stack, command, NULL, 0);
        cr_expect(wait_for(says_nothing, &stack.port, 10));
        expect_nothing_runs(&stack);
    }
    stack_stop(&stack);
}

Test(deploy, up_twice_changes_nothing_and_down_twice_is_no_error, .timeout = 60)
{
    struct stack stack = stack_start();
    pid_t before = stack_pid(&stack, "raft.pid");

    stack_up(&stack);
    cr_expect_eq(stack_pid(&stack, "raft.pid"), before);
    stack_down(&stack);
    expect_nothing_runs(&stack);
    stack_down(&stack);
    stack_stop(&stack);
}
