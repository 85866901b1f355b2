/*
 * Opening a log. The first byte chooses, modulo 3:
 *
 *   0  the rest is the content of the first segment, and of the hard state from its end on. Opening
 *      refuses with a text, or gives a log whose entries read back, but for holes.
 *   1  the rest is a program: it writes a log, then damages one sector of it. Then opening by a
 *      node that is alone refuses with a text, or what was acknowledged is there, save what the
 *      very last flush brought. A member does not refuse: all is there, or a hole, or it recovers.
 *   2  as 1, with many damages: then one that is alone is only held to the rule of 0.
 *
 * From 128 on the node is a member. After each opening that succeeds the holes are repaired where
 * it is known what they held, and the log is written to, closed and opened once more.
 */
#include "raft/wal/hard_state.h"
#include "raft/wal/wal.h"
#include "raft/wire/record.h"

/* One object: fuzzers are linked with what they test and nothing else. */
#include "tests/wal/fake_disk.c"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT     4096u
#define ENTRIES_MAX 512u

#define demand(condition)                                                   \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

struct bench {
    struct fake_disk disk;
    struct fake_runner runner;
    struct wal *wal;
    struct wal_recovered recovered;
    bool member;
    uint64_t last, term;
    uint64_t stamp[ENTRIES_MAX + 2]; /* of each entry gathered */
    uint64_t of_term[ENTRIES_MAX + 2];
    uint8_t length[ENTRIES_MAX + 2];
    uint64_t stamps;
    bool logged;                  /* records were gathered since the last flush */
    uint64_t floor, floor_before; /* acknowledged; the same before the last flush */
    uint64_t hard_state;          /* term, acknowledged */
};

static void on_durable(void *context, struct raft_mark mark)
{
    struct bench *b = context;
    if (b->logged)
        b->floor_before = b->floor;
    b->logged = false;
    b->floor = mark.last.n;
    b->hard_state = mark.term.n;
}

static void on_failed(void *context, const char *what, int error)
{
    (void)context, (void)what, (void)error;
    demand(!"the disk never fails here");
}

static int open_log(struct bench *b)
{
    fake_runner_init(&b->runner);
    struct wal_options options = {
        .disk = &b->disk.disk,
        .runner = &b->runner.runner,
        .node = 1,
        .cluster = "fuzz",
        .alone = !b->member,
        .generation = 77,
        .segment_bytes = SEGMENT,
        .on_durable = on_durable,
        .on_failed = on_failed,
        .context = b,
    };
    b->wal = NULL;
    int result = wal_open(&options, &b->wal, &b->recovered);
    if (result == 0)
        fake_runner_drain(&b->runner);
    else
        demand(b->recovered.text[0] != '\0' || result != -EBADMSG);
    return result;
}

static void close_log(struct bench *b)
{
    fake_runner_drain(&b->runner);
    wal_close(b->wal);
    b->wal = NULL;
}

/* --- writing
 * -------------------------------------------------------------------------------------*/

static void append(struct bench *b, uint8_t len)
{
    uint8_t payload[8 + 256] = {0};
    if (b->last >= ENTRIES_MAX || wal_room(b->wal) < wal_entry_bytes(sizeof(payload)))
        return;
    b->stamp[++b->last] = ++b->stamps;
    b->of_term[b->last] = b->term;
    b->length[b->last] = len;
    b->logged = true;
    memcpy(payload, &b->stamps, 8);
    wal_append(b->wal, (raft_index){b->last}, (raft_term){b->term}, RAFT_COMMAND,
               bytes_of(payload, 8 + (size_t)len));
}

static void flush(struct bench *b)
{
    struct raft_mark mark = {.last = {b->last}, .term = {b->term}, .voted = true};
    wal_mark(b->wal, mark);
    wal_flush(b->wal, false);
    fake_runner_drain(&b->runner);
}

