/*
 * Elections (§5.2, §5.4.1), asked about before they are held (thesis §9.6).
 *
 * A voter that hears of no leader until its deadline first asks whether it would win: nobody's term
 * moves for that, so a node that cannot win disturbs nobody. Then it campaigns in the next term.
 * Its own vote is a vote like any other: it counts when storage has it, and only then are others
 * asked (a node that forgot it in a crash could vote again in the same term).
 *
 * A node whose storage forgot something asks for no vote, and gives one only to a log that has all
 * it can have forgotten (raft.h, RECOVERING NODES).
 *
 * Who hears a living leader gives no vote, not even a promised one (§6): a node that was cut off
 * and comes back does not depose a leader that the others are content with. The leader makes that
 * safe to rely on by stepping down when no majority answers it (leader.c).
 */
#include "raft/core/quorum.h"
#include "raft/core/state.h"

#include <string.h>

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
uint64_t raft_random_below(struct raft *raft, uint64_t below)
{
    if (raft->random == 0)
        raft->random = 0x9e3779b97f4a7c15u;
    raft->random ^= raft->random >> 12;
    raft->random ^= raft->random << 25;
    raft->random ^= raft->random >> 27;
    return raft->random * 0x2545f4914f6cdd1du % below;
}

/* Drawn anew at each campaign: a timeout drawn once makes split votes repeat for ever. */
void raft_reset_election_timer(struct raft *raft)
{
    uint64_t span = raft->options.election_ms;
    raft->deadline_ms = raft->now_ms + span + raft_random_below(raft, span);
}

static bool is_alone(const struct raft *raft)
{
    const struct raft_configuration *c = raft_configuration(raft);
    return c->voters == 1 && c->outgoing == 0 && raft_is_voter(c, raft->options.self);
}

void raft_become_follower(struct raft *raft, bool leader_known, raft_node_id leader,
                          struct raft_output *out)
{
    if (out != NULL)
        raft_refuse_reads(raft, out);
    raft->role = RAFT_FOLLOWER;
    memset(&raft->follower, 0, sizeof(raft->follower));
    raft->follower.leader_known = leader_known;
    raft->follower.leader = leader;
    raft->follower.heard_ms = raft->now_ms;
    if (is_alone(raft))
        raft->deadline_ms = raft->now_ms; /* nobody else could be leader: no need to wait */
    else
        raft_reset_election_timer(raft);
}

bool raft_hears_leader(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER)
        return true;
    return raft->role == RAFT_FOLLOWER && raft->follower.leader_known &&
           raft->now_ms - raft->follower.heard_ms < raft->options.election_ms;
}

/* --- counting --------------------------------------------------------------------------------- */

static uint64_t has_granted(const void *context, raft_node_id id)
{
    const struct raft_votes *votes = context;
    for (uint32_t i = 0; i < votes->count; i++) {
        if (node_id_equal(votes->of[i], id))
            return 1;
    }
    return 0;
}

static void grant(struct raft_votes *votes, raft_node_id id)
{
    if (has_granted(votes, id) == 0 && votes->count < RAFT_PEERS_MAX)
        votes->of[votes->count++] = id;
}

static bool has_won(const struct raft *raft, const struct raft_votes *votes)
{
    return quorum_reached(raft_configuration(raft), has_granted, votes) == 1;
}

/* Calls `ask` for every other voter. */
static void ask_voters(struct raft *raft, enum raft_message_kind kind,
                       void (*ask)(struct raft *raft, struct raft_message *m),
                       struct raft_output *out)
{
    raft_node_id nodes[RAFT_PEERS_MAX];
    const struct raft_configuration *configuration = raft_configuration(raft);
    uint32_t count = raft_configuration_nodes(configuration, nodes);
    for (uint32_t i = 0; i < count; i++) {
        if (raft_is_voter(configuration, nodes[i]) && !node_id_equal(nodes[i], raft->options.self))
            ask(raft, raft_add_send(raft, nodes[i], kind, out));
    }
}

/* --- asking ----------------------------------------------------------------------------------- */

static void campaign(struct raft *raft, bool transfer, struct raft_output *out)
{
    raft_refuse_reads(raft, out);
    raft_set_term(raft, (raft_term){raft->term.n + 1}, out);
    raft->voted = true;
    raft->vote = raft->options.self;
    raft->role = RAFT_CANDIDATE;
    memset(&raft->candidate, 0, sizeof(raft->candidate));
    raft->candidate.transfer = transfer;
    raft_reset_election_timer(raft);
    raft_want_persist(raft, out);
}

