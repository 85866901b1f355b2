#include "tests/users/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- texts ------------------------------------------------------------------------------------ */

static const uint8_t *letters(void)
{
    static uint8_t at[2 * USER_NAME_BYTES_MAX];
    for (size_t i = 0; i < sizeof(at) && at[i] == 0; i++)
        at[i] = (uint8_t)('a' + i % 25 + i / 256);
    return at;
}

/* One in 16 is empty, one in 16 as long as can be or too long, the others have 1 to 40 bytes. */
struct bytes model_name(uint64_t number)
{
    uint64_t mixed = number * UINT64_C(0x9e3779b97f4a7c15);
    const uint8_t *at = letters() + (mixed >> 8) % 500;
    uint64_t size = (mixed >> 20) % 16;
    if (size == 0)
        return bytes_of(at, 0);
    if (size == 1)
        return bytes_of(at, USER_NAME_BYTES_MAX + (mixed >> 30) % 8 / 7);
    return bytes_of(at, 1 + (mixed >> 40) % 40);
}

static void make_email(uint64_t number, char *text)
{
    static const char *const bad[MODEL_EMAILS_BAD] = {"nobody", "@example.org", "ann@", "a@b@c",
                                                      "a b@c"};
    static const char longest[] = "a-domain-that-goes-on-and-on-and-on.";
    if (number > MODEL_EMAILS) {
        snprintf(text, USER_EMAIL_BYTES_MAX + 2, "%s", bad[number - MODEL_EMAILS - 1]);
        return;
    }
    unsigned base = (unsigned)(number - 1) / 2;
    bool upper = number % 2 == 0;
    int len = snprintf(text, USER_EMAIL_BYTES_MAX + 2, "%s%u@%s", upper ? "USER" : "user", base,
                       upper ? "Example.ORG" : "example.org");
    /* One in 8 is as long as can be, and one as long as cannot. */
    size_t total = base == 5 ? USER_EMAIL_BYTES_MAX + 1 : USER_EMAIL_BYTES_MAX;
    for (size_t i = (size_t)len; base % 8 == 5 && i < total; i++)
        text[i] = i + 1 == total ? 'x' : longest[i % (sizeof(longest) - 1)];
}

struct bytes model_email(uint64_t number)
{
    static char text[MODEL_EMAILS + MODEL_EMAILS_BAD + 1][USER_EMAIL_BYTES_MAX + 2];
    assert(number < ARRAY_LEN(text));
    if (number > 0 && text[number][0] == '\0')
        make_email(number, text[number]);
    return bytes_of_text(text[number]);
}

struct user_texts model_texts(struct bytes name, struct bytes email)
{
    static const char *const others[] = {"", "1", "+49 30 901820", "a", "", "a longer text"};
    struct user_texts texts = {.name = name, .email = email};
    size_t number = name.len + 3 * email.len;
    for (unsigned i = USER_TEXTS_ALWAYS; i < USER_TEXTS_COUNT; i++) {
        struct bytes text = bytes_of_text(others[(number + i) % ARRAY_LEN(others)]);
        if (user_text_valid((enum user_text)i, text))
            texts.at[i] = text;
    }
    return texts;
}

bool model_same_email(struct bytes a, struct bytes b)
{
    return a.len == b.len && strncasecmp((const char *)a.at, (const char *)b.at, a.len) == 0;
}

/* Not by user_texts_equal, which is under test. */
static bool same_texts(const struct user_texts *a, const struct user_texts *b)
{
    bool same = true;
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        same = same && a->at[i].len == b->at[i].len &&
               (a->at[i].len == 0 || memcmp(a->at[i].at, b->at[i].at, a->at[i].len) == 0);
    return same;
}

bool model_same_user(const struct user *user, uint64_t id, const struct model_user *expected)
{
    return user->id == id && user->index == expected->index &&
           same_texts(&user->texts, &expected->texts);
}

/* --- conditions ------------------------------------------------------------------------------- */

static bool is_listed(const struct condition *condition, uint64_t tag)
{
    bool listed = false;
    for (size_t i = 0; i + 8 <= condition->tags.len; i += 8) {
        uint64_t at;
        memcpy(&at, condition->tags.at + i, 8); /* little-endian, like every machine here */
        listed |= at == tag;
    }
    return listed;
}

static bool holds(const struct users_command *command, uint64_t tag)
{
    const struct condition *match = &command->if_match, *none = &command->if_none_match;
    if (match->kind == CONDITION_LIST && !is_listed(match, tag))
        return false;
    return none->kind != CONDITION_ANY && !(none->kind == CONDITION_LIST && is_listed(none, tag));
}

/* --- commands --------------------------------------------------------------------------------- */

static struct users_answer rejected(uint64_t id)
{
    return (struct users_answer){.kind = USERS_REJECTED, .rejected = {.id = id}};
}

static struct users_answer failed(uint64_t id, uint64_t etag)
{
    return (struct users_answer){.kind = USERS_CONDITION_FAILED,
                                 .condition_failed = {.id = id, .etag = etag}};
}

