/*
 * Caller: one call after the other to a node that runs, over the socket where its workers call
 * (wire/call.h). Blocks; a node that says nothing for 15 s is not waited for.
 */
#ifndef ROLLCALL_CTL_CALLER_H
#define ROLLCALL_CTL_CALLER_H

#include "raft/wire/call.h"

/* Zero-initialized has no connection, and may be closed. */
struct caller {
    uint8_t *in; /* NULL: none */
    int fd;
    size_t in_len, frame_len;
    const char *why; /* after -EPROTO and -ECANCELED: what the node did, or said */
};

/* Connects and greets. On failure, too, the caller is to be closed. 0 or -errno. */
NODISCARD int caller_open(struct caller *caller, const char *path);
void caller_close(struct caller *caller);

/* Sends a call without bytes. 0 or -errno. */
NODISCARD int caller_say(struct caller *caller, struct call call);

/* The next call, which is to be of this kind; borrowed until the next. 0 or -errno. */
NODISCARD int caller_expect(struct caller *caller, enum call_kind kind, struct call *ret_call);

/* What was wrong, for people. */
const char *caller_text(const struct caller *caller, int error);

#endif
