#include "raft/users/user_json.h"

#include <errno.h>

void user_json_put(struct writer *out, const struct user *user)
{
    put_text(out, "{\"id\":");
    put_decimal(out, user->id);
    put_text(out, ",\"name\":");
    json_put_string(out, user->name);
    put_text(out, "}");
}

int user_json_decode(struct bytes text, struct writer *name, struct user *ret_user)
{
    struct reader in = reader_of(text);
    struct user user = {.index = 0};
    size_t before = writer_len(name);
    json_get_literal(&in, "{\"id\":");
    user.id = json_get_u64(&in);
    json_get_literal(&in, ",\"name\":");
    json_get_string(&in, name);
    json_get_literal(&in, "}");
    if (!reader_done(&in) || name->bad)
        return -EBADMSG;
    user.name = bytes_of(name->start + before, writer_len(name) - before);
    *ret_user = user;
    return 0;
}
