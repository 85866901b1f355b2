/* A user as JSON: {"id":7,"name":"Alice"}, the form in answers and in snapshots. */
#ifndef ROLLCALL_USERS_USER_JSON_H
#define ROLLCALL_USERS_USER_JSON_H

#include "raft/base/json.h"
#include "raft/users/command.h"

/* The most bytes that user_json_put writes. */
#define USER_JSON_BYTES_MAX (JSON_STRING_BYTES_MAX(USER_NAME_BYTES_MAX) + 64u)

void user_json_put(struct writer *out, const struct user *user);

/*
 * Reads exactly what user_json_put wrote (its index is 0: the JSON does not tell it). The name is
 * written to `name`, and borrowed from there. -EBADMSG for anything else.
 */
NODISCARD int user_json_decode(struct bytes text, struct writer *name, struct user *ret_user);

#endif
