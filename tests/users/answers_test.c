#include "raft/users/answers.h"

#include <errno.h>

#include "tests/users/support.h"

static struct users_answer created(uint64_t id, uint64_t index)
{
    return (struct users_answer){
        .kind = USERS_CREATED, .index = index, .created = {.id = id, .etag = index}};
}

/* The answer with this sequence number, in these tests. */
static struct users_past past_of(uint64_t sequence)
{
    struct users_past past = {.sequence = sequence, .id = request_id_of(sequence)};
    if (sequence % 5 == 4)
        past.answer = (struct users_answer){.kind = USERS_REJECTED, .index = sequence + 1};
    else
        past.answer = created(sequence + 1, sequence + 1);
    return past;
}

static void remember(struct answers *answers, uint64_t sequence)
{
    struct users_past past = past_of(sequence);
    answers_remember(answers, &past);
}

static bool finds(const struct answers *answers, uint64_t sequence)
{
    struct users_past past = past_of(sequence);
    struct users_past found;
    if (!answers_find(answers, &past.id, &found))
        return false;
    must(answers_equal(&found.answer, &past.answer));
    return true;
}

Test(answers, finds_what_it_remembers)
{
    struct answers answers;
    answers_init(&answers, 64, false);
    cr_assert(not(finds(&answers, 0)));
    remember(&answers, 0);
    cr_assert(finds(&answers, 0));
    cr_assert(not(finds(&answers, 1)));
    answers_done(&answers);
}

/* Among so many, ten pairs of ids share the 32 bits by which they are looked up. */
Test(answers, ids_with_one_hash_are_told_apart)
{
    struct answers answers;
    answers_init(&answers, UINT64_C(1) << 19, false);
    for (uint64_t sequence = 0; sequence < 300000; sequence++) {
        must(!finds(&answers, sequence));
        remember(&answers, sequence);
        must(finds(&answers, sequence));
    }
    answers_check(&answers, 1, 300001, 300000);
    answers_done(&answers);
}

static void expect_window(const struct answers *answers, uint64_t first, uint64_t next)
{
    must(answers->first == first && answers->next == next);
    must(first == 0 || !finds(answers, first - 1));
    must(!finds(answers, next));
    must(finds(answers, first) && finds(answers, next - 1));
}

Test(answers, forgets_the_oldest_page_when_there_are_more_than_the_most)
{
    struct answers answers;
    answers_init(&answers, 128, false);
    for (uint64_t sequence = 0; sequence < 2000; sequence++) {
        remember(&answers, sequence);
        uint64_t next = sequence + 1;
        expect_window(&answers, next <= 128 ? 0 : (next - 128 + 63) / 64 * 64, next);
        answers_check(&answers, 1, next + 1, next);
    }
    answers_done(&answers);
}

Test(answers, keeps_just_the_most_before_it_forgets)
{
    struct answers answers;
    answers_init(&answers, 64, false);
    for (uint64_t sequence = 0; sequence < 64; sequence++)
        remember(&answers, sequence);
    expect_window(&answers, 0, 64);
    remember(&answers, 64);
    expect_window(&answers, 64, 65);
    answers_done(&answers);
}

Test(answers, the_digest_is_that_of_what_is_remembered)
{
    struct answers long_lived, loaded;
    answers_init(&long_lived, 128, false);
    for (uint64_t sequence = 0; sequence < 1000; sequence++)
        remember(&long_lived, sequence);
    answers_init(&loaded, 128, false);
    for (uint64_t sequence = long_lived.first; sequence < 1000; sequence++) {
        struct users_past past = past_of(sequence);
        cr_assert(zero(int, answers_load(&loaded, &past)));
    }
    cr_assert(eq(u64, long_lived.digest, loaded.digest));
    answers_done(&long_lived);
    answers_done(&loaded);
}

Test(answers, what_a_version_holds_it_keeps)
{
    struct answers answers;
    struct users_past_page page;
    answers_init(&answers, 64, false);
    for (uint64_t sequence = 0; sequence < 40; sequence++)
        remember(&answers, sequence);
    struct tree held = tree_hold(&answers.tree);
    for (uint64_t sequence = 40; sequence < 500; sequence++)
        remember(&answers, sequence);
    cr_assert(answers_diff(NULL, &held, 0, &page));
    cr_assert(eq(u32, page.count, 40));
    for (uint64_t sequence = 0; sequence < 40; sequence++) {
        struct users_past past = past_of(sequence);
        cr_assert(eq(u64, page.at[sequence].sequence, sequence));
        cr_assert(request_id_equal(&page.at[sequence].id, &past.id));
        cr_assert(answers_equal(&page.at[sequence].answer, &past.answer));
    }
    cr_assert(not(answers_diff(NULL, &held, 1, &page)));
    tree_drop(&held);
    answers_done(&answers);
}

