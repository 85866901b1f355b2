/*
 * wal dump DIR: what stands in the files, one line a record, in the order in which it was written;
 * damage is said, and what comes after it is found again by its checksum. It judges records by
 * themselves; whether the log would open is for `wal verify` to say.
 */
#include "raft/ctl/ctl.h"

#include "raft/ctl/overlay.h"
#include "raft/node/diag.h"
#include "raft/users/command.h"
#include "raft/wal/state.h" /* where records are, for more eyes than wal*.c's */
#include "raft/wire/peer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Of a command's text. */
#define SHORT_BYTES 60

struct dump {
    struct disk *disk;
    uint32_t segments;
    uint64_t segment[WAL_SEGMENTS_MAX];
    uint64_t records, damages;
    bool any; /* a record was there before: */
    struct record before;
};

/* --- records ---------------------------------------------------------------------------------- */

static const char *type_name(enum record_type type)
{
    switch (type) {
    case RECORD_SEGMENT:
        return "segment";
    case RECORD_ENTRY:
        return "entry";
    case RECORD_TRUNCATE:
        return "truncate";
    case RECORD_RESET:
        return "reset";
    case RECORD_COPIES:
        return "copies";
    }
    UNREACHABLE();
}

static void print_owner(struct bytes payload)
{
    struct record_owner owner;
    uint8_t at[512];
    struct writer out = writer_of(at, sizeof(at));
    if (record_owner_decode(payload, &owner) != 0) {
        printf(" owner=unreadable");
        return;
    }
    char id[CLUSTER_ID_TEXT_BYTES];
    record_cluster_id_print(owner.cluster_id, id);
    print_bytes(&out, "cluster", owner.cluster);
    printf(" node=%" PRIu64 " segment=%" PRIu64 " size=%" PRIu64 "%.*s cluster_id=%s", owner.node,
           owner.segment, owner.size, (int)writer_len(&out), (const char *)at, id);
}

static void print_command(struct bytes payload)
{
    static uint8_t at[8 * USERS_REQUEST_BYTES_MAX];
    struct users_request request;
    if (users_request_decode(payload, &request) != 0) {
        printf(" command=unreadable");
        return;
    }
    struct writer out = writer_of(at, sizeof(at));
    print_request_id(&out, "request", request.id);
    size_t id_len = writer_len(&out);
    put_text(&out, " ");
    users_command_print(&out, &request.command);
    size_t len = writer_len(&out);
    bool cut = len - id_len > SHORT_BYTES;
    printf("%.*s%s", (int)(cut ? id_len + SHORT_BYTES : len), (const char *)at, cut ? "…" : "");
}

static void print_configuration(struct bytes payload)
{
    static uint8_t at[MEMBERS_TEXT_BYTES_MAX];
    static struct members members;
    struct writer out = writer_of(at, sizeof(at));
    if (members_decode(payload, &members) != 0) {
        printf(" members=unreadable");
        return;
    }
    members_print(&out, &members);
    printf(" members=\"%.*s\"", (int)writer_len(&out), (const char *)at);
}

/* The kind of an entry is a byte that came from the disk: it may be none. */
static void print_entry(const struct record *record)
{
    if (record->kind == RAFT_NOOP) {
        printf(" kind=noop");
    } else if (record->kind == RAFT_COMMAND) {
        printf(" kind=command");
        print_command(record->payload);
    } else if (record->kind == RAFT_CONFIGURATION) {
        printf(" kind=configuration");
        print_configuration(record->payload);
    } else {
        printf(" kind=%u", record->kind);
    }
}

/* What is whole, and yet not where the record before says. */
static const char *astray(const struct dump *dump, const struct record *record)
{
    if (!dump->any)
        return NULL;
    if (record->generation != dump->before.generation)
        return "of another log";
    if (record->sequence != dump->before.sequence + 1)
        return "not the next in sequence";
    return record->previous_crc != dump->before.header_crc ? "not chained to the one before" : NULL;
}

static void print_record(struct dump *dump, const char *name, size_t offset,
                         const struct record *record)
{
    printf("%s offset=%zu type=%s index=%" PRIu64 " term=%" PRIu64 " sequence=%" PRIu64
           " synced=%" PRIu64 " length=%zu",
           name, offset, type_name(record->type), record->index.n, record->term.n, record->sequence,
           record->synced, record->payload.len);
    if (record->type == RECORD_ENTRY)
        print_entry(record);
    else if (record->type == RECORD_SEGMENT)
        print_owner(record->payload);
    const char *why = astray(dump, record);
    if (why != NULL)
        printf(" astray=\"%s\"", why);
    dump->damages += why != NULL;
    printf("\n");
    dump->any = true;
    dump->before = *record;
    dump->before.payload = bytes_of("", 0); /* it goes with the segment */
    dump->records++;
}

