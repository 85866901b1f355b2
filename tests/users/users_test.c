#include "raft/users/users.h"

#include <errno.h>

#include "tests/users/support.h"

static bool created_is(struct users_answer answer, uint64_t id, uint64_t index)
{
    return answer.kind == USERS_CREATED && answer.created.id == id && answer.index == index;
}

static bool rejected_is(struct users_answer answer, uint64_t index)
{
    return answer.kind == USERS_REJECTED && answer.index == index;
}

/* A pinned version has this user. */
static bool has(struct users *users, uint64_t id, uint64_t index, const char *name)
{
    struct users_view *view = users_pin(users);
    struct user user;
    bool found = users_view_get(view, id, &user) && user.id == id && user.index == index &&
                 bytes_equal(user.name, bytes_of_text(name));
    users_unpin(view);
    return found;
}

/* --- applying --------------------------------------------------------------------------------- */

Test(users, begin_empty)
{
    struct users *users = users_new(64);
    struct users_meta meta = users_meta(users);
    cr_assert(metas_equal(meta, (struct users_meta){.next_id = 1}));
    users_check(users);
    users_free(users);
    users_free(NULL);
}

Test(users, get_ids_that_count_up_from_1)
{
    struct users *users = users_new(64);
    cr_assert(created_is(create(users, 2, 100, "Alice"), 1, 2));
    cr_assert(created_is(create(users, 5, 101, "Bob"), 2, 5));
    cr_assert(created_is(create(users, 6, 102, "Alice"), 3, 6), "a name may be had twice");
    cr_assert(created_is(create(users, 7, 103, ""), 4, 7), "and be empty");
    cr_assert(has(users, 1, 2, "Alice"));
    cr_assert(has(users, 2, 5, "Bob"));
    cr_assert(has(users, 3, 6, "Alice"));
    cr_assert(has(users, 4, 7, ""));
    struct users_meta meta = users_meta(users);
    cr_assert(eq(u64, meta.index, 7));
    cr_assert(eq(u64, meta.users, 4));
    cr_assert(eq(u64, meta.next_id, 5));
    cr_assert(zero(u64, meta.answers_first));
    cr_assert(eq(u64, meta.answers_next, 4));
    users_check(users);
    users_free(users);
}

Test(users, a_request_tried_again_happens_once_and_has_its_first_answer)
{
    struct users *users = users_new(64);
    create(users, 1, 100, "Alice");
    create(users, 2, 101, "Bob");
    struct users_meta before = users_meta(users);
    cr_assert(created_is(create(users, 3, 100, "Alice"), 1, 1));
    cr_assert(created_is(create(users, 4, 100, "Alice"), 1, 1));
    struct users_meta after = users_meta(users);
    cr_assert(eq(u64, after.index, 4));
    after.index = before.index;
    cr_assert(metas_equal(before, after), "nothing else changed");
    cr_assert(created_is(create(users, 5, 102, "Carol"), 3, 5), "no id was used up");
    users_check(users);
    users_free(users);
}

/* Nobody is handed another's answer, and what came first stays remembered. */
Test(users, another_request_under_a_remembered_id_changes_nothing_and_is_told_so)
{
    struct users *users = users_new(64);
    struct users_request patch = {
        .id = request_id_of(100),
        .command = {.kind = USERS_PATCH,
                    .patch = {1, USERS_SETS(USER_TEXT_name), {.name = bytes_of_text("Eve")}}},
    };
    struct users_request conditional = create_request(100, bytes_of_text("Alice"));
    conditional.command.if_match.kind = CONDITION_ANY;
    const struct users_request others[] = {
        create_request(100, bytes_of_text("Bob")),
        patch,
        conditional,
    };
    struct users_answer answer;
    create(users, 1, 100, "Alice");
    struct users_meta before = users_meta(users);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cr_assert(users_answered(users, &others[i].id, &others[i].command, &answer));
        cr_assert(eq(int, answer.kind, USERS_ID_REUSED));
        answer = users_apply(users, 2 + i, &others[i]);
        cr_assert(eq(int, answer.kind, USERS_ID_REUSED));
        cr_assert(answer.index == 2 + i && answer.id_reused.first == 1);
    }
    struct users_meta after = users_meta(users);
    after.index = before.index;
    cr_assert(metas_equal(before, after), "nothing else changed");
    cr_assert(created_is(create(users, 9, 100, "Alice"), 1, 1));
    users_check(users);
    users_free(users);
}

