/* Segments as files: names, making them ahead of need, going on in the next, removing the oldest.
 */
#include "raft/node/wal_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEMPORARY_NAME "next.tmp"

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

static int write_zeros(struct disk *disk, int file, uint32_t size)
{
    static const _Alignas(4096) uint8_t zeros[256u << 10];
    for (uint32_t at = 0; at < size;) {
        uint32_t len = size - at < sizeof(zeros) ? size - at : (uint32_t)sizeof(zeros);
        int result = disk->ops->write(disk, file, at, zeros, len);
        if (result != 0)
            return result;
        at += len;
    }
    return disk->ops->sync(disk, file);
}

int wal_segment_make(struct disk *disk, uint64_t number, uint32_t size, int *ret_file)
{
    char name[WAL_NAME_BYTES];
    wal_segment_name(number, name);
    int file;
    int result = disk->ops->open(disk, TEMPORARY_NAME, true, &file);
    if (result != 0)
        return result;
    disk->ops->go_direct(disk, file);
    result = write_zeros(disk, file, size);
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
    make->error = wal_segment_make(make->wal->disk, make->number, make->size, &make->file);
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
        .number = wal->number + 1,
        .size = wal->options.segment_bytes,
    };
    wal->options.runner->submit(wal->options.runner, RUNNER_HOUSEKEEPING, &wal->make.job);
}

int wal_segment_make_now(struct wal *wal)
{
    if (wal->next_state != WAL_NEXT_NONE || wal->segments == WAL_SEGMENTS_MAX)
        return 0;
    int result =
        wal_segment_make(wal->disk, wal->number + 1, wal->options.segment_bytes, &wal->next_file);
    wal->full = is_no_room(result);
    if (result == 0)
        wal->next_state = WAL_NEXT_READY;
    return wal->full ? 0 : result;
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
        .first_sequence = wal->sequence + 1,
    };

    uint8_t payload[128];
    struct writer out = writer_of(payload, sizeof(payload));
    struct record_owner owner = {
        .node = wal->options.node,
        .segment = wal->number,
        .size = wal->size,
        .cluster = bytes_of_text(wal->cluster),
    };
    record_owner_put(&out, &owner);
    assert(!out.bad);
    struct record record = {
        .type = RECORD_SEGMENT,
        .index = wal->last,
        .term = wal->last_term,
        .payload = writer_bytes(&out),
    };
    wal_put_record(wal, &record);
    wal_segment_prepare(wal);
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
        if (wal->truncation[i].sequence > wal->segment[0].first_sequence)
            wal->truncation[kept++] = wal->truncation[i];
    }
    wal->truncations = kept;
}

void wal_compact(struct wal *wal, raft_index index)
{
    uint32_t gone = 0; /* what is left must begin with something that is durable */
    while (gone + 1 < wal->segments && !index_less(index, wal->segment[gone].highest) &&
           wal->segment[gone + 1].first_sequence <= wal->synced)
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
    wal->options.runner->submit(wal->options.runner, RUNNER_HOUSEKEEPING, &wal->remove.job);
}
