#include "tests/crash/scenarios.h"

#include "tests/wal/fake_disk.h"

/* Bytes of payload with which an entry fills so many sectors, if a batch begins with it. */
#define SECTORS(count) ((count)*512u - 64u)

/* --- the first start -------------------------------------------------------------------------- */

static void first_start(struct stage *stage)
{
    stage_vote(stage, 1, true, 1);
    stage_append(stage, 1, 40);
    stage_flush(stage);
}

/* --- appends ---------------------------------------------------------------------------------- */

static void a_few_entries(struct stage *stage)
{
    stage_vote(stage, 1, true, 1);
    stage_append(stage, 3, 100);
    stage_flush(stage);
}

static void append(struct stage *stage)
{
    stage_append(stage, 1, 8); /* many in a sector, one, one over several, zeros inside */
    stage_flush(stage);
    stage_append(stage, 7, 100);
    stage_flush(stage);
    stage_append(stage, 1, SECTORS(1));
    stage_flush(stage);
    stage_append(stage, 3, 700);
    stage_flush(stage);
    stage_append(stage, 2, SECTORS(3));
    stage_flush(stage);
}

static void append_much(struct stage *stage)
{
    stage_append(stage, 12, SECTORS(1));
    stage_flush(stage);
    stage_append(stage, 2, 2500);
    stage_flush(stage);
}

/* The next batch is gathered while one is under way. */
static void append_behind(struct stage *stage)
{
    stage_append(stage, 2, 300);
    stage_start_flush(stage);
    stage_append(stage, 3, 300);
    stage_start_flush(stage); /* waits: nothing happens */
    (void)trace_finish(stage->trace, RUNNER_LOG);
    stage_start_flush(stage);
    stage_append(stage, 1, 1200);
    (void)trace_finish(stage->trace, RUNNER_LOG);
    stage_flush(stage);
}

/* --- the next segment ------------------------------------------------------------------------- */

static void change_segment(struct stage *stage)
{
    for (int i = 0; i < 12; i++) {
        stage_append(stage, 1 + (uint32_t)i % 3, i % 2 == 0 ? 200 : 900);
        stage_flush(stage);
    }
}

/* One batch reaches into the next segment, and is the last for a while. */
static void change_segment_in_a_batch(struct stage *stage)
{
    for (int i = 0; i < 3; i++) {
        while (wal_room(stage->wal) >= wal_entry_bytes(600))
            stage_append(stage, 1, 600);
        stage_flush(stage);
        stage_append(stage, 1, 30);
        stage_flush(stage);
    }
}

/* The segment after the next is being made while the log goes on. */
static void change_segment_behind(struct stage *stage)
{
    for (int i = 0; i < 9; i++) {
        if (wal_room(stage->wal) < 4 * wal_entry_bytes(400))
            (void)trace_finish(stage->trace, RUNNER_HOUSEKEEPING);
        stage_append(stage, 3, 400);
        stage_start_flush(stage);
        (void)trace_finish(stage->trace, RUNNER_LOG);
    }
}

/* --- suffixes --------------------------------------------------------------------------------- */

static void truncate(struct stage *stage)
{
    stage_append(stage, 6, 150);
    stage_flush(stage);
    stage_vote(stage, 2, false, 0);
    stage_truncate(stage, stage->last - 2);
    stage_append(stage, 2, 150);
    stage_flush(stage);
    stage_append(stage, 4, 500); /* never acknowledged before they go */
    stage_vote(stage, 3, true, 2);
    stage_truncate(stage, stage->last - 4);
    stage_append(stage, 3, 1100);
    stage_flush(stage);
    stage_truncate(stage, stage->last);
    stage_flush(stage);
    stage_append(stage, 1, 40);
    stage_flush(stage);
}

static void three_segments(struct stage *stage)
{
    stage_vote(stage, 1, true, 1);
    for (int i = 0; i < 9; i++) {
        stage_append(stage, 2, 500);
        stage_flush(stage);
    }
}

static void truncate_over_segments(struct stage *stage)
{
    stage_vote(stage, 2, true, 3);
    stage_truncate(stage, 4);
    stage_append(stage, 5, 500);
    stage_start_flush(stage);
    (void)trace_finish(stage->trace, RUNNER_LOG);
    stage_append(stage, 4, 500);
    stage_flush(stage);
    stage_vote(stage, 4, false, 0);
    stage_truncate(stage, 6);
    stage_append(stage, 6, 700);
    stage_flush(stage);
}

/* --- prefixes --------------------------------------------------------------------------------- */

static void compact(struct stage *stage)
{
    stage_compact(stage, stage->last - 3);
    stage_append(stage, 2, 300); /* while the segments go, one by one */
    stage_start_flush(stage);
    (void)trace_finish(stage->trace, RUNNER_LOG);
    stage_flush(stage);
    for (int i = 0; i < 4; i++) {
        stage_append(stage, 3, 700);
        stage_flush(stage);
    }
    stage_compact(stage, stage->last);
    stage_flush(stage);
    stage_append(stage, 1, 40);
    stage_flush(stage);
}

/* The segment that is left begins after an entry that went later. */
static void compact_what_was_truncated(struct stage *stage)
{
    stage_vote(stage, 3, false, 0);
    stage_truncate(stage, 5);
    for (int i = 0; i < 6; i++) {
        stage_append(stage, 3, 500);
        stage_flush(stage);
    }
    for (uint64_t index = 6; index < 20; index += 3) {
        stage_compact(stage, index);
        stage_append(stage, 1, 40);
        stage_flush(stage);
    }
}

