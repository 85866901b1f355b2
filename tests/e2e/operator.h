/* What an operator types, and what the tests of it share. */
#ifndef ROLLCALL_TESTS_E2E_OPERATOR_H
#define ROLLCALL_TESTS_E2E_OPERATOR_H

#include "tests/e2e/stack.h"

/* In commands: rollcallctl. */
#define CTL "\"$ROLLCALL_BIN/rollcallctl\" "

/* Runs it (see stack_shell); fails the test when its exit code is another, or `text` (NULL: any) is
 * not in what it says. What it said is good until the next. */
const char *operator_does(const struct stack *stack, int code, const char *text,
                          const char *command);

/* Draws a token and adds its line to D/tokens; the header field that shows it. */
void operator_draws(const struct stack *stack, const char *role, const char *name,
                    char header[static 160]);

/* POST /users at this port, for each number; all must be 201. */
void operator_enrols(int port, int from, int to);
/* The same under one request id, as a front would try it again at this node; the answer's body. */
const char *operator_tries(const struct stack *stack, int node, const char *name);

/* GET /users; the caller frees it. */
char *operator_lists(int port);
/* Waits until every node of this stack, at its own port, lists these users. */
void operator_expects(const struct stack *stack, const char *users);

#endif
