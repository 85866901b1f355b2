/*
 * What was gathered into a log, and what of it a crash may leave.
 *
 * A log is a sequence of facts (append, truncate, reset), each a record on disk, and of votes, each
 * a hard state. A crash may leave any first part of either that holds what was acknowledged. A
 * member of a cluster may say then that it is recovering (raft/core/raft.h), with a floor that is
 * not below what was acknowledged, but only where what is left cannot be told from rot (states.h);
 * and once it said so it says so again. history_judge is the one place that says all this.
 */
#ifndef ROLLCALL_TESTS_CRASH_HISTORY_H
#define ROLLCALL_TESTS_CRASH_HISTORY_H

#include "raft/wal/wal.h"

#define HISTORY_FACTS   1024u
#define HISTORY_VOTES   128u
#define HISTORY_INDEXES 2048u
#define HISTORY_ENTRY   8192u

enum fact_kind { FACT_APPEND, FACT_TRUNCATE, FACT_RESET };

struct fact {
    enum fact_kind kind;
    uint64_t index; /* TRUNCATE: the first that goes; RESET: the one before the first */
    uint64_t term;
    uint32_t stamp; /* of an append: makes its payload */
    uint32_t len;
};

struct vote {
    uint64_t term;
    bool voted;
    uint64_t node;
};

struct history {
    uint32_t facts, votes;
    struct fact fact[HISTORY_FACTS];
    struct vote vote[HISTORY_VOTES]; /* the first: before any was written */
};

/* How much of a history is acknowledged, and how much may be on disk at most. */
struct promise {
    const struct history *history;
    uint32_t facts, facts_most;
    uint32_t votes, votes_most; /* numbers of a vote */
    uint64_t compacted;         /* entries up to here may be gone */
    bool may_doubt;             /* what is left looks like rot */
    bool recovering;            /* it was said to be, with this floor */
    struct raft_floor floor;
};

/* A log as it was read back. */
struct found {
    struct wal_recovered recovered;
    uint32_t count; /* entries from recovered.start + 1 on */
    uint64_t term[HISTORY_INDEXES];
    uint32_t stamp[HISTORY_INDEXES];
};

/* What is live after a first part of the facts. */
struct shape {
    uint64_t start, start_term, last;
    uint32_t fact[HISTORY_INDEXES]; /* that appended the entry of this index */
};

void history_start(struct history *history);
/* Only its first facts and votes. */
void history_cut(struct history *to, const struct history *from, uint32_t facts, uint32_t vote);
void history_add(struct history *history, struct fact fact);
void history_vote(struct history *history, struct vote vote);

/* The bytes of an append: they say whose they are, and many of them are zeros. */
struct bytes history_payload(uint32_t stamp, uint32_t len, uint8_t buffer[HISTORY_ENTRY]);
/* False when nobody ever appended these bytes. */
bool history_stamp(const struct history *history, struct bytes payload, uint32_t *ret_stamp);

/* The term of the entry at `index` after all facts; of where the log starts, too. */
uint64_t history_term(const struct history *history, uint64_t index);

/*
 * Whether this log is one that a crash may leave when so much was promised. If so, how many facts
 * it holds and which vote; if not, why. Where the vote is in doubt, who is alone may be one term
 * further, and a member may have none in that term.
 */
#define HISTORY_WHY_BYTES 256u
bool history_judge(const struct promise *promise, const struct found *found, uint32_t *ret_facts,
                   uint32_t *ret_vote, char ret_why[HISTORY_WHY_BYTES]);

#endif
