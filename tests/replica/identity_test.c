/* Which cluster and which members a directory knows, and that options do not change them. */
#include "tests/replica/rig.h"

#include <errno.h>
#include <string.h>

static uint64_t no_time(void *context)
{
    (void)context;
    return 0;
}

static void say_nothing(void *context, const char *fact, const char *text)
{
    (void)context, (void)fact, (void)text;
}

static const struct replica_hooks quiet_hooks = {
    .now_ms = no_time, .wall_ms = no_time, .note = say_nothing};

/* Another list of members, or none, does not change who decides. */
Test(replica_identity, knows_its_members_whatever_the_options_say)
{
    struct rig *rig = rig_new();
    struct replica_options options = {
        .node = 1,
        .cluster = "test",
        .election_ms = 100,
        .heartbeat_ms = 10,
        .snapshot_entries = 100,
        .answers_max = RIG_ANSWERS_MAX,
        .random = 5,
        .segment_bytes = RIG_SEGMENT,
        .disk = &rig->disk.disk,
        .runner = &rig->runner.runner,
        .hooks = &quiet_hooks,
    };
    struct replica *replica;
    fake_runner_init(&rig->runner);
    struct raft_cluster_id drawn = {0, 0};
    for (int start = 0; start < 2; start++) {
        struct replica_state state = {.users = users_new(RIG_ANSWERS_MAX)};
        must(replica_open(&options, &replica, &rig->recovered) == 0);
        must(replica_start(replica, &state, rig->text, sizeof(rig->text)) == 0);
        fake_runner_drain(&rig->runner);
        struct record_identity identity = replica_identity(replica);
        must(cluster_id_known(identity.cluster) && identity.members == 1);
        must(start == 0 || cluster_id_equal(identity.cluster, drawn));
        drawn = identity.cluster;
        must(replica_members_ignored(replica) == (start == 1));
        must(raft_configuration(replica_raft(replica))->voters == 1);
        replica_close(replica);
        options.members = 3;
        options.network = &rig_nowhere;
        for (uint64_t i = 0; i < 3; i++)
            options.member[i].n = i + 1;
    }
    rig_free(rig);
}

static void durable(void *context, struct raft_mark mark)
{
    (void)context, (void)mark;
}

static void wal_failed(void *context, const char *what, int error)
{
    (void)context;
    cr_assert(false, "%s: %d", what, error);
}

/* The log of the rig, which is closed, without a replica. */
static struct wal *open_wal(struct rig *rig, struct wal_recovered *ret_recovered)
{
    struct wal_options options = {
        .disk = &rig->disk.disk,
        .runner = &rig->runner.runner,
        .node = 1,
        .cluster = "test",
        .alone = true,
        .generation = 1,
        .segment_bytes = RIG_SEGMENT,
        .on_durable = durable,
        .on_failed = wal_failed,
    };
    struct wal *wal;
    fake_runner_init(&rig->runner);
    must(wal_open(&options, &wal, ret_recovered) == 0);
    return wal;
}

static void close_wal(struct rig *rig, struct wal *wal)
{
    wal_flush(wal, true);
    fake_runner_drain(&rig->runner);
    wal_close(wal);
}

/* Puts an entry of bytes that are no request behind what the log of the rig holds. */
static void append_unreadable(struct rig *rig)
{
    struct wal_recovered recovered;
    struct wal *wal = open_wal(rig, &recovered);
    wal_append(wal, index_next(recovered.last), recovered.hard.term, RAFT_COMMAND,
               bytes_of_text("of a version to come"));
    close_wal(rig, wal);
}

static int take_members(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                        struct bytes payload)
{
    (void)index, (void)term;
    must(kind == RAFT_CONFIGURATION);
    return members_decode(payload, context);
}

Test(replica_identity, a_log_begins_with_the_members)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig_ready(rig);
    rig_close(rig);
    struct wal_recovered recovered;
    struct wal *wal = open_wal(rig, &recovered);
    struct record_identity identity = wal_identity(wal);
    struct members members;
    must(wal_read(wal, (raft_index){1}, (raft_index){1}, take_members, &members) == 0);
    cr_assert(cluster_id_known(members.cluster));
    cr_assert(cluster_id_equal(members.cluster, identity.cluster));
    cr_assert(eq(u32, members.count, 1));
    cr_assert(eq(u64, members.member[0].id.n, 1));
    cr_assert(eq(u64, members.member[0].disk, identity.disk));
    cr_assert(eq(u8, members.member[0].roles, MEMBER_VOTER));
    close_wal(rig, wal);
    rig_free(rig);
}

/* The hard state of another cluster of this name, beside a log of so many requests. */
static void mix(struct rig *rig, uint64_t requests)
{
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig_ready(rig);
    for (uint64_t i = 1; i <= requests; i++)
        rig_insist(rig, i);
    rig_close(rig);
    struct wal_recovered recovered;
    struct wal *wal = open_wal(rig, &recovered);
    struct record_identity identity = wal_identity(wal);
    identity.cluster.high ^= 1;
    wal_identify(wal, &identity);
    close_wal(rig, wal);
}

Test(replica_identity, a_log_that_was_founded_by_another_cluster_is_refused)
{
    struct rig *rig = rig_new();
    mix(rig, 1);
    must(rig_start(rig) != 0);
    cr_assert(strstr(rig->text, "another cluster") != NULL, "%s", rig->text);
    rig_free(rig);
}

Test(replica_identity, a_segment_of_another_cluster_is_refused)
{
    struct rig *rig = rig_new();
    mix(rig, 200); /* segments that were made when the cluster was known */
    must(rig_start(rig) != 0);
    cr_assert(strstr(rig->text, ".wal is of cluster ") != NULL, "%s", rig->text);
    rig_free(rig);
}

/* Never skipped: what follows would be applied to another state than elsewhere. */
Test(replica_identity, a_committed_entry_that_cannot_be_read_ends_the_process)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig_ready(rig);
    rig_insist(rig, 1);
    rig_close(rig);
    append_unreadable(rig);
    must(rig_start(rig) == 0);
    for (int i = 0; i < 100 && !rig->failed; i++) {
        rig->now_ms += 50;
        rig_settle(rig);
    }
    cr_assert(rig->failed);
    cr_assert(strstr(rig->failed_what, "newer version") != NULL, "%s", rig->failed_what);
    cr_assert(eq(int, rig->failed_error, -EPROTONOSUPPORT));
    cr_assert(eq(u64, users_meta(replica_users(rig->replica)).users, 1));
    rig_kill(rig);
    rig_free(rig);
}
