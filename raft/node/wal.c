/* Gathering records and flushing them. wal.h says the rules, wire/record.h the bytes. */
#include "raft/node/wal_state.h"

#include <stdlib.h>
#include <string.h>

/* Kept free for what is appended unasked (no-op, TRUNCATE, RESET, SEGMENT) and for whole sectors.
 */
#define RESERVE_BYTES (1024u + 2 * DISK_SECTOR_BYTES)

size_t wal_entry_bytes(size_t payload_len)
{
    return record_bytes(payload_len);
}

static size_t gathered_bytes(const struct wal_batch *batch)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < batch->parts; i++)
        sum += writer_len(&batch->part[i].bytes);
    return sum;
}

/* Where the next record begins: after the one before in its batch, else in a sector of its own. */
static uint64_t next_offset(const struct wal *wal)
{
    const struct wal_batch *batch = wal->gathered;
    bool same_batch = batch->parts > 0 && batch->part[batch->parts - 1].file == wal->file;
    return same_batch ? wal->offset : wal_sector_after(wal->offset);
}

/*
 * Records go to this segment and, when that is ready and the batch has not gone over an end yet, to
 * the next; what is lost at the end of this one is less than a record.
 */
size_t wal_room(const struct wal *wal)
{
    if (wal->failed || wal->truncations == WAL_TRUNCATIONS_MAX)
        return 0;
    size_t room = (size_t)(wal->size - next_offset(wal));
    if (wal->next_state == WAL_NEXT_READY && wal->gathered->parts < 2) {
        size_t record_max = record_bytes(RAFT_ENTRY_BYTES_MAX);
        room = wal->options.segment_bytes + (room > record_max ? room - record_max : 0);
    }
    size_t batch = WAL_BATCH_BYTES_MAX - gathered_bytes(wal->gathered);
    if (room > batch)
        room = batch;
    return room > RESERVE_BYTES ? room - RESERVE_BYTES : 0;
}

bool wal_full(const struct wal *wal)
{
    return wal->full;
}

/* The disk takes whole sectors. */
static void pad(struct wal_part *part)
{
    while (writer_len(&part->bytes) % DISK_SECTOR_BYTES != 0)
        put_u64(&part->bytes, 0);
    assert(!part->bytes.bad); /* buffers are whole sectors, records multiples of 8 */
}

static struct wal_part *current_part(struct wal *wal)
{
    struct wal_batch *batch = wal->gathered;
    if (batch->parts > 0 && batch->part[batch->parts - 1].file == wal->file)
        return &batch->part[batch->parts - 1];
    assert(batch->parts < 2);
    if (batch->parts > 0)
        pad(&batch->part[0]);
    size_t used = gathered_bytes(batch);
    wal->offset = wal_sector_after(wal->offset);
    batch->part[batch->parts] = (struct wal_part){
        .file = wal->file,
        .offset = wal->offset,
        .bytes = writer_of(batch->buffer + used, WAL_BATCH_BYTES_MAX - used),
    };
    return &batch->part[batch->parts++];
}

void wal_put_record(struct wal *wal, struct record *record)
{
    size_t bytes = record_bytes(record->payload.len);
    struct wal_part *part = current_part(wal);
    assert(bytes <= wal->size - wal->offset);
    record->generation = wal->generation;
    record->sequence = ++wal->sequence;
    record->previous_crc = wal->chain;
    record->synced = wal->synced;
    record_put(&part->bytes, record);
    assert(!part->bytes.bad); /* the caller kept to wal_room */
    wal->chain = record->header_crc;
    wal->offset += bytes;
    wal->gathered->sequence = wal->sequence;
}

/* As wal_put_record, in the next segment when it does not fit this one. */
static void gather(struct wal *wal, struct record *record)
{
    if (record_bytes(record->payload.len) > wal->size - next_offset(wal)) {
        struct wal_batch *batch = wal->gathered;
        int full_file = wal->file;
        if (batch->parts == 0)
            (void)current_part(wal); /* so that the flush closes the full file */
        assert(batch->part[batch->parts - 1].file == full_file);
        batch->part[batch->parts - 1].close_file = true;
        wal_segment_switch(wal);
    }
    wal_put_record(wal, record);
}

void wal_hard_state(struct wal *wal, const struct raft_hard_state *hard)
{
    struct wal_batch *batch = wal->gathered;
    batch->hard_state = true;
    batch->hard = *hard;
}

void wal_append(struct wal *wal, raft_index index, raft_term term, enum raft_entry_kind kind,
                struct bytes payload)
{
    assert(index.n == wal->last.n + 1 && !term_less(term, wal->last_term));
    struct record record = {
        .type = RECORD_ENTRY,
        .kind = (uint8_t)kind,
        .index = index,
        .term = term,
        .payload = payload,
    };
    gather(wal, &record);
    wal->last = index;
    wal->last_term = term;
    struct wal_segment *segment = &wal->segment[wal->segments - 1];
    segment->highest = index_max(segment->highest, index);
}

