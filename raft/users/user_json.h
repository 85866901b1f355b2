/*
 * A user as JSON, the form in answers and in snapshots: {"id":7,"name":"Alice"}, and where there is
 * one ,"email":"alice@example.org"}.
 */
#ifndef ROLLCALL_USERS_USER_JSON_H
#define ROLLCALL_USERS_USER_JSON_H

#include "raft/base/json.h"
#include "raft/users/command.h"

/* The most bytes that user_json_put writes. */
#define USER_JSON_BYTES_MAX \
    (JSON_STRING_BYTES_MAX(USER_NAME_BYTES_MAX) + JSON_STRING_BYTES_MAX(USER_EMAIL_BYTES_MAX) + 64u)

void user_json_put(struct writer *out, const struct user *user);

/*
 * Reads what user_json_put wrote (its index is 0: the JSON does not tell it). Its texts are written
 * to `texts`, and borrowed from there. A bad reader, or writer, for anything else.
 */
struct user user_json_get(struct reader *in, struct writer *texts);
/* Exactly that and nothing after it, or -EBADMSG. */
NODISCARD int user_json_decode(struct bytes text, struct writer *texts, struct user *ret_user);

#endif
