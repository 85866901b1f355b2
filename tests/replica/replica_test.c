/* The driver: what it promises its clients, turn by turn. */
#include "tests/replica/rig.h"

#include <errno.h>
#include <stdlib.h>

static struct rig *ready_rig(void)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig_ready(rig);
    must(rig->ready);
    return rig;
}

Test(replica, is_ready_when_the_first_entry_of_its_term_is_applied)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    cr_assert(eq(int, rig_start(rig), 0));
    cr_assert(rig->recovered.fresh);
    cr_assert(not(rig->ready));
    rig_write(rig, 1);
    cr_assert(eq(u32, rig->request[1].refused, 0), "it waits for a leader");
    rig_ready(rig);
    cr_assert(rig->ready);
    struct replica_status status = replica_status(rig->replica);
    cr_assert(eq(u64, status.applied, 2));
    cr_assert(rig->request[1].written);
    cr_assert(status.raft.settled);
    cr_assert(not(replica_busy(rig->replica)));
    rig_free(rig);
}

Test(replica, answers_a_write_with_the_next_id)
{
    struct rig *rig = ready_rig();
    for (uint64_t i = 1; i <= 200; i++) {
        rig_write(rig, i);
        rig_settle(rig);
        must(rig->request[i].times == 1 && rig->request[i].id == i);
        must(rig->request[i].index == i + 1);
    }
    rig_check(rig);
    rig_free(rig);
}

Test(replica, flushes_a_lone_write_within_its_turn)
{
    struct rig *rig = ready_rig();
    uint64_t operations = rig->disk.operations;
    rig_write(rig, 1);
    cr_assert(eq(u32, rig->request[1].times, 0));
    rig_turn(rig);
    cr_assert(eq(u32, rig->request[1].times, 1));
    cr_assert(eq(u64, rig->disk.operations, operations + 2), "one write, one sync");
    rig_free(rig);
}

Test(replica, writes_many_of_one_turn_with_one_sync)
{
    struct rig *rig = ready_rig();
    uint64_t operations = rig->disk.operations;
    for (uint64_t i = 1; i <= 10; i++)
        rig_write(rig, i);
    rig_turn(rig);
    for (uint64_t i = 1; i <= 10; i++)
        must(rig->request[i].times == 0); /* the flush is off the loop */
    for (uint64_t i = 11; i <= 20; i++)
        rig_write(rig, i); /* these gather meanwhile */
    rig_turn(rig);
    cr_assert(eq(u64, rig->disk.operations, operations));
    cr_assert(fake_runner_step(&rig->runner, RUNNER_LOG));
    cr_assert(eq(u64, rig->disk.operations, operations + 2));
    cr_assert(eq(u32, rig->request[10].times, 0), "durable, and told in the next turn");
    rig_turn(rig);
    for (uint64_t i = 1; i <= 20; i++)
        must(rig->request[i].times == (i <= 10));
    cr_assert(fake_runner_step(&rig->runner, RUNNER_LOG));
    rig_turn(rig);
    cr_assert(eq(u64, rig->disk.operations, operations + 4));
    cr_assert(eq(u32, rig->request[20].times, 1));
    rig_check(rig);
    rig_free(rig);
}

Test(replica, answers_nothing_while_a_flush_hangs)
{
    struct rig *rig = ready_rig();
    for (uint64_t i = 1; i <= 3; i++)
        rig_write(rig, i);
    for (uint32_t ms = 0; ms + 200 < REPLICA_WAIT_MS; ms += 100) {
        rig->now_ms += 100;
        rig_turn(rig);
    }
    for (uint64_t i = 1; i <= 3; i++)
        must(rig->request[i].times + rig->request[i].refused + rig->request[i].unknown == 0);
    cr_assert(replica_busy(rig->replica));
    rig_settle(rig);
    for (uint64_t i = 1; i <= 3; i++)
        must(rig->request[i].times == 1);
    rig_free(rig);
}

