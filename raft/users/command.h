/*
 * What may be asked of the directory, and what it answers: the language of the replicated state.
 *
 * A request is a command with the id under which its answer is remembered and the leader's clock;
 * its bytes are the payload of a log entry. Tags are on disks: never reused, never changed.
 */
#ifndef ROLLCALL_USERS_COMMAND_H
#define ROLLCALL_USERS_COMMAND_H

#include "raft/users/condition.h"
#include "raft/users/user.h"

/* Largest encoded command, and largest request: the command, its id and time. */
#define USERS_COMMAND_BYTES_MAX (USER_TEXTS_PUT_BYTES_MAX + 2 * CONDITION_BYTES_MAX + 88u)
#define USERS_REQUEST_BYTES_MAX (USERS_COMMAND_BYTES_MAX + 32u)

/* clang-format off */
/*
 * CREATE: a new user. REPLACE: PUT. PATCH: the texts that `sets` says, a bit 1 << enum user_text
 * each; the others stay. Tag 1 was CREATE before users had an email.
 */
#define USERS_COMMANDS(M) \
    M(USERS_CREATE,  users_create,  create,  2) \
    M(USERS_REPLACE, users_replace, replace, 3) \
    M(USERS_PATCH,   users_patch,   patch,   4) \
    M(USERS_DELETE,  users_delete,  delete,  5)

#define USERS_CREATE_FIELDS(F)  F(texts, texts)
#define USERS_REPLACE_FIELDS(F) F(u64, id) F(texts, texts)
#define USERS_PATCH_FIELDS(F)   F(u64, id) F(u8, sets) F(texts, texts)
#define USERS_DELETE_FIELDS(F)  F(u64, id)

#define USERS_SETS(text) ((uint8_t)(1u << (text)))
#define USERS_SETS_ALL   ((1u << USER_TEXTS_COUNT) - 1)

/*
 * `etag` is the index of the last change of what the answer speaks of. CREATED, REPLACED, PATCHED,
 * DELETED: done. NOT_FOUND: no user has that id. CONDITION_FAILED: the user (or with id 0 the
 * directory) is not as the request demands. EMAIL_TAKEN: by user `id`. KEY_REUSED: the request of
 * entry `first` came under the same key and was another one; ID_REUSED: under the same request id,
 * which is never remembered. REJECTED: what the state does not take
 * (too long a name, an email that is none, no id left); a worker that checks its input never sees
 * it. Nothing was changed but by the first four.
 */
#define USERS_ANSWERS(M) \
    M(USERS_CREATED,          users_created,          created,           1) \
    M(USERS_REJECTED,         users_rejected,         rejected,          2) \
    M(USERS_REPLACED,         users_replaced,         replaced,          3) \
    M(USERS_PATCHED,          users_patched,          patched,           4) \
    M(USERS_DELETED,          users_deleted,          deleted,           5) \
    M(USERS_NOT_FOUND,        users_not_found,        not_found,         6) \
    M(USERS_CONDITION_FAILED, users_condition_failed, condition_failed,  7) \
    M(USERS_EMAIL_TAKEN,      users_email_taken,      email_taken,       8) \
    M(USERS_KEY_REUSED,       users_key_reused,       key_reused,        9) \
    M(USERS_ID_REUSED,        users_id_reused,        id_reused,        10)

#define USERS_CREATED_FIELDS(F)          F(u64, id) F(u64, etag)
#define USERS_REJECTED_FIELDS(F)         F(u64, id)
#define USERS_REPLACED_FIELDS(F)         F(u64, id) F(u64, etag)
#define USERS_PATCHED_FIELDS(F)          F(u64, id) F(u64, etag) F(texts, texts)
#define USERS_DELETED_FIELDS(F)          F(u64, id)
#define USERS_NOT_FOUND_FIELDS(F)        F(u64, id)
#define USERS_CONDITION_FAILED_FIELDS(F) F(u64, id) F(u64, etag)
#define USERS_EMAIL_TAKEN_FIELDS(F)      F(u64, id)
#define USERS_KEY_REUSED_FIELDS(F)       F(u64, first)
#define USERS_ID_REUSED_FIELDS(F)        F(u64, first)
/* clang-format on */

