/*
 * A follower's log (§5.3): what the leader sends after an entry that both have replaces whatever
 * stands there, and is acknowledged when storage has it. An acknowledgement speaks only of what was
 * compared with this leader's log (`verified`), however much longer the own one is.
 */
#include "raft/core/state.h"

static void acknowledge(struct raft *raft, struct raft_output *out)
{
    struct raft_follower *f = raft_as_follower(raft);
    assert(f->leader_known && raft_term_is_durable(raft));
    raft_index match = index_min(f->verified, raft->durable);
    struct raft_message *response =
        raft_add_send(raft, f->leader, RAFT_APPEND_ENTRIES_RESPONSE, out);
    response->append_entries_response.accepted = true;
    response->append_entries_response.round = f->round;
    response->append_entries_response.match = match;
    response->append_entries_response.recovering = raft_decides_nothing(raft);
    f->acked = match;
    f->owes = index_less(match, f->verified);
}

static void reject(struct raft *raft, const struct raft_append_entries *a, struct raft_output *out)
{
    struct raft_follower *f = raft_as_follower(raft);
    if (!raft_term_is_durable(raft))
        return; /* the leader asks again */
    raft_index below = {a->prev.n - 1};
    raft_index hint = log_find_term(&raft->log, index_min(below, raft->log.last), a->prev_term);
    struct raft_message *response =
        raft_add_send(raft, f->leader, RAFT_APPEND_ENTRIES_RESPONSE, out);
    response->append_entries_response.round = f->round;
    response->append_entries_response.prev = a->prev;
    response->append_entries_response.hint = hint;
    response->append_entries_response.recovering = raft_decides_nothing(raft);
    response->append_entries_response.hint_term = log_term(&raft->log, hint);
}

static void truncate(struct raft *raft, raft_index first_gone, struct raft_output *out)
{
    assert(index_less(raft->commit, first_gone)); /* State Machine Safety: committed stays */
    raft_index before = {first_gone.n - 1};
    out->persist.truncate = true;
    out->persist.first_gone = first_gone;
    out->persist.term_before = log_term(&raft->log, before);
    log_truncate(&raft->log, first_gone);
    raft_configurations_truncated(raft, first_gone);
    raft->epoch++;
    raft->durable = index_min(raft->durable, before);
}

static void add_run(struct raft_runs *runs, raft_term term)
{
    if (runs->runs == 0 || !term_equal(runs->at[runs->runs - 1].term, term)) {
        assert(runs->runs < RAFT_APPEND_RUNS_MAX);
        runs->at[runs->runs].term = term;
        runs->at[runs->runs++].count = 0;
    }
    runs->at[runs->runs - 1].count++;
}

/* Entry `index` of the message. False when there is no room: what came before it stands. */
static bool take_entry(struct raft *raft, raft_index index, raft_term term, uint32_t bytes,
                       const struct raft_configuration *configuration, struct raft_output *out)
{
    if (!index_less(raft->log.last, index)) {
        if (term_equal(log_term(&raft->log, index), term))
            return true;
        truncate(raft, index, out);
    }
    if (term_less(term, log_last_term(&raft->log)))
        return false; /* it was not compared at or below the commit index, and lies there */
    if (!log_has_room(&raft->log, term) ||
        (configuration != NULL && !raft_configuration_room(raft)))
        return false;
    if (out->persist.entries.runs == 0)
        out->persist.first = index;
    log_append(&raft->log, term, bytes);
    add_run(&out->persist.entries, term);
    out->persist.from = RAFT_FROM_MESSAGE;
    if (configuration != NULL)
        raft_configuration_appended(raft, index, configuration);
    return true;
}

/* What is committed here must be the leader's, too, as far as the log still knows (raft.h). */
static bool contradicts(struct raft *raft, raft_index index, raft_term term,
                        struct raft_output *out)
{
    bool comparable = !index_less(raft->commit, index) && !index_less(index, raft->log.start) &&
                      !index_less(raft->log.last, index);
    if (!comparable || term_equal(log_term(&raft->log, index), term))
        return false;
    raft->diverged = true;
    struct raft_result *result = raft_add_result(out, RAFT_DIVERGED);
    result->diverged.node = raft->options.self;
    result->diverged.other = raft->follower.leader;
    result->diverged.index = index;
    result->diverged.term = log_term(&raft->log, index);
    result->diverged.other_term = term;
    return true;
}

static bool append_contradicts(struct raft *raft, const struct raft_append_entries *a,
                               struct raft_output *out)
{
    raft_index index = a->prev;
    if (contradicts(raft, index, a->prev_term, out))
        return true;
    for (uint32_t i = 0; i < a->entries.runs && index_less(index, raft->commit); i++) {
        for (uint32_t j = 0; j < a->entries.at[i].count; j++) {
            index = index_next(index);
            if (contradicts(raft, index, a->entries.at[i].term, out))
                return true;
        }
    }
    return false;
}

/* The last index of the log that is now known to be the leader's. */
static raft_index take_entries(struct raft *raft, const struct raft_received *received,
                               struct raft_output *out)
{
    const struct raft_append_entries *a = &received->message->append_entries;
    raft_index index = a->prev;
    uint32_t place = 0;
    for (uint32_t i = 0; i < a->entries.runs; i++) {
        for (uint32_t j = 0; j < a->entries.at[i].count; j++, place++) {
            index = index_next(index);
            if (!index_less(raft->commit, index))
                continue; /* committed, and compared: append_contradicts */
            if (!take_entry(raft, index, a->entries.at[i].term, received->bytes[place],
                            received->configuration, out))
                return (raft_index){index.n - 1};
        }
    }
    return index_max(index, index_min(raft->commit, raft->log.last));
}

