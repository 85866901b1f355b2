/* Saving: ask what Redis holds, write what differs, EXEC; then snapshots_confirm.c. */
#include "raft/node/snapshots_state.h"

#include <inttypes.h>
#include <string.h>

static void save_pump(struct snapshots *snapshots);

void snapshots_end_save(struct snapshots *snapshots)
{
    bool durable = !snapshots->failed;
    struct snapshots_saved saved = {
        .durable = durable,
        .full = snapshots->save.full,
        .index = snapshots->save.meta.index,
        .users = snapshots->save.users,
        .answers = snapshots->save.answers,
        .bytes = snapshots->save.bytes,
        .text = snapshots->text,
    };
    snapshots->base_durable = snapshots->base_durable || durable;
    snapshots->phase = SNAPSHOTS_IDLE;
    snapshots->hooks->saved(snapshots->context, &saved);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* One of the three HLEN that the transaction ends with. */
static uint64_t size_in(const struct store_reply *reply, size_t from_end)
{
    struct store_reply size = store_reply_at(reply, reply->count - from_end);
    return size.kind == STORE_INTEGER ? (uint64_t)size.integer : UINT64_MAX;
}

static void judge_size(struct snapshots *snapshots, enum snapshots_key key, uint64_t size,
                       uint64_t wanted)
{
    if (size != wanted)
        snapshots_fail(snapshots,
                       "somebody else changed %s: it has %" PRIu64 " fields instead of %" PRIu64,
                       snapshots->key[key], size, wanted);
}

/* What it built upon may have been emptied under it, or somebody has added to it. */
static void judge_exec(struct snapshots *snapshots, const struct store_reply *reply)
{
    struct users_meta meta = snapshots->save.meta;
    if (reply->kind != STORE_LIST || reply->count < 3) {
        snapshots_fail(snapshots, "Redis did not EXEC the snapshot: somebody else wrote %s",
                       snapshots->key[KEY_META]);
        return;
    }
    for (size_t i = 0; !snapshots->failed && i < reply->count; i++) {
        struct store_reply one = store_reply_at(reply, i);
        if (one.kind == STORE_ERROR)
            snapshots_fail(snapshots, "Redis says: %.*s", (int)one.text.len,
                           (const char *)one.text.at);
    }
    judge_size(snapshots, KEY_USERS, size_in(reply, 3), meta.users);
    judge_size(snapshots, KEY_INDEXES, size_in(reply, 2), snapshots->save.index_pages);
    judge_size(snapshots, KEY_ANSWERS, size_in(reply, 1), snapshots_answers_pages(meta));
    if (snapshots->failed)
        return;
    users_unpin(snapshots->base); /* what Redis holds now, if it is on its disk or not */
    snapshots->base = snapshots->attempt;
    snapshots->attempt = NULL;
    snapshots->base_indexes = snapshots->save.index_pages;
}

static void on_exec(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take(snapshots, reply))
        judge_exec(snapshots, reply);
    assert(snapshots->open == 0);
    if (snapshots->failed)
        snapshots_end_save(snapshots);
    else
        snapshots_confirm(snapshots);
}

static void on_written(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    (void)snapshots_take(snapshots, reply);
    save_pump(snapshots);
}

static void send_words(struct snapshots *snapshots, size_t count, const struct bytes *words)
{
    snapshots_send(snapshots, count, words, on_written);
}

static void send_two(struct snapshots *snapshots, const char *command, enum snapshots_key key)
{
    struct bytes words[] = {bytes_of_text(command), snapshots_key(snapshots, key)};
    send_words(snapshots, ARRAY_LEN(words), words);
}

static void rename_new(struct snapshots *snapshots, enum snapshots_key from, enum snapshots_key to,
                       bool any)
{
    send_two(snapshots, "UNLINK", to);
    struct bytes words[] = {bytes_of_text("RENAME"), snapshots_key(snapshots, from),
                            snapshots_key(snapshots, to)};
    if (any)
        send_words(snapshots, ARRAY_LEN(words), words);
}

