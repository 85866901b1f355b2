/* What is saved is what is loaded, and what is loaded is whole. */
#include "tests/snapshots/rig.h"

#include <stdlib.h>

static struct snapshots_rig *rig_of(uint64_t users)
{
    struct snapshots_rig *rig = snapshots_rig_new(&settings[0]);
    snapshots_rig_create(rig, users);
    return rig;
}

static struct snapshots_rig *saved_rig(uint64_t users)
{
    struct snapshots_rig *rig = rig_of(users);
    must(snapshots_rig_save(rig) && rig->full);
    return rig;
}

Test(snapshots, load_what_was_saved_whole)
{
    static const uint64_t sizes[] = {0, 1, 2, 62, 63, 64, 65, 127, 128, 1000, 5000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct snapshots_rig *rig = rig_of(sizes[i]);
        users_skip(rig->users, ++rig->index);
        must(snapshots_rig_save(rig) && rig->full && rig->users_written == sizes[i]);
        must(snapshots_rig_holds(rig, users_meta(rig->users)));
        snapshots_rig_free(rig);
    }
}

Test(snapshots, load_what_was_saved_by_differences)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct chance chance = {seed};
        struct snapshots_rig *rig = rig_of(chance_below(&chance, 300));
        for (int save = 0; save < 12; save++) {
            must(snapshots_rig_save(rig) && rig->full == (save == 0));
            must(rig->saved_index == rig->index);
            must(snapshots_rig_holds(rig, users_meta(rig->users)));
            uint64_t more = chance_below(&chance, 100);
            snapshots_rig_create(rig, more);
            if (chance_below(&chance, 3) == 0)
                users_skip(rig->users, ++rig->index);
        }
        snapshots_rig_free(rig);
    }
}

Test(snapshots, write_what_differs_and_no_more)
{
    struct snapshots_rig *rig = saved_rig(5000);
    snapshots_rig_create(rig, 10);
    uint64_t commands = rig->store.commands;
    must(snapshots_rig_save(rig));
    cr_assert(not(rig->full));
    cr_assert(eq(u64, rig->users_written, 10));
    cr_assert(lt(u64, rig->store.commands - commands, 28));
    snapshots_rig_free(rig);
}

/* Nothing removes users yet: saving an older version after a newer one does. */
Test(snapshots, take_out_what_is_gone)
{
    for (uint64_t more = 1; more <= 260; more += 37) {
        struct snapshots_rig *rig = rig_of(100);
        struct users_view *old = users_pin(rig->users);
        struct users_meta meta = users_view_meta(old);
        snapshots_rig_create(rig, more);
        must(snapshots_rig_save(rig) && rig->full);
        must(snapshots_rig_save_view(rig, old) && !rig->full);
        must(snapshots_rig_holds(rig, meta));
        must(snapshots_rig_save(rig) && !rig->full);
        must(snapshots_rig_holds(rig, users_meta(rig->users)));
        snapshots_rig_free(rig);
    }
}

/* Ids leave a gap where a restore begins another life: it is not walked through. */
Test(snapshots, load_at_the_cost_of_what_they_hold, .timeout = 60)
{
    struct snapshots_rig *rig = rig_of(100);
    must(users_begin_life(rig->users, 0) && users_begin_life(rig->users, UINT64_MAX));
    rig->index = users_meta(rig->users).index;
    snapshots_rig_create(rig, 100);
    cr_assert(gt(u64, users_meta(rig->users).next_id, USERS_LIFE_SPREAD));
    must(snapshots_rig_save(rig) && rig->full);
    must(snapshots_rig_holds(rig, users_meta(rig->users)));
    snapshots_rig_create(rig, 100);
    must(snapshots_rig_save(rig) && !rig->full);
    must(snapshots_rig_holds(rig, users_meta(rig->users)));
    snapshots_rig_free(rig);
}

Test(snapshots, can_be_read_by_a_person)
{
    struct snapshots_rig *rig = snapshots_rig_new(&settings[0]);
    struct request_id id = {.at = {0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xef}};
    struct users_request request = create_request(1, bytes_of_text("Alice"));
    request.id = id;
    (void)users_apply(rig->users, 12, &request);
    must(snapshots_rig_save(rig));
    struct fake_store *store = &rig->store;
    cr_assert(eq(str, (char *)fake_store_text(store, USERS, "1"), "{\"id\":1,\"name\":\"Alice\"}"));
    cr_assert(eq(str, (char *)fake_store_text(store, "rollcall:test:1:indexes", "0"), "1:12"));
    cr_assert(eq(str, (char *)fake_store_text(store, "rollcall:test:1:answers", "0"),
                 "0 ab0102030405060708090a0b0c0d0eef 12271410738903785059 12 created 1 12\n"));
    static const struct {
        const char *field, *value;
    } meta[] = {
        {"format", "4"},
        {"changed", "12"},
        {"keys_first", "0"},
        {"keys_next", "0"},
        {"cluster", "test"},
        {"node", "1"},
        {"index", "12"},
        {"term", "3"},
        {"members", "cluster=00000000000000010000000000000000 format=0 1:voter:0000000000000000@"},
        {"users", "1"},
        {"next_id", "2"},
        {"answers_first", "0"},
        {"answers_next", "1"}};
    for (size_t i = 0; i < ARRAY_LEN(meta); i++)
        cr_assert(
            eq(str, (char *)fake_store_text(store, META, meta[i].field), (char *)meta[i].value));
    cr_assert(eq(sz, strlen(fake_store_text(store, META, "digest")), 16));
    snapshots_rig_free(rig);
}