static bool is_email(struct bytes email)
{
    size_t ats = 0;
    for (size_t i = 0; i < email.len; i++)
        ats += email.at[i] == '@';
    return email.len <= USER_EMAIL_BYTES_MAX && ats == 1 && email.at[0] != '@' &&
           email.at[email.len - 1] != '@';
}

/* By what make_email makes, not by the rule that is under test. */
static bool is_good(struct bytes email)
{
    return is_email(email) && memchr(email.at, ' ', email.len) == NULL;
}

/* Text that cannot be, or an email that somebody else has. */
static bool is_refused(const struct model *m, uint64_t id, const struct user_texts *texts,
                       struct users_answer *ret_answer)
{
    struct bytes name = texts->name, email = texts->email;
    *ret_answer = rejected(id);
    if (name.len > USER_NAME_BYTES_MAX || (email.len > 0 && !is_good(email)))
        return true;
    for (uint64_t other = 1; email.len > 0 && other < m->next_id; other++)
        if (other != id && m->user[other].index != 0 &&
            model_same_email(m->user[other].texts.email, email)) {
            *ret_answer =
                (struct users_answer){.kind = USERS_EMAIL_TAKEN, .email_taken = {.id = other}};
            return true;
        }
    return false;
}

static struct users_answer create_user(struct model *m, const struct users_command *command)
{
    struct users_answer answer;
    bool refused = is_refused(m, 0, &command->create.texts, &answer);
    if (refused && answer.kind == USERS_REJECTED)
        return answer;
    if (!holds(command, m->changed))
        return failed(0, m->changed);
    if (refused)
        return answer;
    uint64_t id = m->next_id++;
    m->user[id] = (struct model_user){m->index, command->create.texts};
    m->count++;
    m->changed = m->index;
    return (struct users_answer){.kind = USERS_CREATED, .created = {.id = id, .etag = m->index}};
}

/* False: the user is not there, or not as is demanded. */
static bool is_there(const struct model *m, const struct users_command *command, uint64_t id,
                     struct users_answer *ret_answer)
{
    if (id == 0 || id >= m->next_id || m->user[id].index == 0) {
        *ret_answer = (struct users_answer){.kind = USERS_NOT_FOUND, .not_found = {.id = id}};
        return false;
    }
    *ret_answer = failed(id, m->user[id].index);
    return holds(command, m->user[id].index);
}

/* False: `ret_answer` says why not. */
static bool set_user(struct model *m, uint64_t id, const struct user_texts *texts,
                     struct users_answer *ret_answer)
{
    struct model_user *user = &m->user[id];
    if (is_refused(m, id, texts, ret_answer))
        return false;
    if (same_texts(&user->texts, texts))
        return true;
    *user = (struct model_user){m->index, *texts};
    m->changed = m->index;
    return true;
}

static struct users_answer replace_user(struct model *m, const struct users_command *command)
{
    const struct users_replace *wish = &command->replace;
    struct users_answer answer;
    if (is_there(m, command, wish->id, &answer) && set_user(m, wish->id, &wish->texts, &answer))
        answer = (struct users_answer){
            .kind = USERS_REPLACED,
            .replaced = {.id = wish->id, .etag = m->user[wish->id].index},
        };
    return answer;
}

static struct users_answer patch_user(struct model *m, const struct users_command *command)
{
    const struct users_patch *wish = &command->patch;
    struct model_user *user = &m->user[wish->id];
    struct users_answer answer;
    if (wish->sets > USERS_SETS_ALL)
        return rejected(wish->id);
    struct user_texts texts = wish->texts;
    if (!is_there(m, command, wish->id, &answer))
        return answer;
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        if ((wish->sets >> i & 1) == 0)
            texts.at[i] = user->texts.at[i];
    if (set_user(m, wish->id, &texts, &answer))
        answer = (struct users_answer){
            .kind = USERS_PATCHED,
            .patched = {wish->id, user->index, user->texts},
        };
    return answer;
}

static struct users_answer delete_user(struct model *m, const struct users_command *command)
{
    uint64_t id = command->delete.id;
    struct users_answer answer;
    if (is_there(m, command, id, &answer)) {
        m->user[id] = (struct model_user){.index = 0};
        m->count--;
        m->changed = m->index;
        answer = (struct users_answer){.kind = USERS_DELETED, .deleted = {.id = id}};
    }
    return answer;
}

static struct users_answer carry_out(struct model *m, const struct users_command *command)
{
    switch (command->kind) {
    case USERS_CREATE:
        return create_user(m, command);
    case USERS_REPLACE:
        return replace_user(m, command);
    case USERS_PATCH:
        return patch_user(m, command);
    case USERS_DELETE:
        return delete_user(m, command);
    }
    UNREACHABLE();
}

/* --- what is remembered ----------------------------------------------------------------------- */

