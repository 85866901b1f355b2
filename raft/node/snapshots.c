/* What saving and loading share. */
#include "raft/node/snapshots_state.h"

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
        snapshots_fail(snapshots, "Redis says: %.*s", (int)reply->text.len,
                       (const char *)reply->text.at);
        return false;
    }
    return !snapshots->failed;
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

void snapshots_digest(uint64_t digest, char ret_text[17])
{
    int len = snprintf(ret_text, 17, "%016" PRIx64, digest);
    assert(len == 16);
}

const char *const snapshots_meta_field[SNAPSHOTS_META_FIELDS] = {
    "format", "cluster", "node",          "index",        "term",   "configuration",
    "users",  "next_id", "answers_first", "answers_next", "digest",
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
