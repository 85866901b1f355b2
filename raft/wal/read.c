/* Reading entries back: for replay after a start, and for peers that are far behind. */
#include "raft/wal/scrub.h"

#include <errno.h>
#include <stdlib.h>

/* A part of a segment in memory: enough for any record that begins in it, or up to the end. */
#define WINDOW_BYTES (1u << 20)
#define WINDOW_LEAST (DISK_SECTOR_BYTES + record_bytes(RAFT_ENTRY_BYTES_MAX))

struct window {
    const struct wal_segment *segment;
    int file;
    uint8_t *bytes;
    uint64_t base;
    size_t len;
};

static int window_move(struct wal *wal, struct window *window, uint64_t offset)
{
    uint64_t end = window->base + window->len, size = window->segment->size;
    if (window->len > 0 && offset >= window->base &&
        (end == size || (end > offset && end - offset >= WINDOW_LEAST)))
        return 0;
    window->base = offset / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES;
    window->len = size - window->base < WINDOW_BYTES ? (size_t)(size - window->base) : WINDOW_BYTES;
    return wal->disk->ops->read(wal->disk, window->file, window->base, window->bytes, window->len);
}

struct walk {
    raft_index next, last;
    wal_each *each;
    void *context;
    uint64_t offset;   /* in the segment */
    uint64_t sequence; /* of the record before */
};

/* The next record's header, there or, when it is COPIES, in the next sector. */
static bool next_head(const struct wal *wal, const struct window *window, struct walk *walk,
                      struct record *ret_record)
{
    for (int i = 0; i < 2; i++) {
        uint64_t place = i == 0 ? walk->offset : wal_sector_after(walk->offset);
        size_t at = (size_t)(place - window->base);
        if (at + RECORD_HEADER_BYTES > window->len ||
            record_head_get(bytes_of(window->bytes + at, window->len - at), ret_record) !=
                RECORD_OK ||
            ret_record->generation != wal->generation || ret_record->sequence != walk->sequence + 1)
            continue;
        walk->offset = place;
        return true;
    }
    return false;
}

/* An entry that is asked for; -EBADMSG: it is damaged. */
static int give(const struct window *window, struct walk *walk, const struct record *record)
{
    size_t at = (size_t)(walk->offset + RECORD_HEADER_BYTES - window->base);
    if (!index_equal(record->index, walk->next) || record->length > window->len - at)
        return -EBADMSG;
    struct bytes payload = bytes_of(window->bytes + at, record->length);
    if (!record_is_payload(record, payload))
        return -EBADMSG;
    int result = walk->each(walk->context, record->index, record->term,
                            (enum raft_entry_kind)record->kind, payload);
    if (result == 0)
        walk->next = index_next(walk->next);
    return result;
}

/* Up to the record of sequence `end`, the last one of the segment that is durable. */
static int walk_segment(struct wal *wal, struct window *window, struct walk *walk, uint64_t end)
{
    while (walk->sequence < end && !index_less(walk->last, walk->next)) {
        int result = window_move(wal, window, walk->offset);
        if (result != 0)
            return result == -EIO ? -EBADMSG : result;
        struct record record;
        if (!next_head(wal, window, walk, &record))
            return -EBADMSG;
        if (record.type == RECORD_ENTRY && !index_less(record.index, walk->next) &&
            !wal_is_dead(wal, record.sequence, record.index))
            result = give(window, walk, &record);
        if (result != 0)
            return result;
        walk->sequence = record.sequence;
        walk->offset += record_bytes(record.length);
        if (record.type == RECORD_COPIES)
            walk->offset = wal_sector_after(walk->offset);
    }
    return 0;
}

/* Where an earlier walk stopped, if it stopped before this entry: what is live comes after. */
static struct wal_cursor *find_cursor(struct wal *wal, raft_index next, uint64_t number)
{
    for (uint32_t i = 0; i < WAL_CURSORS; i++) {
        struct wal_cursor *cursor = &wal->cursor[i];
        if (cursor->number == number && index_equal(cursor->next, next))
            return cursor;
    }
    return NULL;
}

static void keep_cursor(struct wal *wal, struct wal_cursor *cursor, const struct walk *walk,
                        uint64_t number)
{
    if (cursor == NULL)
        cursor = &wal->cursor[wal->cursor_turn++ % WAL_CURSORS];
    *cursor = (struct wal_cursor){
        .number = number, .next = walk->next, .offset = walk->offset, .sequence = walk->sequence};
}

uint64_t wal_segment_end(const struct wal *wal, uint32_t i)
{
    uint64_t end = i + 1 < wal->segments ? wal->segment[i + 1].before.sequence : wal->synced;
    return end < wal->synced ? end : wal->synced;
}

static int read_segment(struct wal *wal, uint32_t i, uint8_t *bytes, struct walk *walk)
{
    struct disk *disk = wal->disk;
    const struct wal_segment *segment = &wal->segment[i];
    char name[WAL_NAME_BYTES];
    wal_segment_name(segment->number, name);
    struct wal_cursor *cursor = find_cursor(wal, walk->next, segment->number);
    walk->offset = cursor != NULL ? cursor->offset : 0;
    walk->sequence = cursor != NULL ? cursor->sequence : segment->before.sequence;
    struct window window = {.segment = segment, .bytes = bytes};
    int result = disk->ops->open(disk, name, false, &window.file);
    if (result != 0)
        return result;
    result = walk_segment(wal, &window, walk, wal_segment_end(wal, i));
    (void)!disk->ops->close(disk, window.file);
    if (result == 0 && index_less(walk->last, walk->next))
        keep_cursor(wal, cursor, walk, segment->number);
    return result;
}

/* Damage is looked into, once: what can be repaired is, and then it is read again. */
static int read_or_examine(struct wal *wal, uint32_t i, uint8_t *bytes, struct walk *walk)
{
    int result = read_segment(wal, i, bytes, walk);
    raft_index hole;
    if (result != -EBADMSG || wal_has_hole(wal, walk->next, walk->next, &hole))
        return result;
    bool repaired = false;
    result = wal_examine(wal, i, &repaired);
    if (result != 0)
        return result;
    return repaired ? read_segment(wal, i, bytes, walk) : -EBADMSG;
}

int wal_read(struct wal *wal, raft_index first, raft_index last, wal_each *each, void *context)
{
    struct walk walk = {.next = first, .last = last, .each = each, .context = context};
    uint8_t *bytes = malloc(WINDOW_BYTES);
    int result = bytes != NULL ? 0 : -ENOMEM;
    for (uint32_t i = 0; result == 0 && i < wal->segments && !index_less(last, walk.next); i++) {
        if (!index_less(wal->segment[i].highest, walk.next))
            result = read_or_examine(wal, i, bytes, &walk);
    }
    free(bytes);
    if (result != 0)
        return result;
    return index_less(last, walk.next) ? 0 : -EBADMSG;
}
