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
 *   2. sends: now, without waiting for 1. A message that promises something of this node's storage
 *      (a vote, an acknowledgement, a new term) is not in an output before storage has it: the step
 *      that PERSISTED was says it. Losing, doubling and reordering messages is allowed.
 *   3. apply: hand these entries to the state machine, in order, once. What is here is committed,
 *      and so durable on a majority.
 *   4. results: tell the asker. ACCEPTED is a place in the log, not yet an acknowledgement.
 *   5. deadline: step TICKED no later than then (milliseconds of the same clock as now_ms).
 * A failed write ends the process: there is no event for it.
 *
 * RECOVERING NODES. Storage that was wiped, or lost the end of its log, forgot acknowledgements and
 * perhaps votes, and a node that contradicts one it forgot can lose what was acknowledged. So its
 * hard state says `recovering` until its log is whole again. While it is recovering it never
 * campaigns, and what it says of its log and of its leader's rounds decides nothing: to everybody
 * it is a node that is down, but for being sent the log, which it stores and acknowledges,
 * snapshots too.
 *
 * How far its log must reach is its `floor`: the end of a log that surely has all it acknowledged.
 *   - Where votes are remembered and the log's last entry is known by its header, that is it.
 *   - Else the driver asks every other member where its log ends, and when all have answered asks
 *     them all again (raft/replica/rejoin.c). The floor is the furthest of all these answers; the
 *     driver steps FLOOR_KNOWN. It covers whatever the node acknowledged, and forgot, to a leader:
 *       (1) That leader still led when it was first asked. Then its own log had the entry, and its
 *           answer says so.
 *       (2) It did not. Then no acknowledgement to it counts any more; if the entry was committed
 *           before, a majority has it, and a member of that says so when it is asked again.
 * With a floor a recovering node votes for logs that reach it, as for its own; without one it votes
 * for nobody. (So nodes that all lost the ends of their logs in a power cut elect the one with the
 * furthest, while one that is away, and may have more, is waited for.) When the durable log reaches
 * the floor the node has recovered: by §5.4.1's order it then has all that was committed.
 *
 * DAMAGED NODES. A log whose entries are all known, some of them without their payload (rotten),
 * is restored whole. The node votes by it, does not lead, and decides nothing else, until the
 * driver has had the payloads from others and steps REPAIRED. DAMAGED tells of it while running. An
 * entry that is a configuration and is damaged is restored as any valid one: only a leader decides
 * by it. CONFIGURATION_REPAIRED says what it is.
 *
 * ROLLED BACK NODES. A disk that was put back to an earlier copy forgot acknowledgements and votes
 * without knowing it. A leader can prove it: a refusal of an entry at or below `match`, in a round
 * that began after `match` was acknowledged. Rounds make the proof (thesis §6.4): the refusal was
 * sent after an append of that round had come, the append after the leader had the acknowledgement.
 * So no late, doubled or reordered refusal is one; where a refusal might be, the leader begins
 * another round and looks at its answer. With a proof it
 *   1. says ROLLED_BACK, and counts nothing that the node said before a round that begins now;
 *   2. sends FORGOT, again with each answer that is not recovering: the node recovers from then
 *      on, with its old match as floor, and votes no more in the current term;
 *   3. sends it the log, and counts it again when it has all of it up to the floor.
 * Until then its answers keep the leader, which is no promise about a log: so a leader and a rolled
 * back node alone are not held up by an election.
 *
 * And the driver can know it: nodes remember of one another which start of which disk they saw, in
 * which term, and what it acknowledged to them (raft/replica/lives.c). SELF_ROLLED_BACK makes
 * the node recovering before it votes. Its floor is what it acknowledged to whoever remembers that.
 * Else it gets one as every recovering node does, or from a leader, to whom the driver says
 * PEER_ROLLED_BACK: what was committed with the help of what the node forgot is in the log with
 * which the leader was elected (Leader Completeness, §5.4.3), or was acknowledged to it: the end of
 * both is a floor.
 *
 * FOUNDING. The first configuration of a new cluster is `implied`: given to each of its nodes, in
 * no log. The leader that finds it in effect opens its term with an entry that says it (kind
 * CONFIGURATION, from the core) instead of a NOOP, so that from the first entry on the log alone
 * decides who votes. That entry does what a NOOP does for §5.4.2 and §8.
 *
 * DIVERGED NODES. What is committed is the same everywhere (State Machine Safety), so a leader that
 * has another term at or below this node's commit index proves that promises were broken: by disks
 * that were put back, votes and all. The node says DIVERGED, takes nothing, decides nothing, and
 * stays so until its process ends. A leader says it of a follower that has committed more than the
 * leader's log holds, and does not count it.
 *
 * The core cannot fail. What it will not do it refuses, and a refusal is data.
 */
