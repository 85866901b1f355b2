/* What saving and loading share. */
#include "raft/snapshots/state.h"

#include "raft/base/crc32c.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct snapshots *snapshots_new(struct store *store, const char *cluster, uint64_t node,
                                const struct snapshots_hooks *hooks, void *context)
{
    static const char *const names[SNAPSHOTS_KEYS] = {
        [KEY_META] = "meta",
        [KEY_USERS] = "users",
        [KEY_INDEXES] = "indexes",
        [KEY_ANSWERS] = "answers",
        [KEY_NEW_USERS] = "new:users",
        [KEY_NEW_INDEXES] = "new:indexes",
        [KEY_NEW_ANSWERS] = "new:answers",
        [KEY_SERVER] = "server",
    };
    struct snapshots *snapshots = calloc(1, sizeof(*snapshots));
    if (snapshots == NULL)
        return NULL;
    snapshots->store = store;
    snapshots->hooks = hooks;
    snapshots->context = context;
    snapshots->node = node;
    assert(strlen(cluster) < sizeof(snapshots->cluster));
    memcpy(snapshots->cluster, cluster, strlen(cluster) + 1);
    for (unsigned i = 0; i < SNAPSHOTS_KEYS; i++) {
        int len = snprintf(snapshots->key[i], SNAPSHOTS_KEY_BYTES, "rollcall:%s:%" PRIu64 ":%s",
                           cluster, node, names[i]);
        assert(len > 0 && (size_t)len < SNAPSHOTS_KEY_BYTES);
    }
    return snapshots;
}

void snapshots_free(struct snapshots *snapshots)
{
    if (snapshots == NULL)
        return;
    users_unpin(snapshots->base);
    users_unpin(snapshots->attempt);
    free(snapshots->load.page); /* of one that was cut off */
    free(snapshots);
}

struct bytes snapshots_key(const struct snapshots *snapshots, enum snapshots_key key)
{
    return bytes_of_text(snapshots->key[key]);
}

void snapshots_send(struct snapshots *snapshots, size_t count, const struct bytes *arguments,
                    store_on_reply *on_reply)
{
    snapshots->open++;
    snapshots->store->command(snapshots->store, count, arguments, on_reply, snapshots);
}

void snapshots_fail(struct snapshots *snapshots, const char *format, ...)
{
    if (snapshots->failed)
        return;
    snapshots->failed = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(snapshots->text, sizeof(snapshots->text), format, arguments);
    va_end(arguments);
}

void snapshots_lose(struct snapshots *snapshots, const char *format, ...)
{
    char text[SNAPSHOTS_TEXT_BYTES];
    if (!snapshots->base_durable)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snapshots->base_durable = false;
    users_unpin(snapshots->base);
    snapshots->base = NULL;
    snapshots->hooks->lost(snapshots->context, text);
}

bool snapshots_take(struct snapshots *snapshots, const struct store_reply *reply)
{
    assert(snapshots->open > 0);
    snapshots->open--;
    if (reply == NULL) {
        snapshots_fail(snapshots, "the connection to Redis ended");
        snapshots->away = true;
        return false;
    }
    if (reply->kind == STORE_ERROR) {
        snapshots_refuse(snapshots, reply);
        return false;
    }
    return !snapshots->failed;
}

bool snapshots_take_error(struct snapshots *snapshots, const struct store_reply *reply)
{
    if (reply == NULL || reply->kind != STORE_ERROR)
        return false;
    assert(snapshots->open > 0);
    snapshots->open--;
    return true;
}

bool snapshots_take_kind(struct snapshots *snapshots, const struct store_reply *reply,
                         enum store_reply_kind kind)
{
    if (!snapshots_take(snapshots, reply))
        return false;
    if (reply->kind == kind)
        return true;
    snapshots_refuse(snapshots, reply);
    return false;
}

void snapshots_ask_meta(struct snapshots *snapshots, store_on_reply *on_reply)
{
    struct bytes words[] = {bytes_of_text("HGETALL"), snapshots_key(snapshots, KEY_META)};
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_reply);
}

void snapshots_ask_size(struct snapshots *snapshots, enum snapshots_key key,
                        store_on_reply *on_reply)
{
    struct bytes words[] = {bytes_of_text("HLEN"), snapshots_key(snapshots, key)};
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_reply);
}

bool snapshots_number(struct bytes text, uint64_t *ret_number)
{
    struct reader in = reader_of(text);
    uint64_t number = json_get_u64(&in);
    if (!reader_done(&in))
        return false;
    *ret_number = number;
    return true;
}

bool snapshots_field(const struct store_reply *hash, const char *name, struct bytes *ret_value)
{
    struct bytes wanted = bytes_of_text(name);
    for (size_t i = 0; hash->kind == STORE_LIST && i + 1 < hash->count; i += 2) {
        struct store_reply field = store_reply_at(hash, i);
        struct store_reply value = store_reply_at(hash, i + 1);
        if (field.kind == STORE_TEXT && value.kind == STORE_TEXT &&
            bytes_equal(field.text, wanted)) {
            *ret_value = value.text;
            return true;
        }
    }
    return false;
}

