/*
 * deploy/local and deploy/node, as an operator meets them: what they say when something is wrong,
 * and what they leave behind.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

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
    expect_failure(&stack, LOCAL "up --dir $D --nodes 8", "a number from 1 to 7");
    expect_failure(&stack, "ROLLCALL_UP_SECONDS=x " LOCAL "up --dir $D", "ROLLCALL_UP_SECONDS=x");
    expect_failure(&stack, LOCAL "up --dir", "--dir needs a value");
    expect_failure(&stack, LOCAL "sideways", "say up, run, down, status, reload or config");
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
    operator_does(&stack, 0, NULL,
                  "for pid in $(cat $N/*.pid $D/*.pid); do kill -0 $pid || exit; done");
    stack_down(&stack);
    expect_nothing_runs(&stack);
    stack_down(&stack);
    stack_stop(&stack);
}

Test(deploy, what_is_well_runs_when_a_part_or_a_node_does_not_start, .timeout = 120)
{
    struct stack stack = stack_start_nodes(3);

    operator_enrols(stack.port, 1, 3);
    stack_down(&stack);
    /* One byte of one node's Redis file. */
    operator_does(&stack, 0, NULL,
                  "printf X | dd of=$(ls $D/node-2/redis/appendonlydir/*.incr.aof) bs=1 seek=0 "
                  "conv=notrunc 2>/dev/null");
    operator_does(&stack, 3, "node 2: redis did not start", LOCAL "up --dir $D --port $P");
    operator_enrols(stack.port, 4, 5);
    operator_does(&stack, 1, "node 2: redis  stopped", LOCAL "status --dir $D");
    /* And a node that does not start at all. */
    operator_does(&stack, 0, NULL,
                  NODE "down --dir $D/node-3; mv $D/node-3/wal $D/wal; echo none >$D/node-3/wal");
    operator_does(&stack, 3, "node 3 did not start; the others serve",
                  LOCAL "up --dir $D --port $P");
    operator_enrols(stack.port, 6, 7);
    stack_stop(&stack);
}

Test(deploy, what_files_and_the_environment_say_is_not_executed, .timeout = 60)
{
    struct stack stack = stack_prepare();
    static const char *const commands[] = {
        "echo \"$EVIL\" >$D/nodes; " LOCAL "up --dir $D --port $P",
        "echo \"$EVIL\" >$D/nodes; " LOCAL "status --dir $D",
        "rm $D/nodes; ROLLCALL_DOWN_SECONDS=$EVIL " LOCAL "down --dir $D",
        "ROLLCALL_UP_SECONDS=$EVIL " LOCAL "up --dir $D --port $P",
        LOCAL "up --dir $D --port \"$EVIL\"",
        NODE "up --dir $N --id \"$EVIL\"",
    };

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char command[512];

        snprintf(command, sizeof command, "EVIL='a[$(touch $D/executed)]'; %s", commands[i]);
        expect_failure(&stack, command, "a[$(touch");
    }
    operator_does(&stack, 0, NULL, "[ ! -e $D/executed ]");
    stack_stop(&stack);
}

Test(deploy, a_folder_that_others_may_write_to_is_refused, .timeout = 60)
{
    struct stack stack = stack_prepare();

    operator_does(&stack, 0, NULL, "mkdir -m 777 $D/open; echo kept >$D/kept");
    expect_failure(&stack, LOCAL "up --dir $D/open --port $P", "chmod go-w");
    expect_failure(&stack, NODE "down --dir $D/open", "chmod go-w");
    operator_does(&stack, 0, NULL, "ln -s $D/kept $D/.lock");
    expect_failure(&stack, LOCAL "up --dir $D --port $P", "is a link");
    operator_does(&stack, 0, "kept", "cat $D/kept; rm $D/.lock");
    stack_stop(&stack);
}

/* After a reboot the pid of a leader may be that of any session. */
Test(deploy, strangers_in_the_session_of_a_stale_pid_file_are_left_alone, .timeout = 60)
{
    struct stack stack = stack_prepare();

    operator_does(&stack, 0, NULL,
                  "mkdir $N; setsid bash -c 'sleep 60 >/dev/null 2>&1 & echo $! >$D/stranger; echo "
                  "$$ >$D/leader'; "
                  "while kill -0 $(cat $D/leader) 2>/dev/null; do sleep 0.1; done; "
                  "for f in redis raft app-master nginx; do cp $D/leader $N/$f.pid; done");
    operator_does(&stack, 0, NULL, NODE "down --dir $N");
    operator_does(&stack, 0, NULL,
                  "grep -q '^State:.S' /proc/$(cat $D/stranger)/status && kill $(cat $D/stranger)");
    stack_stop(&stack);
}

Test(deploy, a_file_where_a_socket_is_to_be_is_left_alone, .timeout = 120)
{
    struct stack stack = stack_start();

    stack_down(&stack);
    for (int i = 0; i < 3; i++) {
        static const char *const parts[] = {"redis", "raft", "app"};

        setenv("S", parts[i], 1);
        operator_does(&stack, 1, "is no socket",
                      "echo kept >$N/$S.sock; " LOCAL "up --nodes $NODES --dir $D --port $P");
        operator_does(&stack, 0, "kept", LOCAL "down --dir $D; cat $N/$S.sock && rm $N/$S.sock");
    }
    stack_up(&stack);
    stack_stop(&stack);
}

