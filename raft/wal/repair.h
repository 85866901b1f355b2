/* Writing in place what is damaged. For wal*.c only. */
#ifndef ROLLCALL_WAL_REPAIR_H
#define ROLLCALL_WAL_REPAIR_H

#include "raft/wal/state.h"

/* Bytes that shall stand somewhere and do not. */
struct wal_patch {
    uint64_t segment, offset;
    uint32_t len;
    uint8_t bytes[WAL_OWNER_BYTES];
};

struct wal_patches {
    struct wal_patch *at;
    size_t count, capacity;
    bool out_of_memory;
};

/* False when there is no memory; `out_of_memory` remembers it. */
bool wal_patches_add(struct wal_patches *patches, uint64_t segment, uint64_t offset,
                     struct bytes bytes);
void wal_patches_done(struct wal_patches *patches);
/* Writes all of them, in whole sectors, and syncs each file. */
NODISCARD int wal_patches_apply(const struct wal *wal, const struct wal_patches *patches);

/* Reads; what cannot be read because the disk has lost it is zeros, sector by sector. */
NODISCARD int wal_load(struct disk *disk, int file, uint64_t offset, uint8_t *bytes, size_t len);

/* --- holes ------------------------------------------------------------------------------------ */

/* An entry, known by its header, that stands there with a damaged payload. */
struct wal_hole_kept wal_hole_of(const struct record *record, uint64_t segment, uint64_t offset);
/* False when there are too many. */
bool wal_hole_add(struct wal *wal, const struct wal_hole_kept *hole);
/* Those that a truncation has gone over, or whose segment was removed, are no more. */
void wal_holes_bury(struct wal *wal);
void wal_holes_compact(struct wal *wal);

#endif
