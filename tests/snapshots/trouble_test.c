/*
 * Everything that a store can do to a save or a load, at every place where it can. Whatever it is:
 * what is called durable is found by the next process, after a crash of the store too; and what is
 * found is always one whole state, the one saved before or the one being saved.
 */
#include "tests/snapshots/rig.h"

#include <stdio.h>
#include <stdlib.h>

#define USERS_BEFORE 150u
#define USERS_MORE   70u

/* A rig with one snapshot in a store that has it on disk, and a state that went on since. */
struct scene {
    struct snapshots_rig *rig;
    struct users_meta before, after;
};

static struct scene set_scene(const struct setting *setting, bool full)
{
    struct scene scene = {.rig = snapshots_rig_new(setting)};
    snapshots_rig_create(scene.rig, USERS_BEFORE);
    (void)snapshots_rig_save(scene.rig);
    fake_db_copy(&scene.rig->store.file, &scene.rig->store.db);
    scene.before = users_meta(scene.rig->users);
    snapshots_rig_create(scene.rig, USERS_MORE);
    scene.after = users_meta(scene.rig->users);
    if (full)
        snapshots_rig_restart(scene.rig);
    scene.rig->store.commands = 0;
    return scene;
}

/* One whole state is found: the new one for certain when it was called durable. */
static void check_found(struct scene *scene, const char *where, uint64_t at)
{
    bool durable = scene->rig->durable;
    struct users *found = snapshots_rig_load(scene->rig);
    if (found == NULL)
        cr_fatal("%s %lu: nothing whole is found: %s", where, (unsigned long)at, scene->rig->text);
    struct users_meta meta = users_meta(found);
    if (!metas_equal(meta, scene->after) && (durable || !metas_equal(meta, scene->before)))
        cr_fatal("%s %lu: index %lu is found, durable %d", where, (unsigned long)at,
                 (unsigned long)meta.index, durable);
    users_free(found);
}

/* After the trouble: what is found, now and after a crash; and that the next save is good. */
static void check_scene(struct scene *scene, const char *where, uint64_t at, bool can_be_durable)
{
    struct snapshots_rig *rig = scene->rig;
    bool durable = rig->durable;
    check_found(scene, where, at);
    rig->durable = durable;
    if (durable) {
        fake_store_crash(&rig->store);
        check_found(scene, where, at);
    }
    fake_store_connect(&rig->store);
    bool again = snapshots_rig_save(rig);
    if (again != can_be_durable || !snapshots_rig_holds(rig, scene->after))
        cr_fatal("%s %lu: the next save is not good: %s", where, (unsigned long)at, rig->text);
}

enum trouble { LOSE_BEFORE, LOSE_AFTER, ANSWER_ERROR };

/* Whether the save got as far as command `at`. */
static bool save_with(const struct setting *setting, bool full, enum trouble trouble, uint64_t at)
{
    static const char *const names[] = {"lost before", "lost after", "error at"};
    struct scene scene = set_scene(setting, full);
    struct fake_store *store = &scene.rig->store;
    store->dump_polls = 2;
    *(trouble == LOSE_BEFORE  ? &store->lose_before
      : trouble == LOSE_AFTER ? &store->lose_after
                              : &store->error_at) = at;
    (void)snapshots_rig_save(scene.rig);
    bool reached = store->commands >= at;
    if (reached && trouble != ANSWER_ERROR && scene.rig->durable)
        cr_fatal("%s %lu: called durable without an answer", names[trouble], (unsigned long)at);
    if (!setting->durable && scene.rig->durable)
        cr_fatal("%s: called durable", setting->name);
    store->lose_before = store->lose_after = store->error_at = 0;
    check_scene(&scene, names[trouble], at, setting->durable);
    snapshots_rig_free(scene.rig);
    return reached;
}

static void save_with_trouble_everywhere(enum trouble trouble)
{
    for (size_t s = 0; s < settings_count; s++) {
        for (int full = 0; full < 2; full++) {
            uint64_t at = 1;
            while (save_with(&settings[s], full, trouble, at))
                at++;
            must(at > 8);
        }
    }
}

