/*
 * A node without its process: a real loop, a real socket, a replica on a temporary directory. The
 * test is the workers, on the same thread: it sends, and turns the loop until what it waits for is
 * there.
 */
#ifndef ROLLCALL_TESTS_WORKERS_RIG_H
#define ROLLCALL_TESTS_WORKERS_RIG_H

#include "raft/node/runner_threads.h"
#include "raft/node/workers.h"
#include "raft/wal/disk_posix.h"
#include "tests/users/support.h"

#define WORKERS_RIG_IN_BYTES (1u << 20)

struct workers_rig {
    char directory[64], path[96];
    uv_loop_t loop;
    uv_check_t check;
    uv_timer_t tick;
    struct disk_posix disk;
    struct runner_threads runner;
    struct replica *replica;
    struct workers *workers;
    bool ready;
    bool hold; /* the loop turns, and the replica does not */
};

/* A worker's end of a connection. */
struct worker {
    struct workers_rig *rig;
    int fd;
    uint8_t *in;
    size_t in_len;
    size_t frame_len; /* of the frame that `worker_next` gave */
};

struct workers_rig *workers_rig_new(void);
void workers_rig_free(struct workers_rig *rig);
/* Turns the loop once, waiting a moment at most. */
void workers_rig_turn(struct workers_rig *rig);

struct worker worker_connect(struct workers_rig *rig);
/* Connects and says HELLO, and is welcomed. */
struct worker worker_greeted(struct workers_rig *rig);
void worker_close(struct worker *worker);

/* Bytes are sent while the loop turns; false when the node does not take them. */
bool worker_send_bytes(struct worker *worker, struct bytes bytes);
void worker_send(struct worker *worker, struct call call);
void worker_write(struct worker *worker, uint64_t call, uint64_t request, const char *name);

/* The next call from the node; false when the connection ended or, with `wait` false, none is here.
 * Borrowed until the next. */
bool worker_next(struct worker *worker, bool wait, struct call *ret_call);
/* The same, which must be there and of this kind. */
struct call worker_expect(struct worker *worker, enum call_kind kind);
/* True when the node ends the connection. */
bool worker_is_dropped(struct worker *worker);

#endif