void wal_note_truncation(struct wal *wal, uint64_t sequence, raft_index first_gone)
{
    assert(wal->truncations < WAL_TRUNCATIONS_MAX);
    wal->truncation[wal->truncations++] =
        (struct wal_truncation){.sequence = sequence, .first_gone = first_gone};
}

void wal_mark(struct wal *wal, struct raft_mark mark)
{
    wal->gathered->marked = true;
    wal->gathered->mark = mark;
}

static void begin_batch(struct wal_batch *batch)
{
    uint8_t *buffer = batch->buffer;
    *batch = (struct wal_batch){.buffer = buffer};
}

static int write_part(struct disk *disk, const struct wal_part *part)
{
    struct bytes bytes = writer_bytes(&part->bytes);
    if (bytes.len == 0)
        return 0;
    int result = disk->ops->write(disk, part->file, part->offset, bytes.at, bytes.len);
    return result == 0 ? disk->ops->sync(disk, part->file) : result;
}

static void flush_run(struct job *job)
{
    struct wal_flush_job *flush = CONTAINER_OF(job, struct wal_flush_job, job);
    struct wal *wal = flush->wal;
    struct wal_batch *batch = wal->in_flight;
    if (batch->hard_state) {
        flush->what = "writing term and vote";
        flush->error = hard_state_write(&wal->hard_state, &batch->hard);
    }
    for (uint32_t i = 0; flush->error == 0 && i < batch->parts; i++) {
        flush->what = "writing the log";
        flush->error = write_part(wal->disk, &batch->part[i]);
        if (flush->error == 0 && batch->part[i].close_file)
            flush->error = wal->disk->ops->close(wal->disk, batch->part[i].file);
    }
}

static void flush_done(struct job *job)
{
    struct wal_flush_job *flush = CONTAINER_OF(job, struct wal_flush_job, job);
    struct wal *wal = flush->wal;
    assert(wal->flushing);
    wal->flushing = false;
    if (flush->error != 0) {
        wal->failed = true;
        wal->options.on_failed(wal->options.context, flush->what, flush->error);
        return;
    }
    struct wal_batch *batch = wal->in_flight;
    if (batch->parts > 0)
        wal->synced = batch->sequence;
    if (batch->marked)
        wal->options.on_durable(wal->options.context, batch->mark);
}

void wal_flush(struct wal *wal, bool now)
{
    struct wal_batch *batch = wal->gathered;
    if (wal->flushing || wal->failed || (batch->parts == 0 && !batch->hard_state))
        return;
    if (batch->parts > 0)
        pad(&batch->part[batch->parts - 1]);
    wal->flushing = true;
    wal->gathered = wal->in_flight;
    wal->in_flight = batch;
    begin_batch(wal->gathered);
    wal->flush = (struct wal_flush_job){
        .job = {.run = flush_run, .done = flush_done},
        .wal = wal,
    };
    if (now) {
        flush_run(&wal->flush.job);
        flush_done(&wal->flush.job);
    } else {
        wal->options.runner->submit(wal->options.runner, RUNNER_LOG, &wal->flush.job);
    }
}

bool wal_flushing(const struct wal *wal)
{
    return wal->flushing;
}

void wal_truncate(struct wal *wal, raft_index first_gone, raft_term term_before)
{
    assert(first_gone.n > 0 && !index_less(wal->last, first_gone));
    struct record record = {.type = RECORD_TRUNCATE, .index = first_gone, .term = term_before};
    gather(wal, &record);
    wal_note_truncation(wal, wal->sequence, first_gone);
    wal->last.n = first_gone.n - 1;
    wal->last_term = term_before;
}

void wal_reset(struct wal *wal, raft_index start, raft_term term)
{
    struct record record = {.type = RECORD_RESET, .index = start, .term = term};
    gather(wal, &record);
    wal_note_truncation(wal, wal->sequence, (raft_index){0});
    wal->last = start;
    wal->last_term = term;
}

void wal_close(struct wal *wal)
{
    if (wal == NULL)
        return;
    assert(!wal->flushing);
    if (wal->hard_state.disk != NULL)
        (void)!wal->disk->ops->close(wal->disk, wal->hard_state.file);
    if (wal->file != WAL_NO_FILE)
        (void)!wal->disk->ops->close(wal->disk, wal->file);
    if (wal->next_state == WAL_NEXT_READY)
        (void)!wal->disk->ops->close(wal->disk, wal->next_file);
    free(wal->batch[0].buffer);
    free(wal->batch[1].buffer);
    free(wal);
}
