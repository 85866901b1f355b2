/*
 * The replicated state: the users, and the answers of recent requests. Pure and deterministic: the
 * same requests applied in the same order give the same state, digest included, on every node. It
 * knows nothing of consensus; `index` is a number that its driver hands in, rising by each apply.
 *
 * Users live in a persistent radix tree by id (tree.h), so that pinning a version costs nothing and
 * the difference of two versions is found by skipping the pages that they share; indexes by name
 * and by email (index.h) stand beside it. Answers live in two more such trees by their sequence
 * number (answers.h), the oldest leaving page by page.
 *
 * Memory: allocates as the directory grows, nothing else does here; out of memory ends the process.
 * One thread at a time.
 */
#ifndef ROLLCALL_USERS_USERS_H
#define ROLLCALL_USERS_USERS_H

#include "raft/users/command.h"

/*
 * So many answers are remembered before the oldest go: over a minute of writes at 30,000 a second.
 * Part of the replicated state: every node of a cluster has the same.
 */
#define USERS_ANSWERS_MAX (UINT64_C(1) << 21)
/* Answers under an Idempotency-Key: so many, and for so long by the clocks in the log. */
#define USERS_KEYS_MAX UINT64_C(1000000)
#define USERS_KEYS_MS  (UINT64_C(24) * 3600 * 1000)

/* Users and answers travel to snapshots in pages of so many consecutive ids or sequence numbers. */
#define USERS_PAGE 64u

struct users;

/*
 * `answers_max` is USERS_ANSWERS_MAX; tests take less, and then no more keys are remembered either.
 * A multiple of USERS_PAGE, not 0.
 */
struct users *users_new(uint64_t answers_max);
/* Views that are still pinned stay good until they are unpinned. */
void users_free(struct users *users);

/*
 * Applies the request of log entry `index`, which must be above every index before. A request whose
 * id is remembered changes nothing: it has the answer that it had the first time, or ID_REUSED when
 * another command came under that id. One whose key is remembered with its fingerprint has the
 * first answer, too, save that the answer says so. Slices of the answer are
 * borrowed from the state, until the next call that changes it.
 *
 * Order of checks: id and key, user there, conditions (RFC 9110 §13.2), email not taken. A REPLACE
 * or PATCH after which the user is what it was leaves its etag as it was.
 */
struct users_answer users_apply(struct users *users, uint64_t index,
                                const struct users_request *request);

/* A log entry that holds no request (a leader's first, a configuration) was applied. */
void users_skip(struct users *users, uint64_t index);

/*
 * True when a request with this id was applied and its answer, so borrowed, is remembered. With a
 * `command`: what this one has for an answer then, ID_REUSED where it was another.
 */
bool users_answered(const struct users *users, const struct request_id *id,
                    const struct users_command *command, struct users_answer *ret_answer);

/* See command.h. */
struct users_meta users_meta(const struct users *users);
/* Of all that the next commands can see: equal where the same entries were applied. O(1). */
uint64_t users_digest(const struct users *users);

/* --- versions ------------------------------------------------------------------------------------
 *
 * A view is one version, unchanged by later applies, until it is unpinned. Pinning is O(1); what a
 * view keeps alive is only what changed since. Users seen through it are borrowed from it.
 */
struct users_view;

struct users_view *users_pin(struct users *users);
/* One in which users can be looked for, too: what the indexes change meanwhile, which is a little
 * everywhere, they copy. Not for keeping. */
struct users_view *users_pin_indexed(struct users *users);
void users_unpin(struct users_view *view); /* NULL is fine */
struct users_meta users_view_meta(const struct users_view *view);

/* The user with this id, false where there is none. */
bool users_view_get(const struct users_view *view, uint64_t id, struct user *ret_user);

/*
 * Packs users (user_put) with ids above `after`, ascending, as long as they fit `out` whole and are
 * at most `limit` (0: no limit). Returns the last id packed (or `after`), and whether no user comes
 * after it. Never makes the writer bad.
 */
uint64_t users_view_list(const struct users_view *view, uint64_t after, uint32_t limit,
                         struct writer *out, bool *ret_last);

/*
 * The same for those users only whose name, byte by byte, or whose email, but for ASCII case, is
 * `text`. Of an indexed view.
 */
uint64_t users_view_find(const struct users_view *view, enum user_text by, struct bytes text,
                         uint64_t after, uint32_t limit, struct writer *out, bool *ret_last);

/* --- snapshots -----------------------------------------------------------------------------------
 *
 * A page holds what one version has of USERS_PAGE consecutive numbers: users with ids
 * [number * USERS_PAGE, …), or answers with such sequence numbers. Both tables of answers make one
 * row of pages: those of keyed ones are numbered from USERS_KEYED on.
 */
#define USERS_KEYED (UINT64_C(1) << 63)

struct users_page {
    uint64_t number;
    uint32_t count;             /* users in this page now; 0: the page is gone */
    struct user at[USERS_PAGE]; /* ascending by id */
    uint64_t changed;           /* bit i: at[i] is not what the older version had */
    uint32_t removed;           /* ids that the older version had and this one has not */
    uint64_t removed_id[USERS_PAGE];
};

struct users_past {
    uint64_t sequence;
    bool keyed;     /* `id` is that of a key, and is followed by what belongs to one */
    bool forgotten; /* nothing is known but its place and its id */
    struct request_id id;
    uint64_t command; /* not keyed: users_command_digest of the request; keyed: 0 */
    struct request_id fingerprint;
    uint64_t time_ms;
    struct users_answer answer;
};

struct users_past_page {
    uint64_t number;
    uint32_t count;                   /* 0: the page is gone */
    struct users_past at[USERS_PAGE]; /* ascending by sequence; borrowed from the version */
};

/*
 * The first page with number ≥ `from` in which `now` differs from `old` (NULL: from nothing); false
 * when there is none. (Versions of one state share what did not change. Of two states every page
 * is given, with nothing changed in it perhaps.) Cost: the depth of the tree and the pages skipped,
 * not what they hold; a caller takes as many as its turn allows and comes back with number + 1.
 */
bool users_diff(const struct users_view *old, const struct users_view *now, uint64_t from,
                struct users_page *ret_page);
bool users_diff_answers(const struct users_view *old, const struct users_view *now, uint64_t from,
                        struct users_past_page *ret_page);

/*
 * Loading a snapshot into a fresh state: users ascending by id, answers of each table ascending by
 * sequence number (in any interleaving), then users_load_done. -EBADMSG when one is out of order or
 * impossible, or when what was loaded is not what `meta` says (counts, digest); the state is then
 * only good for users_free.
 */
NODISCARD int users_load_user(struct users *users, const struct user *user);
NODISCARD int users_load_answer(struct users *users, const struct users_past *past);
NODISCARD int users_load_done(struct users *users, const struct users_meta *meta);

/*
 * Moves index and next id so far up that nothing this state's past life may have handed out after
 * it was saved is handed out again: USERS_LIFE entries and ids are left out, and up to
 * USERS_LIFE_SPREAD more, as `seed` says, so that two lives that begin with the same state hand out
 * different ones. For a state that begins another cluster. False: the ids do not suffice; nothing
 * is changed.
 */
#define USERS_LIFE        (UINT64_C(1) << 40)
#define USERS_LIFE_SPREAD (UINT64_C(1) << 46)
NODISCARD bool users_begin_life(struct users *users, uint64_t seed);

/* Asserts every invariant, at the cost of a walk over everything: for tests. Not while loading. */
void users_check(const struct users *users);

#endif
