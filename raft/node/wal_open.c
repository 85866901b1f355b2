/* Opening a log: judging what is on disk, by the rules of wal.h. */
#include "raft/node/wal_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listing {
    uint32_t count;
    uint64_t number[WAL_SEGMENTS_MAX];
};

/* A walk over all records in physical order. */
struct scan {
    struct wal *wal;
    struct wal_recovered *recovered;
    const struct listing *listing;
    uint8_t *buffer; /* one segment */
    size_t capacity;
    bool started; /* the first record was seen */
};

void wal_complain(struct wal_recovered *recovered, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(recovered->text, sizeof(recovered->text), format, arguments);
    va_end(arguments);
}

static int note_name(void *context, const char *name)
{
    struct listing *listing = context;
    uint64_t number;
    if (!wal_segment_number(name, &number))
        return 0;
    if (listing->count == WAL_SEGMENTS_MAX)
        return -EMFILE;
    listing->number[listing->count++] = number;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int list_segments(struct scan *scan, struct listing *listing)
{
    struct disk *disk = scan->wal->disk;
    int result = disk->ops->list(disk, note_name, listing);
    if (result != 0)
        return result;
    qsort(listing->number, listing->count, sizeof(listing->number[0]), by_number);
    for (uint32_t i = 1; i < listing->count; i++) {
        if (listing->number[i] == listing->number[i - 1] + 1)
            continue;
        wal_complain(scan->recovered,
                     "segments %016" PRIx64 ".wal to %016" PRIx64 ".wal are missing: the log has a "
                     "hole; put the files back, or restore the node from its peers or a backup",
                     listing->number[i - 1] + 1, listing->number[i] - 1);
        return -EBADMSG;
    }
    return 0;
}

/* Opens segment i of the listing and reads all of it. */
static int load_segment(struct scan *scan, uint32_t i, int *ret_file, size_t *ret_size)
{
    struct disk *disk = scan->wal->disk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(scan->listing->number[i], name);
    int file;
    uint64_t size = 0;
    int result = disk->ops->open(disk, name, false, &file);
    if (result != 0)
        return result;
    result = disk->ops->size(disk, file, &size);
    if (result == 0 && size > UINT32_MAX)
        result = -EFBIG;
    if (result == 0 && size > scan->capacity) {
        uint8_t *larger = realloc(scan->buffer, size);
        result = larger != NULL ? 0 : -ENOMEM;
        scan->buffer = larger != NULL ? larger : scan->buffer;
        scan->capacity = larger != NULL ? size : scan->capacity;
    }
    if (result == 0)
        result = disk->ops->read(disk, file, 0, scan->buffer, size);
    if (result != 0) {
        wal_complain(scan->recovered, "%s cannot be read: %s", name, strerror(-result));
        (void)!disk->ops->close(disk, file);
        return result;
    }
    *ret_file = file;
    *ret_size = size;
    return 0;
}

static bool all_zero(const uint8_t *at, size_t len)
{
    return len == 0 || (at[0] == 0 && memcmp(at, at + 1, len - 1) == 0);
}

/* Whether anything was ever written to a segment after number i of the listing. */
static int later_segment_used(struct scan *scan, uint32_t i, bool *ret_used)
{
    struct disk *disk = scan->wal->disk;
    *ret_used = false;
    for (uint32_t j = i + 1; j < scan->listing->count && !*ret_used; j++) {
        uint8_t head[RECORD_HEADER_BYTES];
        char name[WAL_NAME_BYTES];
        int file;
        wal_segment_name(scan->listing->number[j], name);
        int result = disk->ops->open(disk, name, false, &file);
        if (result != 0)
            return result;
        result = disk->ops->read(disk, file, 0, head, sizeof(head));
        (void)!disk->ops->close(disk, file);
        if (result != 0 && result != -ENODATA)
            return result;
        *ret_used = result == 0 && !all_zero(head, sizeof(head));
    }
    return 0;
}

/* Whether a record beyond `offset` proves that the one there was durable. */
static bool proven_durable(const struct scan *scan, size_t offset, size_t size)
{
    uint64_t damaged = scan->wal->sequence + 1;
    for (size_t at = offset + 8; at + RECORD_HEADER_BYTES <= size; at += 8) {
        struct record record;
        if (record_get(bytes_of(scan->buffer + at, size - at), &record) == RECORD_OK &&
            record.generation == scan->wal->generation && record.synced >= damaged)
            return true;
    }
    return false;
}

/* Zeros from `offset` to the end, durable. */
static int cut(struct scan *scan, int file, size_t offset, size_t size)
{
    struct disk *disk = scan->wal->disk;
    memset(scan->buffer + offset, 0, size - offset);
    int result = disk->ops->write(disk, file, offset, scan->buffer + offset, size - offset);
    return result == 0 ? disk->ops->sync(disk, file) : result;
}

/* What is at `offset` of segment i is neither a record in its place nor the end. */
static int judge_damage(struct scan *scan, uint32_t i, int file, size_t offset, size_t size)
{
    uint64_t number = scan->listing->number[i];
    uint64_t index = scan->wal->last.n + 1;
    bool rot = false;
    int result = later_segment_used(scan, i, &rot);
    if (result != 0)
        return result;
    if (!rot && !scan->started && scan->listing->count == 1 &&
        scan->wal->hard_state.now.sequence == 0)
        return 0; /* the log was being made: it starts over */
    if (rot || !scan->started || proven_durable(scan, offset, size)) {
        wal_complain(scan->recovered,
                     "%016" PRIx64 ".wal is damaged at offset %zu, where record %" PRIu64
                     " (log entry %" PRIu64 ") was acknowledged: nothing was changed; restore the "
                     "file, or the node from its peers or a backup",
                     number, offset, scan->wal->sequence + 1, index);
        return -EBADMSG;
    }
    size_t end = size;
    while (end > offset && scan->buffer[end - 1] == 0)
        end--;
    scan->recovered->cut_bytes = end - offset;
    wal_complain(scan->recovered,
                 "%016" PRIx64
                 ".wal: a torn last batch of %zu bytes at offset %zu, after log entry "
                 "%" PRIu64 ", was cut off; nobody was told that it was written",
                 number, end - offset, offset, scan->wal->last.n);
    return cut(scan, file, offset, size);
}

static int check_owner(struct scan *scan, const struct record *record, uint64_t number, size_t size)
{
    struct wal *wal = scan->wal;
    struct record_owner owner;
    if (record_owner_decode(record->payload, &owner) != 0)
        return -EBADMSG;
    if (owner.node != wal->options.node ||
        !bytes_equal(owner.cluster, bytes_of_text(wal->cluster))) {
        wal_complain(scan->recovered,
                     "the log belongs to node %" PRIu64
                     " of cluster \"%.*s\", this is node %" PRIu64
                     " of \"%s\": check --id, --cluster and --dir",
                     owner.node, (int)owner.cluster.len, (const char *)owner.cluster.at,
                     wal->options.node, wal->cluster);
        return -EBADMSG;
    }
    if (owner.segment != number || owner.size != size) {
        wal_complain(scan->recovered,
                     "%016" PRIx64 ".wal says that it is segment %" PRIu64 " of %" PRIu64
                     " bytes, and has %zu: it was cut short or swapped; restore the file",
                     number, owner.segment, owner.size, size);
        return -EBADMSG;
    }
    return 0;
}

/* The first record of all tells where the log begins. */
static void start_at(struct scan *scan, const struct record *record)
{
    struct wal *wal = scan->wal;
    scan->started = true;
    wal->generation = record->generation;
    wal->sequence = record->sequence - 1;
    wal->chain = record->previous_crc;
    wal->last = record->index;
    wal->last_term = record->term;
    scan->recovered->start = record->index;
    scan->recovered->start_term = record->term;
}

static bool in_place(const struct wal *wal, const struct record *record)
{
    if (record->generation != wal->generation || record->sequence != wal->sequence + 1 ||
        record->previous_crc != wal->chain)
        return false;
    switch (record->type) {
    case RECORD_SEGMENT:
        return index_equal(record->index, wal->last);
    case RECORD_ENTRY:
        return record->index.n == wal->last.n + 1 && !term_less(record->term, wal->last_term);
    case RECORD_TRUNCATE:
        return record->index.n > 0 && !index_less(wal->last, record->index);
    case RECORD_RESET:
        return true;
    }
    UNREACHABLE();
}

static int take_record(struct scan *scan, const struct record *record)
{
    struct wal *wal = scan->wal;
    struct wal_segment *segment = &wal->segment[wal->segments - 1];
    wal->sequence = record->sequence;
    wal->chain = record->header_crc;
    if (wal->truncations == WAL_TRUNCATIONS_MAX &&
        (record->type == RECORD_TRUNCATE || record->type == RECORD_RESET))
        return -ENOBUFS;
    switch (record->type) {
    case RECORD_SEGMENT:
        return 0;
    case RECORD_ENTRY:
        wal->last = record->index;
        wal->last_term = record->term;
        segment->highest = index_max(segment->highest, record->index);
        return 0;
    case RECORD_TRUNCATE:
        wal_note_truncation(wal, record->sequence, record->index);
        wal->last.n = record->index.n - 1;
        wal->last_term = record->term;
        return 0;
    case RECORD_RESET:
        wal_note_truncation(wal, record->sequence, (raft_index){0});
        wal->last = record->index;
        wal->last_term = record->term;
        scan->recovered->start = record->index;
        scan->recovered->start_term = record->term;
        return 0;
    }
    UNREACHABLE();
}

/* Walks segment i, which is in the buffer; *ret_offset is where its records end. */
static int scan_segment(struct scan *scan, uint32_t i, int file, size_t size, size_t *ret_offset)
{
    struct wal *wal = scan->wal;
    uint64_t number = scan->listing->number[i];
    wal->segment[wal->segments++] = (struct wal_segment){.number = number, .size = size};
    size_t offset = 0;
    for (;;) {
        struct record record;
        offset = wal_record_place(scan->buffer, size, offset);
        enum record_verdict verdict =
            record_get(bytes_of(scan->buffer + offset, size - offset), &record);
        bool first = offset == 0;
        if (verdict == RECORD_OK && first && record.type == RECORD_SEGMENT && !scan->started)
            start_at(scan, &record);
        if (verdict == RECORD_FOREIGN) {
            wal_complain(scan->recovered,
                         "%016" PRIx64 ".wal offset %zu: a record of a format that this version of "
                         "rollcall-node does not know: run the version that wrote it, or a later",
                         number, offset);
            return -EBADMSG;
        }
        if (verdict == RECORD_END && all_zero(scan->buffer + offset, size - offset))
            break;
        if (verdict != RECORD_OK || !scan->started || !in_place(wal, &record) ||
            first != (record.type == RECORD_SEGMENT)) {
            int result = judge_damage(scan, i, file, offset, size);
            if (result != 0)
                return result;
            break;
        }
        if (first)
            wal->segment[wal->segments - 1].first_sequence = record.sequence;
        int result = first ? check_owner(scan, &record, number, size) : 0;
        if (result == 0)
            result = take_record(scan, &record);
        if (result != 0)
            return result;
        offset += record_bytes(record.payload.len);
    }
    *ret_offset = offset;
    return 0;
}

/* Segments after the last used one hold nothing: the next is made anew when its turn comes. */
static int remove_unused(struct scan *scan, uint32_t used)
{
    struct wal *wal = scan->wal;
    struct disk *disk = wal->disk;
    for (uint32_t i = scan->listing->count; i-- > used;) {
        char name[WAL_NAME_BYTES];
        wal_segment_name(scan->listing->number[i], name);
        int result = disk->ops->remove(disk, name);
        if (result == 0)
            result = disk->ops->sync_directory(disk);
        if (result != 0)
            return result;
    }
    return 0;
}

static int scan_all(struct scan *scan)
{
    struct wal *wal = scan->wal;
    uint32_t used = 0;
    for (uint32_t i = 0; i < scan->listing->count; i++) {
        int file;
        size_t size, offset = 0;
        int result = load_segment(scan, i, &file, &size);
        if (result != 0)
            return result;
        bool untouched = all_zero(scan->buffer, size);
        if (!untouched)
            result = scan_segment(scan, i, file, size, &offset);
        if (result != 0 || untouched || offset == 0) {
            if (!untouched && result == 0)
                wal->segments--; /* all of it was a torn batch */
            (void)!wal->disk->ops->close(wal->disk, file);
            if (result != 0)
                return result;
            bool later;
            result = later_segment_used(scan, i, &later);
            if (result != 0 || !later)
                break;
            size = 0; /* zeros in the middle of the log */
            return judge_damage(scan, i, WAL_NO_FILE, 0, size);
        }
        if (wal->file != WAL_NO_FILE)
            (void)!wal->disk->ops->close(wal->disk, wal->file);
        wal->file = file;
        wal->number = scan->listing->number[i];
        wal->offset = offset;
        wal->size = size;
        used = i + 1;
    }
    if (used == 0 && (scan->listing->count > 1 || wal->hard_state.now.sequence > 0)) {
        wal_complain(scan->recovered,
                     "the segments are empty, and the node has voted in term "
                     "%" PRIu64 ": its log was wiped; restore the files, or the node from its "
                     "peers or a backup",
                     wal->hard_state.now.hard.term.n);
        return -EBADMSG;
    }
    return remove_unused(scan, used);
}

/* A log that never was: its first segment, with the record that says whose it is. */
static int make_log(struct wal *wal)
{
    int result = wal_segment_make(wal->disk, 1, wal->options.segment_bytes, &wal->next_file);
    if (result != 0)
        return result;
    wal->next_state = WAL_NEXT_READY;
    wal->generation = wal->options.generation;
    wal_segment_switch(wal);
    wal_flush(wal, true);
    return wal->failed ? -EIO : 0;
}

static int open_hard_state(struct scan *scan)
{
    struct wal *wal = scan->wal;
    struct wal_recovered *recovered = scan->recovered;
    int result = hard_state_open(wal->disk, wal->options.node, scan->listing->count == 0,
                                 &wal->hard_state, &recovered->damaged_hard_state_blocks);
    if (result == -ENOENT)
        wal_complain(recovered,
                     "the file " HARD_STATE_FILE " is missing beside the log: without "
                     "term and vote this node could vote twice; restore it, or the node from its "
                     "peers or a backup");
    else if (result == -EBADMSG)
        wal_complain(recovered,
                     "the file " HARD_STATE_FILE " is damaged or another node's: "
                     "without term and vote this node could vote twice; restore it, or the node "
                     "from its peers or a backup");
    if (result != 0)
        return result == -ENOENT ? -EBADMSG : result;
    recovered->hard = wal->hard_state.now.hard;
    if (scan->listing->count == 0 && wal->hard_state.now.sequence > 0) {
        wal_complain(recovered,
                     "there is a " HARD_STATE_FILE " of term %" PRIu64 " and no segment: "
                     "the log was removed; restore the files, or the node from its peers or a "
                     "backup",
                     recovered->hard.term.n);
        return -EBADMSG;
    }
    return 0;
}

/* Where the first record is of which the last one does not say that it was durable before. */
static size_t find_unsynced(const struct wal *wal, const uint8_t *bytes)
{
    size_t offset = 0, first = 0;
    uint64_t synced = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct record record;
        for (offset = 0; offset < wal->offset; offset += record_bytes(record.payload.len)) {
            offset = wal_record_place(bytes, (size_t)wal->size, offset);
            if (record_get(bytes_of(bytes + offset, (size_t)wal->size - offset), &record) !=
                RECORD_OK)
                break; /* the end: all before was read as good just now */
            if (pass == 0)
                synced = record.synced;
            else if (record.sequence > synced)
                break;
        }
        first = offset;
    }
    return first / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES;
}