/* --- segments --------------------------------------------------------------------------------- */

struct segment {
    const char *name;
    uint64_t number;
    const uint8_t *bytes;
    size_t size;
};

/* Nothing was written to the sector since the segment was made. */
static bool is_unused(const struct dump *dump, const struct segment *segment, size_t offset)
{
    return dump->any && offset % DISK_SECTOR_BYTES == 0 &&
           segment->size - offset >= RECORD_HEADER_BYTES &&
           record_is_unused(bytes_of(segment->bytes + offset, segment->size - offset),
                            dump->before.generation, segment->number, offset);
}

static bool is_record(const struct segment *segment, size_t offset)
{
    struct record record;
    return segment->size - offset >= RECORD_HEADER_BYTES &&
           record_get(bytes_of(segment->bytes + offset, segment->size - offset), &record) ==
               RECORD_OK;
}

/* Where the next whole record or unused sector after `offset` is, else the end. */
static size_t find_next(const struct dump *dump, const struct segment *segment, size_t offset)
{
    size_t at = offset / 8 * 8 + 8;
    while (at < segment->size && !is_record(segment, at) && !is_unused(dump, segment, at))
        at += 8;
    return at < segment->size ? at : segment->size;
}

/* Zeros fill up the sector after the records of a part, and after its copies. */
static size_t skip_padding(const struct segment *segment, size_t offset)
{
    size_t at = offset;
    while (at < segment->size && at % DISK_SECTOR_BYTES != 0 && segment->bytes[at] == 0)
        at++;
    return at % DISK_SECTOR_BYTES == 0 || at == segment->size ? at : offset;
}

static const char *what_is(enum record_verdict verdict)
{
    switch (verdict) {
    case RECORD_OK:
        break;
    case RECORD_END:
        return "zeros, and something after them";
    case RECORD_BROKEN:
        return "no whole record: a checksum differs";
    case RECORD_FOREIGN:
        return "a record of a format that this version does not know";
    }
    UNREACHABLE();
}

static void dump_segment(struct dump *dump, const struct segment *segment)
{
    size_t offset = 0, unused = 0;
    while (offset < segment->size) {
        struct record record;
        struct bytes rest = bytes_of(segment->bytes + offset, segment->size - offset);
        enum record_verdict verdict = record_get(rest, &record);
        if (verdict == RECORD_OK) {
            print_record(dump, segment->name, offset, &record);
            offset = skip_padding(segment, offset + record_bytes(record.payload.len));
            continue;
        }
        if (is_unused(dump, segment, offset)) {
            unused += DISK_SECTOR_BYTES;
            offset += DISK_SECTOR_BYTES;
            continue;
        }
        size_t next = find_next(dump, segment, offset);
        printf("%s offset=%zu damaged_bytes=%zu text=\"%s\"\n", segment->name, offset,
               next - offset, what_is(verdict));
        dump->damages++;
        offset = next;
    }
    printf("%s end free_bytes=%zu\n", segment->name, unused);
}

static void complain(struct dump *dump, const char *name, const char *text)
{
    printf("%s unreadable text=\"%s\"\n", name, text);
    dump->damages++;
}

static void dump_file(struct dump *dump, const char *name, uint64_t number)
{
    int file;
    uint64_t size = 0;
    int result = dump->disk->ops->open(dump->disk, name, false, &file);
    if (result != 0) {
        complain(dump, name, strerror(-result));
        return;
    }
    result = dump->disk->ops->size(dump->disk, file, &size);
    if (result == 0 && size > UINT32_MAX)
        result = -EFBIG;
    uint8_t *bytes = result == 0 ? malloc((size_t)size + 1) : NULL;
    if (result == 0)
        result = bytes != NULL ? dump->disk->ops->read(dump->disk, file, 0, bytes, (size_t)size)
                               : -ENOMEM;
    struct segment segment = {name, number, bytes, (size_t)size};
    if (result == 0)
        dump_segment(dump, &segment);
    else
        complain(dump, name, strerror(-result));
    free(bytes);
    (void)dump->disk->ops->close(dump->disk, file);
}

