#include "raft/node/metrics.h"

#include "tests/replica/rig.h"

#include <stdio.h>
#include <string.h>

static char text[CALL_METRICS_BYTES_MAX + 1];

static const char *metrics_of(struct rig *rig, const struct metrics_saves *saves)
{
    const struct metrics_source source = {
        .replica = rig->replica,
        .node = 1,
        .cluster = "a \"quoted\" name",
        .workers = 3,
        .redis_up = true,
        .snapshot_state = CALL_SNAPSHOT_NOT_DURABLE,
        .saves = saves,
        .started_wall_ms = 1700000000250,
        .refused_frames = 2,
        .refused_greetings = 7,
    };
    struct writer out = writer_of(text, sizeof(text) - 1);
    metrics_put(&out, &source);
    cr_assert(not(out.bad));
    *out.at = '\0';
    return text;
}

/* A sample's value as it stands there; -1 when there is none. `name` with its labels. */
static double value_of(const char *metrics, const char *name)
{
    char start[128];
    double value = -1;
    snprintf(start, sizeof(start), "\n%s ", name);
    const char *at = strstr(metrics, start);
    if (at != NULL)
        (void)sscanf(at + strlen(start), "%lf", &value);
    return value;
}

static struct rig *leader_with(uint64_t users)
{
    struct rig *rig = rig_new();
    rig->without_store = true;
    must(rig_start(rig) == 0);
    rig_ready(rig);
    for (uint64_t i = 1; i <= users; i++) {
        rig_write(rig, i);
        rig_settle(rig);
    }
    return rig;
}

Test(metrics, tell_what_was_done)
{
    static const struct {
        const char *name;
        double value;
    } rows[] = {
        {"rollcall_node_info{cluster=\"a \\\"quoted\\\" "
         "name\",node=\"1\",version=\"" ROLLCALL_VERSION "\"}",
         1},
        {"rollcall_ready", 1},
        {"rollcall_raft_role{role=\"leader\"}", 1},
        {"rollcall_raft_role{role=\"candidate\"}", 0},
        {"rollcall_raft_role{role=\"follower\"}", 0},
        {"rollcall_raft_leader_id", 1},
        {"rollcall_raft_term", 1},
        {"rollcall_raft_elections_total", 1},
        {"rollcall_raft_leader_changes_total", 1},
        {"rollcall_raft_recovering", 0},
        {"rollcall_rolled_back_total", 0},
        {"rollcall_diverged_total", 0},
        {"rollcall_state_diverged_total", 0},
        {"rollcall_raft_commit_index", 6}, /* the leader's first entry, then the users */
        {"rollcall_raft_applied_index", 6},
        {"rollcall_raft_last_index", 6},
        {"rollcall_raft_durable_index", 6},
        {"rollcall_raft_members", 1},
        {"rollcall_peer_refused_frames_total", 2},
        {"rollcall_peer_refused_greetings_total", 7},
        {"rollcall_commit_duration_seconds_count", 5},
        {"rollcall_apply_duration_seconds_count", 6},
        {"rollcall_users", 5},
        {"rollcall_remembered_answers", 5},
        {"rollcall_waiting_writes", 0},
        {"rollcall_connected_workers", 3},
        {"rollcall_redis_up", 1},
        {"rollcall_snapshot_state{state=\"ok\"}", 0},
        {"rollcall_snapshot_state{state=\"not-durable\"}", 1},
        {"rollcall_wal_full", 0},
        {"process_start_time_seconds", 1700000000.25},
    };
    struct rig *rig = leader_with(5);
    const struct metrics_saves saves = {.failures = 0};
    const char *metrics = metrics_of(rig, &saves);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect(value_of(metrics, rows[i].name) == rows[i].value, "%s %g in\n%s", rows[i].name,
                  value_of(metrics, rows[i].name), metrics);
    cr_expect(value_of(metrics, "rollcall_wal_fsync_duration_seconds_count") >= 6);
    cr_expect(value_of(metrics, "rollcall_wal_appended_bytes_total") >= 6 * DISK_SECTOR_BYTES);
    cr_expect(value_of(metrics, "rollcall_wal_size_bytes") >= RIG_SEGMENT);
    cr_expect(value_of(metrics, "process_resident_memory_bytes") > 100000);
    cr_expect(value_of(metrics, "process_open_fds") >= 3);
    rig_free(rig);
}

Test(metrics, tell_what_waits)
{
    struct rig *rig = leader_with(0);
    const struct metrics_saves saves = {.failures = 0};
    rig_write(rig, 1);
    rig_write(rig, 2);
    rig_read(rig, false);
    const char *metrics = metrics_of(rig, &saves);
    cr_expect(value_of(metrics, "rollcall_waiting_writes") == 2);
    cr_expect(value_of(metrics, "rollcall_waiting_write_bytes") > 20);
    cr_expect(value_of(metrics, "rollcall_waiting_reads") == 1);
    rig_settle(rig);
    metrics = metrics_of(rig, &saves);
    cr_expect(value_of(metrics, "rollcall_waiting_writes") == 0);
    cr_expect(value_of(metrics, "rollcall_waiting_write_bytes") == 0);
    cr_expect(value_of(metrics, "rollcall_waiting_reads") == 0);
    rig_free(rig);
}

Test(metrics, tell_of_saves_and_of_no_time_before_the_first)
{
    struct rig *rig = leader_with(0);
    struct metrics_saves saves = {.failures = 0};
    static const char last[] = "rollcall_snapshot_last_success_timestamp_seconds";
    metrics_saved(&saves, false, 20, 1700000000000);
    const char *metrics = metrics_of(rig, &saves);
    cr_expect(value_of(metrics, "rollcall_snapshot_failures_total") == 1);
    cr_expect(value_of(metrics, "rollcall_snapshot_duration_seconds_count") == 0);
    cr_expect(value_of(metrics, last) == -1);
    metrics_saved(&saves, true, 20, 1700000000500);
    metrics = metrics_of(rig, &saves);
    cr_expect(value_of(metrics, "rollcall_snapshot_failures_total") == 1);
    cr_expect(value_of(metrics, "rollcall_snapshot_duration_seconds_count") == 1);
    cr_expect(value_of(metrics, "rollcall_snapshot_duration_seconds_sum") == 0.02);
    cr_expect(value_of(metrics, last) == 1700000000.5);
    rig_free(rig);
}
