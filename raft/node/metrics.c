#include "raft/node/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

void metrics_saved(struct metrics_saves *saves, bool durable, uint64_t took_ms, uint64_t wall_ms)
{
    if (!durable) {
        saves->failures++;
        return;
    }
    histogram_observe(&saves->duration, took_ms * NS_PER_MS);
    saves->last_wall_ms = wall_ms;
}

/* --- shapes ----------------------------------------------------------------------------------- */

static struct metric_label label(const char *name, const char *value)
{
    return (struct metric_label){name, bytes_of_text(value)};
}

static void put_duration(struct writer *out, const char *name, const char *help,
                         const struct histogram *histogram)
{
    metric_family(out, name, METRIC_HISTOGRAM, help);
    metric_histogram(out, name, NULL, 0, histogram);
}

/* One of a family in which the value that holds has 1 and all others 0. */
static void put_choice(struct writer *out, const char *name, struct metric_label choice, bool holds)
{
    metric_sample(out, name, &choice, 1, holds);
}

/* --- consensus -------------------------------------------------------------------------------- */

static void put_role(struct writer *out, enum raft_role role)
{
    static const char name[] = "rollcall_raft_role";
    bool candidate = role == RAFT_PRE_CANDIDATE || role == RAFT_CANDIDATE;
    metric_family(out, name, METRIC_GAUGE, "1 for the role that this node has.");
    put_choice(out, name, label("role", call_role_text(CALL_FOLLOWER)), role == RAFT_FOLLOWER);
    put_choice(out, name, label("role", call_role_text(CALL_CANDIDATE)), candidate);
    put_choice(out, name, label("role", call_role_text(CALL_LEADER)), role == RAFT_LEADER);
}

static void put_raft(struct writer *out, const struct replica_status *status,
                     const struct replica_measures *measures)
{
    const struct raft_status *raft = &status->raft;
    put_role(out, raft->role);
    metric_gauge(out, "rollcall_ready",
                 "1 when a leader is known and this node has caught up with it.", status->ready);
    metric_gauge(out, "rollcall_raft_leader_id", "Id of the leader that is known; 0 for none.",
                 raft->leader_known ? raft->leader.n : 0);
    metric_gauge(out, "rollcall_raft_term", "Current term.", raft->term.n);
    metric_gauge(out, "rollcall_raft_commit_index", "Last entry known to be committed.",
                 raft->commit.n);
    metric_gauge(out, "rollcall_raft_applied_index", "Last entry applied to the directory.",
                 status->applied);
    metric_gauge(out, "rollcall_raft_last_index", "Last entry of the log.", raft->last.n);
    metric_gauge(out, "rollcall_raft_durable_index", "Last entry of the log that is on disk.",
                 raft->durable.n);
    metric_counter(out, "rollcall_raft_elections_total", "Elections in which this node stood.",
                   measures->elections);
    metric_counter(out, "rollcall_raft_leader_changes_total",
                   "Terms in which this node came to know a leader.", measures->leader_changes);
    metric_gauge(
        out, "rollcall_raft_recovering",
        "1 while this node's disk is known to have forgotten something: it does not count.",
        raft->recovering);
    metric_counter(
        out, "rollcall_rolled_back_total",
        "Times that this node saw a disk put back to an earlier copy, its own or another.",
        measures->rolled_back);
    metric_counter(out, "rollcall_state_diverged_total",
                   "Other nodes whose state differs from this node's after the same entry.",
                   measures->state_diverged);
    metric_counter(out, "rollcall_diverged_total",
                   "Times that this node saw two nodes with different histories or states.",
                   measures->diverged);
    put_duration(out, "rollcall_commit_duration_seconds",
                 "From the arrival of a write at this node until it is committed and applied here.",
                 &measures->commit);
    put_duration(out, "rollcall_apply_duration_seconds",
                 "Time to apply a batch of committed entries.", &measures->apply);
}

/* --- the other members ------------------------------------------------------------------------ */

struct peer {
    raft_node_id id;
    bool reachable;
    bool match_known; /* only the leader knows it */
    uint64_t lag, unsent_bytes;
};

static void look_at(const struct metrics_source *source, raft_node_id id, struct peer *ret_peer)
{
    const struct raft *raft = replica_raft(source->replica);
    uint64_t last = raft_status(raft).last.n;
    struct raft_peer_status status;
    bool known = raft_peer_status(raft, id, &status);
    *ret_peer = (struct peer){
        .id = id,
        .reachable = known ? status.reachable : source->connected(source->context, id),
        .match_known = known,
        .lag = known && status.match.n < last ? last - status.match.n : 0,
        .unsent_bytes = source->unsent_bytes(source->context, id),
    };
}

