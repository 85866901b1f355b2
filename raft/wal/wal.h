/*
 * The write-ahead log: what a node has promised, on disk.
 *
 * A directory of segments "0000000000000001.wal", "…2.wal" …, of equal size, made before they are
 * needed: written full of sectors that say that they are unused, synced, named, the directory
 * synced (measured: appends into such a file are a third faster than into one that grows, and never
 * fail for want of room). A segment is a sequence of parts of records (wire/record.h), the first a
 * SEGMENT record that says whose log this is and where in it the segment begins. Beside them lies
 * "hardstate" (hard_state.h).
 *
 * WRITING
 *   (1) Records are gathered in memory. A flush writes all that was gathered and syncs it once
 *       (group commit). There is one flush at a time.
 *   (2) What a flush brings to a segment is a part: whole sectors. So a sector that holds
 *       acknowledged records is never written again, and a torn write cannot damage them.
 *   (3) A part ends with copies of its headers (COPIES). So what a damaged record was is known.
 *   (4) A batch that reaches over the end of a segment is two parts. The first is synced before
 *       the second is written. So whatever stands in the log proves that all parts before it are
 *       whole.
 *   (5) Before the first records of a segment are called durable, the hard state names the
 *       segment. So a newest segment that is gone or empty is missed.
 *   (6) A failed write or sync ends the process. It is not tried again: the kernel may call
 *       clean what it could not write.
 *
 * READING. A record is known by a whole header, its own or the copy of it, of the same
 * generation, with the next sequence number, and chained to the record before.
 *   (7) A damaged header or copy is repaired in place from the other. COPIES and SEGMENT records
 *       are made again from what they follow from.
 *   (8) An entry whose payload is damaged is a hole when it was surely durable: something of a
 *       later part is there. The log goes on behind it; wal_repair fills it with what other
 *       nodes have.
 *   (9) The log ends at the first record that is not known. That is no damage where its sector
 *       says that it is unused, and nothing in the log or the hard state speaks of later
 *       records.
 *  (10) Else, when something later is there, or the hard state says so, more was there: the log
 *       is cut at that record.
 *  (11) Else the damage is in the last part: a torn write that nobody was told of, or rot in
 *       what was durable. The records before the first damaged one are kept, the rest is cut. A
 *       write is torn for sure when a sector of it is still unused, which rot leaves nowhere. (A
 *       disk that forgets its last write, or puts it elsewhere, leaves the same: nothing here
 *       tells of that.)
 *
 * WHAT FOLLOWS FROM DAMAGE
 *  (12) A cluster of one refuses to start by (8) and (10), and changes nothing. By (11) it cuts,
 *       and says so.
 *  (13) A member of a cluster never refuses its own log. It keeps holes. When it cuts anything
 *       but a torn write it is recovering (core/raft.h), with the end that the log had as its
 *       floor where that is known: by the last part's COPIES record, with nothing behind it.
 *  (14) The hard state says that the node is recovering, and what is cut, before anything is
 *       cut.
 *  (15) A hard state of which nothing or an old generation can be read, or that is older than
 *       the log, makes a member recover, without a floor. A node that is alone goes on with a
 *       later term where a generation can be read, and refuses to start where none can.
 *
 * REMOVING
 *  (16) A suffix goes by a TRUNCATE record, all by RESET. What is live is decided by the order
 *       of records alone. A prefix goes by removing whole segments, oldest first.
 */
#ifndef ROLLCALL_WAL_WAL_H
#define ROLLCALL_WAL_WAL_H

#include "raft/base/metric.h"
#include "raft/core/raft.h"
#include "raft/wal/disk.h"
#include "raft/wal/runner.h"
#include "raft/wire/record.h"

#define WAL_SEGMENT_BYTES   (8u << 20)
#define WAL_BATCH_BYTES_MAX (1u << 20)
#define WAL_SEGMENTS_MAX    8192u
#define WAL_TRUNCATIONS_MAX 4096u
#define WAL_HOLES_MAX       4096u

struct wal;

/* What a stretch of scrubbing found. */
struct wal_scrubbed {
    uint64_t bytes;    /* read */
    uint32_t damaged;  /* records, or copies of their headers */
    uint32_t repaired; /* of these, in place */
    uint32_t holes;    /* of these, entries that wait for wal_repair now */
    uint32_t unknown;  /* places where it cannot be told what was there: the log goes on behind it
                          in memory, but a start would end it here */
    uint64_t segment;  /* where the first of them is */
    uint64_t offset;
    int error; /* of reading or repairing, −errno: then the rest says what came before it */
};

