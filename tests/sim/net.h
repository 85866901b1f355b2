/*
 * The network: frames between nodes, each on its own way. It loses, doubles, delays and so reorders
 * them, and is cut one way or both. Beside them connections, which stand and end: all that a driver
 * learns of the other's fate, if it learns it.
 */
#ifndef ROLLCALL_TESTS_SIM_NET_H
#define ROLLCALL_TESTS_SIM_NET_H

#include "raft/replica/network.h"
#include "raft/wire/frame.h"
#include "tests/sim/queue.h"

#include <stdio.h>

#define SIM_NODES 7u
/* Frames that wait for a scenario to let them go. */
#define NET_HELD_MAX 4096u

struct packet {
    uint8_t from, to;
    uint16_t kind;
    uint32_t len;
    uint8_t bytes[]; /* the frame's payload */
};

struct net {
    uint32_t delay_us, spread_us; /* one way: at least, and at most so much more */
    uint32_t lose, twice, late;   /* of a million frames */
    uint32_t late_us;             /* a late one takes up to so long */
    bool reliable;                /* in the order of sending, none lost: TCP in good days */
    bool cut[SIM_NODES + 1][SIM_NODES + 1]; /* from, to */
    bool up[SIM_NODES + 1][SIM_NODES + 1];  /* the connection that `from` called */
    uint64_t losses;
    uint64_t losing[SIM_NODES + 1][SIM_NODES + 1]; /* `from` will hear that it ended; 0: no */
    uint64_t last_us[SIM_NODES + 1][SIM_NODES + 1];
    /* For scenarios. */
    uint8_t only_candidate; /* of all others nothing that seeks or keeps leadership arrives */
    bool holding[SIM_NODES + 1][SIM_NODES + 1];
    uint64_t dropping[SIM_NODES + 1][SIM_NODES + 1]; /* see net_kind_bit */
    /* Of this kind so many more arrive, and no others; 0: any. */
    uint16_t counted[SIM_NODES + 1][SIM_NODES + 1];
    uint32_t allowed[SIM_NODES + 1][SIM_NODES + 1];
    size_t held;
    struct packet *hold[NET_HELD_MAX];
    /* What node 1 hears of nodes 2 and 3 is written there, some of each kind; NULL: not. A seed of
     * tests/fuzz/driver_fuzz.c. */
    FILE *heard;
    uint8_t heard_of[128];
};

struct world;
struct machine;

struct network net_of(void);
void net_done(struct net *net);

/* The node runs, and calls the others. */
void net_machine_up(struct world *world, uint32_t node);
/* It is gone. `reset`: its kernel lives, so that the others learn it soon. */
void net_machine_down(struct world *world, uint32_t node, bool reset);
void net_connect(struct world *world, const struct sim_event *event);
void net_lost(struct world *world, const struct sim_event *event);
void net_arrived(struct world *world, const struct sim_event *event);

/* One way. */
void net_cut(struct world *world, uint32_t from, uint32_t to);
void net_heal(struct world *world);
/* A connection breaks, and is made again. */
void net_break(struct world *world, uint32_t from, uint32_t to);
/* What was held goes out now. */
void net_release(struct world *world);

/* The name of a kind of frame, "?" for none; and the kind of a name, 0 for none. */
const char *net_kind_name(uint16_t kind);
uint16_t net_kind_of(const char *name);
/* Its bit in `dropping`. */
uint64_t net_kind_bit(uint16_t kind);

#endif
