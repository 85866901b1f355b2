/*
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): a client's own name for a
 * request, under which it happens once however often it is sent. Quoted, as the draft has it (a
 * string of RFC 8941 §3.3.3), or bare, as most clients send it: "8e03" and 8e03 are one key. 1 to
 * 255 visible ASCII characters (in quotes also blanks).
 *
 * What goes into the log is a digest of the key and of who sent it, so that one client's keys are
 * never another's, and one of the request itself: method, target, conditions and body.
 */
#ifndef ROLLCALL_APP_IDEMPOTENCY_H
#define ROLLCALL_APP_IDEMPOTENCY_H

#include "app/request.h"
#include "raft/users/command.h"

#define IDEMPOTENCY_KEY_BYTES_MAX 255u
#define IDEMPOTENCY_SCOPE_BYTES   16u

/*
 * The request id under which the node shall remember the answer: the request's own, bound to who
 * sent it, so that nobody is handed what another's token was answered.
 */
struct request_id idempotency_scoped(const struct request_id *id,
                                     const uint8_t scope[static IDEMPOTENCY_SCOPE_BYTES]);

/* The request has a key. `scope` is who sent it. NULL, or what is wrong with the key. */
const char *idempotency_read(const struct request *request,
                             const uint8_t scope[static IDEMPOTENCY_SCOPE_BYTES],
                             struct users_key *ret_key);

#endif