Test(answers, a_difference_has_the_pages_that_came_grew_and_went)
{
    struct answers answers;
    struct users_past_page page;
    answers_init(&answers, 192, false);
    for (uint64_t sequence = 0; sequence < 140; sequence++)
        remember(&answers, sequence);
    struct tree held = tree_hold(&answers.tree);
    for (uint64_t sequence = 140; sequence < 200; sequence++)
        remember(&answers, sequence);
    static const uint32_t counts[] = {0, 64, 64, 8}; /* page 1 is as it was */
    uint64_t from = 0;
    for (unsigned number = 0; number < 4; number++) {
        if (number == 1)
            continue;
        cr_assert(answers_diff(&held, &answers.tree, from, &page));
        cr_assert(eq(u64, page.number, number));
        cr_assert(eq(u32, page.count, counts[number]));
        from = page.number + 1;
    }
    cr_assert(not(answers_diff(&held, &answers.tree, from, &page)));
    tree_drop(&held);
    answers_done(&answers);
}

/* --- loading ---------------------------------------------------------------------------------- */

Test(answers, load_begins_with_any_page)
{
    for (uint64_t first = 0; first < 1000; first++) {
        struct answers answers;
        answers_init(&answers, 64, false);
        struct users_past past = past_of(first);
        cr_assert(eq(int, answers_load(&answers, &past), first % 64 == 0 ? 0 : -EBADMSG));
        answers_done(&answers);
    }
}

static struct answers loaded(uint64_t first, uint64_t next)
{
    struct answers answers;
    answers_init(&answers, 128, false);
    for (uint64_t sequence = first; sequence < next; sequence++) {
        struct users_past past = past_of(sequence);
        cr_assert(zero(int, answers_load(&answers, &past)));
    }
    return answers;
}

Test(answers, load_refuses_what_cannot_follow)
{
    struct answers answers = loaded(640, 700);
    struct users_past past = past_of(701);
    cr_assert(eq(int, answers_load(&answers, &past), -EBADMSG), "a gap");
    past = past_of(699);
    cr_assert(eq(int, answers_load(&answers, &past), -EBADMSG), "the same number twice");
    past = past_of(700);
    past.id = request_id_of(650);
    cr_assert(eq(int, answers_load(&answers, &past), -EBADMSG), "the same id twice");
    past = past_of(700);
    past.answer = created(701, 700);
    cr_assert(eq(int, answers_load(&answers, &past), -EBADMSG), "an index that does not rise");
    past = past_of(700);
    cr_assert(zero(int, answers_load(&answers, &past)));
    answers_check(&answers, 1, 1000, 1000);
    answers_done(&answers);
}

Test(answers, load_refuses_more_than_the_most)
{
    struct answers answers = loaded(64, 192);
    struct users_past past = past_of(192);
    cr_assert(eq(int, answers_load(&answers, &past), -EBADMSG));
    answers_done(&answers);
}

Test(answers, load_refuses_the_last_number_there_is)
{
    struct answers answers;
    answers_init(&answers, 128, false);
    for (uint64_t sequence = UINT64_MAX - 63; sequence != 0; sequence++) {
        struct users_past past = past_of(sequence);
        past.answer = created(1, sequence);
        cr_assert(eq(int, answers_load(&answers, &past), sequence == UINT64_MAX ? -EBADMSG : 0));
    }
    answers_done(&answers);
}

Test(answers, goes_on_as_it_would_have_after_a_load)
{
    struct answers long_lived, fresh = loaded(128, 250);
    answers_init(&long_lived, 128, false);
    for (uint64_t sequence = 0; sequence < 250; sequence++)
        remember(&long_lived, sequence);
    for (uint64_t sequence = 250; sequence < 600; sequence++) {
        remember(&long_lived, sequence);
        remember(&fresh, sequence);
        must(fresh.first == long_lived.first && fresh.digest == long_lived.digest);
        answers_check(&fresh, 1, sequence + 2, sequence + 1);
    }
    answers_done(&long_lived);
    answers_done(&fresh);
}

