/*
 * Scrubbing: the durable parts of the log are read again, past the page cache, and judged as when
 * the log is opened. Reading is done off the loop; what is damaged is repaired or noted on the
 * loop, where nobody else repairs at the same time.
 */
#include "raft/wal/scrub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a segment, from the beginning of a part on. */
struct stretch {
    struct disk *disk;
    struct wal_walk walk; /* goes from part to part */
    uint64_t end;         /* sequence of the last record that may be looked at */
    size_t wish;          /* bytes to be read; of the last part, all */
    uint8_t *memory;
    size_t room;
    struct wal_patches patches;
    struct wal_hole_kept *hole;
    size_t holes, hole_room;
    struct wal_scrubbed found;
};

struct wal_scrub_job {
    struct job job;
    struct wal *wal;
    struct stretch stretch;
};

static void note_damage(struct stretch *stretch, uint64_t offset)
{
    if (stretch->found.damaged + stretch->found.unknown == 0) {
        stretch->found.segment = stretch->walk.segment;
        stretch->found.offset = offset;
    }
}

static bool note_hole(struct stretch *stretch, const struct wal_found *found)
{
    const struct record *record = &found->record;
    if (stretch->holes == stretch->hole_room) {
        size_t room = stretch->hole_room == 0 ? 16 : 2 * stretch->hole_room;
        struct wal_hole_kept *larger = realloc(stretch->hole, room * sizeof(*larger));
        if (larger == NULL)
            return false;
        stretch->hole = larger;
        stretch->hole_room = room;
    }
    stretch->hole[stretch->holes++] = wal_hole_of(record, stretch->walk.segment, found->offset);
    return true;
}

/* One part; false when it is not all in memory, or not all known. */
static bool walk_part(struct stretch *stretch)
{
    struct wal_walk *walk = &stretch->walk;
    do {
        struct wal_found found;
        if (wal_walk_look(walk, &found) != WAL_STEP_RECORD)
            return false;
        bool owner = found.record.type == RECORD_SEGMENT && found.payload_damaged;
        bool hole = found.record.type == RECORD_ENTRY && found.payload_damaged;
        if (found.head_damaged || owner || hole) {
            note_damage(stretch, found.offset);
            stretch->found.damaged++;
        }
        stretch->found.repaired += found.head_damaged || owner;
        if (hole && !note_hole(stretch, &found))
            stretch->found.error = -ENOMEM;
        wal_walk_take(walk, &found, &stretch->patches);
    } while (walk->count > 0 && walk->tail.sequence < stretch->end);
    return true;
}

static int read_stretch(struct stretch *stretch)
{
    struct wal_walk *walk = &stretch->walk;
    struct disk *disk = stretch->disk;
    char name[WAL_NAME_BYTES];
    uint64_t size = 0;
    int file;
    wal_segment_name(walk->segment, name);
    int result = disk->ops->open(disk, name, false, &file);
    if (result != 0)
        return result;
    disk->ops->go_direct(disk, file);
    result = disk->ops->size(disk, file, &size);
    uint64_t there = size > walk->base ? size - walk->base : 0;
    size_t len = there < walk->len ? (size_t)there : walk->len;
    if (result == 0 && len > 0)
        result = wal_load(disk, file, walk->base, stretch->memory, len);
    (void)!disk->ops->close(disk, file);
    memset(stretch->memory + len, 0, stretch->room - len);
    return result == -EIO ? 0 : result; /* then it is zeros, and unknown */
}

static void run_stretch(struct stretch *stretch)
{
    struct wal_walk *walk = &stretch->walk;
    uint64_t first = walk->offset;
    walk->heads = malloc(WAL_HEADS_BYTES_MAX);
    void *memory = NULL;
    walk->base = walk->offset;
    uint64_t left = walk->size - walk->base;
    stretch->room = left < stretch->wish + WAL_BATCH_BYTES_MAX
                        ? (size_t)left
                        : stretch->wish + WAL_BATCH_BYTES_MAX;
    if (walk->heads == NULL || posix_memalign(&memory, 4096, stretch->room) != 0) {
        stretch->found.error = -ENOMEM;
        return;
    }
    walk->bytes = stretch->memory = memory;
    walk->len = stretch->room;
    stretch->found.error = read_stretch(stretch);
    while (stretch->found.error == 0 && walk->tail.sequence < stretch->end &&
           walk->offset - first < stretch->wish) {
        if (!walk_part(stretch)) {
            note_damage(stretch, walk->offset);
            stretch->found.unknown++;
            break;
        }
    }
    stretch->found.bytes = walk->offset - first;
    if (stretch->patches.out_of_memory)
        stretch->found.error = -ENOMEM;
}

static void stretch_done(struct stretch *stretch)
{
    free(stretch->memory);
    free(stretch->walk.heads);
    free(stretch->hole);
    wal_patches_done(&stretch->patches);
}

/* Segment i from `offset` on, where the tail is `tail`. */
static struct stretch begin_stretch(const struct wal *wal, uint32_t i, uint64_t offset,
                                    const struct wal_tail *tail, size_t wish)
{
    const struct wal_segment *segment = &wal->segment[i];
    return (struct stretch){
        .disk = wal->disk,
        .walk = {.wal = wal,
                 .segment = segment->number,
                 .size = segment->size,
                 .tail = *tail,
                 .offset = offset},
        .end = wal_segment_end(wal, i),
        .wish = wish,
    };
}

