/*
 * Clients, and what they were told. Each does one thing at a time: a write or a read, at some node;
 * when no answer comes it asks again, there or elsewhere, with the same request id.
 *
 * The oracle: an acknowledged write has a place in the log, its index, and so has a read: the index
 * of the state that it saw. These places are an order of all operations in which each saw what the
 * ones before it did (rules.h compares the states); the history is linearizable if besides no
 * operation has a place before one that had ended when it began. That is checked at each answer,
 * and that a write's answer is the model's (rules.h).
 */
#ifndef ROLLCALL_TESTS_SIM_CLIENTS_H
#define ROLLCALL_TESTS_SIM_CLIENTS_H

#include "raft/replica/replica.h"
#include "tests/sim/queue.h"

#define SIM_CLIENTS 16u

enum op_kind { OP_WRITE, OP_READ, OP_READ_STALE };

/* What a client wants; request id made of its number. */
struct op {
    enum op_kind kind;
    uint32_t client;
    uint64_t floor; /* the highest place of what had ended when this was first asked */
    uint32_t asked, refused;
    uint32_t open; /* asks whose answer may still come */
    bool ended;    /* the client has its answer, or has given up */
    bool told;     /* some answer came: */
    uint64_t index;
    uint64_t applied;           /* the entry that executed it; 0: none so far */
    struct users_answer answer; /* then: what the model says that is to be told */
    struct bytes command;       /* of a write: ours; see wishes.h */
};

enum ask_answer { ASK_OPEN, ASK_WRITTEN, ASK_REFUSED, ASK_UNKNOWN, ASK_READ };

/* One asking of one node. `call` of its replica_client is its place in the array. */
struct ask {
    uint64_t op;
    uint32_t node, life;
    uint64_t at_us;
    uint64_t floor; /* of a read: when this was asked */
    enum ask_answer answer;
    enum call_reason reason;
};

struct client {
    uint64_t op;       /* 0: thinking */
    uint64_t until_us; /* gives up then */
    uint32_t node;     /* that it talks to */
    uint64_t timer;    /* events of an older one do not count */
};

/* A run ends after so many requests, and a few. */
#define OPS_MAX 4000u

struct clients {
    uint32_t count;
    struct client client[SIM_CLIENTS + 1]; /* from 1; 0 is the scenario's own */
    uint64_t think_us;
    uint64_t patience_us;         /* for one answer */
    uint32_t reads, stale, twice; /* of a million */
    bool quiet;                   /* nothing new is asked */
    size_t ops, ops_room;
    struct op *op; /* from 1 */
    size_t asks, asks_room;
    struct ask *ask;
    uint64_t ended; /* the highest place of an operation that has ended */
};

struct world;

void clients_init(struct world *world);
void clients_done(struct clients *clients);
void clients_start(struct world *world);
void clients_event(struct world *world, const struct sim_event *event);

/* Asks for something new, or again: the number of the op, and of the ask. */
uint64_t clients_op(struct world *world, uint32_t client, enum op_kind kind);
uint64_t clients_ask(struct world *world, uint64_t op, uint32_t node);

/* An ask that had to wait for its node reaches it. */
void clients_deliver(struct world *world, uint64_t call);

struct request_id clients_request_id(uint64_t number);
/* The number in a request id that clients_ask made; 0: none of theirs. */
uint64_t clients_number(const struct request_id *id);

/* The hooks of the drivers, by node. */
void clients_written(struct world *world, uint32_t node, uint64_t call, uint64_t index,
                     const struct users_answer *answer);
void clients_refused(struct world *world, uint32_t node, uint64_t call, enum call_reason reason);
void clients_unknown(struct world *world, uint32_t node, uint64_t call);
void clients_readable(struct world *world, uint32_t node, uint64_t call);
/* Whoever waits for this node waits in vain. */
void clients_node_gone(struct world *world, uint32_t node);

/* All that was acknowledged is in this state, and its users are the model's. */
void clients_check_state(struct world *world, uint32_t node);

#endif