Test(users, an_answer_can_be_asked_for)
{
    struct users *users = users_new(64);
    struct users_answer answer;
    struct request_id id = request_id_of(100), other = request_id_of(101);
    cr_assert(not(users_answered(users, &id, NULL, &answer)));
    create(users, 1, 100, "Alice");
    cr_assert(users_answered(users, &id, NULL, &answer));
    cr_assert(created_is(answer, 1, 1));
    cr_assert(not(users_answered(users, &other, NULL, &answer)));
    users_free(users);
}

Test(users, an_answer_is_remembered_until_its_page_goes)
{
    struct users *users = users_new(128);
    for (uint64_t i = 1; i <= 128; i++)
        create(users, i, i, "somebody");
    cr_assert(created_is(create(users, 129, 1, "somebody"), 1, 1));
    create(users, 130, 129, "one too many");
    struct users_meta meta = users_meta(users);
    cr_assert(eq(u64, meta.answers_first, 64));
    cr_assert(eq(u64, meta.answers_next, 129));
    cr_assert(created_is(create(users, 131, 65, "somebody"), 65, 65),
              "the next page is still there");
    cr_assert(created_is(create(users, 132, 64, "forgotten"), 130, 132));
    users_check(users);
    users_free(users);
}

Test(users, a_name_may_be_so_long_and_no_longer)
{
    struct users *users = users_new(64);
    uint8_t name[USER_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof(name));
    struct users_request fits = create_request(1, bytes_of(name, USER_NAME_BYTES_MAX));
    struct users_request too_long = create_request(2, bytes_of(name, USER_NAME_BYTES_MAX + 1));
    cr_assert(created_is(users_apply(users, 1, &fits), 1, 1));
    cr_assert(rejected_is(users_apply(users, 2, &too_long), 2));
    cr_assert(rejected_is(users_apply(users, 3, &too_long), 2), "a rejection is remembered too");
    cr_assert(eq(u64, users_meta(users).next_id, 2));
    cr_assert(created_is(create(users, 4, 3, "Alice"), 2, 4));
    users_check(users);
    users_free(users);
}

Test(users, the_last_id_is_given_once)
{
    struct users *users = users_new(64);
    struct user user = {.id = USER_ID_MAX - 1, .index = 9, .name = bytes_of_text("last but one")};
    cr_assert(zero(int, users_load_user(users, &user)));
    struct users_meta meta = users_meta(users);
    meta.index = USER_ID_MAX;
    meta.next_id = USER_ID_MAX;
    cr_assert(zero(int, users_load_done(users, &meta)));
    cr_assert(created_is(create(users, USER_ID_MAX + 1, 1, "last"), USER_ID_MAX, USER_ID_MAX + 1));
    cr_assert(rejected_is(create(users, USER_ID_MAX + 2, 2, "too late"), USER_ID_MAX + 2));
    cr_assert(rejected_is(create(users, USER_ID_MAX + 3, 3, "too late"), USER_ID_MAX + 3));
    cr_assert(eq(u64, users_meta(users).users, 2));
    users_check(users);
    users_free(users);
}

Test(users, entries_without_a_request_only_move_the_index)
{
    struct users *users = users_new(64);
    create(users, 1, 1, "Alice");
    struct users_meta before = users_meta(users);
    users_skip(users, 9);
    struct users_meta after = users_meta(users);
    cr_assert(eq(u64, after.index, 9));
    after.index = before.index;
    cr_assert(metas_equal(before, after));
    users_free(users);
}

Test(users, an_entry_cannot_be_applied_twice, .signal = SIGABRT)
{
    struct users *users = users_new(64);
    create(users, 5, 1, "Alice");
    create(users, 5, 2, "Bob");
}

Test(users, an_entry_cannot_be_skipped_after_a_later_one, .signal = SIGABRT)
{
    struct users *users = users_new(64);
    users_skip(users, 5);
    users_skip(users, 4);
}

Test(users, answers_come_in_whole_pages, .signal = SIGABRT)
{
    users_new(100);
}

/*
 * Nodes compare digests, and snapshots carry them: what they are may not change. (The numbers were
 * made apart from this code, with another SipHash.)
 */
Test(users, the_digest_is_the_same_everywhere_and_for_ever)
{
    struct users *users = users_new(64);
    cr_assert(zero(u64, users_meta(users).digest));
    create(users, 1, 1, "Alice");
    cr_assert(eq(u64, users_meta(users).digest, UINT64_C(14554530050986310805)));
    for (uint64_t i = 2; i < 300; i++)
        create(users, i, i, "Zo\xc3\xab");
    cr_assert(eq(u64, users_meta(users).digest, UINT64_C(11253245404528065262)));
    users_free(users);
}