Test(snapshots, survive_a_connection_lost_before_any_command_of_a_save)
{
    save_with_trouble_everywhere(LOSE_BEFORE);
}

Test(snapshots, survive_a_connection_lost_before_any_reply_of_a_save)
{
    save_with_trouble_everywhere(LOSE_AFTER);
}

Test(snapshots, survive_an_error_at_any_command_of_a_save)
{
    save_with_trouble_everywhere(ANSWER_ERROR);
}

/* The store dies and is back at once, before any step of the save, also while a dump is awaited. */
Test(snapshots, are_not_durable_when_the_store_dies_before_they_are)
{
    for (size_t s = 0; s < settings_count; s++) {
        for (int full = 0; full < 2; full++) {
            bool ended = false;
            for (uint64_t at = 0; !ended; at++) {
                struct scene scene = set_scene(&settings[s], full);
                struct snapshots_rig *rig = scene.rig;
                rig->store.dump_polls = 2;
                snapshots_rig_begin_save(rig);
                for (uint64_t i = 0; i < at && fake_store_step(&rig->store); i++)
                    ;
                ended = rig->ended;
                if (!ended) {
                    fake_store_crash(&rig->store);
                    fake_store_connect(&rig->store);
                    fake_store_drain(&rig->store);
                }
                must(rig->ended);
                check_scene(&scene, settings[s].name, at, settings[s].durable);
                snapshots_rig_free(rig);
            }
        }
    }
}

/* After each step: whoever dies now, the next process finds a whole state, or that there is none.
 */
static void drain_and_ask_the_next_process(struct snapshots_rig *rig, uint64_t at)
{
    do {
        enum snapshots_found found = snapshots_rig_next_process(rig);
        if (found != SNAPSHOTS_LOADED && found != SNAPSHOTS_NONE)
            cr_fatal("changed before step %lu: the next process finds %d", (unsigned long)at,
                     (int)found);
    } while (fake_store_step(&rig->store));
}

/* FLUSHALL, or an older copy brought back by hand, between any two commands of a save. */
Test(snapshots, are_whole_or_not_durable_when_the_store_changes_under_a_save)
{
    for (int full = 0; full < 2; full++) {
        for (int rolled_back = 0; rolled_back < 2; rolled_back++) {
            bool ended = false;
            for (uint64_t at = 0; !ended; at++) {
                struct scene scene = set_scene(&settings[0], full);
                struct snapshots_rig *rig = scene.rig;
                snapshots_rig_begin_save(rig);
                for (uint64_t i = 0; i < at && fake_store_step(&rig->store); i++)
                    ;
                ended = rig->ended;
                struct fake_db copy = {.hash = {{.count = 0}}};
                fake_db_copy(&copy, &rig->store.file);
                if (!ended)
                    fake_store_empty(&rig->store);
                if (!ended && rolled_back)
                    fake_db_copy(&rig->store.db, &copy);
                fake_db_clear(&copy);
                drain_and_ask_the_next_process(rig, at);
                must(rig->ended);
                if (rig->durable && !snapshots_rig_holds(rig, scene.after))
                    cr_fatal("full %d: emptied before step %lu: called durable, and is: %s", full,
                             (unsigned long)at, rig->text);
                (void)snapshots_rig_save(rig);
                if (!snapshots_rig_save(rig) || !snapshots_rig_holds(rig, scene.after))
                    cr_fatal("full %d step %lu: %s", full, (unsigned long)at, rig->text);
                snapshots_rig_free(rig);
            }
        }
    }
}

