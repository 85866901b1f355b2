/*
 * struct raft, and what its sections offer one another. Only raft/core and its tests look in here.
 *
 * Invariants, asserted by raft_check:
 *   terms      log terms ≤ term; durable term ≤ term; a vote is of the current term
 *   recovering damaged, or diverged: a follower, always; who is none of them has no floor, and was
 *              not rolled back
 *   forgot     a peer that forgot is not counted; a peer that is counted has what it is counted for
 *   marks      durable ≤ last; log.start ≤ commit ≤ last
 *   durability a leader's own match is what its storage has
 *   leader     its entry `first` opens its term: below it terms are less; it voted for itself
 *   progress   match < next; a stream's window is within its limits
 *   reads      no round waits that a majority has confirmed
 *   bytes      what is uncommitted is the sum of its batches
 *   configurations ascend; the first is at or before the log's start, none is after its end
 */
#ifndef ROLLCALL_CORE_STATE_H
#define ROLLCALL_CORE_STATE_H

#include "raft/core/log.h"
#include "raft/core/raft.h"

/* Batches of proposals whose bytes are counted apart until they commit. */
#define RAFT_BATCHES_MAX 64u

struct raft_follower {
    bool leader_known;
    raft_node_id leader;
    uint64_t heard_ms;   /* the leader was last heard; meaningful when it is known */
    raft_index verified; /* the log is the leader's up to here */
    raft_index acked;    /* and the leader was told so */
    bool owes;           /* an acknowledgement, when storage has got there */
    uint64_t round;      /* the highest that the leader asked for */
    uint32_t reads;      /* forwarded, not answered */
    uint64_t read[RAFT_READ_ROUNDS_MAX];
};

/* Who said yes, by node: as pre-candidate (thesis §9.6) and as candidate (§5.2). */
struct raft_votes {
    uint32_t count;
    raft_node_id of[RAFT_PEERS_MAX];
};

struct raft_pre_candidate {
    struct raft_votes granted;
};

struct raft_candidate {
    bool asked;    /* its own vote is durable: the others were asked */
    bool transfer; /* the leader itself wanted this election */
    struct raft_votes granted;
};

enum raft_progress_kind {
    RAFT_PROBE,     /* where the logs part is not known: one append at a time */
    RAFT_REPLICATE, /* appends are sent ahead of their acknowledgements */
    RAFT_SNAPSHOT,  /* it needs entries that are gone, and is being sent a snapshot */
};

/* What the leader knows of a node. */
struct raft_progress {
    raft_node_id id;
    enum raft_progress_kind kind;
    bool recovering;        /* it said so when it last answered */
    raft_index counted;     /* durable there: what decides */
    raft_index match;       /* the same, also where a recovering node says so: what to send next */
    raft_index next;        /* to send */
    raft_index commit_told; /* the commit index in the last append */
    bool probed;            /* PROBE: one is under way */
    uint64_t heard_ms;      /* it last answered */
    uint64_t moved_ms;      /* match last grew, or nothing was under way */
    uint64_t round;         /* the highest that it confirmed */
    uint64_t match_round;   /* the leader's when match last grew: what a proof must be newer than */
    uint64_t believed_from; /* what it says in an earlier round may be of before it forgot */
    bool forgot;            /* see raft.h, ROLLED BACK; until it has its floor again */
    raft_index floor;       /* meaningful while it forgot */
    bool said_diverged;     /* once is enough */
};

/* Proposals that are not committed: entries up to `last` (after the batch before), of `bytes`. */
struct raft_batch {
    raft_index last;
    uint64_t bytes;
};

/* Reads that wait for a round: of this node, or of one that forwarded them. */
struct raft_round_waiter {
    uint64_t token;
    raft_node_id from;
    uint64_t round; /* to be confirmed; 0: not sent yet */
    raft_index index;
};

struct raft_leader {
    raft_index first; /* the entry that opened its term */
    uint32_t peers;   /* everybody in the configuration, itself too */
    struct raft_progress peer[RAFT_PEERS_MAX];
    uint64_t heartbeat_ms; /* the next is due */
    uint64_t quorum_ms;    /* the next look whether a quorum still hears it */
    uint64_t round;        /* the last that was sent */
    uint32_t waiters;
    struct raft_round_waiter waiter[RAFT_READ_ROUNDS_MAX];
    bool transferring;
    raft_node_id transfer_to;
    uint64_t transfer_until_ms;
    bool transfer_sent;
    uint64_t uncommitted_bytes; /* the sum of the batches; when they are full the newest grows */
    uint32_t batches;
    struct raft_batch batch[RAFT_BATCHES_MAX];
};