/* --- hard state ------------------------------------------------------------------------------- */

static void print_block(struct dump *dump, uint32_t i, struct bytes bytes)
{
    struct record_hard_state state;
    int result = record_hard_state_decode(bytes, &state);
    if (result != 0) {
        printf(HARD_STATE_FILE " block=%" PRIu32 " damaged\n", i);
        dump->damages++;
        return;
    }
    printf(HARD_STATE_FILE " block=%" PRIu32 " sequence=%" PRIu64 " node=%" PRIu64 " term=%" PRIu64,
           i, state.sequence, state.node, state.hard.term.n);
    if (state.hard.voted)
        printf(" vote=%" PRIu64, state.hard.vote.n);
    printf(" segment=%" PRIu64, state.segment);
    if (cluster_id_known(state.identity.cluster)) {
        char id[CLUSTER_ID_TEXT_BYTES];
        record_cluster_id_print(state.identity.cluster, id);
        printf(" cluster_id=%s members=%" PRIu32, id, state.identity.members);
    }
    if (state.hard.recovering)
        printf(
            " recovering=1 text=\"it forgot something: it does not count until its log is whole\"");
    if (state.hard.floor.known)
        printf(" floor=%" PRIu64 " floor_term=%" PRIu64, state.hard.floor.index.n,
               state.hard.floor.term.n);
    if (state.cut > 0)
        printf(" cut_at_sequence=%" PRIu64, state.cut);
    printf("\n");
}

static void dump_hard_state(struct dump *dump)
{
    int file;
    int result = dump->disk->ops->open(dump->disk, HARD_STATE_FILE, false, &file);
    if (result != 0) {
        complain(dump, HARD_STATE_FILE, strerror(-result));
        return;
    }
    for (uint32_t i = 0; i < HARD_STATE_BLOCKS; i++) {
        uint8_t block[RECORD_HARD_STATE_BYTES];
        result = dump->disk->ops->read(dump->disk, file, (uint64_t)i * HARD_STATE_BLOCK_BYTES,
                                       block, sizeof(block));
        if (result == 0)
            print_block(dump, i, bytes_of(block, sizeof(block)));
        else
            complain(dump, HARD_STATE_FILE, result == -ENODATA ? "cut short" : strerror(-result));
    }
    (void)dump->disk->ops->close(dump->disk, file);
}

/* --- all -------------------------------------------------------------------------------------- */

static int note_segment(void *context, const char *name)
{
    struct dump *dump = context;
    uint64_t number;
    if (wal_segment_number(name, &number) && dump->segments < WAL_SEGMENTS_MAX)
        dump->segment[dump->segments++] = number;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void dump_all(struct dump *dump)
{
    (void)dump->disk->ops->list(dump->disk, note_segment, dump);
    qsort(dump->segment, dump->segments, sizeof(dump->segment[0]), by_number);
    dump_hard_state(dump);
    for (uint32_t i = 0; i < dump->segments; i++) {
        char name[WAL_NAME_BYTES];
        if (i > 0 && dump->segment[i] != dump->segment[i - 1] + 1) {
            printf("missing_segments=%" PRIu64 "\n", dump->segment[i] - dump->segment[i - 1] - 1);
            dump->damages++;
        }
        wal_segment_name(dump->segment[i], name);
        dump_file(dump, name, dump->segment[i]);
    }
    printf("segments=%" PRIu32 " records=%" PRIu64 " damages=%" PRIu64 "\n", dump->segments,
           dump->records, dump->damages);
}

enum ctl_exit ctl_wal_dump(const struct ctl_arguments *arguments)
{
    struct overlay *overlay;
    pid_t holder = overlay_holder(arguments->path);
    int result = overlay_open(arguments->path, &overlay);
    if (result != 0) {
        diag("dump_failed", "dir=%s text=\"%s\"", arguments->path, strerror(-result));
        return CTL_FAILED;
    }
    if (holder != 0)
        diag("running", "pid=%ld dir=%s text=\"a node runs on this log: its end moves\"",
             (long)holder, arguments->path);
    static struct dump dump;
    dump = (struct dump){.disk = overlay_disk(overlay)};
    dump_all(&dump);
    overlay_close(overlay);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        diag("dump_failed", "dir=%s text=\"stdout: %s\"", arguments->path, strerror(errno));
        return CTL_FAILED;
    }
    return dump.damages > 0 ? CTL_DAMAGED : CTL_DONE;
}
