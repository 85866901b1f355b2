/*
 * Who is who is remembered: neither options nor a folder of another cluster change who decides, or
 * what is served.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE "\"$ROOT/deploy/node\" "

/* GET /users of a node at its own port is `users`. */
static bool lists(int port, const char *users)
{
    char *listed = operator_lists(port);
    bool same = strcmp(listed, users) == 0;

    free(listed);
    return same;
}

Test(identity, a_node_started_without_its_members_is_one_of_three_all_the_same, .timeout = 120)
{
    struct stack stack = stack_start_nodes(3);
    char *users;

    operator_enrols(stack.port, 1, 10);
    users = operator_lists(stack.port);
    operator_does(&stack, 0, NULL,
                  NODE
                  "down --id 1 --dir $N && " NODE
                  "up --id 1 --dir $N --http 127.0.0.1:$((P + 1)) --raft 127.0.0.1:$((P + 101))");
    operator_does(&stack, 0, NULL, "grep -q event=members_ignored $N/log/raft.log");
    operator_expects(&stack, users);
    operator_does(&stack, 0, "\"id\":3", "curl -s 127.0.0.1:$((P + 1))/cluster");

    /* Alone it decides nothing. */
    operator_does(&stack, 0, NULL,
                  NODE "down --id 2 --dir $D/node-2; " NODE "down --id 3 --dir $D/node-3");
    operator_does(&stack, 0, "503",
                  "curl -s -o /dev/null -w '%{http_code}' 127.0.0.1:$((P + 1))/users");
    stack_up(&stack);
    operator_expects(&stack, users);
    free(users);
    stack_stop(&stack);
}

static bool both_say_so(void *stack)
{
    return stack_shell(stack,
                       "grep -q 'event=refused_by_peer.*of another cluster' $N/log/raft.log && "
                       "grep -q 'event=peer_refused.*of another cluster' $D/node-3/log/raft.log",
                       NULL, 0) == 0;
}

Test(identity, a_folder_of_another_cluster_of_the_same_name_is_refused_by_both_sides,
     .timeout = 180)
{
    struct stack ours = stack_start_nodes(3), theirs = stack_start_nodes(3);
    char *users;

    operator_enrols(ours.port, 1, 10);
    operator_enrols(theirs.port, 101, 110);
    users = operator_lists(ours.port);
    stack_down(&theirs);
    setenv("THEIRS", theirs.dir, 1);
    operator_does(&ours, 0, NULL,
                  NODE "down --id 3 --dir $D/node-3 && mv $D/node-3 $D/was && "
                       "cp -a $THEIRS/node-3 $D/node-3");
    operator_does(
        &ours, 3, NULL,
        "ROLLCALL_UP_SECONDS=5 \"$ROOT/deploy/local\" up --nodes $NODES --dir $D --port $P");
    cr_assert(wait_for(both_say_so, &ours, 30));
    cr_expect(lists(ours.port + 1, users));
    cr_expect(lists(ours.port + 2, users));
    operator_does(&ours, 0, "503",
                  "curl -s -o /dev/null -w '%{http_code}' 127.0.0.1:$((P + 3))/users");
    operator_enrols(ours.port, 11, 12);

    /* Its own folder back, it is one of them again. */
    operator_does(&ours, 0, NULL,
                  NODE "down --id 3 --dir $D/node-3 && rm -r $D/node-3 && mv $D/was $D/node-3");
    stack_up(&ours);
    free(users);
    users = operator_lists(ours.port);
    operator_expects(&ours, users);
    free(users);
    stack_stop(&theirs);
    stack_stop(&ours);
}

static bool says_so(void *stack)
{
    return stack_shell(stack, "grep -q event=log_rolled_back $D/node-2/log/raft.log", NULL, 0) == 0;
}

static bool is_admitted(void *stack)
{
    return stack_shell(stack, "grep -q event=admitted $D/node-2/log/raft.log", NULL, 0) == 0;
}

/* What one node acknowledged, and no other that lives has, is not lost: nobody leads without it. */
Test(identity, a_node_put_back_to_a_copy_is_told_and_neither_blocks_the_others_nor_loses_writes,
     .timeout = 180)
{
    struct stack stack = stack_start_nodes(3);
    char *users;

    operator_enrols(stack.port, 1, 10);
    operator_does(&stack, 0, NULL, NODE "down --id 2 --dir $D/node-2 && cp -a $D/node-2 $D/copy");
    stack_up(&stack);
    operator_enrols(stack.port, 11, 15);
    operator_does(&stack, 0, NULL, NODE "down --id 3 --dir $D/node-3");
    operator_enrols(stack.port, 16, 20);
    operator_does(&stack, 0, NULL,
                  NODE "down --id 2 --dir $D/node-2 && rm -r $D/node-2 && mv $D/copy $D/node-2 && "
                       ": >$D/node-2/log/raft.log");
    operator_does(&stack, 0, NULL,
                  NODE "up --id 2 --dir $D/node-2 --http 127.0.0.1:$((P + 2)) "
                       "--raft 127.0.0.1:$((P + 102))");
    cr_assert(wait_for(says_so, &stack, 30));
    cr_assert(wait_for(is_admitted, &stack, 30));
    operator_enrols(stack.port + 1, 21, 22);
    users = operator_lists(stack.port + 2);
    stack_up(&stack);
    operator_expects(&stack, users);
    free(users);
    stack_stop(&stack);
}