static uint64_t time_after_write(struct rig *rig, uint64_t call)
{
    rig_write(rig, call);
    rig_settle(rig);
    must(rig->request[call].times == 1);
    return users_meta(replica_users(rig->replica)).time_ms;
}

/* A year ahead by mistake, for an hour: no key is a year old then, and time is right soon after. */
Test(replica, does_not_take_a_clock_at_its_word_that_runs_ahead)
{
    const uint64_t hour_ms = 3600000, real_ms = 1700000000000;
    struct rig *rig = ready_rig();
    uint64_t begin_ms = time_after_write(rig, 1), began_ms = rig->now_ms;
    cr_assert(le(u64, begin_ms, real_ms + rig->now_ms));

    rig->wall_ahead_ms = 365 * 24 * hour_ms;
    uint64_t ahead_ms = time_after_write(rig, 2);
    cr_assert(le(u64, ahead_ms - begin_ms, 2 * (rig->now_ms - began_ms)));
    rig->now_ms += hour_ms;
    ahead_ms = time_after_write(rig, 3);
    cr_assert(ge(u64, ahead_ms - begin_ms, hour_ms));
    cr_assert(le(u64, ahead_ms - begin_ms, 2 * (rig->now_ms - began_ms)));

    rig->wall_ahead_ms = 0;
    cr_assert(eq(u64, time_after_write(rig, 4), ahead_ms), "it never goes back");
    rig->now_ms += 2 * hour_ms;
    uint64_t asked_ms = real_ms + rig->now_ms;
    cr_assert(eq(u64, time_after_write(rig, 5), asked_ms), "and then it is right again");
    rig_free(rig);
}

Test(replica, says_that_it_does_not_know_when_a_flush_hangs_for_too_long)
{
    struct rig *rig = ready_rig();
    rig_write(rig, 1);
    rig_write(rig, 2);
    rig_turn(rig);
    rig->now_ms += REPLICA_WAIT_MS + 200;
    rig_turn(rig);
    cr_assert(eq(u32, rig->request[1].unknown, 1), "it may be on disk yet");
    cr_assert(eq(u32, rig->request[2].unknown, 1));
    rig_settle(rig);
    cr_assert(eq(u32, rig->request[1].times, 0), "told once");
    cr_assert(eq(u64, users_meta(replica_users(rig->replica)).users, 2), "and it was");
    rig_free(rig);
}

Test(replica, refuses_what_waits_too_long_for_a_leader)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig->disk.room = 0; /* it cannot open a term, and so not lead */
    rig_write(rig, 1);
    rig_read(rig, false);
    for (uint32_t ms = 0; ms < REPLICA_WAIT_MS + 200; ms += 100) {
        rig->now_ms += 100;
        rig_turn(rig);
    }
    cr_assert(eq(u32, rig->request[1].unknown, 0));
    cr_assert(eq(u32, rig->request[1].times + rig->request[1].refused, 1));
    cr_assert(eq(u32, rig->readable + rig->read_refused, 1));
    rig_free(rig);
}

Test(replica, does_a_request_once_however_often_it_comes)
{
    struct rig *rig = ready_rig();
    rig_write(rig, 7);
    rig_write(rig, 7); /* while the first is not in the log */
    rig_turn(rig);
    rig_write(rig, 7); /* while the first is not durable */
    rig_settle(rig);
    rig_write(rig, 7); /* when it is long done */
    rig_settle(rig);
    cr_assert(eq(u32, rig->request[7].times, 4));
    cr_assert(eq(u64, users_meta(replica_users(rig->replica)).users, 1));
    uint64_t last = replica_status(rig->replica).raft.last.n;
    rig_write(rig, 7);
    rig_settle(rig);
    cr_assert(eq(u64, replica_status(rig->replica).raft.last.n, last),
              "no entry for what is known");
    rig_check(rig);
    rig_free(rig);
}

