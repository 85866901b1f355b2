#include "raft/users/user_json.h"

#include <errno.h>

void user_json_put(struct writer *out, const struct user *user)
{
    put_text(out, "{\"id\":");
    put_decimal(out, user->id);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        const struct user_text_row *row = &user_text_rows[i];
        if (row->need == USER_TEXT_OPTIONAL && user->texts.at[i].len == 0)
            continue;
        put_raw(out, row->json);
        json_put_string(out, user->texts.at[i]);
    }
    put_text(out, "}");
}

static struct bytes get_string(struct reader *in, struct writer *texts)
{
    uint8_t *at = texts->at;
    json_get_string(in, texts);
    return bytes_of(at, (size_t)(texts->at - at));
}

/* Reads these bytes if they come next. */
static bool take(struct reader *in, struct bytes wanted)
{
    struct reader ahead = *in;
    if (!bytes_equal(get_raw(&ahead, wanted.len), wanted))
        return false;
    *in = ahead;
    return true;
}

struct user user_json_get(struct reader *in, struct writer *texts)
{
    struct user user = {.index = 0};
    json_get_literal(in, "{\"id\":");
    user.id = json_get_u64(in);
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        const struct user_text_row *row = &user_text_rows[i];
        if (!take(in, row->json)) {
            if (row->need == USER_TEXT_REQUIRED)
                in->bad = true;
            continue;
        }
        user.texts.at[i] = get_string(in, texts);
        if (row->need == USER_TEXT_OPTIONAL && user.texts.at[i].len == 0)
            in->bad = true;
    }
    json_get_literal(in, "}");
    return user;
}

int user_json_decode(struct bytes text, struct writer *texts, struct user *ret_user)
{
    struct reader in = reader_of(text);
    struct user user = user_json_get(&in, texts);
    if (!reader_done(&in) || texts->bad)
        return -EBADMSG;
    *ret_user = user;
    return 0;
}
