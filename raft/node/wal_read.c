/* Reading entries back: for replay after a start, and for peers that are far behind. */
#include "raft/node/wal_state.h"

#include <errno.h>
#include <stdlib.h>

static bool is_dead(const struct wal *wal, const struct record *record)
{
    for (uint32_t i = 0; i < wal->truncations; i++) {
        const struct wal_truncation *truncation = &wal->truncation[i];
        if (truncation->sequence > record->sequence &&
            !index_less(record->index, truncation->first_gone))
            return true;
    }
    return false;
}

static int read_segment(struct wal *wal, const struct wal_segment *segment, uint8_t **ret_bytes)
{
    struct disk *disk = wal->disk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(segment->number, name);
    uint8_t *bytes = malloc(segment->size);
    if (bytes == NULL)
        return -ENOMEM;
    int file;
    int result = disk->ops->open(disk, name, false, &file);
    if (result == 0) {
        result = disk->ops->read(disk, file, 0, bytes, segment->size);
        (void)!disk->ops->close(disk, file);
    }
    if (result != 0) {
        free(bytes);
        return result;
    }
    *ret_bytes = bytes;
    return 0;
}

struct walk {
    raft_index next, last;
    wal_each *each;
    void *context;
};

static int walk_segment(struct wal *wal, const struct wal_segment *segment, const uint8_t *bytes,
                        struct walk *walk)
{
    size_t offset = 0;
    while (offset + RECORD_HEADER_BYTES <= segment->size && !index_less(walk->last, walk->next)) {
        struct record record;
        offset = wal_record_place(bytes, segment->size, offset);
        enum record_verdict verdict =
            record_get(bytes_of(bytes + offset, segment->size - offset), &record);
        if (verdict == RECORD_END || (verdict == RECORD_OK && record.sequence > wal->synced))
            return 0;
        if (verdict != RECORD_OK)
            return -EBADMSG;
        offset += record_bytes(record.payload.len);
        if (record.type != RECORD_ENTRY || index_less(record.index, walk->next) ||
            is_dead(wal, &record))
            continue;
        if (!index_equal(record.index, walk->next))
            return -EBADMSG;
        int result = walk->each(walk->context, record.index, record.term,
                                (enum raft_entry_kind)record.kind, record.payload);
        if (result != 0)
            return result;
        walk->next = index_next(walk->next);
    }
    return 0;
}

int wal_read(struct wal *wal, raft_index first, raft_index last, wal_each *each, void *context)
{
    struct walk walk = {.next = first, .last = last, .each = each, .context = context};
    for (uint32_t i = 0; i < wal->segments && !index_less(last, walk.next); i++) {
        const struct wal_segment *segment = &wal->segment[i];
        if (index_less(segment->highest, walk.next))
            continue;
        uint8_t *bytes;
        int result = read_segment(wal, segment, &bytes);
        if (result != 0)
            return result;
        result = walk_segment(wal, segment, bytes, &walk);
        free(bytes);
        if (result != 0)
            return result;
    }
    return index_less(last, walk.next) ? 0 : -EBADMSG;
}
