/* struct wal, for wal*.c only. */
#ifndef ROLLCALL_NODE_WAL_STATE_H
#define ROLLCALL_NODE_WAL_STATE_H

#include "raft/node/hard_state.h"
#include "raft/node/wal.h"
#include "raft/wire/record.h"

#include <string.h>

#define WAL_NAME_BYTES 24u
#define WAL_NO_FILE    (-1)

/* A segment that has records. */
struct wal_segment {
    uint64_t number;
    uint64_t size;
    uint64_t first_sequence;
    raft_index highest; /* of the entries in it */
};

/* Entries from `first_gone` on that were recorded before `sequence` are dead. */
struct wal_truncation {
    uint64_t sequence;
    raft_index first_gone;
};

enum wal_next_state { WAL_NEXT_NONE, WAL_NEXT_BEING_MADE, WAL_NEXT_READY };

/* Makes segment `number`, all zeros, under its name. */
struct wal_make_job {
    struct job job;
    struct wal *wal;
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
    uint64_t offset;
    struct writer bytes;
    bool close_file; /* the segment is full: nothing comes after this part */
};

struct wal_batch {
    bool hard_state;
    struct raft_hard_state hard;
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
};

/* Where a reader stopped: after the live entry before `next`, in this segment. */
struct wal_cursor {
    uint64_t number; /* 0: none */
    raft_index next;
    uint64_t offset;
};
#define WAL_CURSORS 8u

struct wal {
    struct wal_options options;
    struct disk *disk;
    char cluster[64];
    struct hard_state_file hard_state;

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
};

/* The next place at or after `offset` where a batch may begin. */
static inline uint64_t wal_sector_after(uint64_t offset)
{
    return (offset + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES;
}

/*
 * Where the record after the one that ended at `offset` is: there, if that batch went on (a record
 * begins with a checksum and a magic, not with 8 zeros), else in the next sector.
 */
static inline size_t wal_record_place(const uint8_t *bytes, size_t size, size_t offset)
{
    static const uint8_t zeros[8];
    if (offset % DISK_SECTOR_BYTES == 0 || size - offset < sizeof(zeros) ||
        memcmp(bytes + offset, zeros, sizeof(zeros)) != 0)
        return offset;
    return (size_t)wal_sector_after(offset);
}

/* wal_segments.c */
void wal_segment_name(uint64_t number, char ret_name[WAL_NAME_BYTES]);
/* False when this is no segment's name. */
bool wal_segment_number(const char *name, uint64_t *ret_number);
/* On this thread: what the make job does. */
NODISCARD int wal_segment_make(struct disk *disk, uint64_t number, uint32_t size, int *ret_file);
/* Starts making the segment after the current one. */
void wal_segment_prepare(struct wal *wal);
/* The same on this thread; no room on the disk is no failure, wal_full says so. */
NODISCARD int wal_segment_make_now(struct wal *wal);
/* Goes on in the next segment, which must be ready: opens it with its SEGMENT record. */
void wal_segment_switch(struct wal *wal);

/* wal.c: gathers one record; there must be room. */
void wal_put_record(struct wal *wal, struct record *record);
/* Remembers what TRUNCATE and RESET make of the entries before. */
void wal_note_truncation(struct wal *wal, uint64_t sequence, raft_index first_gone);

/* wal_open.c */
void wal_complain(struct wal_recovered *recovered, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
