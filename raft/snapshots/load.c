/* Loading: meta and sizes, then page by page a window ahead, then the sums are compared. */
#include "raft/snapshots/state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void load_pump(struct snapshots *snapshots);

/* A field that nobody reads was put there by somebody. */
static void judge_size(struct snapshots *snapshots, enum snapshots_key key, uint64_t size,
                       uint64_t wanted)
{
    if (size != wanted)
        snapshots_fail(snapshots, "%s has %" PRIu64 " fields, and should have %" PRIu64,
                       snapshots->key[key], size, wanted);
}

static void tell_loaded(struct snapshots *snapshots, enum snapshots_found found)
{
    snapshots->phase = SNAPSHOTS_IDLE;
    snapshots->hooks->loaded(snapshots->context, found, snapshots->text);
}

/*
 * What was read does not fit together. A load is many commands: if meta is another now, somebody
 * changed the snapshot between two of them, and nothing is known of the one that is there.
 */
static void on_meta_again(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct bytes checksum = bytes_of_text("");
    char found[SNAPSHOTS_TEXT_BYTES];
    memcpy(found, snapshots->text, sizeof(found));
    snapshots->failed = false;
    if (!snapshots_take_kind(snapshots, reply, STORE_LIST)) {
        tell_loaded(snapshots, snapshots->away ? SNAPSHOTS_AWAY : SNAPSHOTS_REFUSED);
        return;
    }
    (void)snapshots_field(reply, "checksum", &checksum);
    bool same = bytes_equal(checksum, bytes_of_text(snapshots->load.checksum));
    snapshots_fail(snapshots, "%s",
                   same ? found : "the snapshot changed while it was read; it is read again");
    tell_loaded(snapshots, same ? SNAPSHOTS_DAMAGED : SNAPSHOTS_REFUSED);
}

static void end_load(struct snapshots *snapshots)
{
    struct snapshots_load *load = &snapshots->load;
    enum snapshots_found found = SNAPSHOTS_LOADED;
    judge_size(snapshots, KEY_USERS, load->sizes.users, load->meta.users);
    judge_size(snapshots, KEY_INDEXES, load->sizes.indexes, load->index_pages);
    judge_size(snapshots, KEY_ANSWERS, load->sizes.answers, snapshots_answers_pages(load->meta));
    if (!snapshots->failed && users_load_done(load->users, &load->meta) != 0)
        snapshots_fail(snapshots, "what %s holds is not what %s says: its digest or counts differ",
                       snapshots->key[KEY_USERS], snapshots->key[KEY_META]);
    if (snapshots->failed)
        found = snapshots->away      ? SNAPSHOTS_AWAY
                : snapshots->refused ? SNAPSHOTS_REFUSED
                                     : SNAPSHOTS_DAMAGED;
    free(load->page);
    load->page = NULL;
    if (found == SNAPSHOTS_DAMAGED && load->checksum[0] != '\0') {
        snapshots->phase = SNAPSHOTS_JUDGING;
        snapshots_ask_meta(snapshots, on_meta_again);
        return;
    }
    if (found == SNAPSHOTS_LOADED) {
        snapshots->base = users_pin(load->users);
        snapshots->base_durable = true;
        snapshots->base_indexes = load->sizes.indexes;
    }
    tell_loaded(snapshots, found);
}

/* --- pages of users ---------------------------------------------------------------------------
 *
 * Which there are says the hash of indexes, one field for each: ids are not dense where many users
 * were deleted, or where a restore left a life's worth of them out. So a load costs what is stored,
 * and not what ids there might be.
 */

