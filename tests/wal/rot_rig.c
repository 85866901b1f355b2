#include "tests/wal/rot_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- opening ---------------------------------------------------------------------------------- */

static void on_durable(void *context, struct raft_mark mark)
{
    (void)context, (void)mark;
}

static void on_failed(void *context, const char *what, int error)
{
    struct rot *rot = context;
    (void)what, (void)error;
    rot->failed = true;
}

static void on_scrubbed(void *context, const struct wal_scrubbed *scrubbed)
{
    struct rot *rot = context;
    rot->scrubbed = *scrubbed;
    rot->scrubs++;
}

int rot_try(struct rot *rot, bool alone)
{
    fake_runner_init(&rot->runner);
    struct wal_options options = {
        .disk = &rot->disk.disk,
        .runner = &rot->runner.runner,
        .node = 1,
        .cluster = "rot",
        .alone = alone,
        .generation = 0x1234567890,
        .segment_bytes = ROT_SEGMENT,
        .on_durable = on_durable,
        .on_failed = on_failed,
        .on_scrubbed = on_scrubbed,
        .context = rot,
    };
    rot->wal = NULL;
    int result = wal_open(&options, &rot->wal, &rot->recovered);
    if (result != 0)
        rot->wal = NULL;
    return result;
}

void rot_close(struct rot *rot)
{
    fake_runner_drain(&rot->runner);
    wal_close(rot->wal);
    rot->wal = NULL;
}

/* --- the log ---------------------------------------------------------------------------------- */

/* What an entry of this term was, also if it was truncated since. */
static struct bytes payload_of(uint64_t index, uint64_t term, uint8_t memory[ROT_PAYLOAD])
{
    size_t len = index % 9 == 0 ? 1300 : index % 4 == 3 ? 600 : 8 + index * 7 % 120;
    for (size_t i = 0; i < len; i++)
        memory[i] = (uint8_t)(index * 31 + term * 7 + i);
    return bytes_of(memory, len);
}

static void append(struct rot *rot, uint64_t term)
{
    uint64_t index = ++rot->last;
    cr_assert_lt(index, ROT_ENTRIES);
    rot->last_term = term;
    rot->entry[index].term = term;
    rot->entry[index].payload = payload_of(index, term, rot->payloads[index]);
    wal_append(rot->wal, (raft_index){index}, (raft_term){term}, RAFT_COMMAND,
               rot->entry[index].payload);
}

static void flush(struct rot *rot)
{
    wal_mark(rot->wal, (struct raft_mark){.last = {rot->last}, .term = {rot->last_term}});
    wal_flush(rot->wal, false);
    fake_runner_drain(&rot->runner);
}

static void set_term(struct rot *rot, uint64_t term)
{
    wal_hard_state(rot->wal, &(struct raft_hard_state){.term = {term}, .voted = true, .vote = {1}});
}

static void write_log(struct rot *rot)
{
    uint64_t term = 1;
    set_term(rot, term);
    for (uint64_t batch = 0; batch < 48; batch++) {
        rot->last_batch = rot->last + 1;
        if (batch % 11 == 10) { /* a suffix goes, and comes again in a later term */
            uint64_t first_gone = rot->last - 2;
            wal_truncate(rot->wal, (raft_index){first_gone},
                         (raft_term){rot->entry[first_gone - 1].term});
            rot->last = first_gone - 1;
            rot->last_batch = first_gone;
            set_term(rot, ++term);
        }
        uint64_t entries = batch == 47 ? 4 : 1 + batch % 4 * (batch % 3);
        for (uint64_t i = 0; i < entries; i++)
            append(rot, term);
        flush(rot);
    }
}

static int keep_name(void *context, const char *name)
{
    struct rot *rot = context;
    struct rot_file *file = &rot->file[rot->files++];
    cr_assert(rot->files <= ROT_FILES);
    snprintf(file->name, sizeof(file->name), "%s", name);
    const uint8_t *bytes = fake_disk_bytes(&rot->disk, name, &file->size);
    file->bytes = malloc(file->size);
    memcpy(file->bytes, bytes, file->size);
    return 0;
}

