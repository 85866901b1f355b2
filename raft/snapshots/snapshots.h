/*
 * Snapshots in Redis: the users as of one log entry, where the log before it may go.
 *
 * Keys, all under "rollcall:CLUSTER:NODE:" so that nodes and clusters may share a server:
 *
 *     users    hash   id → {"id":7,"name":"Alice","email":"alice@example.org"}
 *     indexes  hash   id / 64 → "7:12 8:13 …", id:raft index of the last change
 *     answers  hash   sequence / 64 → lines "SEQUENCE REQUEST-ID INDEX created ID ETAG", see
 *                     users/command.h for the other answers; and "k" sequence / 64 → lines of those
 *                     under an Idempotency-Key, "SEQUENCE KEY FINGERPRINT TIME-MS INDEX created …"
 *     server   hash   run_id
 *     meta     hash   format cluster node index term members users next_id changed time_ms
 *                     answers_first answers_next keys_first keys_next digest
 *                     cluster_id checksum
 *
 * Members are as wire/members.h prints them.
 *
 * Meta changes in the same MULTI/EXEC as the rest, so what meta says is what is there. EXEC goes on
 * after a command that fails, so all that it builds upon is watched, and counted (HLEN) before
 * MULTI: where a count differs no meta is written. Should EXEC fail in part all the same, meta is
 * removed at once.
 *
 * The first snapshot is complete: written beside the old one under "new:…" and renamed over it.
 * Later ones write the difference of two versions, if meta and the counts say that the older is
 * what Redis holds: it is asked each time, and an emptied or older Redis gets a complete one. A
 * difference never hides what was changed by hand: the digest in meta is that of the state in
 * memory, not of what Redis holds, and a load compares them.
 *
 * The first after a start of Redis is complete, too. An append-only file that was cut inside of a
 * transaction is truncated by Redis after the last whole command, and not before its MULTI: what is
 * appended later joins the torn half, and one EXEC makes both true at the next start. A complete
 * snapshot takes the place of all that came before it, of that half, too. `server` holds the run_id
 * of the Redis process that the last complete one was given to.
 *
 * A snapshot counts only when Redis has it on disk, which is asked each time: at once with
 * `appendonly yes`, `appendfsync always` and `no-appendfsync-on-rewrite no`, before and after it
 * was written; else by WAITAOF where the server knows it; else, where there is no append-only file
 * but dumps (`save` is not empty), by a BGSAVE that began after it, ended well, and left a server
 * that still holds it. None counts, and none is written, where Redis keeps nothing on disk, or may
 * evict keys (`maxmemory-policy allkeys-…`): that would be a snapshot that goes by itself.
 *
 * A whole record (by its checksum) of another node or cluster in the place of meta is left alone.
 *
 * Everything goes in small steps, a window of commands at a time, so that the loop is never held.
 */
#ifndef ROLLCALL_SNAPSHOTS_SNAPSHOTS_H
#define ROLLCALL_SNAPSHOTS_SNAPSHOTS_H

#include "raft/core/types.h"
#include "raft/snapshots/store.h"
#include "raft/users/users.h"
#include "raft/wire/members.h"

struct snapshots;

struct snapshots_saved {
    bool durable; /* else: nothing counts, `text` says why */
    bool full;    /* complete, or a difference */
    uint64_t index;
    uint64_t users, answers, bytes; /* written */
    const char *text;
};

enum snapshots_found {
    SNAPSHOTS_NONE,    /* Redis has no snapshot of this node; the state is untouched */
    SNAPSHOTS_LOADED,  /* the state is what it held */
    SNAPSHOTS_DAMAGED, /* there is one that cannot be used, `text` says why; the state is spoilt */
    SNAPSHOTS_REFUSED, /* Redis answered, but no data: `text` says what, and what to do. Nothing is
                        * known of the snapshot; the state is spoilt; load may be tried again */
    SNAPSHOTS_AWAY,    /* the connection ended; the state is spoilt; load may be tried again */
};

struct snapshots_hooks {
    void (*loaded)(void *context, enum snapshots_found found, const char *text);
    void (*saved)(void *context, const struct snapshots_saved *saved);
    /* Redis does not hold any more what it held, `text` says how: a save is due, to be complete. */
    void (*lost)(void *context, const char *text);
};

/* NULL: no memory. The store outlives it. */
struct snapshots *snapshots_new(struct store *store, const char *cluster, uint64_t node,
                                const struct snapshots_hooks *hooks, void *context);
/* Which cluster's it must be, and is from now on; until then, and with zeros, any that is there. */
void snapshots_identify(struct snapshots *snapshots, struct raft_cluster_id cluster);
void snapshots_free(struct snapshots *snapshots);

/* Loads into a fresh state; ends in hooks.loaded. */
void snapshots_load(struct snapshots *snapshots, struct users *users);

/* What was loaded, beside the users: after LOADED. */
struct raft_cluster_id snapshots_loaded_cluster_id(const struct snapshots *snapshots);
raft_term snapshots_loaded_term(const struct snapshots *snapshots);
/* Kept until the next snapshots_load. */
const struct members *snapshots_loaded_members(const struct snapshots *snapshots);

/*
 * Saves the view, which it unpins when it is done with it; ends in hooks.saved. One at a time.
 * `term` is that of its last entry, `members` are those then.
 */
void snapshots_save(struct snapshots *snapshots, struct users_view *take_view, raft_term term,
                    const struct members *members);

/* How often to look after what Redis holds. */
#define SNAPSHOTS_LOOK_MS 500u

/*
 * Looks whether Redis still holds the last snapshot: its meta record and how many fields its hashes
 * have, all of it each time; and what they hold, a few pages further each time. Ends in hooks.lost
 * or in nothing. Does nothing while a look, save or load is under way, or the last save failed.
 */
void snapshots_look(struct snapshots *snapshots);

#endif
