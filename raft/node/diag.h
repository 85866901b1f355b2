/*
 * Diagnostics: one line a fact on stderr, key=value, flushed whole. ("log" is the replicated log.)
 *
 *     diag("ready", "node=%" PRIu64 " term=%" PRIu64, node, term);
 *     → time=2026-01-31T12:00:00.123Z event=ready node=1 term=3
 *
 * Free text goes last, as text="…"; the caller sees to it that it holds no quotes.
 */
#ifndef ROLLCALL_NODE_DIAG_H
#define ROLLCALL_NODE_DIAG_H

#include "raft/base/attr.h"

void diag(const char *event, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
