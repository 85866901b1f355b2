#include "raft/wal/judge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- segments in memory ----------------------------------------------------------------------- */

/* How large the file was made: a file that is shorter was cut. */
static uint64_t size_made(const struct wal_judge *judge, const uint8_t head[DISK_SECTOR_BYTES],
                          uint64_t size)
{
    uint64_t least = judge->wal->options.segment_bytes;
    uint64_t most = least > WAL_SEGMENT_BYTES ? least : WAL_SEGMENT_BYTES;
    struct record record;
    struct record_owner owner;
    if (record_get(bytes_of(head, DISK_SECTOR_BYTES), &record) == RECORD_OK &&
        record.type == RECORD_SEGMENT && record_owner_decode(record.payload, &owner) == 0 &&
        owner.size % DISK_SECTOR_BYTES == 0 && owner.size >= 4096 &&
        (owner.size <= most || owner.size <= size))
        return owner.size;
    return size > least && size % DISK_SECTOR_BYTES == 0 ? size : least;
}

static int make_room(struct wal_judge *judge, uint64_t size)
{
    if (size <= judge->capacity)
        return 0;
    void *memory;
    if (posix_memalign(&memory, 4096, (size_t)size) != 0)
        return -ENOMEM;
    free(judge->bytes);
    judge->bytes = memory;
    judge->capacity = (size_t)size;
    return 0;
}

/* Reads the file; *ret_made bytes of it are in memory, with zeros for what it lacks. */
static int load_file(struct wal_judge *judge, int file, uint64_t *ret_size, uint64_t *ret_made)
{
    struct disk *disk = judge->wal->disk;
    uint8_t head[DISK_SECTOR_BYTES] = {0};
    uint64_t size = 0;
    int result = disk->ops->size(disk, file, &size);
    if (result == 0 && size > UINT32_MAX)
        result = -EFBIG;
    if (result == 0 && size >= sizeof(head))
        result = wal_load(disk, file, 0, head, sizeof(head));
    if (result != 0 && result != -EIO)
        return result;
    uint64_t made = size_made(judge, head, size);
    result = make_room(judge, made);
    if (result != 0)
        return result;
    size_t len = (size_t)(size < made ? size : made);
    *ret_size = size;
    *ret_made = made;
    memset(judge->bytes + len, 0, (size_t)made - len);
    return wal_load(disk, file, 0, judge->bytes, len);
}

static int load(struct wal_judge *judge, uint32_t i, uint64_t *ret_size, uint64_t *ret_made)
{
    struct disk *disk = judge->wal->disk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(judge->listing->number[i], name);
    judge->loaded = 0;
    int file;
    int result = disk->ops->open(disk, name, false, &file);
    if (result == 0) {
        result = load_file(judge, file, ret_size, ret_made);
        (void)!disk->ops->close(disk, file);
    }
    if (result != 0)
        wal_complain(judge->recovered, "%s cannot be read: %s", name, strerror(-result));
    else
        judge->loaded = i + 1;
    return result;
}

int wal_judge_load(struct wal_judge *judge)
{
    uint64_t size, made;
    int result = load(judge, judge->at.i, &size, &made);
    judge->at.walk.bytes = judge->bytes;
    return result;
}

static int load_again(struct wal_judge *judge)
{
    judge->at.walk.bytes = judge->bytes;
    return judge->loaded == judge->at.i + 1 ? 0 : wal_judge_load(judge);
}

/* --- places ----------------------------------------------------------------------------------- */

static void remember(struct wal_judge *judge, struct wal_place *ret_place)
{
    const struct wal *wal = judge->wal;
    struct wal_place *at = &judge->at;
    at->segments = wal->segments;
    at->highest = wal->segments > 0 ? wal->segment[wal->segments - 1].highest : (raft_index){0};
    at->truncations = wal->truncations;
    at->patches = judge->patches.count;
    at->repaired = judge->recovered->repaired;
    at->start = judge->recovered->start;
    at->start_term = judge->recovered->start_term;
    *ret_place = *at;
}