Test(snapshots, are_none_where_there_are_none_or_another_nodes)
{
    struct snapshots_rig *rig = saved_rig(10);
    fake_db_rename(&rig->store.db, bytes_of_text(META), bytes_of_text("rollcall:test:2:meta"));
    must(snapshots_rig_load(rig) == NULL);
    cr_assert(eq(int, rig->found, SNAPSHOTS_NONE));
    snapshots_rig_free(rig);
}

Test(snapshots, are_complete_again_after_the_store_was_emptied_or_rolled_back)
{
    for (int trouble = 0; trouble < 4; trouble++) {
        struct snapshots_rig *rig = saved_rig(300);
        fake_db_copy(&rig->store.file, &rig->store.db);
        snapshots_rig_create(rig, 100);
        must(snapshots_rig_save(rig) && !rig->full);
        if (trouble == 0)
            fake_store_empty(&rig->store);
        else if (trouble == 1)
            fake_db_copy(&rig->store.db, &rig->store.file); /* an older copy was brought back */
        else if (trouble == 2)
            fake_store_edit(&rig->store, META, "digest", "0123456789abcdef");
        else
            snapshots_rig_restart(rig); /* this process does not know what is there */
        snapshots_rig_create(rig, 1);
        must(snapshots_rig_save(rig) && rig->full);
        must(snapshots_rig_holds(rig, users_meta(rig->users)));
        snapshots_rig_free(rig);
    }
}

Test(snapshots, go_on_by_differences_after_a_load)
{
    struct snapshots_rig *rig = saved_rig(300);
    snapshots_rig_restart(rig);
    users_free(rig->users);
    rig->users = users_new(1024);
    rig->ended = false;
    snapshots_load(rig->snapshots, rig->users);
    fake_store_drain(&rig->store);
    must(rig->ended && rig->found == SNAPSHOTS_LOADED);
    snapshots_rig_create(rig, 5);
    must(snapshots_rig_save(rig));
    cr_assert(not(rig->full));
    must(snapshots_rig_holds(rig, users_meta(rig->users)));
    snapshots_rig_free(rig);
}

/* --- damage ----------------------------------------------------------------------------------- */

/* After an edit by hand: what is loaded is what was saved, or nothing is. */
static void check_edited(const char *key, const char *field, const char *value, bool must_refuse)
{
    struct snapshots_rig *rig = saved_rig(130);
    struct users_meta meta = users_meta(rig->users);
    must_refuse = must_refuse &&
                  (value == NULL || strcmp(fake_store_text(&rig->store, key, field), value) != 0);
    fake_store_edit(&rig->store, key, field, value);
    struct users *loaded = snapshots_rig_load(rig);
    if (loaded != NULL && !metas_equal(users_meta(loaded), meta))
        cr_fatal("%s %s = %s: another state was loaded", key, field, value);
    if (must_refuse && loaded != NULL)
        cr_fatal("%s %s = %s: was not noticed", key, field, value);
    if (loaded == NULL)
        must(rig->found == SNAPSHOTS_DAMAGED && rig->text[0] != '\0');
    if (loaded != NULL)
        users_free(loaded);
    snapshots_rig_free(rig);
}

Test(snapshots, notice_a_user_edited_by_hand)
{
    check_edited(USERS, "7", NULL, true);
    check_edited(USERS, "7", "{\"id\":7,\"name\":\"Mallory\"}", true);
    check_edited(USERS, "7", "{\"id\":8,\"name\":\"Alice\"}", true);
    check_edited(USERS, "7", "{\"id\":7}", true);
    check_edited(USERS, "7", "", true);
    check_edited(USERS, "0", "{\"id\":0,\"name\":\"x\"}", true);
    check_edited(USERS, "131", "{\"id\":131,\"name\":\"x\"}", true);
    check_edited("rollcall:test:1:indexes", "0", NULL, true);
    check_edited("rollcall:test:1:indexes", "0", "1:1 2:2", true);
    check_edited("rollcall:test:1:indexes", "1", "64:65 900:12", true);
    check_edited("rollcall:test:1:indexes", "2", "nonsense", true);
    check_edited("rollcall:test:1:answers", "0", NULL, true);
    check_edited("rollcall:test:1:answers", "1", "", true);
    check_edited("rollcall:test:1:answers", "2", "128 zz 1 created 129 129\n", true);
}

Test(snapshots, notice_a_meta_record_edited_by_hand)
{
    static const char *const fields[] = {"format",  "cluster",       "node",         "users",
                                         "next_id", "answers_first", "answers_next", "digest"};
    static const char *const values[] = {NULL, "", "0", "-1", "nonsense", "129", "64", "5000"};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        for (size_t j = 0; j < ARRAY_LEN(values); j++)
            check_edited(META, fields[i], values[j], true);
    }
    check_edited(META, "index", NULL, true);
    check_edited(META, "index", "0", true);
    check_edited(META, "index", "129", true);
    check_edited(META, "index", "nonsense", true);
}

/* An index that is too high would make a replay leave out entries that it must not. */
Test(snapshots, notice_an_index_raised_by_hand)
{
    check_edited(META, "index", "131", true);
    check_edited(META, "index", "1000000", true);
}

Test(snapshots, do_not_look_for_ever_for_users_that_cannot_be)
{
    check_edited(META, "next_id", "9007199254740992", true);
    check_edited(META, "answers_next", "9007199254740992", true);
}

/* --- bounds ----------------------------------------------------------------------------------- */

Test(snapshots, hold_a_window_of_commands_and_no_more)
{
    struct snapshots_rig *rig = rig_of(20000);
    must(snapshots_rig_save(rig));
    must(snapshots_rig_holds(rig, users_meta(rig->users)));
    cr_assert(lt(int, rig->store.waiting_most, 33), "%d", rig->store.waiting_most);
    cr_assert(lt(sz, rig->store.bytes_most, 2u << 20), "%zu", rig->store.bytes_most);
    snapshots_rig_free(rig);
}
