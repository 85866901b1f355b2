/*
 * deploy/README.md, procedure by procedure: what it says to type is what is typed here.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/load.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL "\"$ROOT/deploy/local\" "
#define NODE  "\"$ROOT/deploy/node\" "
#define UP    LOCAL "up --dir $D --port $P"

/* Enough that there are snapshots, and logs that begin after one. */
static struct stack with_snapshots(int nodes)
{
    struct stack stack;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    stack = stack_start_nodes(nodes);
    operator_enrols(stack.port, 1, 220);
    return stack;
}

/* Nodes whose logs do not begin at the beginning: restored, under the name "second". */
static struct stack with_late_logs(int nodes)
{
    struct stack first = with_snapshots(1), stack = stack_prepare_nodes(nodes);

    setenv("FROM", first.dir, 1);
    operator_does(&first, 0, NULL, CTL "backup $D/file --socket $N/raft.sock");
    operator_does(&stack, 0, NULL,
                  "for I in $(seq $NODES); do " CTL
                  "restore $FROM/file --dir $D/node-$I/wal --cluster second || exit; done; "
                  "ROLLCALL_CLUSTER=second " LOCAL "up --nodes $NODES --dir $D --port $P");
    stack_stop(&first);
    return stack;
}

Test(runbook, the_disk_of_a_node_dies, .timeout = 120)
{
    struct stack stack = with_snapshots(3);
    char *users;

    operator_does(&stack, 0, NULL,
                  "kill -9 $(cat $D/node-2/raft.pid); " NODE
                  "down --dir $D/node-2 && rm -rf $D/node-2");
    operator_enrols(stack.port, 221, 240);
    users = operator_lists(stack.port);
    operator_does(&stack, 0, NULL, UP);
    operator_does(&stack, 0, "event=admitted",
                  "until grep event=admitted $D/node-2/log/raft.log; do sleep 0.1; done");
    operator_expects(&stack, users);
    operator_enrols(stack.port + 2, 241, 250);
    free(users);
    stack_stop(&stack);
}

Test(runbook, redis_of_one_node_of_three_is_lost, .timeout = 120)
{
    struct stack stack = with_snapshots(3);
    char *users = operator_lists(stack.port);

    operator_does(&stack, 0, NULL,
                  "kill -9 $(cat $D/node-2/redis.pid); sleep 0.5; "
                  "rm -rf $D/node-2/redis");
    operator_enrols(stack.port + 2, 221, 230); /* it serves without */
    free(users);
    users = operator_lists(stack.port);
    operator_does(&stack, 0, NULL, UP);
    operator_does(&stack, 0, NULL,
                  "until [ \"$(redis-cli -s $D/node-2/redis.sock HGET rollcall:rollcall:2:meta "
                  "users)\" = 230 ]; do sleep 0.1; done"); /* a whole one, by itself */

    /* Lost while the node is down. */
    operator_does(&stack, 0, NULL, NODE "down --dir $D/node-2 && rm -rf $D/node-2/redis && " UP);
    operator_expects(&stack, users);
    free(users);
    stack_stop(&stack);
}

Test(runbook, redis_of_a_lone_node_is_lost, .timeout = 120)
{
    struct stack stack = with_late_logs(1);
    char *users;

    operator_enrols(stack.port, 221, 222);
    /* While the node runs: it has everything in memory, and saves it. */
    operator_does(&stack, 0, NULL, CTL "backup $D/file --socket $N/raft.sock");
    operator_does(&stack, 0, NULL, "kill -9 $(cat $N/redis.pid); rm -rf $N/redis; " UP);
    operator_does(&stack, 0, NULL,
                  "until [ \"$(redis-cli -s $N/redis.sock HGET rollcall:second:1:meta users)\" "
                  "= 222 ]; do sleep 0.1; done");
    users = operator_lists(stack.port);

    /* While it is down: the log alone does not hold it, and the backup does. */
    operator_does(&stack, 1, "the users before are not here",
                  LOCAL "down --dir $D && rm -rf $N/redis && " UP);
    operator_does(&stack, 1, "there is no snapshot to it",
                  CTL "recover $D/recovered --dir $N/wal --accept-loss");
    operator_does(&stack, 0, NULL,
                  LOCAL "down --dir $D && mv $N $D/lost && " CTL
                        "restore $D/file --dir $N/wal --cluster two && "
                        "ROLLCALL_CLUSTER=two " UP);
    operator_expects(&stack, users);
    free(users);
    stack_stop(&stack);
}

