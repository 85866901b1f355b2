#include "tests/users/plays.h"

#include "raft/snapshots/state.h"
#include "raft/users/packed.h"

/* --- requests --------------------------------------------------------------------------------- */

struct plays_style plays_style(uint64_t seed)
{
    static const struct plays_style styles[] = {
        {.replace = 25, .patch = 25, .delete = 15, .keyed = 40},
        {.replace = 10, .patch = 10, .delete = 5, .keyed = 10},
        {.replace = 5, .patch = 70, .delete = 2, .keyed = 60, .long_names = true},
        {.replace = 30, .patch = 10, .delete = 45, .keyed = 90},
        {.keyed = 25},
    };
    return styles[seed % ARRAY_LEN(styles)];
}

/* Some names are many users', most are few users'. */
struct bytes plays_name(struct chance *chance, const struct plays_style *style)
{
    struct bytes name = model_name(chance_below(chance, 3) == 0 ? chance_below(chance, 8)
                                                                : chance_below(chance, 5000));
    while (style->long_names && name.len < 100 && chance_below(chance, 20) != 0)
        name = model_name(chance_below(chance, 5000));
    return name;
}

struct bytes plays_email(struct chance *chance)
{
    uint64_t dice = chance_below(chance, 100);
    if (dice < 20)
        return model_email(0);
    if (dice < 24)
        return model_email(MODEL_EMAILS + 1 + chance_below(chance, MODEL_EMAILS_BAD));
    return model_email(1 + chance_below(chance, MODEL_EMAILS));
}

static uint64_t any_tag(struct chance *chance, const struct model *m, uint64_t id)
{
    switch (chance_below(chance, 4)) {
    case 0:
        return chance_below(chance, m->index + 2);
    case 1:
        return m->changed;
    case 2:
        return chance_u64(chance);
    default:
        return id <= m->next_id ? m->user[id].index : 0;
    }
}

/* Seven in ten have none. */
static struct condition any_condition(struct chance *chance, const struct model *m, uint64_t id,
                                      uint8_t store[static CONDITION_BYTES_MAX])
{
    uint64_t dice = chance_below(chance, 10);
    if (dice < 7)
        return (struct condition){.kind = CONDITION_NONE};
    if (dice < 8)
        return (struct condition){.kind = CONDITION_ANY};
    struct writer out = writer_of(store, CONDITION_BYTES_MAX);
    uint64_t count = dice < 9 ? 1 : chance_below(chance, CONDITION_TAGS_MAX + 1);
    while (count-- > 0)
        put_u64(&out, any_tag(chance, m, id));
    return (struct condition){.kind = CONDITION_LIST, .tags = writer_bytes(&out)};
}

/* Mostly somebody who is, or was, there. */
static uint64_t any_id(struct chance *chance, const struct model *m)
{
    uint64_t last = m->next_id + 1, near = last < 100 ? last : 100;
    return chance_below(chance, 3) == 0 ? last - chance_below(chance, near)
                                        : chance_below(chance, last);
}

static void set_command(struct chance *chance, const struct plays_style *style,
                        struct users_command *command, uint64_t id)
{
    struct bytes name = plays_name(chance, style);
    struct user_texts texts = model_texts(name, plays_email(chance));
    unsigned dice = (unsigned)chance_below(chance, 100);
    if (dice < style->replace) {
        command->kind = USERS_REPLACE;
        command->replace = (struct users_replace){id, texts};
    } else if (dice < style->replace + style->patch) {
        uint8_t sets =
            (uint8_t)(chance_below(chance, 60) == 0 ? USERS_SETS_ALL + 1
                                                    : chance_below(chance, USERS_SETS_ALL + 1));
        command->kind = USERS_PATCH;
        command->patch = (struct users_patch){id, sets, texts};
    } else if (dice < style->replace + style->patch + style->delete) {
        command->kind = USERS_DELETE;
        command->delete.id = id;
    } else {
        command->kind = USERS_CREATE;
        command->create = (struct users_create){texts};
    }
}

