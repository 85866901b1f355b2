/* struct wal, for wal*.c only. */
#ifndef ROLLCALL_WAL_STATE_H
#define ROLLCALL_WAL_STATE_H

#include "raft/wal/hard_state.h"
#include "raft/wal/wal.h"
#include "raft/wire/record.h"

#include <string.h>

#define WAL_NAME_BYTES 24u
#define WAL_NO_FILE    (-1)

/* Where the chain of records stands, and the log with it. */
struct wal_tail {
    uint64_t generation;
    uint64_t sequence; /* of the last record */
    uint32_t chain;    /* its checksum */
    raft_index last;
    raft_term last_term;
};

/* A segment that has records. */
struct wal_segment {
    uint64_t number;
    uint64_t size;
    struct wal_tail before; /* what its first record comes after */
    raft_index highest;     /* of the entries in it */
};

/* Entries from `first_gone` on that were recorded before `sequence` are dead. */
struct wal_truncation {
    uint64_t sequence;
    raft_index first_gone;
};

enum wal_next_state { WAL_NEXT_NONE, WAL_NEXT_BEING_MADE, WAL_NEXT_READY };

/* Makes segment `number`, all of it unused, under its name. */
struct wal_make_job {
    struct job job;
    struct wal *wal;
    uint64_t generation;
    uint64_t number;
    uint32_t size;
    int file; /* open when error is 0 */
    int error;
};

/* Removes segments first … last. */
struct wal_remove_job {
    struct job job;
    struct wal *wal;
    uint64_t first, last;
    int error;
};

/* Records for one place in one segment; a batch has two parts when it reaches into the next. */
struct wal_part {
    int file;
    uint64_t segment;
    uint64_t offset;
    uint64_t first_sequence;
    uint32_t count; /* of records, without COPIES; 0: nothing is written */
    struct writer bytes;
    bool close_file; /* the segment is full: nothing comes after this part */
};

struct wal_batch {
    bool hard_state;
    struct raft_hard_state hard;
    bool identify;
    struct record_identity identity;
    bool count;
    struct record_starts starts;
    uint32_t parts;
    struct wal_part part[2];
    uint8_t *buffer; /* WAL_BATCH_BYTES_MAX */
    bool marked;
    struct raft_mark mark;
    uint64_t sequence; /* of its last record */
};

struct wal_flush_job {
    struct job job;
    struct wal *wal;
    const char *what; /* what failed */
    int error;
    uint32_t fsyncs;
    uint64_t fsync_ns[2]; /* one a part */
};

/* An entry whose payload is damaged. */
struct wal_hole_kept {
    struct wal_hole hole;
    uint64_t sequence; /* of its record */
    bool patched;      /* wal_repair has written it: gone with the next wal_repair_sync */
};

/* Where a reader stopped: after the live entry before `next`, in this segment. */
struct wal_cursor {
    uint64_t number; /* 0: none */
    raft_index next;
    uint64_t offset;
    uint64_t sequence; /* of the record before */
};
#define WAL_CURSORS 8u

struct wal {
    struct wal_options options;
    struct disk *disk;
    char cluster[64];
    struct hard_state_file hard_state;
    struct record_identity identity; /* as it is to be: the file's, or newer */
    struct raft_cluster_id owner;    /* of the file: what new segments say */
    struct record_starts starts;     /* as they are to be, as `identity` is */

    /* Where the next record goes, after all that was gathered. */
    int file;
    uint64_t number;
    uint64_t offset;
    uint64_t size;
    uint64_t generation;
    uint64_t sequence; /* of the last record */
    uint32_t chain;    /* its checksum */
    raft_index last;
    raft_term last_term;
    uint64_t synced; /* sequence of the last durable record */

    enum wal_next_state next_state;
    int next_file;
    bool full; /* the last try to make a segment found no room */