static void lower(uint64_t *floor, uint64_t to)
{
    *floor = *floor < to ? *floor : to;
}

/* What a suffix that goes makes of what was acknowledged. */
static void drop_from(struct bench *b, uint64_t first_gone)
{
    if (wal_room(b->wal) < 512)
        return;
    wal_truncate(b->wal, (raft_index){first_gone}, (raft_term){b->of_term[first_gone - 1]});
    b->last = first_gone - 1;
    b->logged = true;
    lower(&b->floor, b->last);
    lower(&b->floor_before, b->last);
}

static void write_log(struct bench *b, struct reader *program)
{
    b->term = 1;
    wal_hard_state(b->wal,
                   &(struct raft_hard_state){.term = {b->term}, .voted = true, .vote = {1}});
    flush(b);
    for (int steps = 0; steps < 200 && reader_left(program) > 6; steps++) {
        uint8_t code = get_u8(program);
        if (code == 0xff)
            return; /* the damages come */
        if (code < 150)
            append(b, code);
        else if (code < 240)
            flush(b);
        else if (code < 246)
            wal_hard_state(
                b->wal, &(struct raft_hard_state){.term = {++b->term}, .voted = true, .vote = {1}});
        else if (b->last > 2 && code < 250)
            drop_from(b, b->last - code % 3);
    }
}

/* --- damaging
 * ------------------------------------------------------------------------------------*/

/* At most a sector of one file. */
static void damage(struct bench *b, struct reader *program)
{
    uint8_t kind = get_u8(program), which = get_u8(program), with = get_u8(program);
    uint16_t place = get_u16(program);
    char name[32] = HARD_STATE_FILE;
    if (which % 8 != 0)
        snprintf(name, sizeof(name), "%016x.wal", 1u + which / 8u % 12u);
    uint64_t size;
    uint8_t *bytes = fake_disk_bytes(&b->disk, name, &size);
    if (bytes == NULL || size < SECTOR)
        return;
    uint64_t at = place % size, sector = at / SECTOR * SECTOR;
    switch (kind % 5) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << with % 8);
        return;
    case 1:
        bytes[at] = with;
        return;
    case 2:
        memset(bytes + sector, 0, SECTOR);
        return;
    case 3:
        memset(bytes + sector, with, SECTOR);
        return;
    default: /* a write that went astray */
        memcpy(bytes + sector, bytes + (uint64_t)with * SECTOR % size / SECTOR * SECTOR, SECTOR);
        return;
    }
}

/* --- judging
 * -------------------------------------------------------------------------------------*/

struct judged {
    const struct bench *b;
    uint64_t next;
    bool own; /* the entries are those that write_log wrote */
};

static int judge_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                       struct bytes payload)
{
    struct judged *judged = context;
    (void)kind;
    demand(index.n == judged->next++ && term.n <= judged->b->recovered.hard.term.n);
    if (!judged->own)
        return 0;
    uint64_t stamp;
    demand(payload.len >= 8);
    memcpy(&stamp, payload.at, 8);
    demand(stamp >= 1 && stamp <= judged->b->stamps);
    if (index.n <= judged->b->floor_before)
        demand(stamp == judged->b->stamp[index.n]);
    return 0;
}

static void read_all(struct bench *b, bool own)
{
    raft_index first = {b->recovered.start.n + 1}, last = b->recovered.last, hole;
    if (last.n - first.n >= 100000)
        return;
    while (first.n <= last.n) { /* from hole to hole */
        bool holes = wal_has_hole(b->wal, first, last, &hole);
        raft_index to = {holes ? hole.n - 1 : last.n};
        struct judged judged = {.b = b, .next = first.n, .own = own};
        if (first.n <= to.n)
            demand(wal_read(b->wal, first, to, judge_entry, &judged) == 0 &&
                   judged.next == to.n + 1);
        if (holes)
            demand(wal_read(b->wal, hole, hole, judge_entry, &judged) == -EBADMSG);
        first.n = to.n + (holes ? 2 : 1);
    }
}