static void fill_request_pre_vote(struct raft *raft, struct raft_message *m)
{
    m->request_pre_vote.next_term.n = raft->term.n + 1;
    m->request_pre_vote.last = raft->log.last;
    m->request_pre_vote.last_term = log_last_term(&raft->log);
}

/*
 * A voter of the configuration in effect; or of the one before while that is not committed: perhaps
 * only this node has the entry that removes it, and nobody with a shorter log can win (thesis
 * §4.2.2).
 */
static bool may_campaign(const struct raft *raft)
{
    const struct raft_configured *newest = &raft->configured[raft->configurations - 1];
    bool voter = raft_is_voter(&newest->configuration, raft->options.self);
    if (!voter && raft->configurations > 1 && index_less(raft->commit, newest->index))
        voter = raft_is_voter(&(newest - 1)->configuration, raft->options.self);
    /* A leader opens its term with an entry: there must be room for one more stretch. */
    return voter && !raft_decides_nothing(raft) && raft->term.n < RAFT_TERM_MAX &&
           raft->log.last.n < RAFT_INDEX_MAX &&
           log_has_room(&raft->log, (raft_term){raft->term.n + 1});
}

void raft_election_deadline_passed(struct raft *raft, struct raft_output *out)
{
    raft_reset_election_timer(raft);
    if (raft->role == RAFT_CANDIDATE && !raft->candidate.asked)
        return; /* its disk is slow, and would be no faster in another term */
    if (!may_campaign(raft)) {
        if (raft->role != RAFT_FOLLOWER)
            raft_become_follower(raft, false, (raft_node_id){0}, out);
        raft_refuse_reads(raft, out);
        raft->follower.leader_known = false;
        return;
    }
    raft_refuse_reads(raft, out);
    raft->role = RAFT_PRE_CANDIDATE;
    memset(&raft->pre_candidate, 0, sizeof(raft->pre_candidate));
    grant(&raft->pre_candidate.granted, raft->options.self);
    if (has_won(raft, &raft->pre_candidate.granted))
        campaign(raft, false, out);
    else
        ask_voters(raft, RAFT_REQUEST_PRE_VOTE, fill_request_pre_vote, out);
}

void raft_on_timeout_now(struct raft *raft, struct raft_output *out)
{
    if (may_campaign(raft))
        campaign(raft, true, out);
}

static void fill_request_vote(struct raft *raft, struct raft_message *m)
{
    m->request_vote.last = raft->log.last;
    m->request_vote.last_term = log_last_term(&raft->log);
    m->request_vote.transfer = raft_as_candidate(raft)->transfer;
}

void raft_candidate_persisted(struct raft *raft, struct raft_output *out)
{
    struct raft_candidate *candidate = raft_as_candidate(raft);
    if (candidate->asked || !raft_term_is_durable(raft) || !raft->durable_vote)
        return;
    candidate->asked = true;
    grant(&candidate->granted, raft->options.self);
    if (has_won(raft, &candidate->granted))
        raft_become_leader(raft, out);
    else
        ask_voters(raft, RAFT_REQUEST_VOTE, fill_request_vote, out);
}

/* --- answering -------------------------------------------------------------------------------- */

/* At least as far as this one (§5.4.1), and as this one once was. */
static bool log_suffices(const struct raft *raft, raft_index last, raft_term last_term)
{
    if (raft->recovering &&
        (!raft->floor.known || log_end_less(last, last_term, raft->floor.index, raft->floor.term)))
        return false;
    return log_is_up_to_date(&raft->log, last, last_term);
}

void raft_on_request_pre_vote(struct raft *raft, const struct raft_message *m,
                              struct raft_output *out)
{
    const struct raft_request_pre_vote *ask = &m->request_pre_vote;
    if (!raft_term_is_durable(raft))
        return; /* an answer carries the term */
    bool granted = !raft_hears_leader(raft) && term_less(raft->term, ask->next_term) &&
                   log_suffices(raft, ask->last, ask->last_term);
    struct raft_message *answer = raft_add_send(raft, m->from, RAFT_REQUEST_PRE_VOTE_RESPONSE, out);
    answer->request_pre_vote_response.next_term = ask->next_term;
    answer->request_pre_vote_response.granted = granted;
}