static int go_back(struct wal_judge *judge, const struct wal_place *place)
{
    struct wal *wal = judge->wal;
    uint32_t holes = judge->at.holes;
    judge->at = *place;
    if (judge->at.holes > holes)
        judge->at.holes = holes; /* dead ones were dropped since */
    wal->segments = place->segments;
    if (wal->segments > 0)
        wal->segment[wal->segments - 1].highest = place->highest;
    wal->truncations = place->truncations;
    judge->patches.count = place->patches;
    judge->recovered->repaired = place->repaired;
    judge->recovered->start = place->start;
    judge->recovered->start_term = place->start_term;
    return load_again(judge);
}

/* --- records that are known ------------------------------------------------------------------- */

/* -EBADMSG: another node's log. *ret_here: and it is this segment's. */
static int check_owner(struct wal_judge *judge, struct bytes payload, bool *ret_here)
{
    const struct wal *wal = judge->wal;
    struct record_owner owner;
    *ret_here = false;
    if (record_owner_decode(payload, &owner) != 0)
        return 0;
    if (owner.node != wal->options.node ||
        !bytes_equal(owner.cluster, bytes_of_text(wal->cluster))) {
        wal_complain(judge->recovered,
                     "the log belongs to node %" PRIu64
                     " of cluster \"%.*s\", this is node %" PRIu64
                     " of \"%s\": check --id, --cluster and --dir",
                     owner.node, (int)owner.cluster.len, (const char *)owner.cluster.at,
                     wal->options.node, wal->cluster);
        return -EBADMSG;
    }
    if (cluster_id_differ(owner.cluster_id, wal->owner)) {
        char theirs[CLUSTER_ID_TEXT_BYTES], ours[CLUSTER_ID_TEXT_BYTES];
        record_cluster_id_print(owner.cluster_id, theirs);
        record_cluster_id_print(wal->owner, ours);
        wal_complain(judge->recovered,
                     "%016" PRIx64 ".wal is of cluster %s and the hard state beside it of cluster "
                     "%s, of the same name: the directory was mixed of two; bring back one of them",
                     judge->at.walk.segment, theirs, ours);
        return -EBADMSG;
    }
    *ret_here = owner.segment == judge->at.walk.segment && owner.size == judge->at.walk.size;
    return 0;
}

/* False when there are more damaged entries than are kept. */
static bool note_damaged(struct wal_judge *judge, const struct wal_found *found)
{
    const struct record *record = &found->record;
    if (judge->at.holes == WAL_HOLES_MAX) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < judge->at.holes; i++) {
            const struct wal_hole_kept *hole = &judge->wal->hole[i];
            if (!wal_is_dead(judge->wal, hole->sequence, hole->hole.index))
                judge->wal->hole[kept++] = *hole;
        }
        judge->at.holes = kept;
        judge->part.holes = judge->part.holes < kept ? judge->part.holes : kept;
    }
    if (judge->at.holes == WAL_HOLES_MAX)
        return false;
    judge->wal->hole[judge->at.holes++] =
        wal_hole_of(record, judge->at.walk.segment, found->offset);
    return true;
}

static bool note_record(struct wal_judge *judge, const struct wal_found *found)
{
    struct wal *wal = judge->wal;
    const struct record *record = &found->record;
    struct wal_segment *segment = &wal->segment[wal->segments - 1];
    switch (record->type) {
    case RECORD_SEGMENT:
    case RECORD_COPIES:
        return true;
    case RECORD_ENTRY:
        if (found->payload_damaged && !note_damaged(judge, found))
            return false;
        segment->highest = index_max(segment->highest, record->index);
        return true;
    case RECORD_TRUNCATE:
        if (wal->truncations == WAL_TRUNCATIONS_MAX)
            return false;
        wal_note_truncation(wal, record->sequence, record->index);
        /* It may speak of what came before the entry that the first segment begins after. */
        if (!index_less(judge->recovered->start, record->index)) {
            judge->recovered->start.n = record->index.n - 1;
            judge->recovered->start_term = record->term;
        }
        return true;
    case RECORD_RESET:
        if (wal->truncations == WAL_TRUNCATIONS_MAX)
            return false;
        wal_note_truncation(wal, record->sequence, (raft_index){0});
        judge->recovered->start = record->index;
        judge->recovered->start_term = record->term;
        return true;
    }
    UNREACHABLE();
}

