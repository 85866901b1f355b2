/*
 * Consensus: the contract. One pure function, raft_step: what happened goes in, what to do comes
 * out. No I/O, no clock, no memory but what is inside struct raft, no randomness but its own seeded
 * generator; the same events give the same outputs, bit for bit.
 *
 * The log's payloads never enter: the core knows each entry by index and term, the driver keeps the
 * bytes. Sources: "In Search of an Understandable Consensus Algorithm" (extended version), by §,
 * and Ongaro's thesis where it is named.
 *
 * THE DRIVER'S DUTIES. After each step, carry the output out in the order of its members:
 *   1. persist: write it to stable storage, in the order of the steps, many steps in one flush if
 *      it likes. When a flush is done, step PERSISTED with the mark of the last persist in it.
 *   2. verdicts: tell the asker. ACCEPTED is a place in the log, not yet an acknowledgement.
 *   3. apply: hand these entries to the state machine, in order, once. Answers leave now: what is
 *      here is committed, and so durable on a majority.
 *   4. deadline: step TICKED no later than then (milliseconds of the same clock as now_ms).
 * A failed write ends the process: there is no event for it.
 *
 * The core cannot fail. What it will not do it refuses, and a refusal is data.
 */
#ifndef ROLLCALL_CORE_RAFT_H
#define ROLLCALL_CORE_RAFT_H

#include "raft/core/types.h"

struct raft;

/* --- start ------------------------------------------------------------------------------------ */

struct raft_options {
    raft_node_id self;
    uint32_t election_ms; /* a follower waits between this and twice this (§5.2) */
    uint64_t seed;
};

/* What stable storage held: all zeros for a node that never ran, but for the configuration. */
struct raft_saved {
    raft_term term; /* hard state: the current term */
    bool voted;     /*   and who got this node's vote in it (Figure 2) */
    raft_node_id vote;
    raft_index snapshot_index; /* the last entry that the state machine's snapshot covers */
    raft_index log_start;      /* the entry before the log's first; its term */
    raft_term log_start_term;
    struct raft_configuration configuration;
};

/* Bytes of a struct raft: the caller provides them, aligned as malloc would, and keeps them. */
size_t raft_size(void);

/*
 * Makes a node out of what storage held. Then raft_restore_entry for each entry of the stored log,
 * from log_start + 1 on, terms not decreasing; then the first step, TICKED.
 * -EINVAL: ids or times out of range, a configuration without self, log_start above snapshot_index.
 */
NODISCARD int raft_init(void *memory, const struct raft_options *options,
                        const struct raft_saved *saved, struct raft **ret_raft);

/* -EINVAL when the term goes back or is above the saved one; -ENOBUFS over RAFT_TERM_RUNS_MAX. */
NODISCARD int raft_restore_entry(struct raft *raft, raft_term term);

/* --- events: what happened -------------------------------------------------------------------- */

/*
 * How far stable storage has got: made by the core for each persist, handed back when durable. An
 * `epoch` ends with each truncation, so that a completion that was overtaken by one counts nothing
 * (the ABA of etcd's append threads).
 */
struct raft_mark {
    uint64_t epoch;
    raft_index last; /* the log's last entry */
    raft_term term;  /* hard state */
    bool voted;
};

enum raft_event_kind {
    RAFT_TICKED,     /* time passed */
    RAFT_PROPOSED,   /* `count` commands of together `bytes` want into the log */
    RAFT_READ_ASKED, /* reads want an index at which they are linearizable (thesis §6.4) */
    RAFT_PERSISTED,  /* everything up to this mark is durable */
    RAFT_COMPACTED,  /* a durable snapshot covers the log up to `index`, which is gone */
};

struct raft_proposed {
    uint32_t count;
    uint64_t bytes;
};

struct raft_read_asked {
    uint64_t token; /* the driver's name for the round, comes back in the verdict */
};

struct raft_persisted {
    struct raft_mark mark;
};

struct raft_compacted {
    raft_index index; /* at most the applied index */
};

struct raft_event {
    enum raft_event_kind kind;
    uint64_t now_ms; /* any monotonic clock; not before the last event's */
    union {
        struct raft_proposed proposed;
        struct raft_read_asked read_asked;
        struct raft_persisted persisted;
        struct raft_compacted compacted;
    };
};

/* --- output: what to do ----------------------------------------------------------------------- */

/* NOOP is the first entry of each leader (§8, §5.4.2); COMMAND carries the state machine's bytes.
 */
enum raft_entry_kind { RAFT_NOOP = 1, RAFT_COMMAND = 2 };

struct raft_persist {
    bool wanted;     /* there is something to write */
    bool hard_state; /* term and vote changed: durable before, or with, the entries */
    raft_term term;
    bool voted;
    raft_node_id vote;
    uint32_t count; /* entries to append, all of `kind` and `entry_term`, from `first` on */
    enum raft_entry_kind kind;
    raft_term entry_term;
    raft_index first;
    struct raft_mark mark;
};

enum raft_refusal {
    RAFT_NOT_LEADER = 1, /* nor is a leader known */
    RAFT_BUSY = 2,       /* over a limit: try again later */
};

enum raft_verdict_kind {
    RAFT_ACCEPTED,         /* the proposed commands are entries first … first + count - 1 */
    RAFT_PROPOSAL_REFUSED, /* none of them is in the log */
    RAFT_READ_READY,       /* reads of this round are linearizable once `index` is applied */
    RAFT_READ_REFUSED,
};

struct raft_verdict {
    enum raft_verdict_kind kind;
    union {
        struct {
            raft_index first;
            raft_term term;
            uint32_t count;
        } accepted;
        struct {
            enum raft_refusal why;
        } refused;
        struct {
            uint64_t token;
            raft_index index;
        } read_ready;
        struct {
            uint64_t token;
            enum raft_refusal why;
        } read_refused;
    };
};

#define RAFT_VERDICTS_MAX (RAFT_READ_ROUNDS_MAX + 2u)

struct raft_output {
    struct raft_persist persist;
    struct {
        uint32_t count;
        struct raft_verdict at[RAFT_VERDICTS_MAX];
    } verdicts;
    struct {
        raft_index first; /* nothing when first is above last */
        raft_index last;
    } apply;
    uint64_t deadline_ms;
};

/* `ret_output` is written whole. */
void raft_step(struct raft *raft, const struct raft_event *event, struct raft_output *ret_output);

/* --- looking in ------------------------------------------------------------------------------- */

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_status {
    enum raft_role role;
    raft_term term;
    bool leader_known;
    raft_node_id leader;
    raft_index commit, last, durable;
    bool settled; /* leader, and an entry of its term is committed */
    bool crowded; /* over half of RAFT_TERM_RUNS_MAX: a snapshot should shorten the log soon */
    bool stuck;   /* all of it: no leader can open a term with this log */
};
struct raft_status raft_status(const struct raft *raft);

/* The term of an entry that the log holds (or of the one before its first). */
raft_term raft_entry_term(const struct raft *raft, raft_index index);

/* Asserts every invariant (state.h says them). Tests call it after each step. */
void raft_check(const struct raft *raft);

#endif