/* The leader's entries that this log has are others than this leader said before. */
static bool takes_back(const struct raft *raft, const struct raft_append_entries *a)
{
    raft_index index = a->prev;
    for (uint32_t i = 0; i < a->entries.runs; i++) {
        for (uint32_t j = 0; j < a->entries.at[i].count; j++) {
            index = index_next(index);
            if (index_less(raft->follower.verified, index))
                return false;
            if (index_less(raft->commit, index) &&
                !term_equal(log_term(&raft->log, index), a->entries.at[i].term))
                return true;
        }
    }
    return false;
}

/*
 * A term has one leader (Election Safety), whose log only grows in it (Leader Append-Only, Figure
 * 3). Of what contradicts both nothing is done: `verified` and the log would come apart.
 */
static bool is_of_no_leader(const struct raft *raft, const struct raft_message *m)
{
    if (raft->role == RAFT_LEADER)
        return true;
    if (raft->role != RAFT_FOLLOWER || !raft->follower.leader_known)
        return false;
    return !node_id_equal(raft->follower.leader, m->from) || takes_back(raft, &m->append_entries);
}

void raft_on_append_entries(struct raft *raft, const struct raft_received *received,
                            struct raft_output *out)
{
    const struct raft_message *m = received->message;
    const struct raft_append_entries *a = &m->append_entries;
    if (is_of_no_leader(raft, m)) {
        out->impossible = true;
        return;
    }
    if (raft->role != RAFT_FOLLOWER || !raft->follower.leader_known)
        raft_become_follower(raft, true, m->from, out);
    struct raft_follower *f = raft_as_follower(raft);
    f->heard_ms = raft->now_ms;
    raft_reset_election_timer(raft);
    bool new_round = f->round < a->round;
    if (new_round)
        f->round = a->round;

    if (raft->diverged || append_contradicts(raft, a, out))
        return; /* nothing of it is promised: to the leader this node is down */
    bool known = !index_less(raft->commit, a->prev) ||
                 (!index_less(raft->log.last, a->prev) &&
                  term_equal(log_term(&raft->log, a->prev), a->prev_term));
    if (!known) {
        reject(raft, a, out);
        return;
    }
    raft_index checked = take_entries(raft, received, out);
    if (out->persist.truncate || out->persist.entries.runs > 0)
        raft_want_persist(raft, out);
    f->verified = index_max(f->verified, checked);
    raft->commit = index_max(raft->commit, index_min(a->commit, f->verified));

    bool all_durable = !index_less(raft->durable, f->verified);
    bool no_room = received->cut || checked.n < a->prev.n + raft_runs_entries(&a->entries);
    f->owes = true;
    if (no_room && !new_round)
        return; /* or the leader would send the same at once, for ever: it asks at its heartbeat */
    if (raft_term_is_durable(raft) && (all_durable || new_round || a->entries.runs == 0))
        acknowledge(raft, out);
}

void raft_follower_persisted(struct raft *raft, struct raft_output *out)
{
    struct raft_follower *f = raft_as_follower(raft);
    if (!f->leader_known || !raft_term_is_durable(raft))
        return;
    raft_index match = index_min(f->verified, raft->durable);
    if (f->owes && (index_less(f->acked, match) || index_equal(match, f->verified)))
        acknowledge(raft, out);
}

/*
 * The log has the snapshot's last entry: what follows stays, it may have been acknowledged (§7). It
 * is durable when the log is, not because the snapshot is: who loses the one must know it by the
 * other.
 */
static void keep_after(struct raft *raft, raft_index index, struct raft_output *out)
{
    raft->commit = index;
    if (raft->role != RAFT_FOLLOWER)
        return;
    raft->follower.verified = index_max(raft->follower.verified, index);
    if (raft->follower.leader_known && raft_term_is_durable(raft))
        acknowledge(raft, out);
}

static void begin_after(struct raft *raft, const struct raft_snapshot_installed *installed,
                        struct raft_output *out)
{
    log_reset(&raft->log, installed->index, installed->term);
    raft->configurations = 0;
    raft_configuration_appended(raft, installed->index, installed->configuration);
    raft->epoch++;
    raft->durable = (raft_index){0}; /* the snapshot is; but not yet that the log begins after it */
    raft->commit = installed->index;
    if (raft->role == RAFT_FOLLOWER) {
        raft->follower.verified = installed->index;
        raft->follower.acked = (raft_index){0};
        raft->follower.owes = true;
    }
    out->persist.reset = true;
    out->persist.reset_index = installed->index;
    out->persist.reset_term = installed->term;
    raft_want_persist(raft, out); /* acknowledged when that is durable: follower_persisted */
}

void raft_on_snapshot_installed(struct raft *raft, const struct raft_snapshot_installed *installed,
                                struct raft_output *out)
{
    if (!index_less(raft->commit, installed->index) || raft->diverged)
        return;
    if (raft->role == RAFT_LEADER || term_less(raft->term, installed->term))
        return; /* no leader is behind what it sent, and no snapshot is of a term to come */
    bool held = !index_less(raft->log.last, installed->index) &&
                term_equal(log_term(&raft->log, installed->index), installed->term);
    if (held)
        keep_after(raft, installed->index, out);
    else
        begin_after(raft, installed, out);
}
