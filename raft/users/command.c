#include "raft/users/command.h"

#include <errno.h>
#include <string.h>

#include "raft/base/json.h"
#include "raft/base/siphash.h"

USERS_COMMANDS(SCHEMA_FAMILY_CODEC)
USERS_ANSWERS(SCHEMA_FAMILY_CODEC)

/* --- the head of a command, after its tag: bits that say what of it is there ----------------- */

enum {
    HEAD_KEY = 1,
    HEAD_MATCH = 2,
    HEAD_MATCH_ANY = 4,
    HEAD_NONE_MATCH = 8,
    HEAD_NONE_MATCH_ANY = 16,
    HEAD_ALL = 31,
};

/* `list` or `any`, which are bits of the head. */
static unsigned condition_bit(const struct condition *condition, unsigned list, unsigned any)
{
    switch (condition->kind) {
    case CONDITION_NONE:
        return 0;
    case CONDITION_ANY:
        return any;
    case CONDITION_LIST:
        return list;
    }
    UNREACHABLE();
}

static void put_head(struct writer *out, const struct users_command *value)
{
    const struct condition *match = &value->if_match, *none_match = &value->if_none_match;
    unsigned bits = (value->keyed ? HEAD_KEY : 0u) |
                    condition_bit(match, HEAD_MATCH, HEAD_MATCH_ANY) |
                    condition_bit(none_match, HEAD_NONE_MATCH, HEAD_NONE_MATCH_ANY);
    put_u8(out, (uint8_t)bits);
    if (value->keyed) {
        put_request_id(out, value->key.id);
        put_request_id(out, value->key.fingerprint);
    }
    if (match->kind == CONDITION_LIST)
        put_bytes(out, match->tags);
    if (none_match->kind == CONDITION_LIST)
        put_bytes(out, none_match->tags);
}

static struct condition get_condition(struct reader *in, bool list, bool any)
{
    struct condition condition = {.kind = any ? CONDITION_ANY : CONDITION_NONE};
    if (list) {
        condition = (struct condition){.kind = CONDITION_LIST, .tags = get_bytes(in)};
        if (any || condition.tags.len > CONDITION_BYTES_MAX || condition.tags.len % 8 != 0)
            in->bad = true;
    }
    return condition;
}

static void get_head(struct reader *in, struct users_command *value)
{
    unsigned bits = get_u8(in);
    if ((bits & ~(unsigned)HEAD_ALL) != 0)
        in->bad = true;
    value->keyed = (bits & HEAD_KEY) != 0;
    if (value->keyed) {
        value->key.id = get_request_id(in);
        value->key.fingerprint = get_request_id(in);
    }
    value->if_match = get_condition(in, (bits & HEAD_MATCH) != 0, (bits & HEAD_MATCH_ANY) != 0);
    value->if_none_match =
        get_condition(in, (bits & HEAD_NONE_MATCH) != 0, (bits & HEAD_NONE_MATCH_ANY) != 0);
}

/* --- commands --------------------------------------------------------------------------------- */

void users_command_put(struct writer *out, const struct users_command *value)
{
    put_u8(out, (uint8_t)value->kind);
    put_head(out, value);
    switch (value->kind) {
        USERS_COMMANDS(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

static void get_fields(struct reader *in, uint8_t kind, struct users_command *value)
{
    switch (kind) {
        USERS_COMMANDS(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

static void users_command_get(struct reader *in, struct users_command *value)
{
    uint8_t kind = get_u8(in);
    get_head(in, value);
    get_fields(in, kind, value);
}

static void print_fields(struct writer *out, const struct users_command *value)
{
    switch (value->kind) {
        USERS_COMMANDS(SCHEMA_CASE_PRINT)
    }
    UNREACHABLE();
}

static void print_condition(struct writer *out, const char *name, const struct condition *condition)
{
    if (condition->kind == CONDITION_NONE)
        return;
    put_text(out, name);
    put_text(out, condition->kind == CONDITION_ANY ? "*" : "");
    struct reader in = reader_of(condition->tags);
    for (bool comma = false; condition->kind == CONDITION_LIST && reader_left(&in) > 0;
         comma = true) {
        put_text(out, comma ? "," : "");
        put_decimal(out, get_u64(&in));
    }
}

void users_command_print(struct writer *out, const struct users_command *value)
{
    print_fields(out, value);
    if (value->keyed) {
        print_request_id(out, "key", value->key.id);
        print_request_id(out, "fingerprint", value->key.fingerprint);
    }
    print_condition(out, " if_match=", &value->if_match);
    print_condition(out, " if_none_match=", &value->if_none_match);
}

/* --- answers ---------------------------------------------------------------------------------- */

void users_answer_put(struct writer *out, const struct users_answer *value)
{
    put_u64(out, value->index);
    put_u8(out, value->replayed);
    put_u8(out, (uint8_t)value->kind);
    switch (value->kind) {
        USERS_ANSWERS(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

static void get_answer_fields(struct reader *in, struct users_answer *value)
{
    switch (get_u8(in)) {
        USERS_ANSWERS(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

static void users_answer_get(struct reader *in, struct users_answer *value)
{
    value->index = get_u64(in);
    uint8_t replayed = get_u8(in);
    if (replayed > 1)
        in->bad = true;
    value->replayed = replayed == 1;
    get_answer_fields(in, value);
}

static void print_answer_fields(struct writer *out, const struct users_answer *value)
{
    switch (value->kind) {
        USERS_ANSWERS(SCHEMA_CASE_PRINT)
    }
    UNREACHABLE();
}

void users_answer_print(struct writer *out, const struct users_answer *value)
{
    print_answer_fields(out, value);
    print_u64(out, "index", value->index);
    if (value->replayed)
        put_text(out, " replayed");
}

void users_request_put(struct writer *out, const struct users_request *value)
{
    put_request_id(out, value->id);
    put_u64(out, value->time_ms);
    users_command_put(out, &value->command);
}

uint64_t users_command_digest(const struct users_command *command)
{
    /* Not secret: whoever finds two commands of one digest has sent both. */
    static const struct siphash_key key = {.low = 3, .high = 0};
    uint8_t at[USERS_COMMAND_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    users_command_put(&out, command);
    assert(!out.bad);
    return siphash(key, writer_bytes(&out));
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

/* --- users ------------------------------------------------------------------------------------ */

static bool is_user(uint64_t id)
{
    return id >= 1 && id <= USER_ID_MAX;
}

static bool is_patch(const struct users_patch *patch)
{
    for (unsigned i = 0; i < USER_TEXTS_COUNT; i++) {
        struct bytes text = patch->texts.at[i];
        bool sets = (patch->sets & USERS_SETS(i)) != 0;
        if ((sets || text.len > 0) && !user_text_valid((enum user_text)i, text))
            return false;
    }
    return true;
}

bool users_command_valid(const struct users_command *command)
{
    const struct users_patch *patch = &command->patch;
    switch (command->kind) {
    case USERS_CREATE:
        return user_texts_valid(&command->create.texts);
    case USERS_REPLACE:
        return is_user(command->replace.id) && user_texts_valid(&command->replace.texts);
    case USERS_PATCH:
        return is_user(patch->id) && (patch->sets & ~(unsigned)USERS_SETS_ALL) == 0 &&
               is_patch(patch);
    case USERS_DELETE:
        return is_user(command->delete.id);
    }
    UNREACHABLE();
}