#ifndef ROLLCALL_CORE_RAFT_H
#define ROLLCALL_CORE_RAFT_H

#include "raft/core/message.h"
#include "raft/core/types.h"

struct raft;

/* --- start ------------------------------------------------------------------------------------ */

struct raft_options {
    raft_node_id self;
    uint32_t election_ms;  /* a follower waits between this and twice this (§5.2) */
    uint32_t heartbeat_ms; /* a leader is heard at least so often; at most a fifth of election_ms */
    uint64_t seed;
};

/* What stable storage held: all zeros for a node that never ran, but for the configuration. */
struct raft_saved {
    struct raft_hard_state hard;
    bool damaged;              /* see DAMAGED NODES */
    raft_index snapshot_index; /* the last entry that the state machine's snapshot covers */
    raft_index log_start;      /* the entry before the log's first; its term */
    raft_term log_start_term;
    struct raft_configuration configuration; /* as of log_start: the snapshot's, or the first */
    bool implied;                            /* it is in no log: see FOUNDING */
};

/* Bytes of a struct raft: the caller provides them, aligned as malloc would, and keeps them. */
size_t raft_size(void);

/*
 * Makes a node out of what storage held. Then raft_restore_entry for each entry of the stored log,
 * from log_start + 1 on, terms not decreasing; then the first step, TICKED.
 * A stored log that does not hold the snapshot's last entry is to be dropped: log_start is then
 * snapshot_index (a crash came between a snapshot and the log that belongs to it).
 * -EINVAL: ids or times out of range, an invalid configuration, log_start above snapshot_index.
 */
NODISCARD int raft_init(void *memory, const struct raft_options *options,
                        const struct raft_saved *saved, struct raft **ret_raft);

/*
 * `configuration` is NULL unless the entry is one. -EINVAL when the term goes back or is above the
 * saved one; -ENOBUFS over RAFT_TERM_RUNS_MAX or RAFT_CONFIGURATIONS_MAX.
 */
NODISCARD int raft_restore_entry(struct raft *raft, raft_term term, uint32_t bytes,
                                 const struct raft_configuration *configuration);

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
    RAFT_TICKED,             /* time passed */
    RAFT_RECEIVED,           /* a message came from another node */
    RAFT_PROPOSED,           /* commands want into the log */
    RAFT_CHANGE_PROPOSED,    /* another configuration is wanted (thesis §4.3) */
    RAFT_READ_ASKED,         /* reads want an index at which they are linearizable (thesis §6.4) */
    RAFT_TRANSFER_ASKED,     /* somebody else shall lead (thesis §3.10) */
    RAFT_PERSISTED,          /* everything up to this mark is durable */
    RAFT_COMPACTED,          /* a durable snapshot covers the log up to `index`, which is gone */
    RAFT_SNAPSHOT_INSTALLED, /* the state machine is that of a leader's snapshot, durably */
    RAFT_SNAPSHOT_SENT,      /* sending a snapshot to a peer has ended, well or not */
    RAFT_PEER_LOST,          /* the connection to a node ended: it may have died */
    RAFT_FLOOR_KNOWN,        /* how far the log of a recovering node must reach */
    RAFT_SELF_ROLLED_BACK,   /* others saw this node later than its storage knows it */
    RAFT_PEER_ROLLED_BACK,   /* the same of another node, which knows it */
    RAFT_DAMAGED,            /* an entry of the log turned out to be rotten */
    RAFT_REPAIRED,           /* there is none any more */
    RAFT_CONFIGURATION_REPAIRED, /* a rotten entry was this configuration */
};

