/*
 * The URL space: (method, path) → handler. Paths are compared as raw bytes, as the reference does:
 * "/users/", "//users" and "/user%73" are other paths, and there is nothing at them.
 */
#ifndef ROLLCALL_APP_ROUTE_H
#define ROLLCALL_APP_ROUTE_H

#include "app/exchange.h"
#include "raft/base/token.h"

enum route_kind {
    ROUTE_HANDLER,
    ROUTE_OPTIONS,     /* the path is known: say what it takes */
    ROUTE_NOT_ALLOWED, /* the path is known, the method is not for it */
    ROUTE_NOT_FOUND,
};

struct route {
    enum route_kind kind;
    enum token_role role;                /* that whoever asks must have, whatever the kind */
    void (*handler)(struct exchange *x); /* ROUTE_HANDLER only */
    const char *allow;                   /* all but ROUTE_NOT_FOUND */
    const char *accept_patch;            /* ROUTE_OPTIONS of what can be patched; else NULL */
    const char *parameters;              /* of a query that mean something; blanks between */
    uint64_t user_id;                    /* of /users/{id}; else 0 */
    unsigned place;                      /* see route_template */
};

/* Where there is nothing: the place of all paths that are no resource's. */
#define ROUTE_ELSEWHERE 0u

struct route route_find(enum method method, struct bytes path);

/*
 * Resources have places, from 0 on and below COUNTS_ROUTES, by which requests are counted: the path
 * of the one at `place`, "elsewhere", or NULL when none has it.
 */
const char *route_template(unsigned place);

#endif
