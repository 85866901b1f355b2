#include "raft/users/users_state.h"

#include <errno.h>

#include "raft/users/allocate.h"
#include "raft/users/hash.h"

struct users *users_new(uint64_t answers_max)
{
    struct users *users = allocate_zeroed(1, sizeof(*users));
    records_init(&users->records);
    index_init(&users->names);
    index_init(&users->emails);
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
    index_drop(&users->names);
    index_drop(&users->emails);
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

static void index_user(struct users *users, const struct user *user)
{
    index_add(&users->names, users_hash(user->name), user->id);
    if (user->email.len > 0)
        index_add(&users->emails, users_hash_ignoring_case(user->email), user->id);
}

static void unindex_user(struct users *users, const struct user *user)
{
    index_remove(&users->names, users_hash(user->name), user->id);
    if (user->email.len > 0)
        index_remove(&users->emails, users_hash_ignoring_case(user->email), user->id);
}

static void add_user(struct users *users, const struct user *user)
{
    records_add(&users->records, user);
    index_user(users, user);
    users->changed = user->index;
}

/* `was` may be borrowed from the state. */
static void replace_user(struct users *users, const struct user *was, const struct user *user)
{
    if (!bytes_equal(was->name, user->name)) {
        index_remove(&users->names, users_hash(was->name), user->id);
        index_add(&users->names, users_hash(user->name), user->id);
    }
    if (!users_equal_ignoring_case(was->email, user->email)) {
        if (was->email.len > 0)
            index_remove(&users->emails, users_hash_ignoring_case(was->email), user->id);
        if (user->email.len > 0)
            index_add(&users->emails, users_hash_ignoring_case(user->email), user->id);
    }
    records_replace(&users->records, user);
    users->changed = user->index;
}

/* Who has this email; 0 for nobody. */
static uint64_t email_holder(const struct users *users, struct bytes email)
{
    uint64_t hash = users_hash_ignoring_case(email), id = 0;
    struct user user;
    while ((id = index_find(&users->emails, hash, id)) != 0) {
        bool found = records_get(&users->records.tree, id, &user);
        assert(found);
        if (users_is_match(&user, USERS_BY_EMAIL, email))
            return id;
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

/* Is the email another user's? Then the answer says whose. */
static bool is_taken(const struct users *users, struct bytes email, uint64_t id,
                     struct users_answer *ret_answer)
{
    uint64_t holder = email.len > 0 ? email_holder(users, email) : 0;
    if (holder == 0 || holder == id)
        return false;
    *ret_answer = (struct users_answer){.kind = USERS_EMAIL_TAKEN, .email_taken = {.id = holder}};
    return true;
}

static struct users_answer create(struct users *users, uint64_t index,
                                  const struct users_command *command)
{
    const struct users_create *wish = &command->create;
    struct users_answer answer;
    if (!user_text_valid(wish->name, wish->email) || users->next_id > USER_ID_MAX)
        return rejected(0);
    if (!conditions_of(command, users->changed))
        return condition_failed(0, users->changed);
    if (is_taken(users, wish->email, 0, &answer))
        return answer;
    struct user user = {users->next_id++, index, wish->name, wish->email};
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

/* The user becomes what is wished; its etag then. 0: `answer` says why not. */
static uint64_t change(struct users *users, uint64_t index, const struct user *was,
                       const struct user *wish, struct users_answer *ret_answer)
{
    if (!user_text_valid(wish->name, wish->email)) {
        *ret_answer = rejected(was->id);
        return 0;
    }
    if (is_taken(users, wish->email, was->id, ret_answer))
        return 0;
    if (bytes_equal(was->name, wish->name) && bytes_equal(was->email, wish->email))
        return was->index;
    struct user user = {was->id, index, wish->name, wish->email};
    replace_user(users, was, &user);
    return index;
}

static struct users_answer replace(struct users *users, uint64_t index,
                                   const struct users_command *command)
{
    const struct users_replace *replace = &command->replace;
    struct user was, wish = {.name = replace->name, .email = replace->email};
    struct users_answer answer;
    if (!find_user(users, command, replace->id, &was, &answer))
        return answer;
    uint64_t etag = change(users, index, &was, &wish, &answer);
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
    if ((patch->sets & ~(unsigned)(USERS_SETS_NAME | USERS_SETS_EMAIL)) != 0)
        return rejected(patch->id);
    if (!find_user(users, command, patch->id, &was, &answer))
        return answer;
    struct user wish = {
        .name = (patch->sets & USERS_SETS_NAME) != 0 ? patch->name : was.name,
        .email = (patch->sets & USERS_SETS_EMAIL) != 0 ? patch->email : was.email,
    };
    if (change(users, index, &was, &wish, &answer) == 0)
        return answer;
    bool found = records_get(&users->records.tree, patch->id, &now);
    assert(found);
    return (struct users_answer){
        .kind = USERS_PATCHED,
        .patched = {.id = now.id, .etag = now.index, .name = now.name, .email = now.email},
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
    unindex_user(users, &was);
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
        !user_text_valid(user->name, user->email) ||
        (user->email.len > 0 && email_holder(users, user->email) != 0))
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

/* Every user is once where its name says, and where its email does; no email is there twice. */
static void check_indexes(const struct users *users, uint32_t versions)
{
    static struct users_page page;
    uint64_t names = 0, emails = 0;
    for (uint64_t from = 0; records_diff(NULL, &users->records.tree, from, &page);
         from = page.number + 1) {
        for (uint32_t i = 0; i < page.count; i++) {
            const struct user *user = &page.at[i];
            names++;
            assert(index_find(&users->names, users_hash(user->name), user->id - 1) == user->id);
            if (user->email.len > 0) {
                emails++;
                assert(email_holder(users, user->email) == user->id);
            }
        }
    }
    assert(names == index_check(&users->names, versions));
    assert(emails == index_check(&users->emails, versions));
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
    check_indexes(users, versions);
}
