/* Opening a log: acting on what wal/judge.c found, by the rules of wal.h. */
#include "raft/wal/judge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct opening {
    struct wal *wal;
    struct wal_recovered *recovered;
    struct wal_listing *listing;
    struct wal_judge judge;
    struct record_hard_state hard; /* as it shall be */
};

/* What is said comes after what was said. */
void wal_complain(struct wal_recovered *recovered, const char *format, ...)
{
    size_t said = strlen(recovered->text);
    if (said > 0 && said + 2 < sizeof(recovered->text)) {
        memcpy(recovered->text + said, "; ", 3);
        said += 2;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(recovered->text + said, sizeof(recovered->text) - said, format, arguments);
    va_end(arguments);
}

/* --- what files there are --------------------------------------------------------------------- */

static int note_name(void *context, const char *name)
{
    struct wal_listing *listing = context;
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

static int list_segments(const struct opening *opening)
{
    struct disk *disk = opening->wal->disk;
    struct wal_listing *listing = opening->listing;
    int result = disk->ops->list(disk, note_name, listing);
    if (result == 0)
        qsort(listing->number, listing->count, sizeof(listing->number[0]), by_number);
    return result;
}

/* --- term and vote ---------------------------------------------------------------------------- */

/* Nothing was ever promised. */
static bool is_blank(const struct record_hard_state *state)
{
    return state->hard.term.n == 0 && state->segment == 0;
}

static int refuse_hard_state(const struct opening *opening)
{
    bool missing = opening->wal->hard_state.health == HARD_STATE_NONE;
    wal_complain(opening->recovered,
                 "the file " HARD_STATE_FILE
                 " %s: without term and vote this node could vote twice; restore it, or the node "
                 "from its peers or a backup",
                 missing ? "is missing beside the log" : "is damaged");
    return -EBADMSG;
}

static int read_hard_state(struct opening *opening)
{
    struct wal *wal = opening->wal;
    struct hard_state_file *file = &wal->hard_state;
    int result = hard_state_open(wal->disk, wal->options.node, file);
    if (result == -EBADMSG)
        wal_complain(opening->recovered, "the file " HARD_STATE_FILE
                                         " is another node's: check --id, --cluster and --dir");
    if (result == -EPROTONOSUPPORT)
        wal_complain(opening->recovered,
                     "the file " HARD_STATE_FILE
                     " was written by a version of Rollcall whose format this one does not read: "
                     "start it with that version");
    if (result == -EPROTONOSUPPORT)
        result = -EBADMSG;
    if (result != 0)
        return result;
    if (file->now.identity.members > 0) /* the directory knows better than the options */
        wal->options.alone = file->now.identity.members == 1;
    opening->hard = file->now;
    wal->owner = file->now.identity.cluster;
    opening->recovered->damaged_hard_state_blocks = file->damaged;
    if (opening->hard.identity.disk == 0)
        opening->hard.identity.disk = file->now.identity.disk = wal->options.generation;
    if (file->health == HARD_STATE_NONE && opening->listing->count == 0)
        return hard_state_make(wal->disk, &file->now, file);
    if ((file->health == HARD_STATE_NONE || file->health == HARD_STATE_LOST) && wal->options.alone)
        return refuse_hard_state(opening);
    return 0;
}

/* An older floor, and a new one: the node must reach both. */
static struct raft_floor higher(struct raft_floor a, struct raft_floor b)
{
    if (!a.known || !b.known)
        return (struct raft_floor){.known = false};
    if (term_less(a.term, b.term) || (term_equal(a.term, b.term) && index_less(a.index, b.index)))
        return b;
    return a;
}

static void doubt(struct opening *opening, struct raft_floor floor)
{
    struct raft_hard_state *hard = &opening->hard.hard;
    hard->floor = hard->recovering ? higher(hard->floor, floor) : floor;
    hard->recovering = true;
    hard->rolled_back = false; /* what it lost now nobody remembers */
    if (!hard->floor.known)
        hard->floor = (struct raft_floor){.known = false};
}

/* Of the vote, not of the log: it may have been given in any term since. */
static void doubt_vote(struct opening *opening)
{
    const struct hard_state_file *file = &opening->wal->hard_state;
    struct raft_hard_state *hard = &opening->hard.hard;
    raft_term last_term = opening->judge.at.walk.tail.last_term;
    bool old = term_less(hard->term, last_term);
    if (file->health == HARD_STATE_KNOWN && !old)
        return;
    if (old)
        hard->term = last_term;
    hard->voted = false;
    hard->vote.n = 0;
    if (opening->wal->options.alone)
        hard->term.n++;
    else
        doubt(opening, (struct raft_floor){.known = false});
    wal_complain(opening->recovered, "the newest state of the file " HARD_STATE_FILE " %s: %s",
                 file->health == HARD_STATE_NONE    ? "is missing, with the file"
                 : file->health == HARD_STATE_KNOWN ? "is older than the log"
                                                    : "may be lost",
                 opening->wal->options.alone ? "the node goes on in a new term"
                                             : "the node does not vote until its log is whole");
}

/* --- what to do ------------------------------------------------------------------------------- */

static void say_missing(const struct opening *opening)
{
    const struct wal_listing *listing = opening->listing;
    for (uint32_t i = 1; i < listing->count; i++) {
        if (listing->number[i] != listing->number[i - 1] + 1)
            wal_complain(opening->recovered,
                         "segments %016" PRIx64 ".wal to %016" PRIx64 ".wal are missing",
                         listing->number[i - 1] + 1, listing->number[i] - 1);
    }
    uint64_t newest = listing->count == 0 ? 0 : listing->number[listing->count - 1];
    if (opening->wal->hard_state.now.segment > newest)
        wal_complain(opening->recovered, "segment %016" PRIx64 ".wal is missing",
                     opening->wal->hard_state.now.segment);
}

#define ASK_FOR_FILES \
    "nothing was changed; restore the files, or the node from its peers or a backup"

static int refuse_hole(const struct opening *opening)
{
    struct wal_hole hole;
    if (!wal_hole(opening->wal, 0, &hole))
        return 0;
    wal_complain(opening->recovered,
                 "%016" PRIx64 ".wal is damaged at offset %" PRIu64 ", in log entry %" PRIu64
                 " of term %" PRIu64 " (%" PRIu32
                 " such entries in all), which was durable: " ASK_FOR_FILES,
                 hole.segment, hole.offset, hole.index.n, hole.term.n, wal_holes(opening->wal));
    return -EBADMSG;
}

static int refuse_short(const struct opening *opening)
{
    const struct wal_judge *judge = &opening->judge;
    say_missing(opening);
    if (judge->lost)
        wal_complain(opening->recovered,
                     "the log does not begin with a record that can be read, and the node was in "
                     "term %" PRIu64 ": " ASK_FOR_FILES,
                     opening->hard.hard.term.n);
    else
        wal_complain(opening->recovered,
                     "%016" PRIx64 ".wal is damaged at offset %" PRIu64 ", after log entry %" PRIu64
                     ", where more %s durable: " ASK_FOR_FILES,
                     judge->damage_segment, judge->damage_offset, judge->at.walk.tail.last.n,
                     judge->ending == WAL_ENDS_SHORT ? "was" : "may have been");
    return -EBADMSG;
}

static void say_cut(const struct opening *opening)
{
    const struct wal_judge *judge = &opening->judge;
    static const char *const why[] = {
        [WAL_ENDS_CLEAN] = "",
        [WAL_ENDS_TORN] = "a write was torn, and nobody was told that it was written",
        [WAL_ENDS_RECOVERING] = "a write was torn, or what it wrote is damaged",
        [WAL_ENDS_SHORT] = "what was durable there is damaged or gone",
    };
    say_missing(opening);
    wal_complain(opening->recovered,
                 "%016" PRIx64 ".wal is cut at offset %" PRIu64 ", after log entry %" PRIu64 ": %s",
                 judge->damage_segment, judge->damage_offset, judge->at.walk.tail.last.n,
                 why[judge->ending]);
    if (!opening->wal->options.alone && judge->ending != WAL_ENDS_TORN)
        wal_complain(opening->recovered, "the node does not vote until its log is whole");
}

static void say_repaired(const struct opening *opening)
{
    struct wal_recovered *recovered = opening->recovered;
    const struct wal_patches *patches = &opening->judge.patches;
    struct wal_hole hole;
    if (recovered->repaired > 0 && patches->count > 0)
        wal_complain(recovered,
                     "%" PRIu32 " damaged headers were repaired, the first in %016" PRIx64
                     ".wal at offset %" PRIu64,
                     recovered->repaired, patches->at[0].segment, patches->at[0].offset);
    if (opening->judge.cut == 0 && opening->judge.untidy)
        wal_complain(recovered, "behind the end of the log unused sectors were damaged");
    recovered->holes = wal_holes(opening->wal);
    if (wal_hole(opening->wal, 0, &hole))
        wal_complain(recovered,
                     "%" PRIu32 " entries are damaged, the first is %" PRIu64 " in %016" PRIx64
                     ".wal at offset %" PRIu64 ": they are asked of other nodes",
                     recovered->holes, hole.index.n, hole.segment, hole.offset);
}

/* Refuses, or says in opening->hard what is to be so before anything is changed. */
static int decide(struct opening *opening)
{
    const struct wal_judge *judge = &opening->judge;
    bool alone = opening->wal->options.alone;
    int result = alone ? refuse_hole(opening) : 0;
    bool unbounded = judge->ending == WAL_ENDS_RECOVERING && !judge->end.known;
    if (result == 0 && alone && (judge->lost || judge->ending == WAL_ENDS_SHORT || unbounded))
        result = refuse_short(opening);
    if (result != 0)
        return result;
    if (judge->lost)
        say_missing(opening);
    if (judge->lost)
        wal_complain(opening->recovered,
                     "the log does not begin with a record that can be read: all of it goes, and "
                     "the node does not vote until it is whole again");
    else if (judge->cut != 0)
        say_cut(opening);
    if (!alone &&
        (judge->lost || judge->ending == WAL_ENDS_SHORT || judge->ending == WAL_ENDS_RECOVERING))
        doubt(opening, judge->end);
    if (!judge->lost)
        say_repaired(opening);
    doubt_vote(opening);
    opening->hard.cut = judge->lost ? 0 : judge->cut;
    uint64_t kept = judge->lost ? 0 : judge->at.walk.segment;
    if (opening->hard.segment > kept)
        opening->hard.segment = kept;
    return 0;
}

/* --- doing it --------------------------------------------------------------------------------- */

static int write_hard_state(struct opening *opening)
{
    struct hard_state_file *file = &opening->wal->hard_state;
    opening->hard.node = opening->wal->options.node;
    wal_next_start(&opening->hard.starts, opening->hard.starts.count + 1,
                   opening->wal->options.generation);
    opening->wal->starts = opening->hard.starts;
    if (!hard_state_is_open(file))
        return hard_state_make(opening->wal->disk, &opening->hard, file);
    int result = hard_state_write(file, &opening->hard);
    if (result == 0 && file->damaged > 0)
        result = hard_state_refresh(file);
    return result;
}

/* Newest first, so that a crash leaves no hole. */
static int remove_from(const struct opening *opening, uint32_t first)
{
    struct disk *disk = opening->wal->disk;
    for (uint32_t i = opening->listing->count; i-- > first;) {
        char name[WAL_NAME_BYTES];
        wal_segment_name(opening->listing->number[i], name);
        int result = disk->ops->remove(disk, name);
        if (result == 0)
            result = disk->ops->sync_directory(disk);
        if (result != 0)
            return result;
    }
    return 0;
}

/*
 * A log that never was, or that was lost: its first segment, with the record that says whose. The
 * next is not begun before that is durable: two segments with nothing in them would look like a log
 * that lost all.
 */
static int make_log(struct opening *opening)
{
    struct wal *wal = opening->wal;
    wal->generation = wal->options.generation;
    wal->segments = 0;
    wal->truncations = 0;
    wal->holes = 0;
    wal->number = wal->sequence = 0;
    int result = wal_segment_make(wal->disk, wal->generation, 1, wal->options.segment_bytes,
                                  &wal->next_file);
    if (result != 0)
        return result;
    wal->next_state = WAL_NEXT_READY;
    wal_segment_switch(wal);
    wal_flush(wal, true);
    return wal->failed ? -EIO : 0;
}

/* Ends a part that was cut with a COPIES record of its own; behind it nothing was written yet. */
static int write_end(struct wal_judge *judge, int file)
{
    struct wal_walk *walk = &judge->at.walk;
    struct disk *disk = judge->wal->disk;
    uint64_t first = walk->offset / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES;
    memset(judge->bytes + walk->offset, 0, (size_t)(walk->size - walk->offset));
    if (walk->count > 0) {
        uint64_t place = wal_sector_after(walk->offset);
        struct record record = wal_copies_record(&walk->tail, walk->count, walk->heads);
        struct writer out = writer_of(judge->bytes + place, (size_t)(walk->size - place));
        record_put(&out, &record);
        assert(!out.bad); /* wal_walk sees to it that there is room */
        walk->tail = wal_tail_after(walk->tail, &record);
        walk->offset = wal_sector_after(place + writer_len(&out));
        walk->count = 0;
    }
    wal_unused_put(judge->bytes + walk->offset, (size_t)(walk->size - walk->offset),
                   walk->tail.generation, walk->segment, walk->offset);
    int result =
        disk->ops->write(disk, file, first, judge->bytes + first, (size_t)(walk->size - first));
    return result == 0 ? disk->ops->sync(disk, file) : result;
}

/* The log goes on where the judge's walk ended. */
static int take_over(struct opening *opening)
{
    struct wal *wal = opening->wal;
    const struct wal_walk *walk = &opening->judge.at.walk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(walk->segment, name);
    int result = wal->disk->ops->open(wal->disk, name, false, &wal->file);
    if (result == 0 && (opening->judge.cut != 0 || opening->judge.untidy))
        result = write_end(&opening->judge, wal->file);
    wal->number = walk->segment;
    wal->size = walk->size;
    wal->offset = walk->offset;
    wal->generation = walk->tail.generation;
    wal->sequence = walk->tail.sequence;
    wal->chain = walk->tail.chain;
    wal->last = walk->tail.last;
    wal->last_term = walk->tail.last_term;
    return result;
}

/*
 * A process that was killed leaves written bytes that were never synced, and that were read as good
 * just now: they must be durable before anything builds on them. They are written again, too: after
 * a sync that failed the kernel may take for clean what it could not write, and the next sync for
 * done. (The hard state is written again for the same reason.) This is so of the last part only.
 */
static int write_last_part(struct opening *opening)
{
    struct wal *wal = opening->wal;
    struct disk *disk = wal->disk;
    const struct wal_walk *part = &opening->judge.part.walk;
    void *memory; /* aligned: the file may be written past the page cache */
    if (part->segment != wal->number || part->offset >= wal->offset)
        return 0;
    size_t len = (size_t)(wal->offset - part->offset);
    if (posix_memalign(&memory, 4096, len) != 0)
        return -ENOMEM;
    int result = wal_load(disk, wal->file, part->offset, memory, len);
    if (result == 0)
        result = disk->ops->write(disk, wal->file, part->offset, memory, len);
    free(memory);
    return result;
}

static int sync_last(struct opening *opening)
{
    struct wal *wal = opening->wal;
    struct disk *disk = wal->disk;
    int result = write_last_part(opening);
    if (result == 0)
        result = disk->ops->sync(disk, wal->file);
    if (result == 0)
        result = disk->ops->sync_directory(disk);
    if (result != 0 || (opening->hard.cut == 0 && opening->hard.segment == wal->number))
        return result;
    opening->hard.cut = 0;
    opening->hard.segment = wal->number;
    return hard_state_write(&wal->hard_state, &opening->hard);
}

static uint64_t bytes_in_use(const struct wal_judge *judge)
{
    return judge->cut != 0 && judge->used_end > judge->damage_offset
               ? judge->used_end - judge->damage_offset
               : 0;
}

static int act(struct opening *opening)
{
    struct wal *wal = opening->wal;
    struct wal_judge *judge = &opening->judge;
    opening->recovered->cut_bytes = bytes_in_use(judge);
    int result = write_hard_state(opening);
    if (result == 0 && judge->lost)
        result = remove_from(opening, 0);
    if (result != 0 || judge->lost)
        return result == 0 ? make_log(opening) : result;
    result = wal_patches_apply(wal, &judge->patches);
    if (result == 0)
        result = remove_from(opening, judge->at.i + 1);
    if (result == 0 && (judge->cut != 0 || judge->untidy))
        result = wal_judge_load(judge);
    if (result == 0)
        result = take_over(opening);
    return result == 0 ? sync_last(opening) : result;
}

static int recover(struct opening *opening)
{
    struct wal *wal = opening->wal;
    struct wal_judge *judge = &opening->judge;
    struct wal_recovered *recovered = opening->recovered;
    int result = list_segments(opening);
    if (result == 0)
        result = read_hard_state(opening);
    bool blank = is_blank(&opening->hard) && hard_state_is_open(&wal->hard_state);
    if (result == 0 && opening->listing->count > 0)
        result = wal_judge(judge);
    else
        judge->lost = true;
    if (result != 0)
        return result;
    recovered->fresh = judge->lost && blank && opening->listing->count <= 1;
    if (recovered->fresh) {
        opening->hard = wal->hard_state.now;
        result = write_hard_state(opening);
        result = result == 0 ? remove_from(opening, 0) : result;
        result = result == 0 ? make_log(opening) : result;
    } else {
        result = decide(opening);
        result = result == 0 ? act(opening) : result;
    }
    wal->identity = wal->hard_state.now.identity;
    wal->synced = wal->sequence;
    recovered->last = wal->last;
    recovered->hard = wal->hard_state.now.hard;
    return result;
}

/* What comes unasked at start cannot wait for a job. */
static int get_ready(struct wal *wal)
{
    int result = wal_room(wal) == 0 ? wal_segment_make_now(wal) : 0;
    if (result != 0)
        return result;
    wal->disk->ops->go_direct(wal->disk, wal->file);
    wal_segment_prepare(wal); /* last: a job is under way after it */
    return 0;
}

static struct wal *new_wal(const struct wal_options *options)
{
    struct wal *wal = calloc(1, sizeof(*wal));
    if (wal == NULL)
        return NULL;
    wal->options = *options;
    wal->disk = options->disk;
    wal->file = WAL_NO_FILE;
    memcpy(wal->cluster, options->cluster, strlen(options->cluster) + 1);
    wal->gathered = &wal->batch[0];
    wal->in_flight = &wal->batch[1];
    wal->batch[0].buffer = aligned_alloc(4096, WAL_BATCH_BYTES_MAX);
    wal->batch[1].buffer = aligned_alloc(4096, WAL_BATCH_BYTES_MAX);
    if (wal->batch[0].buffer == NULL || wal->batch[1].buffer == NULL) {
        wal_close(wal);
        return NULL;
    }
    return wal;
}

int wal_open(const struct wal_options *options, struct wal **ret_wal,
             struct wal_recovered *ret_recovered)
{
    assert(options->segment_bytes >= 4096 && options->segment_bytes % DISK_SECTOR_BYTES == 0);
    assert(strlen(options->cluster) < sizeof(((struct wal *)0)->cluster));
    memset(ret_recovered, 0, sizeof(*ret_recovered));
    struct opening *opening = calloc(1, sizeof(*opening));
    struct wal *wal = new_wal(options);
    struct wal_listing *listing = calloc(1, sizeof(*listing));
    int result = -ENOMEM;
    if (opening != NULL && wal != NULL && listing != NULL) {
        *opening = (struct opening){.wal = wal, .recovered = ret_recovered, .listing = listing};
        opening->judge =
            (struct wal_judge){.wal = wal, .recovered = ret_recovered, .listing = listing};
        result = recover(opening);
        wal_judge_done(&opening->judge);
    }
    if (result == 0)
        result = get_ready(wal);
    free(listing);
    free(opening);
    if (result != 0) {
        /* Where a job makes the next segment the memory is its own: the process is about to end. */
        if (wal == NULL || wal->next_state != WAL_NEXT_BEING_MADE)
            wal_close(wal);
        return result;
    }
    *ret_wal = wal;
    return 0;
}
