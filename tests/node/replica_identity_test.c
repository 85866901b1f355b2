/* Which cluster and which members a directory knows, and that options do not change them. */
#include "tests/node/rig.h"

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