void snapshots_identify(struct snapshots *snapshots, struct raft_cluster_id cluster)
{
    snapshots->cluster_id = cluster;
}

bool snapshots_cluster_id(const struct store_reply *meta, struct raft_cluster_id *ret_id)
{
    struct bytes text;
    return snapshots_field(meta, "cluster_id", &text) && record_cluster_id_read(text, ret_id) == 0;
}

void snapshots_digest(uint64_t digest, char ret_text[17])
{
    int len = snprintf(ret_text, 17, "%016" PRIx64, digest);
    assert(len == 16);
}

const char *const snapshots_meta_field[SNAPSHOTS_META_FIELDS] = {
    "format",     "cluster",   "node",    "index",      "term",          "members",
    "users",      "next_id",   "changed", "time_ms",    "answers_first", "answers_next",
    "keys_first", "keys_next", "digest",  "cluster_id",
};

void snapshots_checksum(const struct bytes value[SNAPSHOTS_META_FIELDS], char ret_text[9])
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < SNAPSHOTS_META_FIELDS; i++) {
        const char *name = snapshots_meta_field[i];
        crc = crc32c(crc, bytes_of(name, strlen(name) + 1)); /* its NUL parts name and value */
        crc = crc32c(crc, value[i]);
        crc = crc32c(crc, bytes_of("", 1));
    }
    int len = snprintf(ret_text, 9, "%08" PRIx32, crc);
    assert(len == 8);
}

/* --- meta ------------------------------------------------------------------------------------- */

bool snapshots_meta_is_whole(const struct store_reply *meta)
{
    struct bytes value[SNAPSHOTS_META_FIELDS], found;
    bool whole = meta->kind == STORE_LIST && meta->count == 2 * (SNAPSHOTS_META_FIELDS + 1) &&
                 snapshots_field(meta, "checksum", &found);
    for (uint32_t i = 0; whole && i < SNAPSHOTS_META_FIELDS; i++)
        whole = snapshots_field(meta, snapshots_meta_field[i], &value[i]);
    char checksum[9];
    if (!whole)
        return false;
    snapshots_checksum(value, checksum);
    return bytes_equal(found, bytes_of_text(checksum));
}

bool snapshots_meta_is_of(const struct store_reply *meta, const struct users_view *view)
{
    struct bytes index_text, digest_text;
    uint64_t index;
    if (view == NULL || !snapshots_meta_is_whole(meta) ||
        !snapshots_field(meta, "index", &index_text) ||
        !snapshots_field(meta, "digest", &digest_text) || !snapshots_number(index_text, &index))
        return false;
    struct users_meta wanted = users_view_meta(view);
    char digest[17];
    snapshots_digest(wanted.digest, digest);
    return index == wanted.index && bytes_equal(digest_text, bytes_of_text(digest));
}

bool snapshots_meta_is_ours(const struct snapshots *snapshots, const struct store_reply *meta)
{
    struct bytes cluster, text;
    struct raft_cluster_id id;
    uint64_t node;
    return snapshots_cluster_id(meta, &id) && !cluster_id_differ(id, snapshots->cluster_id) &&
           snapshots_field(meta, "cluster", &cluster) &&
           bytes_equal(cluster, bytes_of_text(snapshots->cluster)) &&
           snapshots_field(meta, "node", &text) && snapshots_number(text, &node) &&
           node == snapshots->node;
}

void snapshots_meta_print(const struct store_reply *meta, char *ret_text, size_t text_bytes)
{
    struct bytes text = {.len = 0};
    if (meta->kind != STORE_LIST || meta->count == 0)
        snprintf(ret_text, text_bytes, "nothing");
    else if (snapshots_meta_is_whole(meta) && snapshots_field(meta, "index", &text))
        snprintf(ret_text, text_bytes, "that of entry %.*s", (int)text.len, (const char *)text.at);
    else
        snprintf(ret_text, text_bytes, "one that was changed");
}

static uint64_t pages_of(uint64_t first, uint64_t next)
{
    return first == next ? 0 : (next - 1) / USERS_PAGE - first / USERS_PAGE + 1;
}

uint64_t snapshots_answers_pages(struct users_meta meta)
{
    return pages_of(meta.answers_first, meta.answers_next) +
           pages_of(meta.keys_first, meta.keys_next);
}

/* The first page from *number on that holds something of [first, next); false: there is none. */
static bool find_page(uint64_t first, uint64_t next, uint64_t *number)
{
    if (*number < first / USERS_PAGE)
        *number = first / USERS_PAGE;
    return first < next && *number <= (next - 1) / USERS_PAGE;
}

bool snapshots_answers_page(struct users_meta meta, uint64_t *number)
{
    if (*number < USERS_KEYED) {
        if (find_page(meta.answers_first, meta.answers_next, number))
            return true;
        *number = USERS_KEYED;
    }
    uint64_t page = *number - USERS_KEYED;
    bool found = find_page(meta.keys_first, meta.keys_next, &page);
    *number = USERS_KEYED + page;
    return found;
}
