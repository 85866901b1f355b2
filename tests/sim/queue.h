/*
 * What is going to happen: events by time, and at one time in the order in which they were asked
 * for. A binary heap.
 */
#ifndef ROLLCALL_TESTS_SIM_QUEUE_H
#define ROLLCALL_TESTS_SIM_QUEUE_H

#include "raft/base/attr.h"

enum sim_event_kind {
    SIM_TURN,      /* the loop of a node goes round */
    SIM_PACKET,    /* a frame arrives */
    SIM_CONNECT,   /* a node calls another */
    SIM_LOST,      /* a node learns that its connection to another is gone */
    SIM_JOB_RUN,   /* a job of a lane touches the disk */
    SIM_JOB_DONE,  /* and tells the loop */
    SIM_STORE,     /* the store runs a command */
    SIM_LATER,     /* a timer of the store's */
    SIM_STORE_UP,  /* the store is back */
    SIM_WAKE,      /* a node that was busy or paused goes on with what waited */
    SIM_START,     /* a node that is down starts */
    SIM_DISK_ROOM, /* a full disk has room again */
    SIM_ASK,       /* a request arrives */
    SIM_CLIENT,    /* a client goes on */
    SIM_FAULT,     /* something goes wrong */
    SIM_HEAL,      /* the network is whole again */
    SIM_HOSTILE,   /* a node hears lies: hostile.h */
};

struct packet;

struct sim_event {
    uint64_t at_us;
    uint64_t order;
    enum sim_event_kind kind;
    uint8_t node, other;
    uint32_t life;   /* of the node: an event of an earlier life does not happen */
    uint64_t number; /* what it means depends on the kind */
    struct packet *packet;
};

struct queue {
    uint64_t orders;
    size_t count, room;
    struct sim_event *at;
};

void queue_done(struct queue *queue);
/* `event->order` is given here. */
void queue_push(struct queue *queue, struct sim_event event);
/* NULL when it is empty. */
const struct sim_event *queue_first(const struct queue *queue);
struct sim_event queue_pop(struct queue *queue);

#endif
