/* Loading: what may be loaded behaves as what it came from, and what is damaged is refused. */
#include <errno.h>

#include "tests/users/support.h"

#define ANSWERS_MAX 128u
#define USERS       300u
#define NAME_BYTES  24u

/* What a store would hold of one version. */
struct snapshot {
    struct users_meta meta;
    size_t users, answers;
    struct user user[USERS + 1];
    uint8_t name[USERS + 1][NAME_BYTES];
    struct users_past answer[ANSWERS_MAX + 1];
};

/* Every third user's answer was a rejection before it, so that ids, numbers and indexes differ. */
static struct users *some_users(void)
{
    static uint8_t too_long[USER_NAME_BYTES_MAX + 1];
    struct users *users = users_new(ANSWERS_MAX);
    struct chance chance = {1};
    for (uint64_t id = 1, index = 10; id <= USERS; id++) {
        char name[NAME_BYTES];
        memset(name, 'a', sizeof(name));
        name[1 + chance_below(&chance, NAME_BYTES - 1)] = '\0';
        if (id % 3 == 0) {
            struct users_request request = create_request(index, bytes_of(too_long, 1025));
            must(users_apply(users, index++, &request).kind == USERS_REJECTED);
        }
        must(create(users, index, index, name).created.id == id);
        index++;
    }
    return users;
}

static void take(struct users *users, struct snapshot *snapshot)
{
    struct users_view *view = users_pin(users);
    memset(snapshot, 0, sizeof(*snapshot));
    snapshot->meta = users_view_meta(view);
    static struct users_page page;
    for (uint64_t from = 0; users_diff(NULL, view, from, &page); from = page.number + 1)
        for (uint32_t i = 0; i < page.count; i++) {
            struct user *user = &snapshot->user[snapshot->users];
            *user = page.at[i];
            user->name.at =
                memcpy(snapshot->name[snapshot->users], page.at[i].name.at, page.at[i].name.len);
            snapshot->users++;
        }
    static struct users_past_page past;
    for (uint64_t from = 0; users_diff_answers(NULL, view, from, &past); from = past.number + 1)
        for (uint32_t i = 0; i < past.count; i++)
            snapshot->answer[snapshot->answers++] = past.at[i];
    users_unpin(view);
}

/* Loads in an interleaving that `chance` chooses; NULL when refused, at whichever call. */
static struct users *load(const struct snapshot *snapshot, struct chance *chance)
{
    struct users *users = users_new(ANSWERS_MAX);
    size_t user = 0, answer = 0;
    int error = 0;
    while (error == 0 && user + answer < snapshot->users + snapshot->answers) {
        bool a_user =
            user < snapshot->users && (answer == snapshot->answers || chance_below(chance, 2) == 0);
        if (a_user)
            error = users_load_user(users, &snapshot->user[user++]);
        else
            error = users_load_answer(users, &snapshot->answer[answer++]);
    }
    if (error == 0)
        error = users_load_done(users, &snapshot->meta);
    must(error == 0 || error == -EBADMSG);
    if (error == 0)
        return users;
    users_free(users);
    return NULL;
}

static bool refused(const struct snapshot *snapshot, struct chance *chance)
{
    struct users *users = load(snapshot, chance);
    users_free(users);
    return users == NULL;
}

Test(users_load, what_was_saved_comes_back)
{
    static struct snapshot snapshot, again;
    struct chance chance = {2};
    struct users *users = some_users();
    take(users, &snapshot);
    cr_assert(eq(sz, snapshot.users, USERS));
    cr_assert(gt(sz, snapshot.answers, ANSWERS_MAX - 64));
    struct users *loaded = load(&snapshot, &chance);
    cr_assert(ne(ptr, loaded, NULL));
    users_check(loaded);
    take(loaded, &again);
    cr_assert(metas_equal(snapshot.meta, again.meta));
    cr_assert(eq(sz, again.answers, snapshot.answers));
    for (size_t i = 0; i < snapshot.users; i++)
        must(again.user[i].id == snapshot.user[i].id &&
             again.user[i].index == snapshot.user[i].index &&
             bytes_equal(again.user[i].name, snapshot.user[i].name));
    users_free(loaded);
    users_free(users);
}

Test(users_load, what_was_loaded_goes_on_like_what_it_came_from)
{
    static struct snapshot snapshot;
    struct chance chance = {3};
    struct users *users = some_users();
    take(users, &snapshot);
    struct users *loaded = load(&snapshot, &chance);
    for (uint64_t index = snapshot.meta.index + 1; index < snapshot.meta.index + 500; index++) {
        uint64_t number = index - chance_below(&chance, 200); /* new, remembered or forgotten */
        struct users_answer a = create(users, index, number, "name");
        struct users_answer b = create(loaded, index, number, "name");
        must(answers_equal(&a, &b));
        must(metas_equal(users_meta(users), users_meta(loaded)));
    }
    users_check(loaded);
    users_free(loaded);
    users_free(users);
}

