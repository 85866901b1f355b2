#include "raft/core/state.h"

#include "raft/core/quorum.h"

#include <errno.h>
#include <string.h>

struct raft_follower *raft_as_follower(struct raft *raft)
{
    assert(raft->role == RAFT_FOLLOWER);
    return &raft->follower;
}

struct raft_pre_candidate *raft_as_pre_candidate(struct raft *raft)
{
    assert(raft->role == RAFT_PRE_CANDIDATE);
    return &raft->pre_candidate;
}

struct raft_candidate *raft_as_candidate(struct raft *raft)
{
    assert(raft->role == RAFT_CANDIDATE);
    return &raft->candidate;
}

struct raft_leader *raft_as_leader(struct raft *raft)
{
    assert(raft->role == RAFT_LEADER);
    return &raft->leader;
}

size_t raft_size(void)
{
    return sizeof(struct raft);
}

int raft_init(void *memory, const struct raft_options *options, const struct raft_saved *saved,
              struct raft **ret_raft)
{
    if (options->self.n == 0 || options->election_ms == 0 || options->heartbeat_ms == 0 ||
        options->election_ms / 5 < options->heartbeat_ms)
        return -EINVAL;
    if (!raft_configuration_valid(&saved->configuration) ||
        index_less(saved->snapshot_index, saved->log_start) ||
        term_less(saved->hard.term, saved->log_start_term))
        return -EINVAL;

    struct raft *raft = memory;
    memset(raft, 0, sizeof(*raft));
    raft->options = *options;
    raft->term = saved->hard.term;
    raft->voted = saved->hard.voted;
    raft->vote = saved->hard.vote;
    raft->recovering = saved->hard.recovering;
    raft->rolled_back = saved->hard.rolled_back;
    raft->floor = saved->hard.floor;
    raft->damaged = saved->damaged;
    raft->durable_term = saved->hard.term;
    raft->durable_vote = saved->hard.voted;
    raft->commit = saved->snapshot_index;
    raft->durable = saved->log_start;
    raft->random = options->seed ^ options->self.n;
    log_reset(&raft->log, saved->log_start, saved->log_start_term);
    raft_configuration_appended(raft, saved->log_start, &saved->configuration);
    raft->configured[0].implied = saved->implied;
    raft_become_follower(raft, false, (raft_node_id){0}, NULL);
    *ret_raft = raft;
    return 0;
}

int raft_restore_entry(struct raft *raft, raft_term term, uint32_t bytes,
                       const struct raft_configuration *configuration)
{
    if (term_less(term, log_last_term(&raft->log)) || term_less(raft->term, term))
        return -EINVAL;
    if (configuration != NULL && !raft_configuration_valid(configuration))
        return -EINVAL;
    if (!log_has_room(&raft->log, term) ||
        (configuration != NULL && !raft_configuration_room(raft)))
        return -ENOBUFS;
    log_append(&raft->log, term, bytes);
    raft->durable = raft->log.last;
    if (configuration != NULL) {
        raft_configuration_appended(raft, raft->log.last, configuration);
        raft_become_follower(raft, false, (raft_node_id){0},
                             NULL); /* the voters may be others now */
    }
    return 0;
}

/* --- what sections use ------------------------------------------------------------------------ */

void raft_set_term(struct raft *raft, raft_term term, struct raft_output *out)
{
    assert(term_less(raft->term, term) && term.n <= RAFT_TERM_MAX);
    raft->term = term;
    raft->voted = false;
    raft->vote = (raft_node_id){0};
    raft->vote_dropped = false;
    out->persist.hard_state = true;
    raft_want_persist(raft, out);
}

void raft_want_persist(struct raft *raft, struct raft_output *out)
{
    struct raft_persist *persist = &out->persist;
    persist->wanted = true;
    persist->hard = (struct raft_hard_state){
        .term = raft->term,
        .voted = raft->voted,
        .vote = raft->vote,
        .recovering = raft->recovering,
        .rolled_back = raft->rolled_back,
        .floor = raft->floor,
    };
    persist->mark = (struct raft_mark){
        .epoch = raft->epoch,
        .last = raft->log.last,
        .term = raft->term,
        .voted = raft->voted,
    };
}

bool raft_term_is_durable(const struct raft *raft)
{
    return term_equal(raft->durable_term, raft->term);
}

bool raft_decides_nothing(const struct raft *raft)
{
    return raft->recovering || raft->damaged || raft->diverged;
}

struct raft_message *raft_add_send(struct raft *raft, raft_node_id to, enum raft_message_kind kind,
                                   struct raft_output *out)
{
    assert(out->sends.count < RAFT_SENDS_MAX && !node_id_equal(to, raft->options.self));
    struct raft_message *m = &out->sends.at[out->sends.count++];
    memset(m, 0, sizeof(*m));
    m->from = raft->options.self;
    m->to = to;
    m->term = raft->term;
    m->kind = kind;
    return m;
}

