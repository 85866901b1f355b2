/*
 * A hostile peer: somebody who speaks to nodes in the names of members, in well-formed frames. It
 * sees everything, is heard at once, and answers for nothing: no network stands between. There are
 * two, by what can be asked of the nodes that hear it.
 *
 * HOSTILE_BOUNDS says what no node that follows the rules ever says, and what is of no consequence
 * whoever says it. Asked is everything that is asked of any run (rules.h, clients.h, and after it
 * has gone service and one state within the same bounds), and
 *
 *   refused   what must be refused is (-EBADMSG), and then term, role, log and commit index are
 *             what they were
 *   honest    no frame of a node is refused by another
 *   bounds    see below
 *
 * It does not say what a node cannot tell from the truth as long as names are not proved. Each of
 * these breaks the rule that is named, in any Raft, and so is only said by the other one:
 *
 *   an append of the current term to who knows no leader of it, or in that leader's name and not
 *       against what was said in it before: the leader of a term is who says so first
 *                                                                  elections, commits, states
 *   a vote given, an entry acknowledged, a round of reads answered, in the name of another member:
 *       majorities are counted by name                             elections, commits, freshness
 *   a vote asked with the end of a log that the asker has not      completeness
 *   a word of the leader's (READ_INDEX_RESPONSE, FORWARD_REFUSED, FORGOT): nobody else knows better
 *                                                                  freshness, once, liveness
 *   a write that nobody asked for, forwarded: any member may bring one               model
 *   a whole snapshot: state, counts and digest fit one another     states
 *   to a node that forgot: where a log ends, and which cluster this is; it can ask nobody else
 *                                                                  durable, liveness
 *   what it saw of a node, and that a member was put back: there is no other witness
 *                                                                  liveness
 *   terms far ahead, up to RAFT_TERM_LEAP: followed, as §5.1 says; liveness within the bounds that
 *       are asked here needs them to be few. It says some a little ahead.
 *
 * HOSTILE_LIES says all of that as well, and what mutates, replays and readdresses what nodes said.
 * Asked is only, of each node and whatever it has heard,
 *
 *   alive     its process does not end, by an assertion (raft_check after each step among them) or
 *             by its own decision, and starts again with what the lies left on its disk and in its
 *             store. No disk fails in these runs: nothing else may end one
 *   bounds    terms end at RAFT_TERM_MAX; a snapshot that is fetched never holds more than was
 *             announced; writes that others brought wait in their number and bytes; the process
 *             does not ask the system for more memory than HOSTILE_MEMORY_BYTES
 */
#ifndef ROLLCALL_TESTS_SIM_HOSTILE_H
#define ROLLCALL_TESTS_SIM_HOSTILE_H

#include "raft/replica/replica.h"
#include "tests/sim/queue.h"

enum hostile_kind { HOSTILE_NONE, HOSTILE_BOUNDS, HOSTILE_LIES };

#define HOSTILE_KEPT         64u
#define HOSTILE_MEMORY_BYTES (UINT64_C(3) << 30)

struct world;
struct machine;
struct packet;

struct hostile {
    enum hostile_kind kind;
    uint64_t random;   /* of its own: the world beside it is that of the same seed without */
    uint64_t every_us; /* between two visits, on average */
    bool over;         /* it has gone */
    bool lied;         /* what the rules say of agreement is not asked any more */
    struct packet *kept[HOSTILE_KEPT]; /* frames of this run */
};

/* The world of this seed, with such a peer. */
void hostile_draw(struct world *world, enum hostile_kind kind);
void hostile_done(struct hostile *hostile);
/* Of this process, for good. */
void hostile_limit_memory(void);
void hostile_begin(struct world *world);

/* It comes to this node, and later to another. */
void hostile_event(struct world *world, const struct sim_event *event);
/* It speaks: from within a call into the node. */
void hostile_speak(struct machine *machine);
/* It hears what a node says to another. */
void hostile_overhear(struct world *world, uint32_t from, uint32_t to, struct frame frame);

/* The bounds of this node are asked; after each call into it. */
void hostile_look(struct machine *machine);
/* This node's process ends, or does not start, by its own decision. */
void hostile_process_ends(struct machine *machine, const char *text);
/* The lies are over, and it had the time to start. */
void hostile_must_run(struct machine *machine);

/* --- hostile_lie.c: what it says -------------------------------------------------------------- */

/* Something that is made up, for one node, in somebody's name. */
struct lie {
    const char *name;
    raft_node_id from; /* of the connection */
    struct frame frame;
    bool must_be_refused;
};

/* False when what it thought of makes no sense to this node now. */
bool hostile_lie(struct machine *victim, struct lie *ret_lie);

/* In [0, limit); 0 when that is 0. */
uint64_t hostile_below(struct world *world, uint64_t limit);

#endif
