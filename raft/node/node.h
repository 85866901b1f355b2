/* struct node: the process, for main.c and boot.c. */
#ifndef ROLLCALL_NODE_NODE_H
#define ROLLCALL_NODE_NODE_H

#include "raft/base/signals.h"
#include "raft/node/config.h"
#include "raft/node/metrics.h"
#include "raft/node/peers.h"
#include "raft/node/redis.h"
#include "raft/node/runner_threads.h"
#include "raft/node/workers.h"
#include "raft/replica/replica.h"
#include "raft/snapshots/snapshots.h"
#include "raft/wal/disk_posix.h"

enum node_phase { NODE_LOADING, NODE_RUNNING, NODE_STOPPING };

/* A first start from a backup: boot_restore.c. */
struct restore {
    struct users *users; /* what the file holds; NULL: there is none, or Redis holds it too */
    bool held;           /* Redis holds it, durable: the log is to begin */
    struct users_meta meta;
    raft_term term;
};

struct node {
    struct config config;
    char members[4096]; /* the list of the file "members" */
    bool members_kept;  /* it is there, or nothing is to be done for it in this life */
    enum node_phase phase;
    uint64_t started_ms;
    uint64_t started_wall_ms;
    uint64_t stop_ms;
    int exit_code;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;
    uint64_t timer_ms;                /* when it fires; 0: not set */
    uv_signal_t signals[SIGNALS_MAX]; /* by number; those without data are not handled */
    struct disk_posix disk;
    struct runner_threads runner;
    struct redis *redis;
    struct snapshots *snapshots;
    struct replica *replica;
    struct workers *workers;
    struct peers *peers; /* NULL when it is alone */
    struct wal_recovered recovered;
    struct users *loading;
    struct restore restore;
    bool load_asked;
    uint64_t load_ms;  /* when to ask again a Redis that refused */
    char refusal[300]; /* what was said last of a Redis that is waited for, or saves nothing */
    uint64_t saving_since_ms;
    struct metrics_saves saves;
    enum call_snapshot snapshot_state;
    bool redis_was_down;
    uint64_t look_ms; /* when to look after the snapshot again */
};

/* --- main.c */
uint64_t node_now_ms(void *context);
uint64_t node_wall_ms(void *context);
/* Says why on stderr, and begins to stop. */
void node_refuse_start(struct node *node, const char *text);

/* --- boot.c: log, Redis and state, put together */
NODISCARD int boot_open(struct node *node); /* Redis, and what loads from it */
/* While Redis is away or refuses at start: go on without it if the log or the others allow, else
 * wait, and say so. */
void boot_without_redis(struct node *node);
/* The one for other nodes can never be used: the node ends. */
void boot_refuse_address(struct node *node, int error);
/* While it runs, each turn: looks now and then whether Redis still holds the snapshot. */
void boot_tick(struct node *node);
/* All members are at one host: the nodes of this machine, on its disk. */
bool boot_shares_a_host(const struct config *config);
enum call_snapshot boot_snapshot_state(void *context);

/* --- boot_members.c */

/* Takes the list of members from the directory, when it has one. */
NODISCARD int boot_members_read(struct node *node);
/* Once the cluster is known: keeps the list. */
void boot_members_keep(struct node *node);
/* After the log was opened: says when the options are ignored. */
void boot_members_judge(struct node *node);

/* --- boot_restore.c: in this order, unless there is nothing to restore */
NODISCARD int boot_restore_find(struct node *node);  /* before the log is opened, or made */
NODISCARD int boot_restore_judge(struct node *node); /* after it */
bool boot_restores(const struct node *node);
/* Redis holds nothing: saves the state there; ends in boot_restore_saved once it is durable. */
void boot_restore_save(struct node *node);
void boot_restore_saved(struct node *node);
/* Redis holds something, it is in `loading`: true when it is this very state. */
NODISCARD bool boot_restore_is_held(struct node *node);
struct replica_state boot_restore_state(struct node *node);
NODISCARD bool boot_restore_done(struct node *node); /* the log is durable; false: it stops */

#endif
