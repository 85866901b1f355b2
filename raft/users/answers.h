/*
 * Answers: what requests were answered, so that a request tried again happens once. There are two
 * tables of them: of recent requests by their request id, and of those that came with a client's
 * Idempotency-Key by that, which are kept for longer.
 *
 * Each answer gets the next sequence number of its table, from 0. They are kept in a persistent
 * tree (tree.h) of pages of USERS_PAGE, and leave it in the order in which they came: as soon as
 * more than `max` are remembered the oldest page goes whole. So what is remembered depends on the
 * log alone. The lookup from id to sequence number is derived from the tree and part of no version.
 */
#ifndef ROLLCALL_USERS_ANSWERS_H
#define ROLLCALL_USERS_ANSWERS_H

#include "raft/users/lookup.h"
#include "raft/users/records.h"

/* Texts that the answers of a table may hold, for each that it may remember. */
#define ANSWERS_TEXT_BYTES 256u

struct answers {
    struct tree tree;
    struct lookup lookup;
    bool keyed; /* by Idempotency-Key: each has a fingerprint and a time */
    uint64_t max;
    uint64_t first, next; /* sequence numbers: oldest remembered, next to give */
    uint64_t index;       /* of the newest; 0 for none */
    uint64_t text_bytes;  /* of PATCHED: their names and emails */
    uint64_t digest;      /* sum of the hashes of all remembered answers */
};

void answers_init(struct answers *answers, uint64_t max, bool keyed);
void answers_done(struct answers *answers);

/* The answer to the request with this id; false when none is remembered. Borrowed. */
bool answers_find(const struct answers *answers, const struct request_id *id,
                  struct users_past *ret_past);

/*
 * Remembers the answer to a request of which none is remembered; its sequence number is given here.
 * The oldest may go.
 */
void answers_remember(struct answers *answers, const struct users_past *past);

/* Forgets one that was found, whose place in the sequence stays. */
void answers_forget(struct answers *answers, const struct users_past *past);

/* Keyed: forgets the oldest page if all of it is from before this time. */
void answers_expire(struct answers *answers, uint64_t before_ms);

/*
 * Remembers as answers_remember did when `past` was first given, oldest answer first. -EBADMSG
 * when it cannot follow those before it: their numbers are consecutive and begin with a page, their
 * indexes rise, no id is twice among them, and they are at most `max`; or when it cannot be.
 */
NODISCARD int answers_load(struct answers *answers, const struct users_past *past);

/* See users_diff_answers. `old` may be NULL. Numbers are those of the table. */
bool answers_diff(const struct tree *old, const struct tree *now, uint64_t from,
                  struct users_past_page *ret_page);

/* The user that an answer says there is or was, 0 for none. */
uint64_t answer_user_id(const struct users_answer *answer);

/*
 * Asserts that the tree is sound, no more than `versions` of it being held, that lookup, counts and
 * digest agree with it, and that its answers are in order and name no id ≥ `next_id` and no index
 * above `index`.
 */
void answers_check(const struct answers *answers, uint32_t versions, uint64_t next_id,
                   uint64_t index);

#endif
