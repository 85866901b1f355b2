/* Who runs what when root brings a stack up: the owner of the folder, and root only when told so.
 */
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <unistd.h>

#define LOCAL "\"$ROOT/deploy/local\" "

/* A folder in /tmp, since whoever it is for cannot enter the test's own; O is what it is called. */
#define ELSEWHERE "O=/tmp/rollcall-e2e-owner-$P; export O; "

static void need_root_and_others(const struct stack *stack)
{
    if (geteuid() != 0)
        cr_skip("only root can become somebody else");
    if (stack_shell(stack, "setpriv --reuid 65534 test -x \"$ROLLCALL_BIN/rollcall-node\"", NULL,
                    0) != 0)
        cr_skip("others cannot enter this folder");
}

/* All that runs for O runs as this user. */
static void expect_all_run_as(const struct stack *stack, const char *user)
{
    setenv("EXPECTED", user, 1);
    operator_does(
        stack, 0, NULL,
        ELSEWHERE
        "p=$(pgrep -f $O); [ $(echo $p | wc -w) -ge 6 ] || { echo only $p; exit 1; }; "
        "w=$(pgrep -P $(cat $O/front.pid),$(cat $O/node-1/nginx.pid)); [ \"$w\" ] || exit "
        "1; for p in $p $w; do u=$(stat -c %u /proc/$p) || continue; [ $u = $EXPECTED ] "
        "|| { ps -f $p; exit 1; }; done");
}

Test(owner, root_starts_nothing_as_root_until_that_is_allowed_and_it_is_remembered, .timeout = 180)
{
    struct stack stack = stack_prepare();

    need_root_and_others(&stack);
    if (stack_shell(&stack, "id rollcall", NULL, 0) == 0)
        cr_skip("there is a user rollcall");
    operator_does(&stack, 1, "ROLLCALL_ALLOW_ROOT=yes",
                  "unset ROLLCALL_ALLOW_ROOT; " LOCAL "up --nodes 1 --dir $D --port $P");
    operator_does(&stack, 1, "front  stopped", LOCAL "status --dir $D");
    stack_up(&stack);
    stack_down(&stack);
    operator_does(&stack, 0, NULL,
                  "unset ROLLCALL_ALLOW_ROOT; " LOCAL "up --nodes 1 --dir $D --port $P");
    operator_enrols(stack.port, 1, 2);
    stack_stop(&stack);
}

Test(owner, root_becomes_who_owns_the_folder, .timeout = 180)
{
    struct stack stack = stack_prepare();

    need_root_and_others(&stack);
    operator_does(&stack, 0, NULL,
                  ELSEWHERE
                  "install -d -o 65534 -g 65534 -m 700 $O && unset ROLLCALL_ALLOW_ROOT && "
                  "cd / && " LOCAL "up --nodes 1 --dir $O --port $P");
    expect_all_run_as(&stack, "65534");
    operator_enrols(stack.port, 1, 2);
    operator_does(&stack, 0, NULL, ELSEWHERE LOCAL "down --dir $O && rm -r $O");
    stack_stop(&stack);
}

#define WITH_ROLLCALL "unshare -m bash -c 'mount --bind $D/passwd /etc/passwd && cd / && "

Test(owner, a_new_folder_of_root_is_made_for_the_user_rollcall, .timeout = 180)
{
    struct stack stack = stack_prepare();

    need_root_and_others(&stack);
    if (stack_shell(&stack, "unshare -m true", NULL, 0) != 0)
        cr_skip("no mount namespaces here");
    operator_does(
        &stack, 0, NULL,
        ELSEWHERE
        "unset ROLLCALL_ALLOW_ROOT; cp /etc/passwd $D/passwd; "
        "echo rollcall:x:65533:65534::/nonexistent:/bin/false >>$D/passwd; " WITH_ROLLCALL LOCAL
        "up --nodes 1 --dir $O --port $P'");
    expect_all_run_as(&stack, "65533");
    operator_enrols(stack.port, 1, 2);
    operator_does(&stack, 0, NULL, ELSEWHERE WITH_ROLLCALL LOCAL "down --dir $O' && rm -r $O");
    stack_stop(&stack);
}
