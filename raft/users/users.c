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

static void raise_to(uint64_t *number, uint64_t at_least)
{
    if (*number < at_least)
        *number = at_least;
}

/* --- users and their indexes ------------------------------------------------------------------ */

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

static void add_user(struct users *users, const struct user *user)
{
    records_add(&users->records, user);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        index_text(users, i, user);
    users->changed = user->index;
}

/* `was` may be borrowed from the state. */
static void replace_user(struct users *users, const struct user *was, const struct user *user)
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

/* The other user that has a text of these that nobody shares; 0 for nobody. */
static uint64_t taken_by(const struct users *users, const struct user_texts *texts, uint64_t id)
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

/* --- applying --------------------------------------------------------------------------------- */

static struct users_answer rejected(uint64_t id)
{
    return (struct users_answer){
        .kind = USERS_REJECTED,
        .rejected = {.id = id <= USER_ID_MAX ? id : 0},
    };
}

static bool conditions_of(const struct users_command *command, uint64_t etag)
{
    return conditions_hold(&command->if_match, &command->if_none_match, etag);
}

static struct users_answer condition_failed(uint64_t id, uint64_t etag)
{
    return (struct users_answer){
        .kind = USERS_CONDITION_FAILED,
        .condition_failed = {.id = id, .etag = etag},
    };
}

/* Is a text that nobody shares another user's? Then the answer says whose. Only emails are so. */
#define IS_UNIQUE(name, limit, need, by, check, demand) +(USER_TEXT_BY_##by == USER_TEXT_BY_UNIQUE)
_Static_assert(0 USER_TEXTS(IS_UNIQUE) == 1, "EMAIL_TAKEN says which text is taken");
static bool is_taken(const struct users *users, const struct user_texts *texts, uint64_t id,
                     struct users_answer *ret_answer)
{
    uint64_t holder = taken_by(users, texts, id);
    if (holder == 0)
        return false;
    *ret_answer = (struct users_answer){.kind = USERS_EMAIL_TAKEN, .email_taken = {.id = holder}};
    return true;
}

static struct users_answer create(struct users *users, uint64_t index,
                                  const struct users_command *command)
{
    const struct user_texts *texts = &command->create.texts;
    struct users_answer answer;
    if (!user_texts_valid(texts) || users->next_id > USER_ID_MAX)
        return rejected(0);
    if (!conditions_of(command, users->changed))
        return condition_failed(0, users->changed);
    if (is_taken(users, texts, 0, &answer))
        return answer;
    struct user user = {.id = users->next_id++, .index = index, .texts = *texts};
    add_user(users, &user);
    return (struct users_answer){
        .kind = USERS_CREATED,
        .created = {.id = user.id, .etag = index},
    };
}

/* The user that the command is for, as it is; false: `answer` says what is wrong. */
static bool find_user(const struct users *users, const struct users_command *command, uint64_t id,
                      struct user *ret_user, struct users_answer *ret_answer)
{
    if (id > USER_ID_MAX) {
        *ret_answer = rejected(id);
        return false;
    }
    if (!records_get(&users->records.tree, id, ret_user)) {
        *ret_answer = (struct users_answer){.kind = USERS_NOT_FOUND, .not_found = {.id = id}};
        return false;
    }
    if (!conditions_of(command, ret_user->index)) {
        *ret_answer = condition_failed(id, ret_user->index);
        return false;
    }
    return true;
}

/* The user gets these texts; its etag then. 0: `answer` says why not. */
static uint64_t change(struct users *users, uint64_t index, const struct user *was,
                       const struct user_texts *texts, struct users_answer *ret_answer)
{
    if (!user_texts_valid(texts)) {
        *ret_answer = rejected(was->id);
        return 0;
    }
    if (is_taken(users, texts, was->id, ret_answer))
        return 0;
    if (user_texts_equal(&was->texts, texts))
        return was->index;
    struct user user = {.id = was->id, .index = index, .texts = *texts};
    replace_user(users, was, &user);
    return index;
}

static struct users_answer replace(struct users *users, uint64_t index,
                                   const struct users_command *command)
{
    const struct users_replace *replace = &command->replace;
    struct user was;
    struct users_answer answer;
    if (!find_user(users, command, replace->id, &was, &answer))
        return answer;
    uint64_t etag = change(users, index, &was, &replace->texts, &answer);
    if (etag == 0)
        return answer;
    return (struct users_answer){
        .kind = USERS_REPLACED,
        .replaced = {.id = replace->id, .etag = etag},
    };
}

