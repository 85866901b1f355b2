/*
 * GET /metrics: what Prometheus is told. The workers' part is added up from all of them (counts.h),
 * so that it is the same whichever answers; the rest is the node's own text. While the node is
 * away the answer is the workers' part, and rollcall_node_up says so.
 */
#ifndef ROLLCALL_APP_METRICS_H
#define ROLLCALL_APP_METRICS_H

#include "app/handlers.h"

void handle_metrics(struct exchange *x);

/* struct fastcgi_events.on_room of an exchange whose page is on its way. */
void metrics_on_room(struct exchange *x);
bool metrics_page_is_open(const struct metrics_page *page);
void metrics_page_done(struct metrics_page *page);

#endif