static void write_meta(struct snapshots *snapshots)
{
    struct users_meta meta = snapshots->save.meta;
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    char digest[17], cluster_id[33];
    snapshots_put_cluster_id(snapshots->cluster_id, cluster_id);
    uint8_t nodes[SNAPSHOTS_CONFIGURATION_BYTES];
    struct writer configuration = writer_of(nodes, sizeof(nodes));
    snapshots_digest(meta.digest, digest);
    snapshots_put_configuration(&configuration, &snapshots->save.configuration);
    const struct bytes value[SNAPSHOTS_META_FIELDS] = {
        bytes_of_text(SNAPSHOTS_FORMAT),
        bytes_of_text(snapshots->cluster),
        snapshots_decimal(&scratch, snapshots->node),
        snapshots_decimal(&scratch, meta.index),
        snapshots_decimal(&scratch, snapshots->save.term.n),
        writer_bytes(&configuration),
        snapshots_decimal(&scratch, meta.users),
        snapshots_decimal(&scratch, meta.next_id),
        snapshots_decimal(&scratch, meta.changed),
        snapshots_decimal(&scratch, meta.time_ms),
        snapshots_decimal(&scratch, meta.answers_first),
        snapshots_decimal(&scratch, meta.answers_next),
        snapshots_decimal(&scratch, meta.keys_first),
        snapshots_decimal(&scratch, meta.keys_next),
        bytes_of_text(digest),
        bytes_of_text(cluster_id),
    };
    char checksum[9];
    snapshots_checksum(value, checksum);
    struct bytes words[2 + 2 * (SNAPSHOTS_META_FIELDS + 1)] = {
        bytes_of_text("HSET"), snapshots_key(snapshots, KEY_META), bytes_of_text("checksum"),
        bytes_of_text(checksum)};
    for (uint32_t i = 0; i < SNAPSHOTS_META_FIELDS; i++) {
        words[4 + 2 * i] = bytes_of_text(snapshots_meta_field[i]);
        words[5 + 2 * i] = value[i];
    }
    send_words(snapshots, ARRAY_LEN(words), words);
}

static void execute(struct snapshots *snapshots)
{
    struct snapshots_save *save = &snapshots->save;
    struct bytes multi = bytes_of_text("MULTI"), exec = bytes_of_text("EXEC");
    save->executed = true;
    if (save->full) {
        send_words(snapshots, 1, &multi);
        rename_new(snapshots, KEY_NEW_USERS, KEY_USERS, save->any_user);
        rename_new(snapshots, KEY_NEW_INDEXES, KEY_INDEXES, save->any_user);
        rename_new(snapshots, KEY_NEW_ANSWERS, KEY_ANSWERS, save->any_answer);
        send_two(snapshots, "UNLINK", KEY_META);
    }
    write_meta(snapshots);
    send_two(snapshots, "HLEN", KEY_USERS);
    send_two(snapshots, "HLEN", KEY_INDEXES);
    send_two(snapshots, "HLEN", KEY_ANSWERS);
    snapshots->base_durable = false; /* from here on it is in doubt what Redis holds */
    snapshots_send(snapshots, 1, &exec, on_exec);
}

static bool has_users(const struct users_view *view, uint64_t number)
{
    struct users_page page;
    return users_diff(NULL, view, number, &page) && page.number == number;
}

