/*
 * A store that somebody else writes to, empties, or sets to forget: it is noticed while the state
 * is still here, told, written anew; and never hidden by what is saved afterwards.
 */
#include "tests/snapshots/rig.h"

#include <stdlib.h>

#define INDEXES "rollcall:test:1:indexes"
#define ANSWERS "rollcall:test:1:answers"

/* One field changed, added or (NULL) deleted by hand. */
static const struct edit {
    const char *key, *field, *value;
} edits[] = {
    {USERS, "7", "{\"id\":7,\"name\":\"Mallory\"}"},
    {USERS, "700", "{\"id\":700,\"name\":\"Mallory\"}"},
    {USERS, "7", NULL},
    {USERS, "700", ""},
    {USERS, "9999", "{\"id\":9999,\"name\":\"Mallory\"}"},
    {USERS, "no number", ""},
    {INDEXES, "0", "1:1 2:2"},
    {INDEXES, "3", NULL},
    {INDEXES, "77", "5000:1"},
    {ANSWERS, "0", "0 00000000000000000000000000000001 7 1 created 1 1\n"},
    {ANSWERS, "9", NULL},
    {ANSWERS, "50", ""},
    {META, "index", "699"},
    {META, "term", "4"},
    {META, "members", "cluster=00000000000000010000000000000000 format=0 2:voter:0@"},
    {META, "users", "1"},
    {META, "digest", "0123456789abcdef"},
    {META, "checksum", "00000000"},
    {META, "node", "2"},
    {META, "term", NULL},
    {META, "remark", "restored on Tuesday"},
};

static struct snapshots_rig *saved_rig(void)
{
    struct snapshots_rig *rig = snapshots_rig_new(&settings[0]);
    snapshots_rig_create(rig, 700);
    must(snapshots_rig_save(rig));
    return rig;
}

static void make(struct snapshots_rig *rig, const struct edit *edit)
{
    fake_store_edit(&rig->store, edit->key, edit->field, edit->value);
}

/* Nothing but a state that is whole is found; and that it is not is said. */
static void must_not_be_loaded(struct snapshots_rig *rig, const struct edit *edit)
{
    struct users *users = snapshots_rig_load(rig);
    if (users != NULL || rig->found != SNAPSHOTS_DAMAGED || rig->text[0] == '\0')
        cr_fatal("%s %s = %s is not noticed by a load", edit->key, edit->field, edit->value);
}

Test(snapshots, find_any_field_changed_by_hand_when_they_are_loaded)
{
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        struct snapshots_rig *rig = saved_rig();
        make(rig, &edits[i]);
        must_not_be_loaded(rig, &edits[i]);
        snapshots_rig_free(rig);
    }
}

/* 700 users and their answers are 22 pages, four a look. */
Test(snapshots, find_any_field_changed_by_hand_while_they_are_looked_after)
{
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        struct snapshots_rig *rig = saved_rig();
        for (int look = 0; look < 9; look++)
            snapshots_rig_look(rig);
        must(rig->lost == 0);
        make(rig, &edits[i]);
        for (int look = 0; look < 7; look++)
            snapshots_rig_look(rig);
        if (rig->lost != 1 || rig->lost_text[0] == '\0')
            cr_fatal("%s %s = %s: told %u times: %s", edits[i].key, edits[i].field, edits[i].value,
                     rig->lost, rig->lost_text);
        must(snapshots_rig_save(rig) && rig->full);
        must(snapshots_rig_holds(rig, users_meta(rig->users)));
        snapshots_rig_look(rig);
        must(rig->lost == 1);
        snapshots_rig_free(rig);
    }
}

/* The first look finds what is gone: emptied, deleted key by key, or an older copy. */
Test(snapshots, that_are_gone_are_missed_at_once)
{
    static const char *const keys[] = {META, USERS, INDEXES, ANSWERS};
    for (size_t i = 0; i < ARRAY_LEN(keys) + 2; i++) {
        struct snapshots_rig *rig = saved_rig();
        struct fake_db past = {.hash = {{.count = 0}}};
        fake_db_copy(&past, &rig->store.db);
        snapshots_rig_create(rig, 10);
        must(snapshots_rig_save(rig) && !rig->full);
        if (i < ARRAY_LEN(keys))
            fake_db_unlink(&rig->store.db, bytes_of_text(keys[i]));
        else if (i == ARRAY_LEN(keys))
            fake_store_empty(&rig->store);
        else
            fake_store_restore(&rig->store, &past);
        fake_db_clear(&past);
        snapshots_rig_look(rig);
        if (rig->lost != 1)
            cr_fatal("%zu: not missed", i);
        must(snapshots_rig_save(rig) && rig->full);
        must(snapshots_rig_holds(rig, users_meta(rig->users)));
        snapshots_rig_free(rig);
    }
}

