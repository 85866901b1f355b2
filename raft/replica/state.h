/* struct replica, for replica*.c only. */
#ifndef ROLLCALL_REPLICA_STATE_H
#define ROLLCALL_REPLICA_STATE_H

#include "raft/base/siphash.h"
#include "raft/replica/entries.h"
#include "raft/replica/replica.h"
#include "raft/wire/members.h"
#include "raft/wire/peer.h"

/* A failed save is tried again after this, doubling up to the second. */
#define SAVE_RETRY_MS_MIN 200u
#define SAVE_RETRY_MS_MAX 10000u
/* How often what waits is looked through: for a leader, an answer, a piece of a snapshot. */
#define TICK_MS 100u
/*
 * The log's last room, for the entries that the core makes itself: on a full disk each start opens
 * a term, with a kibibyte, before anything is read. So much at least, and this part of a segment.
 */
#define ROOM_RESERVE_BYTES 2048u
#define ROOM_RESERVE_PART  128u
/* So often others are asked for damaged entries in vain before states are sent instead. */
#define REPAIR_TRIES_MAX 8u

/* --- replica/writes.c: writes that wait --------------------------------------------------------
 *
 *             no leader, or it refused
 *                ┌──────────────┐
 *                ▼              │
 *   write ──▶ UNSENT ──▶ SENT (proposed here, or at the leader) ──▶ an entry with its id is applied
 *                ▲              │
 *                └──────────────┘
 *             another leader or term
 */
struct pending {
    struct pending *hash_next;
    struct pending *prev, *next; /* in its list, oldest first */
    struct request_id id;
    struct replica_client client;
    raft_node_id from; /* who forwarded it; 0: the client is here */
    uint64_t born_ms;
    uint64_t born_ns; /* by the clock to measure by */
    bool sent;
    raft_node_id sent_to;
    uint64_t sent_ms;
    uint32_t in_doubt;       /* sendings of which nobody said that they are in no log */
    enum call_reason reason; /* of the last refusal */
    uint32_t len;
    uint8_t request[]; /* a users_request */
};

struct pending_list {
    struct pending *first, *last;
};

struct writes {
    struct pending **bucket;
    struct siphash_key key;
    uint32_t count;     /* of clients here: those in the hash */
    uint32_t forwarded; /* of others */
    uint64_t bytes, forwarded_bytes;
    struct pending_list unsent, sent;
    uint64_t forward_after_ms; /* the leader refused: not before */
};

/* --- replica/reads.c: reads that wait --------------------------------------------------------- */

struct waiting_read {
    struct replica_client client;
    uint64_t born_ms;
    uint64_t min_index;
};

enum round_phase {
    ROUND_NONE,
    ROUND_WANTED, /* to be asked for, again perhaps */
    ROUND_ASKED,
    ROUND_READY, /* once its index is applied */
};

struct reads {
    struct waiting_read *gathered; /* for the next round */
    uint32_t gathered_count;
    struct waiting_read *asking; /* in the round */
    uint32_t asking_count;
    struct waiting_read *behind; /* could be answered, but for their min_index */
    uint32_t behind_count;
    enum round_phase phase;
    uint64_t token; /* counts rounds, from a number drawn at the start: answers to the rounds of an
                       earlier life are older than the reads of this one */
    uint64_t asked_ms, retry_ms;
    raft_index index;
};

/* --- replica/snapshot_send.c, replica/snapshot_receive.c: snapshots from node to node
 * ------------------------- */

/* A snapshot that this node holds for another. */
struct snapshot_send {
    bool active;
    bool for_core; /* it asked, and wants to hear the end */
    raft_node_id to;
    struct users_view *view;
    raft_index index;
    raft_term term;
    struct members members;
    uint64_t heard_ms, sent_ms;
    uint64_t answered; /* the turn in which a piece was last sent */
};

