#include "raft/core/state.h"

#include <errno.h>
#include <string.h>

struct raft_candidate *as_candidate(struct raft *raft)
{
    assert(raft->role == RAFT_CANDIDATE);
    return &raft->candidate;
}

struct raft_leader *as_leader(struct raft *raft)
{
    assert(raft->role == RAFT_LEADER);
    return &raft->leader;
}

uint32_t own_place(const struct raft *raft)
{
    for (uint32_t i = 0; i < raft->configuration.voters; i++) {
        if (node_id_equal(raft->configuration.voter[i], raft->options.self))
            return i;
    }
    UNREACHABLE(); /* raft_init refuses a configuration without self */
}

size_t raft_size(void)
{
    return sizeof(struct raft);
}

static bool configuration_valid(const struct raft_configuration *configuration, raft_node_id self)
{
    bool has_self = false;
    if (configuration->voters == 0 || configuration->voters > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < configuration->voters; i++) {
        if (configuration->voter[i].n == 0)
            return false;
        has_self = has_self || node_id_equal(configuration->voter[i], self);
        for (uint32_t j = 0; j < i; j++) {
            if (node_id_equal(configuration->voter[i], configuration->voter[j]))
                return false;
        }
    }
    return has_self;
}

int raft_init(void *memory, const struct raft_options *options, const struct raft_saved *saved,
              struct raft **ret_raft)
{
    if (options->self.n == 0 || options->election_ms == 0 ||
        !configuration_valid(&saved->configuration, options->self))
        return -EINVAL;
    /* A cluster of one is what this core agrees in until nodes talk to one another. */
    if (saved->configuration.voters != 1)
        return -EINVAL;
    if (index_less(saved->snapshot_index, saved->log_start) ||
        term_less(saved->term, saved->log_start_term))
        return -EINVAL;

    struct raft *raft = memory;
    memset(raft, 0, sizeof(*raft));
    raft->options = *options;
    raft->configuration = saved->configuration;
    raft->term = saved->term;
    raft->voted = saved->voted;
    raft->vote = saved->vote;
    raft->durable_term = saved->term;
    raft->durable_vote = saved->voted;
    raft->commit = saved->snapshot_index;
    raft->durable = saved->log_start;
    raft->random = options->seed ^ options->self.n;
    log_init(&raft->log, saved->log_start, saved->log_start_term);
    become_follower(raft);
    *ret_raft = raft;
    return 0;
}

int raft_restore_entry(struct raft *raft, raft_term term)
{
    if (term_less(term, log_last_term(&raft->log)) || term_less(raft->term, term))
        return -EINVAL;
    if (!log_has_room(&raft->log, term))
        return -ENOBUFS;
    log_append(&raft->log, term, 1);
    raft->durable = raft->log.last;
    return 0;
}

void set_term(struct raft *raft, raft_term term, struct raft_output *out)
{
    assert(term_less(raft->term, term));
    raft->term = term;
    raft->voted = false;
    raft->vote = (raft_node_id){0};
    out->persist.hard_state = true;
}

void want_persist(struct raft *raft, struct raft_output *out)
{
    struct raft_persist *persist = &out->persist;
    assert(!persist->wanted);
    persist->wanted = true;
    persist->term = raft->term;
    persist->voted = raft->voted;
    persist->vote = raft->vote;
    persist->mark = (struct raft_mark){
        .epoch = raft->epoch,
        .last = raft->log.last,
        .term = raft->term,
        .voted = raft->voted,
    };
}

struct raft_verdict *add_verdict(struct raft_output *out, enum raft_verdict_kind kind)
{
    assert(out->verdicts.count < RAFT_VERDICTS_MAX);
    struct raft_verdict *verdict = &out->verdicts.at[out->verdicts.count++];
    verdict->kind = kind;
    return verdict;
}

static void on_persisted(struct raft *raft, const struct raft_persisted *persisted,
                         struct raft_output *out)
{
    const struct raft_mark *mark = &persisted->mark;
    assert(!term_less(raft->term, mark->term) && mark->epoch <= raft->epoch);
    if (!term_less(mark->term, raft->durable_term)) {
        raft->durable_vote =
            mark->voted || (raft->durable_vote && term_equal(mark->term, raft->durable_term));
        raft->durable_term = mark->term;
    }
    if (mark->epoch == raft->epoch)
        raft->durable = index_max(raft->durable, mark->last);

    switch (raft->role) {
    case RAFT_FOLLOWER:
        return;
    case RAFT_CANDIDATE:
        candidate_persisted(raft, as_candidate(raft), out);
        return;
    case RAFT_LEADER:
        leader_persisted(raft, as_leader(raft), out);
        return;
    }
    UNREACHABLE();
}

static void on_ticked(struct raft *raft, struct raft_output *out)
{
    if (raft->now_ms >= raft->deadline_ms && raft->role == RAFT_FOLLOWER)
        election_deadline_passed(raft, out);
}

static void dispatch(struct raft *raft, const struct raft_event *event, struct raft_output *out)
{
    switch (event->kind) {
    case RAFT_TICKED:
        on_ticked(raft, out);
        return;
    case RAFT_PROPOSED:
        propose(raft, &event->proposed, out);
        return;
    case RAFT_READ_ASKED:
        ask_read(raft, &event->read_asked, out);
        return;
    case RAFT_PERSISTED:
        on_persisted(raft, &event->persisted, out);
        return;
    case RAFT_COMPACTED:
        assert(!index_less(raft->commit, event->compacted.index));
        log_compact(&raft->log, event->compacted.index);
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
    out->persist = (struct raft_persist){.wanted = false};
    out->verdicts.count = 0;
    dispatch(raft, event, out);

    out->apply.first = index_next(commit_before);
    out->apply.last = raft->commit;
    out->deadline_ms = raft->deadline_ms;
    assert(!index_less(raft->commit, commit_before));
    assert(!out->persist.hard_state || out->persist.wanted);
}

struct raft_status raft_status(const struct raft *raft)
{
    struct raft_status status = {
        .role = raft->role,
        .term = raft->term,
        .commit = raft->commit,
        .last = raft->log.last,
        .durable = raft->durable,
        .crowded = raft->log.runs > RAFT_TERM_RUNS_MAX / 2,
        .stuck = raft->log.runs == RAFT_TERM_RUNS_MAX,
    };
    if (raft->role == RAFT_LEADER) {
        status.leader_known = true;
        status.leader = raft->options.self;
        status.settled = leader_is_settled(raft);
    } else if (raft->role == RAFT_FOLLOWER) {
        status.leader_known = raft->follower.leader_known;
        status.leader = raft->follower.leader;
    }
    return status;
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
    assert(index_equal(leader->match[own_place(raft)], raft->durable));
    assert(leader->rounds == 0 || !leader_is_settled(raft));
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
    assert(!index_less(raft->log.last, raft->durable));
    assert(!index_less(raft->log.last, raft->commit) || raft->log.runs == 0);
    assert(!index_less(raft->commit, raft->log.start));
    assert(configuration_valid(&raft->configuration, raft->options.self));
    if (raft->role == RAFT_LEADER)
        check_leader(raft, &raft->leader);
}