static bool take(struct wal_judge *judge, const struct wal_found *found)
{
    if (!note_record(judge, found))
        return false;
    bool owner = found->record.type == RECORD_SEGMENT && found->payload_damaged;
    judge->recovered->repaired += found->head_damaged || owner;
    wal_walk_take(&judge->at.walk, found, &judge->patches);
    return !judge->patches.out_of_memory;
}

/* What the segment in memory has, until something is not known. */
static int walk_segment(struct wal_judge *judge)
{
    struct wal_found found;
    for (;;) {
        struct wal_walk *walk = &judge->at.walk;
        if (judge->pending_cut == walk->tail.sequence + 1)
            return 0; /* the rest goes, that was decided before */
        enum wal_step step = wal_walk_look(walk, &found);
        if (step == WAL_STEP_FOREIGN) {
            wal_complain(judge->recovered,
                         "%016" PRIx64 ".wal offset %" PRIu64
                         ": a record of a format that this version of rollcall-node does not know: "
                         "run the version that wrote it, or a later",
                         walk->segment, walk->offset);
            return -EBADMSG;
        }
        if (step != WAL_STEP_RECORD)
            return 0;
        if (found.record.type == RECORD_SEGMENT && !found.payload_damaged) {
            bool here;
            int result = check_owner(judge, found.record.payload, &here);
            if (result != 0 || !here)
                return result;
        }
        if (walk->count == 0)
            remember(judge, &judge->part);
        if (!take(judge, &found))
            return judge->patches.out_of_memory ? -ENOMEM : 0;
    }
}

/* --- from segment to segment ------------------------------------------------------------------ */

/* Segment i of the listing is walked over next; what comes before is known. */
static int enter(struct wal_judge *judge, uint32_t i)
{
    struct wal *wal = judge->wal;
    struct wal_walk *walk = &judge->at.walk;
    uint64_t size = 0, made = 0;
    int result = load(judge, i, &size, &made);
    if (result != 0)
        return result;
    judge->at.i = i;
    walk->segment = judge->listing->number[i];
    walk->size = walk->len = (size_t)made;
    walk->bytes = judge->bytes;
    walk->offset = walk->count = 0;
    wal->segment[wal->segments++] =
        (struct wal_segment){.number = walk->segment, .size = made, .before = walk->tail};
    if (size >= made)
        return 0;
    /* Of its size again, with what was in the rest repaired after it. */
    uint8_t unused[RECORD_HEADER_BYTES];
    struct writer out = writer_of(unused, sizeof(unused));
    record_unused_put(&out, walk->tail.generation, walk->segment, made - DISK_SECTOR_BYTES);
    judge->recovered->repaired++;
    return wal_patches_add(&judge->patches, walk->segment, made - DISK_SECTOR_BYTES,
                           writer_bytes(&out))
               ? 0
               : -ENOMEM;
}

static bool begins_with(struct wal_walk *walk, const struct record *record)
{
    walk->tail = (struct wal_tail){
        .generation = record->generation,
        .sequence = record->sequence - 1,
        .chain = record->previous_crc,
        .last = record->index,
        .last_term = record->term,
    };
    struct wal_found found;
    return wal_walk_look(walk, &found) == WAL_STEP_RECORD && found.record.type == RECORD_SEGMENT;
}