/* --- under keys ------------------------------------------------------------------------------- */

static struct users_past keyed_of(uint64_t sequence, uint64_t time_ms)
{
    struct users_past past = past_of(sequence);
    past.keyed = true;
    past.time_ms = time_ms;
    return past;
}

Test(answers, that_are_forgotten_keep_their_place_and_nothing_else)
{
    struct answers answers;
    answers_init(&answers, 128, true);
    for (uint64_t sequence = 0; sequence < 10; sequence++) {
        struct users_past past = keyed_of(sequence, sequence);
        answers_remember(&answers, &past);
    }
    struct tree held = tree_hold(&answers.tree);
    struct users_past past = keyed_of(3, 3), found;
    cr_assert(answers_find(&answers, &past.id, &found) && found.sequence == 3);
    answers_forget(&answers, &found);
    cr_assert(not(answers_find(&answers, &past.id, &found)));
    past = keyed_of(10, 10);
    past.id = request_id_of(3);
    answers_remember(&answers, &past); /* under the same key, anew */
    cr_assert(answers_find(&answers, &past.id, &found) && found.sequence == 10);
    answers_check(&answers, 2, 12, 11);
    static struct users_past_page page;
    cr_assert(answers_diff(&held, &answers.tree, 0, &page));
    cr_assert(eq(u32, page.count, 11));
    cr_assert(page.at[3].forgotten && !page.at[2].forgotten);
    cr_assert(answers_diff(NULL, &held, 0, &page) && !page.at[3].forgotten, "not in that version");
    tree_drop(&held);
    answers_done(&answers);
}

Test(answers, expire_a_page_at_a_time_once_its_newest_is_old)
{
    struct answers answers;
    answers_init(&answers, 256, true);
    for (uint64_t sequence = 0; sequence < 200; sequence++) {
        struct users_past past = keyed_of(sequence, 1000 + sequence);
        answers_remember(&answers, &past);
    }
    answers_expire(&answers, 1063);
    cr_assert(zero(u64, answers.first), "its newest is of 1063");
    answers_expire(&answers, 1064);
    cr_assert(eq(u64, answers.first, 64));
    answers_expire(&answers, UINT64_MAX);
    cr_assert(eq(u64, answers.first, 128), "one at a time");
    answers_expire(&answers, UINT64_MAX);
    answers_expire(&answers, UINT64_MAX);
    cr_assert(eq(u64, answers.first, 192), "the newest page stays");
    answers_check(&answers, 1, 202, 201);
    answers_done(&answers);
}

/* Whatever time a damaged snapshot gives one that is forgotten, and so is in no digest. */
Test(answers, expire_with_one_that_is_forgotten)
{
    struct answers answers;
    answers_init(&answers, 256, true);
    for (uint64_t sequence = 0; sequence < 70; sequence++) {
        struct users_past past = keyed_of(sequence, sequence);
        past.forgotten = sequence == 63;
        past.time_ms = past.forgotten ? UINT64_MAX : sequence;
        cr_assert(zero(int, answers_load(&answers, &past)));
    }
    answers_expire(&answers, 64);
    cr_assert(eq(u64, answers.first, 64));
    answers_done(&answers);
}

Test(answers, hold_so_many_bytes_of_text_and_no_more)
{
    static uint8_t name[USER_NAME_BYTES_MAX];
    struct answers answers;
    uint64_t most = 0;
    answers_init(&answers, 256, false);
    for (uint64_t sequence = 0; sequence < 1000; sequence++) {
        struct users_past past = past_of(sequence);
        past.answer = (struct users_answer){
            .kind = USERS_PATCHED,
            .index = sequence + 1,
            .patched = {.id = 1, .etag = 1, .texts = {.name = bytes_of(name, sizeof(name))}},
        };
        answers_remember(&answers, &past);
        must(answers.text_bytes <= 256 * ANSWERS_TEXT_BYTES);
        if (most < answers.text_bytes)
            most = answers.text_bytes;
    }
    cr_assert(eq(u64, most, 256 * ANSWERS_TEXT_BYTES));
    answers_check(&answers, 1, 2, 1000);
    answers_done(&answers);
}
