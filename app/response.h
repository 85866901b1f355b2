/*
 * An answer: status, headers, body. What a handler does not set is not sent.
 *
 * Errors are problem documents (RFC 9457) with a stable `type`, /problems/SLUG; nginx.conf answers
 * in the same form what never reaches a worker.
 */
#ifndef ROLLCALL_APP_RESPONSE_H
#define ROLLCALL_APP_RESPONSE_H

#include "raft/base/bytes.h"

/* Most bytes of status line and headers: nginx takes 16 KiB (fastcgi_buffer_size). */
#define RESPONSE_HEAD_BYTES_MAX 4096u
/* Most bytes of a problem document: its `detail` may quote a little of the request. */
#define PROBLEM_BODY_BYTES_MAX 2048u

/* P(name, status, slug, title). Slugs are for programs: never changed, never reused. */
/* clang-format off */
#define PROBLEMS(P) \
    P(PROBLEM_BAD_REQUEST,         400, "bad-request",             "Bad request") \
    P(PROBLEM_MALFORMED_JSON,      400, "malformed-json",          "Malformed JSON") \
    P(PROBLEM_INVALID_PARAMETER,   400, "invalid-parameter",       "Invalid query parameter") \
    P(PROBLEM_UNAUTHORIZED,        401, "unauthorized",            "Unauthorized") \
    P(PROBLEM_FORBIDDEN,           403, "forbidden",               "Forbidden") \
    P(PROBLEM_NOT_FOUND,           404, "not-found",               "Not found") \
    P(PROBLEM_METHOD_NOT_ALLOWED,  405, "method-not-allowed",      "Method not allowed") \
    P(PROBLEM_EMAIL_TAKEN,         409, "email-taken",             "Email taken") \
    P(PROBLEM_PRECONDITION_FAILED, 412, "precondition-failed",     "Precondition failed") \
    P(PROBLEM_BODY_TOO_LARGE,      413, "body-too-large",          "Body too large") \
    P(PROBLEM_MEDIA_TYPE,          415, "unsupported-media-type",  "Unsupported media type") \
    P(PROBLEM_INVALID_USER,        422, "invalid-user",            "Invalid user") \
    P(PROBLEM_ID_REUSED,           422, "request-id-reused",       "Request id reused") \
    P(PROBLEM_KEY_REUSED,          422, "idempotency-key-reused",  "Idempotency key reused") \
    P(PROBLEM_TOO_MANY_REQUESTS,   429, "too-many-requests",       "Too Many Requests") \
    P(PROBLEM_UNAVAILABLE,         503, "unavailable",             "Service Unavailable") \
    P(PROBLEM_OUTCOME_UNKNOWN,     504, "outcome-unknown",         "Gateway Timeout")
/* clang-format on */

#define PROBLEM_ENUM_VALUE(name, status, slug, title) name,
enum problem { PROBLEMS(PROBLEM_ENUM_VALUE) };

/* What PATCH takes. */
#define MERGE_PATCH "application/merge-patch+json"

enum response_length {
    LENGTH_OF_BODY,  /* Content-Length is the body's */
    LENGTH_GIVEN,    /* Content-Length is `length`; the body follows piece by piece */
    LENGTH_STREAMED, /* no Content-Length: nginx sends chunks until the answer ends */
    LENGTH_NONE,     /* 204, 304: neither body nor Content-Length (RFC 9110 §8.6) */
};

/* Text is borrowed. 0 and NULL: do not send. */
struct response {
    unsigned status;
    enum response_length length_is;
    uint64_t length;
    const char *content_type;
    const char *cache_control;
    const char *vary;
    const char *allow;
    const char *accept;       /* what a POST or PUT takes */
    const char *accept_patch; /* RFC 5789 §3.1 */
    const char
        *accept_encoding; /* of a body; only where its coding was refused (RFC 9110 §12.5.3) */
    const char *www_authenticate;
    struct bytes link;
    uint64_t location_id; /* Location: /users/ID */
    bool etagged;         /* ETag: "ETAG" */
    uint64_t etag;
    bool replayed; /* Idempotency-Replayed: true */
    bool at_index; /* the answer speaks of the state at `raft_index`, which may be 0 */
    uint64_t raft_index;
    uint64_t raft_node;
    bool retry_after;
    bool omit_body; /* answers HEAD: the body is not sent, its length is */
    struct bytes body;
};

/* Writes the head, and the body unless it is streamed or not wanted. */
void response_put(struct writer *out, const struct response *response);

/*
 * The answer that says `problem`, of which `detail` is a sentence about this request. Its document
 * is good until the next call.
 */
struct response response_of_problem(enum problem problem, const char *detail);

#endif
