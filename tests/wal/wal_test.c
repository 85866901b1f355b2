#include "raft/wal/wal.h"

#include "raft/wire/record.h"
#include "tests/wal/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT 8192u
#define ENTRIES 4096u

/* A log on a fake disk, and what it should hold. */
struct bench {
    struct fake_disk disk;
    struct fake_runner runner;
    struct wal *wal;
    struct wal_recovered recovered;
    bool alone;
    bool failed;
    int failure;
    struct raft_mark durable; /* last mark that was called durable */
    raft_term durable_term;

    uint64_t last;           /* gathered */
    uint64_t term[ENTRIES];  /* of each entry gathered, 0 for none */
    uint32_t stamp[ENTRIES]; /* its payload */
    uint64_t epoch;          /* of marks: a truncation ends it */
    uint64_t durable_floor;  /* entries up to here were called durable and not truncated */
    uint32_t stamps;
};

static void on_durable(void *context, struct raft_mark mark)
{
    struct bench *b = context;
    b->durable = mark;
    b->durable_term = mark.term;
    if (mark.epoch == b->epoch && b->durable_floor < mark.last.n)
        b->durable_floor = mark.last.n;
}

static void on_failed(void *context, const char *what, int error)
{
    (void)what;
    struct bench *b = context;
    b->failed = true;
    b->failure = error;
}

static struct wal_options options_of(struct bench *b)
{
    return (struct wal_options){
        .disk = &b->disk.disk,
        .runner = &b->runner.runner,
        .node = 1,
        .cluster = "test",
        .alone = b->alone,
        .generation = 77,
        .segment_bytes = SEGMENT,
        .on_durable = on_durable,
        .on_failed = on_failed,
        .context = b,
    };
}

static int open_bench(struct bench *b)
{
    fake_runner_init(&b->runner);
    b->failed = false;
    struct wal_options options = options_of(b);
    b->wal = NULL;
    return wal_open(&options, &b->wal, &b->recovered);
}

static struct bench *new_bench(void)
{
    struct bench *b = calloc(1, sizeof(*b));
    fake_disk_init(&b->disk);
    cr_assert_eq(open_bench(b), 0, "%s", b->recovered.text);
    fake_runner_drain(&b->runner);
    return b;
}

static void free_bench(struct bench *b)
{
    if (b->wal != NULL)
        wal_close(b->wal);
    fake_disk_done(&b->disk);
    free(b);
}

static void mark(struct bench *b, uint64_t term)
{
    wal_mark(b->wal, (struct raft_mark){.epoch = b->epoch, .last = {b->last}, .term = {term}});
}

/* Payloads differ in length, and say which append they were. */
static struct bytes payload_of(uint32_t stamp, uint8_t buffer[256])
{
    size_t len = 4 + stamp % 200;
    memset(buffer, (int)(stamp % 251), len);
    memcpy(buffer, &stamp, 4);
    return bytes_of(buffer, len);
}

static void append(struct bench *b, uint64_t term)
{
    uint8_t buffer[256];
    uint32_t stamp = ++b->stamps;
    b->last++;
    b->term[b->last] = term;
    b->stamp[b->last] = stamp;
    wal_append(b->wal, (raft_index){b->last}, (raft_term){term}, RAFT_COMMAND,
               payload_of(stamp, buffer));
}

static void flush(struct bench *b)
{
    wal_flush(b->wal, false);
    fake_runner_drain(&b->runner);
}

static void append_and_flush(struct bench *b, uint64_t term)
{
    append(b, term);
    mark(b, term);
    flush(b);
}

static int check_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                       struct bytes payload)
{
    struct bench *b = context;
    uint8_t buffer[256];
    cr_assert_eq(kind, RAFT_COMMAND);
    cr_assert_eq(term.n, b->term[index.n]);
    cr_assert(bytes_equal(payload, payload_of(b->stamp[index.n], buffer)), "entry %lu",
              (unsigned long)index.n);
    return 0;
}

static void check_entries(struct bench *b, uint64_t first, uint64_t last)
{
    if (first <= last)
        cr_assert_eq(wal_read(b->wal, (raft_index){first}, (raft_index){last}, check_entry, b), 0);
}

static void reopen(struct bench *b)
{
    fake_runner_drain(&b->runner);
    wal_close(b->wal);
    cr_assert_eq(open_bench(b), 0, "%s", b->recovered.text);
    fake_runner_drain(&b->runner);
}

