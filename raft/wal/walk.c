#include "raft/wal/walk.h"

#include "raft/base/crc32c.h"

#include <string.h>

/* --- what is at a place ----------------------------------------------------------------------- */

/* Bytes of the segment that are in memory, or NULL. */
static const uint8_t *at_offset(const struct wal_walk *walk, uint64_t offset, size_t len)
{
    if (offset < walk->base || offset - walk->base > walk->len ||
        len > walk->len - (size_t)(offset - walk->base))
        return NULL;
    return walk->bytes + (offset - walk->base);
}

static enum record_verdict head_at(const struct wal_walk *walk, uint64_t offset,
                                   struct record *ret_record)
{
    const uint8_t *at = at_offset(walk, offset, RECORD_HEADER_BYTES);
    if (at == NULL)
        return RECORD_END;
    return record_head_get(bytes_of(at, RECORD_HEADER_BYTES), ret_record);
}

bool wal_walk_unused(const struct wal_walk *walk, uint64_t offset)
{
    const uint8_t *at = at_offset(walk, offset, RECORD_HEADER_BYTES);
    return at != NULL && record_is_unused(bytes_of(at, RECORD_HEADER_BYTES), walk->tail.generation,
                                          walk->segment, offset);
}

/* --- which record comes next ------------------------------------------------------------------ */

struct wal_tail wal_tail_after(struct wal_tail tail, const struct record *record)
{
    tail.sequence = record->sequence;
    tail.chain = record->header_crc;
    switch (record->type) {
    case RECORD_SEGMENT:
    case RECORD_COPIES:
        return tail;
    case RECORD_ENTRY:
    case RECORD_RESET:
        tail.last = record->index;
        tail.last_term = record->term;
        return tail;
    case RECORD_TRUNCATE:
        tail.last.n = record->index.n - 1;
        tail.last_term = record->term;
        return tail;
    }
    UNREACHABLE();
}

static bool is_kind(uint8_t kind)
{
    return kind >= RAFT_NOOP && kind <= RAFT_CONFIGURATION;
}

/* Whether the log can go on with this, beyond what the chain says. */
static bool makes_sense(const struct wal_walk *walk, const struct record *record)
{
    const struct wal_tail *tail = &walk->tail;
    switch (record->type) {
    case RECORD_SEGMENT:
        return walk->offset == 0 && index_equal(record->index, tail->last) &&
               record->length <= WAL_OWNER_BYTES;
    case RECORD_ENTRY:
        return record->index.n == tail->last.n + 1 && !term_less(record->term, tail->last_term) &&
               is_kind(record->kind) && record->length <= RAFT_ENTRY_BYTES_MAX;
    case RECORD_TRUNCATE:
        return record->index.n > 0 && !index_less(tail->last, record->index) && record->length == 0;
    case RECORD_RESET:
        return record->length == 0;
    case RECORD_COPIES:
        return walk->count > 0 && record->length == walk->count * RECORD_HEADER_BYTES;
    }
    UNREACHABLE();
}

static uint64_t place_of(const struct wal_walk *walk, enum record_type type)
{
    return type == RECORD_COPIES ? wal_sector_after(walk->offset) : walk->offset;
}

/* For the COPIES record that must come after one more record. */
static bool leaves_room(const struct wal_walk *walk, uint64_t end)
{
    size_t heads = ((size_t)walk->count + 1) * RECORD_HEADER_BYTES;
    return heads <= WAL_HEADS_BYTES_MAX &&
           wal_sector_after(wal_sector_after(end) + record_bytes(heads)) <= walk->size;
}

/* The record that the chain waits for, which is whole in memory. */
static bool is_next(const struct wal_walk *walk, const struct record *record)
{
    const struct wal_tail *tail = &walk->tail;
    if (record->generation != tail->generation || record->sequence != tail->sequence + 1 ||
        record->previous_crc != tail->chain || record->synced != tail->sequence - walk->count)
        return false;
    if ((walk->offset == 0) != (record->type == RECORD_SEGMENT) || !makes_sense(walk, record))
        return false;
    uint64_t place = place_of(walk, record->type);
    return at_offset(walk, place, record_bytes(record->length)) != NULL &&
           (record->type == RECORD_COPIES ||
            leaves_room(walk, place + record_bytes(record->length)));
}

