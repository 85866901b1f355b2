/*
 * The driver: one replica of the directory. It gathers what a turn of the loop brought, steps the
 * core, and carries its output out: log to the WAL, messages to the other nodes, committed entries
 * to the users, answers to who asked. No libuv, no sockets, no clock: all that reaches it through
 * its options, so that a simulator runs the same code.
 *
 * A turn: replica_write, replica_read and replica_receive gather; replica_turn does the rest, with
 * at most one flush of the disk under way however many requests wait (group commit falls out of
 * that).
 *
 * A write may be asked of any replica. It waits here, under its request id, until an entry with
 * this id is applied here; meanwhile it is proposed, or sent to the leader, and again whenever the
 * leader changes: the state remembers the answers of recent ids, so it happens once. A read asks
 * the leader for an index and is answered here when that is applied (ReadIndex).
 *
 * Who asks is named by a struct replica_client: an opaque cookie, handed back in the hooks.
 */
#ifndef ROLLCALL_REPLICA_REPLICA_H
#define ROLLCALL_REPLICA_REPLICA_H

#include "raft/replica/network.h"
#include "raft/users/users.h"
#include "raft/wal/wal.h"
#include "raft/wire/call.h"
#include "raft/wire/members.h"

/* Writes that may wait for their entry, and reads for their index, at once; and the writes' bytes.
 * Writes that other nodes forward are counted by themselves, and may be as many. */
#define REPLICA_WAITING_MAX       (1u << 16)
#define REPLICA_WAITING_BYTES_MAX (16u << 20)
/* They wait so long for a leader, or for a majority. */
#define REPLICA_WAIT_MS 4000u

struct replica;

struct replica_client {
    uint64_t connection;
    uint64_t call;
};

/* The state as of its last entry: its term, and the members then. */
struct replica_state {
    struct users *users;
    raft_term term;
    struct members members; /* of no cluster: none was founded by then */
    bool restored;          /* from a backup, into a log that is new: it begins after the state */
};

/* All are called from within replica_turn or a replica_… call, on the loop. */
struct replica_hooks {
    uint64_t (*now_ms)(void *context);  /* monotonic */
    uint64_t (*wall_ms)(void *context); /* since 1970, for the entries */
    void (*written)(void *context, struct replica_client client, uint64_t index,
                    const struct users_answer *answer);
    /* Certainly not executed. */
    void (*refused)(void *context, struct replica_client client, enum call_reason reason);
    /* A write that may have been executed, or may be yet. */
    void (*unknown)(void *context, struct replica_client client);
    /* The state is as fresh as the read asked for: read it now, with replica_users. */
    void (*readable)(void *context, struct replica_client client);
    /* Save this version; then replica_saved. Unpins the view. */
    void (*save)(void *context, struct users_view *take_view, raft_term term,
                 const struct members *members);
    /* A leader is known, and what it had committed then is applied here. Once. */
    void (*ready)(void *context);
    /* Something that an operator wants to know. */
    void (*note)(void *context, const char *fact, const char *text);
    /* The process must end now: storage failed. */
    void (*failed)(void *context, const char *what, int error);
};

struct replica_options {
    uint64_t node;
    const char *cluster;
    /* With whom a cluster is founded, this node among them; 0: alone. A directory that knows its
     * cluster knows its members, too, and these are not looked at. */
    uint32_t members;
    raft_node_id member[RAFT_MEMBERS_MAX];
    const char *address[RAFT_MEMBERS_MAX]; /* of each, kept by the caller; NULL: not known */
    uint32_t election_ms, heartbeat_ms;    /* see raft_options */
    uint64_t snapshot_entries;             /* log entries between snapshots */
    uint64_t answers_max;                  /* USERS_ANSWERS_MAX */
    uint64_t random;                       /* for timeouts, and as generation of a new log */
    struct raft_cluster_id drawn;          /* of a cluster that is founded; zeros: from `random` */
    uint32_t segment_bytes;                /* WAL_SEGMENT_BYTES */
    uint32_t scrub_bytes_per_s;            /* of the log, read through in the background; 0: not */
    /* Flush on the calling thread as long as that is quick, not only for a lone write; a leader
     * with peers never does. */
    bool flush_here_while_quick;
    /*
     * For nodes that share a disk: a leader flushes its own copy so much later, as long as the
     * others make a majority. 0: at once, which is right where each has its own.
     */
    uint32_t own_flush_after_ms;
    uint32_t piece_bytes; /* of a snapshot for another node, at a time; 0: as many as may be */
    struct disk *disk;
    struct runner *runner;
    struct network *network; /* NULL when it is alone */
    const struct replica_hooks *hooks;
    void *context;
    /* To measure by, and to decide nothing; off the loop too. NULL: everything takes no time. */
    uint64_t (*measure_ns)(void);
};

/*
 * Opens the log. `ret_recovered` is filled in whatever the result, which is wal_open's. Then the
 * caller loads the snapshot, and replica_start, before anything else.
 */
NODISCARD int replica_open(const struct replica_options *options, struct replica **ret_replica,
                           struct wal_recovered *ret_recovered);
