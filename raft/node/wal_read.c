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
};

static int walk_segment(struct wal *wal, struct window *window, struct walk *walk, uint64_t *offset)
{
    uint64_t size = window->segment->size;
    while (*offset + RECORD_HEADER_BYTES <= size && !index_less(walk->last, walk->next)) {
        int result = window_move(wal, window, *offset);
        if (result != 0)
            return result;
        struct record record;
        size_t at = wal_record_place(window->bytes, window->len, (size_t)(*offset - window->base));
        enum record_verdict verdict =
            record_get(bytes_of(window->bytes + at, window->len - at), &record);
        if (verdict == RECORD_END || (verdict == RECORD_OK && record.sequence > wal->synced))
            return 0;
        if (verdict != RECORD_OK)
            return -EBADMSG;
        *offset = window->base + at + record_bytes(record.payload.len);
        if (record.type != RECORD_ENTRY || index_less(record.index, walk->next) ||
            is_dead(wal, &record))
            continue;
        if (!index_equal(record.index, walk->next))
            return -EBADMSG;
        result = walk->each(walk->context, record.index, record.term,
                            (enum raft_entry_kind)record.kind, record.payload);
        if (result != 0)
            return result;
        walk->next = index_next(walk->next);
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

static void keep_cursor(struct wal *wal, struct wal_cursor *cursor, raft_index next,
                        uint64_t number, uint64_t offset)
{
    if (cursor == NULL)
        cursor = &wal->cursor[wal->cursor_turn++ % WAL_CURSORS];
    *cursor = (struct wal_cursor){.number = number, .next = next, .offset = offset};
}

static int read_segment(struct wal *wal, const struct wal_segment *segment, uint8_t *bytes,
                        struct walk *walk)
{
    struct disk *disk = wal->disk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(segment->number, name);
    struct wal_cursor *cursor = find_cursor(wal, walk->next, segment->number);
    uint64_t offset = cursor != NULL ? cursor->offset : 0;
    struct window window = {.segment = segment, .bytes = bytes};
    int result = disk->ops->open(disk, name, false, &window.file);
    if (result != 0)
        return result;
    result = walk_segment(wal, &window, walk, &offset);
    (void)!disk->ops->close(disk, window.file);
    if (result == 0 && index_less(walk->last, walk->next))
        keep_cursor(wal, cursor, walk->next, segment->number, offset);
    return result;
}

int wal_read(struct wal *wal, raft_index first, raft_index last, wal_each *each, void *context)
{
    struct walk walk = {.next = first, .last = last, .each = each, .context = context};
    uint8_t *bytes = malloc(WINDOW_BYTES);
    int result = bytes != NULL ? 0 : -ENOMEM;
    for (uint32_t i = 0; result == 0 && i < wal->segments && !index_less(last, walk.next); i++) {
        if (!index_less(wal->segment[i].highest, walk.next))
            result = read_segment(wal, &wal->segment[i], bytes, &walk);
    }
    free(bytes);
    if (result != 0)
        return result;
    return index_less(last, walk.next) ? 0 : -EBADMSG;
}