static void find_entries(struct rot *rot, size_t f)
{
    const struct rot_file *file = &rot->file[f];
    for (uint64_t at = 0; at + RECORD_HEADER_BYTES <= file->size; at += 8) {
        struct record record;
        if (record_get(bytes_of(file->bytes + at, (size_t)(file->size - at)), &record) !=
                RECORD_OK ||
            record.type != RECORD_ENTRY || record.index.n > rot->last)
            continue;
        struct rot_entry *entry = &rot->entry[record.index.n];
        if (entry->term != record.term.n || !bytes_equal(entry->payload, record.payload))
            continue;
        entry->file = f;
        entry->offset = at;
    }
}

bool rot_is_segment(const struct rot_file *file)
{
    return strstr(file->name, ".wal") != NULL;
}

size_t rot_hard_state(const struct rot *rot)
{
    size_t f = 0;
    while (strcmp(rot->file[f].name, HARD_STATE_FILE) != 0)
        f++;
    return f;
}

struct rot *rot_new(void)
{
    struct rot *rot = calloc(1, sizeof(*rot));
    fake_disk_init(&rot->disk);
    cr_assert_eq(rot_try(rot, true), 0);
    fake_runner_drain(&rot->runner);
    write_log(rot);
    rot_close(rot);
    cr_assert_eq(rot->disk.disk.ops->list(&rot->disk.disk, keep_name, rot), 0);
    for (size_t f = 0; f < rot->files; f++) {
        if (strcmp(rot->file[f].name, "0000000000000001.wal") == 0)
            rot->oldest = f;
        if (rot_is_segment(&rot->file[f]))
            find_entries(rot, f);
    }
    for (uint64_t index = 1; index <= rot->last; index++)
        cr_assert_gt(rot->entry[index].offset, 0, "entry %lu", (unsigned long)index);
    return rot;
}

void rot_free(struct rot *rot)
{
    for (size_t f = 0; f < rot->files; f++)
        free(rot->file[f].bytes);
    fake_disk_done(&rot->disk);
    free(rot);
}

void rot_say(const struct rot *rot, const char *what)
{
    cr_log_info("%-28s %6lu tried: %6lu whole %6lu repaired %6lu holes %6lu cut %6lu refused; "
                "%lu recovering, %lu with a floor\n",
                what, (unsigned long)rot->tried, (unsigned long)rot->count[ROT_WHOLE],
                (unsigned long)rot->count[ROT_REPAIRED], (unsigned long)rot->count[ROT_HOLES],
                (unsigned long)rot->count[ROT_CUT], (unsigned long)rot->count[ROT_REFUSED],
                (unsigned long)rot->recovering, (unsigned long)rot->floors);
}

/* --- a trial ---------------------------------------------------------------------------------- */

void rot_begin(struct rot *rot)
{
    struct disk *disk = &rot->disk.disk;
    fake_disk_done(&rot->disk);
    fake_disk_init(&rot->disk);
    rot->vote_doubted = rot->oldest_gone = rot->said = false;
    for (size_t f = 0; f < rot->files; f++) {
        int file;
        cr_assert_eq(disk->ops->open(disk, rot->file[f].name, true, &file), 0);
        cr_assert_eq(disk->ops->write(disk, file, 0, rot->file[f].bytes, rot->file[f].size), 0);
        cr_assert_eq(disk->ops->sync(disk, file), 0);
    }
    cr_assert_eq(disk->ops->sync_directory(disk), 0);
}

uint8_t *rot_bytes(struct rot *rot, size_t file)
{
    uint64_t size;
    return fake_disk_bytes(&rot->disk, rot->file[file].name, &size);
}

static struct fake_file *fake_file_of(struct rot *rot, const char *name)
{
    for (int i = 0; i < rot->disk.names; i++) {
        if (strcmp(rot->disk.name[i].name, name) == 0)
            return &rot->disk.file[rot->disk.name[i].file];
    }
    return NULL;
}