/* All but this node; a voter that is on its way out may be among the others, too. */
static uint32_t find_peers(const struct metrics_source *source,
                           struct peer ret_peers[RAFT_MEMBERS_MAX])
{
    const struct raft_configuration *now = raft_configuration(replica_raft(source->replica));
    const raft_node_id *const lists[] = {now->voter, now->outgoing_voter, now->learner};
    const uint32_t counts[] = {now->voters, now->outgoing, now->learners};
    uint32_t found = 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (uint32_t j = 0; j < counts[i]; j++) {
            raft_node_id id = lists[i][j];
            uint32_t before = 0;
            while (before < found && !node_id_equal(ret_peers[before].id, id))
                before++;
            if (before == found && id.n != source->node && found < RAFT_MEMBERS_MAX)
                look_at(source, id, &ret_peers[found++]);
        }
    }
    return found;
}

/* A family with a sample a peer; `lag` skips those of whom it is not known. */
enum peer_value { PEER_REACHABLE, PEER_LAG, PEER_UNSENT };

static void put_peer_family(struct writer *out, const char *name, const char *help,
                            const struct peer *peers, uint32_t count, enum peer_value value)
{
    metric_family(out, name, METRIC_GAUGE, help);
    for (uint32_t i = 0; i < count; i++) {
        char id[24];
        snprintf(id, sizeof(id), "%llu", (unsigned long long)peers[i].id.n);
        const struct metric_label peer = label("peer", id);
        if (value == PEER_REACHABLE)
            metric_sample(out, name, &peer, 1, peers[i].reachable);
        else if (value == PEER_UNSENT)
            metric_sample(out, name, &peer, 1, peers[i].unsent_bytes);
        else if (peers[i].match_known)
            metric_sample(out, name, &peer, 1, peers[i].lag);
    }
}

static void put_peers(struct writer *out, const struct metrics_source *source)
{
    struct peer peers[RAFT_MEMBERS_MAX];
    uint32_t count = find_peers(source, peers);
    metric_gauge(out, "rollcall_raft_members", "Members of the cluster, this node among them.",
                 count + 1);
    put_peer_family(out, "rollcall_peer_reachable", "1 when the other node was heard of lately.",
                    peers, count, PEER_REACHABLE);
    put_peer_family(out, "rollcall_peer_lag_entries",
                    "Entries of the log that the other node is not known to have; only the leader "
                    "knows.",
                    peers, count, PEER_LAG);
    put_peer_family(out, "rollcall_peer_unsent_bytes", "Bytes that wait to be sent to it.", peers,
                    count, PEER_UNSENT);
    metric_counter(out, "rollcall_peer_refused_frames_total",
                   "Frames of members that no node sends which follows the rules.",
                   source->refused_frames);
    metric_counter(out, "rollcall_peer_refused_greetings_total",
                   "Connections to the port between nodes that were refused.",
                   source->refused_greetings);
}

/* --- log, snapshots, state, what waits -------------------------------------------------------- */

/* What others write to the disk counts, too: the log needs room whoever takes it. */
static void put_disk(struct writer *out, const char *dir)
{
    struct statvfs disk;
    if (dir == NULL || statvfs(dir, &disk) != 0)
        return;
    metric_gauge(out, "rollcall_disk_free_bytes", "Bytes that the log's disk has left for it.",
                 (uint64_t)disk.f_bavail * disk.f_frsize);
    metric_gauge(out, "rollcall_disk_size_bytes", "Bytes that the log's disk has.",
                 (uint64_t)disk.f_blocks * disk.f_frsize);
}

static void put_log(struct writer *out, const struct replica_status *status,
                    const struct replica_measures *measures)
{
    metric_gauge(out, "rollcall_wal_size_bytes", "Bytes of the log's segments on disk.",
                 status->wal_bytes);
    metric_counter(out, "rollcall_wal_appended_bytes_total", "Bytes written to the log and synced.",
                   measures->wal.appended_bytes);
    put_duration(out, "rollcall_wal_fsync_duration_seconds",
                 "Time of an fdatasync of the log; its count is how many there were.",
                 &measures->wal.fsync);
    metric_gauge(out, "rollcall_wal_full", "1 when the log's disk is full and writes are refused.",
                 status->wal_full);
    metric_gauge(out, "rollcall_wal_damaged_entries",
                 "Entries of the log that are damaged and not repaired yet.",
                 status->damaged_entries);
    metric_counter(out, "rollcall_wal_scrubbed_bytes_total",
                   "Bytes of the log read through in the background.", measures->scrubbed_bytes);
    metric_counter(out, "rollcall_wal_damage_total", "Damaged places that scrubbing found.",
                   measures->damage);
    metric_counter(out, "rollcall_wal_repairs_total",
                   "Damaged places mended in place, and entries had again from other nodes.",
                   measures->repaired);
}