/* The first record of all tells where the log begins: it, or its copy if that fits this segment. */
static bool find_start(struct wal_walk *walk)
{
    struct record record;
    if (record_head_get(bytes_of(walk->bytes, walk->len), &record) == RECORD_OK &&
        record.type == RECORD_SEGMENT && begins_with(walk, &record))
        return true;
    for (size_t at = DISK_SECTOR_BYTES + RECORD_HEADER_BYTES;
         at + RECORD_HEADER_BYTES <= walk->len && at < WAL_BATCH_BYTES_MAX;
         at += RECORD_HEADER_BYTES) {
        if (record_head_get(bytes_of(walk->bytes + at, walk->len - at), &record) == RECORD_OK &&
            record.type == RECORD_SEGMENT && begins_with(walk, &record))
            return true;
    }
    walk->tail = (struct wal_tail){.sequence = 0};
    return false;
}

static int begin(struct wal_judge *judge)
{
    struct wal *wal = judge->wal;
    struct wal_walk *walk = &judge->at.walk;
    int result = enter(judge, 0);
    if (result != 0)
        return result;
    if (find_start(walk)) {
        wal->segment[0].before = walk->tail;
        judge->recovered->start = walk->tail.last;
        judge->recovered->start_term = walk->tail.last_term;
    }
    result = walk_segment(judge); /* finds nothing, or another format, where no start was found */
    judge->lost = result == 0 && walk->offset == 0;
    if (judge->lost) {
        wal->segments = 0;
        walk->tail = (struct wal_tail){.sequence = 0};
        judge->recovered->start.n = judge->recovered->start_term.n = 0;
    }
    return result;
}

/*
 * The next segment, when it begins with the record that comes next. The part before it ended with
 * COPIES, whatever is left of that. *ret_on is false, and nothing has changed, when it does not.
 */
static int go_on(struct wal_judge *judge, bool *ret_on)
{
    const struct wal_listing *listing = judge->listing;
    uint32_t i = judge->at.i;
    struct wal_found copies;
    struct wal_place end;
    *ret_on = false;
    if (i + 1 == listing->count || listing->number[i + 1] != listing->number[i] + 1 ||
        judge->pending_cut == judge->at.walk.tail.sequence + 1)
        return 0;
    remember(judge, &end);
    if (end.walk.count > 0 &&
        (!wal_walk_assume_copies(&end.walk, &copies) || !take(judge, &copies)))
        return judge->patches.out_of_memory ? -ENOMEM : 0;
    struct wal_place part = judge->part;
    int result = enter(judge, i + 1);
    if (result == 0)
        result = walk_segment(judge);
    *ret_on = judge->at.walk.offset > 0;
    if (result != 0 || *ret_on)
        return result;
    judge->part = part;
    return go_back(judge, &end);
}

/* --- what is beyond --------------------------------------------------------------------------- */

struct beyond {
    bool any;             /* a header, or a copy of one, of a later record */
    uint64_t synced;      /* highest that one of them says */
    struct record newest; /* of them */
    uint32_t i;           /* where that is */
    uint64_t offset;
};

static void look_at(struct wal_judge *judge, uint32_t i, size_t size, size_t from,
                    struct beyond *beyond)
{
    const struct wal_tail *tail = &judge->at.walk.tail;
    for (size_t at = from; at + RECORD_HEADER_BYTES <= size; at += 8) {
        struct record record;
        if (record_head_get(bytes_of(judge->bytes + at, RECORD_HEADER_BYTES), &record) !=
                RECORD_OK ||
            record.generation != tail->generation || record.sequence <= tail->sequence)
            continue;
        if (record.synced > beyond->synced)
            beyond->synced = record.synced;
        if (beyond->any && record.sequence <= beyond->newest.sequence)
            continue;
        beyond->any = true;
        beyond->newest = record;
        beyond->i = i;
        beyond->offset = at;
    }
}

