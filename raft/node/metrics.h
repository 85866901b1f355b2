/*
 * What this node tells Prometheus: its part in consensus, its log, its snapshots, what waits, and
 * the process. Everything is counted where it happens (replica_measures, wal_measures) and only
 * written here, when somebody asks. deploy/README.md says what to watch.
 */
#ifndef ROLLCALL_NODE_METRICS_H
#define ROLLCALL_NODE_METRICS_H

#include "raft/replica/replica.h"

/* Snapshots to Redis since the process began. */
struct metrics_saves {
    struct histogram duration; /* of those that ended well */
    uint64_t failures;
    uint64_t last_wall_ms; /* 0: none yet */
};

/* A save has ended, after so long. */
void metrics_saved(struct metrics_saves *saves, bool durable, uint64_t took_ms, uint64_t wall_ms);

struct metrics_source {
    struct replica *replica; /* started */
    uint64_t node;
    const char *cluster;
    uint32_t workers; /* connected */
    bool redis_up;
    enum call_snapshot snapshot_state;
    const struct metrics_saves *saves;
    uint64_t started_wall_ms;
    const char *dir;                            /* of the log, whose disk is looked at; NULL: not */
    uint64_t refused_frames, refused_greetings; /* struct peers_measures; 0 when alone */
    /* Of another node: does a connection stand, what is not sent on it. Not called when alone. */
    bool (*connected)(void *context, raft_node_id id);
    uint64_t (*unsent_bytes)(void *context, raft_node_id id);
    void *context;
};

/* Less than CALL_METRICS_BYTES_MAX, whatever there is to say. */
void metrics_put(struct writer *out, const struct metrics_source *source);

#endif
