#include "raft/users/command.h"

#include <errno.h>

USERS_COMMANDS(SCHEMA_FAMILY_CODEC)
USERS_ANSWERS(SCHEMA_FAMILY_CODEC)

void users_command_put(struct writer *out, const struct users_command *value)
{
    put_u8(out, (uint8_t)value->kind);
    switch (value->kind) {
        USERS_COMMANDS(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

static void users_command_get(struct reader *in, struct users_command *value)
{
    switch (get_u8(in)) {
        USERS_COMMANDS(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

void users_command_print(struct writer *out, const struct users_command *value)
{
    switch (value->kind) {
        USERS_COMMANDS(SCHEMA_CASE_PRINT)
    }
    UNREACHABLE();
}

void users_answer_put(struct writer *out, const struct users_answer *value)
{
    put_u8(out, (uint8_t)value->kind);
    switch (value->kind) {
        USERS_ANSWERS(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

static void users_answer_get(struct reader *in, struct users_answer *value)
{
    switch (get_u8(in)) {
        USERS_ANSWERS(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

void users_answer_print(struct writer *out, const struct users_answer *value)
{
    switch (value->kind) {
        USERS_ANSWERS(SCHEMA_CASE_PRINT)
    }
    UNREACHABLE();
}

void users_request_put(struct writer *out, const struct users_request *value)
{
    put_request_id(out, value->id);
    put_u64(out, value->time_ms);
    users_command_put(out, &value->command);
}

int users_command_decode(struct bytes bytes, struct users_command *ret_command)
{
    struct reader in = reader_of(bytes);
    struct users_command command;
    users_command_get(&in, &command);
    if (!reader_done(&in))
        return -EBADMSG;
    *ret_command = command;
    return 0;
}

int users_answer_decode(struct bytes bytes, struct users_answer *ret_answer)
{
    struct reader in = reader_of(bytes);
    struct users_answer answer;
    users_answer_get(&in, &answer);
    if (!reader_done(&in))
        return -EBADMSG;
    *ret_answer = answer;
    return 0;
}

int users_request_decode(struct bytes bytes, struct users_request *ret_request)
{
    struct reader in = reader_of(bytes);
    struct users_request request;
    request.id = get_request_id(&in);
    request.time_ms = get_u64(&in);
    users_command_get(&in, &request.command);
    if (!reader_done(&in))
        return -EBADMSG;
    *ret_request = request;
    return 0;
}

void user_put(struct writer *out, const struct user *user)
{
    put_u64(out, user->id);
    put_u64(out, user->index);
    put_bytes(out, user->name);
}

struct user user_get(struct reader *in)
{
    struct user user;
    user.id = get_u64(in);
    user.index = get_u64(in);
    user.name = get_bytes(in);
    return user;
}