/* The same while there was never one: nothing but the counts can tell. */
Test(snapshots, are_whole_or_not_durable_when_the_store_is_emptied_under_the_first)
{
    bool ended = false;
    uint64_t told = 0;
    for (uint64_t at = 0; !ended; at++) {
        struct snapshots_rig *rig = snapshots_rig_new(&settings[0]);
        snapshots_rig_create(rig, USERS_BEFORE);
        snapshots_rig_begin_save(rig);
        for (uint64_t i = 0; i < at && fake_store_step(&rig->store); i++)
            ;
        ended = rig->ended;
        if (!ended)
            fake_store_empty(&rig->store);
        drain_and_ask_the_next_process(rig, at);
        must(rig->ended);
        if (rig->durable && !snapshots_rig_holds(rig, users_meta(rig->users)))
            cr_fatal("emptied before step %lu: called durable, and is: %s", (unsigned long)at,
                     rig->text);
        told += !rig->durable && strstr(rig->text, "somebody else changed") != NULL;
        must(snapshots_rig_save(rig) && snapshots_rig_holds(rig, users_meta(rig->users)));
        snapshots_rig_free(rig);
    }
    must(told > 0);
}

/* Two processes with one number: a mistake, and no reason to mix what they wrote. */
Test(snapshots, are_not_written_over_one_that_came_meanwhile)
{
    for (int full = 0; full < 2; full++) {
        bool ended = false;
        for (uint64_t at = 2; !ended; at++) { /* meta was asked for */
            struct scene scene = set_scene(&settings[0], full);
            struct snapshots_rig *rig = scene.rig;
            char index[32];
            snprintf(index, sizeof(index), "%lu", (unsigned long)scene.after.index);
            snapshots_rig_begin_save(rig);
            for (uint64_t i = 0; i < at && fake_store_step(&rig->store); i++)
                ;
            ended = rig->ended;
            bool executed = strcmp(fake_store_text(&rig->store, META, "index"), index) == 0;
            fake_store_edit(&rig->store, META, "index", "7777");
            fake_store_drain(&rig->store);
            must(rig->ended && (executed || !rig->durable)); /* it may be gone again by then */
            must(strcmp(fake_store_text(&rig->store, META, "index"), "7777") == 0);
            must(snapshots_rig_save(rig) && rig->full && snapshots_rig_holds(rig, scene.after));
            snapshots_rig_free(rig);
        }
    }
}

Test(snapshots, are_durable_where_the_store_can_and_not_where_it_cannot)
{
    for (size_t s = 0; s < settings_count; s++) {
        for (int full = 0; full < 2; full++) {
            struct scene scene = set_scene(&settings[s], full);
            if (snapshots_rig_save(scene.rig) != settings[s].durable)
                cr_fatal("%s: durable %d, %s", settings[s].name, scene.rig->durable,
                         scene.rig->text);
            must(settings[s].durable || scene.rig->text[0] != '\0');
            fake_store_crash(&scene.rig->store);
            check_found(&scene, settings[s].name, 0);
            snapshots_rig_free(scene.rig);
        }
    }
}

Test(snapshots, are_not_durable_when_the_append_only_file_is_not_synced_in_time)
{
    struct scene scene = set_scene(&settings[2], false);
    scene.rig->store.waitaof_times_out = true;
    must(!snapshots_rig_save(scene.rig) && strstr(scene.rig->text, "in time") != NULL);
    fake_store_crash(&scene.rig->store);
    check_found(&scene, "WAITAOF", 0);
    snapshots_rig_free(scene.rig);
}

Test(snapshots, are_not_durable_when_the_dump_fails)
{
    struct scene scene = set_scene(&settings[6], false);
    scene.rig->store.dump_fails = true;
    must(!snapshots_rig_save(scene.rig) && strstr(scene.rig->text, "BGSAVE") != NULL);
    fake_store_crash(&scene.rig->store);
    check_found(&scene, "BGSAVE", 0);
    snapshots_rig_free(scene.rig);
}

/* A dump that was under way when the save was made does not hold it. */
Test(snapshots, wait_for_a_dump_of_their_own)
{
    struct scene scene = set_scene(&settings[6], false);
    scene.rig->store.other_dump = true;
    scene.rig->store.dump_polls = 5;
    must(snapshots_rig_save(scene.rig));
    fake_store_crash(&scene.rig->store);
    must(snapshots_rig_holds(scene.rig, scene.after));
    snapshots_rig_free(scene.rig);
}

