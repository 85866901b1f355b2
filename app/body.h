/*
 * JSON bodies → users. The only file that knows json-c.
 *
 * json-c takes what RFC 8259 does not, and changes it silently (NaN, raw control characters, lone
 * surrogates, overlong UTF-8, all but the last of equal keys, bytes after a NUL). So json_check
 * judges the whole text first, the members of the object are found here, and json-c is given only
 * the one value that is wanted, where that has escapes to resolve.
 */
#ifndef ROLLCALL_APP_BODY_H
#define ROLLCALL_APP_BODY_H

#include "raft/base/json.h"
#include "raft/users/command.h"

/* Enough for every sentence that is written here. */
#define BODY_FAULT_BYTES_MAX 256u

struct body_fault {
    bool malformed; /* no JSON: 400; else not a user: 422 */
    char what[BODY_FAULT_BYTES_MAX];
};

/* Where the texts of a user go, one after the other. */
struct body_text {
    uint8_t at[USER_TEXTS_BYTES_MAX];
};

/* Borrowed from a struct body_text. */
struct body_user {
    uint8_t sets; /* those that are there: USERS_SETS */
    struct user_texts texts;
    struct bytes id; /* what `id` is, as JSON, borrowed from the body; empty when it is not there */
};

/*
 * {"name":"Alice","email":"alice@example.org"}, what is optional may be missing or null. Unknown
 * members are ignored. -EBADMSG and *ret_fault when the text is no JSON, or is not a user.
 */
NODISCARD int body_read_user(struct bytes text, struct body_text *store, struct body_user *ret_user,
                             struct body_fault *ret_fault);

/*
 * A merge patch (RFC 7396) for a user: what it has is set, an optional text of null is taken away.
 * -EBADMSG and *ret_fault likewise, also for one that would leave no user behind.
 */
NODISCARD int body_read_patch(struct bytes text, struct body_text *store,
                              struct body_user *ret_user, struct body_fault *ret_fault);

#endif