/* Of entries that write_log wrote and that are acknowledged still. */
static void repair(struct bench *b)
{
    struct wal_hole hole;
    for (uint32_t i = 0; wal_hole(b->wal, i, &hole); i++) {
        uint8_t payload[8 + 256] = {0};
        uint64_t index = hole.index.n;
        demand(index <= b->last || index <= ENTRIES_MAX);
        memcpy(payload, &b->stamp[index], 8);
        int result = wal_repair(b->wal, hole.index, hole.term, hole.kind,
                                bytes_of(payload, 8 + (size_t)b->length[index]));
        if (index <= b->floor_before && !b->recovered.hard.recovering)
            demand(result == 0);
    }
    demand(wal_repair_sync(b->wal) == 0);
}

/* The log as it was opened is written to, and opens again. */
static void go_on(struct bench *b)
{
    uint64_t last = b->recovered.last.n, term = b->recovered.hard.term.n;
    if (last > UINT64_MAX / 2 || term > UINT64_MAX / 2 || wal_room(b->wal) < wal_entry_bytes(8)) {
        close_log(b);
        return;
    }
    struct raft_hard_state hard = b->recovered.hard;
    hard.term.n++;
    wal_hard_state(b->wal, &hard);
    wal_append(b->wal, (raft_index){last + 1}, (raft_term){term + 1}, RAFT_NOOP,
               bytes_of("anything", 8));
    wal_mark(b->wal, (struct raft_mark){.last = {last + 1}, .term = {term + 1}});
    wal_flush(b->wal, true);
    close_log(b);
    demand(open_log(b) == 0 && b->recovered.last.n == last + 1 &&
           b->recovered.hard.term.n == term + 1);
    demand(b->recovered.cut_bytes == 0 && b->recovered.hard.recovering == hard.recovering);
    read_all(b, false);
    close_log(b);
}

static void try_program(struct bench *b, struct reader program, bool many)
{
    demand(open_log(b) == 0);
    write_log(b, &program);
    flush(b);
    close_log(b);
    do
        damage(b, &program);
    while (many && reader_left(&program) >= 5);
    if (open_log(b) != 0) {
        demand(!b->member);
        return;
    }
    bool sure = b->member && !b->recovered.hard.recovering;
    if (!many || sure)
        demand(b->recovered.hard.recovering || (b->recovered.last.n >= b->floor_before &&
                                                b->recovered.hard.term.n >= b->hard_state));
    read_all(b, !many);
    repair(b);
    go_on(b);
}

static void try_files(struct bench *b, struct bytes bytes)
{
    static const char *const names[] = {"0000000000000001.wal", HARD_STATE_FILE};
    static const size_t sizes[] = {SEGMENT, 4 * 4096};
    for (int i = 0; i < 2; i++) {
        uint8_t content[4 * 4096] = {0};
        size_t len = bytes.len < sizes[i] ? bytes.len : sizes[i];
        int file;
        memcpy(content, bytes.at, len);
        bytes = bytes_of(bytes.at + len, bytes.len - len);
        demand(b->disk.disk.ops->open(&b->disk.disk, names[i], true, &file) == 0);
        demand(b->disk.disk.ops->write(&b->disk.disk, file, 0, content, sizes[i]) == 0);
    }
    if (open_log(b) != 0)
        return;
    read_all(b, false);
    go_on(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 64u << 10)
        return 0;
    struct bench *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return 0;
    fake_disk_init(&b->disk);
    b->member = data[0] >= 128;
    struct bytes rest = bytes_of(data + 1, size - 1);
    if (data[0] % 3 == 0)
        try_files(b, rest);
    else
        try_program(b, reader_of(rest), data[0] % 3 == 2);
    fake_disk_done(&b->disk);
    free(b);
    return 0;
}
