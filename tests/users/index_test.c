/* The index from hashes to ids, beside a plain array; conditions, hashes and user_json beside it.
 */
#include "raft/users/index.h"

#include "raft/users/hash.h"
#include "raft/users/user_json.h"
#include "tests/users/support.h"

#include <errno.h>
#include <stdlib.h>

#define IDS    3000u
#define HASHES 60u

/* Few hashes; some are one bucket's, some are had by many ids. */
static uint64_t hash_at(uint64_t number)
{
    return number % 3 == 0 ? number : number << 58 | number;
}

static void expect_ids(const struct tree *index, const bool had[HASHES][IDS], uint64_t hash)
{
    uint64_t id = 0, expected = 1;
    while ((id = index_next(index, hash_at(hash), id)) != 0) {
        while (expected < IDS && !had[hash][expected])
            expected++;
        must(id == expected);
        expected++;
    }
    while (expected < IDS)
        must(!had[hash][expected++]);
}

Test(index, has_what_was_added_in_every_version)
{
    static bool had[HASHES][IDS], then[HASHES][IDS];
    struct chance chance = {1};
    struct tree index, held = {.root = NULL};
    index_init(&index);
    uint64_t count = 0;
    for (unsigned step = 0; step < 60000; step++) {
        uint64_t hash = chance_below(&chance, HASHES), id = 1 + chance_below(&chance, IDS - 1);
        if (hash % 4 == 0)
            id = 1 + id % 3; /* sets that come and go */
        count += had[hash][id] ? -1 : 1;
        if (had[hash][id])
            index_remove(&index, hash_at(hash), id);
        else
            index_add(&index, hash_at(hash), id);
        had[hash][id] = !had[hash][id];
        if (step % 50 == 0)
            expect_ids(&index, had, hash);
        if (step % 3000 == 0) {
            if (held.root != NULL) {
                for (uint64_t i = 0; i < HASHES; i++)
                    expect_ids(&held, then, i);
                tree_drop(&held);
            }
            must(index_check(&index, 1) == count);
            held = tree_hold(&index);
            memcpy(then, had, sizeof(then));
        }
    }
    must(index_check(&index, 2) == count);
    tree_drop(&held);
    tree_drop(&index);
}

Test(index, begins_after_any_id)
{
    static const uint64_t ids[] = {1, 63, 64, 65, 4095, 4096, USER_ID_MAX};
    struct tree index;
    index_init(&index);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        cr_assert(zero(u64, index_next(&index, 9, i > 0 ? ids[i - 1] : 0)));
        index_add(&index, 9, ids[i]);
        for (size_t j = 0; j <= i; j++) {
            cr_assert(eq(u64, index_next(&index, 9, ids[j] - 1), ids[j]));
            cr_assert(eq(u64, index_next(&index, 9, ids[j]), j < i ? ids[j + 1] : 0));
        }
    }
    cr_assert(zero(u64, index_next(&index, 8, 0)));
    tree_drop(&index);
}

Test(index, an_id_is_not_there_twice, .signal = SIGABRT)
{
    struct tree index;
    index_init(&index);
    index_add(&index, 9, 1);
    index_add(&index, 9, 2);
    index_add(&index, 9, 2);
}

Test(index, what_is_not_there_cannot_be_taken_out, .signal = SIGABRT)
{
    struct tree index;
    index_init(&index);
    index_add(&index, 9, 1);
    index_remove(&index, 9, 2);
}