struct users_request plays_request(struct chance *chance, const struct plays_style *style,
                                   const struct model *m)
{
    static uint8_t store[2][CONDITION_BYTES_MAX];
    struct users_request request = {.command = {.keyed = false}};
    struct users_command *command = &request.command;
    uint64_t id = any_id(chance, m), key = chance_below(chance, 2 * m->answers_max);
    set_command(chance, style, command, id);
    command->if_match = any_condition(chance, m, id, store[0]);
    command->if_none_match = any_condition(chance, m, id, store[1]);
    command->keyed = chance_below(chance, 100) < style->keyed;
    if (command->keyed) {
        command->key.id = request_id_of(UINT64_C(1) << 40 | key);
        command->key.fingerprint = request_id_of(chance_below(chance, 4) == 0);
    }
    return request;
}

uint64_t plays_time_step(struct chance *chance)
{
    uint64_t dice = chance_below(chance, 400);
    if (dice == 0)
        return USERS_KEYS_MS - 1 + chance_below(chance, 3);
    if (dice < 4)
        return chance_below(chance, USERS_KEYS_MS / 4);
    return dice < 200 ? chance_below(chance, 3000) : 0;
}

/* --- loads ------------------------------------------------------------------------------------ */

/* Users and answers in any interleaving. */
static void load_plain(struct chance *chance, const struct users_view *view, struct users *users)
{
    static struct users_page page;
    static struct users_past_page past;
    uint64_t user_from = 0, answer_from = 0;
    bool more_users = true, more_answers = true;
    while (more_users || more_answers) {
        if (more_users && (!more_answers || chance_below(chance, 2) == 0)) {
            more_users = users_diff(NULL, view, user_from, &page);
            for (uint32_t i = 0; more_users && i < page.count; i++)
                must(users_load_user(users, &page.at[i]) == 0);
            user_from = page.number + 1;
        } else {
            more_answers = users_diff_answers(NULL, view, answer_from, &past);
            for (uint32_t i = 0; more_answers && i < past.count; i++)
                must(users_load_answer(users, &past.at[i]) == 0);
            answer_from = past.number + 1;
        }
    }
}

static void load_packed(struct chance *chance, const struct users_view *view, struct users *users)
{
    static uint8_t at[20000];
    uint64_t after = 0, from = 0;
    for (bool last = false; !last;) {
        struct writer out = writer_of(at, 2000 + chance_below(chance, 18000));
        after = users_view_list(view, after, 0, &out, &last);
        must(packed_load_users(users, writer_bytes(&out)) == 0);
    }
    for (bool last = false; !last;) {
        struct writer out = writer_of(at, 2000 + chance_below(chance, 18000));
        from = packed_put_answers(view, from, &out, &last);
        must(!out.bad && packed_load_answers(users, writer_bytes(&out)) == 0);
    }
}

/* As Redis would hold them. */
static void load_text(const struct users_view *view, struct users *users)
{
    static struct users_page page;
    static struct users_past_page past;
    static uint8_t text[SNAPSHOTS_SCRATCH_BYTES], texts[SNAPSHOTS_SCRATCH_BYTES];
    for (uint64_t from = 0; users_diff(NULL, view, from, &page); from = page.number + 1)
        for (uint32_t i = 0; i < page.count; i++) {
            struct writer out = writer_of(text, sizeof(text)), store = writer_of(texts, 2000);
            struct user user;
            user_json_put(&out, &page.at[i]);
            must(user_json_decode(writer_bytes(&out), &store, &user) == 0);
            user.index = page.at[i].index;
            must(users_load_user(users, &user) == 0);
        }
    for (uint64_t from = 0; users_diff_answers(NULL, view, from, &past); from = past.number + 1) {
        struct writer out = writer_of(text, sizeof(text));
        struct writer store = writer_of(texts, sizeof(texts));
        snapshots_put_answers(&out, &past);
        must(!out.bad && snapshots_load_answers(writer_bytes(&out), &store, users) == 0);
    }
}

struct users *plays_load(struct chance *chance, const struct users_view *view, uint64_t answers_max)
{
    struct users *users = users_new(answers_max);
    uint64_t dice = chance_below(chance, 3);
    if (dice == 0)
        load_plain(chance, view, users);
    else if (dice == 1)
        load_packed(chance, view, users);
    else
        load_text(view, users);
    struct users_meta meta = users_view_meta(view);
    must(users_load_done(users, &meta) == 0);
    must(metas_equal(users_meta(users), meta));
    return users;
}