/* A difference written over a hash that was changed leaves the change to be found. */
Test(snapshots, do_not_hide_what_was_changed_by_hand_under_a_difference)
{
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        for (uint64_t more = 1; more < 200; more += 66) {
            struct snapshots_rig *rig = saved_rig();
            make(rig, &edits[i]);
            snapshots_rig_create(rig, more);
            bool durable = snapshots_rig_save(rig);
            struct users *users = snapshots_rig_load(rig);
            /* Gone because its page was written anew, or refused: not loaded as if nothing were. */
            if (users != NULL && !metas_equal(users_meta(users), users_meta(rig->users)))
                cr_fatal("%s %s: another state was loaded", edits[i].key, edits[i].field);
            if (users == NULL)
                must(rig->found == SNAPSHOTS_DAMAGED);
            if (users != NULL)
                users_free(users);
            if (durable && users == NULL) { /* it is found by looking, too */
                for (int look = 0; look < 9; look++)
                    snapshots_rig_look(rig);
                must(rig->lost == 1);
            }
            must(snapshots_rig_save(rig));
            must(snapshots_rig_holds(rig, users_meta(rig->users)));
            snapshots_rig_free(rig);
        }
    }
}

/* A connection that ends, or an error, at any command of a look says nothing of the snapshot. */
Test(snapshots, are_not_called_lost_by_a_look_that_fails)
{
    for (uint64_t at = 1; at < 14; at++) {
        for (int trouble = 0; trouble < 3; trouble++) {
            struct snapshots_rig *rig = saved_rig();
            uint64_t number = rig->store.commands + at;
            *(trouble == 0   ? &rig->store.lose_before
              : trouble == 1 ? &rig->store.lose_after
                             : &rig->store.error_at) = number;
            snapshots_rig_look(rig);
            fake_store_connect(&rig->store);
            rig->store.lose_before = rig->store.lose_after = rig->store.error_at = 0;
            snapshots_rig_look(rig);
            must(rig->lost == 0);
            snapshots_rig_create(rig, 1);
            must(snapshots_rig_save(rig) && !rig->full);
            snapshots_rig_free(rig);
        }
    }
}

/* A save that begins while a look is under way overtakes it. */
Test(snapshots, are_not_called_lost_by_a_look_that_a_save_overtakes)
{
    for (int steps = 0; steps < 12; steps++) {
        struct snapshots_rig *rig = saved_rig();
        snapshots_rig_create(rig, 5);
        snapshots_look(rig->snapshots);
        for (int i = 0; i < steps; i++)
            (void)fake_store_step(&rig->store);
        must(snapshots_rig_save(rig) && !rig->full && rig->lost == 0);
        snapshots_rig_look(rig);
        must(rig->lost == 0);
        snapshots_rig_free(rig);
    }
}

/* --- how the store is set --------------------------------------------------------------------- */

/* No save counts, and none writes; when it is set right, the next one does both. */
static void check_refused(struct snapshots_rig *rig, const char *word)
{
    struct fake_store *store = &rig->store;
    snapshots_rig_create(rig, 20);
    must(!snapshots_rig_save(rig) && strstr(rig->text, word) != NULL);
    must(fake_db_find(&store->db, bytes_of_text(META)) == NULL);
    must(fake_db_find(&store->db, bytes_of_text("rollcall:test:1:new:users")) == NULL);
    store->save = "60 1";
    store->policy = "volatile-lru";
    must(snapshots_rig_save(rig) && snapshots_rig_holds(rig, users_meta(rig->users)));
    snapshots_rig_free(rig);
}

Test(snapshots, never_count_where_the_store_keeps_nothing_on_disk)
{
    struct snapshots_rig *rig = snapshots_rig_new(&settings[6]);
    rig->store.save = "";
    check_refused(rig, "appendonly yes");
}

Test(snapshots, never_count_where_the_store_may_evict_them)
{
    static const char *const policies[] = {"allkeys-lru", "allkeys-lfu", "allkeys-random"};
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        for (size_t s = 0; s < settings_count; s++) {
            if (!settings[s].durable)
                continue;
            struct snapshots_rig *rig = snapshots_rig_new(&settings[s]);
            rig->store.policy = policies[i];
            check_refused(rig, policies[i]);
        }
    }
}

/* Set otherwise under a save: what was written before is not on the disk at once. */
Test(snapshots, count_only_where_the_store_was_set_so_all_along)
{
    for (int to_always = 0; to_always < 2; to_always++) {
        bool ended = false;
        for (uint64_t at = 0; !ended; at++) {
            struct snapshots_rig *rig = saved_rig();
            fake_db_copy(&rig->store.file, &rig->store.db);
            rig->store.append = to_always ? FAKE_APPEND_EVERYSEC : FAKE_APPEND_ALWAYS;
            rig->store.knows_waitaof = false;
            snapshots_rig_create(rig, 5);
            snapshots_rig_begin_save(rig);
            for (uint64_t i = 0; i < at && fake_store_step(&rig->store); i++)
                ;
            ended = rig->ended;
            if (!to_always)
                fake_db_copy(&rig->store.file, &rig->store.db);
            rig->store.append = to_always ? FAKE_APPEND_ALWAYS : FAKE_APPEND_EVERYSEC;
            fake_store_drain(&rig->store);
            bool durable = rig->durable;
            must(rig->ended && (!to_always || durable == (at < 10))); /* asked by then */
            if (!to_always)
                fake_store_crash(&rig->store);
            if (durable && !snapshots_rig_holds(rig, users_meta(rig->users)))
                cr_fatal("set otherwise at step %lu: called durable", (unsigned long)at);
            snapshots_rig_free(rig);
        }
    }
}