/* --- loads ------------------------------------------------------------------------------------ */

static bool load_with(enum trouble trouble, uint64_t at)
{
    struct scene scene = set_scene(&settings[0], false);
    must(snapshots_rig_save(scene.rig));
    struct fake_store *store = &scene.rig->store;
    store->commands = 0;
    *(trouble == LOSE_BEFORE  ? &store->lose_before
      : trouble == LOSE_AFTER ? &store->lose_after
                              : &store->error_at) = at;
    struct users *users = snapshots_rig_load(scene.rig);
    bool reached = store->commands >= at;
    must((users == NULL) == reached);
    if (reached)
        must(scene.rig->found == (trouble == ANSWER_ERROR ? SNAPSHOTS_REFUSED : SNAPSHOTS_AWAY));
    if (users != NULL)
        users_free(users);
    store->lose_before = store->lose_after = store->error_at = 0;
    must(snapshots_rig_holds(scene.rig, scene.after));
    snapshots_rig_free(scene.rig);
    return reached;
}

Test(snapshots, load_all_or_nothing_whatever_happens_at_any_command)
{
    for (enum trouble trouble = LOSE_BEFORE; trouble <= ANSWER_ERROR; trouble++) {
        uint64_t at = 1;
        while (load_with(trouble, at))
            at++;
        must(at > 10);
    }
}

/* A process that died in the middle of a save: the next one finds a whole state, and goes on. */
/* What a load finds half gone is no damage: it is read again, and then there is none. */
Test(snapshots, call_a_store_that_is_emptied_under_a_load_no_damage)
{
    bool reached = true;
    int refused = 0;
    for (int steps = 0; reached; steps++) {
        struct scene scene = set_scene(&settings[0], false);
        must(snapshots_rig_save(scene.rig));
        reached = snapshots_rig_load_emptied(scene.rig, steps);
        must(scene.rig->found != SNAPSHOTS_DAMAGED);
        refused += scene.rig->found == SNAPSHOTS_REFUSED;
        must(snapshots_rig_load(scene.rig) == NULL && scene.rig->found == SNAPSHOTS_NONE);
        snapshots_rig_free(scene.rig);
    }
    must(refused > 3);
}

Test(snapshots, are_whole_when_the_process_dies_at_any_step_of_a_save)
{
    for (int full = 0; full < 2; full++) {
        bool ended = false;
        for (uint64_t at = 0; !ended; at++) {
            struct scene scene = set_scene(&settings[0], full);
            struct snapshots_rig *rig = scene.rig;
            snapshots_rig_begin_save(rig);
            for (uint64_t i = 0; i < at && fake_store_step(&rig->store); i++)
                ;
            ended = rig->ended;
            snapshots_rig_restart(rig);
            rig->durable = false;
            check_found(&scene, "process died at", at);
            must(snapshots_rig_save(rig) && snapshots_rig_holds(rig, scene.after));
            snapshots_rig_free(rig);
        }
    }
}

/* Each of them is no word about the snapshot: nothing is damaged, and the next load finds it. */
static const char *const refusals[] = {
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM this user has no permissions to run the 'hgetall' command",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN Hash slot not served",
    "READONLY You can't write against a read only replica.",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR unknown command 'HGETALL', with args beginning with: ",
    "ERR max number of clients reached",
    "ERR something that this version never heard of",
};

Test(snapshots, wait_for_a_store_that_refuses_and_call_nothing_damaged)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct scene scene = set_scene(&settings[0], false);
        struct snapshots_rig *rig = scene.rig;
        must(snapshots_rig_save(rig));
        rig->store.refuses = refusals[i];
        must(snapshots_rig_load(rig) == NULL && rig->found == SNAPSHOTS_REFUSED);
        must(strstr(rig->text, "Redis says: ") == rig->text && strchr(rig->text, ';') != NULL);
        snapshots_rig_look(rig);
        must(rig->lost == 0 || strncmp(refusals[i], "WRONGTYPE", 9) == 0);
        must(!snapshots_rig_save(rig));
        rig->store.refuses = NULL;
        must(snapshots_rig_holds(rig, scene.after));
        must(snapshots_rig_save(rig) && snapshots_rig_holds(rig, scene.after));
        snapshots_rig_free(rig);
    }
}