void raft_on_request_pre_vote_response(struct raft *raft, const struct raft_message *m,
                                       struct raft_output *out)
{
    if (term_less(raft->term, m->term)) {
        /* Refused for being behind: without catching up this node could ask for ever. */
        if (m->request_pre_vote_response.granted || raft_hears_leader(raft))
            return;
        raft_become_follower(raft, false, (raft_node_id){0}, out);
        raft_set_term(raft, m->term, out);
        return;
    }
    if (raft->role != RAFT_PRE_CANDIDATE || !m->request_pre_vote_response.granted ||
        m->request_pre_vote_response.next_term.n != raft->term.n + 1)
        return;
    struct raft_pre_candidate *candidate = raft_as_pre_candidate(raft);
    grant(&candidate->granted, m->from);
    if (has_won(raft, &candidate->granted))
        campaign(raft, false, out);
}

void raft_on_request_vote(struct raft *raft, const struct raft_message *m, struct raft_output *out)
{
    const struct raft_request_vote *ask = &m->request_vote;
    if (term_less(raft->term, m->term)) {
        if (raft_hears_leader(raft) && !ask->transfer)
            return;
        raft_become_follower(raft, false, (raft_node_id){0}, out);
        raft_set_term(raft, m->term, out);
    }
    bool same_term = term_equal(raft->term, m->term);
    bool free_vote = !raft->voted || node_id_equal(raft->vote, m->from);
    if (!same_term || !free_vote || !log_suffices(raft, ask->last, ask->last_term)) {
        if (raft_term_is_durable(raft))
            raft_add_send(raft, m->from, RAFT_REQUEST_VOTE_RESPONSE, out);
        return;
    }
    if (raft->voted) { /* asked again: what storage has may be said again */
        if (raft_term_is_durable(raft) && raft->durable_vote)
            raft_add_send(raft, m->from, RAFT_REQUEST_VOTE_RESPONSE, out)
                ->request_vote_response.granted = true;
        return;
    }
    raft->voted = true;
    raft->vote = m->from;
    out->persist.hard_state = true;
    raft_reset_election_timer(raft);
    raft_want_persist(raft, out); /* the vote is given when that is durable: on_persisted */
}

void raft_on_request_vote_response(struct raft *raft, const struct raft_message *m,
                                   struct raft_output *out)
{
    struct raft_candidate *candidate = raft_as_candidate(raft);
    if (!m->request_vote_response.granted || !candidate->asked)
        return;
    grant(&candidate->granted, m->from);
    if (has_won(raft, &candidate->granted))
        raft_become_leader(raft, out);
}

/* --- recovering and damaged
 * ----------------------------------------------------------------------- */

/* Perhaps it had voted: it gives no vote in this term any more. */
static void give_no_vote(struct raft *raft)
{
    if (raft->voted || raft->term.n == 0)
        return;
    raft->voted = true;
    raft->vote = raft->options.self;
}

void raft_on_floor_known(struct raft *raft, const struct raft_floor_known *known,
                         struct raft_output *out)
{
    if (!raft->recovering || known->term.n > RAFT_TERM_MAX)
        return;
    if (term_less(raft->term, known->term)) {
        raft_become_follower(raft, false, (raft_node_id){0}, out);
        raft_set_term(raft, known->term, out);
    }
    give_no_vote(raft);
    /* What it knew before is a bound as well: the lower one counts. */
    if (!raft->floor.known ||
        log_end_less(known->last, known->last_term, raft->floor.index, raft->floor.term))
        raft->floor = (struct raft_floor){true, known->last, known->last_term};
    out->persist.hard_state = true;
    raft_want_persist(raft, out);
}

void raft_recovered(struct raft *raft, struct raft_output *out)
{
    if (!raft->recovering || !raft->floor.known || index_less(raft->durable, raft->log.start) ||
        log_end_less(raft->durable, log_term(&raft->log, raft->durable), raft->floor.index,
                     raft->floor.term))
        return;
    raft->recovering = raft->rolled_back = false;
    raft->floor = (struct raft_floor){.known = false};
    out->persist.hard_state = true;
    raft_want_persist(raft, out);
}