/* The one that is left has all that was acknowledged: the load ended before the others died. */
Test(runbook, a_majority_is_lost, .timeout = 180)
{
    struct stack stack = with_late_logs(3), second;
    char *users, once[64];

    snprintf(once, sizeof once, "%s", operator_tries(&stack, 1, "Once"));
    users = operator_lists(stack.port);
    operator_expects(&stack, users);
    operator_does(&stack, 1, "a node runs on this log",
                  CTL "recover $D/file --dir $D/node-2/wal --redis $D/node-2/redis.sock "
                      "--accept-loss");
    operator_does(&stack, 0, NULL,
                  "for file in $D/node-[13]/*.pid; do for pid in $(cat $file); do "
                  "kill -9 $pid $(ps -o pid= --ppid $pid); done; done; sleep 0.2; "
                  "rm -rf $D/node-1 $D/node-3");
    operator_does(&stack, 1, "no leader", CTL "backup $D/file --socket $D/node-2/raft.sock");

    operator_does(&stack, 0, NULL,
                  "pid=$(cat $D/node-2/raft.pid); kill $pid; while kill -0 $pid 2>/dev/null; do "
                  "sleep 0.2; done");
    operator_does(&stack, 1, "nothing was written",
                  CTL "recover $D/file --dir $D/node-2/wal --redis $D/node-2/redis.sock");
    operator_does(&stack, 0, "not_known_committed=",
                  CTL "recover $D/file --dir $D/node-2/wal --redis $D/node-2/redis.sock "
                      "--accept-loss");
    operator_does(&stack, 0, "event=recovered", "cat $D/node-2/wal/recovered");
    operator_does(&stack, 0, "users=221 ", CTL "check $D/file");

    second = stack_prepare_nodes(3);
    setenv("FROM", stack.dir, 1);
    operator_does(&second, 0, NULL,
                  "for I in 1 2 3; do " CTL
                  "restore $FROM/file --dir $D/node-$I/wal --cluster two || exit; done; "
                  "ROLLCALL_CLUSTER=two " LOCAL "up --nodes 3 --dir $D --port $P");
    operator_expects(&second, users);
    cr_expect_str_eq(operator_tries(&second, 3, "Once"), once);
    operator_enrols(second.port, 1000, 1010);
    free(users);
    stack_stop(&second);
    stack_stop(&stack);
}

/* Flips a byte of an entry in the middle of node 1's log. */
#define ROT                                                                     \
    "F=$(ls $N/wal/*.wal | head -1); O=$(" CTL "wal dump $N/wal | sed -n "      \
    "'s/.* offset=\\([0-9]*\\) type=entry index=21[0-9] .*/\\1/p' | head -1); " \
    "printf '\\377' | dd of=$F bs=1 seek=$((O + 66)) conv=notrunc 2>/dev/null"

Test(runbook, the_log_of_one_node_of_three_is_damaged, .timeout = 120)
{
    struct stack stack = with_snapshots(3);
    char *users = operator_lists(stack.port);

    operator_does(&stack, 0, NULL, NODE "down --dir $N");
    operator_does(&stack, 0, NULL, ROT);
    operator_does(&stack, 3, "member=opens", CTL "wal verify $N/wal");
    operator_does(&stack, 0, NULL, UP);
    operator_does(&stack, 0, "event=log_", "grep -h 'event=log_[dc]' $N/log/raft.log");
    operator_expects(&stack, users);
    operator_does(&stack, 0, "verdict=opens",
                  "for i in 1 2 3 4 5 6 7 8 9 10; do " CTL
                  "wal verify $N/wal && break; sleep 0.5; done");
    free(users);
    stack_stop(&stack);
}

Test(runbook, the_log_of_one_node_of_three_does_not_open, .timeout = 120)
{
    struct stack stack = with_snapshots(3);
    char *users = operator_lists(stack.port);

    operator_does(&stack, 0, NULL, NODE "down --dir $N");
    operator_does(&stack, 0, NULL, ROT);
    operator_does(&stack, 3, "damaged_bytes=", CTL "wal dump $N/wal");
    operator_does(&stack, 0, NULL, "rm -r $N/wal && cp -r $D/node-2/wal $N/wal");
    operator_does(&stack, 3, "is another node's", UP);
    operator_does(&stack, 0, NULL,
                  NODE "down --dir $N; mv $N/wal $D/damaged-wal && mv $N/redis $D/damaged-redis");
    operator_does(&stack, 0, NULL, UP);
    operator_expects(&stack, users);
    operator_does(&stack, 0, "verdict=opens", CTL "wal verify $N/wal");
    free(users);
    stack_stop(&stack);
}

Test(runbook, the_log_of_a_lone_node_does_not_open, .timeout = 120)
{
    struct stack stack = with_snapshots(1);

    operator_does(&stack, 0, NULL, LOCAL "down --dir $D");
    operator_does(&stack, 0, NULL, ROT);
    operator_does(&stack, 3, "is damaged at offset", CTL "wal verify $N/wal");
    operator_does(&stack, 1, "is damaged at offset", UP);
    operator_does(&stack, 0, NULL, NODE "redis --dir $N");
    operator_does(&stack, 3, "is damaged at offset",
                  CTL "recover $D/file --dir $N/wal --redis $N/redis.sock --accept-loss");
    operator_does(&stack, 0, "log=left_out",
                  CTL "recover $D/file --dir $N/wal --redis $N/redis.sock --without-log "
                      "--accept-loss");
    operator_does(&stack, 0, NULL,
                  LOCAL "down --dir $D; mv $N $D/damaged && " CTL
                        "restore $D/file --dir $N/wal --cluster two && ROLLCALL_CLUSTER=two " UP);
    operator_enrols(stack.port, 1000, 1010);
    stack_stop(&stack);
}

Test(runbook, verify_and_dump_beside_a_node_that_runs_find_nothing_wrong, .timeout = 120)
{
    struct stack stack;
    struct load *load;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "2000", 1);
    stack = stack_start();
    load = load_start(stack.port, 8, true);
    for (int i = 0; i < 15 || load_counts(load).created <= 1000; i++) {
        char output[4096];
        int dumped;

        operator_does(&stack, 0, "event=running", CTL "wal verify $N/wal");
        dumped = stack_shell(&stack, CTL "wal dump $N/wal | tail -3; exit ${PIPESTATUS[0]}", output,
                             sizeof output);
        cr_expect(dumped == 0 || dumped == 3, "%d\n%s", dumped, output);
    }
    cr_expect_gt(load_stop(load).created, 1000);
    load_judge(load, stack.port);
    load_free(load);
    operator_does(&stack, 0, "damages=0", CTL "wal dump $N/wal | tail -3");
    stack_stop(&stack);
}
