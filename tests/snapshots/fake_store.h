/*
 * A Redis behind raft/snapshots/store.h that forgets and fails on demand.
 *
 * Commands wait in a queue until the test lets the next one run; so the test says how slow it is.
 * It keeps what it holds apart from what it would find again after a crash: that is the append-only
 * file where there is one, else the last dump.
 *
 * As Redis 7.0 does it:
 *   EXEC goes on after a command that fails inside.
 *   WATCH: whoever writes a key touches it, the watcher itself, too; FLUSHALL touches those that
 *   are there; creating one that was not there touches it.
 *   A file that was cut inside of a transaction (`tear`) is read up to its MULTI, but truncated
 *   after the last whole command: what is written later joins the torn half, counts at the next
 *   start when an EXEC came, and the torn half with it.
 *   INFO names the process: another run_id after each start.
 *
 * Faults count commands from `commands`, the number taken so far: the connection ends before the
 * command runs, or after it ran and before its reply; or the command is answered with an error.
 */
#ifndef ROLLCALL_TESTS_SNAPSHOTS_FAKE_STORE_H
#define ROLLCALL_TESTS_SNAPSHOTS_FAKE_STORE_H

#include "raft/snapshots/store.h"
#include "tests/snapshots/fake_db.h"

#define FAKE_COMMANDS 64
#define FAKE_WATCHED  16

enum fake_append { FAKE_APPEND_NO, FAKE_APPEND_EVERYSEC, FAKE_APPEND_ALWAYS };

struct fake_command {
    size_t count;
    struct fake_text *argument;
    store_on_reply *on_reply;
    void *context;
};

struct fake_store {
    struct store store;
    bool connected;

    /* What it is set to. */
    enum fake_append append;
    bool knows_waitaof;
    bool waitaof_times_out;
    bool config_forbidden;
    uint32_t dump_polls; /* INFO says so often that a dump is under way */
    bool dump_fails;
    bool other_dump;           /* one that began before is under way */
    const char *save, *policy; /* `save`, `maxmemory-policy` */
    bool full;                 /* its memory is: what takes more is refused */
    bool no_sync_on_rewrite;   /* `no-appendfsync-on-rewrite yes` */
    const char *refuses;       /* it answers this error to everything; NULL: it does not */
    int tear; /* it loses power while it writes the next transaction, so many commands of it
               * written; 0: it does not */
    uint32_t life;

    struct fake_db db;
    struct fake_db file;  /* append-only file or dump: what a crash leaves */
    struct fake_db child; /* what a dump under way is writing */
    bool dumping, dump_failed;
    uint32_t polls_left;

    /* A torn transaction at the end of the append-only file, open still, and all after it. From
     * then on `file` is written beside `db`. */
    bool parted, torn;
    int tail_count;
    struct fake_command *tail;

    bool multi, multi_broken, watch_broken;
    int watched_count;
    struct fake_text watched[FAKE_WATCHED];
    int queued; /* commands in the transaction */
    struct fake_command transaction[4096];

    int waiting; /* commands that have not run */
    struct fake_command queue[FAKE_COMMANDS];
    void (*later_call)(void *context);
    void *later_context;
    uint32_t later_ms;

    uint64_t commands;                          /* that ran, or would have */
    uint64_t lose_before, lose_after, error_at; /* at this one; 0: never */
    const char *error;                          /* its text */
    int waiting_most;                           /* commands that waited at once */
    size_t bytes_waiting, bytes_most;           /* and their bytes */
};

void fake_store_init(struct fake_store *store);
void fake_store_done(struct fake_store *store);

/* Runs the next command, or what `later` asked for; false when there is neither. */
bool fake_store_step(struct fake_store *store);
void fake_store_drain(struct fake_store *store);

/* The connection ends: every command that waits is called back without a reply. */
void fake_store_lose(struct fake_store *store);
void fake_store_connect(struct fake_store *store);

/* The server dies and comes back with what its file holds. The connection ends. */
void fake_store_crash(struct fake_store *store);

/* FLUSHALL by somebody else. */
void fake_store_empty(struct fake_store *store);
/* It holds what it held some time ago, and so does its file: somebody brought back a copy. */
void fake_store_restore(struct fake_store *store, const struct fake_db *past);
/* HSET or (value NULL) HDEL by somebody else. */
void fake_store_edit(struct fake_store *store, const char *key, const char *field,
                     const char *value);
/* The value of a field as text, "" where there is none; good until the next call. */
const char *fake_store_text(struct fake_store *store, const char *key, const char *field);

#endif