Test(users_load, an_empty_state_can_be_loaded)
{
    struct users *users = users_new(64);
    struct users_meta meta = {.index = 7, .next_id = 3};
    cr_assert(zero(int, users_load_done(users, &meta)));
    cr_assert(metas_equal(users_meta(users), meta));
    cr_assert(eq(u64, create(users, 8, 1, "Alice").created.id, 3), "ids are never used twice");
    users_check(users);
    users_free(users);
}

Test(users_load, refuses_the_impossible_at_once)
{
    static const uint8_t too_long[USER_NAME_BYTES_MAX + 1];
    static const struct user bad_users[] = {
        {.id = 0, .index = 1},
        {.id = 1, .index = 0},
        {.id = USER_ID_MAX + 1, .index = 1},
        {.id = UINT64_MAX, .index = 1},
        {.id = 1, .index = 1, .name = {too_long, sizeof(too_long)}},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad_users); i++) {
        struct users *users = users_new(64);
        cr_assert(eq(int, users_load_user(users, &bad_users[i]), -EBADMSG));
        users_free(users);
    }
    static const struct users_past bad_answers[] = {
        {.answer = {.kind = USERS_CREATED, .index = 1, .created = {.id = 0, .etag = 1}}},
        {.answer = {.kind = USERS_CREATED, .index = 0, .created = {.id = 1, .etag = 0}}},
        {.answer = {.kind = USERS_CREATED,
                    .index = 1,
                    .created = {.id = USER_ID_MAX + 1, .etag = 1}}},
        {.answer = {.kind = USERS_CREATED, .index = 1, .created = {.id = UINT64_MAX, .etag = 1}}},
        {.answer = {.kind = USERS_REJECTED, .index = 0}},
        {.sequence = 1, .answer = {.kind = USERS_REJECTED, .index = 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad_answers); i++) {
        struct users *users = users_new(64);
        cr_assert(eq(int, users_load_answer(users, &bad_answers[i]), -EBADMSG));
        users_free(users);
    }
}

Test(users_load, refuses_emails_that_two_have_or_that_are_none)
{
    static const struct {
        const char *first, *second;
        int error;
    } rows[] = {
        {"ann@example.org", "ann@example.org", -EBADMSG},
        {"ann@example.org", "ANN@Example.ORG", -EBADMSG},
        {"", "", 0},
        {"ann@example.org", "", 0},
        {"ann@example.org", "ann@example.com", 0},
        {"ann@example.org", "ann", -EBADMSG},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct users *users = users_new(64);
        struct user user = {.id = 1, .index = 1, .email = bytes_of_text(rows[i].first)};
        cr_assert(zero(int, users_load_user(users, &user)));
        user = (struct user){.id = 2, .index = 2, .email = bytes_of_text(rows[i].second)};
        cr_expect(eq(int, users_load_user(users, &user), rows[i].error), "row %zu", i);
        users_free(users);
    }
}

/* Loads one user, one answer or both, with their true counts and digest, and the rest of meta. */
static int load_few(const struct user *user, const struct users_past *past, uint64_t index,
                    uint64_t next_id)
{
    struct users *users = users_new(ANSWERS_MAX);
    if (user != NULL)
        cr_assert(zero(int, users_load_user(users, user)));
    if (past != NULL)
        cr_assert(zero(int, users_load_answer(users, past)));
    struct users_meta meta = users_meta(users);
    meta.index = index;
    meta.next_id = next_id;
    int error = users_load_done(users, &meta);
    if (error == 0)
        users_check(users);
    users_free(users);
    return error;
}

Test(users_load, index_and_next_id_are_above_all_that_is_loaded)
{
    struct user user = {.id = 5, .index = 9, .name = bytes_of_text("Alice")};
    struct users_past past = {
        .sequence = 0,
        .id = request_id_of(1),
        .answer = {.kind = USERS_CREATED, .index = 9, .created = {.id = 5, .etag = 9}},
    };
    struct user *users[] = {&user, NULL, &user};
    struct users_past *pasts[] = {NULL, &past, &past};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        cr_assert(zero(int, load_few(users[i], pasts[i], 9, 6)));
        cr_assert(zero(int, load_few(users[i], pasts[i], 20, 21)));
        cr_assert(eq(int, load_few(users[i], pasts[i], 8, 6), -EBADMSG));
        cr_assert(eq(int, load_few(users[i], pasts[i], 9, 5), -EBADMSG));
        cr_assert(eq(int, load_few(users[i], pasts[i], 20, 22), -EBADMSG), "more ids than entries");
    }
    past.sequence = 64;
    cr_assert(eq(int, load_few(NULL, &past, 64, 6), -EBADMSG), "more answers than entries");
    cr_assert(zero(int, load_few(NULL, &past, 65, 6)));
}

