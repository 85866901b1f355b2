/*
 * What nodes say to one another: Figure 2's calls and their answers, each a message of its own, so
 * that losing, doubling and reordering are all that a network can do. Tags are on the wire: never
 * reused, never changed.
 *
 * Every message carries the sender's term, but for pre-votes, which speak of a term that nobody is
 * in yet. A message leaves only when its sender's storage has what it promises.
 */
#ifndef ROLLCALL_CORE_MESSAGE_H
#define ROLLCALL_CORE_MESSAGE_H

#include "raft/base/schema.h"
#include "raft/core/types.h"

#define SCHEMA_TYPE_term  raft_term
#define SCHEMA_TYPE_index raft_index
#define SCHEMA_TYPE_runs  struct raft_runs

/* The terms of consecutive entries: `count` of the first, then of the next, which is higher … */
struct raft_runs {
    uint32_t runs;
    struct {
        raft_term term;
        uint32_t count;
    } at[RAFT_APPEND_RUNS_MAX];
};

/* clang-format off */
#define RAFT_MESSAGES(M) \
    M(RAFT_REQUEST_PRE_VOTE, raft_request_pre_vote, request_pre_vote, 1) \
    M(RAFT_REQUEST_PRE_VOTE_RESPONSE, raft_request_pre_vote_response, \
      request_pre_vote_response, 2) \
    M(RAFT_REQUEST_VOTE, raft_request_vote, request_vote, 3) \
    M(RAFT_REQUEST_VOTE_RESPONSE, raft_request_vote_response, request_vote_response, 4) \
    M(RAFT_APPEND_ENTRIES, raft_append_entries, append_entries, 5) \
    M(RAFT_APPEND_ENTRIES_RESPONSE, raft_append_entries_response, append_entries_response, 6) \
    M(RAFT_READ_INDEX, raft_read_index, read_index, 7) \
    M(RAFT_READ_INDEX_RESPONSE, raft_read_index_response, read_index_response, 8) \
    M(RAFT_TIMEOUT_NOW, raft_timeout_now, timeout_now, 9) \
    M(RAFT_FORGOT, raft_forgot, forgot, 10)

/* Would you vote for me in `term` (thesis §9.6)? The message's own term is the sender's. */
#define RAFT_REQUEST_PRE_VOTE_FIELDS(F) F(term, next_term) F(index, last) F(term, last_term)
#define RAFT_REQUEST_PRE_VOTE_RESPONSE_FIELDS(F) F(term, next_term) F(u8, granted)

/* §5.2, §5.4.1. `transfer`: the leader itself wants this election (thesis §3.10). */
#define RAFT_REQUEST_VOTE_FIELDS(F) F(index, last) F(term, last_term) F(u8, transfer)
#define RAFT_REQUEST_VOTE_RESPONSE_FIELDS(F) F(u8, granted)

/*
 * §5.3: entries after `prev`, none for a heartbeat; their payloads travel beside, unseen by the
 * core. An entry that is a configuration travels alone. `round` counts the leader's rounds of
 * asking whether it still is one (thesis §6.4).
 */
#define RAFT_APPEND_ENTRIES_FIELDS(F) \
    F(index, prev) F(term, prev_term) F(index, commit) F(u64, round) F(runs, entries)

/*
 * Accepted: storage has the leader's log up to `match`. Rejected: there is no entry (prev,
 * prev_term) here; the log may agree at or below `hint`, whose term is `hint_term`. Recovering: the
 * sender's storage forgot something or is damaged, so this decides nothing (raft.h).
 */
#define RAFT_APPEND_ENTRIES_RESPONSE_FIELDS(F) \
    F(u8, accepted) F(u64, round) F(index, match) F(index, prev) F(index, hint) F(term, hint_term) \
    F(u8, recovering)

/* A follower's reads: only the index travels. */
#define RAFT_READ_INDEX_FIELDS(F) F(u64, token)
#define RAFT_READ_INDEX_RESPONSE_FIELDS(F) F(u64, token) F(u8, granted) F(index, index)

/* Leadership is handed to you: campaign without waiting (thesis §3.10). */
#define RAFT_TIMEOUT_NOW_FIELDS(F) F(u8, transfer)

/* You acknowledged a log up to this entry, and do not have it any more (raft.h, ROLLED BACK). */
#define RAFT_FORGOT_FIELDS(F) F(index, index) F(term, index_term)
/* clang-format on */

RAFT_MESSAGES(SCHEMA_FAMILY_STRUCT)

enum raft_message_kind { RAFT_MESSAGES(SCHEMA_FAMILY_ENUM) };

struct raft_message {
    raft_node_id from, to;
    raft_term term;
    enum raft_message_kind kind;
    union {
        RAFT_MESSAGES(SCHEMA_FAMILY_ARM)
    };
};

/*
 * Whether a node that follows the rules can say this at all, to any other node: ids and numbers are
 * in range, and an append's terms never decrease and are not above its own. Decoders refuse what is
 * not; the core ignores it.
 */
bool raft_message_valid(const struct raft_message *message);

static inline uint32_t raft_runs_entries(const struct raft_runs *runs)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < runs->runs; i++)
        sum += runs->at[i].count;
    return sum;
}

#endif