struct raft_received {
    const struct raft_message *message;
    /* Of an append: the size of each entry, and the configuration if its one entry is one. */
    const uint32_t *bytes;
    const struct raft_configuration *configuration;
    bool cut;     /* it had more entries, for which the driver has no room now */
    bool no_vote; /* perhaps this node was rolled back: it votes for nobody, itself neither */
};

struct raft_proposed {
    uint32_t count;        /* 1 … RAFT_APPEND_ENTRIES_MAX */
    const uint32_t *bytes; /* of each */
};

struct raft_change_proposed {
    const struct raft_configuration *configuration;
    uint32_t bytes;
};

struct raft_read_asked {
    uint64_t token; /* the driver's name for the round, comes back in the result */
};

struct raft_transfer_asked {
    bool to_known; /* else: to whoever is furthest */
    raft_node_id to;
};

struct raft_persisted {
    struct raft_mark mark;
};

struct raft_compacted {
    raft_index index; /* at most the applied index */
};

/*
 * Nothing happens when `index` is at or below the commit index. When the log holds this very entry,
 * what follows it stays; else persist.reset says that all of the log goes.
 */
struct raft_snapshot_installed {
    raft_index index;
    raft_term term;
    const struct raft_configuration *configuration;
};

struct raft_snapshot_sent {
    raft_node_id to;
    bool installed;
    raft_index index;
};

struct raft_peer_lost {
    raft_node_id peer;
};

/*
 * The term becomes the given one if that is higher; in it the node has voted for itself unless it
 * knows better, so for nobody else. In term 0 there was nothing to vote in. Nothing happens when
 * the node is not recovering.
 */
struct raft_floor_known {
    raft_term term; /* the highest that was heard of */
    raft_index last;
    raft_term last_term;
};

/* The node was seen in this term, and acknowledged the log up to `floor`, if that is known. */
struct raft_self_rolled_back {
    raft_term term;
    struct raft_floor floor;
};

/* Only a leader does anything: see ROLLED BACK NODES. */
struct raft_peer_rolled_back {
    raft_node_id peer;
};

/* Before REPAIRED. Nothing happens when the log holds no configuration there. */
struct raft_configuration_repaired {
    raft_index index;
    const struct raft_configuration *configuration;
};

struct raft_event {
    enum raft_event_kind kind;
    uint64_t now_ms; /* any monotonic clock; not before the last event's */
    union {
        struct raft_received received;
        struct raft_proposed proposed;
        struct raft_change_proposed change_proposed;
        struct raft_read_asked read_asked;
        struct raft_transfer_asked transfer_asked;
        struct raft_persisted persisted;
        struct raft_compacted compacted;
        struct raft_snapshot_installed snapshot_installed;
        struct raft_snapshot_sent snapshot_sent;
        struct raft_peer_lost peer_lost;
        struct raft_floor_known floor_known;
        struct raft_self_rolled_back self_rolled_back;
        struct raft_peer_rolled_back peer_rolled_back;
        struct raft_configuration_repaired configuration_repaired;
    };
};

/* --- output: what to do ----------------------------------------------------------------------- */

/* Where the payloads of new entries are. */
enum raft_entries_from {
    RAFT_FROM_PROPOSAL, /* the commands of the event, in order; or the configuration */
    RAFT_FROM_MESSAGE,  /* the last entries of the received append */
    RAFT_FROM_CORE,     /* nowhere: an entry of the core's own, see `kind` */
};

struct raft_persist {
    bool wanted;     /* there is something to write, in this order: */
    bool hard_state; /* changed: durable before, or with, what follows */
    struct raft_hard_state hard;
    bool reset; /* all entries go; the next comes after this one */
    raft_index reset_index;
    raft_term reset_term;
    bool truncate; /* entries from here on go; the one before has this term */
    raft_index first_gone;
    raft_term term_before;
    raft_index first; /* new entries, from here on, of these terms */
    struct raft_runs entries;
    enum raft_entries_from from;
    enum raft_entry_kind kind;               /* FROM_CORE */
    struct raft_configuration configuration; /* FROM_CORE and CONFIGURATION */
    struct raft_mark mark;
};

