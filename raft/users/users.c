#include "raft/users/users_state.h"

#include <errno.h>

#include "raft/users/allocate.h"
#include "raft/users/hash.h"

struct users *users_new(uint64_t answers_max)
{
    struct users *users = allocate_zeroed(1, sizeof(*users));
    records_init(&users->records);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        index_init(&users->by[i]);
    answers_init(&users->recent, answers_max, false);
    answers_init(&users->keys, answers_max < USERS_KEYS_MAX ? answers_max : USERS_KEYS_MAX, true);
    users->next_id = 1;
    users->phase = USERS_FRESH;
    return users;
}

void users_free_when_unused(struct users *users)
{
    if (users->freed && users->views == 0)
        free(users);
}

void users_free(struct users *users)
{
    if (users == NULL)
        return;
    assert(!users->freed);
    records_done(&users->records);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        index_drop(&users->by[i]);
    answers_done(&users->recent);
    answers_done(&users->keys);
    users->freed = true;
    users_free_when_unused(users);
}

void users_raise(uint64_t *number, uint64_t at_least)
{
    if (*number < at_least)
        *number = at_least;
}

/* --- users and their indexes ------------------------------------------------------------------ */

bool users_is_indexed(enum user_text text, struct bytes value)
{
    const struct user_text_row *row = &user_text_rows[text];
    return row->by != USER_TEXT_BY_NOTHING && (row->need == USER_TEXT_REQUIRED || value.len > 0);
}

uint64_t users_text_hash(enum user_text text, struct bytes value)
{
    return user_text_rows[text].by == USER_TEXT_BY_UNIQUE ? users_hash_ignoring_case(value)
                                                          : users_hash(value);
}

bool users_texts_same(enum user_text text, struct bytes a, struct bytes b)
{
    return user_text_rows[text].by == USER_TEXT_BY_UNIQUE ? users_equal_ignoring_case(a, b)
                                                          : bytes_equal(a, b);
}

static void index_text(struct users *users, unsigned i, const struct user *user)
{
    struct bytes value = user->texts.at[i];
    if (users_is_indexed((enum user_text)i, value))
        index_add(&users->by[i], users_text_hash((enum user_text)i, value), user->id);
}

static void unindex_text(struct users *users, unsigned i, const struct user *user)
{
    struct bytes value = user->texts.at[i];
    if (users_is_indexed((enum user_text)i, value))
        index_remove(&users->by[i], users_text_hash((enum user_text)i, value), user->id);
}

void users_add(struct users *users, const struct user *user)
{
    records_add(&users->records, user);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        index_text(users, i, user);
    users->changed = user->index;
}

void users_replace_by(struct users *users, const struct user *was, const struct user *user)
{
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        if (users_texts_same((enum user_text)i, was->texts.at[i], user->texts.at[i]))
            continue;
        unindex_text(users, i, was);
        index_text(users, i, user);
    }
    records_replace(&users->records, user);
    users->changed = user->index;
}

void users_remove(struct users *users, const struct user *was, uint64_t index)
{
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        unindex_text(users, i, was);
    records_remove(&users->records, was->id);
    users->changed = index;
}

/* The user that has this text; 0 for nobody. */
static uint64_t holder_of(const struct users *users, enum user_text text, struct bytes value)
{
    uint64_t hash = users_text_hash(text, value), id = 0;
    struct user user;
    while ((id = index_find(&users->by[text], hash, id)) != 0) {
        bool found = records_get(&users->records.tree, id, &user);
        assert(found);
        if (users_texts_same(text, user.texts.at[text], value))
            return id;
    }
    return 0;
}

uint64_t users_taken_by(const struct users *users, const struct user_texts *texts, uint64_t id)
{
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        if (user_text_rows[i].by != USER_TEXT_BY_UNIQUE || texts->at[i].len == 0)
            continue;
        uint64_t holder = holder_of(users, (enum user_text)i, texts->at[i]);
        if (holder != 0 && holder != id)
            return holder;
    }
    return 0;
}

struct users_meta users_meta(const struct users *users)
{
    return (struct users_meta){
        .index = users->index,
        .users = users->records.count,
        .next_id = users->next_id,
        .changed = users->changed,
        .time_ms = users->time_ms,
        .answers_first = users->recent.first,
        .answers_next = users->recent.next,
        .keys_first = users->keys.first,
        .keys_next = users->keys.next,
        .digest = users->records.digest + users->recent.digest + users->keys.digest,
    };
}

