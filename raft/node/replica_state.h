/* struct replica, for replica*.c only. */
#ifndef ROLLCALL_NODE_REPLICA_STATE_H
#define ROLLCALL_NODE_REPLICA_STATE_H

#include "raft/node/entries.h"
#include "raft/node/replica.h"

/* A failed save is tried again after this, doubling up to the second. */
#define SAVE_RETRY_MS_MIN 200u
#define SAVE_RETRY_MS_MAX 10000u

struct replica {
    struct replica_options options;
    struct wal *wal;
    struct wal_recovered recovered;
    struct raft *raft;
    struct users *users;
    struct entries entries;
    uint64_t applied;
    uint64_t deadline_ms; /* the core's */
    uint64_t wal_tick_ms;
    uint64_t flush_away_until_ms;
    bool ready;
    bool stopping;

    /* Who waits for entry i is in waiting[i modulo its size]. */
    struct replica_client *waiting;
    raft_index waiting_first; /* entries from here on to the last have somebody waiting */
    uint32_t waiting_count;

    uint32_t proposed; /* entries gathered this turn, at the end of `entries` */
    uint64_t proposed_bytes;
    uint32_t *proposed_sizes;       /* of each */
    struct replica_client *readers; /* gathered this turn */
    uint32_t readers_count;
    struct replica_client *asking; /* in the round that the core has */
    uint32_t asking_count;
    uint64_t round;

    bool durable; /* the WAL reached this mark */
    struct raft_mark mark;

    bool saving;
    bool save_wanted;
    uint64_t save_retry_ms, save_after_ms;
    uint64_t saved_index, saved_before; /* durable snapshots: the last, and the one before */
};

/* replica_start.c: the WAL's hook, and whatever else ends the process. */
void replica_failed(void *context, const char *what, int error);

#endif
