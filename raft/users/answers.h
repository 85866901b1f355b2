/*
 * Answers: what recent requests were answered, so that a request tried again happens once.
 *
 * Each answer gets the next sequence number, from 0. They are kept in a persistent tree (tree.h) of
 * pages of USERS_PAGE, and leave it in the order in which they came: as soon as more than `max` are
 * remembered the oldest page goes whole. So what is remembered depends on the log alone. The lookup
 * from request id to sequence number is derived from the tree and part of no version.
 */
#ifndef ROLLCALL_USERS_ANSWERS_H
#define ROLLCALL_USERS_ANSWERS_H

#include "raft/users/lookup.h"
#include "raft/users/tree.h"
#include "raft/users/users.h"

struct answers {
    struct tree tree;
    struct lookup lookup;
    uint64_t max;
    uint64_t first, next; /* sequence numbers: oldest remembered, next to give */
    uint64_t digest;      /* sum of the hashes of all remembered answers */
};

void answers_init(struct answers *answers, uint64_t max);
void answers_done(struct answers *answers);

/* The answer to the request with this id; false when none is remembered. */
bool answers_find(const struct answers *answers, const struct request_id *id,
                  struct users_answer *ret_answer);

/* Remembers the answer to a request of which none is remembered; the oldest may go. */
void answers_remember(struct answers *answers, const struct request_id *id,
                      const struct users_answer *answer);

/*
 * Remembers as answers_remember did when `past` was first given, oldest answer first. -EBADMSG
 * when it cannot follow those before it: their numbers are consecutive and begin with a page, their
 * indexes rise, no id is twice among them, and they are at most `max`.
 */
NODISCARD int answers_load(struct answers *answers, const struct users_past *past);

/* See users_diff_answers. `old` may be NULL. */
bool answers_diff(const struct tree *old, const struct tree *now, uint64_t from,
                  struct users_past_page *ret_page);

/* The log entry that an answer speaks of. */
uint64_t answer_index(const struct users_answer *answer);
/* The largest user id that an answer gave away; 0 for none. */
uint64_t answer_user_id(const struct users_answer *answer);

/*
 * Asserts that the tree is sound, no more than `versions` of it being held, that lookup, counts and
 * digest agree with it, and that its answers are in order and name no id ≥ `next_id` and no index
 * above `index`.
 */
void answers_check(const struct answers *answers, uint32_t versions, uint64_t next_id,
                   uint64_t index);

#endif