/*
 * A process that was killed leaves written bytes that were never synced, and that were read as good
 * just now: they must be durable before anything builds on them. They are written again, too: after
 * a sync that failed the kernel may take for clean what it could not write, and the next sync for
 * done. (The hard state is written again by hard_state_open.)
 */
static int write_unsynced(struct wal *wal)
{
    struct disk *disk = wal->disk;
    void *memory; /* aligned: the file may be written past the page cache */
    if (posix_memalign(&memory, 4096, (size_t)wal->size) != 0)
        return -ENOMEM;
    uint8_t *bytes = memory;
    int result = disk->ops->read(disk, wal->file, 0, bytes, (size_t)wal->size);
    if (result == 0) {
        size_t from = find_unsynced(wal, bytes);
        size_t to = (size_t)wal_sector_after(wal->offset);
        if (from < to)
            result = disk->ops->write(disk, wal->file, from, bytes + from, to - from);
    }
    free(memory);
    return result;
}

static int sync_last(struct wal *wal)
{
    struct disk *disk = wal->disk;
    int result = write_unsynced(wal);
    if (result == 0)
        result = disk->ops->sync(disk, wal->file);
    if (result == 0)
        result = disk->ops->sync_directory(disk);
    return result;
}

static int recover(struct scan *scan)
{
    struct wal *wal = scan->wal;
    struct wal_recovered *recovered = scan->recovered;
    int result = open_hard_state(scan);
    if (result == 0)
        result = scan_all(scan);
    if (result == 0 && wal->segments == 0) {
        recovered->fresh = true;
        result = make_log(wal);
    }
    if (result != 0)
        return result;
    wal->synced = wal->sequence;
    recovered->last = wal->last;
    if (term_less(recovered->hard.term, wal->last_term)) {
        wal_complain(recovered,
                     HARD_STATE_FILE " says term %" PRIu64 ", the log ends in term "
                                     "%" PRIu64 ": the file is an old copy; restore the newest",
                     recovered->hard.term.n, wal->last_term.n);
        return -EBADMSG;
    }
    if (!recovered->fresh)
        result = sync_last(wal);
    if (result == 0 && wal_room(wal) == 0) /* what comes unasked at start cannot wait for a job */
        result = wal_segment_make_now(wal);
    if (result != 0)
        return result;
    wal->disk->ops->go_direct(wal->disk, wal->file);
    wal_segment_prepare(wal); /* last: a job is under way after it */
    return 0;
}

