/* What Redis holds of a node, loaded as the node would. */
#ifndef ROLLCALL_CTL_STORED_H
#define ROLLCALL_CTL_STORED_H

#include "raft/users/users.h"
#include "raft/wire/members.h"

/*
 * Into a fresh state; `id` is the cluster's, zeros when it is not known. -ENODATA: it holds nothing
 * of this node. -EBADMSG: what it holds cannot be used, and -ENOTCONN: it does not answer; see the
 * text. The state is then only good for users_free.
 */
NODISCARD int stored_load(const char *socket, const char *cluster, struct raft_cluster_id id,
                          uint64_t node, struct users *users, raft_term *ret_term,
                          struct members *ret_members, char *ret_text, size_t text_bytes);

#endif
