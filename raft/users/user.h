/*
 * A user: the one schema of what is kept of each. Commands, records, answers, JSON, snapshots,
 * backups and the API's checks of a body are all made from the rows below.
 *
 * A row is T(name, limit, need, found by, check, demand):
 *   name      the member in JSON and in C
 *   limit     of its bytes of UTF-8
 *   need      REQUIRED, or OPTIONAL: then an empty text is none
 *   found by  NOTHING; EXACT: users are indexed by it (which of these a list can be asked for say
 *             wire/call.h and the API); UNIQUE: that too, without ASCII case, and no two users
 *             have the same
 *   check     bool check(struct bytes): may the text be so?
 *   demand    what a text that fails the check must be, for people
 *
 * On disks and wires the texts stand in this order, so a new one is the last, and optional: those
 * at the end that are empty are left out, but for the first USER_TEXTS_ALWAYS, and what was written
 * before a row came has none. A text that a program has no row for is refused.
 */
#ifndef ROLLCALL_USERS_USER_H
#define ROLLCALL_USERS_USER_H

#include "raft/base/json.h"
#include "raft/base/schema.h"

#define USER_NAME_BYTES_MAX 1024u
/* RFC 5321 §4.5.3.1.3: a path of 256 octets, less its angle brackets. */
#define USER_EMAIL_BYTES_MAX 254u

/*
 * True for what may be an email: HTML's rule for addresses (a valid e-mail address), extended to
 * letters beyond ASCII (RFC 6531). 64 bytes before the '@', labels of 1 to 63 bytes after it, 254
 * bytes in all. Beyond ASCII whatever is surely no letter is refused: controls, blanks, what has no
 * width or turns the direction of writing, punctuation, symbols, what is private or unassigned for
 * ever. By a table, so that every node of every version judges alike.
 */
bool user_email_valid(struct bytes email);

/* clang-format off */
#define USER_TEXTS(T)                                                                            \
    T(name,  USER_NAME_BYTES_MAX,  REQUIRED, EXACT,  json_utf8_valid,  "must be UTF-8")          \
    T(email, USER_EMAIL_BYTES_MAX, OPTIONAL, UNIQUE, user_email_valid,                           \
      "must be an address as name@host: up to 64 bytes, one `@`, labels with dots between; "     \
      "letters of any script, no blanks, controls or quotes")
/* clang-format on */

/* Largest id: what every JSON reader keeps exactly (RFC 8259 §6). */
#define USER_ID_MAX                                            ((UINT64_C(1) << 53) - 1)

#define USER_TEXT_NUMBER(name, limit, need, by, check, demand) USER_TEXT_##name,
enum user_text { USER_TEXTS(USER_TEXT_NUMBER) USER_TEXTS_COUNT };

/* See above. Never changed. */
#define USER_TEXTS_ALWAYS 2u

/* clang-format off */
#define USER_TEXT_LIMIT(name, limit, need, by, check, demand) + (limit)
/* clang-format on */
/* Of all texts of a user together, and with a length of 32 bits before each. */
#define USER_TEXTS_BYTES_MAX     (0u USER_TEXTS(USER_TEXT_LIMIT))
#define USER_TEXTS_PUT_BYTES_MAX (USER_TEXTS_BYTES_MAX + 4u * USER_TEXTS_COUNT)

enum user_text_need { USER_TEXT_REQUIRED, USER_TEXT_OPTIONAL };
enum user_text_by { USER_TEXT_BY_NOTHING, USER_TEXT_BY_EXACT, USER_TEXT_BY_UNIQUE };

struct user_text_row {
    const char *name;
    struct bytes json; /* ,"name": */
    uint32_t bytes_max;
    enum user_text_need need;
    enum user_text_by by;
    bool (*valid)(struct bytes text);
    const char *demand;
};
extern const struct user_text_row user_text_rows[USER_TEXTS_COUNT];

#define USER_TEXT_MEMBER(name, limit, need, by, check, demand) struct bytes name;

/* By number, and by name. */
struct user_texts {
    union {
        struct bytes at[USER_TEXTS_COUNT];
        struct {
            USER_TEXTS(USER_TEXT_MEMBER)
        };
    };
};

/* A user as the outside sees it: a borrowed view, valid while the state it came from is. */
struct user {
    uint64_t id;
    uint64_t index; /* raft index of the last change: the ETag */
    union {
        struct user_texts texts;
        struct {
            USER_TEXTS(USER_TEXT_MEMBER)
        };
    };
};

/* May a user have this? It is within its limit and passes its check, or is optional and none. */
bool user_text_valid(enum user_text text, struct bytes value);
/* All of them. */
bool user_texts_valid(const struct user_texts *texts);
/* Within the limits: what a decoder of a node's answer asks. */
bool user_texts_fit(const struct user_texts *texts);
bool user_texts_equal(const struct user_texts *a, const struct user_texts *b);
size_t user_texts_bytes(const struct user_texts *texts);

/* A field of schemas, the last of its message: all that is left of the bytes. */
#define SCHEMA_TYPE_texts struct user_texts
void put_texts(struct writer *out, struct user_texts texts);
struct user_texts get_texts(struct reader *in);
void print_texts(struct writer *out, const char *name, struct user_texts texts);

/*
 * A user in a packed list: id, index, texts. The top byte of the id says how many texts there are
 * beyond the first USER_TEXTS_ALWAYS.
 */
#define USER_PACKED_BYTES_MAX (16u + USER_TEXTS_PUT_BYTES_MAX)
size_t user_packed_bytes(const struct user *user);
void user_put(struct writer *out, const struct user *user);
struct user user_get(struct reader *in);

#endif