Test(wal, is_fresh_once_and_remembers_after)
{
    struct bench *b = new_bench();
    cr_assert(b->recovered.fresh);
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {3}, .voted = true, .vote = {1}});
    append_and_flush(b, 3);
    reopen(b);
    cr_assert_not(b->recovered.fresh);
    cr_assert_eq(b->recovered.hard.term.n, 3);
    cr_assert(b->recovered.hard.voted);
    cr_assert_eq(b->recovered.last.n, 1);
    check_entries(b, 1, 1);
    free_bench(b);
}

Test(wal, goes_over_many_segments_and_reads_them_back)
{
    struct bench *b = new_bench();
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {1}});
    for (int i = 0; i < 500; i++)
        append_and_flush(b, 1);
    cr_assert_gt(wal_disk_bytes(b->wal), 20 * SEGMENT);
    check_entries(b, 1, 500);
    reopen(b);
    cr_assert_eq(b->recovered.last.n, 500);
    check_entries(b, 1, 500);
    check_entries(b, 250, 260);
    free_bench(b);
}

Test(wal, calls_nothing_durable_before_its_flush_is_done)
{
    struct bench *b = new_bench();
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {1}});
    append(b, 1);
    mark(b, 1);
    cr_assert_eq(b->durable_floor, 0);
    wal_flush(b->wal, false);
    append(b, 1);
    mark(b, 1);
    wal_flush(b->wal, false); /* one at a time: this one waits */
    cr_assert_eq(b->durable_floor, 0);
    cr_assert(fake_runner_step(&b->runner, RUNNER_LOG));
    cr_assert_eq(b->durable_floor, 1);
    flush(b);
    cr_assert_eq(b->durable_floor, 2);
    free_bench(b);
}

Test(wal, replays_truncations_in_physical_order)
{
    struct bench *b = new_bench();
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {5}});
    for (int i = 0; i < 100; i++)
        append_and_flush(b, 1);
    wal_truncate(b->wal, (raft_index){40}, (raft_term){1});
    b->last = 39;
    for (int i = 0; i < 20; i++)
        append_and_flush(b, 3);
    wal_truncate(b->wal, (raft_index){50}, (raft_term){3});
    b->last = 49;
    append_and_flush(b, 5);
    check_entries(b, 1, 50);
    reopen(b);
    cr_assert_eq(b->recovered.last.n, 50);
    check_entries(b, 1, 50);
    cr_assert_neq(wal_read(b->wal, (raft_index){1}, (raft_index){51}, check_entry, b), 0);
    free_bench(b);
}

Test(wal, starts_anew_after_a_reset)
{
    struct bench *b = new_bench();
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {9}});
    for (int i = 0; i < 50; i++)
        append_and_flush(b, 1);
    wal_reset(b->wal, (raft_index){1000}, (raft_term){8});
    b->last = 1000;
    append_and_flush(b, 9);
    reopen(b);
    cr_assert_eq(b->recovered.start.n, 1000);
    cr_assert_eq(b->recovered.start_term.n, 8);
    cr_assert_eq(b->recovered.last.n, 1001);
    check_entries(b, 1001, 1001);
    free_bench(b);
}

Test(wal, removes_only_segments_that_a_snapshot_covers)
{
    struct bench *b = new_bench();
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {1}});
    for (int i = 0; i < 300; i++)
        append_and_flush(b, 1);
    uint64_t before = wal_disk_bytes(b->wal);
    wal_compact(b->wal, (raft_index){150});
    fake_runner_drain(&b->runner);
    cr_assert_lt(wal_disk_bytes(b->wal), before);
    check_entries(b, 151, 300);
    reopen(b);
    cr_assert_gt(b->recovered.start.n, 0);
    cr_assert_leq(b->recovered.start.n, 150);
    cr_assert_eq(b->recovered.start_term.n, 1);
    check_entries(b, b->recovered.start.n + 1, 300);
    free_bench(b);
}

/* Else nothing would be left of what was durable, if what comes after it is lost. */
Test(wal, keeps_a_segment_until_something_after_it_is_durable)
{
    struct bench *b = new_bench();
    uint64_t random = 1;
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {1}});
    while (b->last < 30)
        append_and_flush(b, 1);
    uint64_t durable = b->durable_floor;
    while (wal_room(b->wal) > SEGMENT / 4) /* into the next segment, of which nothing is synced */
        append(b, 1);
    mark(b, 1);
    wal_compact(b->wal, (raft_index){b->last});
    while (fake_runner_step(&b->runner, RUNNER_HOUSEKEEPING))
        ;
    fake_disk_crash(&b->disk, &random);
    wal_close(b->wal);
    cr_assert_eq(open_bench(b), 0, "%s", b->recovered.text);
    cr_assert_geq(b->recovered.last.n, durable);
    cr_assert_lt(b->recovered.start.n, durable);
    free_bench(b);
}