/* The copy of the next record's header: somewhere in the COPIES record that ends this part. */
static bool find_copy(const struct wal_walk *walk, struct record *ret_record)
{
    uint64_t from = wal_sector_after(walk->offset + 1) + RECORD_HEADER_BYTES;
    uint64_t to = walk->offset + WAL_BATCH_BYTES_MAX;
    for (uint64_t at = from; at < to; at += RECORD_HEADER_BYTES) {
        if (at_offset(walk, at, RECORD_HEADER_BYTES) == NULL)
            return false;
        struct record record;
        if (head_at(walk, at, &record) == RECORD_OK && record.type != RECORD_COPIES &&
            is_next(walk, &record)) {
            *ret_record = record;
            return true;
        }
    }
    return false;
}

/* The next record by its own header, or by the copy of that. */
static enum wal_step find_next(const struct wal_walk *walk, struct record *ret_record)
{
    struct record record;
    enum record_verdict verdict = head_at(walk, walk->offset, &record);
    if (verdict == RECORD_FOREIGN)
        return WAL_STEP_FOREIGN;
    if (verdict == RECORD_OK && record.type != RECORD_COPIES && is_next(walk, &record)) {
        *ret_record = record;
        return WAL_STEP_RECORD;
    }
    verdict = head_at(walk, wal_sector_after(walk->offset), &record);
    if (verdict == RECORD_OK && record.type == RECORD_COPIES && is_next(walk, &record)) {
        *ret_record = record;
        return WAL_STEP_RECORD;
    }
    return find_copy(walk, ret_record) ? WAL_STEP_RECORD : WAL_STEP_UNKNOWN;
}

/*
 * A SEGMENT record's payload can be made again, if this is its place; empty when it is not. It was
 * made before the cluster's id was known, or after.
 */
static struct bytes make_owner(const struct wal_walk *walk, const struct record *record,
                               uint8_t memory[WAL_OWNER_BYTES])
{
    const struct raft_cluster_id ids[] = {walk->wal->owner, {.high = 0}};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct bytes owner =
            wal_owner_payload(walk->wal, walk->segment, walk->size, ids[i], memory);
        if (record_is_payload(record, owner))
            return owner;
    }
    return bytes_of(NULL, 0);
}

static bool is_ours(const struct wal_walk *walk, const struct record *record)
{
    uint8_t memory[WAL_OWNER_BYTES];
    return make_owner(walk, record, memory).len > 0;
}

static void judge(const struct wal_walk *walk, const struct record *record, struct wal_found *ret)
{
    uint8_t head[RECORD_HEADER_BYTES];
    struct writer out = writer_of(head, sizeof(head));
    *ret = (struct wal_found){.record = *record, .offset = place_of(walk, record->type)};
    record_head_put(&out, &ret->record);
    assert(!out.bad && ret->record.header_crc == record->header_crc);
    const uint8_t *at = at_offset(walk, ret->offset, record_bytes(record->length));
    ret->head_damaged = memcmp(at, head, sizeof(head)) != 0;
    struct bytes payload = bytes_of(at + RECORD_HEADER_BYTES, record->length);
    ret->payload_damaged = !record_is_payload(record, payload);
    if (!ret->payload_damaged)
        ret->record.payload = payload;
    if (record->type == RECORD_COPIES)
        ret->head_damaged = ret->head_damaged || ret->payload_damaged;
}

/* --- COPIES ----------------------------------------------------------------------------------- */

bool wal_walk_assume_copies(const struct wal_walk *walk, struct wal_found *ret_found)
{
    uint8_t head[RECORD_HEADER_BYTES];
    struct writer out = writer_of(head, sizeof(head));
    struct record record = wal_copies_record(&walk->tail, walk->count, walk->heads);
    record.length = (uint32_t)record.payload.len;
    record.payload_crc = crc32c(0, record.payload);
    record_head_put(&out, &record);
    if (walk->count == 0 || !is_next(walk, &record))
        return false;
    record.payload = bytes_of(NULL, 0);
    judge(walk, &record, ret_found);
    return true;
}

bool wal_is_zero(const uint8_t *at, size_t len)
{
    return len == 0 || (at[0] == 0 && memcmp(at, at + 1, len - 1) == 0);
}

/*
 * Whether COPIES, its header damaged, stands here: some copies do, each in its place, and none
 * beyond; and no record before them.
 */
