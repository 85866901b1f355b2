/*
 * Applying a request to the state: what it may be (its order of checks is part of the replicated
 * state), what it does, and that it does it once.
 *
 *   1. A request whose id is remembered is answered as it was, or with ID_REUSED.
 *   2. So is one whose Idempotency-Key is remembered, or with KEY_REUSED; in 24 hours only.
 *   3. REJECTED: texts or ids that no user can have.
 *   4. NOT_FOUND, then CONDITION_FAILED, of the user; of the directory for CREATE.
 *   5. EMAIL_TAKEN.
 *   6. It is done; if nothing changes by it, the user keeps its ETag.
 *
 * Of REPLACE and PATCH 3 is judged of the id first, and of the texts after 4.
 */
#include "raft/users/users_state.h"

/* --- commands --------------------------------------------------------------------------------- */

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
#define ONLY_EMAIL(name, limit, need, by, check, demand)           \
    _Static_assert((USER_TEXT_##name == USER_TEXT_email) ==        \
                       (USER_TEXT_BY_##by == USER_TEXT_BY_UNIQUE), \
                   "EMAIL_TAKEN says which text is taken");
USER_TEXTS(ONLY_EMAIL)
static bool is_taken(const struct users *users, const struct user_texts *texts, uint64_t id,
                     struct users_answer *ret_answer)
{
    uint64_t holder = users_taken_by(users, texts, id);
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
    users_add(users, &user);
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
    users_replace_by(users, was, &user);
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
    users_remove(users, &was, index);
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
    users_raise(&users->time_ms, request->time_ms);
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
