/*
 * Walking over the records of a segment that is in memory, in physical order, and judging each by
 * its header, or by the copy of it where that is damaged. For wal*.c only; wal.h says the rules.
 */
#ifndef ROLLCALL_WAL_WALK_H
#define ROLLCALL_WAL_WALK_H

#include "raft/wal/repair.h"

/* Most headers that a part has. */
#define WAL_HEADS_BYTES_MAX WAL_BATCH_BYTES_MAX

struct wal_walk {
    const struct wal *wal; /* whose log it is */
    uint64_t segment;
    uint64_t size;        /* of the segment */
    const uint8_t *bytes; /* it, from `base` on: at least the whole part that is walked over */
    uint64_t base;
    size_t len;
    struct wal_tail tail; /* of the records before */
    uint64_t offset;      /* where they end */
    uint32_t count;       /* of them in this part; 0: at the end of one */
    uint8_t *heads;       /* theirs; WAL_HEADS_BYTES_MAX */
};

/* A record of which it is known what it is. */
struct wal_found {
    struct record record; /* its payload only when that is not damaged */
    uint64_t offset;
    bool head_damaged; /* the header at its place, or for COPIES any byte of it */
    bool payload_damaged;
};

enum wal_step {
    WAL_STEP_RECORD,
    WAL_STEP_UNKNOWN, /* the end, or nothing tells what is or was there */
    WAL_STEP_FOREIGN, /* a record of a format that this program does not know */
};

/* The next record; goes not there yet. */
enum wal_step wal_walk_look(const struct wal_walk *walk, struct wal_found *ret_found);
/* Goes on behind it. What is damaged and can be made again is added to `patches`. */
void wal_walk_take(struct wal_walk *walk, const struct wal_found *found,
                   struct wal_patches *patches);
/*
 * What the COPIES record here must be when the part ends here, whatever is there. False when it
 * cannot end here.
 */
bool wal_walk_assume_copies(const struct wal_walk *walk, struct wal_found *ret_found);
/* Whether the sector at `offset` says that it is not used. */
bool wal_walk_unused(const struct wal_walk *walk, uint64_t offset);
bool wal_is_zero(const uint8_t *at, size_t len);
/* What a record makes of the tail. */
struct wal_tail wal_tail_after(struct wal_tail tail, const struct record *record);

#endif
