/*
 * A disk that remembers, in order, all that was asked of it, and a runner whose jobs are part of
 * the story: raft/wal/disk.h and runner.h over an image.
 *
 * A job runs when it is submitted, and is done when the test says so (trace_finish). What it asked
 * of the disk is marked as its own: until it is done, a crash may find any first part of it on its
 * way, however far the other lane is (states.h).
 *
 * A process may die before the machine does: from trace.dies_at on all fails, until that is put off
 * again for the next one, which finds all that was written, synced or not.
 */
#ifndef ROLLCALL_TESTS_CRASH_TRACE_H
#define ROLLCALL_TESTS_CRASH_TRACE_H

#include "raft/wal/disk.h"
#include "raft/wal/runner.h"
#include "tests/crash/history.h"
#include "tests/crash/image.h"

#define TRACE_JOBS 512u
#define TRACE_LATE UINT32_MAX

enum operation_kind {
    OPERATION_CREATE,
    OPERATION_WRITE,
    OPERATION_SYNC,
    OPERATION_RENAME,
    OPERATION_REMOVE,
    OPERATION_SYNC_DIRECTORY,
    OPERATION_DONE, /* of the job: nothing of the disk, but who waited is told */
};

struct operation {
    enum operation_kind kind;
    uint32_t job; /* whose it is; 0: nobody's */
    int file;     /* of CREATE, WRITE, SYNC */
    uint64_t offset;
    size_t len;
    uint8_t *bytes;
    char name[IMAGE_NAME_BYTES]; /* of CREATE, RENAME, REMOVE; of the others at that time */
    char to[IMAGE_NAME_BYTES];
    struct promise promise; /* what was promised before it began */
};

struct trace_job {
    enum runner_lane lane;
    struct job *job;
    uint32_t done_at; /* the number of its DONE; TRACE_LATE: not yet */
};

struct trace {
    struct disk disk;
    struct runner runner;
    struct promise promise; /* as of now: kept by who writes the log */
    bool recording;
    struct image base; /* all of it durable, before the first operation */
    struct image now;
    uint32_t dies_at; /* no operation from this one on happens; TRACE_LATE: all do */
    bool direct[IMAGE_FILES];

    uint32_t operations, room;
    struct operation *operation;
    uint32_t jobs; /* counted from 1 */
    struct trace_job job[TRACE_JOBS + 1];
    uint32_t running; /* the job whose operations these are */
};

/* Begins anew; with NULL from an empty directory. */
void trace_start(struct trace *trace, const struct image *from, bool recording);
void trace_free(struct trace *trace);

/* Ends the oldest job of the lane that is not done; false when there is none. */
bool trace_finish(struct trace *trace, enum runner_lane lane);
void trace_finish_all(struct trace *trace);

/* The operation as a line of text. */
#define TRACE_LINE_BYTES 128u
void trace_line(const struct operation *operation, char ret_line[TRACE_LINE_BYTES]);

#endif
