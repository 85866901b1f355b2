/* What all reads of users share: how fresh they must be, and on which conditions they are wanted.
 */
#ifndef ROLLCALL_APP_READING_H
#define ROLLCALL_APP_READING_H

#include "app/exchange.h"

/* A number in decimal, `min` to `max`: 1, 0 when the parameter is not there, -EINVAL. */
NODISCARD int reading_number(const struct request *request, const char *name, uint64_t min,
                             uint64_t max, uint64_t *ret_value);

/*
 * Makes call.ask a LIST of everything, as fresh as `consistency` and `min_index` of the query say.
 * NULL, or what is wrong with the query.
 */
const char *reading_begin(struct exchange *x);

/*
 * Asks it, on the request's conditions; when these are none, that is answered. Then comes
 * `on_users` with each chunk, or `on_refused`.
 */
void reading_ask(struct exchange *x,
                 void (*on_users)(struct exchange *x, const struct call_users *users),
                 void (*on_refused)(struct exchange *x, const char *why));

/* What an answer of 200 begins with. */
struct response reading_response(const struct exchange *x, uint64_t index, uint64_t etag);

/*
 * Judges the conditions by the tag of what was read (RFC 9110 §13.2.2): true when they answered it,
 * with 412 or 304, and nothing more is wanted of the node.
 */
bool reading_answers(struct exchange *x, const struct response *response);

#endif