/* Whether the other is known by then, under way, or comes in the same turn. */
Test(replica, gives_nobody_the_answer_to_another_request_under_the_same_id)
{
    struct rig *rig = ready_rig();
    rig_write(rig, 7);
    rig_write_under(rig, 8, 7);
    rig_turn(rig);
    rig_write_under(rig, 9, 7);
    rig_settle(rig);
    rig_write_under(rig, 10, 7);
    rig_write(rig, 7);
    rig_settle(rig);
    cr_assert(eq(u32, rig->request[7].times, 2));
    for (uint64_t i = 8; i <= 10; i++)
        cr_assert(rig->request[i].times == 0 && rig->request[i].reused == 1);
    cr_assert(eq(u64, users_meta(replica_users(rig->replica)).users, 1));
    rig_check(rig);
    rig_free(rig);
}

Test(replica, refuses_a_name_that_could_not_be_loaded_again)
{
    struct rig *rig = ready_rig();
    struct request_id id = request_id_of(1);
    struct replica_client client = {.connection = 1, .call = 1};
    static const char *const names[] = {"\xff", "\xc0\x80", "a\xed\xa0\x80"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        uint8_t encoded[USERS_COMMAND_BYTES_MAX];
        struct writer out = writer_of(encoded, sizeof(encoded));
        struct users_command command = {.kind = USERS_CREATE,
                                        .create = {{.name = bytes_of_text(names[i])}}};
        users_command_put(&out, &command);
        replica_write(rig->replica, client, &id, writer_bytes(&out));
        rig_settle(rig);
        cr_assert(eq(u32, rig->request[1].refused, (uint32_t)i + 1));
        cr_assert(eq(int, rig->request[1].reason, CALL_INVALID));
    }
    cr_assert(eq(u64, replica_status(rig->replica).raft.last.n, 1));
    rig_free(rig);
}

Test(replica, refuses_what_is_no_command)
{
    struct rig *rig = ready_rig();
    struct request_id id = request_id_of(1);
    struct replica_client client = {.connection = 1, .call = 1};
    static const uint8_t nonsense[] = {9, 9, 9};
    replica_write(rig->replica, client, &id, bytes_of(nonsense, sizeof(nonsense)));
    cr_assert(eq(int, rig->request[1].reason, CALL_INVALID));
    replica_write(rig->replica, client, &id, bytes_of(NULL, 0));
    cr_assert(eq(u32, rig->request[1].refused, 2));
    rig_settle(rig);
    cr_assert(eq(u64, replica_status(rig->replica).raft.last.n, 1));
    rig_free(rig);
}

Test(replica, takes_more_than_its_log_takes_at_once_and_goes_on)
{
    struct rig *rig = ready_rig();
    for (uint64_t i = 1; i <= 400; i++)
        rig_write(rig, i); /* two segments of 8 KiB hold some fifty */
    rig_settle(rig);
    for (uint64_t i = 1; i <= 400; i++)
        must(rig->request[i].times == 1 && rig->request[i].refused == 0);
    rig_check(rig);
    rig_free(rig);
}

Test(replica, answers_reads_when_the_state_is_fresh_enough)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig_read(rig, true);
    rig_read(rig, false);
    rig_turn(rig);
    rig_ready(rig);
    rig_settle(rig);
    cr_assert(eq(u32, rig->readable + rig->read_refused, 2), "none waits for ever");
    rig->readable = rig->read_refused = 0;
    rig_read(rig, true);
    cr_assert(eq(u32, rig->readable, 1), "stale: at once");
    rig_read(rig, false);
    cr_assert(eq(u32, rig->readable, 1));
    rig_turn(rig);
    cr_assert(eq(u32, rig->readable, 2));
    rig_write(rig, 1);
    rig_write(rig, 2);
    for (int i = 0; i < 50; i++)
        rig_read(rig, false);
    rig_turn(rig);
    cr_assert(eq(u32, rig->readable, 52), "reads do not wait for a flush");
    rig_free(rig);
}

