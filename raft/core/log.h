/*
 * The log as the core needs it: which term each index has. Terms never decrease along a log, so it
 * is kept as runs: (first index, term), one for each stretch of equal terms.
 *
 * Invariants: runs ascend strictly in first index and in term; the first run begins at or before
 * start + 1; start ≤ last.
 */
#ifndef ROLLCALL_CORE_LOG_H
#define ROLLCALL_CORE_LOG_H

#include "raft/core/types.h"

struct raft_log_run {
    raft_index first;
    raft_term term;
};

struct raft_log {
    raft_index start;     /* the entry before the first held: 0, or what was compacted up to */
    raft_term start_term; /* its term */
    raft_index last;
    uint32_t runs;
    struct raft_log_run run[RAFT_TERM_RUNS_MAX];
};

void log_init(struct raft_log *log, raft_index start, raft_term start_term);

/* Whether entries of this term can be appended within RAFT_TERM_RUNS_MAX. */
bool log_has_room(const struct raft_log *log, raft_term term);

/* Appends `count` entries of one term, not below the last term; there must be room. */
void log_append(struct raft_log *log, raft_term term, uint32_t count);

/* The term of an entry, start ≤ index ≤ last. */
raft_term log_term(const struct raft_log *log, raft_index index);
raft_term log_last_term(const struct raft_log *log);

/* Forgets entries up to and including `index`, start ≤ index ≤ last. */
void log_compact(struct raft_log *log, raft_index index);

void log_check(const struct raft_log *log);

#endif