enum raft_refusal {
    RAFT_NOT_LEADER = 1,  /* raft_status says who is, if known */
    RAFT_BUSY = 2,        /* over a limit, or leadership is being handed over: try again later */
    RAFT_NOT_ALLOWED = 3, /* a change: one is under way, or it is no legal step from here */
};

enum raft_result_kind {
    RAFT_ACCEPTED,         /* the proposed entries are first … first + count - 1 */
    RAFT_PROPOSAL_REFUSED, /* none of them is in the log */
    RAFT_READ_READY,       /* reads of this round are linearizable once `index` is applied */
    RAFT_READ_REFUSED,
    RAFT_SEND_SNAPSHOT, /* this peer needs entries that are gone: send it one, then SNAPSHOT_SENT */
    RAFT_ROLLED_BACK,   /* this node, or another, forgot what it acknowledged: see there */
    RAFT_DIVERGED,      /* this node, or another, has committed another history: see there */
};

struct raft_result {
    enum raft_result_kind kind;
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
        struct {
            raft_node_id to;
        } send_snapshot;
        struct {
            raft_node_id node;
            raft_index floor; /* what it acknowledged, and has to get again; 0: not known yet */
            raft_index has;   /* its log may agree up to here */
        } rolled_back;
        struct {
            raft_node_id node, other; /* who has committed it, and who has something else */
            raft_index index;
            raft_term term, other_term; /* 0: it has no such entry */
        } diverged;
    };
};

#define RAFT_SENDS_MAX   (RAFT_PEERS_MAX * (RAFT_APPENDS_PER_STEP + 1u) + RAFT_READ_ROUNDS_MAX)
#define RAFT_RESULTS_MAX (2 * RAFT_READ_ROUNDS_MAX + RAFT_PEERS_MAX + 3u)

struct raft_output {
    struct raft_persist persist;
    struct {
        uint32_t count;
        struct raft_message at[RAFT_SENDS_MAX];
    } sends;
    struct {
        raft_index first; /* nothing when first is above last */
        raft_index last;
    } apply;
    struct {
        uint32_t count;
        struct raft_result at[RAFT_RESULTS_MAX];
    } results;
    uint64_t deadline_ms;
    /* The received message cannot come from a node that follows the rules: nothing was done. */
    bool impossible;
};

/* Total: whatever messages say, and in whatever state they come. `ret_output` is written whole, but
 * for what its counts leave out. */
void raft_step(struct raft *raft, const struct raft_event *event, struct raft_output *ret_output);

/* --- looking in ------------------------------------------------------------------------------- */

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_status {
    enum raft_role role;
    raft_term term, durable_term;
    bool leader_known;
    raft_node_id leader;
    raft_index commit, last, durable;
    bool recovering;  /* its storage forgot something: see RECOVERING NODES */
    bool rolled_back; /* for that reason: see ROLLED BACK NODES */
    struct raft_floor floor;
    bool damaged;         /* see DAMAGED NODES */
    bool diverged;        /* see DIVERGED NODES */
    bool settled;         /* leader, and an entry of its term is committed */
    bool log_nearly_full; /* over half of RAFT_TERM_RUNS_MAX or of RAFT_CONFIGURATIONS_MAX: a
                     snapshot should shorten the log soon, without room entries are turned away */
    bool log_full;        /* no term to spare: no leader can open a term with this log */
};
struct raft_status raft_status(const struct raft *raft);

/* What a leader knows of a peer. False when this node does not lead, or does not know it. */
struct raft_peer_status {
    raft_index match;
    raft_term match_term; /* 0 when the log does not hold it any more */
    bool reachable;       /* heard of within an election timeout */
};
bool raft_peer_status(const struct raft *raft, raft_node_id peer, struct raft_peer_status *ret);

/* The configuration in effect: the last in the log, committed or not. */
const struct raft_configuration *raft_configuration(const struct raft *raft);
/* The configuration as of a committed entry: what a snapshot at `index` carries. */
const struct raft_configuration *raft_configuration_at(const struct raft *raft, raft_index index);

/* The term of an entry that the log holds (or of the one before its first). */
raft_term raft_entry_term(const struct raft *raft, raft_index index);

/* Asserts every invariant (state.h says them). Tests call it after each step. */
void raft_check(const struct raft *raft);

#endif