void raft_on_damage(struct raft *raft, struct raft_output *out)
{
    raft->damaged = true;
    if (raft->role != RAFT_FOLLOWER)
        raft_become_follower(raft, false, (raft_node_id){0}, out);
}

static void say_rolled_back(struct raft *raft, raft_index floor, struct raft_output *out)
{
    struct raft_result *result = raft_add_result(out, RAFT_ROLLED_BACK);
    result->rolled_back.node = raft->options.self;
    result->rolled_back.floor = floor;
    result->rolled_back.has = raft->log.last;
}

/* What was voted and is not durable is not said, unless it is asked for again. */
static void drop_vote(struct raft *raft)
{
    raft->vote_dropped = !(raft_term_is_durable(raft) && raft->durable_vote);
}

/*
 * Whoever remembers more raises the floor. One of an earlier term than the node was seen in is
 * none: in the later one it may have acknowledged more, to somebody else. Of a node that waits for
 * all others, since its storage lost something in another way, nobody's memory is enough.
 */
static void take_seen(struct raft *raft, struct raft_floor seen, struct raft_output *out)
{
    struct raft_floor *floor = &raft->floor;
    bool first = !raft->rolled_back;
    if (first && raft->recovering && !floor->known)
        return;
    seen.known = seen.known && term_equal(seen.term, raft->term);
    bool outdated = first || (floor->known && term_less(floor->term, raft->term));
    bool raises = seen.known &&
                  (!floor->known || log_end_less(floor->index, floor->term, seen.index, seen.term));
    if (raises || (outdated && !seen.known))
        *floor = seen;
    raft->recovering = raft->rolled_back = true;
    drop_vote(raft);
    if (first)
        say_rolled_back(raft, floor->index, out);
}

static bool hard_state_differs(const struct raft *raft, const struct raft_hard_state *before)
{
    return !term_equal(raft->term, before->term) || !node_id_equal(raft->vote, before->vote) ||
           raft->recovering != before->recovering || raft->rolled_back != before->rolled_back ||
           raft->floor.known != before->floor.known ||
           !index_equal(raft->floor.index, before->floor.index) ||
           !term_equal(raft->floor.term, before->floor.term);
}

void raft_on_self_rolled_back(struct raft *raft, const struct raft_self_rolled_back *seen,
                              struct raft_output *out)
{
    const struct raft_hard_state before = {raft->term,       raft->voted,       raft->vote,
                                           raft->recovering, raft->rolled_back, raft->floor};
    if (seen->term.n > RAFT_TERM_MAX || seen->floor.index.n > RAFT_INDEX_MAX)
        return;
    if (raft->role != RAFT_FOLLOWER || term_less(raft->term, seen->term))
        raft_become_follower(raft, false, (raft_node_id){0}, out);
    if (term_less(raft->term, seen->term))
        raft_set_term(raft, seen->term, out);
    take_seen(raft, seen->floor, out);
    give_no_vote(raft);
    if (!hard_state_differs(raft, &before))
        return;
    out->persist.hard_state = true;
    raft_want_persist(raft, out);
}

/*
 * What it acknowledged is at least so much: a floor that says less is raised. A node that lost what
 * its disk held and waits for all others to say where its log must reach goes on waiting. Said by
 * the leader that it follows, who is told so with each answer: anybody else's word would make any
 * node recovering, up to an entry that there will never be.
 */
void raft_on_forgot(struct raft *raft, const struct raft_message *m, struct raft_output *out)
{
    const struct raft_forgot *forgot = &m->forgot;
    bool has = !index_less(raft->durable, forgot->index) &&
               (!index_less(raft->commit, forgot->index) ||
                term_equal(log_term(&raft->log, forgot->index), forgot->index_term));
    bool waits = raft->recovering && !raft->floor.known;
    if ((has && !waits) || term_less(m->term, forgot->index_term) || (waits && !raft->rolled_back))
        return;
    if (raft->recovering && !waits &&
        !log_end_less(raft->floor.index, raft->floor.term, forgot->index, forgot->index_term))
        return;
    if (!raft->recovering)
        say_rolled_back(raft, forgot->index, out);
    raft->recovering = raft->rolled_back = true;
    raft->floor = (struct raft_floor){true, forgot->index, forgot->index_term};
    drop_vote(raft);
    give_no_vote(raft);
    out->persist.hard_state = true;
    raft_want_persist(raft, out);
}