Test(users_load, only_a_fresh_state_can_be_loaded_into, .signal = SIGABRT)
{
    struct users *users = users_new(64);
    create(users, 1, 1, "Alice");
    struct user user = {.id = 2, .index = 2};
    (void)!users_load_user(users, &user);
}

Test(users_load, nothing_can_be_applied_before_it_is_done, .signal = SIGABRT)
{
    struct users *users = users_new(64);
    struct user user = {.id = 2, .index = 2};
    cr_assert(zero(int, users_load_user(users, &user)));
    create(users, 3, 1, "Alice");
}

/* --- damage ----------------------------------------------------------------------------------- */

typedef void damage(struct snapshot *snapshot);

static void user_zero(struct snapshot *s)
{
    s->user[0].id = 0;
}
static void users_swapped(struct snapshot *s)
{
    struct user user = s->user[5];
    s->user[5] = s->user[6];
    s->user[6] = user;
}
static void user_twice(struct snapshot *s)
{
    s->user[6].id = s->user[5].id;
}
static void user_beyond(struct snapshot *s)
{
    s->user[s->users - 1].id = USER_ID_MAX + 1;
}
static void user_without_index(struct snapshot *s)
{
    s->user[8].index = 0;
}
static void user_from_the_future(struct snapshot *s)
{
    s->user[8].index = s->meta.index + 1;
}
static void user_of_no_id_given(struct snapshot *s)
{
    s->user[s->users - 1].id = s->meta.next_id;
}
static void user_missing(struct snapshot *s)
{
    s->users--;
}
static void first_user_missing(struct snapshot *s)
{
    s->users--;
    memmove(s->user, s->user + 1, s->users * sizeof(s->user[0]));
}
static void user_more(struct snapshot *s)
{
    s->user[s->users] = s->user[s->users - 1];
    s->user[s->users].id = ++s->meta.next_id - 1;
    s->users++;
}
static void name_too_long(struct snapshot *s)
{
    static uint8_t name[USER_NAME_BYTES_MAX + 1];
    s->user[9].name = bytes_of(name, sizeof(name));
}
static void name_shorter(struct snapshot *s)
{
    s->user[9].name.len--;
}
static void names_swapped(struct snapshot *s)
{
    struct bytes name = s->user[0].name;
    unsigned i = 1;
    while (bytes_equal(s->user[i].name, name))
        i++;
    s->user[0].name = s->user[i].name;
    s->user[i].name = name;
}
static void answer_missing(struct snapshot *s)
{
    s->answers--;
}
static void first_answer_missing(struct snapshot *s)
{
    s->answers--;
    memmove(s->answer, s->answer + 1, s->answers * sizeof(s->answer[0]));
}
static void first_page_of_answers_missing(struct snapshot *s)
{
    s->answers -= 64;
    memmove(s->answer, s->answer + 64, s->answers * sizeof(s->answer[0]));
}
static void all_answers_missing(struct snapshot *s)
{
    s->answers = 0;
}
static void answer_more(struct snapshot *s)
{
    s->answer[s->answers] = s->answer[s->answers - 1];
    s->answer[s->answers].sequence++;
    s->answer[s->answers].id = request_id_of(0);
    s->answer[s->answers].answer.index++;
    s->answers++;
}
static void answers_swapped(struct snapshot *s)
{
    struct users_past past = s->answer[3];
    s->answer[3] = s->answer[4];
    s->answer[4] = past;
}
static void request_id_twice(struct snapshot *s)
{
    s->answer[4].id = s->answer[3].id;
}
static void request_id_other(struct snapshot *s)
{
    s->answer[4].id = request_id_of(0);
}
static struct users_past *a_creation(struct snapshot *s)
{
    struct users_past *past = &s->answer[10];
    while (past->answer.kind != USERS_CREATED)
        past++;
    return past;
}
static void answer_of_user_zero(struct snapshot *s)
{
    a_creation(s)->answer.created.id = 0;
}
static void answer_of_a_user_beyond(struct snapshot *s)
{
    a_creation(s)->answer.created.id = USER_ID_MAX + 1;
}
static void answer_of_a_user_to_come(struct snapshot *s)
{
    a_creation(s)->answer.created.id = s->meta.next_id;
}
static void answer_other(struct snapshot *s)
{
    struct users_past *past = a_creation(s);
    past->answer = (struct users_answer){
        .kind = USERS_REJECTED,
        .index = past->answer.index,
    };
}
static void answer_from_the_future(struct snapshot *s)
{
    s->answer[s->answers - 1].answer.index = s->meta.index + 1;
}
static void count_other(struct snapshot *s)
{
    s->meta.users++;
}
static void digest_other(struct snapshot *s)
{
    s->meta.digest ^= 1;
}
static void index_before_the_last_entry(struct snapshot *s)
{
    s->meta.index--;
}
static void next_id_of_somebody(struct snapshot *s)
{
    s->meta.next_id--;
}
static void next_id_zero(struct snapshot *s)
{
    s->meta.next_id = 0;
}
static void more_ids_than_entries(struct snapshot *s)
{
    s->meta.next_id = s->meta.index + 2;
}
static void next_id_beyond(struct snapshot *s)
{
    s->meta.index = USER_ID_MAX + 5;
    s->meta.next_id = USER_ID_MAX + 2;
}
static void first_answer_other(struct snapshot *s)
{
    s->meta.answers_first -= 64;
}
static void next_answer_other(struct snapshot *s)
{
    s->meta.answers_next++;
}

