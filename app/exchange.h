/*
 * An exchange: one request and its response. An endpoint is a function, named in route.c, that
 * answers now, or asks the node and answers when the node has.
 *
 * It lives as long as its connection, so that a request costs no allocation.
 */
#ifndef ROLLCALL_APP_EXCHANGE_H
#define ROLLCALL_APP_EXCHANGE_H

#include "app/access.h"
#include "app/counts.h"
#include "app/fastcgi.h"
#include "app/listing.h"
#include "app/node_client.h"
#include "app/page.h"
#include "app/preconditions.h"
#include "app/request.h"
#include "app/response.h"
#include "raft/users/command.h"

struct service {
    struct node_client *node;
    const struct counts *counts; /* of all workers */
    struct counts_slot *slot;    /* of this one */
    const struct access *access;
};

/* A body on its way to the client. */
struct body_sender {
    void (*on_room)(struct exchange *x); /* the client takes more */
    void (*done)(struct exchange *x);    /* frees what it holds of the body */
};

struct exchange {
    struct service *service;
    struct connection *connection;
    uint64_t began_ns; /* when its request was there; 0: it is counted */
    unsigned route;    /* its place: route.h */
    struct request request;
    struct node_call call;
    void (*on_users)(struct exchange *x, const struct call_users *users); /* of a read: reading.h */
    void (*on_refused)(struct exchange *x, const char *why);
    struct access_scope scope;       /* whose request it is */
    struct preconditions conditions; /* borrowed from `tags` */
    uint8_t tags[PRECONDITIONS_BYTES];
    uint8_t command[USERS_COMMAND_BYTES_MAX]; /* what call.ask.write.command points to */
    uint8_t text[USER_NAME_BYTES_MAX];        /* what call.ask.list.text points to */
    const struct body_sender *sender;         /* NULL: no body is on its way; else it has its: */
    union {
        struct listing listing;
        struct page page;
    };
};

/* The call-backs of struct fastcgi_events that are the handlers' own. */
struct exchange *exchange_open(struct service *service, struct connection *connection);
void exchange_close(struct exchange *exchange);
void exchange_hung_up(struct exchange *exchange);
void exchange_on_room(struct exchange *exchange);
/* The body has been written, or never will be. */
void exchange_body_done(struct exchange *exchange);

/* A request begins; and its answer has been written, with this status or COUNTS_CUT. Whatever ends
 * a request says so, before the connection is given back. Idempotent. */
void exchange_began(struct exchange *x);
void exchange_ended(struct exchange *x, unsigned status);

/* Asks the node x->call.ask; refuses the request when that cannot be asked. */
void exchange_ask(struct exchange *x,
                  void (*on_answer)(struct node_call *, const struct node_answer *));
/* The exchange that a call is of. */
struct exchange *exchange_of(struct node_call *call);

/* Raft-Node and Raft-Index of every response. One that speaks of no state has the newest that is
 * known here. */
void exchange_set_raft_headers(const struct exchange *x, struct response *response);
/* Answers and ends the exchange's request. */
void respond(struct exchange *x, const struct response *response);
void respond_problem(struct exchange *x, enum problem problem, const char *detail);
/* True when the query holds none but the `known` parameters (request.h); else it is answered 400.
 */
bool exchange_knows_query(struct exchange *x, const char *known);
/* 413, of a request whose body is too_big. */
void respond_too_big(struct exchange *x);
/* After node_client_ask said `error`. */
void respond_unasked(struct exchange *x, int error);
/* 404 and 412, as of the state at `index`; what they say, also of writes. */
#define NO_SUCH_USER "there is no user with this id"
#define IS_ANOTHER   "it is not as the request demands; ETag says which it is now"
void respond_no_user(struct exchange *x, uint64_t index);
void respond_condition_failed(struct exchange *x, uint64_t index, uint64_t etag);
/* A refusal of the node: 503, with its reason. */
void respond_refused(struct exchange *x, const char *why);

#endif
