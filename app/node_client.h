/*
 * Calls to the local node: any number at once over one connection to its unix socket.
 *
 * A call is embedded in what asks. It is open from node_client_ask until its last answer, or until
 * node_client_cancel; while it is open it must stay where it is, and what its slices point to too.
 *
 *   ask ──▶ QUEUED ──▶ SENT ──▶ answer ──▶ closed
 *    │        ▲         │ └──▶ USERS, not the last ──▶ PAUSED ──▶ more ──▶ QUEUED …
 *    │ away   │ the next connection stands: again, under the same id
 *    └─────▶ HELD ◀─────┘ the connection broke, or the node said that it is stopping
 *
 * What is asked in a turn of the loop goes out in one write at the turn's end. While the node is
 * away, or on its way out, calls wait for the next: a restart within the deadline costs time and
 * nothing else. NODE_WAITING_MAX calls wait so; what is over that, and what is asked when the node
 * has been away for longer than the deadline, is refused at once. While the node does answer, and
 * NODE_BUSY calls wait all the same, it is asked for more than it can do: what comes then is
 * refused at once too, so that those who wait do not wait for longer. (An election is no such
 * time: no answers come, and the queue is let grow.) The number is half of the requests a second
 * times the seconds that each takes on a good day, for two workers. Not among those that wait are
 * lists whose reader is slow (PAUSED), and lists of an index that this node has not reached: they
 * wait for somebody else than the node, for as long as a client likes, and of the latter there may
 * be NODE_AHEAD_MAX. Every call has the same deadline from when it was asked, so that the open ones
 * form a queue in order of deadline and one timer serves them all.
 *
 * A write is in doubt when it went out on a connection that broke before its answer came: whatever
 * is said of it later but its result, it may have been executed.
 */
#ifndef ROLLCALL_APP_NODE_CLIENT_H
#define ROLLCALL_APP_NODE_CLIENT_H

#include "raft/wire/call.h"

#include <uv.h>

#define NODE_WAITING_MAX 1024u
#define NODE_BUSY        128u
#define NODE_AHEAD_MAX   512u
/* It answers, when the last answer is not older. */
#define NODE_ANSWERS_MS 50u
/* Open calls; a call's slot is the low 16 bits of its number. */
#define NODE_CALLS_MAX 8192u

enum node_answer_kind {
    NODE_WRITTEN, /* durable and applied */
    NODE_USERS,   /* a chunk; unless it is the last, ask for more or cancel */
    NODE_STATUS,
    NODE_METRICS,
    NODE_REFUSED, /* certainly not executed */
    NODE_UNKNOWN, /* a write that may have been executed */
};

/* Slices point into the client's buffers, valid during the call-back. */
struct node_answer {
    enum node_answer_kind kind;
    union {
        const struct call_written *written;
        const struct call_users *users;
        const struct call_status_response *status;
        const struct call_metrics_response *metrics;
        const char *refused; /* why, in words */
    };
};

enum node_call_state {
    NODE_CALL_CLOSED,
    NODE_CALL_HELD,   /* for the next connection */
    NODE_CALL_QUEUED, /* for the end of this turn, or until the socket takes more */
    NODE_CALL_SENT,
    NODE_CALL_PAUSED, /* the node waits for our MORE: no deadline runs */
};

struct node_call {
    /* The caller's. */
    struct call ask; /* WRITE, LIST, STATUS or METRICS; its number is filled in */
    void (*on_answer)(struct node_call *call, const struct node_answer *answer);

    /* The client's. */
    enum node_call_state state;
    bool in_doubt;  /* a write that may have been executed, whatever is answered from now on */
    bool in_stream; /* a list whose first chunk has come */
    bool ahead;     /* a list of an index that the node had not reached */
    uint64_t number;
    uint64_t deadline_ms;
    uint64_t session;              /* the connection on which it was sent last */
    struct node_call *prev, *next; /* among the open ones, by deadline; not while PAUSED */
    struct node_call *queue_next;  /* QUEUED: among those to be sent */
};

struct node_client;

/* Connects, and goes on trying for ever: it lives as long as the process. `path` is borrowed for
 * good. -ENOMEM. */
NODISCARD int node_client_open(uv_loop_t *loop, const char *path, uint64_t deadline_ms,
                               struct node_client **ret_client);

/*
 * Opens a call; on_answer comes later, never from within. -ENOTCONN when the node has been away
 * for longer than the deadline, -EBUSY when too many calls wait: then the call is not open. (What
 * is asked of the node itself, for its status or metrics, is let through.)
 */
NODISCARD int node_client_ask(struct node_client *client, struct node_call *call);

/* After a NODE_USERS that was not the last: the next chunk, with a new deadline. */
void node_client_more(struct node_client *client, struct node_call *call);

/* No answer is wanted any more. Harmless on a closed call. */
void node_client_cancel(struct node_client *client, struct node_call *call);

/* The connection stands, and the node has said who it is and not that it is stopping. */
bool node_client_connected(const struct node_client *client);
/* The node's id, as it last said; 0 before it ever did. */
uint64_t node_client_node(const struct node_client *client);

/* The newest state that the node has told of: no answer after now is of an older one, save while it
 * has just been restarted. 0 before it ever did. */
uint64_t node_client_index(const struct node_client *client);

/* What the node sent made no sense: drop the connection and start anew. */
void node_client_distrust(struct node_client *client, const char *what);

#endif