/* Where a segment began is said by a record that may be of what went later. */
Test(wal, starts_where_the_live_log_does_when_a_truncation_reached_over_its_first_segment)
{
    struct bench *b = new_bench();
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {2}});
    for (int i = 0; i < 40; i++)
        append_and_flush(b, 1);
    wal_truncate(b->wal, (raft_index){5}, (raft_term){1});
    b->last = 4;
    for (int i = 0; i < 40; i++)
        append_and_flush(b, 2);
    wal_compact(b->wal, (raft_index){35});
    reopen(b);
    raft_index start = b->recovered.start;
    cr_assert_gt(start.n, 0, "nothing was removed");
    cr_assert_eq(b->recovered.start_term.n, b->term[start.n], "entry %lu", (unsigned long)start.n);
    check_entries(b, start.n + 1, 44);
    free_bench(b);
}

Test(wal, has_no_room_while_the_next_segment_cannot_be_made)
{
    struct bench *b = new_bench();
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {1}});
    b->disk.room = 0;
    int written = 0;
    while (wal_room(b->wal) >= wal_entry_bytes(256)) {
        append_and_flush(b, 1);
        cr_assert_lt(++written, 200, "two segments do not hold so much");
    }
    cr_assert(wal_full(b->wal));
    cr_assert_not(b->failed);
    wal_tick(b->wal);
    fake_runner_drain(&b->runner);
    cr_assert(wal_full(b->wal));
    b->disk.room = 1 << 20;
    wal_tick(b->wal);
    fake_runner_drain(&b->runner);
    cr_assert_not(wal_full(b->wal));
    cr_assert_geq(wal_room(b->wal), wal_entry_bytes(256));
    append_and_flush(b, 1);
    reopen(b);
    check_entries(b, 1, b->last);
    free_bench(b);
}

Test(wal, refuses_the_log_of_another_node)
{
    struct bench *b = new_bench();
    append(b, 0);
    flush(b);
    fake_runner_drain(&b->runner);
    wal_close(b->wal);
    struct wal_options options = {
        .disk = &b->disk.disk,
        .runner = &b->runner.runner,
        .node = 1,
        .cluster = "other",
        .segment_bytes = SEGMENT,
    };
    cr_assert_eq(wal_open(&options, &b->wal, &b->recovered), -EBADMSG);
    cr_assert(strstr(b->recovered.text, "cluster \"test\"") != NULL, "%s", b->recovered.text);
    b->wal = NULL;
    free_bench(b);
}

/* --- crashes ---------------------------------------------------------------------------------- */

/* One step of a random workload; every step that a driver may take. */
static void random_step(struct bench *b, uint64_t *random, uint64_t *term)
{
    uint64_t dice = fake_random(random) % 20;
    if (wal_room(b->wal) < 4096 || b->last + 2 >= ENTRIES || dice < 4) {
        (void)fake_runner_step(&b->runner, fake_random(random) % RUNNER_LANES);
    } else if (dice == 4) {
        wal_hard_state(b->wal,
                       &(struct raft_hard_state){.term = {++*term}, .voted = true, .vote = {1}});
        mark(b, *term);
    } else if (dice == 5 && b->last > b->recovered.start.n + 3) {
        uint64_t first_gone = b->last - fake_random(random) % 3;
        /* What was durable may go: the test only holds the log to what it was told since. */
        if (first_gone <= b->durable_floor)
            b->durable_floor = first_gone - 1;
        wal_truncate(b->wal, (raft_index){first_gone}, (raft_term){b->term[first_gone - 1]});
        b->last = first_gone - 1;
        b->epoch++;
        append(b, *term);
        mark(b, *term);
    } else if (dice == 6 && b->durable_floor > 20 && *term > 2) {
        wal_compact(b->wal, (raft_index){b->durable_floor - 20});
    } else if (dice < 12) {
        wal_flush(b->wal, dice == 11);
    } else {
        append(b, *term);
        mark(b, *term);
    }
}

/*
 * After a crash: everything that was called durable is there, as it was; what else is there was
 * gathered once, and the terms never go back. What the test cannot know is whether a truncation
 * that was not called durable has happened, so entries are compared by the stamp they carry.
 */
