/*
 * Lists of users on their way from the node to the client, in constant memory however many.
 *
 *   - All in the node's first chunk and small: one write, with Content-Length.
 *   - More: the chunk is kept and written piece by piece as the client takes it; when it is
 *     written, the node is asked for the next. nginx sends HTTP chunks.
 *   - A page (?limit=) is gathered first, at most 1 MiB, because its Link header stands before it
 *     and names its last user. One user more than the page is asked for, to know if there is one.
 *
 * A stream that cannot go on is cut off, so that no client takes half a list for the whole.
 */
#ifndef ROLLCALL_APP_LISTING_H
#define ROLLCALL_APP_LISTING_H

#include "raft/wire/call.h"

#define LISTING_LIMIT_MAX 1000u

struct exchange;

/* What an exchange keeps of it (exchange.h). */
struct listing {
    uint8_t *packed; /* owned: users as the node sent them, not yet all written; NULL for none */
    size_t packed_len, packed_capacity, packed_at;
    uint64_t index;     /* the state that the list was read from */
    uint64_t changed;   /* the last before it that changed a user */
    uint64_t limit;     /* of a page; 0 for the whole list */
    bool last;          /* `packed` is the end of the list */
    bool begun;         /* the head has been written */
    bool first_written; /* what comes next needs a comma */
};

/* GET and HEAD of /users. */
void handle_list(struct exchange *x);

#endif
