/*
 * A user as JSON, the form in answers and in snapshots: {"id":7,"name":"Alice"}, and where there
 * are such, the optional texts in the order of user.h: ,"email":"alice@example.org"}.
 */
#ifndef ROLLCALL_USERS_USER_JSON_H
#define ROLLCALL_USERS_USER_JSON_H

#include "raft/base/json.h"
#include "raft/users/command.h"

/* The most bytes that user_json_put writes. */
#define USER_JSON_TEXT_BYTES(name, limit, need, by, check, demand) \
    +JSON_STRING_BYTES_MAX(limit) + sizeof(",\"" #name "\":")
#define USER_JSON_BYTES_MAX (40u USER_TEXTS(USER_JSON_TEXT_BYTES))

void user_json_put(struct writer *out, const struct user *user);

/*
 * Reads what user_json_put wrote (its index is 0: the JSON does not tell it). Its texts are written
 * to `texts`, and borrowed from there. A bad reader, or writer, for anything else.
 */
struct user user_json_get(struct reader *in, struct writer *texts);
/* Exactly that and nothing after it, or -EBADMSG. */
NODISCARD int user_json_decode(struct bytes text, struct writer *texts, struct user *ret_user);

#endif