static bool copies_stand(const struct wal_walk *walk, const struct wal_found *copies)
{
    const uint8_t *heads = at_offset(walk, copies->offset, record_bytes(copies->record.length));
    uint64_t end = copies->offset + record_bytes(copies->record.length);
    size_t fill = (size_t)(wal_sector_after(end) - end);
    size_t gap = (size_t)(copies->offset - walk->offset);
    const uint8_t *after = at_offset(walk, end, fill), *before = at_offset(walk, walk->offset, gap);
    if (heads == NULL || after == NULL || !wal_is_zero(after, fill) || before == NULL ||
        !wal_is_zero(before, gap))
        return false;
    for (uint32_t i = 0; i < walk->count; i++) {
        size_t at = (size_t)i * RECORD_HEADER_BYTES;
        if (memcmp(heads + RECORD_HEADER_BYTES + at, walk->heads + at, RECORD_HEADER_BYTES) == 0)
            return true;
    }
    return false;
}

/* Whether the part after it, in this segment, is chained to it. */
static bool copies_are_followed(const struct wal_walk *walk, const struct wal_found *copies)
{
    struct wal_walk after = *walk;
    struct record record;
    wal_walk_take(&after, copies, NULL);
    return find_next(&after, &record) == WAL_STEP_RECORD;
}

enum wal_step wal_walk_look(const struct wal_walk *walk, struct wal_found *ret_found)
{
    struct record record;
    struct wal_found copies;
    enum wal_step step = find_next(walk, &record);
    if (step == WAL_STEP_RECORD)
        judge(walk, &record, ret_found);
    if (step == WAL_STEP_RECORD && record.type == RECORD_SEGMENT && ret_found->payload_damaged)
        return is_ours(walk, &record) ? WAL_STEP_RECORD : WAL_STEP_UNKNOWN;
    if (step != WAL_STEP_UNKNOWN || !wal_walk_assume_copies(walk, &copies))
        return step;
    if (!copies_stand(walk, &copies) && !copies_are_followed(walk, &copies))
        return WAL_STEP_UNKNOWN;
    *ret_found = copies;
    return WAL_STEP_RECORD;
}

/* --- going on --------------------------------------------------------------------------------- */

static void patch_copies(const struct wal_walk *walk, const struct wal_found *found,
                         const uint8_t *head, struct wal_patches *patches)
{
    const uint8_t *at = at_offset(walk, found->offset, record_bytes(found->record.length));
    for (uint32_t i = 0; i <= walk->count; i++) {
        size_t place = (size_t)i * RECORD_HEADER_BYTES;
        const uint8_t *right = i == 0 ? head : walk->heads + place - RECORD_HEADER_BYTES;
        if (memcmp(at + place, right, RECORD_HEADER_BYTES) != 0)
            (void)wal_patches_add(patches, walk->segment, found->offset + place,
                                  bytes_of(right, RECORD_HEADER_BYTES));
    }
}

static void patch_owner(const struct wal_walk *walk, const struct wal_found *found,
                        struct wal_patches *patches)
{
    uint8_t memory[WAL_OWNER_BYTES];
    struct bytes owner = make_owner(walk, &found->record, memory);
    (void)wal_patches_add(patches, walk->segment, found->offset + RECORD_HEADER_BYTES, owner);
}

void wal_walk_take(struct wal_walk *walk, const struct wal_found *found,
                   struct wal_patches *patches)
{
    struct record record = found->record;
    uint8_t head[RECORD_HEADER_BYTES];
    struct writer out = writer_of(head, sizeof(head));
    record_head_put(&out, &record);
    bool is_copies = record.type == RECORD_COPIES;
    if (patches != NULL && found->head_damaged && is_copies)
        patch_copies(walk, found, head, patches);
    else if (patches != NULL && found->head_damaged)
        (void)wal_patches_add(patches, walk->segment, found->offset, bytes_of(head, sizeof(head)));
    if (patches != NULL && found->payload_damaged && record.type == RECORD_SEGMENT)
        patch_owner(walk, found, patches);
    uint64_t end = found->offset + record_bytes(record.length);
    if (!is_copies)
        memcpy(walk->heads + (size_t)walk->count * RECORD_HEADER_BYTES, head, sizeof(head));
    walk->count = is_copies ? 0 : walk->count + 1;
    walk->offset = is_copies ? wal_sector_after(end) : end;
    walk->tail = wal_tail_after(walk->tail, &record);
}
