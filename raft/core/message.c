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

static bool is_append(const struct raft_append_entries *append, raft_term term)
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

static bool is_append_entries_response(const struct raft_append_entries_response *response,
                                       raft_term term)
{
    return is_flag(response->accepted) && is_flag(response->recovering) &&
           is_index(response->match) && is_index(response->prev) && is_index(response->hint) &&
           !term_less(term, response->hint_term);
}

bool raft_message_valid(const struct raft_message *m)
{
    if (m->from.n == 0 || m->to.n == 0 || node_id_equal(m->from, m->to) || !is_term(m->term))
        return false;
    switch (m->kind) {
    case RAFT_REQUEST_PRE_VOTE:
        return is_term(m->request_pre_vote.next_term) &&
               is_log_end(m->request_pre_vote.last, m->request_pre_vote.last_term,
                          m->request_pre_vote.next_term);
    case RAFT_REQUEST_PRE_VOTE_RESPONSE:
        return is_term(m->request_pre_vote_response.next_term) &&
               is_flag(m->request_pre_vote_response.granted);
    case RAFT_REQUEST_VOTE:
        return is_flag(m->request_vote.transfer) &&
               is_log_end(m->request_vote.last, m->request_vote.last_term, m->term);
    case RAFT_REQUEST_VOTE_RESPONSE:
        return is_flag(m->request_vote_response.granted);
    case RAFT_APPEND_ENTRIES:
        return is_append(&m->append_entries, m->term);
    case RAFT_APPEND_ENTRIES_RESPONSE:
        return is_append_entries_response(&m->append_entries_response, m->term);
    case RAFT_READ_INDEX:
        return true;
    case RAFT_READ_INDEX_RESPONSE:
        return is_flag(m->read_index_response.granted) && is_index(m->read_index_response.index);
    case RAFT_TIMEOUT_NOW:
        return is_flag(m->timeout_now.transfer);
    case RAFT_FORGOT:
        return is_log_end(m->forgot.index, m->forgot.index_term, m->term);
    }
    return false;
}
