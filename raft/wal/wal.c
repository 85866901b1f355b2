/* Gathering records and flushing them. wal.h says the rules, wire/record.h the bytes. */
#include "raft/wal/repair.h"

#include "raft/base/crc32c.h"

#include <stdlib.h>
#include <string.h>

/* Kept free for what is appended unasked: no-op, TRUNCATE, RESET. */
#define RESERVE_BYTES 1536u

/* What a part takes beyond its entries: COPIES' own header, and what fills two sectors up. */
#define CLOSING_BYTES (RECORD_HEADER_BYTES + 2 * (DISK_SECTOR_BYTES - 1))

/* And the first of a segment: SEGMENT, and its copy. */
#define OPENING_BYTES (2 * RECORD_HEADER_BYTES + WAL_OWNER_BYTES)

size_t wal_entry_bytes(size_t payload_len)
{
    return record_bytes(payload_len) + RECORD_HEADER_BYTES;
}

static struct wal_part *open_part(const struct wal *wal)
{
    struct wal_batch *batch = wal->gathered;
    if (batch->parts == 0 || batch->part[batch->parts - 1].file != wal->file)
        return NULL;
    return &batch->part[batch->parts - 1];
}

/* Bytes of `total` that are left to a part, or part of a batch, with these records in it. */
static size_t bytes_left(uint64_t total, const struct wal_part *part)
{
    uint64_t used = CLOSING_BYTES;
    if (part != NULL)
        used += writer_len(&part->bytes) + (uint64_t)part->count * RECORD_HEADER_BYTES;
    return total > used ? (size_t)(total - used) : 0;
}

/*
 * Records go to this segment and, when that is ready and the batch has not gone over an end yet, to
 * the next; what is lost at the end of this one is less than a record.
 */
size_t wal_room(const struct wal *wal)
{
    if (wal->failed || wal->truncations == WAL_TRUNCATIONS_MAX)
        return 0;
    const struct wal_part *part = open_part(wal);
    size_t room = bytes_left(wal->size - (part != NULL ? part->offset : wal->offset), part);
    size_t used = wal->gathered->parts < 2 ? 0 : writer_len(&wal->gathered->part[0].bytes);
    size_t batch = bytes_left(WAL_BATCH_BYTES_MAX - used, part);
    if (wal->next_state == WAL_NEXT_READY && wal->gathered->parts < 2) {
        size_t record_max = wal_entry_bytes(RAFT_ENTRY_BYTES_MAX);
        size_t next = bytes_left(wal->options.segment_bytes - OPENING_BYTES, NULL);
        room = next + (room > record_max ? room - record_max : 0);
        batch -= batch < CLOSING_BYTES + OPENING_BYTES ? batch : CLOSING_BYTES + OPENING_BYTES;
    }
    if (room > batch)
        room = batch;
    return room > RESERVE_BYTES ? room - RESERVE_BYTES : 0;
}

bool wal_full(const struct wal *wal)
{
    return wal->full;
}

/* The disk takes whole sectors. */
static void pad(struct writer *out)
{
    while (writer_len(out) % DISK_SECTOR_BYTES != 0)
        put_u64(out, 0);
    assert(!out->bad); /* buffers are whole sectors, records multiples of 8 */
}

/* Copies of the headers of `records` to `heads`; how many. */
static uint32_t copy_heads(struct bytes records, uint8_t *heads)
{
    uint32_t count = 0;
    for (size_t at = 0; at < records.len; count++) {
        struct record record;
        enum record_verdict verdict =
            record_head_get(bytes_of(records.at + at, records.len - at), &record);
        assert(verdict == RECORD_OK);
        (void)verdict;
        memcpy(heads + (size_t)count * RECORD_HEADER_BYTES, records.at + at, RECORD_HEADER_BYTES);
        at += record_bytes(record.length);
    }
    return count;
}

struct wal_tail wal_tail(const struct wal *wal)
{
    return (struct wal_tail){
        .generation = wal->generation,
        .sequence = wal->sequence,
        .chain = wal->chain,
        .last = wal->last,
        .last_term = wal->last_term,
    };
}

struct record wal_copies_record(const struct wal_tail *tail, uint32_t count, const uint8_t *heads)
{
    return (struct record){
        .type = RECORD_COPIES,
        .index = tail->last,
        .term = tail->last_term,
        .synced = tail->sequence - count,
        .generation = tail->generation,
        .sequence = tail->sequence + 1,
        .previous_crc = tail->chain,
        .payload = bytes_of(heads, (size_t)count * RECORD_HEADER_BYTES),
    };
}

