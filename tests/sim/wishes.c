#include "tests/sim/wishes.h"

#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMAILS 24u
#define KEYS   40u

struct draw {
    uint64_t random;
};

static uint64_t below(struct draw *draw, uint64_t limit)
{
    return fake_random(&draw->random) % limit;
}

/* Of different lengths, to fill segments unevenly. */
static struct bytes name_of(uint64_t number, char text[256])
{
    int len = snprintf(text, 256, "user %llu ", (unsigned long long)number);
    size_t more = (size_t)(number * 7 % 100);
    memset(text + len, 'x', more);
    return bytes_of(text, (size_t)len + more);
}

static struct bytes email_of(struct draw *draw, char text[64])
{
    uint64_t number = below(draw, 2 * EMAILS);
    if (number >= EMAILS)
        return bytes_of_text("");
    bool upper = below(draw, 2) == 0;
    snprintf(text, 64, "%s%u@example.org", upper ? "ANN" : "ann", (unsigned)number);
    return bytes_of_text(text);
}

/* Mostly somebody who is there as far as the model has got; a few who are not. */
static uint64_t any_user(struct draw *draw, const struct model *model)
{
    return 1 + below(draw, model->next_id + 2);
}

/* One tag: of the user as it is, or once may have been. */
static struct condition any_condition(struct draw *draw, const struct model *model, uint64_t id,
                                      uint8_t store[8])
{
    uint64_t dice = below(draw, 10);
    if (dice < 6)
        return (struct condition){.kind = CONDITION_NONE};
    if (dice == 6)
        return (struct condition){.kind = CONDITION_ANY};
    struct writer out = writer_of(store, 8);
    put_u64(&out, dice < 9 && id < model->next_id ? model->user[id].index
                                                  : below(draw, model->index + 1));
    return (struct condition){.kind = CONDITION_LIST, .tags = writer_bytes(&out)};
}

static void set_command(struct draw *draw, uint64_t id, const struct user_texts *texts,
                        struct users_command *command)
{
    uint64_t dice = below(draw, 20);
    if (dice < 9) {
        command->kind = USERS_CREATE;
        command->create = (struct users_create){*texts};
    } else if (dice < 13) {
        command->kind = USERS_REPLACE;
        command->replace = (struct users_replace){id, *texts};
    } else if (dice < 17) {
        command->kind = USERS_PATCH;
        command->patch = (struct users_patch){id, (uint8_t)below(draw, USERS_SETS_ALL + 1), *texts};
    } else {
        command->kind = USERS_DELETE;
        command->delete.id = id;
    }
}

static struct bytes encoded(const struct users_command *command)
{
    uint8_t *at = malloc(USERS_COMMAND_BYTES_MAX);
    assert(at != NULL);
    struct writer out = writer_of(at, USERS_COMMAND_BYTES_MAX);
    users_command_put(&out, command);
    assert(!out.bad);
    return writer_bytes(&out);
}

/* A write not long ago that came with a key, as a client sends it again who forgot that it did. */
static bool once_more(struct draw *draw, const struct clients *clients, uint64_t number,
                      struct users_command *ret_command)
{
    uint64_t back = 1 + below(draw, 40);
    if (back >= number || clients->op[number - back].kind != OP_WRITE)
        return false;
    int bad = users_command_decode(clients->op[number - back].command, ret_command);
    assert(bad == 0);
    return ret_command->keyed;
}

struct bytes wishes_command(struct world *world, uint64_t number, bool plain)
{
    struct draw draw = {number * UINT64_C(0x9e3779b97f4a7c15) ^ world->seed};
    const struct model *model = &world->rules.model;
    struct users_command command = {.kind = USERS_CREATE};
    char text[256], address[64];
    uint8_t tags[2][8];
    struct bytes name = name_of(number, text);
    if (plain || model->room == 0) {
        command.create.texts.name = name;
    } else if (below(&draw, 5) != 0 || !once_more(&draw, &world->clients, number, &command)) {
        uint64_t id = any_user(&draw, model);
        command = (struct users_command){.keyed = below(&draw, 3) == 0};
        struct user_texts texts = model_texts(name, email_of(&draw, address));
        set_command(&draw, id, &texts, &command);
        command.if_match = any_condition(&draw, model, id, tags[0]);
        command.if_none_match = any_condition(&draw, model, id, tags[1]);
        command.key.id = clients_request_id(1 + below(&draw, KEYS));
        command.key.fingerprint = clients_request_id(number);
    }
    return encoded(&command);
}

bool wishes_answers_equal(const struct users_answer *a, const struct users_answer *b)
{
    uint8_t at[2][USERS_ANSWER_BYTES_MAX];
    struct writer out[2] = {writer_of(at[0], sizeof(at[0])), writer_of(at[1], sizeof(at[1]))};
    users_answer_put(&out[0], a);
    users_answer_put(&out[1], b);
    return bytes_equal(writer_bytes(&out[0]), writer_bytes(&out[1]));
}