struct raft_result *raft_add_result(struct raft_output *out, enum raft_result_kind kind)
{
    assert(out->results.count < RAFT_RESULTS_MAX);
    struct raft_result *result = &out->results.at[out->results.count++];
    result->kind = kind;
    return result;
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_persisted(struct raft *raft, const struct raft_persisted *persisted,
                         struct raft_output *out)
{
    const struct raft_mark *mark = &persisted->mark;
    assert(!term_less(raft->term, mark->term) && mark->epoch <= raft->epoch);
    bool had_vote = raft_term_is_durable(raft) && raft->durable_vote;
    if (!term_less(mark->term, raft->durable_term)) {
        raft->durable_vote =
            mark->voted || (raft->durable_vote && term_equal(mark->term, raft->durable_term));
        raft->durable_term = mark->term;
    }
    if (mark->epoch == raft->epoch)
        raft->durable = index_max(raft->durable, mark->last);
    bool has_vote = raft_term_is_durable(raft) && raft->durable_vote;
    if (has_vote && !had_vote && !raft->vote_dropped &&
        !node_id_equal(raft->vote, raft->options.self))
        raft_add_send(raft, raft->vote, RAFT_REQUEST_VOTE_RESPONSE, out)
            ->request_vote_response.granted = true;

    switch (raft->role) {
    case RAFT_FOLLOWER:
        raft_follower_persisted(raft, out);
        return;
    case RAFT_PRE_CANDIDATE:
        return;
    case RAFT_CANDIDATE:
        raft_candidate_persisted(raft, out);
        return;
    case RAFT_LEADER:
        raft_leader_persisted(raft, out);
        return;
    }
    UNREACHABLE();
}

/* A stale leader learns that it is one; other stale messages say nothing any more. */
static void answer_stale(struct raft *raft, const struct raft_message *m, struct raft_output *out)
{
    if (m->kind == RAFT_APPEND_ENTRIES && raft_term_is_durable(raft))
        raft_add_send(raft, m->from, RAFT_APPEND_ENTRIES_RESPONSE, out);
}

/* §5.1: whoever hears of a later term follows it. Votes and pre-votes judge for themselves. */
static bool is_current(struct raft *raft, const struct raft_message *m, struct raft_output *out)
{
    if (term_less(m->term, raft->term)) {
        answer_stale(raft, m, out);
        return false;
    }
    if (term_less(raft->term, m->term)) {
        raft_become_follower(raft, false, (raft_node_id){0}, out);
        raft_set_term(raft, m->term, out);
    }
    return true;
}

static void on_received(struct raft *raft, const struct raft_received *received,
                        struct raft_output *out)
{
    const struct raft_message *m = received->message;
    bool leaps = raft->term.n > 0 && m->term.n > raft->term.n + RAFT_TERM_LEAP;
    bool for_us = node_id_equal(m->to, raft->options.self);
    if (!raft_message_valid(m) || !for_us || leaps ||
        (received->configuration != NULL && !raft_configuration_valid(received->configuration))) {
        out->impossible = true;
        return;
    }
    switch (m->kind) {
    case RAFT_REQUEST_PRE_VOTE:
        if (!received->no_vote)
            raft_on_request_pre_vote(raft, m, out);
        return;
    case RAFT_REQUEST_PRE_VOTE_RESPONSE:
        if (!received->no_vote)
            raft_on_request_pre_vote_response(raft, m, out);
        return;
    case RAFT_REQUEST_VOTE:
        if (!received->no_vote)
            raft_on_request_vote(raft, m, out);
        return;
    case RAFT_REQUEST_VOTE_RESPONSE:
        if (is_current(raft, m, out) && raft->role == RAFT_CANDIDATE)
            raft_on_request_vote_response(raft, m, out);
        return;
    case RAFT_APPEND_ENTRIES:
        if (is_current(raft, m, out))
            raft_on_append_entries(raft, received, out);
        return;
    case RAFT_APPEND_ENTRIES_RESPONSE:
        if (is_current(raft, m, out) && raft->role == RAFT_LEADER)
            raft_on_append_entries_response(raft, m, out);
        return;
    case RAFT_READ_INDEX:
        if (is_current(raft, m, out))
            raft_on_read_index(raft, m, out);
        return;
    case RAFT_READ_INDEX_RESPONSE:
        if (is_current(raft, m, out) && raft->role == RAFT_FOLLOWER)
            raft_on_read_index_response(raft, m, out);
        return;
    case RAFT_TIMEOUT_NOW:
        if (!received->no_vote && is_current(raft, m, out) && raft->role == RAFT_FOLLOWER &&
            (!raft->follower.leader_known || node_id_equal(raft->follower.leader, m->from)))
            raft_on_timeout_now(raft, out);
        return;
    case RAFT_FORGOT: /* an answer to what was said to this leader: nobody else was told anything */
        if (is_current(raft, m, out) && raft->role == RAFT_FOLLOWER &&
            raft->follower.leader_known && node_id_equal(raft->follower.leader, m->from))
            raft_on_forgot(raft, m, out);
        return;
    }
    UNREACHABLE();
}

static void on_ticked(struct raft *raft, struct raft_output *out)
{
    if (raft->role == RAFT_LEADER)
        raft_leader_ticked(raft, out);
    else if (raft->now_ms >= raft->deadline_ms)
        raft_election_deadline_passed(raft, out);
}

static void on_compacted(struct raft *raft, raft_index index, struct raft_output *out)
{
    assert(!index_less(raft->commit, index));
    raft_configurations_compacted(raft, index);
    log_compact(&raft->log, index);
    raft->durable = index_max(raft->durable, index);
    if (raft->role == RAFT_LEADER) /* the snapshot was faster than the log's own disk */
        raft_leader_persisted(raft, out);
}

static void on_peer_lost(struct raft *raft, raft_node_id peer)
{
    if (raft->role == RAFT_LEADER) {
        raft_leader_lost_peer(raft, peer);
    } else if (raft->role == RAFT_FOLLOWER && raft->follower.leader_known &&
               node_id_equal(raft->follower.leader, peer)) {
        /* Perhaps it died: ask the others soon, each at a moment of its own. */
        raft->follower.leader_known = false;
        raft->deadline_ms = raft->now_ms + 1 + raft_random_below(raft, raft->options.heartbeat_ms);
    }
}

static void dispatch(struct raft *raft, const struct raft_event *event, struct raft_output *out)
{
    switch (event->kind) {
    case RAFT_TICKED:
        on_ticked(raft, out);
        return;
    case RAFT_RECEIVED:
        on_received(raft, &event->received, out);
        return;
    case RAFT_PROPOSED:
        raft_on_proposed(raft, &event->proposed, out);
        return;
    case RAFT_CHANGE_PROPOSED:
        raft_on_change_proposed(raft, &event->change_proposed, out);
        return;
    case RAFT_READ_ASKED:
        raft_on_read_asked(raft, event->read_asked.token, out);
        return;
    case RAFT_TRANSFER_ASKED:
        raft_on_transfer_asked(raft, &event->transfer_asked, out);
        return;
    case RAFT_PERSISTED:
        on_persisted(raft, &event->persisted, out);
        return;
    case RAFT_COMPACTED:
        on_compacted(raft, event->compacted.index, out);
        return;
    case RAFT_SNAPSHOT_INSTALLED:
        raft_on_snapshot_installed(raft, &event->snapshot_installed, out);
        return;
    case RAFT_SNAPSHOT_SENT:
        raft_on_snapshot_sent(raft, &event->snapshot_sent, out);
        return;
    case RAFT_PEER_LOST:
        on_peer_lost(raft, event->peer_lost.peer);
        return;
    case RAFT_FLOOR_KNOWN:
        raft_on_floor_known(raft, &event->floor_known, out);
        return;
    case RAFT_SELF_ROLLED_BACK:
        raft_on_self_rolled_back(raft, &event->self_rolled_back, out);
        return;
    case RAFT_PEER_ROLLED_BACK:
        if (raft->role == RAFT_LEADER)
            raft_leader_rolled_back_peer(raft, event->peer_rolled_back.peer, out);
        return;
    case RAFT_DAMAGED:
        raft_on_damage(raft, out);
        return;
    case RAFT_CONFIGURATION_REPAIRED:
        raft_on_configuration_repaired(raft, &event->configuration_repaired);
        return;
    case RAFT_REPAIRED:
        raft->damaged = false;
        return;
    }
    UNREACHABLE();
}

void raft_step(struct raft *raft, const struct raft_event *event, struct raft_output *ret_output)
{
    assert(event->now_ms >= raft->now_ms);
    raft->now_ms = event->now_ms;
    raft_index commit_before = raft->commit;

    struct raft_output *out = ret_output;
    memset(&out->persist, 0, sizeof(out->persist));
    out->sends.count = 0;
    out->results.count = 0;
    out->impossible = false;
    dispatch(raft, event, out);
    raft_recovered(raft, out);

    bool installed = event->kind == RAFT_SNAPSHOT_INSTALLED; /* the state machine has it all */
    out->apply.first = index_next(installed ? raft->commit : commit_before);
    out->apply.last = raft->commit;
    out->deadline_ms =
        raft->role == RAFT_LEADER ? raft_leader_deadline_ms(raft) : raft->deadline_ms;
    assert(!index_less(raft->commit, commit_before));
}

/* --- looking in ------------------------------------------------------------------------------- */

struct raft_status raft_status(const struct raft *raft)
{
    struct raft_status status = {
        .role = raft->role,
        .term = raft->term,
        .durable_term = raft->durable_term,
        .commit = raft->commit,
        .last = raft->log.last,
        .durable = raft->durable,
        .recovering = raft->recovering,
        .rolled_back = raft->rolled_back,
        .floor = raft->floor,
        .damaged = raft->damaged,
        .diverged = raft->diverged,
        .log_nearly_full = raft->log.runs > RAFT_TERM_RUNS_MAX / 2 ||
                           raft->configurations > RAFT_CONFIGURATIONS_MAX / 2,
        .log_full = raft->log.runs == RAFT_TERM_RUNS_MAX,
    };
    if (raft->role == RAFT_LEADER) {
        status.leader_known = true;
        status.leader = raft->options.self;
        status.settled = raft_leader_is_settled(raft);
    } else if (raft->role == RAFT_FOLLOWER) {
        status.leader_known = raft->follower.leader_known;
        status.leader = raft->follower.leader;
    }
    return status;
}

bool raft_peer_status(const struct raft *raft, raft_node_id peer, struct raft_peer_status *ret)
{
    for (uint32_t i = 0; raft->role == RAFT_LEADER && i < raft->leader.peers; i++) {
        const struct raft_progress *progress = &raft->leader.peer[i];
        if (!node_id_equal(progress->id, peer))
            continue;
        bool self = node_id_equal(peer, raft->options.self);
        bool held = !index_less(progress->match, raft->log.start);
        ret->match = progress->match;
        ret->match_term = held ? log_term(&raft->log, progress->match) : (raft_term){0};
        ret->reachable = self || raft->now_ms - progress->heard_ms < raft->options.election_ms;
        return true;
    }
    return false;
}

raft_term raft_entry_term(const struct raft *raft, raft_index index)
{
    return log_term(&raft->log, index);
}

static void check_leader(const struct raft *raft, const struct raft_leader *leader)
{
    assert(raft->voted && node_id_equal(raft->vote, raft->options.self));
    assert(leader->first.n > 0 && !index_less(raft->log.last, leader->first));
    if (!index_less(leader->first, raft->log.start)) {
        assert(term_equal(log_term(&raft->log, leader->first), raft->term));
        raft_index before = {leader->first.n - 1};
        assert(index_less(before, raft->log.start) ||
               term_less(log_term(&raft->log, before), raft->term));
    }
    for (uint32_t i = 0; i < leader->peers; i++) {
        const struct raft_progress *peer = &leader->peer[i];
        if (node_id_equal(peer->id, raft->options.self)) {
            assert(index_equal(peer->match, raft->durable));
            assert(index_equal(peer->counted, raft->durable) && !peer->recovering);
        } else {
            assert(index_less(peer->match, peer->next) && peer->next.n <= raft->log.last.n + 1);
            assert(!index_less(raft->log.last, peer->counted));
        }
        assert(peer->round <= leader->round && peer->believed_from <= leader->round);
        assert(!peer->forgot || (peer->recovering && peer->counted.n == 0));
    }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < leader->batches; i++) {
        assert(index_less(raft->commit, leader->batch[i].last));
        assert(i == 0 || index_less(leader->batch[i - 1].last, leader->batch[i].last));
        bytes += leader->batch[i].bytes;
    }
    assert(bytes == leader->uncommitted_bytes && bytes <= RAFT_UNCOMMITTED_BYTES_MAX);
}