enum snapshot_receive_phase { RECEIVE_NONE, RECEIVE_FETCHING, RECEIVE_TO_SAVE, RECEIVE_SAVING };

/* A snapshot that this node fetches. */
struct snapshot_receive {
    enum snapshot_receive_phase phase;
    raft_node_id from;
    raft_node_id also; /* offered another one meanwhile; 0: nobody */
    raft_index index;
    raft_term term;
    struct users_meta meta;
    struct members members;
    struct users *users;
    uint64_t after, answers_from; /* to ask for next */
    uint64_t asked_ms, heard_ms;
    uint64_t began_ms; /* the last one that was begun */
    uint64_t save_after_ms, save_retry_ms;
    uint64_t please_ms;            /* when a node without its state last asked for one */
    uint32_t please_who;           /* and whom */
    bool begged[RAFT_MEMBERS_MAX]; /* lacks a state, too, by place among the members */
    bool gone;                     /* nobody has the state that the logs build on */
};

/* --- replica/digests.c ------------------------------------------------------------------------ */

/* So many digests of the last states are kept, one an entry. */
#define DIGESTS_KEPT 8192u

struct digests {
    uint64_t first, last; /* entries after which the digest is known; 0: none */
    uint64_t at[DIGESTS_KEPT];
    struct digest_heard {
        uint64_t index; /* 0: compared, or none */
        uint64_t digest;
        bool differs;
    } heard[RAFT_MEMBERS_MAX]; /* of whom, by place among the members */
    uint64_t said_ms;
};

/* --- replica/members.c -------------------------------------------------------------------------
 */

struct membership {
    uint32_t count; /* ascending; the first is in effect at the log's start, or later */
    struct {
        raft_index index;
        struct members members;
    } at[RAFT_CONFIGURATIONS_MAX + 1];
};

/* --- replica/rejoin.c --------------------------------------------------------------------------
 */

struct rejoin {
    uint64_t questions;              /* asked in this life: each has a number of its own */
    uint32_t round;                  /* of asking */
    bool heard[RAFT_MEMBERS_MAX];    /* in this round, by place among the members */
    uint64_t disk[RAFT_MEMBERS_MAX]; /* of each, as last heard; 0: not heard */
    uint32_t heard_count;
    raft_term highest;
    raft_index last; /* the furthest end of a log */
    raft_term last_term;
    uint64_t asked_ms, done_ms;
    bool done;
};

/* --- replica/lives.c -------------------------------------------------------------------------- */

/* Disks that a member had before, the newest ones. */
#define LIFE_DISKS 4u

/* The latest that was seen of a member on its disk; disk 0: nothing. */
struct life_seen {
    uint64_t disk, start, number;
    raft_term term;         /* durable there */
    struct raft_floor last; /* what it acknowledged to this node */
    bool knows_us;          /* the member has seen this process, and nothing that is later */
    uint64_t before[LIFE_DISKS];
    raft_term term_before; /* the same of all disks before */
    struct raft_floor last_before;
};

struct lives {
    struct life_seen seen[RAFT_MEMBERS_MAX]; /* by place among the members */
    uint64_t began_ms;                       /* of the first turn; 0: it is to come */
    uint64_t told_ms;
    raft_term told_term;
    uint64_t start; /* since the node was last sure: that others saw it, or later ones, is news */
    uint64_t noted_ms, word_ms;
    bool may_vote;    /* from now on, for the life of the process */
    bool taking_word; /* others' word is being taken: what comes of it is said here */
};

/* --- replica/repair.c ------------------------------------------------------------------------- */

struct repair {
    uint64_t asked_ms, scrub_ms;
    uint32_t who;      /* was asked last, by place among the members */
    uint32_t tries;    /* since an entry came */
    uint32_t unsynced; /* entries put back since the last sync */
    uint64_t repaired;
    uint32_t place;      /* among the holes: to be asked for next */
    uint32_t holes_said; /* so many were there when scrubbing last looked */
    raft_node_id asker;  /* who is being answered, */
    size_t answer_bytes; /* with so much; and the turn in which somebody was last: */
    uint64_t answered;
};