/* A body that is on its way when nginx is told to end. */
Test(deploy, a_request_that_arrives_slowly_survives_a_down, .timeout = 120)
{
    struct stack stack = stack_start();

    operator_does(&stack, 0, "201 Created",
                  "exec 5<>/dev/tcp/127.0.0.1/$((P + 1)); printf 'POST /users HTTP/1.1\\r\\nHost: "
                  "localhost\\r\\nContent-Type: application/json\\r\\nContent-Length: "
                  "14\\r\\n\\r\\n{\"name\"' >&5; sleep 0.5; " NODE
                  "down --dir $N 5>&- & sleep 1; printf ':\"Ann\"}' >&5; head -n 1 <&5; wait");
    stack_stop(&stack);
}

Test(deploy, all_files_are_private, .timeout = 60)
{
    struct stack stack = stack_start();

    operator_enrols(stack.port, 1, 2);
    operator_does(&stack, 0, NULL,
                  "left=$(find $D -perm /077 ! -type l); echo \"$left\"; [ -z \"$left\" ]");
    stack_stop(&stack);
}

Test(deploy, an_address_for_nodes_that_others_reach_is_refused_until_that_is_wanted, .timeout = 60)
{
    struct stack stack = stack_prepare();

    for (int i = 0; i < 4; i++) {
        static const char *const addresses[] = {"0.0.0.0", "[::]", "10.0.0.1", "127.example"};
        char command[256];

        snprintf(command, sizeof command,
                 NODE "up --id 1 --dir $N --http 127.0.0.1:$P --raft %s:7000", addresses[i]);
        expect_failure(&stack, command, "ROLLCALL_OPEN_RAFT=yes");
    }
    stack_stop(&stack);
}

Test(deploy, a_folder_that_was_moved_while_it_ran_is_not_said_to_be_down, .timeout = 60)
{
    struct stack stack = stack_start();

    operator_does(&stack, 0, NULL, "cp -r $N $D/copy");
    operator_does(&stack, 1, "was not started from this folder", NODE "down --dir $D/copy");
    stack_stop(&stack);
}

Test(deploy, signals_that_mean_nothing_do_not_end_a_node, .timeout = 60)
{
    struct stack stack = stack_start();

    operator_does(&stack, 0, NULL,
                  "P=$(cat $N/raft.pid); for s in HUP USR2 ALRM VTALRM PROF IO PWR XCPU RTMIN+3 "
                  "RTMAX; do kill -$s $P; done; "
                  "until [ $(grep -c event=signal_ignored $N/log/raft.log) -ge 10 ]; do sleep 0.1; "
                  "done; kill -0 $P");
    operator_enrols(stack.port, 1, 2);
    operator_does(&stack, 0, NULL,
                  "P=$(cat $N/raft.pid); kill -QUIT $P; while kill -0 $P 2>/dev/null; do sleep "
                  "0.1; done; grep 'event=stopped exit=0' $N/log/raft.log");
    stack_stop(&stack);
}

static bool both_have_been_asked(void *stack)
{
    return stack_shell(stack, "[ -s $D/log/front-access.log ] && [ -s $N/log/access.log ]", NULL,
                       0) == 0;
}

/* Logs lie on the disk of the log that counts, and clients decide how much there is to write. */
Test(deploy, keeps_every_log_below_a_size_and_loses_none_that_is_written_later, .timeout = 120)
{
    struct stack stack = stack_start();
    struct answer answer = http_get(stack.port, "/users");

    answer_done(&answer);
    cr_assert(wait_for(both_have_been_asked, &stack, 20));
    operator_does(&stack, 0, NULL,
                  "for d in $D $N; do kill -0 $(cat $d/rotate.pid) && "
                  "ROLLCALL_LOG_BYTES=1 \"$ROOT/deploy/rotate\" $d --once || exit 1; done; "
                  "for f in $D/log/front-access.log $N/log/access.log $N/log/raft.log; do "
                  "[ -s $f.1 ] || { echo $f; exit 1; }; done");
    for (int i = 0; i < 100 && !both_have_been_asked(&stack); i++) {
        answer = http_get(stack.port, "/users");
        cr_expect_eq(answer.status, 200);
        answer_done(&answer);
        sleep_ms(100);
    }
    cr_expect(both_have_been_asked(&stack), "nginx did not open its log anew");
    operator_does(&stack, 0, NULL,
                  "p=$(cat $N/rotate.pid); kill $p; while kill -0 $p; do sleep 0.05; done");
    stack_up(&stack);
    operator_does(&stack, 0, NULL, "kill -0 $(cat $N/rotate.pid)");
    operator_does(&stack, 2, "ROLLCALL_LOG_BYTES=many",
                  "ROLLCALL_LOG_BYTES=many \"$ROOT/deploy/rotate\" $N --once");
    stack_stop(&stack);
}