#define DAMAGE(name) \
    {                \
#name, name  \
    }
static const struct {
    const char *what;
    damage *damage;
} damages[] = {
    DAMAGE(user_zero),
    DAMAGE(users_swapped),
    DAMAGE(user_twice),
    DAMAGE(user_beyond),
    DAMAGE(user_without_index),
    DAMAGE(user_from_the_future),
    DAMAGE(user_of_no_id_given),
    DAMAGE(user_missing),
    DAMAGE(first_user_missing),
    DAMAGE(user_more),
    DAMAGE(name_too_long),
    DAMAGE(name_shorter),
    DAMAGE(names_swapped),
    DAMAGE(answer_missing),
    DAMAGE(first_answer_missing),
    DAMAGE(first_page_of_answers_missing),
    DAMAGE(all_answers_missing),
    DAMAGE(answer_more),
    DAMAGE(answers_swapped),
    DAMAGE(request_id_twice),
    DAMAGE(request_id_other),
    DAMAGE(answer_of_user_zero),
    DAMAGE(answer_of_a_user_beyond),
    DAMAGE(answer_of_a_user_to_come),
    DAMAGE(answer_other),
    DAMAGE(answer_from_the_future),
    DAMAGE(count_other),
    DAMAGE(digest_other),
    DAMAGE(index_before_the_last_entry),
    DAMAGE(next_id_of_somebody),
    DAMAGE(next_id_zero),
    DAMAGE(more_ids_than_entries),
    DAMAGE(next_id_beyond),
    DAMAGE(first_answer_other),
    DAMAGE(next_answer_other),
};

Test(users_load, refuses_what_is_damaged)
{
    static struct snapshot whole, damaged;
    struct chance chance = {4};
    struct users *users = some_users();
    take(users, &whole);
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        damaged = whole;
        damages[i].damage(&damaged);
        cr_expect(refused(&damaged, &chance), "%s", damages[i].what);
    }
    cr_assert(not(refused(&whole, &chance)));
    users_free(users);
}

static void flip(void *at, size_t len, struct chance *chance)
{
    uint64_t bit = chance_below(chance, 8 * len);
    ((uint8_t *)at)[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* next_id and index of meta are bounded by what is loaded, not told by it: the store's checksum
 * of meta has to keep them. */
static void flip_any(struct snapshot *s, struct chance *chance)
{
    struct user *user = &s->user[chance_below(chance, s->users)];
    struct users_past *past = &s->answer[chance_below(chance, s->answers)];
    switch (chance_below(chance, 10)) {
    case 0:
        flip(&user->id, sizeof(user->id), chance);
        return;
    case 1:
        flip(&user->index, sizeof(user->index), chance);
        return;
    case 2:
        user->name.at = memcpy(s->name[USERS], user->name.at, user->name.len);
        flip(s->name[USERS], user->name.len, chance);
        return;
    case 3:
        flip(&past->sequence, sizeof(past->sequence), chance);
        return;
    case 4:
        flip(&past->id, sizeof(past->id), chance);
        return;
    case 5:
        flip(&a_creation(s)->answer.created.id, 8, chance);
        return;
    case 6:
        flip(past->answer.kind == USERS_CREATED ? &past->answer.index : &past->answer.index, 8,
             chance);
        return;
    case 7:
        flip(&s->meta.digest, 8, chance);
        return;
    case 8:
        flip(&s->meta.users, 8, chance);
        return;
    case 9:
        flip(chance_below(chance, 2) == 0 ? &s->meta.answers_first : &s->meta.answers_next, 8,
             chance);
        return;
    }
}

Test(users_load, refuses_any_flipped_bit)
{
    static struct snapshot whole, damaged;
    struct chance chance = {5};
    struct users *users = some_users();
    take(users, &whole);
    for (unsigned i = 0; i < 4000; i++) {
        damaged = whole;
        flip_any(&damaged, &chance);
        must(refused(&damaged, &chance));
    }
    users_free(users);
}