static void write_users(struct snapshots *snapshots, const struct users_page *page)
{
    bool full = snapshots->save.full;
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    struct bytes words[2 + 2 * USERS_PAGE];
    size_t count = 2;
    words[1] = snapshots_key(snapshots, full ? KEY_NEW_USERS : KEY_USERS);
    for (uint32_t i = 0; i < page->count; i++) {
        if ((page->changed >> i & 1) == 0)
            continue;
        words[count++] = snapshots_decimal(&scratch, page->at[i].id);
        uint8_t *at = scratch.at;
        user_json_put(&scratch, &page->at[i]);
        words[count++] = bytes_of(at, (size_t)(scratch.at - at));
    }
    words[0] = bytes_of_text("HSET");
    if (count > 2)
        send_words(snapshots, count, words);
    snapshots->save.users += (count - 2) / 2 + page->removed;
    words[0] = bytes_of_text("HDEL");
    for (uint32_t i = 0; i < page->removed; i++)
        words[2 + i] = snapshots_decimal(&scratch, page->removed_id[i]);
    if (page->removed > 0)
        send_words(snapshots, 2 + page->removed, words);

    uint8_t *indexes = scratch.at;
    snapshots_put_indexes(&scratch, page);
    struct bytes text = bytes_of(indexes, (size_t)(scratch.at - indexes));
    struct bytes page_words[] = {
        bytes_of_text(page->count > 0 ? "HSET" : "HDEL"),
        snapshots_key(snapshots, full ? KEY_NEW_INDEXES : KEY_INDEXES),
        snapshots_decimal(&scratch, page->number),
        text,
    };
    send_words(snapshots, page->count > 0 ? 4 : 3, page_words);
    assert(!scratch.bad);
    snapshots->save.bytes += writer_len(&scratch);
    snapshots->save.any_user |= page->count > 0;
    snapshots->save.index_pages += page->count > 0;
    snapshots->save.index_pages -= !full && has_users(snapshots->base, page->number);
}

static void write_answers(struct snapshots *snapshots, const struct users_past_page *page)
{
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    snapshots_put_answers(&scratch, page);
    struct bytes text = writer_bytes(&scratch);
    struct bytes words[] = {
        bytes_of_text(page->count > 0 ? "HSET" : "HDEL"),
        snapshots_key(snapshots, snapshots->save.full ? KEY_NEW_ANSWERS : KEY_ANSWERS),
        snapshots_answers_field(&scratch, page->number),
        text,
    };
    send_words(snapshots, page->count > 0 ? 4 : 3, words);
    assert(!scratch.bad);
    snapshots->save.answers += page->count;
    snapshots->save.bytes += writer_len(&scratch);
    snapshots->save.any_answer |= page->count > 0;
}

/* One page that differs; false when there is no further. */
static bool write_page(struct snapshots *snapshots)
{
    struct snapshots_save *save = &snapshots->save;
    const struct users_view *old = save->full ? NULL : snapshots->base;
    if (!save->users_written) {
        struct users_page page;
        if (users_diff(old, snapshots->attempt, save->next_page, &page)) {
            save->next_page = page.number + 1;
            write_users(snapshots, &page);
            return true;
        }
        save->users_written = true;
        save->next_page = 0;
    }
    if (!save->answers_written) {
        struct users_past_page page;
        if (users_diff_answers(old, snapshots->attempt, save->next_page, &page)) {
            save->next_page = page.number + 1;
            write_answers(snapshots, &page);
            return true;
        }
        save->answers_written = true;
    }
    return false;
}

static void on_abandoned(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    (void)snapshots_take(snapshots, reply);
    snapshots_end_save(snapshots);
}

/* Nothing is open. The next save shall find neither a MULTI nor a WATCH of this one. */
static void abandon(struct snapshots *snapshots)
{
    snapshots->save.executed = true;
    struct bytes discard = bytes_of_text("DISCARD"); /* an error when no MULTI is open: fine */
    struct bytes unwatch = bytes_of_text("UNWATCH");
    struct bytes unlink[] = {bytes_of_text("UNLINK"), snapshots_key(snapshots, KEY_NEW_USERS),
                             snapshots_key(snapshots, KEY_NEW_INDEXES),
                             snapshots_key(snapshots, KEY_NEW_ANSWERS)};
    send_words(snapshots, 1, &discard);
    send_words(snapshots, ARRAY_LEN(unlink), unlink); /* it may have failed for want of memory */
    snapshots_send(snapshots, 1, &unwatch, on_abandoned);
}

