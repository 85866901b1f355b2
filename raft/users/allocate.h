/*
 * Memory or the end: the replicated state cannot refuse to grow on one node when it grows on the
 * others, so a node without memory stops (and comes back from its log).
 */
#ifndef ROLLCALL_USERS_ALLOCATE_H
#define ROLLCALL_USERS_ALLOCATE_H

#include <stdlib.h>

#include "raft/base/attr.h"

static inline void *allocate(size_t size)
{
    void *at = malloc(size);
    assert(at != NULL && "out of memory");
    return at;
}

static inline void *allocate_zeroed(size_t count, size_t size)
{
    void *at = calloc(count, size);
    assert(at != NULL && "out of memory");
    return at;
}

static inline void *reallocate(void *at, size_t size)
{
    at = realloc(at, size);
    assert(at != NULL && "out of memory");
    return at;
}

#endif