/* --- snapshots -------------------------------------------------------------------------------- */

static void reset(struct stage *stage)
{
    stage_vote(stage, 7, false, 0);
    stage_reset(stage, 500, 6);
    stage_flush(stage);
    stage_compact(stage, 500);
    stage_append(stage, 3, 300);
    stage_flush(stage);
    stage_vote(stage, 9, true, 2);
    stage_reset(stage, 900, 8); /* with entries behind it */
    stage_append(stage, 4, 800);
    stage_start_flush(stage);
    (void)trace_finish(stage->trace, RUNNER_LOG);
    stage_compact(stage, 900);
    stage_append(stage, 4, 1100);
    stage_flush(stage);
}

/* --- votes ------------------------------------------------------------------------------------ */

static void votes(struct stage *stage)
{
    for (uint64_t term = 2; term < 10; term++) {
        stage_vote(stage, term, false, 0);
        if (term % 3 != 0)
            stage_flush(stage);
        if (term % 2 == 0)
            stage_append(stage, 1, 700);
        stage_vote(stage, term, true, 1 + term % 3);
        stage_flush(stage);
    }
}

/* --- a process that ends before the machine does --------------------------------------------- */

/* It dies at each operation of a start and of the flushes after it; the next finds what it wrote.
 */
static void kills(struct stage *stage)
{
    for (uint32_t after = 1; after <= 12; after++) {
        stage_die_after(stage, after);
        stage_vote(stage, stage->term + 1, true, 1);
        stage_append(stage, 2, 600);
        stage_flush(stage);
        stage_append(stage, 1, 1500);
        stage_flush(stage);
        stage_restart(stage);
    }
    stage_append(stage, 1, 40);
    stage_flush(stage);
}

/* --- all of it -------------------------------------------------------------------------------- */

static void all_together(struct stage *stage)
{
    for (uint64_t round = 0; round < 4; round++) {
        stage_vote(stage, stage->term + 1, round % 2 == 0, 1);
        stage_append(stage, 3, 600);
        stage_start_flush(stage);
        stage_truncate(stage, stage->last);
        stage_append(stage, 2, 400);
        (void)trace_finish(stage->trace, RUNNER_LOG);
        stage_start_flush(stage);
        stage_compact(stage, stage->last - 4);
        stage_append(stage, 1, 200);
        stage_flush(stage);
        if (round == 2) {
            stage_reset(stage, stage->last + 100, stage->term);
            stage_append(stage, 1, 200);
            stage_flush(stage);
            stage_compact(stage, stage->last - 1);
        }
    }
}

/* Any step that a driver may take, on any state of the jobs. */
static void any_step(struct stage *stage)
{
    uint64_t dice = fake_random(&stage->random);
    uint64_t more = dice >> 32;
    uint64_t live = stage->last - stage->committed;
    switch (dice % 10) {
    case 0:
        stage_vote(stage, stage->term + 1, more % 2 == 0, 1 + more % 3);
        return;
    case 1: /* what is in a snapshot is never truncated */
        if (live >= 2)
            stage_truncate(stage, stage->last - more % (live - 1));
        return;
    case 2:
        if (stage->trace->promise.facts == stage->history->facts && live > 3)
            stage_compact(stage, stage->last - more % 3);
        return;
    case 3:
        if (more % 4 == 0)
            stage_reset(stage, stage->last + 1 + more % 50, stage->term);
        else if (more % 4 == 1 && stage->trace->dies_at == TRACE_LATE && stage->lives < STAGE_LIVES)
            stage_die_after(stage, (uint32_t)(more >> 2) % 12);
        return;
    case 4:
        (void)trace_finish(stage->trace, RUNNER_HOUSEKEEPING);
        return;
    case 5:
    case 6:
        stage_start_flush(stage);
        return;
    case 7:
        (void)trace_finish(stage->trace, RUNNER_LOG);
        return;
    default:
        stage_append(stage, 1 + (uint32_t)(more % 3), (uint32_t)(8 + more % 1100));
    }
}

static void any_steps(struct stage *stage)
{
    for (int i = 0; i < 40; i++) {
        if (stage->died)
            stage_restart(stage);
        any_step(stage);
    }
    stage_flush(stage);
}

const struct scenario scenarios[] = {
    {"first-start", 8192, NULL, first_start, false},
    {"append", 16384, a_few_entries, append, false},
    {"append-much", 16384, a_few_entries, append_much, false},
    {"append-behind", 8192, a_few_entries, append_behind, false},
    {"segment-change", 8192, a_few_entries, change_segment, false},
    {"segment-change-in-a-batch", 8192, a_few_entries, change_segment_in_a_batch, false},
    {"segment-change-behind", 8192, a_few_entries, change_segment_behind, false},
    {"truncate", 8192, a_few_entries, truncate, false},
    {"truncate-over-segments", 8192, three_segments, truncate_over_segments, false},
    {"compact", 8192, three_segments, compact, false},
    {"compact-what-was-truncated", 8192, three_segments, compact_what_was_truncated, false},
    {"reset", 8192, three_segments, reset, false},
    {"votes", 8192, a_few_entries, votes, false},
    {"kills", 8192, a_few_entries, kills, false},
    {"all-together", 8192, three_segments, all_together, false},
    {"drawn-by-lot", 8192, three_segments, any_steps, true},
};
const size_t scenarios_count = ARRAY_LEN(scenarios);
