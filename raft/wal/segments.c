/* Segments as files: names, making them ahead of need, going on in the next, removing the oldest.
 */
#include "raft/wal/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPORARY_NAME "next.tmp"
#define FILL_BYTES     (256u << 10)

void wal_unused_put(uint8_t *bytes, size_t len, uint64_t generation, uint64_t number,
                    uint64_t offset)
{
    for (size_t at = 0; at + DISK_SECTOR_BYTES <= len; at += DISK_SECTOR_BYTES) {
        struct writer out = writer_of(bytes + at, DISK_SECTOR_BYTES);
        record_unused_put(&out, generation, number, offset + at);
    }
}

void wal_segment_name(uint64_t number, char ret_name[WAL_NAME_BYTES])
{
    int len = snprintf(ret_name, WAL_NAME_BYTES, "%016" PRIx64 ".wal", number);
    assert(len == 20);
}

bool wal_segment_number(const char *name, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (strlen(name) != 20 || strcmp(name + 16, ".wal") != 0)
        return false;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        if (c >= '0' && c <= '9')
            number = number * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            number = number * 16 + (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_number = number;
    return true;
}

/* Each sector says that it is not used; see wire/record.h. */
static int write_unused(struct disk *disk, int file, uint64_t generation, uint64_t number,
                        uint32_t size)
{
    void *memory;
    uint32_t most = size < FILL_BYTES ? size : FILL_BYTES;
    if (posix_memalign(&memory, 4096, most) != 0)
        return -ENOMEM;
    uint8_t *bytes = memory;
    memset(bytes, 0, most);
    int result = 0;
    for (uint32_t at = 0; at < size && result == 0;) {
        uint32_t len = size - at < most ? size - at : most;
        wal_unused_put(bytes, len, generation, number, at);
        result = disk->ops->write(disk, file, at, bytes, len);
        at += len;
    }
    free(memory);
    return result == 0 ? disk->ops->sync(disk, file) : result;
}

int wal_segment_make(struct disk *disk, uint64_t generation, uint64_t number, uint32_t size,
                     int *ret_file)
{
    char name[WAL_NAME_BYTES];
    wal_segment_name(number, name);
    int file;
    int result = disk->ops->open(disk, TEMPORARY_NAME, true, &file);
    if (result != 0)
        return result;
    disk->ops->go_direct(disk, file);
    result = write_unused(disk, file, generation, number, size);
    if (result == 0)
        result = disk->ops->rename(disk, TEMPORARY_NAME, name);
    if (result == 0)
        result = disk->ops->sync_directory(disk);
    if (result != 0) {
        (void)!disk->ops->close(disk, file);
        (void)!disk->ops->remove(disk, TEMPORARY_NAME);
        return result;
    }
    *ret_file = file;
    return 0;
}

static void make_run(struct job *job)
{
    struct wal_make_job *make = CONTAINER_OF(job, struct wal_make_job, job);
    make->error =
        wal_segment_make(make->wal->disk, make->generation, make->number, make->size, &make->file);
}

/* No room is no failure: nothing was promised yet. It is tried again, see wal_tick. */
static bool is_no_room(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

static void make_done(struct job *job)
{
    struct wal_make_job *make = CONTAINER_OF(job, struct wal_make_job, job);
    struct wal *wal = make->wal;
    assert(wal->next_state == WAL_NEXT_BEING_MADE);
    wal->next_state = WAL_NEXT_NONE;
    wal->full = is_no_room(make->error);
    if (make->error == 0) {
        wal->next_state = WAL_NEXT_READY;
        wal->next_file = make->file;
    } else if (!wal->full) {
        wal->failed = true;
        wal->options.on_failed(wal->options.context, "making a segment", make->error);
    }
}

void wal_segment_prepare(struct wal *wal)
{
    if (wal->next_state != WAL_NEXT_NONE || wal->failed || wal->segments == WAL_SEGMENTS_MAX)
        return;
    wal->next_state = WAL_NEXT_BEING_MADE;
    wal->make = (struct wal_make_job){
        .job = {.run = make_run, .done = make_done},
        .wal = wal,
        .generation = wal->generation,
        .number = wal->number + 1,
        .size = wal->options.segment_bytes,
    };
    wal->options.runner->submit(wal->options.runner, RUNNER_HOUSEKEEPING, &wal->make.job);
}

int wal_segment_make_now(struct wal *wal)
{
    if (wal->next_state != WAL_NEXT_NONE || wal->segments == WAL_SEGMENTS_MAX)
        return 0;
    int result = wal_segment_make(wal->disk, wal->generation, wal->number + 1,
                                  wal->options.segment_bytes, &wal->next_file);
    wal->full = is_no_room(result);
    if (result == 0)
        wal->next_state = WAL_NEXT_READY;
    return wal->full ? 0 : result;
}

struct bytes wal_owner_payload(const struct wal *wal, uint64_t number, uint64_t size,
                               struct raft_cluster_id cluster, uint8_t memory[WAL_OWNER_BYTES])
{
    struct writer out = writer_of(memory, WAL_OWNER_BYTES);
    struct record_owner owner = {
        .node = wal->options.node,
        .segment = number,
        .size = size,
        .cluster_id = cluster,
        .cluster = bytes_of_text(wal->cluster),
    };
    record_owner_put(&out, &owner);
    assert(!out.bad);
    return writer_bytes(&out);
}

void wal_segment_switch(struct wal *wal)
{
    assert(wal->next_state == WAL_NEXT_READY && wal->segments < WAL_SEGMENTS_MAX);
    wal->file = wal->next_file;
    wal->number += 1;
    wal->offset = 0;
    wal->size = wal->options.segment_bytes;
    wal->next_state = WAL_NEXT_NONE;
    wal->segment[wal->segments++] = (struct wal_segment){
        .number = wal->number,
        .size = wal->size,
        .before = wal_tail(wal),
    };
    uint8_t payload[WAL_OWNER_BYTES];
    struct record record = {
        .type = RECORD_SEGMENT,
        .index = wal->last,
        .term = wal->last_term,
        .payload = wal_owner_payload(wal, wal->number, wal->size, wal->owner, payload),
    };
    wal_put_record(wal, &record);
}

void wal_tick(struct wal *wal)
{
    wal_segment_prepare(wal);
}

uint64_t wal_disk_bytes(const struct wal *wal)
{
    uint64_t sum = wal->next_state == WAL_NEXT_READY ? wal->options.segment_bytes : 0;
    for (uint32_t i = 0; i < wal->segments; i++)
        sum += wal->segment[i].size;
    return sum;
}

/* Oldest first, each made durable before the next: a crash leaves a log without a hole. */
static void remove_run(struct job *job)
{
    struct wal_remove_job *remove = CONTAINER_OF(job, struct wal_remove_job, job);
    struct disk *disk = remove->wal->disk;
    for (uint64_t number = remove->first; number <= remove->last; number++) {
        char name[WAL_NAME_BYTES];
        wal_segment_name(number, name);
        remove->error = disk->ops->remove(disk, name);
        if (remove->error == 0)
            remove->error = disk->ops->sync_directory(disk);
        if (remove->error != 0)
            return;
    }
}

static void remove_done(struct job *job)
{
    struct wal_remove_job *remove = CONTAINER_OF(job, struct wal_remove_job, job);
    struct wal *wal = remove->wal;
    wal->removing = false;
    if (remove->error != 0) {
        wal->failed = true;
        wal->options.on_failed(wal->options.context, "removing a segment", remove->error);
    }
}

/* Truncations that came before every record that is left decide about nothing any more. */
static void forget_truncations(struct wal *wal)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < wal->truncations; i++) {
        if (wal->truncation[i].sequence > wal->segment[0].before.sequence)
            wal->truncation[kept++] = wal->truncation[i];
    }
    wal->truncations = kept;
}

void wal_compact(struct wal *wal, raft_index index)
{
    uint32_t gone = 0; /* what is left must begin with something that is durable */
    while (gone + 1 < wal->segments && !index_less(index, wal->segment[gone].highest) &&
           wal->segment[gone + 1].before.sequence < wal->synced)
        gone++;
    if (gone == 0 || wal->removing || wal->failed)
        return;
    wal->removing = true;
    wal->remove = (struct wal_remove_job){
        .job = {.run = remove_run, .done = remove_done},
        .wal = wal,
        .first = wal->segment[0].number,
        .last = wal->segment[gone - 1].number,
    };
    wal->segments -= gone;
    memmove(wal->segment, wal->segment + gone, wal->segments * sizeof(wal->segment[0]));
    forget_truncations(wal);
    wal_holes_compact(wal);
    wal->options.runner->submit(wal->options.runner, RUNNER_HOUSEKEEPING, &wal->remove.job);
}