/* Whether `newest` ends the log: COPIES, with an unused sector behind it or the segment's end. */
static bool is_end(const struct wal_judge *judge, const struct record *newest, uint64_t number,
                   uint64_t offset, uint64_t size)
{
    struct wal_walk walk = judge->at.walk;
    struct record first;
    struct record_owner owner;
    walk.segment = number;
    walk.bytes = judge->bytes;
    walk.len = (size_t)size;
    if (newest->type != RECORD_COPIES || newest->length > size ||
        record_get(bytes_of(judge->bytes, (size_t)size), &first) != RECORD_OK ||
        record_owner_decode(first.payload, &owner) != 0 || owner.segment != number)
        return false;
    uint64_t end = wal_sector_after(offset + record_bytes(newest->length));
    return end == size || (end < size && wal_walk_unused(&walk, end));
}

static int look_beyond(struct wal_judge *judge, struct beyond *ret)
{
    bool ends = false;
    for (uint32_t i = judge->at.i; i < judge->listing->count; i++) {
        uint64_t size = judge->at.walk.size, made = size;
        int result = i == judge->at.i ? load_again(judge) : load(judge, i, &size, &made);
        if (result != 0)
            return result;
        uint64_t newest = ret->newest.sequence;
        look_at(judge, i, (size_t)made,
                i == judge->at.i ? (size_t)judge->at.walk.offset / 8 * 8 : 0, ret);
        if (ret->newest.sequence > newest)
            ends = is_end(judge, &ret->newest, judge->listing->number[i], ret->offset, made);
    }
    const struct hard_state_file *hard = &judge->wal->hard_state;
    if (ends && hard->health == HARD_STATE_KNOWN &&
        hard->now.segment <= judge->listing->number[ret->i])
        judge->end = (struct raft_floor){
            .known = true, .index = ret->newest.index, .term = ret->newest.term};
    return load_again(judge);
}

/* --- the verdict ------------------------------------------------------------------------------ */

/* A sector that should hold some of these bytes is still unused. */
static bool unwritten(const struct wal_walk *walk, uint64_t first, uint64_t end)
{
    bool found = false;
    for (uint64_t at = first / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES; !found && at < end;
         at += DISK_SECTOR_BYTES)
        found = wal_walk_unused(walk, at);
    return found;
}

/* Damage in the last part: by wal.h's rule, was the write torn? */
static bool is_torn(const struct wal_judge *judge, bool ends_clean)
{
    const struct wal_walk *walk = &judge->at.walk;
    bool torn = false;
    for (size_t i = judge->part.patches; !torn && i < judge->patches.count; i++) {
        const struct wal_patch *patch = &judge->patches.at[i];
        torn = patch->segment == walk->segment &&
               unwritten(walk, patch->offset, patch->offset + patch->len);
    }
    for (uint32_t i = judge->part.holes; !torn && i < judge->at.holes; i++) {
        const struct wal_hole *hole = &judge->wal->hole[i].hole;
        uint64_t first = hole->offset + RECORD_HEADER_BYTES;
        torn = unwritten(walk, first, first + (hole->length > 0 ? hole->length : 1));
    }
    /* The next record, or COPIES, is not there. */
    return torn || (!ends_clean && walk->offset < walk->size &&
                    unwritten(walk, walk->offset, wal_sector_after(walk->offset) + 1));
}

static void note_place(struct wal_judge *judge, uint64_t segment, uint64_t offset)
{
    const struct wal_walk *walk = &judge->at.walk;
    uint64_t end = walk->size;
    judge->damage_segment = segment;
    judge->damage_offset = offset;
    while (end > walk->offset &&
           (wal_walk_unused(walk, end - DISK_SECTOR_BYTES) ||
            wal_is_zero(walk->bytes + end - DISK_SECTOR_BYTES, DISK_SECTOR_BYTES)))
        end -= DISK_SECTOR_BYTES;
    judge->used_end = end;
}

/*
 * What of the last part goes, when nothing proves that all of it was durable. `segment` is where
 * it is: the hard state tells of a segment before its first part is called durable.
 */
