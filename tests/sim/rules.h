/*
 * What must be true whatever happens. After each step, of the node that stepped:
 *
 *   core          raft_check: the invariants of raft/core/state.h
 *   elections     one leader a term                                     (paper, Figure 3)
 *   votes         a node's vote in a term is for one candidate, crashes or not
 *   completeness  a new leader's log ends at or after all that was committed in terms before its
 *                 own, with the same term there                         (§5.4)
 *   commits       an entry that was committed is never another one      (§5.3, log matching)
 *   states        the entry applied at an index, and the state after it, are the same everywhere,
 *                 after crashes and snapshots too (digest)              (§5.4.3)
 *   forward       term, commit and applied never go back within a life, the term never at all
 *   durable       what a node said its disk has, it finds again; what is acknowledged to a client
 *                 is on a majority's disks
 *   once          no request is executed by two entries
 *   model         the first time that an entry is applied anywhere, its answer and the state after
 *                 it are those of plain arrays (tests/users/model.h) that apply it too
 *
 * clients.h has the rest: what clients were told.
 */
#ifndef ROLLCALL_TESTS_SIM_RULES_H
#define ROLLCALL_TESTS_SIM_RULES_H

#include "raft/replica/replica.h"
#include "tests/sim/net.h"
#include "tests/users/model.h"

struct rules_entry {
    bool applied;
    uint64_t op;           /* of clients; 0: none */
    uint64_t digest;       /* of the state after it */
    uint64_t term;         /* as committed; 0: not known */
    uint64_t committed_in; /* the term of the node that first called it committed */
};

/* What is known of one node, whatever its life. */
struct rules_node {
    uint64_t term, commit, applied; /* in this life */
    uint64_t term_ever;
    bool leads;
    uint64_t acked_term, acked; /* it told the leader of this term that its disk has so much */
    uint32_t votes_room;
    uint8_t *vote; /* by term */
};

struct rules {
    uint32_t terms;     /* room of `leader` */
    uint8_t *leader;    /* by term */
    uint64_t committed; /* the highest index that any node called committed */
    uint64_t room;
    struct rules_entry *entry; /* by index */
    struct rules_node node[SIM_NODES + 1];
    uint64_t checks;
    struct model model; /* of all that was applied anywhere; no room until something was */
};

struct world;

void rules_done(struct rules *rules);

/* After a call into the node, while its replica runs. */
void rules_step(struct world *world, uint32_t node);
/* It sends this message of the core's. */
void rules_sent(struct world *world, uint32_t node, const struct raft_message *message);
/* It has opened its log. */
void rules_opened(struct world *world, uint32_t node, const struct wal_recovered *recovered);
void rules_died(struct world *world, uint32_t node);
/* Its disk is empty: it remembers nothing. */
void rules_wiped(struct world *world, uint32_t node);
/* A state has applied this entry; request and answer NULL: it holds none. */
void rules_applied(struct world *world, struct users *users, uint64_t index,
                   const struct users_request *request, const struct users_answer *answer);
/* All users of this newest version are the model's, and found by their emails. */
void rules_model(struct world *world, uint32_t node, const struct users_view *view);
/* A client is told that entry `index` is executed. */
void rules_acknowledged(struct world *world, uint64_t index);
/* The last entry at or before `index` that executed a request: what a reader at `index` saw. */
uint64_t rules_last_change(const struct world *world, uint64_t index);
/* This state is the one after entry meta.index. */
void rules_state(struct world *world, uint32_t node, struct users_meta meta);

#endif
