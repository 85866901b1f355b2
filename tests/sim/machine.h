/*
 * A node: the real driver, core, users, WAL and snapshots on a pretended disk, runner, clock and
 * store. It runs and dies in any way, and starts again as rollcall-node does (raft/node/main.c).
 *
 * A call into it takes no time but what its disk takes on the loop; then it is busy so long, and
 * what comes waits, as it does while it is paused.
 */
#ifndef ROLLCALL_TESTS_SIM_MACHINE_H
#define ROLLCALL_TESTS_SIM_MACHINE_H

#include "raft/replica/replica.h"
#include "raft/snapshots/snapshots.h"
#include "tests/sim/queue.h"
#include "tests/snapshots/fake_store.h"
#include "tests/wal/fake_disk.h"

enum machine_phase {
    MACHINE_DOWN,
    MACHINE_LOADING, /* the log is open, the state not there yet */
    MACHINE_RUNNING,
    MACHINE_REFUSED, /* it found its disk damaged and will not start */
};

enum machine_death { MACHINE_KILLED, MACHINE_POWER_LOST, MACHINE_STOPPED };

struct sim_runner {
    struct runner runner;
    struct job *first[RUNNER_LANES], *last[RUNNER_LANES]; /* that wait for their turn */
    struct job *at_work[RUNNER_LANES];                    /* scheduled to run */
    struct job *ran[RUNNER_LANES];                        /* and to be done */
};

/* A clock of its own pace: local time is base_us at since_us of the world's. */
struct machine_clock {
    uint64_t base_us, since_us;
    int64_t drift; /* of a million */
    int64_t wall_ms;
};

/* What its options say of the members, which counts only while its directory knows nobody. */
enum machine_options {
    OPTIONS_TRUE,
    OPTIONS_ALONE,
    OPTIONS_FEWER,    /* itself and the next one */
    OPTIONS_MORE,     /* one that does not exist, too */
    OPTIONS_REVERSED, /* the same, in another order */
};
#define OPTIONS_KINDS 5u

struct machine_settings {
    uint32_t election_ms, heartbeat_ms;
    uint64_t snapshot_entries;
    uint64_t answers_max;
    uint32_t segment_bytes;
    uint32_t own_flush_after_ms;
    uint32_t piece_bytes;
};

struct machine {
    struct world *world;
    uint32_t id;
    enum machine_phase phase;
    uint32_t life; /* counts starts and deaths */
    struct machine_settings settings;
    struct machine_clock clock;

    struct fake_disk disk;
    struct fake_disk *disk_past; /* a copy of it, or NULL; and of the store at that time: */
    struct fake_db disk_past_store;
    uint64_t disk_past_start;                /* the count of starts that it has, */
    uint64_t disk_past_last, disk_past_term; /* the end of its log; 0: of a node that was down */
    uint32_t disk_us;                        /* what a sync takes, about */
    uint64_t disk_stall_us;                  /* nothing is done before this time */
    uint64_t disk_syncs;                     /* when the call into the node began */
    bool calling;                            /* a call into the node is under way */
    struct sim_runner runner;

    struct fake_store store;
    bool store_down;
    uint32_t store_us; /* what a command takes, about */
    bool store_busy;   /* its next event stands in the queue */
    bool later_set;
    struct fake_db store_past; /* what it held some time ago */
    bool has_past;

    enum machine_options options;
    bool founded; /* its directory knows its cluster: options may say what they like */
    struct network network;
    struct snapshots *snapshots;
    struct replica *replica;
    struct users *loading;
    bool load_asked;
    uint64_t load_after_us; /* when to ask again a store that refused */
    uint64_t started_us;
    struct wal_recovered recovered;

    uint64_t paused_until_us, busy_until_us;
    size_t waiting, waiting_room; /* events that came meanwhile */
    struct sim_event *waiting_event;
    uint64_t look_ms;    /* when to look after the store again */
    uint64_t turn_at_us; /* of the turn that stands in the queue; UINT64_MAX: none */
    bool failed;         /* the driver said that it must end */
    bool stopping, dying;
    bool ready;
    uint64_t undisturbed_us; /* since then nothing kept it from its work */

    /* The atlas: what this node may have lost, see faults.h. */
    bool disk_damaged, store_damaged;
    unsigned not_own; /* parts of its folder are another node's, see folders.h; its own: */
    struct fake_disk *own_disk;
    struct fake_db own_store;
    bool store_edited; /* somebody changed single fields: nothing less can damage a snapshot */
    uint64_t store_refuses_until_us; /* 0: it does not refuse */
    bool disk_unsound;               /* it holds rot, */
    uint32_t rotten_life;            /* since this life */
    uint64_t damaged_at;             /* committed then: what it has to have again */
    bool saved_after_damage;
    /* What it must find again. */
    uint64_t durable;     /* entries that its disk had when it died */
    uint64_t saved_index; /* of the last durable snapshot */
};

void machine_init(struct machine *machine, struct world *world, uint32_t id,
                  const struct machine_settings *settings);
void machine_done(struct machine *machine);

void machine_start(struct machine *machine);
void machine_die(struct machine *machine, enum machine_death death);
/* In good order: leadership is handed over, then it ends. */
void machine_stop(struct machine *machine);
/* UINT64_MAX: until machine_resume. */
void machine_pause(struct machine *machine, uint64_t us);
void machine_resume(struct machine *machine);
/* All that it had is gone, its store's too perhaps. Only while it is down. */
void machine_wipe(struct machine *machine, bool store_too);

/* Its disk and its store are copied; are put back as they were copied, while it is down. */
void machine_copy(struct machine *machine);
void machine_roll_back(struct machine *machine);

/* As its disk has it durably; sequence 0: it has none that can be read. */
struct record_hard_state machine_hard_state(struct machine *machine);

bool machine_up(const struct machine *machine); /* its replica runs */
bool machine_frozen(const struct machine *machine);

/* Its clock goes at another pace from now on, or jumps. */
void machine_drift(struct machine *machine, int64_t of_million);
void machine_jump(struct machine *machine, uint64_t us);

void machine_store_down(struct machine *machine);
void machine_store_up(struct machine *machine);

/* Around every call into the node: what came of it is carried on, and the rules are asked. */
void machine_enter(struct machine *machine);
void machine_leave(struct machine *machine);

/* An event of this node; it may have to wait. */
void machine_event(struct machine *machine, const struct sim_event *event);

/* What its disk has taken of the call under way. */
uint64_t machine_spent_us(const struct machine *machine);
/* The local clock. */
uint64_t machine_now_us(const struct machine *machine);

#endif