/*
 * A transaction that is torn in the append-only file, after any of its commands, and then a user
 * deleted whom only the torn half has: a difference would not speak of it. What is saved afterwards
 * is found by the next process, also when the store has started again, and again.
 */
static bool tear(bool full, bool new_process, int at)
{
    struct scene scene = set_scene(&settings[0], full);
    struct snapshots_rig *rig = scene.rig;
    struct fake_store *store = &rig->store;
    store->tear = at;
    must(!snapshots_rig_save(rig) && store->tear == 0);
    bool reached = store->tail_count + 1 >= at;
    fake_store_connect(store);
    must(snapshots_rig_holds(rig, scene.before));
    if (new_process)
        snapshots_rig_restart(rig);
    struct users_request request = create_request(100000, bytes_of_text(""));
    request.command =
        (struct users_command){.kind = USERS_DELETE, .delete = {.id = USERS_BEFORE + 1}};
    must(users_apply(rig->users, ++rig->index, &request).kind == USERS_DELETED);
    struct users_meta now = users_meta(rig->users);
    if (!snapshots_rig_save(rig) || !snapshots_rig_holds(rig, now))
        cr_fatal("torn after %d: %s", at, rig->text);
    for (int starts = 0; starts < 2; starts++) {
        fake_store_crash(store);
        fake_store_connect(store);
        if (!snapshots_rig_holds(rig, now))
            cr_fatal("torn after %d: after start %d: %s", at, starts, rig->text);
    }
    snapshots_rig_free(rig);
    return reached;
}

Test(snapshots, outlive_a_transaction_that_was_torn_in_the_append_only_file)
{
    for (int which = 0; which < 4; which++) {
        int at = 1;
        while (tear(which & 1, which & 2, at))
            at++;
        must(at > 4);
    }
}

/* Where Redis is the same process still, a new one of ours goes on with differences. */
Test(snapshots, are_complete_after_a_start_of_the_store_only)
{
    struct scene scene = set_scene(&settings[0], false);
    struct snapshots_rig *rig = scene.rig;
    must(snapshots_rig_save(rig) && !rig->full);
    fake_store_crash(&rig->store);
    fake_store_connect(&rig->store);
    must(snapshots_rig_save(rig) && rig->full && rig->lost == 0);
    must(snapshots_rig_save(rig) && !rig->full);
    snapshots_rig_free(rig);
}

Test(snapshots, do_not_count_where_a_rewrite_goes_without_syncs)
{
    struct snapshots_rig *rig = snapshots_rig_new(&settings[4]); /* it knows no WAITAOF */
    rig->store.append = FAKE_APPEND_ALWAYS;
    snapshots_rig_create(rig, 3);
    rig->store.no_sync_on_rewrite = true;
    must(!snapshots_rig_save(rig) && strstr(rig->text, "WAITAOF") != NULL);
    rig->store.no_sync_on_rewrite = false;
    must(snapshots_rig_save(rig));
    snapshots_rig_free(rig);
}

/* A field that somebody took out, and nobody writes: the next save is no empty difference. */
Test(snapshots, that_lack_a_field_are_saved_again_at_once)
{
    struct scene scene = set_scene(&settings[0], false);
    struct snapshots_rig *rig = scene.rig;
    must(snapshots_rig_save(rig) && snapshots_rig_save(rig) && !rig->full);
    fake_store_edit(&rig->store, USERS, "7", NULL);
    must(snapshots_rig_save(rig) && rig->full && snapshots_rig_holds(rig, scene.after));
    snapshots_rig_free(rig);
}
