#include "raft/wal/repair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- whole sectors ---------------------------------------------------------------------------- */

int wal_load(struct disk *disk, int file, uint64_t offset, uint8_t *bytes, size_t len)
{
    int result = disk->ops->read(disk, file, offset, bytes, len);
    if (result != -EIO)
        return result;
    size_t lost = 0;
    for (size_t at = 0; at < len; at += DISK_SECTOR_BYTES) {
        size_t n = len - at < DISK_SECTOR_BYTES ? len - at : DISK_SECTOR_BYTES;
        result = disk->ops->read(disk, file, offset + at, bytes + at, n);
        if (result != 0 && result != -EIO)
            return result;
        lost += result != 0;
        if (result != 0)
            memset(bytes + at, 0, n);
    }
    return lost * DISK_SECTOR_BYTES < len ? 0 : -EIO; /* all of it: the disk is gone */
}

/* Past the page cache, as the log is written: a page of it holds sectors of a later flush, too. */
static int open_to_patch(const struct wal *wal, uint64_t segment, int *ret_file)
{
    char name[WAL_NAME_BYTES];
    wal_segment_name(segment, name);
    int result = wal->disk->ops->open(wal->disk, name, false, ret_file);
    if (result == 0)
        wal->disk->ops->go_direct(wal->disk, *ret_file);
    return result;
}

/* Safe against a crash in between: what is good in these sectors is written as it was. */
static int patch(const struct wal *wal, int file, uint64_t offset, struct bytes bytes)
{
    struct disk *disk = wal->disk;
    uint64_t first = offset / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES, size = 0;
    size_t len = (size_t)(wal_sector_after(offset + bytes.len) - first);
    void *memory;
    int result = disk->ops->size(disk, file, &size);
    if (result != 0)
        return result;
    if (posix_memalign(&memory, 4096, len) != 0)
        return -ENOMEM;
    memset(memory, 0, len);
    size_t there = size <= first ? 0 : size - first < len ? (size_t)(size - first) : len;
    if (there > 0)
        result = wal_load(disk, file, first, memory, there);
    memcpy((uint8_t *)memory + (offset - first), bytes.at, bytes.len);
    if (result == 0 || result == -EIO)
        result = disk->ops->write(disk, file, first, memory, len);
    free(memory);
    return result;
}

/* --- patches ---------------------------------------------------------------------------------- */

bool wal_patches_add(struct wal_patches *patches, uint64_t segment, uint64_t offset,
                     struct bytes bytes)
{
    if (patches->count == patches->capacity) {
        size_t capacity = patches->capacity == 0 ? 16 : 2 * patches->capacity;
        struct wal_patch *larger = realloc(patches->at, capacity * sizeof(*larger));
        if (larger == NULL) {
            patches->out_of_memory = true;
            return false;
        }
        patches->at = larger;
        patches->capacity = capacity;
    }
    struct wal_patch *new = &patches->at[patches->count++];
    assert(bytes.len <= sizeof(new->bytes));
    *new = (struct wal_patch){.segment = segment, .offset = offset, .len = (uint32_t)bytes.len};
    memcpy(new->bytes, bytes.at, bytes.len);
    return true;
}

void wal_patches_done(struct wal_patches *patches)
{
    free(patches->at);
    *patches = (struct wal_patches){.at = NULL};
}

int wal_patches_apply(const struct wal *wal, const struct wal_patches *patches)
{
    int result = patches->out_of_memory ? -ENOMEM : 0;
    for (size_t i = 0; i < patches->count && result == 0;) {
        uint64_t segment = patches->at[i].segment;
        int file;
        result = open_to_patch(wal, segment, &file);
        if (result != 0)
            return result;
        for (; i < patches->count && patches->at[i].segment == segment && result == 0; i++)
            result = patch(wal, file, patches->at[i].offset,
                           bytes_of(patches->at[i].bytes, patches->at[i].len));
        if (result == 0)
            result = wal->disk->ops->sync(wal->disk, file);
        int closed = wal->disk->ops->close(wal->disk, file);
        if (result == 0)
            result = closed;
    }
    return result;
}

/* --- holes ------------------------------------------------------------------------------------ */

static bool is_dead(const struct wal *wal, const struct wal_hole_kept *kept)
{
    return wal_is_dead(wal, kept->sequence, kept->hole.index);
}

static void keep_holes(struct wal *wal,
                       bool (*gone)(const struct wal *, const struct wal_hole_kept *))
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < wal->holes; i++) {
        if (!gone(wal, &wal->hole[i]))
            wal->hole[kept++] = wal->hole[i];
    }
    wal->holes = kept;
}

