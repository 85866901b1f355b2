/*
 * Conditions on a request (RFC 9110 §13.1): what entity tags the thing it is for must have, or must
 * not. A tag is the raft index of the last change; a tag of any other form is nobody's, and is left
 * out of the list, which may so be empty and still be a condition.
 */
#ifndef ROLLCALL_USERS_CONDITION_H
#define ROLLCALL_USERS_CONDITION_H

#include "raft/base/bytes.h"

enum condition_kind {
    CONDITION_NONE, /* the header field was not there */
    CONDITION_ANY,  /* "*" */
    CONDITION_LIST,
};

#define CONDITION_TAGS_MAX  64u
#define CONDITION_BYTES_MAX (8u * CONDITION_TAGS_MAX)

struct condition {
    enum condition_kind kind;
    struct bytes tags; /* LIST: 64-bit indexes, little-endian, one after the other */
};

/* Is one of the condition's tags this one, or is it ANY? For something that exists. */
bool condition_matches(const struct condition *condition, uint64_t tag);

/* RFC 9110 §13.2.2 for a request that changes what has this tag: false is 412. */
bool conditions_hold(const struct condition *if_match, const struct condition *if_none_match,
                     uint64_t tag);

#endif
