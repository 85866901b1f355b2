/* What a message may say (message.h): judged by itself, whatever the state of who gets it. */
#include "raft/core/message.h"

static bool is_term(raft_term term)
{
    return term.n <= RAFT_TERM_MAX;
}

static bool is_index(raft_index index)
{
    return index.n <= RAFT_INDEX_MAX;
}

static bool is_flag(uint8_t flag)
{
    return flag <= 1;
}

/* The end of a log, in this term. */
static bool is_log_end(raft_index last, raft_term last_term, raft_term term)
{
    return is_index(last) && !term_less(term, last_term);
}

static bool is_append(const struct raft_append *append, raft_term term)
{
    raft_term before = append->prev_term;
    uint64_t entries = 0;
    if (append->entries.runs > RAFT_APPEND_RUNS_MAX || term_less(term, before) ||
        !is_index(append->prev) || !is_index(append->commit))
        return false;
    for (uint32_t i = 0; i < append->entries.runs; i++) {
        raft_term here = append->entries.at[i].term;
        if (append->entries.at[i].count == 0 || term_less(here, before) ||
            (i > 0 && term_equal(here, before)) || term_less(term, here))
            return false;
        before = here;
        entries += append->entries.at[i].count;
    }
    return entries <= RAFT_APPEND_ENTRIES_MAX && append->prev.n + entries <= RAFT_INDEX_MAX;
}

static bool is_append_give(const struct raft_append_give *give, raft_term term)
{
    return is_flag(give->accepted) && is_flag(give->unsure) && is_index(give->match) &&
           is_index(give->prev) && is_index(give->hint) && !term_less(term, give->hint_term);
}

bool raft_message_valid(const struct raft_message *m)
{
    if (m->from.n == 0 || m->to.n == 0 || node_id_equal(m->from, m->to) || !is_term(m->term))
        return false;
    switch (m->kind) {
    case RAFT_PRE_VOTE_ASK:
        return is_term(m->pre_vote_ask.next_term) &&
               is_log_end(m->pre_vote_ask.last, m->pre_vote_ask.last_term,
                          m->pre_vote_ask.next_term);
    case RAFT_PRE_VOTE_GIVE:
        return is_term(m->pre_vote_give.next_term) && is_flag(m->pre_vote_give.granted);
    case RAFT_VOTE_ASK:
        return is_flag(m->vote_ask.transfer) &&
               is_log_end(m->vote_ask.last, m->vote_ask.last_term, m->term);
    case RAFT_VOTE_GIVE:
        return is_flag(m->vote_give.granted);
    case RAFT_APPEND:
        return is_append(&m->append, m->term);
    case RAFT_APPEND_GIVE:
        return is_append_give(&m->append_give, m->term);
    case RAFT_READ_ASK:
        return true;
    case RAFT_READ_GIVE:
        return is_flag(m->read_give.granted) && is_index(m->read_give.index);
    case RAFT_CAMPAIGN_NOW:
        return is_flag(m->campaign_now.transfer);
    case RAFT_FORGOT:
        return is_log_end(m->forgot.index, m->forgot.index_term, m->term);
    }
    return false;
}