    uint32_t segments;
    struct wal_segment segment[WAL_SEGMENTS_MAX];
    uint32_t truncations;
    struct wal_truncation truncation[WAL_TRUNCATIONS_MAX];
    uint32_t holes; /* in the order of their indexes */
    struct wal_hole_kept hole[WAL_HOLES_MAX];

    struct wal_batch *gathered; /* one of the two below */
    struct wal_batch *in_flight;
    struct wal_batch batch[2];
    bool flushing;
    bool failed;
    uint32_t cursor_turn;
    struct wal_cursor cursor[WAL_CURSORS];
    struct wal_flush_job flush;
    struct wal_make_job make;
    bool removing;
    struct wal_remove_job remove;
    uint64_t repair_segment; /* wal_repair has this file open; 0: none */
    int repair_file;
    struct wal_scrub_job *scrub; /* NULL: none is under way */
    uint64_t scrub_segment;      /* where the next begins; not there: with the oldest */
    uint64_t scrub_offset;
    struct wal_tail scrub_tail;
    struct wal_measures measures;
};

/* The next place at or after `offset` where a part, or its COPIES record, may begin. */
static inline uint64_t wal_sector_after(uint64_t offset)
{
    return (offset + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES;
}

/* Bytes that a part takes of a segment: `count` records of so many bytes, and their copies. */
static inline uint64_t wal_part_bytes(uint64_t records_bytes, uint64_t count)
{
    return wal_sector_after(records_bytes) +
           wal_sector_after(record_bytes((size_t)count * RECORD_HEADER_BYTES));
}

/* wal/segments.c */
void wal_segment_name(uint64_t number, char ret_name[WAL_NAME_BYTES]);
/* False when this is no segment's name. */
bool wal_segment_number(const char *name, uint64_t *ret_number);
/* On this thread: what the make job does. */
NODISCARD int wal_segment_make(struct disk *disk, uint64_t generation, uint64_t number,
                               uint32_t size, int *ret_file);
/* Makes whole sectors of `bytes`, which will stand at `offset` of the segment, unused ones. */
void wal_unused_put(uint8_t *bytes, size_t len, uint64_t generation, uint64_t number,
                    uint64_t offset);
/* The payload of a segment's SEGMENT record: of one that was made under this cluster id, or zeros
 * for one from before it was known. */
#define WAL_OWNER_BYTES 128u
struct bytes wal_owner_payload(const struct wal *wal, uint64_t number, uint64_t size,
                               struct raft_cluster_id cluster, uint8_t memory[WAL_OWNER_BYTES]);
/* Starts making the segment after the current one. */
void wal_segment_prepare(struct wal *wal);
/* The same on this thread; no room on the disk is no failure, wal_full says so. */
NODISCARD int wal_segment_make_now(struct wal *wal);
/* Goes on in the next segment, which must be ready: opens it with its SEGMENT record. */
void wal_segment_switch(struct wal *wal);

/* The COPIES record after `count` records whose headers are `heads`, the last of them the tail's.
 */
struct record wal_copies_record(const struct wal_tail *tail, uint32_t count, const uint8_t *heads);
/* wal.c: gathers one record; there must be room. */
void wal_put_record(struct wal *wal, struct record *record);
/* Whether the entry of this record was truncated later. */
bool wal_is_dead(const struct wal *wal, uint64_t sequence, raft_index index);
/* Where the log stands with all that was gathered. */
struct wal_tail wal_tail(const struct wal *wal);
/* Remembers what TRUNCATE and RESET make of the entries before. */
void wal_note_truncation(struct wal *wal, uint64_t sequence, raft_index first_gone);

/* wal/read.c: the sequence of the last durable record of segment i of wal->segment. */
uint64_t wal_segment_end(const struct wal *wal, uint32_t i);

/* wal/open.c */
/* Counts on to this start, of a process with this number. */
void wal_next_start(struct record_starts *starts, uint64_t start, uint64_t number);
void wal_complain(struct wal_recovered *recovered, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
