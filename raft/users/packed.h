/*
 * Users and answers packed in a row: how they travel from node to node, and to a backup and back.
 * A user is what user_put says; an answer is what it is of (3: a request id, 1: a key, 2: one that
 * is forgotten), its sequence number and id, for a request id the digest of the command, for a key
 * fingerprint and time, and its bytes. (0 was a request id without such a digest.)
 */
#ifndef ROLLCALL_USERS_PACKED_H
#define ROLLCALL_USERS_PACKED_H

#include "raft/users/users.h"

/* Bytes that a packed answer takes at most. */
#define PACKED_ANSWER_BYTES_MAX (USERS_ANSWER_BYTES_MAX + 64u)

/*
 * Packs the answers from sequence number `from` on, those of keys (numbered from USERS_KEYED on)
 * after all others, as long as the next surely fits. Returns the number to go on with, and whether
 * none is left. (Users: users_view_list.)
 */
uint64_t packed_put_answers(const struct users_view *view, uint64_t from, struct writer *out,
                            bool *ret_last);

/* Hands each to the state that is being loaded; -EBADMSG as users_load_user, or no such bytes. */
NODISCARD int packed_load_users(struct users *users, struct bytes packed);
NODISCARD int packed_load_answers(struct users *users, struct bytes packed);

#endif