struct replica {
    struct replica_options options;
    struct wal *wal;
    struct wal_recovered recovered;
    struct raft *raft;
    struct users *users;
    struct entries entries;
    uint64_t applied, committed;
    uint64_t log_start;     /* the entry before the log's first */
    uint64_t deadline_ms;   /* the core's */
    uint64_t stepped_ms;    /* the time of its last step */
    uint64_t time_ms;       /* that the state knows, of the clocks in the log, */
    uint64_t time_since_ms; /* and since when it knows no later one */
    uint64_t turns;         /* counts them, from 1 */
    uint64_t wal_tick_ms;
    uint64_t look_ms;
    uint64_t flush_began_ms, flush_away_until_ms, transfer_asked_ms;
    bool unflushed; /* something was gathered for the log since the last flush began: */
    uint64_t unflushed_since_ms;
    raft_index unflushed_first; /* the first entry among it */
    uint64_t flush_needed_until_ms;
    bool flush_wanted;    /* and it must not wait */
    bool members_ignored; /* the options named others than the directory knows */
    bool ready;
    bool stopping;
    bool recovering; /* when it last looked */

    /* Whom this replica took for the leader when it last looked. */
    bool leader_known;
    raft_node_id leader;
    raft_term leader_term;

    struct writes writes;
    struct reads reads;
    struct snapshot_send offer[RAFT_MEMBERS_MAX];
    struct snapshot_receive receive;
    struct membership membership;
    struct digests digests;
    struct rejoin rejoin;
    struct lives lives;
    struct repair repair;

    uint32_t proposal_accepted; /* of the proposal under way */
    bool durable;               /* the WAL reached this mark */
    struct raft_mark mark;

    bool saving;
    bool save_wanted;
    uint64_t save_retry_ms, save_after_ms;
    uint64_t saved_index, saved_before; /* durable snapshots: the last, and the one before */

    struct replica_measures measures;
    raft_term measured_leader_term, measured_election_term;
    uint64_t applying_ns; /* when the batch that is being applied began */

    struct raft_output output;
    uint32_t sizes[RAFT_APPEND_ENTRIES_MAX];
    struct peer_message inbound;
    struct members inbound_members; /* of its entry, when that is a configuration */
    struct peer_entry outbound[RAFT_APPEND_ENTRIES_MAX];
    uint8_t frame[PEER_CHUNK_FRAME_BYTES > PEER_MESSAGE_BYTES_MAX ? PEER_CHUNK_FRAME_BYTES
                                                                  : PEER_MESSAGE_BYTES_MAX];
    uint8_t read_back[RAFT_APPEND_BYTES_MAX];
};

/* --- replica.c -------------------------------------------------------------------------------- */

/* Steps the core now, and carries its output out. The event's time is set here. Not from within a
 * hook. */
void replica_step(struct replica *replica, const struct raft_event *event);
uint64_t replica_now_ms(const struct replica *replica);
uint64_t replica_measure_ns(const struct replica *replica);
bool replica_alone(const struct replica *replica);
/* Among the members; options.members when it is none. */
uint32_t replica_place_of(const struct replica *replica, raft_node_id id);
/* Bytes of records that entries from outside may take. */
size_t replica_room(const struct replica *replica);
/* The state does not reach the log: it is to come from another node. */
bool replica_lacks_state(const struct replica *replica);
/* Makes room in memory for so many entries of together so many bytes, by forgetting old ones. */
bool replica_make_room(struct replica *replica, uint32_t count, size_t bytes);

/* --- replica/peers.c -------------------------------------------------------------------------- */

/* An entry that may be taken from another node: one that cannot be read would end the process when
 * it is applied, at this start and at each to come. */
bool replica_can_read(const struct replica *replica, enum raft_entry_kind kind,
                      struct bytes payload);
