/*
 * What changes users: POST /users, and PUT, PATCH and DELETE of /users/{id}. A request becomes a
 * command (body.h, preconditions.h, idempotency.h); whether it can be done, and whether its
 * conditions hold, is for the replicated state to say, when the command's turn comes.
 */
#ifndef ROLLCALL_APP_WRITES_H
#define ROLLCALL_APP_WRITES_H

#include "app/exchange.h"

void handle_create(struct exchange *x);
void handle_replace(struct exchange *x);
void handle_patch(struct exchange *x);
void handle_delete(struct exchange *x);

#endif
