/*
 * Records: the users themselves, by id, in a persistent tree (tree.h) of pages of USERS_PAGE.
 *
 * A record never changes once it is made. Pages point to records, and each record counts the pages
 * that do: pages of several versions share the records that they have in common.
 */
#ifndef ROLLCALL_USERS_RECORDS_H
#define ROLLCALL_USERS_RECORDS_H

#include "raft/users/tree.h"
#include "raft/users/users.h"

struct user_record;

/* A record of a user, its id apart: with one reference, one more, one less (then it may be gone).
 */
struct user_record *user_record_new(const struct user *user);
struct user_record *user_record_hold(struct user_record *record);
void user_record_drop(struct user_record *record);
/* Borrowed from the record. */
struct user user_record_user(const struct user_record *record, uint64_t id);

struct records {
    struct tree tree;
    uint64_t count;
    uint64_t digest; /* sum of the hashes of all users */
};

void records_init(struct records *records);
void records_done(struct records *records);

/* Keeps a copy of the user, whose id must not be there; or must be, and now is this. */
void records_add(struct records *records, const struct user *user);
void records_replace(struct records *records, const struct user *user);
/* Takes out the user with this id, which must be there. */
void records_remove(struct records *records, uint64_t id);

/* The record of the user with this id, or NULL. */
struct user_record *records_find(const struct tree *tree, uint64_t id);

/* Of one version; users are borrowed from it. See users_view_get, users_view_list, users_diff. */
bool records_get(const struct tree *tree, uint64_t id, struct user *ret_user);
uint64_t records_list(const struct tree *tree, uint64_t after, uint32_t limit, struct writer *out,
                      bool *ret_last);
/* `old` may be NULL. */
bool records_diff(const struct tree *old, const struct tree *now, uint64_t from,
                  struct users_page *ret_page);

/*
 * Asserts that the tree is sound, no more than `versions` of it being held, and that count and
 * digest are those of its users, whose ids are below `next_id` and indexes at most `index`.
 */
void records_check(const struct records *records, uint32_t versions, uint64_t next_id,
                   uint64_t index);

#endif
