/*
 * The connection to the local node's unix socket: made, greeted, lost, and made again for ever,
 * with a pause that grows from 10 to 250 ms. It carries frames; what calls are is node_client's.
 *
 *     DOWN ──connect──▶ GREETED (HELLO sent) ──WELCOME──▶ UP ──▶ on_up
 *      ▲                   │                               │
 *      └───────────────────┴── closed, silent, nonsense ◀──┘ ──▶ on_down
 *
 * What is put is sent by node_link_flush, or later when the socket takes no more for now.
 */
#ifndef ROLLCALL_APP_NODE_LINK_H
#define ROLLCALL_APP_NODE_LINK_H

#include "raft/wire/call.h"

#include <uv.h>

struct node_link;
struct node_client;

struct node_link_events {
    struct node_client *client;
    void (*on_up)(struct node_client *client);
    /* The connection that on_up spoke of is lost. */
    void (*on_down)(struct node_client *client);
    /* Any call but WELCOME; its slices are valid during the call-back. */
    void (*on_call)(struct node_client *client, const struct call *call);
};

/* Tries to connect from now on. `path` is borrowed for good. -ENOMEM. */
NODISCARD int node_link_open(uv_loop_t *loop, const char *path,
                             const struct node_link_events *events, struct node_link **ret_link);

bool node_link_is_up(const struct node_link *link);
/* Counts connections: what was said on one is not known on the next. */
uint64_t node_link_session(const struct node_link *link);
/* The node's id, as it last said; 0 before it ever did. */
uint64_t node_link_node(const struct node_link *link);
/* What it had applied when this connection was made. */
uint64_t node_link_applied(const struct node_link *link);

/* Could something be sent right now? Not while the socket is full. */
bool node_link_takes(const struct node_link *link);
/*
 * Appends a frame to what is to be sent. False when it does not fit; an ordinary frame leaves room
 * for urgent ones, which are short and must not wait.
 */
NODISCARD bool node_link_put(struct node_link *link, const struct call *call, bool urgent);
void node_link_flush(struct node_link *link);

/* What the node sent made no sense, or it cannot be told something: start anew. */
void node_link_drop(struct node_link *link, const char *why);

#endif