static int compare_pages(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void take_page_numbers(struct snapshots *snapshots, const struct store_reply *reply)
{
    struct snapshots_load *load = &snapshots->load;
    load->page = calloc(reply->count + 1, sizeof(load->page[0]));
    if (load->page == NULL) {
        snapshots_fail(snapshots, "there is no memory for %zu pages of users", reply->count);
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        struct store_reply field = store_reply_at(reply, i);
        uint64_t number;
        if (field.kind != STORE_TEXT || !snapshots_number(field.text, &number) ||
            number > USER_ID_MAX / USERS_PAGE) {
            snapshots_fail(snapshots, "%s field \"%.*s\" is no page of users",
                           snapshots->key[KEY_INDEXES], (int)field.text.len,
                           (const char *)field.text.at);
            return;
        }
        load->page[load->pages++] = number;
    }
    qsort(load->page, load->pages, sizeof(load->page[0]), compare_pages);
}

static void on_pages(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take_kind(snapshots, reply, STORE_LIST))
        take_page_numbers(snapshots, reply);
    load_pump(snapshots);
}

static uint64_t page_to_be_had(const struct snapshots_load *load)
{
    return load->page[load->pages_had];
}

/* --- pages ------------------------------------------------------------------------------------ */

static void on_indexes(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct snapshots_load *load = &snapshots->load;
    memset(load->index, 0, sizeof(load->index));
    if (!snapshots_take(snapshots, reply) || reply->kind == STORE_NIL)
        return; /* it was taken away meanwhile: the counts tell */
    load->index_pages++;
    if (reply->kind != STORE_TEXT ||
        snapshots_get_indexes(reply->text, page_to_be_had(load), load->index) != 0)
        snapshots_fail(snapshots, "%s field %" PRIu64 " is not a list of id:index",
                       snapshots->key[KEY_INDEXES], page_to_be_had(load));
}

static void load_user(struct snapshots *snapshots, uint64_t id, const struct store_reply *text)
{
    struct snapshots_load *load = &snapshots->load;
    if (text->kind == STORE_NIL)
        return;
    struct writer texts = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct user user;
    if (text->kind != STORE_TEXT || user_json_decode(text->text, &texts, &user) != 0 ||
        user.id != id) {
        snapshots_fail(snapshots, "%s field %" PRIu64 " is not the JSON of that user",
                       snapshots->key[KEY_USERS], id);
        return;
    }
    user.index = load->index[id % USERS_PAGE];
    if (users_load_user(load->users, &user) != 0)
        snapshots_fail(snapshots, "%s field %" PRIu64 ": no such user can be, index %" PRIu64,
                       snapshots->key[KEY_USERS], id, user.index);
}

static void on_users(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct snapshots_load *load = &snapshots->load;
    if (snapshots_take_kind(snapshots, reply, STORE_LIST)) {
        for (size_t i = 0; i < reply->count && i < USERS_PAGE; i++) {
            struct store_reply text = store_reply_at(reply, i);
            load_user(snapshots, page_to_be_had(load) * USERS_PAGE + i, &text);
        }
    }
    load->pages_had++;
    load_pump(snapshots);
}

static void on_answers(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct snapshots_load *load = &snapshots->load;
    struct writer texts = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    (void)snapshots_answers_page(load->meta, &load->answers_page);
    struct bytes field = snapshots_answers_field(&texts, load->answers_page);
    if (snapshots_take(snapshots, reply) &&
        (reply->kind != STORE_TEXT ||
         snapshots_load_answers(reply->text, &texts, load->users) != 0))
        snapshots_fail(snapshots, "%s field %.*s %s", snapshots->key[KEY_ANSWERS], (int)field.len,
                       (const char *)field.at,
                       reply->kind == STORE_NIL ? "is missing" : "is not a list of answers");
    load->answers_page++;
    load_pump(snapshots);
}