static struct users_answer patch(struct users *users, uint64_t index,
                                 const struct users_command *command)
{
    const struct users_patch *patch = &command->patch;
    struct user was, now;
    struct users_answer answer;
    if ((patch->sets & ~USERS_SETS_ALL) != 0)
        return rejected(patch->id);
    if (!find_user(users, command, patch->id, &was, &answer))
        return answer;
    struct user_texts texts = was.texts;
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        if ((patch->sets & USERS_SETS(i)) != 0)
            texts.at[i] = patch->texts.at[i];
    }
    if (change(users, index, &was, &texts, &answer) == 0)
        return answer;
    bool found = records_get(&users->records.tree, patch->id, &now);
    assert(found);
    return (struct users_answer){
        .kind = USERS_PATCHED,
        .patched = {.id = now.id, .etag = now.index, .texts = now.texts},
    };
}

static struct users_answer delete (struct users *users, uint64_t index,
                                   const struct users_command *command)
{
    struct user was;
    struct users_answer answer;
    uint64_t id = command->delete.id;
    if (!find_user(users, command, id, &was, &answer))
        return answer;
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        unindex_text(users, i, &was);
    records_remove(&users->records, id);
    users->changed = index;
    return (struct users_answer){.kind = USERS_DELETED, .deleted = {.id = id}};
}

static struct users_answer carry_out(struct users *users, uint64_t index,
                                     const struct users_command *command)
{
    switch (command->kind) {
    case USERS_CREATE:
        return create(users, index, command);
    case USERS_REPLACE:
        return replace(users, index, command);
    case USERS_PATCH:
        return patch(users, index, command);
    case USERS_DELETE:
        return delete (users, index, command);
    }
    UNREACHABLE();
}

/* --- once ------------------------------------------------------------------------------------- */

/* The answer that is remembered under the request's key, or that this key stands for another. */
static bool is_replay(struct users *users, const struct users_command *command,
                      struct users_answer *ret_answer)
{
    struct users_past past;
    if (!command->keyed || !answers_find(&users->keys, &command->key.id, &past))
        return false;
    if (users->time_ms - past.time_ms >= USERS_KEYS_MS) {
        answers_forget(&users->keys, &past);
        return false;
    }
    if (request_id_equal(&past.fingerprint, &command->key.fingerprint)) {
        *ret_answer = past.answer;
        ret_answer->replayed = true;
    } else {
        *ret_answer = (struct users_answer){
            .kind = USERS_KEY_REUSED,
            .key_reused = {.first = past.answer.index},
        };
    }
    return true;
}

static void remember_key(struct users *users, const struct users_key *key,
                         const struct users_answer *answer)
{
    struct users_past past = {
        .keyed = true,
        .id = key->id,
        .fingerprint = key->fingerprint,
        .time_ms = users->time_ms,
        .answer = *answer,
    };
    answers_remember(&users->keys, &past);
}

void users_skip(struct users *users, uint64_t index)
{
    assert(users->phase != USERS_LOADING);
    assert(index > users->index);
    users->index = index;
    users->phase = USERS_RUNNING;
}

struct users_answer users_apply(struct users *users, uint64_t index,
                                const struct users_request *request)
{
    users_skip(users, index);
    raise_to(&users->time_ms, request->time_ms);
    if (users->time_ms >= USERS_KEYS_MS)
        answers_expire(&users->keys, users->time_ms - USERS_KEYS_MS + 1);
    struct users_past past = {.id = request->id};
    const struct users_command *command = &request->command;
    if (users_answered(users, &request->id, command, &past.answer))
        return past.answer;
    past.command = users_command_digest(command);
    bool replay = is_replay(users, command, &past.answer);
    if (!replay)
        past.answer = carry_out(users, index, command);
    past.answer.index = index;
    if (command->keyed && !replay)
        remember_key(users, &command->key, &past.answer);
    answers_remember(&users->recent, &past);
    return past.answer;
}

bool users_answered(const struct users *users, const struct request_id *id,
                    const struct users_command *command, struct users_answer *ret_answer)
{
    assert(users->phase != USERS_LOADING);
    struct users_past past;
    if (!answers_find(&users->recent, id, &past))
        return false;
    if (command != NULL && past.command != users_command_digest(command))
        past.answer = (struct users_answer){.index = users->index,
                                            .kind = USERS_ID_REUSED,
                                            .id_reused = {.first = past.answer.index}};
    *ret_answer = past.answer;
    return true;
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
        !user_texts_valid(&user->texts) || taken_by(users, &user->texts, 0) != 0)
        return -EBADMSG;
    uint64_t changed = users->changed;
    add_user(users, user);
    raise_to(&users->changed, changed);
    users->load_after = user->id;
    raise_to(&users->next_id, user->id + 1);
    raise_to(&users->index, user->index);
    return 0;
}

int users_load_answer(struct users *users, const struct users_past *past)
{
    load_begin(users);
    int error = answers_load(past->keyed ? &users->keys : &users->recent, past);
    if (error != 0 || past->forgotten)
        return error;
    raise_to(&users->next_id, answer_user_id(&past->answer) + 1);
    raise_to(&users->index, past->answer.index);
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
