/*
 * A client that knows the URL of /openapi.json and nothing else of the service: which method and
 * path an operation has, where each argument goes and of what type a body is, it reads there. What
 * it sends it judges before, what comes it judges after, by the document; where it does not fit,
 * the test has failed.
 */
#ifndef ROLLCALL_TESTS_E2E_OPENAPI_CLIENT_H
#define ROLLCALL_TESTS_E2E_OPENAPI_CLIENT_H

#include "tests/e2e/openapi.h"

struct api {
    struct json_object *document;
    int port;
};

struct api api_open(int port);
void api_close(struct api *api);

struct argument {
    const char *name; /* as the document names it: "limit", "If-Match"; NULL after the last */
    const char *value;
};

struct called {
    struct answer answer;
    struct json_object *body; /* NULL where it is no JSON */
};

/* `body` is JSON, or NULL for an operation that takes none. */
struct called api_call(const struct api *api, const char *operation,
                       const struct argument *arguments, const char *body);
void called_done(struct called *called);

/*
 * The operation that the link `name` of an answer to `operation` leads to, and its one argument:
 * what the document's runtime expression finds in the answer.
 */
struct operation api_follow(const struct api *api, const char *operation,
                            const struct called *called, const char *name,
                            struct argument *ret_argument);

#endif
