/*
 * The write-ahead log: what a node has promised, on disk.
 *
 * A directory of segments "0000000000000001.wal", "…2.wal" …, of equal size, made before they are
 * needed: written full of zeros, synced, named, the directory synced (measured: appends into such a
 * file are a third faster than into one that grows, and never fail for want of room). A segment is
 * a sequence of records (wire/record.h), first a SEGMENT record that says whose log this is and
 * where in it the segment begins. Beside them lies "hardstate" (hard_state.h).
 *
 * Writing. Records are gathered in memory; a flush writes all that was gathered and syncs it once
 * (group commit), one flush at a time. A batch begins and ends at a multiple of DISK_SECTOR_BYTES:
 * a sector that holds acknowledged records is never written again, so a torn write cannot damage
 * them. A batch that reaches over the end of a segment is two writes, the first synced before the
 * second begins: so whatever stands in a segment proves that all segments before it are whole.
 * Failure of any write or sync ends the process: it is never tried again, since the kernel may call
 * clean what it could not write.
 *
 * Reading. A record is good when its header and payload checksums are, and it is in its place: same
 * generation, next sequence number, chained to the record before. The log ends at the first sector
 * that begins with zeros.
 * Something else there is
 *   - rot, when a record beyond says (`synced`) that the damaged one was durable before it was
 *     written, or a later segment has anything in it: refused, nothing is changed;
 *   - else a torn last batch, never acknowledged: cut, by writing zeros over it, and said so.
 *
 * Removing. A suffix goes by a TRUNCATE record, all by RESET: what is live is decided by the order
 * of records alone. A prefix goes by removing whole segments, oldest first.
 */
#ifndef ROLLCALL_NODE_WAL_H
#define ROLLCALL_NODE_WAL_H

#include "raft/core/raft.h"
#include "raft/base/bytes.h"
#include "raft/node/disk.h"
#include "raft/node/runner.h"

#define WAL_SEGMENT_BYTES   (8u << 20)
#define WAL_BATCH_BYTES_MAX (1u << 20)
#define WAL_SEGMENTS_MAX    8192u
#define WAL_TRUNCATIONS_MAX 4096u

struct wal;

struct wal_options {
    struct disk *disk;
    struct runner *runner;
    uint64_t node;
    const char *cluster;
    uint64_t generation;    /* for a log that is made now: random */
    uint32_t segment_bytes; /* WAL_SEGMENT_BYTES; tests take less, at least 4096 */
    /* Everything up to the mark is durable. May be called from within wal_flush. */
    void (*on_durable)(void *context, struct raft_mark mark);
    /* A write failed: the process must end. `what` is static text. */
    void (*on_failed)(void *context, const char *what, int error);
    void *context;
};

struct wal_recovered {
    bool fresh; /* the log was made now */
    struct raft_hard_state hard;
    raft_index start; /* the entry before the first */
    raft_term start_term;
    raft_index last;
    uint64_t cut_bytes; /* of a torn last batch */
    uint32_t damaged_hard_state_blocks;
    char text[512]; /* when opening failed: what, where, what to do; when cut: where */
};

/* Called for a live entry. A non-zero result stops and is returned. */
typedef int wal_each(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                     struct bytes payload);

/*
 * Opens the log of `options->disk`, or makes one where there is nothing. `ret_recovered` is filled
 * in whatever the result. -EBADMSG: damaged or not this node's, see its text; else −errno.
 */
NODISCARD int wal_open(const struct wal_options *options, struct wal **ret_wal,
                       struct wal_recovered *ret_recovered);
/* Not while a flush is under way. NULL is fine. */
void wal_close(struct wal *wal);

/*
 * Bytes of records that can be gathered now; see wal_entry_bytes. At 0 the next segment is not
 * there yet; wal_full says that it cannot be made for want of room.
 */
size_t wal_room(const struct wal *wal);
bool wal_full(const struct wal *wal);
size_t wal_entry_bytes(size_t payload_len);

/* Gathering: in the order in which it shall be durable, within wal_room. */
void wal_hard_state(struct wal *wal, const struct raft_hard_state *hard);
void wal_append(struct wal *wal, raft_index index, raft_term term, enum raft_entry_kind kind,
                struct bytes payload);
/* Entries from `first_gone` on go; the one before them has `term_before`. */
void wal_truncate(struct wal *wal, raft_index first_gone, raft_term term_before);
/* All entries go; the next comes after (start, term). */
void wal_reset(struct wal *wal, raft_index start, raft_term term);
/* What was gathered so far is worth this mark. */
void wal_mark(struct wal *wal, struct raft_mark mark);

/* Starts a flush, when something was gathered and none is under way; `now`: on this thread. */
void wal_flush(struct wal *wal, bool now);
bool wal_flushing(const struct wal *wal);

/* Time passes: tries again to make the next segment. Call a few times a second. */
void wal_tick(struct wal *wal);

/* Entries up to `index` are in a durable snapshot: whole segments of them are removed. */
void wal_compact(struct wal *wal, raft_index index);

/*
 * Reads live entries first … last from disk, in order. Only of what is durable. -EBADMSG when one
 * is damaged or missing.
 */
NODISCARD int wal_read(struct wal *wal, raft_index first, raft_index last, wal_each *each,
                       void *context);

/* Bytes of the segments on disk. */
uint64_t wal_disk_bytes(const struct wal *wal);

#endif
