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
    return status.recovering && !replica->admission.done;
}

static uint64_t question(const struct replica *replica)
{
    return replica->options.random + replica->admission.questions;
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
    struct admission *admission = &replica->admission;
    admission->asked_ms = now_ms;
    for (uint32_t i = 0; i < replica->options.members; i++) {
        raft_node_id id = replica->options.member[i];
        if (id.n != replica->options.node && !admission->heard[i])
            say_log_position(replica, id, true, question(replica));
    }
}

void admit_peer_up(struct replica *replica, raft_node_id peer)
{
    uint32_t place = replica_place_of(replica, peer);
    if (wants_floor(replica) && place < replica->options.members &&
        !replica->admission.heard[place])
        say_log_position(replica, peer, true, question(replica));
}

static void tell_core(struct replica *replica)
{
    const struct admission *admission = &replica->admission;
    replica->admission.done = true;
    replica->admission.done_ms = replica_now_ms(replica);
    replica_step(replica, &(struct raft_event){.kind = RAFT_FLOOR_KNOWN,
                                               .floor_known = {.term = admission->highest,
                                                               .last = admission->last,
                                                               .last_term = admission->last_term}});
}

static void begin_round(struct admission *admission, uint32_t round)
{
    admission->round = round;
    admission->questions++;
    admission->heard_count = 0;
    memset(admission->heard, 0, sizeof(admission->heard));
}

void admit_anew(struct replica *replica)
{
    struct admission *admission = &replica->admission;
    admission->done = false;
    admission->highest.n = admission->last.n = admission->last_term.n = 0;
    begin_round(admission, 0);
}

/*
 * What was heard may have been lost since: an end that was not durable, of a node that lost power.
 * Then nobody reaches this floor, and all are asked anew.
 */
static void ask_anew(struct replica *replica, uint64_t now_ms)
{
    struct admission *admission = &replica->admission;
    struct raft_status status = raft_status(replica->raft);
    if (!admission->done || !status.recovering)
        return;
    if (status.leader_known)
        admission->done_ms = now_ms;
    if (now_ms - admission->done_ms < PATIENCE * replica->options.election_ms)
        return;
    admit_anew(replica);
}

static void take(struct admission *admission, const struct peer_log_position *log_position)
{
    raft_index last = {log_position->last};
    raft_term last_term = {log_position->last_term};
    if (term_less(admission->highest, (raft_term){log_position->term}))
        admission->highest.n = log_position->term;
    if (log_end_less(admission->last, admission->last_term, last, last_term)) {
        admission->last = last;
        admission->last_term = last_term;
    }
}

int admit_heard(struct replica *replica, raft_node_id from,
                const struct peer_log_position *log_position)
{
    struct admission *admission = &replica->admission;
    struct raft_cluster_id theirs = {log_position->cluster_high, log_position->cluster_low};
    uint32_t place = replica_place_of(replica, from);
    uint64_t term = raft_status(replica->raft).term.n;
    if (term > 0 && log_position->term > term + RAFT_TERM_LEAP)
        return -EBADMSG;
    if (cluster_id_differ(theirs, wal_identity(replica->wal).cluster))
        return 0; /* refused by its greeting, too */
    if (place < replica->options.members)
        admission->disk[place] = log_position->disk;
    if (place < replica->options.members && identity_heard(replica, theirs))
        begin_round(admission, 0);
    if (log_position->asks) {
        say_log_position(replica, from, false, log_position->question);
        return 0;
    }
    if (!wants_floor(replica) || log_position->question != question(replica) ||
        place == replica->options.members || admission->heard[place])
        return 0;
    admission->heard[place] = true;
    admission->heard_count++;
    take(admission, log_position);
    if (admission->heard_count + 1 < replica->options.members)
        return 0;
    if (!identity_known(replica)) { /* nobody knows which cluster this is */
        identity_found(replica);
        begin_round(admission, 0);
        return 0; /* all are asked anew, soon */
    }
    begin_round(admission, admission->round + 1);
    if (admission->round < ROUNDS)
        ask(replica, replica_now_ms(replica));
    else
        tell_core(replica);
    return 0;
}

void admit_look(struct replica *replica, uint64_t now_ms)
{
    struct admission *admission = &replica->admission;
    bool recovering = raft_status(replica->raft).recovering;
    ask_anew(replica, now_ms);
    if (wants_floor(replica) && now_ms - admission->asked_ms >= ASK_AGAIN_MS)
        ask(replica, now_ms);
    if (replica->recovering && !recovering)
        replica->options.hooks->note(replica->options.context, "admitted",
                                     "this node's log is whole: it votes and counts from now on");
    replica->recovering = recovering;
}