struct wal_options {
    struct disk *disk;
    struct runner *runner;
    uint64_t node;
    const char *cluster;
    bool alone;             /* a cluster of one: nobody can repair what is damaged */
    uint64_t generation;    /* for a log that is made now: random */
    uint32_t segment_bytes; /* WAL_SEGMENT_BYTES; tests take less, at least 4096 */
    /* Everything up to the mark is durable. May be called from within wal_flush. */
    void (*on_durable)(void *context, struct raft_mark mark);
    /* A write failed: the process must end. `what` is static text. */
    void (*on_failed)(void *context, const char *what, int error);
    /* The end of a wal_scrub; may be NULL. */
    void (*on_scrubbed)(void *context, const struct wal_scrubbed *scrubbed);
    void *context;
    /* To measure by, off the loop too; NULL: everything takes no time. */
    uint64_t (*measure_ns)(void);
};

struct wal_recovered {
    bool fresh;                  /* the log was made now, and none was there */
    struct raft_hard_state hard; /* as it is on disk now */
    raft_index start;            /* the entry before the first */
    raft_term start_term;
    raft_index last;
    uint64_t cut_bytes; /* from the first sector that went to the last that was in use */
    uint32_t repaired;  /* damaged headers and copies, in place */
    uint32_t holes;     /* see wal_hole */
    uint32_t damaged_hard_state_blocks;
    char text[512]; /* for people, where anything was found: what, where, and what to do */
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
/* Not while a flush or a scrub is under way. NULL is fine. */
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
/* Whose directory this is: durable before, or with, what is gathered after it. */
void wal_identify(struct wal *wal, const struct record_identity *identity);
/* The newest, durable or not. */
struct record_identity wal_identity(const struct wal *wal);
/*
 * Which start on this directory this is, counted from 1: durable when wal_open returns. Each has a
 * number: options.generation.
 */
uint64_t wal_start(const struct wal *wal);
/*
 * Others saw this start, and of what number no longer matters: this one is a later one. Durable
 * before, or with, what is gathered after it.
 */
void wal_count_start(struct wal *wal, uint64_t seen);
/* An earlier start, of which this copy of the directory knows that it had another number. */
bool wal_start_differs(const struct wal *wal, uint64_t start, uint64_t number);
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
 * is damaged or missing; if it is known what it was, it is a hole from then on.
 */
NODISCARD int wal_read(struct wal *wal, raft_index first, raft_index last, wal_each *each,
                       void *context);

/* --- holes ------------------------------------------------------------------------------------ */

/* A live entry whose payload is damaged, and what is known of it. */
struct wal_hole {
    raft_index index;
    raft_term term;
    enum raft_entry_kind kind;
    uint32_t length; /* of the payload */
    uint32_t payload_crc;
    uint64_t segment, offset; /* of its record */
};

/* How many, at most WAL_HOLES_MAX; and hole `i` of them in the order of their indexes. */
uint32_t wal_holes(const struct wal *wal);
bool wal_hole(const struct wal *wal, uint32_t i, struct wal_hole *ret_hole);
/* Whether one is among entries first … last. */
bool wal_has_hole(const struct wal *wal, raft_index first, raft_index last, raft_index *ret_hole);

/*
 * Writes the payload where it is damaged. -ENOENT: no hole; -EINVAL: this is another entry. The
 * hole is one until wal_repair_sync: call that after the last of many, and on any error let the
 * process end.
 */
NODISCARD int wal_repair(struct wal *wal, raft_index index, raft_term term,
                         enum raft_entry_kind kind, struct bytes payload);
NODISCARD int wal_repair_sync(struct wal *wal);

/* --- scrubbing -------------------------------------------------------------------------------- */

/*
 * Reads the next parts of the log that are durable, about so many bytes of them (a part is read
 * whole: WAL_BATCH_BYTES_MAX more at most), off the loop, and tells hooks.on_scrubbed. After the
 * last comes the first again. Nothing while one is under way.
 */
void wal_scrub(struct wal *wal, size_t bytes);
bool wal_scrubbing(const struct wal *wal);

/* --- looking in ------------------------------------------------------------------------------- */

/* Bytes of the segments on disk. */
uint64_t wal_disk_bytes(const struct wal *wal);

struct wal_measures {
    struct histogram fsync;  /* of a batch of records, each once or twice */
    uint64_t appended_bytes; /* durable, as they stand on disk */
};
struct wal_measures wal_measures(const struct wal *wal);

#endif