void rot_resize(struct rot *rot, size_t file, uint64_t size)
{
    struct fake_file *fake = fake_file_of(rot, rot->file[file].name);
    if (size > fake->now_size) {
        fake->now = realloc(fake->now, size);
        memset(fake->now + fake->now_size, 0x3c, size - fake->now_size);
    }
    fake->now_size = size;
    fake->durable_size = size < fake->durable_size ? size : fake->durable_size;
}

void rot_make_durable(struct rot *rot)
{
    for (int i = 0; i < rot->disk.names; i++) {
        struct fake_file *fake = &rot->disk.file[rot->disk.name[i].file];
        cr_assert_eq(fake->durable_size, fake->now_size);
        memcpy(fake->durable, fake->now, fake->now_size);
    }
}

/* --- judging ---------------------------------------------------------------------------------- */

struct reading {
    struct rot *rot;
    uint64_t next;
};

static int check_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                       struct bytes payload)
{
    struct reading *reading = context;
    struct rot *rot = reading->rot;
    const struct rot_entry *entry = &rot->entry[index.n];
    uint8_t memory[ROT_PAYLOAD];
    cr_assert_eq(index.n, reading->next++);
    cr_assert_eq(kind, RAFT_COMMAND);
    cr_assert(rot->recovered.last.n < rot->last ? term.n <= entry->term : term.n == entry->term,
              "entry %lu", (unsigned long)index.n);
    cr_assert(bytes_equal(payload, payload_of(index.n, term.n, memory)), "entry %lu",
              (unsigned long)index.n);
    return 0;
}

static void read_all(struct rot *rot)
{
    uint64_t start = rot->recovered.start.n, last = rot->recovered.last.n;
    struct reading reading = {.rot = rot, .next = start + 1};
    if (start < last)
        cr_assert_eq(
            wal_read(rot->wal, (raft_index){start + 1}, (raft_index){last}, check_entry, &reading),
            0);
}

/* Each hole is what the entry was; the entries around them can be read, they cannot. */
static void check_holes(struct rot *rot)
{
    uint64_t holes = 0;
    for (uint64_t index = rot->recovered.start.n + 1; index <= rot->recovered.last.n; index++) {
        struct reading reading = {.rot = rot, .next = index};
        raft_index at = {index}, found;
        bool hole = wal_has_hole(rot->wal, at, at, &found);
        int result = wal_read(rot->wal, at, at, check_entry, &reading);
        cr_assert_eq(result, hole ? -EBADMSG : 0, "entry %lu", (unsigned long)index);
        holes += hole;
    }
    cr_assert_eq(holes, wal_holes(rot->wal));
    cr_assert_eq(holes, rot->recovered.holes);
}

int rot_repair_all(struct rot *rot)
{
    struct wal_hole hole;
    uint8_t memory[ROT_PAYLOAD];
    for (uint32_t i = 0; wal_hole(rot->wal, i, &hole); i++) {
        struct bytes payload = payload_of(hole.index.n, hole.term.n, memory);
        struct bytes shorter = bytes_of(payload.at, payload.len - 1);
        raft_term other = {hole.term.n + 1};
        cr_assert_eq(hole.length, payload.len);
        cr_assert_eq(wal_repair(rot->wal, hole.index, other, hole.kind, payload), -EINVAL);
        cr_assert_eq(wal_repair(rot->wal, hole.index, hole.term, RAFT_NOOP, payload), -EINVAL);
        cr_assert_eq(wal_repair(rot->wal, hole.index, hole.term, hole.kind, shorter), -EINVAL);
        int result = wal_repair(rot->wal, hole.index, hole.term, hole.kind, payload);
        if (result != 0)
            return result;
    }
    return wal_repair_sync(rot->wal);
}