/* --- what was found --------------------------------------------------------------------------- */

static bool is_there(const struct wal *wal, uint64_t segment)
{
    return segment >= wal->segment[0].number && segment <= wal->segment[wal->segments - 1].number;
}

/* It may have been repaired, or truncated, since it was read. */
static bool still_damaged(const struct wal *wal, const struct wal_hole_kept *kept)
{
    if (wal_is_dead(wal, kept->sequence, kept->hole.index))
        return false;
    char name[WAL_NAME_BYTES];
    struct record record = {.length = kept->hole.length, .payload_crc = kept->hole.payload_crc};
    uint8_t *bytes = malloc(record.length + 1u);
    int file, result = -ENOMEM;
    wal_segment_name(kept->hole.segment, name);
    if (bytes != NULL)
        result = wal->disk->ops->open(wal->disk, name, false, &file);
    if (result == 0) {
        wal->disk->ops->go_direct(wal->disk, file);
        result = wal->disk->ops->read(wal->disk, file, kept->hole.offset + RECORD_HEADER_BYTES,
                                      bytes, record.length);
        (void)!wal->disk->ops->close(wal->disk, file);
    }
    bool good = result == 0 && record_is_payload(&record, bytes_of(bytes, record.length));
    free(bytes);
    return !good;
}

static void act_upon(struct wal *wal, struct stretch *stretch)
{
    struct wal_scrubbed *found = &stretch->found;
    if (found->error != 0 || !is_there(wal, stretch->walk.segment)) {
        found->error = is_there(wal, stretch->walk.segment) ? found->error : 0;
        return;
    }
    if (stretch->patches.count > 0)
        found->error = wal_patches_apply(wal, &stretch->patches);
    if (found->error != 0) { /* whoever reads may pass over an error; over this one nobody may */
        wal->failed = true;
        wal->options.on_failed(wal->options.context, "repairing the log", found->error);
        return;
    }
    for (size_t i = 0; i < stretch->holes; i++) {
        if (still_damaged(wal, &stretch->hole[i])) {
            bool kept = wal_hole_add(wal, &stretch->hole[i]);
            found->holes += kept;
            found->unknown += !kept;
        }
    }
}

int wal_examine(struct wal *wal, uint32_t i, bool *ret_repaired)
{
    const struct wal_segment *segment = &wal->segment[i];
    struct stretch stretch = begin_stretch(wal, i, 0, &segment->before, (size_t)segment->size);
    run_stretch(&stretch);
    act_upon(wal, &stretch);
    int error = stretch.found.error;
    *ret_repaired = stretch.found.repaired > 0;
    stretch_done(&stretch);
    return error;
}

/* --- in stretches ----------------------------------------------------------------------------- */

static void scrub_run(struct job *job)
{
    run_stretch(&CONTAINER_OF(job, struct wal_scrub_job, job)->stretch);
}

static void scrub_done(struct job *job)
{
    struct wal_scrub_job *scrub = CONTAINER_OF(job, struct wal_scrub_job, job);
    struct wal *wal = scrub->wal;
    struct stretch *stretch = &scrub->stretch;
    act_upon(wal, stretch);
    wal->scrub_segment = stretch->walk.segment;
    wal->scrub_offset = stretch->walk.offset;
    wal->scrub_tail = stretch->walk.tail;
    if (stretch->found.unknown > 0 || stretch->walk.count > 0)
        wal->scrub_segment++; /* what comes after in this one is not known, either */
    struct wal_scrubbed found = stretch->found;
    wal->scrub = NULL;
    stretch_done(stretch);
    free(scrub);
    if (wal->options.on_scrubbed != NULL && !wal->failed)
        wal->options.on_scrubbed(wal->options.context, &found);
}

/* Segment and place of the next stretch, as wal->scrub_… say, or the next after them. */
static struct stretch next_stretch(struct wal *wal, size_t wish)
{
    uint32_t i = 0;
    while (i < wal->segments && wal->segment[i].number != wal->scrub_segment)
        i++;
    bool there = i < wal->segments;
    bool inside = there && wal->scrub_offset > 0 &&
                  wal->scrub_tail.sequence >= wal->segment[i].before.sequence;
    if (inside && wal->scrub_tail.sequence < wal_segment_end(wal, i))
        return begin_stretch(wal, i, wal->scrub_offset, &wal->scrub_tail, wish);
    if (inside)
        i++;
    if (!there || i == wal->segments || wal->segment[i].before.sequence >= wal->synced)
        i = 0;
    return begin_stretch(wal, i, 0, &wal->segment[i].before, wish);
}

void wal_scrub(struct wal *wal, size_t bytes)
{
    if (wal->scrub != NULL || wal->failed || wal->synced <= wal->segment[0].before.sequence)
        return;
    struct wal_scrub_job *scrub = calloc(1, sizeof(*scrub));
    if (scrub == NULL)
        return;
    scrub->job = (struct job){.run = scrub_run, .done = scrub_done};
    scrub->wal = wal;
    scrub->stretch = next_stretch(wal, bytes);
    wal->scrub = scrub;
    wal->options.runner->submit(wal->options.runner, RUNNER_HOUSEKEEPING, &scrub->job);
}

bool wal_scrubbing(const struct wal *wal)
{
    return wal->scrub != NULL;
}
