/* What is done to a log while the power fails: one function each, from an empty directory on. */
#ifndef ROLLCALL_TESTS_CRASH_SCENARIOS_H
#define ROLLCALL_TESTS_CRASH_SCENARIOS_H

#include "tests/crash/stage.h"

struct scenario {
    const char *name;
    uint32_t segment_bytes;
    /* Crashes come after what `before` does (NULL: also while the log is first opened). */
    void (*before)(struct stage *stage);
    void (*run)(struct stage *stage);
    bool drawn; /* by stage->random: another story each time */
};

extern const struct scenario scenarios[];
extern const size_t scenarios_count;

#endif