/* An append may become shorter. */
void replica_send(struct replica *replica, struct raft_message *message);
void replica_send_note(struct replica *replica, raft_node_id to, const struct peer_note *note);

/* --- replica/start.c -------------------------------------------------------------------------- */

/* The WAL's hook, and whatever else ends the process. */
void replica_failed(void *context, const char *what, int error);

/* --- replica/writes.c ------------------------------------------------------------------------- */

NODISCARD int writes_init(struct writes *writes, uint64_t random);
void writes_done(struct writes *writes);
/* Proposes or forwards what can be. */
void writes_send(struct replica *replica);
/* Somebody else leads, or nobody, or in another term: what was sent may be lost. */
void writes_unsend(struct replica *replica, bool only_to, raft_node_id to);
void writes_applied(struct replica *replica, const struct users_request *request, uint64_t index,
                    const struct users_answer *answer);
/* The state is another: it may hold what waits. */
void writes_installed(struct replica *replica);
/* What has waited too long ends; what was sent long ago is sent again. */
void writes_tick(struct replica *replica, uint64_t now_ms);
/* Notes what the state knows of the time; each turn, so that it is known since when. */
void writes_observe_clock(struct replica *replica);
NODISCARD int writes_forwarded(struct replica *replica, raft_node_id from,
                               const struct peer_forward *forward);
void writes_forward_refused(struct replica *replica, raft_node_id from,
                            const struct peer_forward_refused *refused);

/* --- replica/reads.c -------------------------------------------------------------------------- */

NODISCARD int reads_init(struct reads *reads, uint64_t random);
void reads_done(struct reads *reads);
/* Asks the core for the next round, when one is wanted. */
void reads_ask(struct replica *replica, uint64_t now_ms);
void reads_ready(struct replica *replica, uint64_t token, raft_index index);
void reads_refused(struct replica *replica, uint64_t token);
/* Answers the round, when the state has got there. */
void reads_deliver(struct replica *replica);
/* Another leader: ask again at once. */
void reads_again(struct replica *replica);
void reads_tick(struct replica *replica, uint64_t now_ms);

/* --- replica/snapshot_send.c
 * ------------------------------------------------------------------------- */

/* False when one is under way, or none can be made now. */
bool snapshot_send_begin(struct replica *replica, raft_node_id to, bool for_core);
/* -EAGAIN: it had a piece in this turn. */
NODISCARD int snapshot_send_wanted(struct replica *replica, raft_node_id from,
                                   const struct peer_snapshot_chunk_request *want);
void snapshot_send_ended(struct replica *replica, raft_node_id from,
                         const struct peer_snapshot_end *end);
void snapshot_send_tick(struct replica *replica, uint64_t now_ms);
/* All are lost; the core hears of its own. */
void snapshot_send_end_all(struct replica *replica);
/* Nobody hears of anything: at the end. */
void snapshot_send_drop_all(struct replica *replica);

/* --- replica/snapshot_receive.c
 * ------------------------------------------------------------------------ */

NODISCARD int snapshot_receive_offered(struct replica *replica, raft_node_id from,
                                       const struct peer_snapshot_offer *offer);
NODISCARD int snapshot_receive_chunk(struct replica *replica, raft_node_id from,
                                     const struct peer_snapshot_chunk *chunk);
void snapshot_receive_saved(struct replica *replica, bool durable);
void snapshot_receive_tick(struct replica *replica, uint64_t now_ms);
/* This member asked for a state. */
void snapshot_receive_requested(struct replica *replica, raft_node_id from);
void snapshot_receive_give_up(struct replica *replica);

/* --- replica/rejoin.c --------------------------------------------------------------------------
 */

void rejoin_peer_up(struct replica *replica, raft_node_id peer);
/* -EBADMSG: it cannot be. */
NODISCARD int rejoin_received(struct replica *replica, raft_node_id from,
                              const struct peer_log_position *log_position);
