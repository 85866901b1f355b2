/*
 * GET /metrics: what Prometheus is told. The workers' part is added up from all of them (counts.h),
 * so that it is the same whichever answers; the rest is the node's own text. While the node is
 * away the answer is the workers' part, and rollcall_node_up says so.
 */
#ifndef ROLLCALL_APP_METRICS_H
#define ROLLCALL_APP_METRICS_H

#include "app/exchange.h"

void handle_metrics(struct exchange *x);

#endif
