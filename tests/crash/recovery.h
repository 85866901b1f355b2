/*
 * Starting from what a crash left: the log opens, holds what it must (history.h), can be written
 * to, and is the same when it is opened once more.
 */
#ifndef ROLLCALL_TESTS_CRASH_RECOVERY_H
#define ROLLCALL_TESTS_CRASH_RECOVERY_H

#include "tests/crash/stage.h"

struct recovery {
    struct trace *trace;    /* of this start */
    struct history history; /* what was found, and what was written since */
    struct stage stage;
};

struct recovery *recovery_new(void);
void recovery_free(struct recovery *recovery);

/*
 * False, with recovery->stage.why, when something is not as it must be. With `recording` the trace
 * tells of all up to the first writes: a crash may come again while the log is opened.
 */
bool recovery_try(struct recovery *recovery, const struct image *state,
                  const struct promise *promise, uint32_t segment_bytes, bool alone,
                  bool recording);

#endif
