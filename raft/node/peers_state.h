/* struct peers, for peers*.c only. */
#ifndef ROLLCALL_NODE_PEERS_STATE_H
#define ROLLCALL_NODE_PEERS_STATE_H

#include "raft/node/outbox.h"
#include "raft/node/peers.h"

#include <sys/socket.h>

enum link_state { LINK_DOWN, LINK_RESOLVING, LINK_CONNECTING, LINK_UP, LINK_CLOSING };

/* To another node: what is said goes here. */
struct link {
    struct peers *peers;
    raft_node_id id;
    enum link_state state;
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    uv_timer_t timer; /* the next try, or the end of this one */
    uint64_t pause_ms;
    bool was_up;
    bool told_down; /* its absence was said */
    struct outbox outbox;
    char ignored[64]; /* nobody says anything here */
};

/* From another node: what it says comes here. */
struct inlet {
    struct peers *peers;
    bool open, closing, paused;
    uint64_t opened_ms;
    raft_node_id from; /* 0: it has not said who it is */
    uv_tcp_t tcp;
    uint8_t *in;
    size_t in_len;
};

#define PEERS_IN_BYTES ((size_t)FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX)
/* Refusals that were said, so that they are not said again. */
#define PEERS_TOLD_MAX 16u

struct peers {
    struct peers_options options;
    struct network network;
    bool closing;
    uv_tcp_t listener;
    bool listening;
    uv_timer_t greeting; /* looks for connections that do not say who they are */
    bool greeting_open;
    uint32_t links;
    struct link link[RAFT_MEMBERS_MAX];
    struct inlet inlet[PEERS_INLETS_MAX];
    uint32_t told;
    uint64_t told_what[PEERS_TOLD_MAX];
};

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