/* What is on disk now is sound: it opens with nothing to say, and takes more. */
static void go_on(struct rot *rot, bool alone, const char *what)
{
    struct wal_recovered first = rot->recovered;
    uint64_t last = rot->recovered.last.n, start = rot->recovered.start.n;
    struct raft_hard_state hard = rot->recovered.hard;
    bool appended = wal_room(rot->wal) > 1000 && last + 1 < ROT_ENTRIES;
    if (appended)
        wal_append(rot->wal, (raft_index){last + 1}, hard.term, RAFT_COMMAND,
                   bytes_of_text("more"));
    flush(rot);
    rot_close(rot);
    cr_assert_eq(rot_try(rot, alone), 0, "%s", rot->recovered.text);
    fake_runner_drain(&rot->runner);
    cr_assert_eq(rot->recovered.text[0], '\0', "%s: %s; %s", what, first.text, rot->recovered.text);
    cr_assert(!rot->recovered.fresh && rot->recovered.holes == 0 && rot->recovered.cut_bytes == 0);
    cr_assert_eq(rot->recovered.last.n, last + appended);
    cr_assert_eq(rot->recovered.start.n, start, "%lu, before %lu",
                 (unsigned long)rot->recovered.start.n, (unsigned long)start);
    cr_assert_eq(rot->recovered.hard.recovering, hard.recovering);
    cr_assert_eq(rot->recovered.hard.floor.known, hard.floor.known);
    rot->recovered.last.n = last;
    read_all(rot);
    rot_close(rot);
}

static void check_refusal(struct rot *rot, bool alone, const char *what, uint64_t where)
{
    cr_assert(alone, "%s %lu: a member refused: %s", what, (unsigned long)where,
              rot->recovered.text);
    cr_assert_neq(rot->recovered.text[0], '\0', "%s %lu", what, (unsigned long)where);
    rot->count[ROT_REFUSED]++;
}

static void check_hard_state(struct rot *rot, bool alone, bool complete, const char *what,
                             uint64_t where)
{
    const struct raft_hard_state *hard = &rot->recovered.hard;
    const struct raft_floor *floor = &hard->floor;
    cr_assert(!alone || !hard->recovering);
    cr_assert(alone || complete || hard->recovering, "%s %lu: less, and sure of it", what,
              (unsigned long)where);
    if (hard->recovering && floor->known)
        cr_assert(floor->index.n == rot->last && floor->term.n == rot->last_term,
                  "%s %lu: floor %lu/%lu", what, (unsigned long)where,
                  (unsigned long)floor->index.n, (unsigned long)floor->term.n);
    if (!hard->recovering && !rot->vote_doubted)
        cr_assert(hard->term.n >= rot->last_term && hard->voted && hard->vote.n == 1);
    rot->recovering += hard->recovering;
    rot->floors += hard->recovering && floor->known;
}

enum rot_outcome rot_judge(struct rot *rot, bool alone, const char *what, uint64_t where)
{
    rot->tried++;
    if (rot_try(rot, alone) != 0) {
        check_refusal(rot, alone, what, where);
        return ROT_REFUSED;
    }
    fake_runner_drain(&rot->runner);
    const struct wal_recovered *recovered = &rot->recovered;
    uint64_t last = recovered->last.n;
    bool complete = last == rot->last && (rot->oldest_gone || recovered->start.n == 0);
    enum rot_outcome outcome = recovered->text[0] == '\0' ? ROT_WHOLE : ROT_REPAIRED;
    cr_assert(complete || outcome == ROT_REPAIRED || rot->said, "%s %lu: silence", what,
              (unsigned long)where);
    check_hard_state(rot, alone, complete, what, where);
    if (!complete && alone)
        cr_assert(last + 1 >= rot->last_batch && (recovered->cut_bytes > 0 || rot->said),
                  "%s %lu: only %lu entries are left", what, (unsigned long)where,
                  (unsigned long)last);
    check_holes(rot);
    if (recovered->holes > 0) {
        cr_assert(!alone);
        outcome = ROT_HOLES;
        cr_assert_eq(rot_repair_all(rot), 0, "%s %lu: %s", what, (unsigned long)where,
                     recovered->text);
    }
    if (!complete)
        outcome = ROT_CUT;
    read_all(rot);
    rot->count[outcome]++;
    uint64_t left = rot->recovered.last.n;
    struct wal_recovered first = rot->recovered;
    go_on(rot, alone, what);
    rot->recovered = first;
    rot->recovered.last.n = left;
    return outcome;
}