/* Called when a reply came: writes on while the window has room; ends a lost save. */
static void save_pump(struct snapshots *snapshots)
{
    struct snapshots_save *save = &snapshots->save;
    if (save->executed)
        return; /* on_exec ends it */
    if (snapshots->failed) {
        if (snapshots->open > 0)
            return;
        abandon(snapshots);
        return;
    }
    for (uint32_t i = 0; i < SNAPSHOTS_STEP_PAGES && snapshots->open < SNAPSHOTS_WINDOW; i++) {
        if (!write_page(snapshots)) {
            /* A complete one is written outside the transaction: all of it must have arrived. */
            if (!save->full || snapshots->open == 0)
                execute(snapshots);
            return;
        }
        if (snapshots->failed)
            return; /* the callbacks saw to it */
    }
}

static void begin_writing(struct snapshots *snapshots)
{
    snapshots->phase = SNAPSHOTS_WRITING;
    if (snapshots->save.full) {
        struct bytes words[] = {bytes_of_text("UNLINK"), snapshots_key(snapshots, KEY_NEW_USERS),
                                snapshots_key(snapshots, KEY_NEW_INDEXES),
                                snapshots_key(snapshots, KEY_NEW_ANSWERS)};
        send_words(snapshots, ARRAY_LEN(words), words);
    } else {
        struct bytes multi = bytes_of_text("MULTI");
        send_words(snapshots, 1, &multi);
    }
}

/* --- what does Redis hold? -------------------------------------------------------------------- */

static void on_asked(struct snapshots *snapshots)
{
    if (snapshots->failed) {
        abandon(snapshots);
        return;
    }
    snapshots->save.began_always = snapshots->save.settings.append_always;
    snapshots->save.index_pages = snapshots->save.full ? 0 : snapshots->base_indexes;
    begin_writing(snapshots);
}

static void on_held(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    char found[96];
    if (!snapshots_take(snapshots, reply))
        return;
    snapshots->save.full = !snapshots_meta_is_of(reply, snapshots->base);
    if (snapshots_meta_is_whole(reply) && !snapshots_meta_is_ours(snapshots, reply)) {
        snapshots_fail(snapshots,
                       "%s is of another node or cluster and left alone: give this node a Redis "
                       "of its own, or remove that key if nobody needs it",
                       snapshots->key[KEY_META]);
    } else if (snapshots->save.full) {
        snapshots_meta_print(reply, found, sizeof(found));
        snapshots_lose(snapshots, "Redis holds %s instead of what was saved last", found);
    }
}

/* From here on EXEC does nothing when somebody else writes meta, or empties Redis. */
static void on_watched(void *context, const struct store_reply *reply)
{
    (void)snapshots_take(context, reply);
}

void snapshots_save(struct snapshots *snapshots, struct users_view *take_view, raft_term term,
                    const struct raft_configuration *configuration)
{
    assert(snapshots->phase == SNAPSHOTS_IDLE && snapshots->open == 0);
    snapshots->phase = SNAPSHOTS_ASKING;
    snapshots->failed = snapshots->away = false;
    memset(&snapshots->save, 0, sizeof(snapshots->save));
    snapshots->save.meta = users_view_meta(take_view);
    snapshots->save.term = term;
    snapshots->save.configuration = *configuration;
    /* One that was in vain: whoever called us then may still have been reading from it. */
    users_unpin(snapshots->attempt);
    snapshots->attempt = take_view;

    struct bytes watch[] = {bytes_of_text("WATCH"), snapshots_key(snapshots, KEY_META)};
    snapshots_send(snapshots, ARRAY_LEN(watch), watch, on_watched);
    snapshots_ask_meta(snapshots, on_held);
    snapshots_ask_settings(snapshots, on_asked);
}