USERS_COMMANDS(SCHEMA_FAMILY_STRUCT)
USERS_ANSWERS(SCHEMA_FAMILY_STRUCT)

enum users_command_kind { USERS_COMMANDS(SCHEMA_FAMILY_ENUM) };
enum users_answer_kind { USERS_ANSWERS(SCHEMA_FAMILY_ENUM) };

/*
 * A client's Idempotency-Key: `id` is a digest of the key and of who sent it, `fingerprint` one of
 * the whole request, so that another request under the same key is told apart.
 */
struct users_key {
    struct request_id id;
    struct request_id fingerprint;
};

struct users_command {
    bool keyed;
    struct users_key key; /* where it is keyed */
    /* RFC 9110 §13.1: what the user, or for CREATE the directory, must be like. */
    struct condition if_match, if_none_match;
    enum users_command_kind kind;
    union {
        USERS_COMMANDS(SCHEMA_FAMILY_ARM)
    };
};

struct users_answer {
    uint64_t index; /* of the log entry that was so answered */
    bool replayed;  /* the answer to an earlier request under the same key: nothing happened now */
    enum users_answer_kind kind;
    union {
        USERS_ANSWERS(SCHEMA_FAMILY_ARM)
    };
};

/* Largest encoded answer. */
#define USERS_ANSWER_BYTES_MAX (USER_TEXTS_PUT_BYTES_MAX + 40u)

/* The payload of a log entry. `time_ms` is the leader's wall clock, since 1970, where
 * that does not run ahead (replica/writes.c). */
struct users_request {
    struct request_id id;
    uint64_t time_ms;
    struct users_command command;
};

/*
 * What is true of one version of the state beside its index, and what a snapshot says of itself.
 *   users           how many there are
 *   next_id         what the next user gets; ids are never used twice
 *   changed         index of the last change to any user: the ETag of the list
 *   time_ms         the latest of the leaders' clocks that came with requests
 *   answers_first, answers_next   of recent requests: sequence number of the oldest remembered, and
 *                   what the next gets
 *   keys_first, keys_next         the same of answers under an Idempotency-Key
 *   digest          of all users and remembered answers, whatever their order
 */
/* clang-format off */
#define USERS_META_FIELDS(F) \
    F(u64, users) F(u64, next_id) F(u64, changed) F(u64, time_ms) \
    F(u64, answers_first) F(u64, answers_next) F(u64, keys_first) F(u64, keys_next) F(u64, digest)
/* clang-format on */

/* In an initialiser of what has these fields: from a struct `meta`, or a pointer of one of
 * these names, that has them too. */
#define USERS_META_FROM_meta(type, name)    .name = meta.name,
#define USERS_META_FROM_head(type, name)    .name = head->name,
#define USERS_META_FROM_offer(type, name)   .name = offer->name,
#define USERS_META_FROM_version(type, name) .name = version->name,

struct users_meta {
    uint64_t index; /* of the last entry applied or skipped; 0 at first */
    USERS_META_FIELDS(SCHEMA_MEMBER)
};

void users_command_put(struct writer *out, const struct users_command *value);
void users_answer_put(struct writer *out, const struct users_answer *value);
void users_request_put(struct writer *out, const struct users_request *value);

/* Decode all of `bytes`; -EBADMSG when it is not exactly one. Slices point into `bytes`. */
NODISCARD int users_command_decode(struct bytes bytes, struct users_command *ret_command);
NODISCARD int users_answer_decode(struct bytes bytes, struct users_answer *ret_answer);
NODISCARD int users_request_decode(struct bytes bytes, struct users_request *ret_request);

/* What tells one command from another under the same request id. Part of the replicated state. */
uint64_t users_command_digest(const struct users_command *command);

/* One line for people: "USERS_CREATE name="Alice"". */
void users_command_print(struct writer *out, const struct users_command *value);
void users_answer_print(struct writer *out, const struct users_answer *value);

/*
 * May this be proposed? What it sets is valid, and it is about a possible user. Who takes commands
 * from others asks; applying refuses the same with REJECTED.
 */
bool users_command_valid(const struct users_command *command);

#endif