static void put_snapshots(struct writer *out, const struct metrics_source *source,
                          const struct replica_status *status)
{
    static const char states[] = "rollcall_snapshot_state";
    static const char last[] = "rollcall_snapshot_last_success_timestamp_seconds";
    metric_gauge(out, "rollcall_redis_up", "1 when the Redis beside this node is connected.",
                 source->redis_up);
    metric_gauge(out, "rollcall_snapshot_index",
                 "Last entry that a durable snapshot in Redis covers.", status->snapshot_index);
    metric_family(out, states, METRIC_GAUGE, "1 for the state that snapshots are in.");
    for (uint8_t i = CALL_SNAPSHOT_OK; call_snapshot_text(i) != NULL; i++)
        put_choice(out, states, label("state", call_snapshot_text(i)), source->snapshot_state == i);
    put_duration(out, "rollcall_snapshot_duration_seconds",
                 "Time of a save that became durable; its count is how many there were.",
                 &source->saves->duration);
    metric_counter(out, "rollcall_snapshot_failures_total",
                   "Saves that failed, or that Redis did not make durable.",
                   source->saves->failures);
    metric_family(out, last, METRIC_GAUGE,
                  "When the last durable snapshot was saved by this process, if one was.");
    if (source->saves->last_wall_ms != 0)
        metric_sample_ns(out, last, NULL, 0, source->saves->last_wall_ms * NS_PER_MS);
}

static void put_state_and_queues(struct writer *out, const struct metrics_source *source,
                                 const struct replica_status *status)
{
    struct users_meta meta = users_meta(replica_users(source->replica));
    metric_gauge(out, "rollcall_users", "Users in the directory.", meta.users);
    metric_gauge(out, "rollcall_remembered_answers",
                 "Answers of recent requests that are remembered.",
                 meta.answers_next - meta.answers_first);
    metric_gauge(out, "rollcall_waiting_writes", "Writes of clients here that wait for an answer.",
                 status->waiting);
    metric_gauge(out, "rollcall_waiting_write_bytes", "Bytes of these writes.",
                 status->waiting_bytes);
    metric_gauge(out, "rollcall_waiting_reads", "Reads that wait for their index.",
                 status->waiting_reads);
    metric_gauge(out, "rollcall_waiting_forwarded_writes",
                 "Writes that other nodes sent here and the log has not taken yet.",
                 status->forwarded);
    metric_gauge(out, "rollcall_connected_workers", "Connections on the workers' socket.",
                 source->workers);
}

/* --- the process ------------------------------------------------------------------------------ */

/* Pages in memory; 0 where it cannot be known. */
static uint64_t resident_pages(void)
{
    unsigned long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return resident;
}

static uint64_t open_descriptors(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the one that reads them */
}

static void put_process(struct writer *out, const struct metrics_source *source)
{
    static const char cpu[] = "process_cpu_seconds_total", start[] = "process_start_time_seconds";
    struct timespec used = {0};
    struct rlimit limit = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    metric_family(out, cpu, METRIC_COUNTER, "Time that the node spent on a processor.");
    metric_sample_ns(out, cpu, NULL, 0, (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec);
    metric_gauge(out, "process_resident_memory_bytes", "Memory of the node.",
                 resident_pages() * (uint64_t)sysconf(_SC_PAGESIZE));
    metric_gauge(out, "process_open_fds", "Open descriptors of the node.", open_descriptors());
    metric_gauge(out, "process_max_fds", "How many it may have.", (uint64_t)limit.rlim_cur);
    metric_family(out, start, METRIC_GAUGE, "When the node was started.");
    metric_sample_ns(out, start, NULL, 0, source->started_wall_ms * NS_PER_MS);
}

void metrics_put(struct writer *out, const struct metrics_source *source)
{
    static const char info[] = "rollcall_node_info";
    struct replica_status status = replica_status(source->replica);
    struct replica_measures measures = replica_measures(source->replica);
    char id[24];
    snprintf(id, sizeof(id), "%llu", (unsigned long long)source->node);
    const struct metric_label who[] = {label("cluster", source->cluster), label("node", id),
                                       label("version", ROLLCALL_VERSION)};
    metric_family(out, info, METRIC_GAUGE, "1; which node this is.");
    metric_sample(out, info, who, ARRAY_LEN(who), 1);
    put_raft(out, &status, &measures);
    put_peers(out, source);
    put_disk(out, source->dir);
    put_log(out, &status, &measures);
    put_snapshots(out, source, &status);
    put_state_and_queues(out, source, &status);
    put_process(out, source);
}
