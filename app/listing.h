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

#include "app/handlers.h"

#define LISTING_LIMIT_MAX 1000u

/* GET and HEAD of /users. */
void handle_list(struct exchange *x);

/* struct fastcgi_events.on_room. */
void listing_on_room(struct exchange *x);

/* Frees what it holds. */
void listing_done(struct listing *listing);

#endif
