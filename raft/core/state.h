/*
 * struct raft, and what its sections offer one another. Only raft/core and its tests look in here.
 *
 * Invariants, asserted by raft_check:
 *   terms      log terms ≤ term; a vote is of the current term
 *   marks      durable ≤ last; commit ≤ last; log.start ≤ applied = commit at the end of a step
 *   durability commit ≤ what a majority has made durable: here, in a cluster of one, durable
 *   leader     the own entry `first` opens its term: term_at(first) = term, and below it terms are
 * less reads      no round waits with a leader whose term has a committed entry
 */
#ifndef ROLLCALL_CORE_STATE_H
#define ROLLCALL_CORE_STATE_H

#include "raft/core/log.h"
#include "raft/core/raft.h"

struct raft_follower {
    bool leader_known;
    raft_node_id leader;
};

/* Asked for votes in the current term (§5.2); its own counts when it is durable. */
struct raft_candidate {
    bool granted[RAFT_MEMBERS_MAX]; /* by place in the configuration */
};

/* Proposals that are not committed: entries up to `last` (after the batch before), of `bytes`. */
struct raft_batch {
    raft_index last;
    uint64_t bytes;
};

struct raft_leader {
    raft_index first;                   /* the no-op that opened its term */
    raft_index match[RAFT_MEMBERS_MAX]; /* durable there, by place in the configuration */
    uint32_t rounds;                    /* reads that wait for the term's first commit */
    uint64_t round[RAFT_READ_ROUNDS_MAX];
    uint64_t uncommitted_bytes; /* the sum of the batches; when they are full the newest grows */
    uint32_t batches;
    struct raft_batch batch[RAFT_BATCHES_MAX];
};

struct raft {
    struct raft_options options;
    struct raft_configuration configuration;

    raft_term term; /* Figure 2, persistent state */
    bool voted;
    raft_node_id vote;
    struct raft_log log;

    uint64_t epoch;         /* of marks: ends with each truncation */
    raft_term durable_term; /* the hard state that storage has */
    bool durable_vote;
    raft_index durable; /* the log that storage has */

    raft_index commit; /* Figure 2, volatile state; handed out to apply up to here */

    enum raft_role role;
    union {
        struct raft_follower follower;
        struct raft_candidate candidate;
        struct raft_leader leader;
    };

    uint64_t now_ms;
    uint64_t deadline_ms;
    uint64_t random;
};

/* The arm of the role, which must be the one. */
struct raft_candidate *as_candidate(struct raft *raft);
struct raft_leader *as_leader(struct raft *raft);

/* The place of this node among the voters. */
uint32_t own_place(const struct raft *raft);

/* raft.c: the only place where the term moves (§5.1): forward, without a vote. */
void set_term(struct raft *raft, raft_term term, struct raft_output *out);
/* raft.c: hands the change to storage and marks it. */
void want_persist(struct raft *raft, struct raft_output *out);
struct raft_verdict *add_verdict(struct raft_output *out, enum raft_verdict_kind kind);

/* election.c, §5.2 */
void become_follower(struct raft *raft);
void election_deadline_passed(struct raft *raft, struct raft_output *out);
void candidate_persisted(struct raft *raft, struct raft_candidate *candidate,
                         struct raft_output *out);

/* replication.c, §5.3, §5.4.2 */
void become_leader(struct raft *raft, struct raft_output *out);
void propose(struct raft *raft, const struct raft_proposed *proposed, struct raft_output *out);
void leader_persisted(struct raft *raft, struct raft_leader *leader, struct raft_output *out);
bool leader_is_settled(const struct raft *raft);

/* read.c, thesis §6.4 */
void ask_read(struct raft *raft, const struct raft_read_asked *asked, struct raft_output *out);
void release_reads(struct raft *raft, struct raft_leader *leader, struct raft_output *out);

#endif
