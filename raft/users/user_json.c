#include "raft/users/user_json.h"

#include <errno.h>

void user_json_put(struct writer *out, const struct user *user)
{
    put_text(out, "{\"id\":");
    put_decimal(out, user->id);
    put_text(out, ",\"name\":");
    json_put_string(out, user->name);
    if (user->email.len > 0) {
        put_text(out, ",\"email\":");
        json_put_string(out, user->email);
    }
    put_text(out, "}");
}

static struct bytes get_string(struct reader *in, struct writer *texts)
{
    uint8_t *at = texts->at;
    json_get_string(in, texts);
    return bytes_of(at, (size_t)(texts->at - at));
}

struct user user_json_get(struct reader *in, struct writer *texts)
{
    struct user user = {.index = 0};
    json_get_literal(in, "{\"id\":");
    user.id = json_get_u64(in);
    json_get_literal(in, ",\"name\":");
    user.name = get_string(in, texts);
    if (reader_left(in) > 0 && *in->at == ',') {
        json_get_literal(in, ",\"email\":");
        user.email = get_string(in, texts);
        if (user.email.len == 0)
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