void rejoin_tick(struct replica *replica, uint64_t now_ms);
/* What was heard of the ends of logs counts no more: the node forgot something else. */
void rejoin_again(struct replica *replica);

/* --- replica/lives.c -------------------------------------------------------------------------- */

/* The log is open. */
void lives_begin(struct replica *replica);
void lives_peer_up(struct replica *replica, raft_node_id peer);
/* -EBADMSG: it cannot be. */
NODISCARD int lives_heard(struct replica *replica, raft_node_id from, const struct peer_life *life);
/* A member that is sure acknowledged something to this leader. */
void lives_acknowledged(struct replica *replica, raft_node_id from);
/* All others have said what they saw of this node, or it has waited for long enough. */
bool lives_may_vote(struct replica *replica);
void lives_tick(struct replica *replica, uint64_t now_ms);

/* --- replica/flush.c -------------------------------------------------------------------------- */

/* Something was gathered for the log, from entry `first` on (0: no entry); `at_once`: it must not
 * wait for more. */
void flush_request(struct replica *replica, raft_index first, bool at_once);
/* Flushes what was gathered, unless that can wait or a flush is under way. */
void flush_gathered(struct replica *replica);

/* --- replica/identity.c ----------------------------------------------------------------------- */

/* After wal_open. -EBADMSG: the members are known and cannot be reached; the text says so. */
NODISCARD int identity_open(struct replica *replica, struct wal_recovered *recovered);
/* Before the log's first flush, the log read: whoever is alone needs nobody to know its cluster. */
void identity_start(struct replica *replica);
bool identity_known(const struct replica *replica);
/* Another member says which cluster this is. True when it was news. */
bool identity_heard(struct replica *replica, struct raft_cluster_id theirs);
/* All others have answered, and none knows the cluster: the lowest member founds it. */
void identity_found(struct replica *replica);

/* --- replica/members.c ------------------------------------------------------------------------ */

/* In effect at `index`, where the log begins, or anew. NULL, or of no cluster: as the options say.
 */
void membership_begin(struct replica *replica, raft_index index, const struct members *members);
/* The entry `index` says so. */
void membership_add(struct replica *replica, raft_index index, const struct members *members);
/* A damaged entry turned out to be a configuration, of this payload. */
void membership_repaired(struct replica *replica, raft_index index, struct bytes payload);
void membership_truncate(struct replica *replica, raft_index first_gone);
/* What the entry says with which the core founds a cluster, or goes on from one configuration. */
struct members membership_next(const struct replica *replica,
                               const struct raft_configuration *configuration);
/* Not of the cluster that this node knows. */
bool membership_is_foreign(const struct replica *replica, const struct members *members);

/* --- replica/digests.c ------------------------------------------------------------------------ */

/* The state is that after entry `applied`. */
void digests_applied(struct replica *replica);
void digests_heard(struct replica *replica, raft_node_id from, const struct peer_digest *digest);
void digests_tick(struct replica *replica, uint64_t now_ms);

/* --- replica/repair.c ------------------------------------------------------------------------- */

/* The next entry to apply is damaged. */
bool repair_blocks_apply(const struct replica *replica);
/* No other node seems to have what is damaged here, and nothing goes on without: a state may. */
bool repair_is_hopeless(const struct replica *replica);
/* The first damaged entry that is not applied; false when there is none. */
bool repair_first(const struct replica *replica, raft_index *ret_index);
/* -EAGAIN: somebody was answered in this turn. */
NODISCARD int repair_asked(struct replica *replica, raft_node_id from,
                           const struct peer_entries_request *please);
/* -EBADMSG: it cannot be read. */
NODISCARD int repair_entry(struct replica *replica, const struct peer_entry_here *entry);
void repair_tick(struct replica *replica, uint64_t now_ms);
/* The WAL's hook. */
void repair_scrubbed(void *context, const struct wal_scrubbed *scrubbed);

#endif
