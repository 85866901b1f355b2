/*
 * Is the whole of a FastCGI request there?
 *
 * libfcgi reads a request with blocking reads, which a loop cannot afford. So the loop receives,
 * asks here, and lets libfcgi read only what is known to be complete and well formed. This also
 * keeps from libfcgi every length that it would trust (CVE-2025-23016: name and value lengths whose
 * sum wraps).
 *
 * A request is BEGIN_REQUEST, then PARAMS records up to an empty one, then STDIN records up to an
 * empty one, all of one id, and nothing after it: nginx neither multiplexes nor pipelines.
 * (FastCGI specification 1.0, §3 and §5.)
 */
#ifndef ROLLCALL_APP_FCGI_REQUEST_H
#define ROLLCALL_APP_FCGI_REQUEST_H

#include "raft/base/bytes.h"

/* A request's body. What HTTP clients may send, and nginx.conf's client_max_body_size. */
#define REQUEST_BODY_BYTES_MAX (64u << 10)
/*
 * A request's parameters. nginx.conf lets 64 KiB of headers through, request line included, in at
 * most 1000 fields; as a parameter each grows by a few bytes.
 */
#define REQUEST_PARAMS_BYTES_MAX (96u << 10)
/* All of it with its record headers and padding, with room to spare. */
#define FCGI_REQUEST_BYTES_MAX (192u << 10)

enum fcgi_request_state {
    FCGI_REQUEST_PARTIAL, /* good so far, more must come */
    FCGI_REQUEST_WHOLE,   /* exactly one request */
    FCGI_REQUEST_TOO_BIG, /* all its parameters, and more body than REQUEST_BODY_BYTES_MAX */
    FCGI_REQUEST_BROKEN,  /* not what a FastCGI server sends, or parameters over the limit */
};

enum fcgi_request_state fcgi_request_state(struct bytes bytes);

#endif
