/* The text of pages, as a person reads them with redis-cli; see snapshots.h. */
#include "raft/snapshots/state.h"

#include <errno.h>

struct bytes snapshots_decimal(struct writer *scratch, uint64_t value)
{
    uint8_t *at = scratch->at;
    put_decimal(scratch, value);
    return bytes_of(at, (size_t)(scratch->at - at));
}

void snapshots_put_indexes(struct writer *out, const struct users_page *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        if (i > 0)
            put_text(out, " ");
        put_decimal(out, page->at[i].id);
        put_text(out, ":");
        put_decimal(out, page->at[i].index);
    }
}

int snapshots_get_indexes(struct bytes text, uint64_t page, uint64_t ret_index[USERS_PAGE])
{
    struct reader in = reader_of(text);
    for (uint32_t i = 0; i < USERS_PAGE; i++)
        ret_index[i] = 0;
    while (!in.bad && reader_left(&in) > 0) {
        uint64_t id = json_get_u64(&in);
        json_get_literal(&in, ":");
        uint64_t index = json_get_u64(&in);
        if (reader_left(&in) > 0)
            json_get_literal(&in, " ");
        if (in.bad || id / USERS_PAGE != page)
            return -EBADMSG;
        ret_index[id % USERS_PAGE] = index;
    }
    return in.bad ? -EBADMSG : 0;
}

static bool next_is(const struct reader *in, char c)
{
    return reader_left(in) > 0 && *in->at == (uint8_t)c;
}

static void put_id(struct writer *out, const struct request_id *id)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(id->at); i++) {
        put_u8(out, (uint8_t)digits[id->at[i] >> 4]);
        put_u8(out, (uint8_t)digits[id->at[i] & 15]);
    }
}

static uint8_t get_digit(struct reader *in)
{
    uint8_t c = get_u8(in);
    if (c >= '0' && c <= '9')
        return (uint8_t)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (uint8_t)(c - 'a' + 10);
    in->bad = true;
    return 0;
}

static struct request_id get_id(struct reader *in)
{
    struct request_id id;
    for (size_t i = 0; i < sizeof(id.at); i++) {
        uint8_t high = get_digit(in);
        id.at[i] = (uint8_t)(high << 4 | get_digit(in));
    }
    return id;
}

/* What a line says of an answer of each kind: a word, then its numbers, in this order. */
#define NUMBER(member) (offsetof(struct users_answer, member))
static const struct {
    const char *word; /* NULL: such an answer is not remembered */
    uint32_t numbers;
    size_t number_at[2];
} kinds[] = {
    [USERS_CREATED] = {"created", 2, {NUMBER(created.id), NUMBER(created.etag)}},
    [USERS_REJECTED] = {"rejected", 1, {NUMBER(rejected.id)}},
    [USERS_REPLACED] = {"replaced", 2, {NUMBER(replaced.id), NUMBER(replaced.etag)}},
    [USERS_PATCHED] = {"patched", 1, {NUMBER(patched.etag)}}, /* and then the user */
    [USERS_DELETED] = {"deleted", 1, {NUMBER(deleted.id)}},
    [USERS_NOT_FOUND] = {"not-found", 1, {NUMBER(not_found.id)}},
    [USERS_CONDITION_FAILED] = {"condition-failed",
                                2,
                                {NUMBER(condition_failed.id), NUMBER(condition_failed.etag)}},
    [USERS_EMAIL_TAKEN] = {"email-taken", 1, {NUMBER(email_taken.id)}},
    [USERS_KEY_REUSED] = {"key-reused", 1, {NUMBER(key_reused.first)}},
    [USERS_ID_REUSED] = {NULL, 0, {0}},
};
/* A kind that comes gets a row here. */
#define A_BYTE(KIND, type, arm, number) uint8_t arm;
struct every_kind {
    USERS_ANSWERS(A_BYTE)
};
_Static_assert(ARRAY_LEN(kinds) == 1 + sizeof(struct every_kind), "each kind has its row");

static uint64_t *number_of(struct users_answer *answer, uint32_t i)
{
    void *at = (char *)answer + kinds[answer->kind].number_at[i];
    return at;
}

