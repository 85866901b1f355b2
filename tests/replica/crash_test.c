/*
 * Crashes. The model is what clients were told: whoever was told of a user finds it after every
 * recovery, once, with its id; whoever asks again with the same request id gets the same answer.
 */
#include "tests/replica/rig.h"

#include <stdio.h>
#include <stdlib.h>

/* --- at every operation of the disk ----------------------------------------------------------- */

/* Groups of different sizes, so that flushes are inline and off the loop, in one segment and two.
 */
static void some_writes(struct rig *rig)
{
    uint64_t next = 1;
    rig_ready(rig);
    for (uint64_t group = 1; group <= 8 && !rig->failed; group++) {
        for (uint64_t i = 0; i < group; i++)
            rig_write(rig, next++);
        if (group % 3 == 0)
            rig_turn(rig); /* the flush is under way when the next group comes */
        else
            rig_settle(rig);
    }
    rig_settle(rig);
}

static void recover_and_check(struct rig *rig)
{
    must(rig_start(rig) == 0);
    rig_ready(rig);
    must(rig->ready);
    rig_check(rig);
}

Test(replica, loses_nothing_that_was_told_by_a_crash_at_any_operation, .timeout = 60)
{
    uint64_t crashes = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        bool power = seed > 0, went_through = false;
        for (uint64_t n = 1; !went_through; n++) {
            struct rig *rig = rig_new();
            uint64_t random = seed * 1000 + n;
            rig->without_store = true;
            rig->disk.crash_at = n;
            if (rig_start(rig) == 0)
                some_writes(rig);
            went_through = !rig->disk.crashed;
            crashes += rig->disk.crashed;
            if (power)
                rig_power_loss(rig, &random);
            else
                rig_kill(rig);
            recover_and_check(rig);
            for (uint64_t i = 1; i <= 36; i++) {
                rig_insist(rig, i); /* rig.c holds the answer to the first */
                must(rig->request[i].written);
            }
            must(users_meta(replica_users(rig->replica)).users == 36);
            rig_check(rig);
            rig_free(rig);
        }
    }
    cr_assert(gt(u64, crashes, 150));
}

Test(replica, does_a_request_once_on_both_sides_of_a_crash)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rig *rig = rig_new();
        uint64_t random = seed;
        rig->without_store = true;
        must(rig_start(rig) == 0);
        rig_ready(rig);
        rig_write(rig, 1);
        rig_write(rig, 2);
        rig_turn(rig);
        rig->disk.crash_at = rig->disk.operations + 1 + seed % 3;
        rig_settle(rig);
        rig_power_loss(rig, &random);
        recover_and_check(rig);
        rig_insist(rig, 2);
        rig_insist(rig, 1);
        cr_assert(eq(u64, users_meta(replica_users(rig->replica)).users, 2));
        rig_check(rig);
        rig_free(rig);
    }
}

/* --- long runs -------------------------------------------------------------------------------- */

struct run {
    struct rig *rig;
    struct chance chance;
    uint64_t next; /* the number of the next new request */
};

static uint64_t below(struct run *run, uint64_t n)
{
    return chance_below(&run->chance, n);
}

static void trouble_for_the_store(struct run *run)
{
    struct fake_store *store = &run->rig->store;
    switch (below(run, 6)) {
    case 0:
        fake_store_crash(store);
        return;
    case 1:
        fake_store_lose(store);
        return;
    case 2:
        store->error_at = store->commands + 1 + below(run, 30);
        return;
    case 3:
        store->lose_after = store->commands + 1 + below(run, 30);
        return;
    case 4:
        store->dump_fails = !store->dump_fails;
        store->waitaof_times_out = !store->waitaof_times_out;
        return;
    default:
        fake_store_connect(store);
        return;
    }
}

static void do_anything(struct run *run)
{
    struct rig *rig = run->rig;
    uint64_t dice = below(run, 100);
    if (dice < 30)
        rig_write(rig, run->next++);
    else if (dice < 36)
        rig_write(rig, 1 + below(run, run->next)); /* once more */
    else if (dice < 40)
        rig_read(rig, dice == 36);
    else if (dice < 65)
        rig_turn(rig);
    else if (dice < 75)
        (void)fake_runner_step(&rig->runner, RUNNER_LOG);
    else if (dice < 80)
        (void)fake_runner_step(&rig->runner, RUNNER_HOUSEKEEPING);
    else if (dice < 94)
        (void)fake_store_step(&rig->store);
    else if (dice < 98)
        rig->now_ms += below(run, 500);
    else if (dice == 98)
        fake_store_connect(&rig->store);
    else
        trouble_for_the_store(run);
    if (rig->request[run->next].written)
        run->next++;
}

static void end_life(struct run *run)
{
    struct rig *rig = run->rig;
    bool store_too = below(run, 3) == 0;
    if (below(run, 2) == 0)
        rig_power_loss(rig, &run->chance.state);
    else
        rig_kill(rig);
    rig->store.lose_before = rig->store.lose_after = rig->store.error_at = 0;
    if (store_too)
        fake_store_crash(&rig->store);
}

struct totals {
    uint64_t users, durable, cut;
};

static void play(uint64_t seed, enum fake_append append, bool waitaof, struct totals *totals)
{
    struct run run = {.rig = rig_new(), .chance = {seed}, .next = 1};
    struct rig *rig = run.rig;
    rig->snapshot_entries = 20 + below(&run, 60);
    rig->store.append = append;
    rig->store.knows_waitaof = waitaof;
    for (int life = 0; life < 6; life++) {
        int result = rig_start(rig);
        if (result != 0)
            cr_fatal("seed %lu life %d: %s", (unsigned long)seed, life, rig->text);
        rig_ready(rig);
        must(rig->ready);
        rig_check(rig);
        totals->cut += rig->recovered.start.n > 0;
        if (below(&run, 3) > 0)
            rig->disk.crash_at = rig->disk.operations + 1 + below(&run, 200);
        rig->store.other_dump = below(&run, 2) == 0;
        rig->store.dump_polls = (uint32_t)below(&run, 3);
        for (int i = 0; i < 1200 && !rig->failed; i++)
            do_anything(&run);
        end_life(&run);
    }
    must(rig_start(rig) == 0);
    rig_ready(rig);
    for (uint64_t i = 1; i < run.next; i++) {
        rig_insist(rig, i);
        must(rig->request[i].written);
    }
    rig_check(rig);
    totals->users += run.next;
    totals->durable += rig->saved_durable;
    rig_free(rig);
}

static void play_many(enum fake_append append, bool waitaof)
{
    struct totals totals = {.users = 0};
    for (uint64_t seed = 1; seed <= 60; seed++)
        play(seed, append, waitaof, &totals);
    cr_assert(gt(u64, totals.users, 20000), "the run must get somewhere");
    cr_assert(gt(u64, totals.durable, 100));
    cr_assert(gt(u64, totals.cut, 50));
}

Test(replica, lives_through_anything_beside_a_store_that_syncs_always, .timeout = 120)
{
    play_many(FAKE_APPEND_ALWAYS, false);
}

Test(replica, lives_through_anything_beside_a_store_that_syncs_when_asked, .timeout = 120)
{
    play_many(FAKE_APPEND_EVERYSEC, true);
}

Test(replica, lives_through_anything_beside_a_store_that_dumps, .timeout = 120)
{
    play_many(FAKE_APPEND_NO, false);
}
