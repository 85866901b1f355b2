/*
 * A log on a trace, and the history of what goes into it. The calls mirror those of wal.h, and keep
 * the trace's promise up to date: what is gathered may be on disk, what on_durable named must be.
 */
#ifndef ROLLCALL_TESTS_CRASH_STAGE_H
#define ROLLCALL_TESTS_CRASH_STAGE_H

#include "tests/crash/trace.h"

#define STAGE_MARKS 512u
#define STAGE_LIVES 16u

struct stage {
    struct trace *trace;
    struct history *history;
    uint32_t segment_bytes;
    bool alone;
    struct wal *wal;
    struct wal_recovered recovered;
    bool failed;
    bool died; /* as the trace had it: nothing happens any more before stage_restart */
    uint64_t last, term;
    bool recovering; /* as the log was recovered */
    struct raft_floor floor;
    uint64_t committed; /* in a snapshot: no truncation goes below it */
    uint32_t marks;
    /* What comes before this member is made anew by each opening. */
    struct promise mark[STAGE_MARKS]; /* what is promised when this one is durable */
    uint64_t random;                  /* for scenarios that are drawn by lot */
    uint32_t stamps;
    uint32_t lives;
    struct history life[STAGE_LIVES]; /* the histories of stage_restart */
    struct found found;
    char why[HISTORY_WHY_BYTES + 512]; /* recovery failed */
};

/* Makes a log on an empty trace. */
NODISCARD int stage_open(struct stage *stage, struct trace *trace, struct history *history,
                         uint32_t segment_bytes, bool alone);

/*
 * Opens what is left on the trace, and holds it to the trace's promise. What is found is promised
 * from then on, and `history` is what led to it. False, with stage->why, when it is not as it must
 * be; the log is closed then.
 */
NODISCARD bool stage_recover(struct stage *stage, struct trace *trace, struct history *history,
                             uint32_t segment_bytes, bool alone);

/* The process is gone; another one starts on what it wrote, synced or not. */
void stage_restart(struct stage *stage);
void stage_close(struct stage *stage);

/* The process dies after so many operations more. */
void stage_die_after(struct stage *stage, uint32_t operations);

void stage_vote(struct stage *stage, uint64_t term, bool voted, uint64_t node);
void stage_append(struct stage *stage, uint32_t count, uint32_t len);
void stage_truncate(struct stage *stage, uint64_t first_gone);
void stage_reset(struct stage *stage, uint64_t start, uint64_t term);
/* All entries up to `index` are durable. */
void stage_compact(struct stage *stage, uint64_t index);

/* Starts a flush and leaves it under way. */
void stage_start_flush(struct stage *stage);
/* Flushes, and all that is under way comes to its end. */
void stage_flush(struct stage *stage);

#endif
