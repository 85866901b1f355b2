#include "raft/users/user.h"

#define JSON_KEY(name) ",\"" #name "\":"
#define ROW(name, limit, need, by, check, demand)                                        \
    [USER_TEXT_##name] = {#name,                                                         \
                          {(const uint8_t *)JSON_KEY(name), sizeof(JSON_KEY(name)) - 1}, \
                          limit,                                                         \
                          USER_TEXT_##need,                                              \
                          USER_TEXT_BY_##by,                                             \
                          check,                                                         \
                          demand},
const struct user_text_row user_text_rows[USER_TEXTS_COUNT] = {USER_TEXTS(ROW)};

_Static_assert(USER_TEXTS_COUNT >= USER_TEXTS_ALWAYS && USER_TEXTS_COUNT <= 8,
               "a patch says in one byte which texts it sets");

/* --- texts ------------------------------------------------------------------------------------ */

bool user_text_valid(enum user_text text, struct bytes value)
{
    const struct user_text_row *row = &user_text_rows[text];
    if (value.len == 0 && row->need == USER_TEXT_OPTIONAL)
        return true;
    return value.len <= row->bytes_max && row->valid(value);
}

bool user_texts_valid(const struct user_texts *texts)
{
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        if (!user_text_valid((enum user_text)i, texts->at[i]))
            return false;
    }
    return true;
}

bool user_texts_fit(const struct user_texts *texts)
{
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        if (texts->at[i].len > user_text_rows[i].bytes_max)
            return false;
    }
    return true;
}

bool user_texts_equal(const struct user_texts *a, const struct user_texts *b)
{
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        if (!bytes_equal(a->at[i], b->at[i]))
            return false;
    }
    return true;
}

size_t user_texts_bytes(const struct user_texts *texts)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++)
        bytes += texts->at[i].len;
    return bytes;
}

/* --- as bytes --------------------------------------------------------------------------------- */

/* How many are written. */
static unsigned count_of(const struct user_texts *texts)
{
    unsigned count = USER_TEXTS_ALWAYS;
    for (unsigned i = USER_TEXTS_ALWAYS; i < USER_TEXTS_COUNT; i++) {
        if (texts->at[i].len > 0)
            count = i + 1;
    }
    return count;
}

void put_texts(struct writer *out, struct user_texts texts)
{
    unsigned count = count_of(&texts);
    for (unsigned i = 0; i < count; i++)
        put_bytes(out, texts.at[i]);
}

/* `count` of them, of which the last is there. */
static struct user_texts get_counted(struct reader *in, unsigned count)
{
    struct user_texts texts = {.at = {{.len = 0}}};
    for (unsigned i = 0; i < count; i++)
        texts.at[i] = get_bytes(in);
    if (count != count_of(&texts))
        in->bad = true;
    return texts;
}

struct user_texts get_texts(struct reader *in)
{
    struct user_texts texts = {.at = {{.len = 0}}};
    unsigned count = 0;
    while (count < USER_TEXTS_ALWAYS || (count < USER_TEXTS_COUNT && reader_left(in) > 0))
        texts.at[count++] = get_bytes(in);
    if (count != count_of(&texts))
        in->bad = true;
    return texts;
}

void print_texts(struct writer *out, const char *name, struct user_texts texts)
{
    (void)name;
    for (unsigned i = 0; i < count_of(&texts); i++)
        print_bytes(out, user_text_rows[i].name, texts.at[i]);
}

/* --- packed ----------------------------------------------------------------------------------- */

#define MORE_SHIFT 56
_Static_assert(USER_ID_MAX < UINT64_C(1) << MORE_SHIFT, "an id leaves room beside it");

size_t user_packed_bytes(const struct user *user)
{
    return 16 + 4 * (size_t)count_of(&user->texts) + user_texts_bytes(&user->texts);
}

void user_put(struct writer *out, const struct user *user)
{
    uint64_t more = count_of(&user->texts) - USER_TEXTS_ALWAYS;
    put_u64(out, user->id | more << MORE_SHIFT);
    put_u64(out, user->index);
    put_texts(out, user->texts);
}

struct user user_get(struct reader *in)
{
    struct user user = {.id = get_u64(in)};
    uint64_t more = user.id >> MORE_SHIFT;
    user.id &= (UINT64_C(1) << MORE_SHIFT) - 1;
    user.index = get_u64(in);
    if (more > USER_TEXTS_COUNT - USER_TEXTS_ALWAYS)
        in->bad = true;
    else
        user.texts = get_counted(in, USER_TEXTS_ALWAYS + (unsigned)more);
    return user;
}
