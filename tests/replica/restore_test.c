/* A log that is new begins after a state that was restored, wherever the first start is cut off. */
#include "tests/replica/rig.h"

#include <stdlib.h>

#define BEFORE 30u

/* Users and answers are in the store; the disk is new. */
static struct rig *rig_to_restore(void)
{
    struct rig *rig = rig_new();
    must(rig_start(rig) == 0);
    rig_ready(rig);
    for (uint64_t i = 1; i <= BEFORE; i++)
        rig_insist(rig, i);
    replica_want_snapshot(rig->replica);
    rig_settle(rig);
    must(replica_status(rig->replica).snapshot_index == BEFORE + 1);
    rig_close(rig);
    fake_disk_done(&rig->disk);
    fake_disk_init(&rig->disk);
    rig->restore = true;
    return rig;
}

static void expect_all(struct rig *rig)
{
    rig_check(rig);
    for (uint64_t i = 1; i <= BEFORE + 5; i++) {
        uint64_t id = rig->request[i].id;
        rig_insist(rig, i); /* what was answered before is answered alike */
        must(i > BEFORE || rig->request[i].id == id);
    }
    must(users_meta(replica_users(rig->replica)).users == BEFORE + 5);
    must(users_meta(replica_users(rig->replica)).next_id == BEFORE + 6);
    rig_check(rig);
}

Test(replica_restore, begins_a_log_after_the_state_and_goes_on_with_ids_and_answers)
{
    struct rig *rig = rig_to_restore();
    must(rig_start(rig) == 0);
    rig_ready(rig);
    must(rig->recovered.fresh && rig->ready);
    expect_all(rig);
    rig_close(rig);
    must(rig_start(rig) == 0);
    must(rig->recovered.start.n == BEFORE + 1 && rig->recovered.hard.term.n > 1);
    rig_ready(rig);
    expect_all(rig);
    rig_free(rig);
}

Test(replica_restore, is_refused_to_nobody_but_who_says_so)
{
    struct rig *rig = rig_to_restore();
    rig->restore = false; /* a log that was lost looks the same */
    must(rig_start(rig) != 0);
    must(strstr(rig->text, "the log was lost") != NULL);
    rig_free(rig);
}

Test(replica_restore, cut_off_at_any_operation_is_done_over, .timeout = 60)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        bool went_through = false;
        for (uint64_t n = 1; !went_through; n++) {
            struct rig *rig = rig_to_restore();
            uint64_t random = seed * 1000 + n;
            rig->disk.crash_at = n;
            if (rig_start(rig) == 0) {
                rig_settle(rig);
                rig_write(rig, BEFORE + 1);
                rig_settle(rig);
            }
            went_through = !rig->disk.crashed;
            if (seed > 0)
                rig_power_loss(rig, &random);
            else
                rig_kill(rig);
            must(rig_start(rig) == 0);
            rig_ready(rig);
            expect_all(rig);
            rig_free(rig);
        }
    }
}