/* Which cluster and which members the directory knows: zeros for a new one among others. */
struct record_identity replica_identity(const struct replica *replica);
/* options.members are others than those that the directory knows, and were ignored. */
bool replica_members_ignored(const struct replica *replica);
/* Before replica_start, when the directory knows no cluster: the loaded snapshot is of this one. */
void replica_identify(struct replica *replica, struct raft_cluster_id cluster);

void replica_close(struct replica *replica); /* not while replica_busy; NULL is fine */

/*
 * Takes the state that the snapshot held (or a fresh one, of index 0), and starts to take part.
 * When it cannot, `ret_text` says why, for people, and the state is still the caller's.
 * -ESTALE: the log begins after what the state holds, or ends before it, or is of another history,
 * and there is no other node: with others, the state is fetched from one of them, or the log begins
 * again after it.
 */
NODISCARD int replica_start(struct replica *replica, const struct replica_state *take_state,
                            char *ret_text, size_t text_bytes);

/* Asks for a write: ends in `written`, `refused` or `unknown`. The command is borrowed. */
void replica_write(struct replica *replica, struct replica_client client,
                   const struct request_id *request, struct bytes command);

/*
 * Asks to read: ends in `readable` or `refused`. At once when staleness is fine; in either case not
 * before entry `min_index` is applied here (0: whatever is), which may be refused as CALL_BEHIND.
 */
void replica_read(struct replica *replica, struct replica_client client, bool stale,
                  uint64_t min_index);
/*
 * Nobody waits any more for the read of this client, or for those of all clients of this
 * connection: what still waits is gone, without a hook. Not from within a hook.
 */
void replica_forget_read(struct replica *replica, struct replica_client client);
void replica_forget_reads(struct replica *replica, uint64_t connection);

/*
 * A frame came from another node (not a HELLO). -EBADMSG: it makes no sense, nothing was done, and
 * what else its sender says is not to be trusted. -EAGAIN: there is no room for it until the flush
 * under way is done, or enough was done for who asks in this turn: nothing was done, hand it in
 * again after the next one.
 */
NODISCARD int replica_receive(struct replica *replica, raft_node_id from, struct frame frame);
/* A connection to another node stands; has ended. */
void replica_peer_up(struct replica *replica, raft_node_id peer);
void replica_peer_lost(struct replica *replica, raft_node_id peer);

void replica_turn(struct replica *replica);

/* The latest time for the next turn, on the monotonic clock. */
uint64_t replica_deadline_ms(const struct replica *replica);

/* Asks for a snapshot as soon as none is being saved. */
void replica_want_snapshot(struct replica *replica);
/* The store lost what it held, or was away and may have: a save is due at once. */
void replica_store_lost(struct replica *replica);
/* What hooks.save began has ended; durable: the state at `index` survives a crash of the store. */
void replica_saved(struct replica *replica, bool durable, uint64_t index);

/* No more writes and reads are taken, those that wait are still answered; leadership is handed
 * over, if there is anybody to take it. */
void replica_stop(struct replica *replica);
/* Something still waits, for the disk or for an answer; or leadership is not handed over yet. */
bool replica_busy(const struct replica *replica);

/* The state. May change from one turn to the next, when another node's snapshot is installed. */
struct users *replica_users(struct replica *replica);

struct replica_status {
    struct raft_status raft;
    bool ready; /* now: see hooks.ready */
    uint64_t applied;
    uint64_t snapshot_index; /* of the last durable snapshot */
    bool snapshot_wanted;    /* one is due and not yet saved */
    bool wal_full;
    uint32_t damaged_entries; /* of the log, to be repaired */
    bool state_gone;          /* no member holds the state that the logs build on */
    uint64_t wal_bytes;
    /* Of clients here: writes for their entry, and their bytes; reads for their index. And writes
     * of other nodes' clients that the log has not taken yet. */
    uint32_t waiting;
    uint64_t waiting_bytes;
    uint32_t waiting_reads;
    uint32_t forwarded;
};
struct replica_status replica_status(const struct replica *replica);

/* Since the process began. */
struct replica_measures {
    struct wal_measures wal;
    struct histogram commit; /* a write of a client here: from when it came until it is applied */
    struct histogram apply;  /* of a batch of committed entries */
    uint64_t elections;      /* in which this node stood */
    uint64_t leader_changes; /* terms whose leader it has known */
    uint64_t scrubbed_bytes;
    uint64_t rolled_back;    /* times that this node, or another, was found to have forgotten */
    uint64_t diverged;       /* times that two nodes were found to have different histories */
    uint64_t state_diverged; /* other nodes whose state was found to differ at an equal index */
    uint64_t damage;         /* damaged places that scrubbing found */
    uint64_t repaired;       /* damaged places mended in place, and entries had from others */
};
struct replica_measures replica_measures(const struct replica *replica);

/* The newest that the log says, committed or not; of no cluster before one is founded. */
const struct members *replica_members(const struct replica *replica);
/* As of an entry that is applied: what belongs to a state of that index. */
const struct members *replica_members_at(const struct replica *replica, raft_index index);

/* The core, to look into: raft_status, raft_peer_status, raft_configuration. */
const struct raft *replica_raft(const struct replica *replica);

#endif