Test(replica, answers_a_read_once_the_entry_that_it_wants_is_applied)
{
    struct rig *rig = ready_rig();
    uint64_t applied = replica_status(rig->replica).applied;
    rig_read_at(rig, true, applied);
    cr_assert(eq(u32, rig->readable, 1), "it is applied");
    rig_read_at(rig, true, applied + 1);
    rig_read_at(rig, false, applied + 2);
    rig_read_at(rig, false, applied);
    rig_settle(rig);
    cr_assert(eq(u32, rig->readable, 2), "two wait");
    rig_insist(rig, 1);
    rig_settle(rig);
    cr_assert(eq(u32, rig->readable, 3), "one waits");
    rig_insist(rig, 2);
    rig_settle(rig);
    cr_assert(eq(u32, rig->readable, 4));
    cr_assert(zero(u32, rig->read_refused));
    rig_free(rig);
}

Test(replica, refuses_a_read_of_an_entry_that_does_not_come)
{
    struct rig *rig = ready_rig();
    uint64_t applied = replica_status(rig->replica).applied, from_ms = rig->now_ms;
    rig_read_at(rig, true, applied + 1000);
    rig_read_at(rig, false, UINT64_MAX);
    while (rig->read_refused == 0) {
        must(rig->now_ms < from_ms + REPLICA_WAIT_MS + 500);
        rig->now_ms += 50;
        rig_settle(rig);
    }
    cr_assert(ge(u64, rig->now_ms - from_ms, REPLICA_WAIT_MS));
    rig->now_ms += 200;
    rig_settle(rig);
    cr_assert(eq(u32, rig->read_refused, 2));
    cr_assert(eq(int, rig->read_reason, CALL_BEHIND));
    cr_assert(zero(u32, rig->readable));
    rig_free(rig);
}

/* Wherever it waits: in a round of reads, for the next one, for its entry. */
Test(replica, says_no_word_of_a_read_that_is_forgotten)
{
    struct rig *rig = rig_new();
    struct replica_client gone = {.connection = 2, .call = 1}, stays = {.connection = 2, .call = 2};
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig_write(rig, 1);
    rig_write(rig, 2);
    for (int round = 0; round < 3; round++) {
        bool ahead = round == 2;
        rig->readable = rig->read_refused = 0;
        replica_read(rig->replica, gone, ahead, ahead ? 1000 : 0);
        replica_read(rig->replica, stays, ahead, ahead ? 1000 : 0);
        if (round == 0)
            rig_turn(rig); /* the first flush is under way, and nothing committed yet */
        replica_forget_read(rig->replica, gone);
        cr_assert(eq(u32, replica_status(rig->replica).waiting_reads, 1));
        for (int i = 0; i < 2; i++) { /* at the second time its own has ended */
            rig->now_ms += REPLICA_WAIT_MS;
            rig_settle(rig);
        }
        cr_assert(eq(u32, rig->readable + rig->read_refused, 1), "round %d", round);
        replica_read(rig->replica, gone, ahead, 1000);
        replica_read(rig->replica, stays, ahead, 1000);
        replica_forget_reads(rig->replica, 3);
        cr_assert(eq(u32, replica_status(rig->replica).waiting_reads, 2));
        replica_forget_reads(rig->replica, 2);
        cr_assert(zero(u32, replica_status(rig->replica).waiting_reads));
    }
    rig_free(rig);
}

Test(replica, lets_only_so_many_wait_for_entries_to_come)
{
    struct rig *rig = ready_rig();
    for (uint32_t i = 0; i < REPLICA_WAITING_MAX + 1; i++)
        rig_read_at(rig, true, 1000);
    cr_assert(eq(u32, rig->read_refused, 1));
    cr_assert(zero(u32, rig->readable));
    rig_free(rig);
}

Test(replica, refuses_all_when_it_stops_but_answers_who_waits)
{
    struct rig *rig = ready_rig();
    rig_write(rig, 1);
    rig_write(rig, 2);
    rig_turn(rig);
    replica_stop(rig->replica);
    rig_write(rig, 3);
    rig_read(rig, false);
    rig_read(rig, true);
    cr_assert(eq(int, rig->request[3].reason, CALL_STOPPING));
    cr_assert(eq(u32, rig->read_refused, 2));
    cr_assert(eq(int, rig->read_reason, CALL_STOPPING));
    cr_assert(replica_busy(rig->replica));
    rig_settle(rig);
    cr_assert(not(replica_busy(rig->replica)));
    cr_assert(rig->request[1].written);
    cr_assert(rig->request[2].written);
    rig_free(rig);
}

