/*
 * A client: whole requests by libcurl, and bytes as they are by a socket. Thread-safe.
 */
#ifndef ROLLCALL_TESTS_E2E_HTTP_H
#define ROLLCALL_TESTS_E2E_HTTP_H

#include "raft/base/bytes.h"

struct answer {
    long status; /* 0: no HTTP answer came */
    char *body;  /* NUL-terminated; owned by whoever has the answer: answer_done */
    size_t len;
    char *head; /* the header lines as they came */
};

void answer_done(struct answer *answer);
/* The value of a header of the answer, "" when it is missing. Good until the next call. */
const char *answer_header(const struct answer *answer, const char *name);

struct request {
    const char *method;
    const char *path;
    const char *headers[4]; /* whole lines; "Name;" sends an empty one */
    struct bytes body;
    const char *socket; /* a unix socket instead of the port; NULL: the port */
};

/* With `keep`, a connection for all its requests; else one for each. */
struct client;
struct client *client_open(int port, bool keep);
void client_close(struct client *client);
struct answer client_send(struct client *client, const struct request *request);

/* One request on a connection of its own. */
struct answer http_send(int port, const struct request *request);
struct answer http_get(int port, const char *path);
/* POST /users with {"name":"…"}; `name` must need no escapes. */
struct answer http_post_name(struct client *client, const char *name);

/*
 * Sends these bytes and reads until the other side closes, or has said that it will and sent all of
 * that answer: nginx then waits a while for the rest of a body that it has refused. Where nobody
 * says so, the test hangs, and fails for it.
 */
struct answer http_raw(int port, struct bytes bytes);
/* The same from another address of loopback's than 127.0.0.1. */
struct answer http_raw_from(const char *address, int port, struct bytes bytes);
/* A socket of that address, connected to the port. */
int http_connect_from(const char *address, int port);

/* Reads [{"id":1,"name":"…"},…], whose names need no escapes; calls for each; how many, −1: bad. */
long users_read(const char *body, void (*each)(void *context, uint64_t id, const char *name),
                void *context);

#endif
