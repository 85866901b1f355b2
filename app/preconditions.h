/*
 * The header fields If-Match and If-None-Match → conditions (users/condition.h). RFC 9110 §13.1,
 * §8.8.3: "*", or a list of entity tags, over one line or several, W/ before those that are weak.
 *
 * Our tags are strong: the raft index of the last change, in decimal. If-Match compares strongly,
 * so that a weak tag matches nothing there; If-None-Match compares weakly. A well-formed tag that
 * is none of ours matches nothing.
 */
#ifndef ROLLCALL_APP_PRECONDITIONS_H
#define ROLLCALL_APP_PRECONDITIONS_H

#include "app/request.h"
#include "raft/users/condition.h"

struct preconditions {
    struct condition if_match, if_none_match;
};

/* Room for the tags of both. */
#define PRECONDITIONS_BYTES (2 * CONDITION_BYTES_MAX)

/*
 * The request's; their tags are written to `store`, which must live as long. NULL, or a sentence
 * that says what is wrong with them.
 */
const char *preconditions_read(const struct request *request,
                               uint8_t store[static PRECONDITIONS_BYTES],
                               struct preconditions *ret_conditions);

#endif
