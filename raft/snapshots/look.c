/*
 * Looking after what Redis holds: emptied, rolled back or changed by hand, it is to be noticed
 * while the state is still in memory to be written again, and not when it is needed.
 *
 * Each look asks for what costs little, meta and the sizes of the hashes, and for a few pages,
 * which are compared to the letter; the next look asks for those after them, round and round.
 */
#include "raft/snapshots/state.h"

#include <inttypes.h>

/* At the head of each reply's callback: false when there is nothing to compare. */
static bool take(struct snapshots *snapshots, const struct store_reply *reply)
{
    struct snapshots_look *look = &snapshots->look;
    assert(look->open > 0);
    look->open--;
    bool is_error = reply != NULL && reply->kind == STORE_ERROR && !snapshots_is_wrong_type(reply);
    if (reply == NULL || is_error || snapshots->phase != SNAPSHOTS_IDLE || !snapshots->base_durable)
        look->bad = true; /* a save has begun meanwhile, and looks for itself */
    return !look->bad;
}

static void send(struct snapshots *snapshots, size_t count, const struct bytes *words,
                 store_on_reply *on_reply)
{
    snapshots->look.open++;
    snapshots->store->command(snapshots->store, count, words, on_reply, snapshots);
}

/* --- meta and sizes --------------------------------------------------------------------------- */

static void on_meta(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    char found[96];
    if (!take(snapshots, reply) || snapshots_meta_is_of(reply, snapshots->base))
        return;
    snapshots_meta_print(reply, found, sizeof(found));
    snapshots_lose(snapshots, "Redis holds %s instead of the snapshot of entry %" PRIu64, found,
                   users_view_meta(snapshots->base).index);
}

static void judge_size(struct snapshots *snapshots, const struct store_reply *reply,
                       enum snapshots_key key, uint64_t wanted)
{
    if (take(snapshots, reply) &&
        (reply->kind != STORE_INTEGER || (uint64_t)reply->integer != wanted))
        snapshots_lose(snapshots, "%s has %" PRId64 " fields, and %" PRIu64 " were saved",
                       snapshots->key[key], reply->integer, wanted);
}

static void on_users_size(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots->base_durable)
        judge_size(snapshots, reply, KEY_USERS, users_view_meta(snapshots->base).users);
    else
        (void)take(snapshots, reply);
}

static void on_indexes_size(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    judge_size(snapshots, reply, KEY_INDEXES, snapshots->base_indexes);
}

static void on_answers_size(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots->base_durable)
        judge_size(snapshots, reply, KEY_ANSWERS,
                   snapshots_answers_pages(users_view_meta(snapshots->base)));
    else
        (void)take(snapshots, reply);
}

static void ask_size(struct snapshots *snapshots, enum snapshots_key key, store_on_reply *on_reply)
{
    struct bytes words[] = {bytes_of_text("HLEN"), snapshots_key(snapshots, key)};
    send(snapshots, ARRAY_LEN(words), words, on_reply);
}

/* --- pages ------------------------------------------------------------------------------------ */

static void judge_text(struct snapshots *snapshots, const struct store_reply *reply,
                       enum snapshots_key key, uint64_t field, struct bytes wanted)
{
    if (reply->kind != STORE_TEXT || !bytes_equal(reply->text, wanted))
        snapshots_lose(snapshots, "%s field %" PRIu64 " is not what was saved", snapshots->key[key],
                       field);
}

/* The page that the next replies are of. */
static uint64_t page_seen(const struct snapshots *snapshots)
{
    return snapshots->look.page[snapshots->look.pages_seen];
}

static void on_indexes(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct writer text = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct users_page page;
    if (!take(snapshots, reply) || !users_diff(NULL, snapshots->base, page_seen(snapshots), &page))
        return;
    snapshots_put_indexes(&text, &page);
    judge_text(snapshots, reply, KEY_INDEXES, page.number, writer_bytes(&text));
}

static void on_users(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct users_page page;
    bool good = take(snapshots, reply) && reply->kind == STORE_LIST &&
                users_diff(NULL, snapshots->base, page_seen(snapshots), &page);
    /* What is lost takes the base with it, and the page was borrowed from that. */
    for (size_t i = 0; good && snapshots->base_durable && i < page.count; i++) {
        struct writer text = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
        struct store_reply user = {.kind = STORE_NIL};
        if (i < reply->count)
            user = store_reply_at(reply, i);
        user_json_put(&text, &page.at[i]);
        judge_text(snapshots, &user, KEY_USERS, page.at[i].id, writer_bytes(&text));
    }
    snapshots->look.pages_seen++;
}

static void on_answers(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct writer text = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct users_past_page page;
    if (take(snapshots, reply) &&
        users_diff_answers(NULL, snapshots->base, page_seen(snapshots), &page)) {
        snapshots_put_answers(&text, &page);
        judge_text(snapshots, reply, KEY_ANSWERS, page.number, writer_bytes(&text));
    }
    snapshots->look.pages_seen++;
}

static void ask_users(struct snapshots *snapshots, const struct users_page *page)
{
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct bytes words[2 + USERS_PAGE] = {bytes_of_text("HMGET"),
                                          snapshots_key(snapshots, KEY_USERS)};
    for (uint32_t i = 0; i < page->count; i++)
        words[2 + i] = snapshots_decimal(&scratch, page->at[i].id);
    struct bytes indexes[] = {bytes_of_text("HGET"), snapshots_key(snapshots, KEY_INDEXES),
                              snapshots_decimal(&scratch, page->number)};
    send(snapshots, ARRAY_LEN(indexes), indexes, on_indexes);
    send(snapshots, 2 + page->count, words, on_users);
}

static void ask_answers(struct snapshots *snapshots, uint64_t page)
{
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct bytes words[] = {bytes_of_text("HGET"), snapshots_key(snapshots, KEY_ANSWERS),
                            snapshots_answers_field(&scratch, page)};
    send(snapshots, ARRAY_LEN(words), words, on_answers);
}

/* The next page of users, or after the last the first of answers, and so on; false at an end. */
static bool ask_page(struct snapshots *snapshots)
{
    struct snapshots_look *look = &snapshots->look;
    if (look->answers) {
        struct users_past_page page;
        if (!users_diff_answers(NULL, snapshots->base, look->next_page, &page))
            return false;
        look->page[look->pages++] = page.number;
        look->next_page = page.number + 1;
        ask_answers(snapshots, page.number);
    } else {
        struct users_page page;
        if (!users_diff(NULL, snapshots->base, look->next_page, &page))
            return false;
        look->page[look->pages++] = page.number;
        look->next_page = page.number + 1;
        ask_users(snapshots, &page);
    }
    return true;
}

void snapshots_look(struct snapshots *snapshots)
{
    struct snapshots_look *look = &snapshots->look;
    if (snapshots->phase != SNAPSHOTS_IDLE || !snapshots->base_durable || look->open > 0)
        return;
    look->bad = false;
    look->pages = look->pages_seen = 0;
    struct bytes meta[] = {bytes_of_text("HGETALL"), snapshots_key(snapshots, KEY_META)};
    send(snapshots, ARRAY_LEN(meta), meta, on_meta);
    ask_size(snapshots, KEY_USERS, on_users_size);
    ask_size(snapshots, KEY_INDEXES, on_indexes_size);
    ask_size(snapshots, KEY_ANSWERS, on_answers_size);
    uint32_t ends = 0;
    while (look->pages < ARRAY_LEN(look->page) && ends < 2 && !look->bad) {
        if (ask_page(snapshots))
            continue;
        look->answers = !look->answers;
        look->next_page = 0;
        ends++;
    }
}
