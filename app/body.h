/*
 * JSON bodies ⇄ commands and answers. The only file that knows json-c.
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

/*
 * {"name":"Alice"} → CREATE. Its name is written to `store`, which must live as long as the
 * command. -EBADMSG and *ret_fault when the text is no JSON, or is not a user.
 */
NODISCARD int body_read_create(struct bytes text, uint8_t store[static USER_NAME_BYTES_MAX],
                               struct users_command *ret_command, struct body_fault *ret_fault);

/* {"id":1,"name":"Alice"} */
void body_put_user(struct writer *out, const struct user *user);

/* The most bytes that body_put_user writes, with a comma to spare. */
#define BODY_USER_BYTES_MAX (JSON_STRING_BYTES_MAX(USER_NAME_BYTES_MAX) + 48u)

#endif
