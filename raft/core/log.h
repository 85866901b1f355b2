/*
 * The log as the core needs it: which term each index has. Terms never decrease along a log, so it
 * is kept as runs: (first index, term), one for each stretch of equal terms.
 *
 * Invariants: runs ascend strictly in first index and in term; the first run begins at or before
 * start + 1; start ≤ last.
 */
#ifndef ROLLCALL_CORE_LOG_H
#define ROLLCALL_CORE_LOG_H

#include "raft/core/message.h"

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
    /* Ring by index: bytes of all entries appended up to this one, for the newest of them. */
    uint64_t bytes_to[RAFT_SIZES_MAX];
};

/* Whether entries of this term can be appended within RAFT_TERM_RUNS_MAX. */
bool log_has_room(const struct raft_log *log, raft_term term);

/* Appends one entry, of a term not below the last; there must be room. */
void log_append(struct raft_log *log, raft_term term, uint32_t bytes);

/* Bytes of entries after `from` up to `to`, from ≤ to ≤ last; too many where they are forgotten. */
uint64_t log_bytes(const struct raft_log *log, raft_index from, raft_index to);

/* The terms of entries from `first` on: at most `count` of them, and what fits the runs. */
void log_runs(const struct raft_log *log, raft_index first, uint32_t count,
              struct raft_runs *ret_runs);

/* Forgets entries from `index` on, start < index ≤ last. */
void log_truncate(struct raft_log *log, raft_index index);

/* Holds nothing: the next entry comes after `start`. */
void log_reset(struct raft_log *log, raft_index start, raft_term start_term);

/* The last index ≤ `index` whose term is ≤ `term`; `start` when there is none above it. */
raft_index log_find_term(const struct raft_log *log, raft_index index, raft_term term);

/* Whether (index, term) is at least as new as the end of this log (§5.4.1). */
bool log_is_up_to_date(const struct raft_log *log, raft_index index, raft_term term);

/* The term of an entry, start ≤ index ≤ last. */
raft_term log_term(const struct raft_log *log, raft_index index);
raft_term log_last_term(const struct raft_log *log);

/* Forgets entries up to and including `index`, start ≤ index ≤ last. */
void log_compact(struct raft_log *log, raft_index index);

void log_check(const struct raft_log *log);

#endif
