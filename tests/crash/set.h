/* A set of hashes that only grows. */
#ifndef ROLLCALL_TESTS_CRASH_SET_H
#define ROLLCALL_TESTS_CRASH_SET_H

#include "raft/base/attr.h"

struct set {
    uint64_t *slot; /* 0: empty */
    uint64_t slots, count;
};

/* True when it was not there yet. */
bool set_add(struct set *set, uint64_t hash);
void set_empty(struct set *set);
void set_done(struct set *set);

#endif