/* --- versions --------------------------------------------------------------------------------- */

Test(users, a_view_stays_as_it_was)
{
    struct users *users = users_new(64);
    struct user user;
    create(users, 1, 1, "Alice");
    struct users_view *view = users_pin(users);
    struct users_meta meta = users_meta(users);
    for (uint64_t i = 2; i < 5000; i++)
        create(users, i, i, "somebody");
    cr_assert(metas_equal(users_view_meta(view), meta));
    cr_assert(users_view_get(view, 1, &user));
    cr_assert(not(users_view_get(view, 2, &user)));
    users_check(users);
    users_unpin(view);
    users_unpin(NULL);
    users_check(users);
    users_free(users);
}

Test(users, a_view_outlives_its_state)
{
    struct users *users = users_new(64);
    struct user user;
    create(users, 1, 1, "Alice");
    struct users_view *first = users_pin(users), *second = users_pin(users);
    users_free(users);
    users_unpin(first);
    cr_assert(users_view_get(second, 1, &user));
    cr_assert(bytes_equal(user.name, bytes_of_text("Alice")));
    users_unpin(second);
}

Test(users, a_view_lists_in_chunks)
{
    struct users *users = users_new(64);
    for (uint64_t i = 1; i <= 1000; i++)
        create(users, i, i, "somebody");
    struct users_view *view = users_pin(users);
    uint8_t at[500];
    uint64_t after = 0, next = 1;
    bool last = false;
    while (!last) {
        struct writer out = writer_of(at, sizeof(at));
        after = users_view_list(view, after, 0, &out, &last);
        struct reader in = reader_of(writer_bytes(&out));
        while (reader_left(&in) > 0) {
            struct user user = user_get(&in);
            must(user.id == next && user.index == next);
            next++;
        }
        must(reader_done(&in) && after == next - 1);
    }
    cr_assert(eq(u64, next, 1001));
    users_unpin(view);
    users_free(users);
}

Test(users, a_difference_is_found_among_many_that_are_shared)
{
    struct users *users = users_new(64);
    struct users_page page;
    struct users_past_page past;
    for (uint64_t i = 1; i <= 10000; i++)
        create(users, i, i, "somebody");
    struct users_view *old = users_pin(users);
    cr_assert(not(users_diff(old, old, 0, &page)));
    create(users, 10001, 10001, "somebody else");
    struct users_view *now = users_pin(users);
    cr_assert(users_diff(old, now, 0, &page));
    cr_assert(eq(u64, page.number, 10001 / 64));
    cr_assert(eq(u32, page.count, 10001 % 64 + 1));
    cr_assert(eq(u64, page.changed, UINT64_C(1) << 10001 % 64));
    cr_assert(zero(u32, page.removed));
    cr_assert(not(users_diff(old, now, page.number + 1, &page)));
    cr_assert(users_diff(now, old, 0, &page), "and back");
    cr_assert(zero(u64, page.changed));
    cr_assert(eq(u32, page.removed, 1));
    cr_assert(eq(u64, page.removed_id[0], 10001));
    cr_assert(users_diff_answers(old, now, 0, &past));
    cr_assert(eq(u64, past.at[past.count - 1].sequence, 10000));
    users_unpin(old);
    users_unpin(now);
    users_free(users);
}

/* Lists from any id on, while one page after the other is emptied. */
Test(users, a_list_goes_on_after_users_who_are_all_gone)
{
    struct users *users = users_new(64);
    for (uint64_t id = 1; id <= 200; id++)
        create(users, id, id, "somebody");
    for (uint64_t gone = 1; gone <= 190; gone++) {
        struct users_request request = {
            .id = request_id_of(1000 + gone),
            .command = {.kind = USERS_DELETE, .delete = {.id = gone}},
        };
        must(users_apply(users, 200 + gone, &request).kind == USERS_DELETED);
        struct users_view *view = users_pin(users);
        for (uint64_t after = 0; after < 200; after++) {
            uint8_t at[USER_PACKED_BYTES_MAX];
            struct writer out = writer_of(at, sizeof(at));
            bool last;
            uint64_t first = after > gone ? after + 1 : gone + 1;
            must(users_view_list(view, after, 1, &out, &last) == first && last == (first == 200));
        }
        users_unpin(view);
    }
    users_free(users);
}