struct raft_configured {
    raft_index index;
    bool implied; /* no entry says it: see raft.h, FOUNDING */
    struct raft_configuration configuration;
};

struct raft {
    struct raft_options options;

    raft_term term; /* Figure 2, persistent state */
    bool voted;
    raft_node_id vote;
    bool recovering;   /* and not in Figure 2: see raft.h, */
    bool rolled_back;  /*   there too */
    bool vote_dropped; /* it was told that it forgot before its vote was durable: it is not said */
    struct raft_floor floor;
    bool damaged;
    bool diverged;
    struct raft_log log;
    /* The configurations in the log, and before them the one in effect at its start. */
    uint32_t configurations;
    struct raft_configured configured[RAFT_CONFIGURATIONS_MAX];

    uint64_t epoch;         /* of marks: ends with each truncation */
    raft_term durable_term; /* the hard state that storage has */
    bool durable_vote;
    raft_index durable; /* the log that storage has */

    raft_index commit; /* Figure 2, volatile state; handed out to apply up to here */

    enum raft_role role;
    union {
        struct raft_follower follower;
        struct raft_pre_candidate pre_candidate;
        struct raft_candidate candidate;
        struct raft_leader leader;
    };

    uint64_t now_ms;
    uint64_t deadline_ms; /* of an election; a leader has its own, see raft_leader */
    uint64_t random;
};

/* The arm of the role, which must be the one. */
struct raft_follower *raft_as_follower(struct raft *raft);
struct raft_pre_candidate *raft_as_pre_candidate(struct raft *raft);
struct raft_candidate *raft_as_candidate(struct raft *raft);
struct raft_leader *raft_as_leader(struct raft *raft);

/* --- raft.c ----------------------------------------------------------------------------------- */

/* The only place where the term moves (§5.1): forward, without a vote. */
void raft_set_term(struct raft *raft, raft_term term, struct raft_output *out);
/* Something changed that storage must have: marks it. May be called more than once in a step. */
void raft_want_persist(struct raft *raft, struct raft_output *out);
/* Storage has the current term: what says it may leave. */
bool raft_term_is_durable(const struct raft *raft);
/* Recovering, damaged or diverged: what it says of its log decides nothing (raft.h). */
bool raft_decides_nothing(const struct raft *raft);
struct raft_message *raft_add_send(struct raft *raft, raft_node_id to, enum raft_message_kind kind,
                                   struct raft_output *out);
struct raft_result *raft_add_result(struct raft_output *out, enum raft_result_kind kind);

/* --- membership.c, thesis §4 ------------------------------------------------------------------ */

bool raft_is_voter(const struct raft_configuration *configuration, raft_node_id id);
/* All different nodes of a configuration; returns how many. */
uint32_t raft_configuration_nodes(const struct raft_configuration *configuration,
                                  raft_node_id ret_nodes[RAFT_PEERS_MAX]);
/* Room for one more in the log. */
bool raft_configuration_room(const struct raft *raft);
/* The entry `index` is this configuration, effective from now on. */
void raft_configuration_appended(struct raft *raft, raft_index index,
                                 const struct raft_configuration *configuration);
/* The leader's first entry says the one in effect, which none says yet. */
void raft_found_cluster(struct raft *raft, struct raft_output *out);
bool raft_is_founded(const struct raft *raft);
void raft_on_configuration_repaired(struct raft *raft,
                                    const struct raft_configuration_repaired *repaired);
void raft_configurations_truncated(struct raft *raft, raft_index first_gone);
void raft_configurations_compacted(struct raft *raft, raft_index index);
void raft_on_change_proposed(struct raft *raft, const struct raft_change_proposed *change,
                             struct raft_output *out);
/* After commit moved: leaves a joint configuration, and steps down when it is no voter any more. */
void raft_leader_configuration_committed(struct raft *raft, struct raft_output *out);

/* --- election.c, §5.2, §5.4.1, thesis §3.10, §9.6 --------------------------------------------- */

/* Whoever waits for a read is refused; `out` is NULL at start, when nobody can. */
void raft_become_follower(struct raft *raft, bool leader_known, raft_node_id leader,
                          struct raft_output *out);
void raft_election_deadline_passed(struct raft *raft, struct raft_output *out);
void raft_reset_election_timer(struct raft *raft);
uint64_t raft_random_below(struct raft *raft, uint64_t below);
/* A leader is alive for all that this node knows: nobody gets its vote now (§6, stickiness). */
bool raft_hears_leader(const struct raft *raft);
void raft_candidate_persisted(struct raft *raft, struct raft_output *out);
void raft_on_request_pre_vote(struct raft *raft, const struct raft_message *m,
                              struct raft_output *out);