/* "12 created 7 12", "13 patched 13 {"id":7,…}", "14 created 7 12 replayed". */
static void put_answer(struct writer *out, struct users_answer answer)
{
    assert(kinds[answer.kind].word != NULL);
    put_decimal(out, answer.index);
    put_text(out, " ");
    put_text(out, kinds[answer.kind].word);
    for (uint32_t i = 0; i < kinds[answer.kind].numbers; i++) {
        put_text(out, " ");
        put_decimal(out, *number_of(&answer, i));
    }
    if (answer.kind == USERS_PATCHED) {
        struct user user = {.id = answer.patched.id, .texts = answer.patched.texts};
        put_text(out, " ");
        user_json_put(out, &user);
    }
    put_text(out, answer.replayed ? " replayed" : "");
}

static bool take_word(struct reader *in, const char *word)
{
    struct reader ahead = *in;
    json_get_literal(&ahead, word);
    if (!ahead.bad && !next_is(&ahead, ' ') && !next_is(&ahead, '\n'))
        return false;
    if (!ahead.bad)
        *in = ahead;
    return !ahead.bad;
}

static struct users_answer get_answer(struct reader *in, struct writer *texts)
{
    struct users_answer answer = {.index = json_get_u64(in)};
    json_get_literal(in, " ");
    size_t kind = 1;
    while (kind < ARRAY_LEN(kinds) &&
           (kinds[kind].word == NULL || !take_word(in, kinds[kind].word)))
        kind++;
    if (kind == ARRAY_LEN(kinds)) {
        in->bad = true;
        return answer;
    }
    answer.kind = (enum users_answer_kind)kind;
    for (uint32_t i = 0; i < kinds[kind].numbers; i++) {
        json_get_literal(in, " ");
        *number_of(&answer, i) = json_get_u64(in);
    }
    if (answer.kind == USERS_PATCHED) {
        json_get_literal(in, " ");
        struct user user = user_json_get(in, texts);
        answer.patched.id = user.id;
        answer.patched.texts = user.texts;
    }
    answer.replayed = take_word(in, " replayed");
    return answer;
}

struct bytes snapshots_answers_field(struct writer *scratch, uint64_t number)
{
    uint8_t *at = scratch->at;
    put_text(scratch, number >= USERS_KEYED ? "k" : "");
    put_decimal(scratch, number & ~USERS_KEYED);
    return bytes_of(at, (size_t)(scratch->at - at));
}

void snapshots_put_answers(struct writer *out, const struct users_past_page *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        const struct users_past *past = &page->at[i];
        put_decimal(out, past->sequence);
        put_text(out, " ");
        put_id(out, &past->id);
        put_text(out, " ");
        if (past->keyed) {
            put_id(out, &past->fingerprint);
            put_text(out, " ");
            put_decimal(out, past->time_ms);
            put_text(out, " ");
        } else {
            put_decimal(out, past->command);
            put_text(out, " ");
        }
        if (past->forgotten)
            put_text(out, "forgotten");
        else
            put_answer(out, past->answer);
        put_text(out, "\n");
    }
}

static struct users_past get_past(struct reader *in, struct writer *texts)
{
    struct users_past past = {.sequence = json_get_u64(in)};
    json_get_literal(in, " ");
    past.id = get_id(in);
    json_get_literal(in, " ");
    struct reader ahead = *in; /* a fingerprint has 32 digits, which no number has */
    past.fingerprint = get_id(&ahead);
    past.keyed = !ahead.bad;
    if (past.keyed) {
        *in = ahead;
        json_get_literal(in, " ");
        past.time_ms = json_get_u64(in);
        json_get_literal(in, " ");
        past.forgotten = take_word(in, "forgotten");
    } else {
        past.fingerprint = (struct request_id){{0}};
        past.command = json_get_u64(in);
        json_get_literal(in, " ");
    }
    if (!past.forgotten)
        past.answer = get_answer(in, texts);
    json_get_literal(in, "\n");
    return past;
}

int snapshots_load_answers(struct bytes text, struct writer *texts, struct users *users)
{
    struct reader in = reader_of(text);
    while (!in.bad && reader_left(&in) > 0) {
        struct users_past past = get_past(&in, texts);
        if (in.bad || texts->bad)
            return -EBADMSG;
        int result = users_load_answer(users, &past);
        if (result != 0)
            return result;
    }
    return in.bad ? -EBADMSG : 0;
}
