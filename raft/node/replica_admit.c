/*
 * A node whose storage is new may have been wiped: it may have forgotten votes and acknowledgements
 * (core/raft.h, UNSURE NODES). Here it makes sure that it can contradict none, and says so to the
 * core:
 *
 *   1. Every other member says its term, and where its log ends, in answer to a question of this
 *      process. Whoever got a forgotten vote or acknowledgement has at least that term.
 *   2. If all logs are empty, nothing can have been committed: a new cluster, or as good as one.
 *   3. Else this node reads, through a leader of at least the highest of these terms, where the
 *      leader's log ends, and waits until all of that is applied and durable here.
 */
#include "raft/node/replica_state.h"

#define ASK_AGAIN_MS 50u

static uint32_t place_of(const struct replica *replica, raft_node_id id)
{
    uint32_t place = 0;
    while (place < replica->options.members && !node_id_equal(replica->options.member[place], id))
        place++;
    return place;
}

static void say_standing(struct replica *replica, raft_node_id to, bool asks, uint64_t question)
{
    struct raft_status status = raft_status(replica->raft);
    struct peer_note note = {
        .kind = PEER_STANDING,
        .standing = {.asks = asks,
                     .question = question,
                     .term = status.term.n,
                     .last = status.last.n},
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
            say_standing(replica, id, true, replica->options.random);
    }
}

void admit_peer_up(struct replica *replica, raft_node_id peer)
{
    uint32_t place = place_of(replica, peer);
    if (raft_status(replica->raft).unsure && place < replica->options.members &&
        !replica->admission.heard[place])
        say_standing(replica, peer, true, replica->options.random);
}

static void tell_core(struct replica *replica)
{
    struct admission *admission = &replica->admission;
    raft_term term = admission->highest;
    if (term_less(term, raft_status(replica->raft).term))
        term = raft_status(replica->raft).term;
    replica->options.hooks->note(replica->options.context, "admitted",
                                 "this node's storage was new: it votes from now on");
    replica_step(replica, &(struct raft_event){.kind = RAFT_ADMITTED, .admitted = {.term = term}});
}

void admit_heard(struct replica *replica, raft_node_id from, const struct peer_standing *standing)
{
    struct admission *admission = &replica->admission;
    struct raft_status status = raft_status(replica->raft);
    uint32_t place = place_of(replica, from);
    if (standing->asks) {
        say_standing(replica, from, false, standing->question);
        return;
    }
    if (!status.unsure || standing->question != replica->options.random ||
        place == replica->options.members || admission->heard[place])
        return;
    admission->heard[place] = true;
    admission->heard_count++;
    admission->empty_count += standing->last == 0;
    if (term_less(admission->highest, (raft_term){standing->term}))
        admission->highest.n = standing->term;
    uint32_t others = replica->options.members - 1;
    if (admission->heard_count < others)
        return;
    admission->token = replica->reads.token;
    if (admission->empty_count == others && status.last.n == 0 && replica->applied == 0)
        tell_core(replica);
}

void admit_read(struct replica *replica, uint64_t token, raft_term term, raft_index index)
{
    struct admission *admission = &replica->admission;
    bool all_heard = admission->heard_count + 1 == replica->options.members;
    if (admission->index_known || !all_heard || token <= admission->token ||
        term_less(term, admission->highest))
        return;
    admission->index_known = true;
    admission->index = index;
}

bool admit_wants_read(const struct replica *replica)
{
    const struct admission *admission = &replica->admission;
    return raft_status(replica->raft).unsure && !admission->index_known &&
           admission->heard_count + 1 == replica->options.members;
}

void admit_look(struct replica *replica, uint64_t now_ms)
{
    struct admission *admission = &replica->admission;
    struct raft_status status = raft_status(replica->raft);
    if (!status.unsure)
        return;
    if (admission->heard_count + 1 < replica->options.members &&
        now_ms - admission->asked_ms >= ASK_AGAIN_MS)
        ask(replica, now_ms);
    if (admission->index_known && replica->applied >= admission->index.n &&
        !index_less(status.durable, admission->index))
        tell_core(replica);
}