Test(hash, of_texts_that_differ_in_ascii_case_only_is_one)
{
    struct bytes a = bytes_of_text("aZ@[`{\xc3\xa9"), b = bytes_of_text("Az@[`{\xc3\xa9");
    cr_assert(users_equal_ignoring_case(a, b));
    cr_assert(eq(u64, users_hash_ignoring_case(a), users_hash_ignoring_case(b)));
    cr_assert(ne(u64, users_hash(a), users_hash(b)));
    /* Neighbours of the letters, and letters beyond ASCII, are what they are. */
    static const char *const pairs[][2] = {
        {"@", "`"}, {"[", "{"}, {"\xc3\xa9", "\xc3\x89"}, {"a", "aa"}, {"", "a"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        a = bytes_of_text(pairs[i][0]);
        b = bytes_of_text(pairs[i][1]);
        cr_expect(not(users_equal_ignoring_case(a, b)), "%s", pairs[i][0]);
        cr_expect(ne(u64, users_hash_ignoring_case(a), users_hash_ignoring_case(b)));
    }
}

Test(condition, holds_or_not)
{
    uint8_t at[16];
    struct writer out = writer_of(at, sizeof(at));
    put_u64(&out, 7);
    put_u64(&out, 0);
    const struct condition none = {.kind = CONDITION_NONE}, any = {.kind = CONDITION_ANY},
                           empty = {.kind = CONDITION_LIST},
                           some = {.kind = CONDITION_LIST, .tags = writer_bytes(&out)};
    const struct {
        const struct condition *match, *none_match;
        uint64_t tag;
        bool holds;
    } rows[] = {
        {&none, &none, 7, true},    {&any, &none, 7, true},   {&empty, &none, 7, false},
        {&some, &none, 7, true},    {&some, &none, 0, true},  {&some, &none, 8, false},
        {&none, &any, 7, false},    {&none, &empty, 7, true}, {&none, &some, 7, false},
        {&none, &some, 8, true},    {&some, &some, 7, false}, {&any, &some, 8, true},
        {&empty, &empty, 7, false}, {&any, &any, 7, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect(
            eq(int, conditions_hold(rows[i].match, rows[i].none_match, rows[i].tag), rows[i].holds),
            "row %zu", i);
}

Test(user_json, comes_back_with_and_without_an_email)
{
    static const struct user users[] = {
        {.id = 7, .name = {(const uint8_t *)"Ann", 3}, .email = {(const uint8_t *)"a@b", 3}},
        {.id = USER_ID_MAX, .name = {NULL, 0}},
        {.id = 1, .name = {(const uint8_t *)"\"\n\\\0", 4}, .email = {(const uint8_t *)"\"@\\", 3}},
    };
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        uint8_t at[256], texts[64];
        struct writer out = writer_of(at, sizeof(at)), store = writer_of(texts, sizeof(texts));
        struct user back;
        user_json_put(&out, &users[i]);
        cr_assert(zero(int, user_json_decode(writer_bytes(&out), &store, &back)));
        cr_expect(back.id == users[i].id && back.index == 0);
        cr_expect(bytes_equal(back.name, users[i].name) && bytes_equal(back.email, users[i].email));
        for (size_t len = 0; len < writer_len(&out); len++) {
            store = writer_of(texts, sizeof(texts));
            cr_expect(eq(int, user_json_decode(bytes_of(at, len), &store, &back), -EBADMSG));
        }
    }
}

Test(user_json, of_any_other_form_is_refused)
{
    static const char *const texts[] = {"{\"id\":1,\"name\":\"a\",\"email\":\"\"}",
                                        "{\"id\":1,\"name\":\"a\",}",
                                        "{\"id\":1,\"email\":\"a@b\",\"name\":\"a\"}",
                                        "{\"id\":1,\"name\":\"a\",\"email\":null}",
                                        "{\"id\":1,\"name\":\"a\"} ",
                                        "{\"id\":1,\"name\":\"a\",\"email\":\"a@b\",\"x\":1}",
                                        "{\"id\":01,\"name\":\"a\"}",
                                        "{\"id\":1, \"name\":\"a\"}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint8_t store_at[64];
        struct writer store = writer_of(store_at, sizeof(store_at));
        struct user user;
        cr_expect(eq(int, user_json_decode(bytes_of_text(texts[i]), &store, &user), -EBADMSG), "%s",
                  texts[i]);
    }
    uint8_t few[2];
    struct writer store = writer_of(few, sizeof(few));
    struct user user;
    cr_expect(eq(int, user_json_decode(bytes_of_text("{\"id\":1,\"name\":\"abc\"}"), &store, &user),
                 -EBADMSG));
}