static void ask_users(struct snapshots *snapshots, uint64_t page)
{
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct bytes words[2 + USERS_PAGE] = {bytes_of_text("HMGET"),
                                          snapshots_key(snapshots, KEY_USERS)};
    for (uint32_t i = 0; i < USERS_PAGE; i++) {
        uint8_t *at = scratch.at;
        put_decimal(&scratch, page * USERS_PAGE + i);
        words[2 + i] = bytes_of(at, (size_t)(scratch.at - at));
    }
    uint8_t *at = scratch.at;
    put_decimal(&scratch, page);
    struct bytes indexes[] = {bytes_of_text("HGET"), snapshots_key(snapshots, KEY_INDEXES),
                              bytes_of(at, (size_t)(scratch.at - at))};
    snapshots_send(snapshots, ARRAY_LEN(indexes), indexes, on_indexes);
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_users);
}

static void ask_answers(struct snapshots *snapshots, uint64_t page)
{
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct bytes words[] = {bytes_of_text("HGET"), snapshots_key(snapshots, KEY_ANSWERS),
                            snapshots_answers_field(&scratch, page)};
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_answers);
}

/* Asks for the next page; false when there is no further. */
static bool ask_page(struct snapshots *snapshots)
{
    struct snapshots_load *load = &snapshots->load;
    if (load->pages_asked < load->pages) {
        ask_users(snapshots, load->page[load->pages_asked++]);
        return true;
    }
    if (!load->answers_asked) {
        if (snapshots_answers_page(load->meta, &load->next_answers)) {
            ask_answers(snapshots, load->next_answers++);
            return true;
        }
        load->answers_asked = true;
    }
    return false;
}

static void load_pump(struct snapshots *snapshots)
{
    while (!snapshots->failed && snapshots->open < SNAPSHOTS_WINDOW && ask_page(snapshots))
        ;
    if (snapshots->open == 0 && snapshots->phase == SNAPSHOTS_READING)
        end_load(snapshots);
}

/* --- sizes ------------------------------------------------------------------------------------ */

static void take_size(struct snapshots *snapshots, const struct store_reply *reply,
                      uint64_t *ret_size)
{
    if (snapshots_take_kind(snapshots, reply, STORE_INTEGER))
        *ret_size = (uint64_t)reply->integer;
}

static void on_users_size(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_size(snapshots, reply, &snapshots->load.sizes.users);
}

static void on_indexes_size(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_size(snapshots, reply, &snapshots->load.sizes.indexes);
}

static void on_answers_size(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_size(snapshots, reply, &snapshots->load.sizes.answers);
}

/* --- meta ------------------------------------------------------------------------------------- */

static bool meta_number(struct snapshots *snapshots, const struct store_reply *hash,
                        const char *name, uint64_t *ret_number)
{
    struct bytes text;
    if (snapshots_field(hash, name, &text) && snapshots_number(text, ret_number))
        return true;
    snapshots_fail(snapshots, "%s field \"%s\" is missing or no number", snapshots->key[KEY_META],
                   name);
    return false;
}

