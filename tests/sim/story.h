/*
 * The story of a run: what happened last, for a person who wants to know why a rule was broken.
 * Costs next to nothing while nobody reads it: a format and four numbers an event, in a ring.
 */
#ifndef ROLLCALL_TESTS_SIM_STORY_H
#define ROLLCALL_TESTS_SIM_STORY_H

#include "raft/base/attr.h"

#define STORY_EVENTS 4096u

struct story_event {
    uint64_t at_us;
    const char *text; /* static; each '%' in it stands for the next number */
    uint32_t node;    /* 0: nobody's */
    uint64_t number[4];
};

struct story {
    bool aloud; /* each event is printed as it happens */
    uint64_t told;
    struct story_event event[STORY_EVENTS];
};

void story_tell(struct story *story, uint64_t at_us, uint32_t node, const char *text,
                const uint64_t number[4]);
/* The last `count` events, to stderr. */
void story_print(const struct story *story, uint64_t count);

#endif
