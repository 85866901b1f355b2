/*
 * The other nodes, over TCP. Each node calls each other one and says what it has to say on that
 * connection; what the other says comes on a connection of its own. The first frame is a HELLO: a
 * stranger, a node of another cluster or of another version is refused and told why. Both sides say
 * so once, and again when the reason changes or after PEERS_SAY_AGAIN_MS.
 *
 * A connection that ends is made again at once, then after ever longer pauses. Only a greeting that
 * was accepted, on a connection that then lasted, makes them short again. All addresses of a name
 * are tried in turn, then the name is resolved anew. What was not sent is
 * lost (the core sends again what matters). So is what the other side does not take in time: TCP
 * itself would go on trying for minutes on a path that is dead, and after it has healed.
 */
#ifndef ROLLCALL_NODE_PEERS_H
#define ROLLCALL_NODE_PEERS_H

#include "raft/replica/network.h"
#include "raft/wire/frame.h"
#include "raft/wire/record.h"

#include <uv.h>

/* Frames for a peer that are not sent: over it they are lost. */
#define PEERS_UNSENT_BYTES_MAX (16u << 20)
/*
 * Connections from others at once. Those that have not greeted hold few bytes, and the oldest of
 * them makes way for a newer one: however many are silent, a member's greeting is read. A member
 * has one connection, and a second while it is found out whether the first still lives.
 */
#define PEERS_INLETS_MAX 128u
#define PEERS_SILENT_MAX 64u
/* What one connection may say before the others, and the turn, have theirs; at least a frame. */
#define PEERS_SHARE_BYTES  (256u << 10)
#define PEERS_SHARE_FRAMES 256u
/* Between tries: of a node that does not answer, and of one that refused this one. Each is drawn
 * between half of it and all of it. */
#define PEERS_PAUSE_MS_MIN   10u
#define PEERS_PAUSE_MS_MAX   500u
#define PEERS_REFUSED_MS_MAX 5000u
#define PEERS_LASTED_MS      1000u
#define PEERS_SAY_AGAIN_MS   600000u
#define PEERS_ADDRESSES_MAX  8u /* of one name */
/* The own address may come later than the process: an interface that is not up, a name that nobody
 * knows yet. */
#define PEERS_LISTEN_AGAIN_MS 1000u

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
    /* The own address is no good and never will be; as peers_start says it when it knows at once.
     */
    void (*unusable)(void *context, int error);
    /* What this node's directory knows of itself. */
    struct record_identity (*identity)(void *context);
};

struct peers_options {
    uv_loop_t *loop;
    uint64_t node;
    const char *cluster;
    const char *listen; /* as a member's address */
    uint32_t members;
    struct peers_member member[RAFT_MEMBERS_MAX]; /* this node may be among them */
    uint32_t dead_ms; /* a connection whose other side takes nothing for so long is dead */
    uint64_t random;  /* for pauses */
    const struct peers_hooks *hooks;
    void *context;
};

/* NULL: no memory. The options' texts are borrowed for good. */
struct peers *peers_new(const struct peers_options *options);

/*
 * Listens, and calls the others. −errno or libuv's: -EINVAL, the address makes no sense;
 * -EADDRINUSE, somebody else has it. One that this machine does not have, or a name that nobody
 * knows, may come: that is said, and tried again.
 */
NODISCARD int peers_start(struct peers *peers);

struct network *peers_network(struct peers *peers);

/* What had to wait for room is handed in again: once a turn, after it. */
void peers_resume(struct peers *peers);

/* Whether a connection to this node stands, and it accepted the greeting; of this one itself,
 * whether it can be called. */
bool peers_connected(struct peers *peers, raft_node_id id);

/* Bytes for it that are not sent. */
size_t peers_unsent_bytes(struct peers *peers, raft_node_id id);

/* Since the process began. */
struct peers_measures {
    uint64_t refused_frames;    /* of members: they broke a rule, and their connection ended */
    uint64_t refused_greetings; /* callers that are no member, or not now */
    uint64_t refused_by;        /* greetings of this node that others refused */
};
struct peers_measures peers_measures(const struct peers *peers);

/* Closes all; peers_free after the loop has ended. NULL is fine. */
void peers_close(struct peers *peers);
void peers_free(struct peers *peers);

/* The address as host and port. -EINVAL: it is not "ADDR:PORT". */
#define PEERS_HOST_BYTES 256u
NODISCARD int peers_address(const char *address, char ret_host[PEERS_HOST_BYTES],
                            uint16_t *ret_port);

#endif
