/*
 * Hashes of what clients choose: names, emails, keys. Keyed, so that clients cannot provoke
 * collisions. The key is this process's own: nothing that leaves a node depends on it.
 */
#ifndef ROLLCALL_USERS_HASH_H
#define ROLLCALL_USERS_HASH_H

#include "raft/base/siphash.h"

/* Before the first state is made, once; without it the key is one that everybody knows. */
void users_hash_with(struct siphash_key key);

uint64_t users_hash(struct bytes bytes);
/* The same for texts that differ in ASCII case only. At most USER_EMAIL_BYTES_MAX bytes. */
uint64_t users_hash_ignoring_case(struct bytes text);
bool users_equal_ignoring_case(struct bytes a, struct bytes b);

#endif
