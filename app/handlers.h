/*
 * The endpoints: request → question to the node → answer → response. One function an endpoint,
 * named in route.c; it answers now, or asks the node and answers when the node has.
 *
 * An exchange is what a connection's current request needs. It lives as long as its connection, so
 * that a request costs no allocation.
 */
#ifndef ROLLCALL_APP_HANDLERS_H
#define ROLLCALL_APP_HANDLERS_H

#include "app/access.h"
#include "app/fastcgi.h"
#include "app/node_client.h"
#include "app/request.h"
#include "app/response.h"
#include "raft/users/command.h"

struct service {
    struct node_client *node;
    const struct access *access;
};

/* A list on its way to the client: listing.h. */
struct listing {
    uint8_t *packed; /* owned: users as the node sent them, not yet all written; NULL for none */
    size_t packed_len, packed_capacity, packed_at;
    uint64_t index; /* the state that the list was read from */
    uint64_t limit; /* of a page; 0 for the whole list */
    enum call_consistency consistency;
    bool last;          /* `packed` is the end of the list */
    bool begun;         /* the head has been written */
    bool first_written; /* what comes next needs a comma */
};

struct exchange {
    struct service *service;
    struct connection *connection;
    struct request request;
    struct access_scope scope; /* whose request it is */
    struct node_call call;
    uint8_t command[USERS_COMMAND_BYTES_MAX]; /* what call.ask.write.command points to */
    struct listing listing;
};

/* The call-backs of struct fastcgi_events that are the handlers' own. */
struct exchange *exchange_open(struct service *service, struct connection *connection);
void exchange_close(struct exchange *exchange);
void exchange_hung_up(struct exchange *exchange);

void handle_create(struct exchange *x);
void handle_list(struct exchange *x);
void handle_livez(struct exchange *x);
void handle_readyz(struct exchange *x);
void handle_cluster(struct exchange *x);

/* Answers and ends the exchange's request. */
void respond(struct exchange *x, const struct response *response);
void respond_problem(struct exchange *x, enum problem problem, const char *detail);
/* After node_client_ask said `error`. */
void respond_unasked(struct exchange *x, int error);
/* A refusal of the node: 503, with its reason. */
void respond_refused(struct exchange *x, const char *why);

#endif