static bool meta_digest(struct snapshots *snapshots, const struct store_reply *hash,
                        uint64_t *ret_digest)
{
    struct bytes text;
    uint64_t digest = 0;
    bool good = snapshots_field(hash, "digest", &text) && text.len == 16;
    for (size_t i = 0; good && i < text.len; i++) {
        uint8_t c = text.at[i];
        good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        digest = digest << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (!good)
        snapshots_fail(snapshots, "%s field \"digest\" is missing or not 16 hexadecimal digits",
                       snapshots->key[KEY_META]);
    *ret_digest = digest;
    return good;
}

static bool meta_members(struct snapshots *snapshots, const struct store_reply *hash)
{
    struct bytes text;
    if (snapshots_field(hash, "members", &text) &&
        members_read(text, &snapshots->load.members) == 0)
        return true;
    snapshots_fail(snapshots, "%s field \"members\" is missing or no list of members",
                   snapshots->key[KEY_META]);
    return false;
}

static bool read_meta(struct snapshots *snapshots, const struct store_reply *hash)
{
    struct users_meta *meta = &snapshots->load.meta;
    struct bytes format;
    if (!snapshots_field(hash, "format", &format) ||
        !bytes_equal(format, bytes_of_text(SNAPSHOTS_FORMAT))) {
        snapshots_fail(snapshots,
                       "%s has no format that this version knows (it knows " SNAPSHOTS_FORMAT ")",
                       snapshots->key[KEY_META]);
        return false;
    }
    /* A number changed by hand, or by rot, could make a replay leave out what it must not. */
    if (!snapshots_meta_is_whole(hash)) {
        snapshots_fail(snapshots, "%s was changed or is damaged: its checksum differs",
                       snapshots->key[KEY_META]);
        return false;
    }
    if (!snapshots_meta_is_ours(snapshots, hash)) {
        snapshots_fail(snapshots,
                       "%s is of another node or cluster (its cluster, cluster_id or node differ)",
                       snapshots->key[KEY_META]);
        return false;
    }
    struct bytes checksum;
    if (snapshots_field(hash, "checksum", &checksum) &&
        checksum.len < sizeof(snapshots->load.checksum))
        memcpy(snapshots->load.checksum, checksum.at, checksum.len);
    return meta_number(snapshots, hash, "index", &meta->index) &&
           meta_number(snapshots, hash, "term", &snapshots->load.term.n) &&
           meta_members(snapshots, hash) && meta_number(snapshots, hash, "users", &meta->users) &&
           meta_number(snapshots, hash, "next_id", &meta->next_id) &&
           meta_number(snapshots, hash, "changed", &meta->changed) &&
           meta_number(snapshots, hash, "time_ms", &meta->time_ms) &&
           meta_number(snapshots, hash, "answers_first", &meta->answers_first) &&
           meta_number(snapshots, hash, "answers_next", &meta->answers_next) &&
           meta_number(snapshots, hash, "keys_first", &meta->keys_first) &&
           meta_number(snapshots, hash, "keys_next", &meta->keys_next) &&
           snapshots_cluster_id(hash, &snapshots->load.cluster_id) &&
           meta_digest(snapshots, hash, &meta->digest);
}

static void on_meta(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    bool here = snapshots_take_kind(snapshots, reply, STORE_LIST);
    if (here && reply->count == 0) {
        snapshots->phase = SNAPSHOTS_IDLE;
        snapshots->hooks->loaded(snapshots->context, SNAPSHOTS_NONE, "");
        return;
    }
    if (here && read_meta(snapshots, reply)) {
        struct users_meta *meta = &snapshots->load.meta;
        if (meta->next_id > USER_ID_MAX + 1 || meta->answers_first > meta->answers_next ||
            meta->keys_first > meta->keys_next || meta->keys_next > meta->answers_next)
            snapshots_fail(snapshots, "%s has numbers that cannot be", snapshots->key[KEY_META]);
    }
    if (snapshots->failed) {
        end_load(snapshots);
        return;
    }
    snapshots_ask_size(snapshots, KEY_USERS, on_users_size);
    snapshots_ask_size(snapshots, KEY_INDEXES, on_indexes_size);
    snapshots_ask_size(snapshots, KEY_ANSWERS, on_answers_size);
    struct bytes words[] = {bytes_of_text("HKEYS"), snapshots_key(snapshots, KEY_INDEXES)};
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_pages);
}

void snapshots_load(struct snapshots *snapshots, struct users *users)
{
    assert(snapshots->phase == SNAPSHOTS_IDLE && snapshots->open == 0);
    snapshots->phase = SNAPSHOTS_READING;
    snapshots->failed = snapshots->away = snapshots->refused = false;
    snapshots->load = (struct snapshots_load){.users = users};
    snapshots_ask_meta(snapshots, on_meta);
}

struct raft_cluster_id snapshots_loaded_cluster_id(const struct snapshots *snapshots)
{
    return snapshots->load.cluster_id;
}

raft_term snapshots_loaded_term(const struct snapshots *snapshots)
{
    return snapshots->load.term;
}

const struct members *snapshots_loaded_members(const struct snapshots *snapshots)
{
    return &snapshots->load.members;
}
