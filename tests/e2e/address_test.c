/* Addresses of a node that are not there, or are not what they seem, when it starts. */
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>

#define NODE "ROLLCALL_OPEN_RAFT=yes \"$ROOT/deploy/node\" "

static bool says_why(void *stack)
{
    return stack_shell(stack,
                       "curl -s 127.0.0.1:$((P + 1))/readyz | grep -q '^.-.leader.*--raft is not "
                       "there' && curl -s 127.0.0.1:$((P + 1))/cluster | grep -q "
                       "'\"id\":1,.*\"reachable\":false},{\"id\":2'",
                       NULL, 0) == 0;
}

Test(address, a_node_waits_for_a_name_that_nobody_knows_and_says_so_once, .timeout = 180)
{
    struct stack stack = stack_prepare();

    operator_does(&stack, 0, NULL,
                  NODE "up --id 1 --dir $N --http 127.0.0.1:$((P + 1)) --raft nobody.invalid:7000 "
                       "--cluster 1=nobody.invalid:7000,2=127.0.0.1:7000");
    cr_assert(wait_for(says_why, &stack, 60));
    operator_does(&stack, 0, "address_awaited address=nobody.invalid:7000",
                  "sleep 2; [ $(grep -c event=address_awaited $N/log/raft.log) = 1 ] && "
                  "grep event=address_awaited $N/log/raft.log");
    stack_stop(&stack);
}

static bool warns(void *stack)
{
    return stack_shell(stack, "grep event=address_is_loopback $N/log/raft.log", NULL, 0) == 0;
}

Test(address, a_name_that_is_loopback_at_home_is_said_to_be_no_use_to_others, .timeout = 180)
{
    struct stack stack = stack_prepare();

    operator_does(&stack, 0, NULL,
                  NODE "up --id 1 --dir $N --http 127.0.0.1:$((P + 1)) --raft localhost:$((P + "
                       "101)) --cluster 1=localhost:$((P + 101)),2=other.invalid:7000");
    cr_expect(wait_for(warns, &stack, 30));
    stack_stop(&stack);
}
