/*
 * A state, a store, and the snapshots between them: saved and loaded to their end, and what came of
 * it remembered.
 */
#ifndef ROLLCALL_TESTS_SNAPSHOTS_RIG_H
#define ROLLCALL_TESTS_SNAPSHOTS_RIG_H

#include "raft/snapshots/snapshots.h"
#include "tests/snapshots/fake_store.h"
#include "tests/users/support.h"

#define META  "rollcall:test:1:meta"
#define USERS "rollcall:test:1:users"

/* As the store is set: each way in which it may make a snapshot durable, or not. */
struct setting {
    const char *name;
    enum fake_append append;
    bool knows_waitaof;
    bool config_forbidden;
    bool durable; /* it can */
};
extern const struct setting settings[];
extern const size_t settings_count;

struct snapshots_rig {
    struct fake_store store;
    struct snapshots *snapshots;
    struct users *users; /* what is saved */
    uint64_t index;      /* of the last entry applied */

    bool ended; /* the last save or load */
    bool durable, full;
    uint64_t saved_index, users_written;
    char text[600];
    enum snapshots_found found;
    uint32_t lost; /* so often was it told that the store lost what it held, */
    char lost_text[600];
};

struct snapshots_rig *snapshots_rig_new(const struct setting *setting);
void snapshots_rig_free(struct snapshots_rig *rig);

/* Applies `count` more creates; names of every kind and length. */
void snapshots_rig_create(struct snapshots_rig *rig, uint64_t count);

void snapshots_rig_begin_save(struct snapshots_rig *rig);
/* Begins and ends a save of the state as it is: whether it is durable. */
bool snapshots_rig_save(struct snapshots_rig *rig);
/* A save of this view. */
bool snapshots_rig_save_view(struct snapshots_rig *rig, struct users_view *take_view);

/* Snapshots of another node or cluster, in the rig's store and heard by the rig. */
struct snapshots *snapshots_rig_of(struct snapshots_rig *rig, const char *cluster, uint64_t node);

/* Looks once, and hears of it. */
void snapshots_rig_look(struct snapshots_rig *rig);

/* What another process that starts now would load; NULL unless it is a whole state. */
struct users *snapshots_rig_load(struct snapshots_rig *rig);
/* Loads, and compares to what `meta` says: nothing but a state that is whole is ever loaded. */
bool snapshots_rig_holds(struct snapshots_rig *rig, struct users_meta meta);

/* A load while somebody empties the store after so many of its steps; false: it ended before. */
bool snapshots_rig_load_emptied(struct snapshots_rig *rig, int steps);

/* What another process would find that starts in the midst of what goes on: nothing is disturbed.
 */
enum snapshots_found snapshots_rig_next_process(struct snapshots_rig *rig);

/* A new process: nothing is known of what the store holds, but what is loaded. */
void snapshots_rig_restart(struct snapshots_rig *rig);

#endif