static void judge_tail(struct wal_judge *judge, bool ends_clean, uint64_t segment)
{
    const struct wal_walk *walk = &judge->at.walk;
    const struct hard_state_file *hard = &judge->wal->hard_state;
    bool told = hard->health != HARD_STATE_KNOWN || hard->now.segment >= segment;
    if (judge->part.holes == judge->at.holes && ends_clean)
        return;
    judge->ending = told && !is_torn(judge, ends_clean) ? WAL_ENDS_RECOVERING : WAL_ENDS_TORN;
    judge->cut = walk->tail.sequence + 1;
    note_place(judge, walk->segment, walk->offset);
    if (ends_clean)
        judge->end = (struct raft_floor){
            .known = true, .index = walk->tail.last, .term = walk->tail.last_term};
    if (judge->part.holes == judge->at.holes)
        return;
    const struct wal_hole_kept *first = &judge->wal->hole[judge->part.holes];
    judge->cut = first->sequence;
    note_place(judge, walk->segment, first->hole.offset);
}

static bool is_unused_from(const struct wal_walk *walk)
{
    for (uint64_t at = wal_sector_after(walk->offset); at < walk->size; at += DISK_SECTOR_BYTES) {
        if (!wal_walk_unused(walk, at))
            return false;
    }
    return true;
}

static int judge_end(struct wal_judge *judge)
{
    const struct wal_walk *walk = &judge->at.walk;
    const struct hard_state_file *hard = &judge->wal->hard_state;
    struct beyond beyond = {.any = false};
    if (judge->pending_cut == walk->tail.sequence + 1) {
        judge->ending = WAL_ENDS_TORN;
        judge->cut = judge->pending_cut;
        note_place(judge, walk->segment, walk->offset);
        return 0;
    }
    int result = look_beyond(judge, &beyond);
    if (result != 0)
        return result;
    bool missed = hard->health == HARD_STATE_KNOWN && hard->now.segment > walk->segment;
    if (missed || (beyond.any && beyond.synced > walk->tail.sequence)) {
        judge->ending = WAL_ENDS_SHORT;
        judge->cut = walk->tail.sequence + 1;
        note_place(judge, walk->segment, walk->offset);
        return 0;
    }
    if (beyond.any && walk->count == 0)
        remember(judge, &judge->part); /* what comes after says that the last one was durable */
    judge->untidy = !is_unused_from(walk);
    bool at_end = walk->offset == walk->size || wal_walk_unused(walk, walk->offset);
    judge_tail(judge, walk->count == 0 && at_end && !beyond.any,
               beyond.any ? judge->listing->number[beyond.i] : walk->segment);
    return 0;
}

/* From the last part's beginning to the first record that goes. */
static int return_to_cut(struct wal_judge *judge)
{
    if (judge->cut == 0 || judge->cut == judge->at.walk.tail.sequence + 1)
        return 0;
    int result = go_back(judge, &judge->part);
    while (result == 0 && judge->at.walk.tail.sequence + 1 < judge->cut) {
        struct wal_found found;
        enum wal_step step = wal_walk_look(&judge->at.walk, &found);
        assert(step == WAL_STEP_RECORD); /* as it was before */
        (void)step;
        if (!take(judge, &found))
            return -ENOMEM;
    }
    return result;
}

int wal_judge(struct wal_judge *judge)
{
    judge->at.walk = (struct wal_walk){.wal = judge->wal, .heads = malloc(WAL_HEADS_BYTES_MAX)};
    if (judge->at.walk.heads == NULL)
        return -ENOMEM;
    if (judge->wal->hard_state.health == HARD_STATE_KNOWN)
        judge->pending_cut = judge->wal->hard_state.now.cut;
    int result = begin(judge);
    if (result != 0 || judge->lost)
        return result;
    for (bool on = true; result == 0 && on;)
        result = go_on(judge, &on);
    if (result == 0)
        result = judge_end(judge);
    if (result == 0)
        result = return_to_cut(judge);
    judge->wal->holes = judge->at.holes;
    wal_holes_bury(judge->wal);
    return result;
}

void wal_judge_done(struct wal_judge *judge)
{
    free(judge->bytes);
    free(judge->at.walk.heads);
    wal_patches_done(&judge->patches);
}
