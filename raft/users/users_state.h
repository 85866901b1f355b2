/* struct users and its views, for users.c and users_view.c only. */
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
    struct index names, emails; /* indexes of the records; emails only of those that have one */
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
    struct index names, emails; /* empty unless `indexed` */
    bool indexed;
    struct users_meta meta;
};

/* --- users.c */
/* Of a state that was freed: when nothing is pinned any more. */
void users_free_when_unused(struct users *users);

/* --- users_view.c */
/* Has the user what is looked for? */
bool users_is_match(const struct user *user, enum users_by by, struct bytes text);

#endif
