/* README.md, "The API": what it says to type is typed here, and what it says must come does. */
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Its lines, with this stack's ports; "curl … # 201 text" must answer 201, and say the text. */
#define REQUESTS                                                                                   \
    "awk '/^## /{ on = $0 == \"## The API\" } on && sub(/^    /, \"\")' $ROOT/README.md | sed -E " \
    "\""                                                                                           \
    "s|^(curl .*[^ ]) +# (.*)|expect '\\2' \\1|; "                                                 \
    "s/localhost:8080/localhost:$P/; s/localhost:8082/localhost:$((P + 2))/\" >$D/requests; "

#define EXPECT                                                                       \
    "expect() { wants=$1; shift; said=$(\"$@\"); echo \"$said\"; "                   \
    "[[ $said == \"HTTP/1.1 ${wants%% *} \"* && $said == *\"${wants#* }\"* ]] || { " \
    "echo \"does not answer '$wants': $*\"; exit 1; }; }; "

Test(readme, requests_have_the_answers_that_it_says, .timeout = 60)
{
    struct stack stack = stack_start_nodes(3);
    const char *count;

    operator_does(&stack, 0, "rel=\"next\"", REQUESTS EXPECT "set -e; . $D/requests");
    count = operator_does(&stack, 0, NULL, "grep -c '^expect ' $D/requests");
    cr_expect_gt(strtol(count, NULL, 10), 9, "%s", count);
    stack_stop(&stack);
}