/* Ends what was gathered for this segment with its COPIES record. */
static void close_part(struct wal *wal)
{
    struct wal_part *part = open_part(wal);
    if (part == NULL || part->count == 0)
        return;
    struct bytes records = writer_bytes(&part->bytes);
    pad(&part->bytes);
    assert(writer_room(&part->bytes) >= record_bytes((size_t)part->count * RECORD_HEADER_BYTES));
    uint8_t *heads = part->bytes.at + RECORD_HEADER_BYTES;
    uint32_t count = copy_heads(records, heads);
    assert(count == part->count);
    struct wal_tail tail = wal_tail(wal);
    struct record record = wal_copies_record(&tail, count, heads);
    struct bytes payload = record.payload;
    record.length = (uint32_t)payload.len;
    record.payload_crc = crc32c(0, payload);
    record_head_put(&part->bytes, &record);
    part->bytes.at += payload.len; /* they stand there already */
    pad(&part->bytes);
    wal->chain = record.header_crc;
    wal->sequence = record.sequence;
    wal->gathered->sequence = record.sequence;
    wal->offset = part->offset + writer_len(&part->bytes);
    assert(wal->offset <= wal->size);
}

static struct wal_part *begin_part(struct wal *wal)
{
    struct wal_batch *batch = wal->gathered;
    assert(batch->parts < 2);
    size_t used = batch->parts > 0 ? writer_len(&batch->part[0].bytes) : 0;
    assert(wal->offset % DISK_SECTOR_BYTES == 0);
    batch->part[batch->parts] = (struct wal_part){
        .file = wal->file,
        .segment = wal->number,
        .offset = wal->offset,
        .first_sequence = wal->sequence + 1,
        .bytes = writer_of(batch->buffer + used, WAL_BATCH_BYTES_MAX - used),
    };
    return &batch->part[batch->parts++];
}

void wal_put_record(struct wal *wal, struct record *record)
{
    struct wal_part *part = open_part(wal);
    if (part == NULL)
        part = begin_part(wal);
    record->generation = wal->generation;
    record->sequence = ++wal->sequence;
    record->previous_crc = wal->chain;
    record->synced = part->first_sequence - 1;
    record_put(&part->bytes, record);
    assert(!part->bytes.bad); /* the caller kept to wal_room */
    part->count++;
    wal->chain = record->header_crc;
    wal->gathered->sequence = wal->sequence;
}

static bool fits_segment(const struct wal *wal, size_t bytes)
{
    const struct wal_part *part = open_part(wal);
    uint64_t offset = part != NULL ? part->offset : wal->offset;
    uint64_t records = part != NULL ? writer_len(&part->bytes) : 0;
    uint32_t count = part != NULL ? part->count : 0;
    return wal_part_bytes(records + bytes, count + 1) <= wal->size - offset;
}

/* As wal_put_record, in the next segment when it does not fit this one. */
static void gather(struct wal *wal, struct record *record)
{
    if (!fits_segment(wal, record_bytes(record->payload.len))) {
        close_part(wal);
        struct wal_part *part = open_part(wal);
        if (part == NULL)
            part = begin_part(wal); /* empty: so that the flush closes the full file */
        part->close_file = true;
        wal_segment_switch(wal);
        wal_segment_prepare(wal);
    }
    wal_put_record(wal, record);
}

void wal_hard_state(struct wal *wal, const struct raft_hard_state *hard)
{
    wal->gathered->hard_state = true;
    wal->gathered->hard = *hard;
}

struct record_identity wal_identity(const struct wal *wal)
{
    return wal->identity;
}

void wal_identify(struct wal *wal, const struct record_identity *identity)
{
    wal->identity = *identity;
    wal->gathered->identify = true;
    wal->gathered->identity = *identity;
}

uint64_t wal_start(const struct wal *wal)
{
    return wal->starts.count;
}

static uint32_t number_kept(uint64_t number)
{
    return (uint32_t)number | 1u; /* 0 is any */
}

void wal_next_start(struct record_starts *starts, uint64_t start, uint64_t number)
{
    assert(start > starts->count);
    for (uint32_t i = 0; i < RECORD_STARTS && ++starts->count < start; i++)
        starts->number[starts->count % RECORD_STARTS] = 0;
    starts->count = start;
    starts->number[start % RECORD_STARTS] = number_kept(number);
}

void wal_count_start(struct wal *wal, uint64_t seen)
{
    struct record_starts *starts = &wal->starts;
    if (seen <= starts->count && starts->count - seen < RECORD_STARTS)
        starts->number[seen % RECORD_STARTS] = 0;
    if (seen >= starts->count)
        wal_next_start(starts, seen + 1, wal->options.generation);
    wal->gathered->count = true;
    wal->gathered->starts = wal->starts;
}