void raft_on_request_pre_vote_response(struct raft *raft, const struct raft_message *m,
                                       struct raft_output *out);
void raft_on_request_vote(struct raft *raft, const struct raft_message *m, struct raft_output *out);
void raft_on_request_vote_response(struct raft *raft, const struct raft_message *m,
                                   struct raft_output *out);
void raft_on_timeout_now(struct raft *raft, struct raft_output *out);
void raft_on_floor_known(struct raft *raft, const struct raft_floor_known *known,
                         struct raft_output *out);
/* When the durable log reaches the floor. */
void raft_recovered(struct raft *raft, struct raft_output *out);
void raft_on_damage(struct raft *raft, struct raft_output *out);
void raft_on_forgot(struct raft *raft, const struct raft_message *m, struct raft_output *out);
void raft_on_self_rolled_back(struct raft *raft, const struct raft_self_rolled_back *seen,
                              struct raft_output *out);

/* --- leader.c: §5.3, §5.4.2, from the leader's side ------------------------------------------- */

void raft_become_leader(struct raft *raft, struct raft_output *out);
void raft_on_proposed(struct raft *raft, const struct raft_proposed *proposed,
                      struct raft_output *out);
void raft_leader_persisted(struct raft *raft, struct raft_output *out);
void raft_leader_ticked(struct raft *raft, struct raft_output *out);
uint64_t raft_leader_deadline_ms(const struct raft *raft);
bool raft_leader_is_settled(const struct raft *raft);
void raft_leader_append(struct raft *raft, enum raft_entry_kind kind, uint32_t count,
                        const uint32_t *bytes, struct raft_output *out);
void raft_advance_commit(struct raft *raft, struct raft_output *out);
/* Takes peers in and out after the configuration changed. */
void raft_leader_reconfigured(struct raft *raft);
void raft_on_append_entries_response(struct raft *raft, const struct raft_message *m,
                                     struct raft_output *out);
void raft_on_snapshot_sent(struct raft *raft, const struct raft_snapshot_sent *sent,
                           struct raft_output *out);
void raft_leader_lost_peer(struct raft *raft, raft_node_id peer);
void raft_leader_rolled_back_peer(struct raft *raft, raft_node_id peer, struct raft_output *out);
void raft_on_transfer_asked(struct raft *raft, const struct raft_transfer_asked *asked,
                            struct raft_output *out);

/* --- progress.c: what to send to one peer ----------------------------------------------------- */

struct raft_progress *raft_find_progress(struct raft_leader *leader, raft_node_id id);
/* Sends what the peer's progress allows; `always`: at least an empty append. */
void raft_send_appends(struct raft *raft, struct raft_progress *peer, bool always,
                       struct raft_output *out);
void progress_accepted(struct raft *raft, struct raft_progress *peer, raft_index match);
void progress_rejected(struct raft *raft, struct raft_progress *peer,
                       const struct raft_append_entries_response *give, struct raft_output *out);
/* It acknowledged entries up to `floor` and lacks some of them: see raft.h, ROLLED BACK NODES. */
void progress_forgot(struct raft *raft, struct raft_progress *peer, raft_index floor,
                     raft_index has, struct raft_output *out);
void progress_tell_that_it_forgot(struct raft *raft, const struct raft_progress *peer,
                                  struct raft_output *out);
void progress_probe(struct raft_progress *peer);

/* --- follower.c: §5.3 from the follower's side ------------------------------------------------ */

void raft_on_append_entries(struct raft *raft, const struct raft_received *received,
                            struct raft_output *out);
void raft_follower_persisted(struct raft *raft, struct raft_output *out);
void raft_on_snapshot_installed(struct raft *raft, const struct raft_snapshot_installed *installed,
                                struct raft_output *out);

/* --- read.c, thesis §6.4 ---------------------------------------------------------------------- */

void raft_on_read_asked(struct raft *raft, uint64_t token, struct raft_output *out);
void raft_on_read_index(struct raft *raft, const struct raft_message *m, struct raft_output *out);
void raft_on_read_index_response(struct raft *raft, const struct raft_message *m,
                                 struct raft_output *out);
/* Answers the rounds that a majority has confirmed, begins the next if somebody waits for it. */
void raft_release_reads(struct raft *raft, struct raft_output *out);
/* The role ends: nobody will answer these. */
void raft_refuse_reads(struct raft *raft, struct raft_output *out);

#endif
