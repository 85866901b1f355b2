/*
 * The other nodes, over TCP. Each node calls each other one and says what it has to say on that
 * connection; what the other says comes on a connection of its own. The first frame is a HELLO: a
 * stranger, a node of another cluster or of another version is refused, and that is said once.
 *
 * A connection that ends is made again at once, then after ever longer pauses; what was not sent is
 * lost (the core sends again what matters). So is what the other side does not take in time: TCP
 * itself would go on trying for minutes on a path that is dead, and after it has healed.
 */
#ifndef ROLLCALL_NODE_PEERS_H
#define ROLLCALL_NODE_PEERS_H

#include "raft/node/network.h"
#include "raft/wire/frame.h"

#include <uv.h>

/* Frames for a peer that are not sent: over it they are lost. */
#define PEERS_UNSENT_BYTES_MAX (16u << 20)
/* Connections from others at once. */
#define PEERS_INLETS_MAX   32u
#define PEERS_PAUSE_MS_MIN 10u
#define PEERS_PAUSE_MS_MAX 500u

struct peers;

struct peers_member {
    raft_node_id id;
    const char *address; /* "ADDR:PORT", "[ADDR]:PORT" or "NAME:PORT" */
};

struct peers_hooks {
    /* See replica_receive. */
    int (*received)(void *context, raft_node_id from, struct frame frame);
    void (*up)(void *context, raft_node_id peer);
    void (*lost)(void *context, raft_node_id peer);
};

struct peers_options {
    uv_loop_t *loop;
    uint64_t node;
    const char *cluster;
    const char *listen; /* as a member's address */
    uint32_t members;
    struct peers_member member[RAFT_MEMBERS_MAX]; /* this node may be among them */
    uint32_t dead_ms; /* a connection whose other side takes nothing for so long is dead */
    const struct peers_hooks *hooks;
    void *context;
};

/* NULL: no memory. The options' texts are borrowed for good. */
struct peers *peers_new(const struct peers_options *options);

/* Listens, and calls the others. −errno; -EINVAL: the address makes no sense. */
NODISCARD int peers_start(struct peers *peers);

struct network *peers_network(struct peers *peers);

/* What had to wait for room is handed in again: once a turn, after it. */
void peers_resume(struct peers *peers);

/* Whether a connection to this node stands. */
bool peers_connected(struct peers *peers, raft_node_id id);

/* Bytes for it that are not sent. */
size_t peers_unsent_bytes(struct peers *peers, raft_node_id id);

/* Closes all; peers_free after the loop has ended. NULL is fine. */
void peers_close(struct peers *peers);
void peers_free(struct peers *peers);

/* The address as host and port. -EINVAL: it is not "ADDR:PORT". */
#define PEERS_HOST_BYTES 256u
NODISCARD int peers_address(const char *address, char ret_host[PEERS_HOST_BYTES],
                            uint16_t *ret_port);

#endif