bool wal_start_differs(const struct wal *wal, uint64_t start, uint64_t number)
{
    const struct record_starts *starts = &wal->starts;
    bool kept = start > 0 && start <= starts->count && starts->count - start < RECORD_STARTS;
    uint32_t known = kept ? starts->number[start % RECORD_STARTS] : 0;
    return known != 0 && known != number_kept(number);
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

bool wal_is_dead(const struct wal *wal, uint64_t sequence, raft_index index)
{
    for (uint32_t i = 0; i < wal->truncations; i++) {
        const struct wal_truncation *truncation = &wal->truncation[i];
        if (truncation->sequence > sequence && !index_less(index, truncation->first_gone))
            return true;
    }
    return false;
}

void wal_mark(struct wal *wal, struct raft_mark mark)
{
    wal->gathered->marked = true;
    wal->gathered->mark = mark;
}

static bool has_hard_state(const struct wal_batch *batch)
{
    return batch->hard_state || batch->identify || batch->count;
}

static void begin_batch(struct wal_batch *batch)
{
    uint8_t *buffer = batch->buffer;
    *batch = (struct wal_batch){.buffer = buffer};
}

static uint64_t measure_ns(const struct wal *wal)
{
    return wal->options.measure_ns != NULL ? wal->options.measure_ns() : 0;
}

static int write_part(struct wal_flush_job *flush, const struct wal_part *part)
{
    struct disk *disk = flush->wal->disk;
    struct bytes bytes = writer_bytes(&part->bytes);
    if (bytes.len == 0)
        return 0;
    int result = disk->ops->write(disk, part->file, part->offset, bytes.at, bytes.len);
    uint64_t written_ns = measure_ns(flush->wal);
    result = result == 0 ? disk->ops->sync(disk, part->file) : result;
    flush->fsync_ns[flush->fsyncs++] = measure_ns(flush->wal) - written_ns;
    return result;
}

/* A segment's first records are durable: from now on it is missed when it is gone. */
static int note_segment(struct wal *wal, const struct wal_part *part)
{
    if (part->count == 0 || part->segment <= wal->hard_state.now.segment)
        return 0;
    struct record_hard_state state = wal->hard_state.now;
    state.segment = part->segment;
    return hard_state_write(&wal->hard_state, &state);
}

static void flush_run(struct job *job)
{
    struct wal_flush_job *flush = CONTAINER_OF(job, struct wal_flush_job, job);
    struct wal *wal = flush->wal;
    struct wal_batch *batch = wal->in_flight;
    if (has_hard_state(batch)) {
        struct record_hard_state state = wal->hard_state.now;
        if (batch->hard_state)
            state.hard = batch->hard;
        if (batch->identify)
            state.identity = batch->identity;
        if (batch->count)
            state.starts = batch->starts;
        flush->what = "writing term and vote";
        flush->error = hard_state_write(&wal->hard_state, &state);
    }
    for (uint32_t i = 0; flush->error == 0 && i < batch->parts; i++) {
        flush->what = "writing the log";
        flush->error = write_part(flush, &batch->part[i]);
        if (flush->error == 0 && batch->part[i].close_file)
            flush->error = wal->disk->ops->close(wal->disk, batch->part[i].file);
        if (flush->error == 0) {
            flush->what = "writing term and vote";
            flush->error = note_segment(wal, &batch->part[i]);
        }
    }
}

static void measure(struct wal_measures *measures, const struct wal_flush_job *flush,
                    const struct wal_batch *batch)
{
    for (uint32_t i = 0; i < flush->fsyncs; i++)
        histogram_observe(&measures->fsync, flush->fsync_ns[i]);
    for (uint32_t i = 0; i < batch->parts; i++)
        measures->appended_bytes += writer_len(&batch->part[i].bytes);
}

struct wal_measures wal_measures(const struct wal *wal)
{
    return wal->measures;
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
    measure(&wal->measures, flush, batch);
    if (batch->identify)
        wal->owner = batch->identity.cluster;
    if (batch->sequence > 0)
        wal->synced = batch->sequence;
    if (batch->marked)
        wal->options.on_durable(wal->options.context, batch->mark);
}

void wal_flush(struct wal *wal, bool now)
{
    struct wal_batch *batch = wal->gathered;
    if (wal->flushing || wal->failed || (batch->parts == 0 && !has_hard_state(batch)))
        return;
    close_part(wal);
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
    wal_holes_bury(wal);
    wal->last.n = first_gone.n - 1;
    wal->last_term = term_before;
}

void wal_reset(struct wal *wal, raft_index start, raft_term term)
{
    struct record record = {.type = RECORD_RESET, .index = start, .term = term};
    gather(wal, &record);
    wal_note_truncation(wal, wal->sequence, (raft_index){0});
    wal_holes_bury(wal);
    wal->last = start;
    wal->last_term = term;
}

void wal_close(struct wal *wal)
{
    if (wal == NULL)
        return;
    assert(!wal->flushing);
    if (wal->repair_segment != 0)
        (void)!wal->disk->ops->close(wal->disk, wal->repair_file);
    if (hard_state_is_open(&wal->hard_state))
        (void)!wal->disk->ops->close(wal->disk, wal->hard_state.file);
    if (wal->file != WAL_NO_FILE)
        (void)!wal->disk->ops->close(wal->disk, wal->file);
    if (wal->next_state == WAL_NEXT_READY)
        (void)!wal->disk->ops->close(wal->disk, wal->next_file);
    free(wal->scrub); /* it never ran, and never will */
    free(wal->batch[0].buffer);
    free(wal->batch[1].buffer);
    free(wal);
}
