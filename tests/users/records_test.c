#include "raft/users/records.h"

#include "tests/users/support.h"

static void add(struct records *records, uint64_t id, uint64_t index, const char *name)
{
    struct user user = {.id = id, .index = index, .name = bytes_of_text(name)};
    records_add(records, &user);
}

static bool user_is(const struct user *user, uint64_t id, uint64_t index, const char *name)
{
    return user->id == id && user->index == index && bytes_equal(user->name, bytes_of_text(name));
}

Test(records, gives_back_what_was_added)
{
    struct records records;
    struct user user;
    uint8_t longest[USER_NAME_BYTES_MAX];
    memset(longest, 'x', sizeof(longest));
    records_init(&records);
    add(&records, 1, 3, "Alice");
    add(&records, 2, 4, "");
    add(&records, USER_ID_MAX, 5, "Bob");
    struct user with_longest = {.id = 64, .index = 6, .name = {longest, sizeof(longest)}};
    records_add(&records, &with_longest);

    cr_assert(records_get(&records.tree, 1, &user));
    cr_assert(user_is(&user, 1, 3, "Alice"));
    cr_assert(records_get(&records.tree, 2, &user));
    cr_assert(user_is(&user, 2, 4, ""));
    cr_assert(records_get(&records.tree, USER_ID_MAX, &user));
    cr_assert(user_is(&user, USER_ID_MAX, 5, "Bob"));
    cr_assert(records_get(&records.tree, 64, &user));
    cr_assert(bytes_equal(user.name, bytes_of(longest, sizeof(longest))));
    static const uint64_t absent[] = {0, 3, 63, 65, USER_ID_MAX - 1, USER_ID_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        cr_assert(not(records_get(&records.tree, absent[i], &user)));
    cr_assert(eq(u64, records.count, 4));
    records_check(&records, 1, USER_ID_MAX + 1, 6);
    records_done(&records);
}

Test(records, an_id_cannot_be_added_twice, .signal = SIGABRT)
{
    struct records records;
    records_init(&records);
    add(&records, 1, 1, "Alice");
    add(&records, 1, 2, "Bob");
}

Test(records, the_digest_does_not_depend_on_the_order_but_on_everything_else)
{
    struct records a, b;
    records_init(&a);
    records_init(&b);
    add(&a, 1, 1, "Alice");
    add(&a, 200, 2, "Bob");
    add(&b, 200, 2, "Bob");
    cr_assert(ne(u64, a.digest, b.digest));
    add(&b, 1, 1, "Alice");
    cr_assert(eq(u64, a.digest, b.digest));
    uint64_t one = a.digest;
    add(&a, 3, 3, "Carol");
    add(&b, 3, 4, "Carol");
    cr_assert(ne(u64, a.digest, b.digest), "the index counts");
    cr_assert(ne(u64, a.digest, one));
    records_done(&a);
    records_done(&b);

    records_init(&a);
    records_init(&b);
    add(&a, 1, 1, "Alice");
    add(&a, 2, 1, "Bob");
    add(&b, 1, 1, "Bob");
    add(&b, 2, 1, "Alice");
    cr_assert(ne(u64, a.digest, b.digest), "and who has which name");
    records_done(&a);
    records_done(&b);
}

/* --- lists ------------------------------------------------------------------------------------ */

static const uint64_t sparse[] = {1, 2, 63, 64, 200, 4096, 300000, USER_ID_MAX};

static struct records sparse_records(void)
{
    struct records records;
    records_init(&records);
    for (size_t i = 0; i < ARRAY_LEN(sparse); i++)
        add(&records, sparse[i], i + 1, "somebody");
    return records;
}

Test(records, lists_above_an_id_in_order_up_to_a_limit)
{
    struct records records = sparse_records();
    uint8_t at[1024];
    for (size_t first = 0; first <= ARRAY_LEN(sparse); first++)
        for (uint32_t limit = 0; limit <= ARRAY_LEN(sparse) + 1; limit++) {
            struct writer out = writer_of(at, sizeof(at));
            uint64_t after = first > 0 ? sparse[first - 1] : 0;
            bool last;
            uint64_t end = records_list(&records.tree, after, limit, &out, &last);
            size_t count = ARRAY_LEN(sparse) - first;
            if (limit > 0 && count > limit)
                count = limit;
            struct reader in = reader_of(writer_bytes(&out));
            for (size_t i = first; i < first + count; i++) {
                struct user user = user_get(&in);
                must(user_is(&user, sparse[i], i + 1, "somebody"));
            }
            must(reader_done(&in));
            must(end == (count > 0 ? sparse[first + count - 1] : after));
            must(last == (first + count == ARRAY_LEN(sparse)));
        }
    records_done(&records);
}

Test(records, lists_only_what_fits_whole)
{
    struct records records = sparse_records();
    const size_t each = 16 + 4 + 8 + 4;
    uint8_t at[512];
    for (size_t room = 0; room < sizeof(at); room++) {
        struct writer out = writer_of(at, room);
        bool last;
        uint64_t end = records_list(&records.tree, 0, 0, &out, &last);
        size_t count = room / each < ARRAY_LEN(sparse) ? room / each : ARRAY_LEN(sparse);
        must(!out.bad);
        must(writer_len(&out) == count * each);
        must(last == (count == ARRAY_LEN(sparse)));
        must(end == (count > 0 ? sparse[count - 1] : 0));
    }
    records_done(&records);
}

Test(records, lists_nothing_of_nothing)
{
    struct records records;
    records_init(&records);
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    bool last = false;
    cr_assert(eq(u64, records_list(&records.tree, 5, 0, &out, &last), 5));
    cr_assert(last);
    last = false;
    cr_assert(eq(u64, records_list(&records.tree, UINT64_MAX, 0, &out, &last), UINT64_MAX));
    cr_assert(last);
    cr_assert(zero(sz, writer_len(&out)));
    records_done(&records);
}

/* --- differences ------------------------------------------------------------------------------ */

Test(records, a_difference_says_what_came_changed_and_went)
{
    struct records old, now;
    records_init(&old);
    records_init(&now);
    add(&old, 1, 1, "stays");
    add(&now, 1, 1, "stays");
    add(&old, 2, 2, "goes");
    add(&old, 3, 3, "is renamed");
    add(&now, 3, 9, "is other");
    add(&now, 4, 8, "comes");
    add(&old, 5, 4, "is touched");
    add(&now, 5, 10, "is touched");
    add(&old, 130, 5, "goes with its page");
    add(&now, 700, 11, "comes with its page");

    struct users_page page;
    cr_assert(records_diff(&old.tree, &now.tree, 0, &page));
    cr_assert(eq(u64, page.number, 0));
    cr_assert(eq(u32, page.count, 4));
    cr_assert(user_is(&page.at[0], 1, 1, "stays"));
    cr_assert(user_is(&page.at[1], 3, 9, "is other"));
    cr_assert(user_is(&page.at[2], 4, 8, "comes"));
    cr_assert(user_is(&page.at[3], 5, 10, "is touched"));
    cr_assert(eq(u64, page.changed, 0xe));
    cr_assert(eq(u32, page.removed, 1));
    cr_assert(eq(u64, page.removed_id[0], 2));

    cr_assert(records_diff(&old.tree, &now.tree, 1, &page));
    cr_assert(eq(u64, page.number, 2));
    cr_assert(zero(u32, page.count));
    cr_assert(eq(u32, page.removed, 1));
    cr_assert(eq(u64, page.removed_id[0], 130));

    cr_assert(records_diff(&old.tree, &now.tree, 3, &page));
    cr_assert(eq(u64, page.number, 10));
    cr_assert(eq(u32, page.count, 1));
    cr_assert(eq(u64, page.changed, 1));
    cr_assert(zero(u32, page.removed));
    cr_assert(not(records_diff(&old.tree, &now.tree, 11, &page)));
    records_done(&old);
    records_done(&now);
}

Test(records, full_pages_come_and_go_whole)
{
    struct records none, full;
    records_init(&none);
    records_init(&full);
    for (uint64_t id = 64; id < 128; id++)
        add(&full, id, id, "one of many");
    struct users_page page;
    cr_assert(records_diff(NULL, &full.tree, 0, &page));
    cr_assert(eq(u32, page.count, 64));
    cr_assert(eq(u64, page.changed, UINT64_MAX));
    cr_assert(records_diff(&full.tree, &none.tree, 0, &page));
    cr_assert(eq(u32, page.removed, 64));
    cr_assert(eq(u64, page.removed_id[63], 127));
    cr_assert(zero(u32, page.count));
    records_done(&none);
    records_done(&full);
}

Test(records, versions_share_records_and_keep_their_own_pages)
{
    struct records records;
    struct user before, after;
    records_init(&records);
    add(&records, 1, 1, "Alice");
    struct tree held = tree_hold(&records.tree);
    add(&records, 2, 2, "Bob");
    cr_assert(records_get(&held, 1, &before));
    cr_assert(records_get(&records.tree, 1, &after));
    cr_assert(eq(ptr, (void *)before.name.at, (void *)after.name.at), "one record");
    cr_assert(not(records_get(&held, 2, &before)));
    records_check(&records, 2, 3, 2);
    records_done(&records);
    cr_assert(records_get(&held, 1, &before));
    cr_assert(user_is(&before, 1, 1, "Alice"));
    tree_drop(&held);
}

Test(records, replaced_and_removed_leave_older_versions_alone)
{
    struct records records;
    struct user user;
    records_init(&records);
    uint64_t empty = records.digest;
    add(&records, 1, 1, "Alice");
    add(&records, 2, 2, "Bob");
    struct tree held = tree_hold(&records.tree);
    cr_assert(records_get(&records.tree, 1, &user));
    user.index = 3; /* its name borrowed from what is replaced */
    user.email = bytes_of_text("alice@example.org");
    records_replace(&records, &user);
    cr_assert(records_get(&records.tree, 1, &user) && user_is(&user, 1, 3, "Alice"));
    cr_assert(bytes_equal(user.email, bytes_of_text("alice@example.org")));
    records_remove(&records, 2);
    cr_assert(not(records_get(&records.tree, 2, &user)));
    cr_assert(records_get(&held, 1, &user) && user_is(&user, 1, 1, "Alice") && user.email.len == 0);
    cr_assert(records_get(&held, 2, &user) && user_is(&user, 2, 2, "Bob"));
    static struct users_page page;
    cr_assert(records_diff(&held, &records.tree, 0, &page));
    cr_assert(page.count == 1 && page.changed == 1 && page.removed == 1 && page.removed_id[0] == 2);
    records_check(&records, 2, 3, 3);
    records_remove(&records, 1);
    cr_assert(zero(u64, records.count));
    cr_assert(eq(u64, records.digest, empty));
    cr_assert(zero(u64, tree_check(&records.tree, 1)), "no page is left");
    tree_drop(&held);
    records_done(&records);
}

Test(records, who_is_not_there_cannot_be_removed, .signal = SIGABRT)
{
    struct records records;
    records_init(&records);
    add(&records, 1, 1, "Alice");
    records_remove(&records, 2);
}
