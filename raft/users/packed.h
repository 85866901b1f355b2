/*
 * Users and answers packed in a row: how they travel from node to node, and to a backup and back.
 * A user is what user_put says; an answer is its sequence number, its request id and its bytes.
 */
#ifndef ROLLCALL_USERS_PACKED_H
#define ROLLCALL_USERS_PACKED_H

#include "raft/users/users.h"

/* Bytes that a page of packed answers takes at most. */
#define PACKED_ANSWERS_PAGE_BYTES (USERS_PAGE * 96u)

/*
 * Packs the answers of page `from` and those after it, whole pages, as long as the next surely
 * fits. Returns the page to go on with, and whether none is left. (Users: users_view_list.)
 */
uint64_t packed_put_answers(const struct users_view *view, uint64_t from, struct writer *out,
                            bool *ret_last);

/* Hands each to the state that is being loaded; -EBADMSG as users_load_user, or no such bytes. */
NODISCARD int packed_load_users(struct users *users, struct bytes packed);
NODISCARD int packed_load_answers(struct users *users, struct bytes packed);

#endif
