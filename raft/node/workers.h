/*
 * The socket where workers call: wire/call.h over a unix stream socket, any number of calls open on
 * each connection. Calls become replica_write and replica_read; what the hooks of the replica bring
 * back becomes frames, gathered and sent once a turn.
 *
 * Bounded: WORKERS_MAX connections, WORKERS_LISTS_MAX open lists on each, and a worker that does
 * not read its answers is not read from. A worker that breaks the protocol loses its connection.
 */
#ifndef ROLLCALL_NODE_WORKERS_H
#define ROLLCALL_NODE_WORKERS_H

#include "raft/replica/replica.h"

#include <uv.h>

#define WORKERS_MAX       64u
#define WORKERS_LISTS_MAX 1024u

struct workers;

struct workers_options {
    uv_loop_t *loop;
    struct replica *replica;
    uint64_t node;
    const char *cluster;
    const char *address; /* of this node, for /cluster; may be empty */
    /* Of another node, "" where it is not known; not called in a cluster of one. And whether a
     * connection to a node stands; of this one, whether others can call it. */
    const char *(*address_of)(void *context, raft_node_id id);
    bool (*connected)(void *context, raft_node_id id);
    /* The state of snapshots, for STATUS. */
    enum call_snapshot (*snapshot_state)(void *context);
    /* All of this node, for METRICS: at most CALL_METRICS_BYTES_MAX. */
    void (*put_metrics)(void *context, struct writer *out);
    void *context;
};

/* NULL: no memory. */
struct workers *workers_new(const struct workers_options *options);

/* Binds and listens; a stale socket file of a dead process is replaced. −errno. */
NODISCARD int workers_listen(struct workers *workers, const char *path);

/* The replica's hooks for clients that came from here. */
void workers_written(struct workers *workers, struct replica_client client, uint64_t index,
                     const struct users_answer *answer);
void workers_refused(struct workers *workers, struct replica_client client,
                     enum call_reason reason);
void workers_unknown(struct workers *workers, struct replica_client client);
void workers_readable(struct workers *workers, struct replica_client client);

/* Sends what was gathered: once, at the end of each turn. */
void workers_flush(struct workers *workers);
/* Workers, and rollcallctl, that are connected. */
uint32_t workers_connected(const struct workers *workers);
/* Nothing waits to be sent, and no list is being read. */
bool workers_idle(const struct workers *workers);

/* Takes no more connections, and removes the socket's file. */
void workers_stop_listening(struct workers *workers);
/* Closes all; workers_free after the loop has ended. */
void workers_close(struct workers *workers);
void workers_free(struct workers *workers);

#endif