uint64_t users_digest(const struct users *users)
{
    return users->records.digest + users->recent.digest + users->keys.digest +
           users->next_id * UINT64_C(0x9e3779b97f4a7c15) +
           users->time_ms * UINT64_C(0xc2b2ae3d27d4eb4f);
}

/* --- loading ---------------------------------------------------------------------------------- */

static void load_begin(struct users *users)
{
    assert(users->phase != USERS_RUNNING);
    users->phase = USERS_LOADING;
}

int users_load_user(struct users *users, const struct user *user)
{
    load_begin(users);
    if (user->id <= users->load_after || user->id > USER_ID_MAX || user->index == 0 ||
        !user_texts_valid(&user->texts) || users_taken_by(users, &user->texts, 0) != 0)
        return -EBADMSG;
    uint64_t changed = users->changed;
    users_add(users, user);
    users_raise(&users->changed, changed);
    users->load_after = user->id;
    users_raise(&users->next_id, user->id + 1);
    users_raise(&users->index, user->index);
    return 0;
}

int users_load_answer(struct users *users, const struct users_past *past)
{
    load_begin(users);
    int error = answers_load(past->keyed ? &users->keys : &users->recent, past);
    if (error != 0 || past->forgotten)
        return error;
    users_raise(&users->next_id, answer_user_id(&past->answer) + 1);
    users_raise(&users->index, past->answer.index);
    return 0;
}

bool users_begin_life(struct users *users, uint64_t seed)
{
    uint64_t gap = USERS_LIFE + seed % USERS_LIFE_SPREAD;
    if (users->next_id > USER_ID_MAX - gap || users->index > USER_ID_MAX - gap)
        return false;
    users->next_id += gap;
    users->index += gap;
    return true;
}

int users_load_done(struct users *users, const struct users_meta *meta)
{
    load_begin(users);
    struct users_meta loaded = users_meta(users);
    /* Every id and every answer took a log entry of its own. */
    if (meta->index < loaded.index || meta->next_id - 1 > meta->index ||
        meta->answers_next > meta->index || meta->keys_next > meta->answers_next ||
        meta->next_id < loaded.next_id || meta->next_id > USER_ID_MAX + 1 ||
        meta->changed < loaded.changed || meta->changed > meta->index)
        return -EBADMSG;
    if (meta->users != loaded.users || meta->answers_first != loaded.answers_first ||
        meta->answers_next != loaded.answers_next || meta->keys_first != loaded.keys_first ||
        meta->keys_next != loaded.keys_next || meta->digest != loaded.digest)
        return -EBADMSG;
    users->changed = meta->changed;
    users->time_ms = meta->time_ms;
    users->index = meta->index;
    users->next_id = meta->next_id;
    users->phase = USERS_RUNNING;
    return 0;
}

/* Every user is once where each text says; what nobody shares is not there twice. */
static void check_index(const struct users *users, enum user_text text, uint32_t versions)
{
    static struct users_page page;
    const struct index *index = &users->by[text];
    uint64_t count = 0;
    for (uint64_t from = 0; records_diff(NULL, &users->records.tree, from, &page);
         from = page.number + 1) {
        for (uint32_t i = 0; i < page.count; i++) {
            const struct user *user = &page.at[i];
            struct bytes value = user->texts.at[text];
            if (!users_is_indexed(text, value))
                continue;
            count++;
            assert(index_find(index, users_text_hash(text, value), user->id - 1) == user->id);
            assert(user_text_rows[text].by != USER_TEXT_BY_UNIQUE ||
                   holder_of(users, text, value) == user->id);
        }
    }
    assert(count == index_check(index, versions));
}

void users_check(const struct users *users)
{
    assert(users->phase != USERS_LOADING && !users->freed);
    assert(users->next_id >= 1 && users->next_id <= USER_ID_MAX + 1);
    assert(users->next_id - 1 <= users->index && users->recent.next <= users->index);
    assert(users->changed <= users->index && users->keys.next <= users->recent.next);
    assert(users->records.count < users->next_id);
    uint32_t versions = users->views + 1;
    records_check(&users->records, versions, users->next_id, users->index);
    answers_check(&users->recent, versions, users->next_id, users->index);
    answers_check(&users->keys, versions, users->next_id, users->index);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        check_index(users, (enum user_text)i, versions);
}