Test(replica, refuses_on_a_full_disk_and_goes_on_when_there_is_room)
{
    struct rig *rig = ready_rig();
    rig->disk.room = 0;
    uint64_t i = 0;
    while (rig->request[i].reason != CALL_DISK_FULL) {
        must(++i < 500);
        rig_write(rig, i);
        rig_settle(rig);
        rig_write(rig, i);
        rig_settle(rig);
    }
    cr_assert(replica_status(rig->replica).wal_full);
    rig_read(rig, false);
    rig_settle(rig);
    cr_assert(eq(u32, rig->readable, 1), "reads go on");
    rig->now_ms += 1000;
    rig_write(rig, i);
    rig_settle(rig);
    cr_assert(eq(int, rig->request[i].reason, CALL_DISK_FULL));
    rig->disk.room = 1u << 20;
    rig->now_ms += 1000;
    rig_settle(rig);
    for (uint64_t j = 1; j <= i + 20; j++) {
        rig_insist(rig, j);
        must(rig->request[j].written);
    }
    cr_assert(not(rig->failed));
    rig_check(rig);
    rig_free(rig);
}

Test(replica, starts_on_a_full_disk_as_soon_as_there_is_room)
{
    struct rig *rig = ready_rig();
    rig->disk.room = 0;
    for (uint64_t i = 1; i < 500 && rig->request[i - 1].reason != CALL_DISK_FULL; i++) {
        rig_write(rig, i);
        rig_settle(rig);
    }
    for (int start = 0; start < 40; start++) { /* each start takes an entry: the reserve too goes */
        rig_kill(rig);
        must(rig->disk.disk.ops->sync_directory(&rig->disk.disk) == 0);
        must(rig_start(rig) == 0);
        rig_ready(rig);
        must(!rig->failed && (start > 0 || rig->ready)); /* the first may read what there is */
    }
    cr_assert(not(rig->ready));
    cr_assert(lt(u64, replica_deadline_ms(rig->replica), rig->now_ms + 1000), "it looks again");
    rig->disk.room = 1u << 20;
    rig_ready(rig);
    cr_assert(rig->ready);
    rig_insist(rig, 900);
    rig_check(rig);
    rig_free(rig);
}

Test(replica, fails_for_good_when_the_log_cannot_be_written)
{
    for (uint64_t n = 1; n <= 2; n++) {
        struct rig *rig = ready_rig();
        rig->disk.fail_at = rig->disk.operations + n;
        rig->disk.fail_error = -EIO;
        rig_write(rig, 1);
        rig_turn(rig);
        cr_assert(rig->failed);
        cr_assert(not(rig->request[1].written));
        rig_free(rig);
    }
}

/* --- starts ----------------------------------------------------------------------------------- */

static struct users *state_at(uint64_t index)
{
    struct users *users = users_new(RIG_ANSWERS_MAX);
    if (index > 0)
        users_skip(users, index);
    return users;
}

static int start_in_term(struct rig *rig, uint64_t index, uint64_t term)
{
    struct replica_options options = {
        .node = 1,
        .cluster = "test",
        .election_ms = 100,
        .heartbeat_ms = 10,
        .snapshot_entries = 100,
        .segment_bytes = RIG_SEGMENT,
        .disk = &rig->disk.disk,
        .runner = &rig->runner.runner,
    };
    struct replica *replica;
    struct users *users = state_at(index);
    must(replica_open(&options, &replica, &rig->recovered) == 0);
    struct replica_state state = {.users = users, .term = {term}};
    int result = replica_start(replica, &state, rig->text, sizeof(rig->text));
    if (result != 0)
        users_free(users);
    fake_runner_drain(&rig->runner);
    replica_close(replica);
    return result;
}

