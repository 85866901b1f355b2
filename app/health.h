/*
 * The endpoints that speak of the worker and its node, and not of users: is it alive, may it be
 * sent requests, who leads. See exchange.h.
 */
#ifndef ROLLCALL_APP_HEALTH_H
#define ROLLCALL_APP_HEALTH_H

#include "app/exchange.h"

/* Needs nothing but this process. */
void handle_livez(struct exchange *x);
/* Needs the node, and a leader that it has caught up with; less with ?exclude=CHECK. */
void handle_readyz(struct exchange *x);
void handle_cluster(struct exchange *x);

#endif
