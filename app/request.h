/*
 * A request as the handlers see it: the FastCGI environment, judged. Every limit on what comes in
 * is enforced here or by what this calls; what is not looked at here is not looked at anywhere.
 *
 * Slices point into the connection's environment and are valid until the answer is finished; the
 * body's only while the request is being dispatched.
 */
#ifndef ROLLCALL_APP_REQUEST_H
#define ROLLCALL_APP_REQUEST_H

#include "raft/base/bytes.h"

enum method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_OTHER, /* known to HTTP or not, no resource here takes it */
};

/* The lines of a header field that may come more than once; a list goes on from line to line. */
#define REQUEST_LINES_MAX 8u
struct request_lines {
    uint32_t count;
    const char *line[REQUEST_LINES_MAX];
};

struct request {
    enum method method;
    struct bytes path;  /* raw: nginx's own normalisation is not ours (axum routes on raw bytes) */
    struct bytes query; /* raw, without the '?' */
    uint64_t user_id;   /* where the path is /users/{id}: route.c */
    struct bytes content_type;  /* empty when there is none */
    struct bytes address;       /* of ours, at which it arrived; empty when nobody said */
    struct bytes authorization; /* empty when there is none */
    struct request_lines if_match, if_none_match;
    struct request_lines content_encoding;
    const char *idempotency_key; /* as it was sent; NULL for none */
    struct bytes body;
    bool too_big; /* the body is over its limit, or is said to be; `body` is empty */
    bool partial; /* with Content-Range */
    /*
     * What makes this request one: nginx's, the same when nginx tries it on another worker. Drawn
     * at random when nginx sent none.
     */
    struct request_id id;
};

#define REQUEST_NAME_SHOWN 65u

/* Why a request cannot even be looked at: 400. NULL-terminated sentence. */
struct request_fault {
    const char *what;
};

/*
 * Reads "NAME=value" strings up to a NULL. -EBADMSG and *ret_fault when a parameter is missing,
 * doubled or contradicts the body; then only `method` of the request is set (METHOD_OTHER when
 * even that is not known).
 */
NODISCARD int request_read(char **environment, struct bytes body, bool too_big,
                           struct request *ret_request, struct request_fault *ret_fault);

/* application/json, or anything application/…+json, with any parameters. */
bool request_is_json(const struct request *request);
/* application/merge-patch+json (RFC 7396). */
bool request_is_merge_patch(const struct request *request);
/* The body is coded (RFC 9110 §8.4), by whatever it may be: nothing here decodes one. */
bool request_is_coded(const struct request *request);

/* 32 hexadecimal digits, of either case. */
NODISCARD bool request_id_parse(struct bytes text, struct request_id *ret_id);

/*
 * The value of a query parameter, percent-decoded into `out`. 0 when it is not there, 1 when it is,
 * -EINVAL when it is there twice, does not fit or is not well encoded. A name alone has the value
 * "".
 */
NODISCARD int request_parameter(const struct request *request, const char *name,
                                struct writer *out);
/* The first parameter whose name, decoded, is not among `known`, blanks between them: as it was
 * sent, into `ret_name`, what is not printable ASCII as '?'. False when all are known. */
bool request_unknown_parameter(const struct request *request, const char *known,
                               char ret_name[static REQUEST_NAME_SHOWN]);
/* Is it there, whatever its value? */
bool request_has_parameter(const struct request *request, const char *name);
/* The same of one that may be there many times: the next one in `in`, at first all of `query`. */
NODISCARD int request_parameter_next(struct reader *in, const char *name, struct writer *out);

#endif