static int start_with(struct rig *rig, uint64_t index)
{
    return start_in_term(rig, index, 1);
}

Test(replica, refuses_a_state_that_the_log_does_not_reach)
{
    struct rig *rig = ready_rig();
    for (uint64_t i = 1; i <= 10; i++)
        rig_insist(rig, i);
    rig_close(rig);
    cr_assert(eq(int, start_with(rig, 11), 0), "the whole log");
    cr_assert(eq(int, start_with(rig, 12), -ESTALE), "a state from a later log");
    must(strstr(rig->text, "holds entries up to 12") != NULL);
    must(strstr(rig->text, "log ends at 11") != NULL);
    rig_free(rig);
}

Test(replica, refuses_a_state_of_another_history_than_the_logs)
{
    struct rig *rig = ready_rig();
    for (uint64_t i = 1; i <= 10; i++)
        rig_insist(rig, i);
    rig_close(rig);
    cr_assert(eq(int, start_in_term(rig, 7, 2), -ESTALE));
    must(strstr(rig->text, "entry 7 is of term 2 in the snapshot") != NULL);
    must(strstr(rig->text, "of term 1 in the log") != NULL);
    cr_assert(eq(int, start_in_term(rig, 7, 1), 0));
    rig_free(rig);
}

Test(replica, refuses_a_state_from_before_the_log_begins)
{
    struct rig *rig = ready_rig();
    for (uint64_t i = 1; i <= 300; i++)
        rig_insist(rig, i);
    for (int save = 0; save < 2; save++) { /* two snapshots: the log before the first may go */
        replica_want_snapshot(rig->replica);
        rig_turn(rig);
        must(rig->view != NULL);
        uint64_t index = users_view_meta(rig->view).index;
        users_unpin(rig->view);
        rig->view = NULL;
        replica_saved(rig->replica, true, index);
        rig_insist(rig, 301 + (uint64_t)save);
    }
    rig_close(rig);
    struct wal_recovered *recovered = &rig->recovered;
    cr_assert(eq(int, start_with(rig, 301), 0));
    cr_assert(gt(u64, recovered->start.n, 0));
    cr_assert(eq(int, start_with(rig, recovered->start.n), 0));
    cr_assert(eq(int, start_with(rig, recovered->start.n - 1), -ESTALE));
    must(strstr(rig->text, "only entries up to") != NULL);
    cr_assert(eq(int, start_with(rig, 0), -ESTALE));
    must(strstr(rig->text, "holds nothing") != NULL);
    rig_free(rig);
}

/* Among others, a log that ends before the snapshot begins again after it, in the snapshot's term.
 */
Test(replica, writes_the_term_that_a_snapshot_taught)
{
    struct rig *rig = rig_new();
    struct replica_options options = {
        .node = 1,
        .cluster = "test",
        .members = 3,
        .member = {{1}, {2}, {3}},
        .election_ms = 100,
        .heartbeat_ms = 10,
        .snapshot_entries = 100,
        .answers_max = RIG_ANSWERS_MAX,
        .segment_bytes = RIG_SEGMENT,
        .disk = &rig->disk.disk,
        .runner = &rig->runner.runner,
        .network = &rig_nowhere,
    };
    fake_runner_init(&rig->runner);
    for (int start = 0; start < 2; start++) {
        struct replica *replica;
        struct replica_state state = {
            .users = state_at(5),
            .term = {7},
            .members = members_of((const raft_node_id[]){{1}, {2}, {3}}, 3),
        };
        must(replica_open(&options, &replica, &rig->recovered) == 0);
        must(start == 0 || (rig->recovered.hard.term.n == 7 && rig->recovered.start.n == 5));
        must(replica_start(replica, &state, rig->text, sizeof(rig->text)) == 0);
        cr_assert(raft_status(replica_raft(replica)).recovering, "its disk was new");
        fake_runner_drain(&rig->runner);
        replica_close(replica);
    }
    rig_free(rig);
}