static struct model_past *find(struct model_table *table, const struct request_id *id)
{
    for (uint64_t i = table->first; i < table->next; i++)
        if (!table->at[i].forgotten && request_id_equal(&table->at[i].id, id))
            return &table->at[i];
    return NULL;
}

static uint64_t text_bytes(const struct model_table *table)
{
    uint64_t bytes = 0;
    for (uint64_t i = table->first; i < table->next; i++) {
        const struct users_answer *answer = &table->at[i].answer;
        if (!table->at[i].forgotten && answer->kind == USERS_PATCHED)
            for (unsigned t = 0; t < USER_TEXTS_COUNT; t++)
                bytes += answer->patched.texts.at[t].len;
    }
    return bytes;
}

/* At most `max` answers, and of texts 256 bytes for each of these; the oldest go in pages. */
static void remember(struct model_table *table, uint64_t max, struct model_past past)
{
    table->at[table->next++] = past;
    while (table->next - table->first > max ||
           (table->next - table->first > USERS_PAGE && text_bytes(table) > 256 * max))
        table->first += USERS_PAGE;
}

static struct users_answer under_key(struct model *m, const struct users_command *command)
{
    struct model_past *past = find(&m->keys, &command->key.id);
    struct users_answer answer;
    if (past != NULL && past->time_ms + USERS_KEYS_MS <= m->time_ms) {
        past->forgotten = true;
        past = NULL;
    }
    if (past == NULL) {
        answer = carry_out(m, command);
        answer.index = m->index;
        remember(&m->keys, m->answers_max,
                 (struct model_past){.id = command->key.id,
                                     .fingerprint = command->key.fingerprint,
                                     .time_ms = m->time_ms,
                                     .answer = answer});
        return answer;
    }
    if (!request_id_equal(&past->fingerprint, &command->key.fingerprint))
        return (struct users_answer){.kind = USERS_KEY_REUSED,
                                     .key_reused = {.first = past->answer.index}};
    answer = past->answer;
    answer.replayed = true;
    return answer;
}

/* With each request the oldest page of keys goes, if all of it is a day old; one page stays. */
static void expire(struct model *m)
{
    struct model_table *keys = &m->keys;
    if (keys->next - keys->first > USERS_PAGE &&
        keys->at[keys->first + USERS_PAGE - 1].time_ms + USERS_KEYS_MS <= m->time_ms)
        keys->first += USERS_PAGE;
}

/* --- the whole -------------------------------------------------------------------------------- */

static void *enlarged(void *at, uint64_t was, uint64_t is, size_t size)
{
    uint8_t *more = realloc(at, is * size);
    assert(more != NULL);
    memset(more + was * size, 0, (is - was) * size);
    return more;
}

static void reserve(struct model *m, uint64_t room)
{
    if (room <= m->room)
        return;
    m->user = enlarged(m->user, m->room, room, sizeof(*m->user));
    m->recent.at = enlarged(m->recent.at, m->room, room, sizeof(*m->recent.at));
    m->keys.at = enlarged(m->keys.at, m->room, room, sizeof(*m->keys.at));
    m->room = room;
}

void model_init(struct model *m, uint64_t answers_max)
{
    *m = (struct model){.answers_max = answers_max, .next_id = 1};
    reserve(m, 1024);
}

void model_done(struct model *m)
{
    free(m->user);
    free(m->recent.at);
    free(m->keys.at);
    *m = (struct model){.room = 0};
}

void model_copy(struct model *copy, const struct model *m)
{
    struct model old = *copy;
    reserve(&old, m->room);
    memcpy(old.user, m->user, m->room * sizeof(*m->user));
    memcpy(old.recent.at, m->recent.at, m->room * sizeof(*m->recent.at));
    memcpy(old.keys.at, m->keys.at, m->room * sizeof(*m->keys.at));
    *copy = *m;
    copy->room = old.room;
    copy->user = old.user;
    copy->recent.at = old.recent.at;
    copy->keys.at = old.keys.at;
}

void model_skip(struct model *m, uint64_t index)
{
    assert(index > m->index);
    m->index = index;
}

struct users_answer model_apply(struct model *m, uint64_t index,
                                const struct users_request *request)
{
    model_skip(m, index);
    if (m->next_id + 2 >= m->room || m->recent.next + 1 >= m->room)
        reserve(m, 2 * m->room);
    if (m->time_ms < request->time_ms)
        m->time_ms = request->time_ms;
    expire(m);
    const struct model_past *past = find(&m->recent, &request->id);
    const struct users_command *command = &request->command;
    uint64_t digest = users_command_digest(command);
    if (past != NULL && past->command != digest)
        return (struct users_answer){
            .index = index, .kind = USERS_ID_REUSED, .id_reused = {.first = past->answer.index}};
    if (past != NULL)
        return past->answer;
    struct users_answer answer = command->keyed ? under_key(m, command) : carry_out(m, command);
    answer.index = index;
    remember(&m->recent, m->answers_max,
             (struct model_past){.id = request->id, .command = digest, .answer = answer});
    return answer;
}