void wal_holes_bury(struct wal *wal)
{
    keep_holes(wal, is_dead);
}

static bool is_removed(const struct wal *wal, const struct wal_hole_kept *kept)
{
    return kept->hole.segment < wal->segment[0].number;
}

void wal_holes_compact(struct wal *wal)
{
    keep_holes(wal, is_removed);
}

static bool is_repaired(const struct wal *wal, const struct wal_hole_kept *kept)
{
    (void)wal;
    return kept->patched;
}

struct wal_hole_kept wal_hole_of(const struct record *record, uint64_t segment, uint64_t offset)
{
    return (struct wal_hole_kept){
        .hole = {.index = record->index,
                 .term = record->term,
                 .kind = (enum raft_entry_kind)record->kind,
                 .length = record->length,
                 .payload_crc = record->payload_crc,
                 .segment = segment,
                 .offset = offset},
        .sequence = record->sequence,
    };
}

/* The first hole of an entry at or after `index`; wal->holes when there is none. */
static uint32_t find_hole(const struct wal *wal, raft_index index)
{
    uint32_t low = 0, high = wal->holes;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index_less(wal->hole[middle].hole.index, index))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool wal_hole_add(struct wal *wal, const struct wal_hole_kept *kept)
{
    if (wal->holes == WAL_HOLES_MAX)
        wal_holes_bury(wal);
    uint32_t at = find_hole(wal, kept->hole.index);
    while (at < wal->holes && index_equal(wal->hole[at].hole.index, kept->hole.index)) {
        if (wal->hole[at].sequence == kept->sequence)
            return true; /* it is known */
        at++;
    }
    if (wal->holes == WAL_HOLES_MAX)
        return false;
    memmove(wal->hole + at + 1, wal->hole + at, (wal->holes - at) * sizeof(wal->hole[0]));
    wal->hole[at] = *kept;
    wal->holes++;
    return true;
}

uint32_t wal_holes(const struct wal *wal)
{
    return wal->holes;
}

bool wal_hole(const struct wal *wal, uint32_t i, struct wal_hole *ret_hole)
{
    if (i >= wal->holes)
        return false;
    *ret_hole = wal->hole[i].hole;
    return true;
}

bool wal_has_hole(const struct wal *wal, raft_index first, raft_index last, raft_index *ret_hole)
{
    uint32_t at = find_hole(wal, first);
    if (at == wal->holes || index_less(last, wal->hole[at].hole.index))
        return false;
    *ret_hole = wal->hole[at].hole.index;
    return true;
}

/* --- repair ----------------------------------------------------------------------------------- */

/* Syncs what was written to the file that repairs are under way in. */
static int end_file(struct wal *wal)
{
    if (wal->repair_segment == 0)
        return 0;
    wal->repair_segment = 0;
    int result = wal->disk->ops->sync(wal->disk, wal->repair_file);
    int closed = wal->disk->ops->close(wal->disk, wal->repair_file);
    return result == 0 ? closed : result;
}

static int begin_file(struct wal *wal, uint64_t segment)
{
    if (wal->repair_segment == segment)
        return 0;
    int result = end_file(wal);
    if (result == 0)
        result = open_to_patch(wal, segment, &wal->repair_file);
    if (result == 0)
        wal->repair_segment = segment;
    return result;
}

int wal_repair(struct wal *wal, raft_index index, raft_term term, enum raft_entry_kind kind,
               struct bytes payload)
{
    uint32_t at = find_hole(wal, index);
    if (at == wal->holes || !index_equal(wal->hole[at].hole.index, index))
        return -ENOENT;
    struct wal_hole_kept *kept = &wal->hole[at];
    const struct record record = {.length = kept->hole.length,
                                  .payload_crc = kept->hole.payload_crc};
    if (!term_equal(term, kept->hole.term) || kind != kept->hole.kind ||
        !record_is_payload(&record, payload))
        return -EINVAL;
    int result = begin_file(wal, kept->hole.segment);
    if (result == 0 && payload.len > 0)
        result = patch(wal, wal->repair_file, kept->hole.offset + RECORD_HEADER_BYTES, payload);
    if (result == 0)
        kept->patched = true;
    return result;
}

int wal_repair_sync(struct wal *wal)
{
    int result = end_file(wal);
    if (result == 0)
        keep_holes(wal, is_repaired);
    return result;
}