/* What could not be made durable is there all the same: the next one need not be complete. */
Test(snapshots, that_did_not_count_are_gone_on_from)
{
    struct snapshots_rig *rig = snapshots_rig_new(&settings[4]);
    snapshots_rig_create(rig, 300);
    must(!snapshots_rig_save(rig) && rig->full);
    snapshots_rig_create(rig, 3);
    must(!snapshots_rig_save(rig) && !rig->full && rig->users_written == 3);
    rig->store.append = FAKE_APPEND_ALWAYS;
    snapshots_rig_create(rig, 3);
    must(snapshots_rig_save(rig) && !rig->full);
    must(snapshots_rig_holds(rig, users_meta(rig->users)) && rig->lost == 0);
    snapshots_rig_free(rig);
}

/* --- others in the same store ----------------------------------------------------------------- */

/* A snapshot of others, in the store of `rig`. */
static void save_as(struct snapshots_rig *rig, const char *cluster, uint64_t node)
{
    struct snapshots *mine = rig->snapshots;
    rig->snapshots = snapshots_rig_of(rig, cluster, node);
    must(snapshots_rig_save(rig));
    snapshots_free(rig->snapshots);
    rig->snapshots = mine;
}

static bool holds_as(struct snapshots_rig *rig, const char *cluster, uint64_t node,
                     struct users_meta meta)
{
    struct snapshots *reader = snapshots_rig_of(rig, cluster, node);
    struct users *users = users_new(1024);
    rig->ended = false;
    snapshots_load(reader, users);
    fake_store_drain(&rig->store);
    bool same =
        rig->ended && rig->found == SNAPSHOTS_LOADED && metas_equal(users_meta(users), meta);
    snapshots_free(reader);
    users_free(users);
    return same;
}

Test(snapshots, of_others_in_the_same_store_are_neither_read_nor_touched)
{
    static const struct {
        const char *cluster;
        uint64_t node;
    } others[] = {{"test", 2}, {"test", 11}, {"test-1", 1}, {"new", 1}, {"1", 1}};
    struct snapshots_rig *rig = snapshots_rig_new(&settings[0]);
    snapshots_rig_create(rig, 100);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        save_as(rig, others[i].cluster, others[i].node);
    struct users_meta theirs = users_meta(rig->users);
    must(snapshots_rig_load(rig) == NULL && rig->found == SNAPSHOTS_NONE);
    snapshots_rig_create(rig, 100);
    must(snapshots_rig_save(rig) && rig->full);
    snapshots_rig_create(rig, 100);
    rig->store.error_at = rig->store.commands + 12; /* one that is abandoned, with its UNLINK */
    must(!snapshots_rig_save(rig));
    snapshots_rig_restart(rig);
    must(snapshots_rig_save(rig) && rig->full);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        must(holds_as(rig, others[i].cluster, others[i].node, theirs));
    must(snapshots_rig_holds(rig, users_meta(rig->users)));
    snapshots_rig_free(rig);
}

/* Somebody renamed keys, or gave two nodes one name: what is whole and another's is left alone. */
Test(snapshots, of_another_node_under_our_name_are_left_alone)
{
    struct snapshots_rig *rig = snapshots_rig_new(&settings[0]);
    snapshots_rig_create(rig, 100);
    save_as(rig, "test", 2);
    fake_db_rename(&rig->store.db, bytes_of_text("rollcall:test:2:meta"), bytes_of_text(META));
    fake_db_rename(&rig->store.db, bytes_of_text("rollcall:test:2:users"), bytes_of_text(USERS));
    must(snapshots_rig_load(rig) == NULL && rig->found == SNAPSHOTS_DAMAGED);
    must(strstr(rig->text, "another node") != NULL);
    for (int save = 0; save < 3; save++)
        must(!snapshots_rig_save(rig) && strstr(rig->text, "another node") != NULL);
    cr_assert(eq(str, (char *)fake_store_text(&rig->store, META, "node"), "2"));
    cr_assert(eq(sz, fake_db_find(&rig->store.db, bytes_of_text(USERS))->count, 100));
    fake_db_unlink(&rig->store.db, bytes_of_text(META));
    must(snapshots_rig_save(rig) && snapshots_rig_holds(rig, users_meta(rig->users)));
    snapshots_rig_free(rig);
}
