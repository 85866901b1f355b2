/* When the driver asks for snapshots, and what it lets go of when they are durable. */
#include "tests/replica/rig.h"

#include <errno.h>
#include <stdlib.h>

/* Ready, a snapshot due every 100 entries, and the test plays the store. */
static struct rig *ready_rig(void)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    rig->snapshot_entries = 100;
    must(rig_start(rig) == 0);
    rig_ready(rig);
    must(rig->ready && rig->saves == 0);
    return rig;
}

static void write_until_saving(struct rig *rig, uint64_t *next)
{
    while (rig->view == NULL) {
        rig_insist(rig, (*next)++);
        must(*next < RIG_REQUESTS_MAX);
    }
}

/* The save that was asked for ends. */
static uint64_t end_save(struct rig *rig, bool durable)
{
    must(rig->view != NULL);
    uint64_t index = users_view_meta(rig->view).index;
    users_unpin(rig->view);
    rig->view = NULL;
    replica_saved(rig->replica, durable, index);
    return index;
}

static uint64_t start_of_log(struct rig *rig)
{
    rig_kill(rig);
    must(rig_start(rig) == -ESTALE || rig->recovered.start.n == 0); /* without its snapshot */
    return rig->recovered.start.n;
}

Test(replica, saves_when_so_many_entries_came_and_one_at_a_time)
{
    struct rig *rig = ready_rig();
    uint64_t next = 1;
    write_until_saving(rig, &next);
    cr_assert(eq(u64, users_view_meta(rig->view).index, 100));
    cr_assert(eq(u64, rig->view_term, 1));
    for (int i = 0; i < 150; i++)
        rig_insist(rig, next++);
    replica_want_snapshot(rig->replica);
    rig_settle(rig);
    cr_assert(eq(u32, rig->saves, 1));
    cr_assert(eq(u64, users_view_meta(rig->view).index, 100), "a version does not move");
    (void)end_save(rig, true);
    rig_settle(rig);
    cr_assert(eq(u32, rig->saves, 2));
    cr_assert(eq(u64, users_view_meta(rig->view).index, 250));
    cr_assert(eq(u64, replica_status(rig->replica).snapshot_index, 100));
    (void)end_save(rig, true);
    rig_settle(rig);
    cr_assert(eq(u32, rig->saves, 2), "nothing new");
    replica_want_snapshot(rig->replica); /* the store may have lost it */
    rig_settle(rig);
    cr_assert(eq(u32, rig->saves, 3));
    cr_assert(eq(u64, end_save(rig, true), 250));
    cr_assert(eq(u64, replica_status(rig->replica).snapshot_index, 250));
    rig_free(rig);
}

Test(replica, tries_a_failed_save_again_later_and_later)
{
    struct rig *rig = ready_rig();
    uint64_t next = 1, wait_ms = 200;
    write_until_saving(rig, &next);
    for (int attempt = 0; attempt < 9; attempt++) {
        uint32_t saves = rig->saves;
        (void)end_save(rig, false);
        rig->now_ms += wait_ms - 1;
        rig_settle(rig);
        cr_assert(eq(u32, rig->saves, saves), "not before %lu ms", (unsigned long)wait_ms);
        cr_assert(replica_status(rig->replica).snapshot_wanted);
        rig->now_ms += 1;
        rig_settle(rig);
        cr_assert(eq(u32, rig->saves, saves + 1));
        wait_ms = wait_ms * 2 < 10000 ? wait_ms * 2 : 10000;
    }
    (void)end_save(rig, true);
    for (int i = 0; i < 100; i++)
        rig_insist(rig, next++);
    must(rig->view != NULL);
    (void)end_save(rig, false);
    uint32_t saves = rig->saves;
    rig->now_ms += 200;
    rig_settle(rig);
    cr_assert(eq(u32, rig->saves, saves + 1), "a success makes the wait short again");
    rig_free(rig);
}

Test(replica, keeps_its_whole_log_while_no_snapshot_is_durable)
{
    struct rig *rig = ready_rig();
    uint64_t next = 1, bytes = 0;
    for (int i = 0; i < 6; i++) {
        write_until_saving(rig, &next);
        (void)end_save(rig, false);
        rig->now_ms += 20000;
        must(replica_status(rig->replica).wal_bytes >= bytes);
        bytes = replica_status(rig->replica).wal_bytes;
        for (int j = 0; j < 100; j++)
            rig_insist(rig, next++);
    }
    cr_assert(eq(u64, replica_status(rig->replica).snapshot_index, 0));
    cr_assert(eq(u64, start_of_log(rig), 0));
    rig_free(rig);
}

Test(replica, keeps_its_log_back_to_the_snapshot_before)
{
    for (int saves = 1; saves <= 6; saves++) {
        struct rig *rig = ready_rig();
        uint64_t next = 1, last = 0, before = 0;
        for (int i = 0; i < saves; i++) {
            for (int j = 0; j < 100; j++)
                rig_insist(rig, next++);
            must(rig->view != NULL);
            before = last;
            last = end_save(rig, true);
            rig_settle(rig);
            if (i % 2 == 1) { /* one that fails changes nothing */
                for (int j = 0; j < 100; j++)
                    rig_insist(rig, next++);
                (void)end_save(rig, false);
                rig->now_ms += 20000;
            }
        }
        uint64_t start = start_of_log(rig);
        must(start <= before);
        must((start > 0) == (saves > 1));        /* and what is before that goes */
        must(saves == 1 || start + 32 > before); /* 8 KiB hold 15 entries */
        rig_free(rig);
    }
}

Test(replica, does_not_let_go_of_the_log_because_of_a_restart)
{
    struct rig *rig = rig_new();
    uint64_t next = 1;
    rig->snapshot_entries = 50;
    for (int life = 0; life < 8; life++) {
        must(rig_start(rig) == 0);
        rig_ready(rig);
        uint64_t held = replica_status(rig->replica).snapshot_index;
        must(life == 0 || held > 0);
        must(rig->recovered.start.n <= held);
        for (int i = 0; i < 70; i++)
            rig_insist(rig, next++);
        rig_check(rig);
        rig_kill(rig);
    }
    cr_assert(gt(u64, rig->recovered.start.n, 100), "and the beginning did go");
    rig_free(rig);
}