static int check_recovered(void *context, raft_index index, raft_term term,
                           enum raft_entry_kind kind, struct bytes payload)
{
    struct bench *b = context;
    uint32_t stamp;
    uint8_t buffer[256];
    (void)kind;
    cr_assert_geq(payload.len, 4);
    memcpy(&stamp, payload.at, 4);
    cr_assert(stamp > 0 && stamp <= b->stamps && bytes_equal(payload, payload_of(stamp, buffer)));
    if (index.n <= b->durable_floor)
        cr_assert_eq(stamp, b->stamp[index.n], "entry %lu was durable", (unsigned long)index.n);
    b->term[index.n] = term.n;
    b->stamp[index.n] = stamp;
    return 0;
}

/* As quick as a thread can be. */
static void run_at_once(struct runner *runner, enum runner_lane lane, struct job *job)
{
    (void)runner, (void)lane;
    job->run(job);
}

Test(wal, starts_over_when_the_first_start_was_cut_short)
{
    for (uint64_t at = 1; at <= 40; at++) {
        for (uint64_t random = 0; random < 64; random++) {
            struct bench *b = calloc(1, sizeof(*b));
            fake_disk_init(&b->disk);
            b->alone = random % 2 == 0;
            b->disk.crash_at = at;
            uint64_t seed = random;
            struct runner quick = {.submit = run_at_once};
            struct wal_options options = options_of(b);
            options.runner = &quick;
            if (wal_open(&options, &b->wal, &b->recovered) == 0)
                wal_close(b->wal);
            fake_disk_crash(&b->disk, &seed);
            cr_assert_eq(open_bench(b), 0, "operation %lu: %s", (unsigned long)at,
                         b->recovered.text);
            cr_assert(!b->recovered.hard.recovering, "operation %lu: %s", (unsigned long)at,
                      b->recovered.text);
            fake_runner_drain(&b->runner);
            append_and_flush(b, 0);
            free_bench(b);
        }
    }
}

static void crash_run(uint64_t seed, bool alone)
{
    uint64_t random = seed, term = 1;
    struct bench *b = new_bench();
    b->alone = alone;
    wal_hard_state(b->wal, &(struct raft_hard_state){.term = {term}});
    for (int life = 0; life < 6; life++) {
        b->disk.crash_at = b->disk.operations + 1 + fake_random(&random) % 120;
        for (int i = 0; i < 400 && !b->failed; i++)
            random_step(b, &random, &term);
        b->disk.crashed = true;
        fake_runner_drain(&b->runner);
        uint64_t floor = b->durable_floor, durable_term = b->durable_term.n;
        wal_close(b->wal);
        fake_disk_crash(&b->disk, &random);
        cr_assert_eq(open_bench(b), 0, "seed %lu life %d: %s", (unsigned long)seed, life,
                     b->recovered.text);
        fake_runner_drain(&b->runner);
        cr_assert_geq(b->recovered.last.n, floor, "seed %lu", (unsigned long)seed);
        cr_assert(!b->recovered.hard.recovering && b->recovered.holes == 0, "seed %lu life %d: %s",
                  (unsigned long)seed, life, b->recovered.text);
        cr_assert_geq(b->recovered.hard.term.n, durable_term, "seed %lu", (unsigned long)seed);
        b->last = b->recovered.last.n;
        term = b->recovered.hard.term.n;
        uint64_t start = b->recovered.start.n;
        if (start < b->last)
            cr_assert_eq(wal_read(b->wal, (raft_index){start + 1}, (raft_index){b->last},
                                  check_recovered, b),
                         0);
        b->durable_floor = b->last;
    }
    free_bench(b);
}

Test(wal, keeps_what_was_durable_through_any_crash, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 1500; seed++)
        crash_run(seed, true);
}

/* No loss of power makes a member doubt what it was told. */
Test(wal, of_a_member_is_sure_after_any_crash, .timeout = 120)
{
    for (uint64_t seed = 1501; seed <= 3000; seed++)
        crash_run(seed, false);
}

Test(wal, ends_at_the_first_operation_that_fails, .timeout = 60)
{
    for (uint64_t n = 1; n < 80; n++) {
        struct bench *b = new_bench();
        wal_hard_state(b->wal, &(struct raft_hard_state){.term = {1}});
        b->disk.fail_at = b->disk.operations + n;
        b->disk.fail_error = -EIO;
        for (int i = 0; i < 60 && !b->failed; i++)
            append_and_flush(b, 1);
        uint64_t floor = b->durable_floor;
        if (b->failed)
            cr_assert_eq(wal_room(b->wal), 0);
        reopen(b);
        cr_assert_geq(b->recovered.last.n, floor);
        check_entries(b, 1, floor);
        free_bench(b);
    }
}
