/*
 * Notes to the operator: one line a fact on stderr, key=value, written whole.
 *
 *     note("node-away", "path=%s text=\"%s\"", path, strerror(errno));
 *     → time=2026-01-31T12:00:00.123Z pid=4711 event=node-away path=/run/… text="…"
 */
#ifndef ROLLCALL_APP_NOTE_H
#define ROLLCALL_APP_NOTE_H

#include "raft/base/attr.h"

void note(const char *event, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
