/*
 * The network as a replica sees it: frames to other nodes, as best it can. What stands behind it is
 * TCP (peers.h), or in tests something that loses, doubles, delays and reorders on demand.
 *
 * What comes in is handed to replica_receive, and what is learnt of connections to replica_peer_up
 * and replica_peer_lost.
 */
#ifndef ROLLCALL_REPLICA_NETWORK_H
#define ROLLCALL_REPLICA_NETWORK_H

#include "raft/base/bytes.h"
#include "raft/core/types.h"

struct network {
    /* The frames are borrowed for the call. What cannot be taken is lost, and nobody is told. */
    void (*send)(struct network *network, raft_node_id to, struct bytes frames);
    /* What was given to send shall go out now; called a few times a turn. */
    void (*flush)(struct network *network);
};

#endif