int wal_open(const struct wal_options *options, struct wal **ret_wal,
             struct wal_recovered *ret_recovered)
{
    assert(options->segment_bytes >= 4096 && options->segment_bytes % DISK_SECTOR_BYTES == 0);
    assert(strlen(options->cluster) < sizeof(((struct wal *)0)->cluster));
    memset(ret_recovered, 0, sizeof(*ret_recovered));
    struct wal *wal = calloc(1, sizeof(*wal));
    struct listing *listing = calloc(1, sizeof(*listing));
    struct scan scan = {.wal = wal, .recovered = ret_recovered, .listing = listing};
    int result = wal != NULL && listing != NULL ? 0 : -ENOMEM;
    if (result == 0) {
        wal->options = *options;
        wal->disk = options->disk;
        wal->file = WAL_NO_FILE;
        memcpy(wal->cluster, options->cluster, strlen(options->cluster) + 1);
        wal->gathered = &wal->batch[0];
        wal->in_flight = &wal->batch[1];
        wal->batch[0].buffer = aligned_alloc(4096, WAL_BATCH_BYTES_MAX);
        wal->batch[1].buffer = aligned_alloc(4096, WAL_BATCH_BYTES_MAX);
        if (wal->batch[0].buffer == NULL || wal->batch[1].buffer == NULL)
            result = -ENOMEM;
    }
    if (result == 0)
        result = list_segments(&scan, listing);
    if (result == 0)
        result = recover(&scan);
    free(scan.buffer);
    free(listing);
    if (result != 0) {
        /* Where a job makes the next segment the memory is its own: the process is about to end. */
        if (wal == NULL || wal->next_state != WAL_NEXT_BEING_MADE)
            wal_close(wal);
        return result;
    }
    *ret_wal = wal;
    return 0;
}
