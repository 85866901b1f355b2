/*
 * GET /problems/{slug}, where the `type` of a problem document leads: what the problem is, whether
 * anything was executed, and what to do. GET /problems lists them. For people, in HTML, and open to
 * all (route.c): who is refused may read why.
 */
#ifndef ROLLCALL_APP_PROBLEMS_H
#define ROLLCALL_APP_PROBLEMS_H

#include "app/exchange.h"

/* Is this the path of a problem's page? *ret_problem is left alone when not. */
NODISCARD bool problems_find(struct bytes path, enum problem *ret_problem);

void handle_problem(struct exchange *x);
void handle_problems(struct exchange *x);

#endif
