/* struct peers, for peers*.c only. */
#ifndef ROLLCALL_NODE_PEERS_STATE_H
#define ROLLCALL_NODE_PEERS_STATE_H

#include "raft/node/outbox.h"
#include "raft/node/peers.h"
#include "raft/wire/peer.h"

#include <sys/socket.h>

/* GREETING: connected, and the other side has not said whether it accepts. */
enum peer_link_state {
    LINK_DOWN,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_GREETING,
    LINK_UP,
    LINK_CLOSING
};

/* What the callee says on a connection: WELCOME, REFUSED, PROBE. One may be longer than all of this
 * version's, of a later one. */
#define PEERS_ANSWER_BYTES 256u

/* To another node: what is said goes here. */
struct link {
    struct peers *peers;
    raft_node_id id;
    enum peer_link_state state;
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    uv_timer_t timer; /* the next try, or the end of this one */
    uint64_t pause_ms;
    uint64_t up_ms; /* since when it is up */
    bool was_up;
    bool told_down;   /* its absence was said */
    bool refused;     /* at the last try, in so many words */
    bool not_welcome; /* nor any other who is there but ends the connection before WELCOME */
    enum peer_refusal told_refused;
    uint64_t told_refused_ms;   /* 0: it was not said, or it was accepted since */
    uint64_t told_duplicate_ms; /* that another process has this node's id; 0: never */
    /* What the name stood for when it was last resolved, and the one to be tried next. */
    uint32_t addresses, address_at;
    struct sockaddr_storage address[PEERS_ADDRESSES_MAX];
    struct outbox outbox;
    uint8_t answer[PEERS_ANSWER_BYTES];
    size_t answer_len;
};

#define PEERS_IN_BYTES ((size_t)FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX)
/* A greeting fits, of a later version too. */
#define PEERS_GREETING_BYTES 2048u

/*
 * From another node: what it says comes here.
 *
 *   SILENT ──HELLO──▶ PRESENT                         nobody else is connected in its name
 *      └────HELLO──▶ WAITING ──▶ PRESENT              the older connection did not answer the probe
 *                       └──▶ refused, DUPLICATE_ID    it did
 */
enum inlet_state { INLET_FREE, INLET_SILENT, INLET_WAITING, INLET_PRESENT, INLET_CLOSING };

struct inlet {
    struct peers *peers;
    enum inlet_state state;
    bool paused;
    uint64_t opened_ms;
    uint64_t probed_ms; /* PRESENT: it was asked whether it is there; 0: not, or it answered */
    raft_node_id from;  /* 0 while SILENT */
    uv_tcp_t tcp;
    uint8_t greeting[PEERS_GREETING_BYTES]; /* SILENT */
    uint8_t *in;                            /* of PEERS_IN_BYTES, once it was PRESENT or WAITING */
    size_t in_len;
};

/*
 *   NONE ──▶ RESOLVING ──▶ OPEN                       a name; an address goes straight to OPEN
 *     ▲          └──▶ CLOSING ──┐                     not of this machine, yet
 *     └──────────┴──────────────┘                     again after PEERS_LISTEN_AGAIN_MS
 */
enum listener_state { LISTENER_NONE, LISTENER_RESOLVING, LISTENER_OPEN, LISTENER_CLOSING };

struct peers {
    struct peers_options options;
    struct network network;
    bool closing;
    enum listener_state listener_state;
    uv_tcp_t listener; /* OPEN, CLOSING */
    uv_getaddrinfo_t listen_resolve;
    uint64_t listen_ms; /* NONE: when it is tried again */
    bool awaited;       /* that its address is not there was said, and it did not come since */
    bool told_loopback; /* that its name stands for what no other can call */
    uv_timer_t tick;    /* looks for connections whose time is over */
    bool tick_open;
    uv_idle_t again; /* open as `tick` is: active while a connection has more to say */
    uint32_t links;
    struct link link[RAFT_MEMBERS_MAX];
    struct inlet inlet[PEERS_INLETS_MAX];
    /* When a refusal was last said, by link (the last row: of whoever is no member); 0: never. A
     * caller may give any id, so these are all the lines there are. */
    uint64_t told_ms[RAFT_MEMBERS_MAX + 1][PEER_REFUSAL_NUMBERS];
    uint64_t random;
    struct peers_measures measures;
};

/* --- peers.c */
/* NULL: it is no other member. */
struct link *peers_link(struct peers *peers, raft_node_id id);

/* --- peers_inlets.c */
void inlet_accept(struct peers *peers, uv_stream_t *listener);
void inlets_tick(struct peers *peers);
void inlets_close(struct peers *peers);

/* --- peers_links.c */
NODISCARD int link_start(struct link *link);
void link_close(struct link *link);
/* The node is there: it has just called. */
void link_nudge(struct link *link);
void link_send(struct link *link, struct bytes frames);
void link_flush(struct link *link);
/* Small packets go at once; a side that takes nothing for dead_ms is dead. */
void peers_tune(const struct peers *peers, uv_tcp_t *tcp);

#endif
