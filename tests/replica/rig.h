/*
 * A replica with everything around it pretended: disk, runner, clock, and a store for its
 * snapshots; and a memory of all that it told its clients. One machine: it runs, dies in any way,
 * and starts again as rollcall-node does.
 */
#ifndef ROLLCALL_TESTS_REPLICA_RIG_H
#define ROLLCALL_TESTS_REPLICA_RIG_H

#include "raft/replica/replica.h"
#include "raft/snapshots/snapshots.h"
#include "tests/snapshots/fake_store.h"
#include "tests/users/support.h"
#include "tests/wal/fake_disk.h"

#define RIG_SEGMENT      8192u
#define RIG_ANSWERS_MAX  (1u << 14)
#define RIG_REQUESTS_MAX 20000u

/* What became of request number i. */
struct rig_request {
    bool written;
    uint64_t id, index; /* of the user, as told */
    uint32_t times;     /* told */
    uint32_t refused, unknown;
    uint32_t reused;         /* answered with ID_REUSED */
    enum call_reason reason; /* the last */
};

struct rig {
    struct fake_disk disk;
    struct fake_runner runner;
    struct fake_store store;
    struct snapshots *snapshots; /* NULL: a save waits for the test, in `view` */
    struct replica *replica;
    uint64_t now_ms;
    uint64_t wall_ahead_ms; /* by how much the wall clock is wrong */
    uint64_t snapshot_entries;
    uint64_t random;
    bool without_store; /* no snapshots are saved or loaded */
    bool restore; /* what the store holds begins a log that is new, as boot_restore.c has it */

    struct wal_recovered recovered;
    char text[600]; /* why it did not start */
    bool ready, failed;
    uint32_t failures; /* of this life, and the last */
    const char *failed_what;
    int failed_error;
    uint32_t readable, read_refused;
    enum call_reason read_reason;
    struct users_view *view; /* what the hook `save` was given */
    uint64_t view_term;
    uint32_t saves, saved_durable;
    enum snapshots_found found;
    char found_text[600];

    struct rig_request request[RIG_REQUESTS_MAX];
};

struct rig *rig_new(void);
void rig_free(struct rig *rig);

/* Opens the log, loads the snapshot, starts: as far as it gets. −errno and `text`. */
int rig_start(struct rig *rig);
/* In good order, all jobs done. */
void rig_close(struct rig *rig);
/* The process dies: what it wrote stays. Or the power goes: what was not synced goes, or not. */
void rig_kill(struct rig *rig);
void rig_power_loss(struct rig *rig, uint64_t *random);

/* Asks for a user named after the request's number. */
void rig_write(struct rig *rig, uint64_t number);
/* The same under the request id of another number. */
void rig_write_under(struct rig *rig, uint64_t number, uint64_t id_number);
void rig_read(struct rig *rig, bool stale);
void rig_read_at(struct rig *rig, bool stale, uint64_t min_index);
void rig_turn(struct rig *rig);
/* Turns, jobs and store, until nothing is left to do or it failed. */
void rig_settle(struct rig *rig);
/* Settles, and time passes, until it is ready. */
void rig_ready(struct rig *rig);
/* Asks again until it is told that it is written. */
void rig_insist(struct rig *rig, uint64_t number);

/* What the users' names are made of. */
struct bytes rig_name(uint64_t number, char text[64]);

/* Every request that was told to be written is there, once, as told; and nobody else is. */
void rig_check(struct rig *rig);

/* Reaches nobody: for replicas whose cluster has others. */
extern struct network rig_nowhere;

#endif
