/* struct users and its views, for users.c, apply.c and users_view.c only. */
#ifndef ROLLCALL_USERS_USERS_STATE_H
#define ROLLCALL_USERS_USERS_STATE_H

#include "raft/users/answers.h"
#include "raft/users/index.h"
#include "raft/users/records.h"
#include "raft/users/users.h"

enum users_phase {
    USERS_FRESH,   /* nothing was applied or loaded */
    USERS_LOADING, /* a snapshot is being loaded: not a state yet */
    USERS_RUNNING,
};

struct users {
    struct records records;
    struct index by[USER_TEXTS_COUNT]; /* of texts that are found by, where a user has one */
    struct answers recent, keys;
    uint64_t index;      /* of the last entry; while loading, the largest seen */
    uint64_t changed;    /* of the last change to any user; likewise */
    uint64_t time_ms;    /* the latest that came with a request */
    uint64_t next_id;    /* while loading, above every id seen in users and answers */
    uint64_t load_after; /* while loading: the id of the last user loaded */
    enum users_phase phase;
    uint32_t views; /* pinned */
    bool freed;     /* only `views` is still of use */
};

struct users_view {
    struct users *users;
    struct tree records, recent, keys;
    struct index by[USER_TEXTS_COUNT]; /* empty unless `indexed` */
    bool indexed;
    struct users_meta meta;
};

/* --- users.c: users, and the indexes of their texts */
void users_add(struct users *users, const struct user *user);
/* `was` may be borrowed from the state. */
void users_replace_by(struct users *users, const struct user *was, const struct user *user);
void users_remove(struct users *users, const struct user *was, uint64_t index);
/* Another user than `id` that has one of these texts that nobody shares; 0 for nobody. */
uint64_t users_taken_by(const struct users *users, const struct user_texts *texts, uint64_t id);
/* Of a text that users are found by: is it in the index? */
bool users_is_indexed(enum user_text text, struct bytes value);
uint64_t users_text_hash(enum user_text text, struct bytes value);
bool users_texts_same(enum user_text text, struct bytes a, struct bytes b);
void users_raise(uint64_t *number, uint64_t at_least);
/* Of a state that was freed: when nothing is pinned any more. */
void users_free_when_unused(struct users *users);

#endif