void raft_check(const struct raft *raft)
{
    log_check(&raft->log);
    assert(!term_less(raft->term, log_last_term(&raft->log)));
    assert(!term_less(raft->term, raft->durable_term));
    assert(!raft_decides_nothing(raft) || raft->role == RAFT_FOLLOWER);
    assert(raft->voted == (raft->vote.n != 0));
    assert(raft->recovering || (!raft->floor.known && !raft->rolled_back));
    assert(!index_less(raft->log.last, raft->durable));
    assert(!index_less(raft->log.last, raft->commit) || raft->log.runs == 0);
    assert(!index_less(raft->commit, raft->log.start));
    assert(raft->configurations > 0);
    for (uint32_t i = 0; i < raft->configurations; i++) {
        const struct raft_configured *configured = &raft->configured[i];
        assert(raft_configuration_valid(&configured->configuration));
        assert(i == 0 || !configured->implied);
        assert(!index_less(raft->log.last, configured->index) || i == 0);
        assert(i == 0 || index_less(raft->configured[i - 1].index, configured->index));
        assert(i == 0 || index_less(raft->log.start, configured->index));
    }
    if (raft->role == RAFT_FOLLOWER)
        assert(!index_less(raft->log.last, raft->follower.verified));
    if (raft->role == RAFT_LEADER)
        check_leader(raft, &raft->leader);
}
