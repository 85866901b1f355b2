/*
 * What may be asked of the directory, and what it answers: the language of the replicated state.
 *
 * A request is a command with the id under which its answer is remembered and the leader's clock;
 * its bytes are the payload of a log entry. Tags are on disks: never reused, never changed.
 */
#ifndef ROLLCALL_USERS_COMMAND_H
#define ROLLCALL_USERS_COMMAND_H

#include "raft/base/schema.h"

#define USER_NAME_BYTES_MAX 1024u
/* Largest id: what every JSON reader keeps exactly (RFC 8259 §6). */
#define USER_ID_MAX ((UINT64_C(1) << 53) - 1)
/* Largest encoded command, and largest request: the command, its tag, id and time. */
#define USERS_COMMAND_BYTES_MAX (USER_NAME_BYTES_MAX + 64u)
#define USERS_REQUEST_BYTES_MAX (USERS_COMMAND_BYTES_MAX + 32u)

/* clang-format off */
#define USERS_COMMANDS(M) \
    M(USERS_CREATE, users_create, create, 1)

#define USERS_CREATE_FIELDS(F) F(bytes, name)

/*
 * CREATED: the user has `id`, and was made by the log entry `index`.
 * REJECTED: a command that the state does not take (too long a name, no id left, bytes that are no
 * command); nothing changed. A worker that checks its input never sees it.
 */
#define USERS_ANSWERS(M) \
    M(USERS_CREATED, users_created, created, 1) \
    M(USERS_REJECTED, users_rejected, rejected, 2)

#define USERS_CREATED_FIELDS(F)  F(u64, id) F(u64, index)
#define USERS_REJECTED_FIELDS(F) F(u64, index)
/* clang-format on */

USERS_COMMANDS(SCHEMA_FAMILY_STRUCT)
USERS_ANSWERS(SCHEMA_FAMILY_STRUCT)

enum users_command_kind { USERS_COMMANDS(SCHEMA_FAMILY_ENUM) };
enum users_answer_kind { USERS_ANSWERS(SCHEMA_FAMILY_ENUM) };

struct users_command {
    enum users_command_kind kind;
    union {
        USERS_COMMANDS(SCHEMA_FAMILY_ARM)
    };
};

struct users_answer {
    enum users_answer_kind kind;
    union {
        USERS_ANSWERS(SCHEMA_FAMILY_ARM)
    };
};

/* The payload of a log entry. `time_ms` is the leader's wall clock, since 1970. */
struct users_request {
    struct request_id id;
    uint64_t time_ms;
    struct users_command command;
};

/* A user as the outside sees it: a borrowed view, valid while the state it came from is. */
struct user {
    uint64_t id;
    uint64_t index; /* raft index of the last change: the ETag */
    struct bytes name;
};

void users_command_put(struct writer *out, const struct users_command *value);
void users_answer_put(struct writer *out, const struct users_answer *value);
void users_request_put(struct writer *out, const struct users_request *value);

/* Decode all of `bytes`; -EBADMSG when it is not exactly one. Slices point into `bytes`. */
NODISCARD int users_command_decode(struct bytes bytes, struct users_command *ret_command);
NODISCARD int users_answer_decode(struct bytes bytes, struct users_answer *ret_answer);
NODISCARD int users_request_decode(struct bytes bytes, struct users_request *ret_request);

/* One line for people: "USERS_CREATE name="Alice"". */
void users_command_print(struct writer *out, const struct users_command *value);
void users_answer_print(struct writer *out, const struct users_answer *value);

/* A user in a packed list: id, index, name. What wire/call's USERS carries. */
void user_put(struct writer *out, const struct user *user);
struct user user_get(struct reader *in);

#endif
