/*
 * A node that is recovering and does not know how far its log must reach (core/raft.h, RECOVERING
 * NODES) asks every other member where its log ends and which term it is in; when all have answered
 * it asks them all once more. The furthest of all these ends is its floor. A node that does not
 * know its cluster learns it from these answers first (replica/identity.c).
 *
 * Why twice: what this node acknowledged and forgot may be counted by a leader still. If that
 * leader leads when it first answers, its log has the entry. If it leads no more, others may have
 * acknowledged the same entry between their first answer and its last moment: their second says so.
 * And whoever got a forgotten vote had at least the vote's term when it asked for it.
 */
#include "raft/replica/state.h"

#include <errno.h>
#include <string.h>

#define ASK_AGAIN_MS 50u
#define ROUNDS       2u
#define PATIENCE     4u /* election timeouts without a leader, before all are asked anew */

static bool wants_floor(const struct replica *replica)
{
    struct raft_status status = raft_status(replica->raft);
    return status.recovering && !replica->rejoin.done;
}

static uint64_t question(const struct replica *replica)
{
    return replica->options.random + replica->rejoin.questions;
}

static void say_log_position(struct replica *replica, raft_node_id to, bool asks,
                             uint64_t of_question)
{
    struct raft_status status = raft_status(replica->raft);
    struct record_identity identity = wal_identity(replica->wal);
    struct peer_note note = {
        .kind = PEER_LOG_POSITION,
        .log_position = {.asks = asks,
                         .question = of_question,
                         .term = status.term.n,
                         .last = status.last.n,
                         .last_term = raft_entry_term(replica->raft, status.last).n,
                         .cluster_high = identity.cluster.high,
                         .cluster_low = identity.cluster.low,
                         .disk = identity.disk},
    };
    replica_send_note(replica, to, &note);
}

static void ask(struct replica *replica, uint64_t now_ms)
{
    struct rejoin *rejoin = &replica->rejoin;
    rejoin->asked_ms = now_ms;
    for (uint32_t i = 0; i < replica->options.members; i++) {
        raft_node_id id = replica->options.member[i];
        if (id.n != replica->options.node && !rejoin->heard[i])
            say_log_position(replica, id, true, question(replica));
    }
}

void rejoin_peer_up(struct replica *replica, raft_node_id peer)
{
    uint32_t place = replica_place_of(replica, peer);
    if (wants_floor(replica) && place < replica->options.members && !replica->rejoin.heard[place])
        say_log_position(replica, peer, true, question(replica));
}

static void tell_core(struct replica *replica)
{
    const struct rejoin *rejoin = &replica->rejoin;
    replica->rejoin.done = true;
    replica->rejoin.done_ms = replica_now_ms(replica);
    replica_step(replica, &(struct raft_event){.kind = RAFT_FLOOR_KNOWN,
                                               .floor_known = {.term = rejoin->highest,
                                                               .last = rejoin->last,
                                                               .last_term = rejoin->last_term}});
}

static void begin_round(struct rejoin *rejoin, uint32_t round)
{
    rejoin->round = round;
    rejoin->questions++;
    rejoin->heard_count = 0;
    memset(rejoin->heard, 0, sizeof(rejoin->heard));
}

void rejoin_again(struct replica *replica)
{
    struct rejoin *rejoin = &replica->rejoin;
    rejoin->done = false;
    rejoin->highest.n = rejoin->last.n = rejoin->last_term.n = 0;
    begin_round(rejoin, 0);
}

/*
 * What was heard may have been lost since: an end that was not durable, of a node that lost power.
 * Then nobody reaches this floor, and all are asked anew.
 */
static void ask_anew(struct replica *replica, uint64_t now_ms)
{
    struct rejoin *rejoin = &replica->rejoin;
    struct raft_status status = raft_status(replica->raft);
    if (!rejoin->done || !status.recovering)
        return;
    if (status.leader_known)
        rejoin->done_ms = now_ms;
    if (now_ms - rejoin->done_ms < PATIENCE * replica->options.election_ms)
        return;
    rejoin_again(replica);
}

static void take(struct rejoin *rejoin, const struct peer_log_position *log_position)
{
    raft_index last = {log_position->last};
    raft_term last_term = {log_position->last_term};
    if (term_less(rejoin->highest, (raft_term){log_position->term}))
        rejoin->highest.n = log_position->term;
    if (log_end_less(rejoin->last, rejoin->last_term, last, last_term)) {
        rejoin->last = last;
        rejoin->last_term = last_term;
    }
}

int rejoin_received(struct replica *replica, raft_node_id from,
                    const struct peer_log_position *log_position)
{
    struct rejoin *rejoin = &replica->rejoin;
    struct raft_cluster_id theirs = {log_position->cluster_high, log_position->cluster_low};
    uint32_t place = replica_place_of(replica, from);
    uint64_t term = raft_status(replica->raft).term.n;
    if (term > 0 && log_position->term > term + RAFT_TERM_LEAP)
        return -EBADMSG;
    if (cluster_id_differ(theirs, wal_identity(replica->wal).cluster))
        return 0; /* refused by its greeting, too */
    if (place < replica->options.members)
        rejoin->disk[place] = log_position->disk;
    if (place < replica->options.members && identity_heard(replica, theirs))
        begin_round(rejoin, 0);
    if (log_position->asks) {
        say_log_position(replica, from, false, log_position->question);
        return 0;
    }
    if (!wants_floor(replica) || log_position->question != question(replica) ||
        place == replica->options.members || rejoin->heard[place])
        return 0;
    rejoin->heard[place] = true;
    rejoin->heard_count++;
    take(rejoin, log_position);
    if (rejoin->heard_count + 1 < replica->options.members)
        return 0;
    if (!identity_known(replica)) { /* nobody knows which cluster this is */
        identity_found(replica);
        begin_round(rejoin, 0);
        return 0; /* all are asked anew, soon */
    }
    begin_round(rejoin, rejoin->round + 1);
    if (rejoin->round < ROUNDS)
        ask(replica, replica_now_ms(replica));
    else
        tell_core(replica);
    return 0;
}

void rejoin_tick(struct replica *replica, uint64_t now_ms)
{
    struct rejoin *rejoin = &replica->rejoin;
    bool recovering = raft_status(replica->raft).recovering;
    ask_anew(replica, now_ms);
    if (wants_floor(replica) && now_ms - rejoin->asked_ms >= ASK_AGAIN_MS)
        ask(replica, now_ms);
    if (replica->recovering && !recovering)
        replica->options.hooks->note(replica->options.context, "admitted",
                                     "this node's log is whole: it votes and counts from now on");
    replica->recovering = recovering;
}
