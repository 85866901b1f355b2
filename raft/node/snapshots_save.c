/* Saving: ask what Redis holds, write what differs, EXEC, see to it that it is on disk. */
#include "raft/node/snapshots_state.h"

#include <string.h>

/* BGSAVE is looked after this often, and no longer than so many times. */
#define POLL_MS   100u
#define POLLS_MAX 6000u

static void save_pump(struct snapshots *snapshots);

static void end_save(struct snapshots *snapshots)
{
    bool durable = !snapshots->failed;
    struct snapshots_saved saved = {
        .durable = durable,
        .full = snapshots->save.full,
        .index = users_view_meta(snapshots->attempt).index,
        .users = snapshots->save.users,
        .answers = snapshots->save.answers,
        .bytes = snapshots->save.bytes,
        .text = snapshots->text,
    };
    if (durable) {
        users_unpin(snapshots->base);
        snapshots->base = snapshots->attempt;
        snapshots->attempt = NULL;
    } /* else whoever called us may still be reading from it: it goes with the next save */
    snapshots->phase = SNAPSHOTS_IDLE;
    snapshots->hooks->saved(snapshots->context, &saved);
}

/* --- is it on disk? --------------------------------------------------------------------------- */

static bool meta_is_of(const struct store_reply *meta, const struct users_view *view)
{
    struct bytes index_text, digest_text;
    uint64_t index;
    if (view == NULL || !snapshots_field(meta, "index", &index_text) ||
        !snapshots_field(meta, "digest", &digest_text) || !snapshots_number(index_text, &index))
        return false;
    struct users_meta wanted = users_view_meta(view);
    char digest[17];
    snapshots_digest(wanted.digest, digest);
    return index == wanted.index && bytes_equal(digest_text, bytes_of_text(digest));
}

static void ask_meta(struct snapshots *snapshots, store_on_reply *on_reply)
{
    struct bytes words[] = {bytes_of_text("HGETALL"), snapshots_key(snapshots, KEY_META)};
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_reply);
}

static void ask_persistence(struct snapshots *snapshots, store_on_reply *on_reply)
{
    struct bytes words[] = {bytes_of_text("INFO"), bytes_of_text("persistence")};
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_reply);
}

static bool info_says(struct bytes info, const char *text)
{
    return memmem(info.at, info.len, text, strlen(text)) != NULL;
}

/*
 * A server that died while it was waited for, and is back, has nothing to say about a dump that it
 * began in its life before; but what it holds now is what it found on its disk.
 */
static void on_held_after_dump(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take(snapshots, reply) && !meta_is_of(reply, snapshots->attempt))
        snapshots_fail(snapshots, "Redis lost the snapshot before it was on disk");
    end_save(snapshots);
}

static void ask_background_save(void *context);

static void on_background_info(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (!snapshots_take(snapshots, reply) || reply->kind != STORE_TEXT) {
        snapshots_fail(snapshots, "INFO is no text");
        end_save(snapshots);
    } else if (info_says(reply->text, "rdb_bgsave_in_progress:0")) {
        if (info_says(reply->text, "rdb_last_bgsave_status:ok")) {
            ask_meta(snapshots, on_held_after_dump);
            return;
        }
        snapshots_fail(snapshots, "Redis could not BGSAVE: see its diagnostics");
        end_save(snapshots);
    } else if (++snapshots->save.polls > POLLS_MAX) {
        snapshots_fail(snapshots, "BGSAVE takes too long");
        end_save(snapshots);
    } else {
        snapshots->store->later(snapshots->store, POLL_MS, ask_background_save, snapshots);
    }
}

static void ask_background_save(void *context)
{
    ask_persistence(context, on_background_info);
}

static void start_background_save(void *context);

/* One that was under way already may have begun before our EXEC: it does not count. */
static void on_background_save(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    bool busy = reply != NULL && reply->kind == STORE_ERROR &&
                memmem(reply->text.at, reply->text.len, "in progress", 11) != NULL;
    if (busy && ++snapshots->save.polls <= POLLS_MAX) {
        snapshots->open--;
        snapshots->store->later(snapshots->store, POLL_MS, start_background_save, snapshots);
    } else if (snapshots_take(snapshots, reply)) {
        ask_background_save(snapshots);
    } else {
        end_save(snapshots);
    }
}

static void start_background_save(void *context)
{
    struct bytes arguments[] = {bytes_of_text("BGSAVE")};
    snapshots_send(context, ARRAY_LEN(arguments), arguments, on_background_save);
}

/* A server with an append-only file starts from that and never looks at a dump. */
static void on_append_only_info(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take(snapshots, reply) &&
        (reply->kind != STORE_TEXT || !info_says(reply->text, "aof_enabled:0")))
        snapshots_fail(snapshots, "Redis cannot say when its append-only file is synced (it knows "
                                  "no WAITAOF): set appendfsync always");
    if (snapshots->failed)
        end_save(snapshots);
    else
        start_background_save(snapshots);
}

static void on_waitaof(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (reply != NULL && reply->kind == STORE_ERROR) { /* not known, or no append-only file */
        snapshots->open--;
        ask_persistence(snapshots, on_append_only_info);
        return;
    }
    if (snapshots_take(snapshots, reply)) {
        struct store_reply local = {.integer = 0};
        if (reply->kind == STORE_LIST && reply->count > 0)
            local = store_reply_at(reply, 0);
        if (local.integer < 1)
            snapshots_fail(snapshots, "Redis did not sync its append-only file in time");
    }
    end_save(snapshots);
}

static void confirm(struct snapshots *snapshots)
{
    snapshots->phase = SNAPSHOTS_CONFIRMING;
    if (snapshots->save.aof_always) {
        end_save(snapshots); /* synced before it was answered */
        return;
    }
    struct bytes arguments[] = {bytes_of_text("WAITAOF"), bytes_of_text("1"), bytes_of_text("0"),
                                bytes_of_text("10000")};
    snapshots_send(snapshots, ARRAY_LEN(arguments), arguments, on_waitaof);
}

/* --- writing ---------------------------------------------------------------------------------- */

static uint64_t answers_pages(struct users_meta meta)
{
    if (meta.answers_first == meta.answers_next)
        return 0;
    return (meta.answers_next - 1) / USERS_PAGE - meta.answers_first / USERS_PAGE + 1;
}

/* The transaction ended with two HLEN: what it built upon may have been emptied under it. */
static void judge_exec(struct snapshots *snapshots, const struct store_reply *reply)
{
    struct users_meta meta = users_view_meta(snapshots->attempt);
    if (reply->kind != STORE_LIST || reply->count < 2) {
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
    struct store_reply users = store_reply_at(reply, reply->count - 2);
    struct store_reply answers = store_reply_at(reply, reply->count - 1);
    if ((uint64_t)users.integer != meta.count || (uint64_t)answers.integer != answers_pages(meta))
        snapshots_fail(snapshots, "Redis lost a part of the snapshot while it was written");
}

static void on_exec(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take(snapshots, reply))
        judge_exec(snapshots, reply);
    assert(snapshots->open == 0);
    if (snapshots->failed)
        end_save(snapshots);
    else
        confirm(snapshots);
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

static struct bytes decimal(struct writer *scratch, uint64_t value)
{
    uint8_t *at = scratch->at;
    put_decimal(scratch, value);
    return bytes_of(at, (size_t)(scratch->at - at));
}

static void write_meta(struct snapshots *snapshots)
{
    struct users_meta meta = users_view_meta(snapshots->attempt);
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    char digest[17];
    uint8_t nodes[SNAPSHOTS_CONFIGURATION_BYTES];
    struct writer configuration = writer_of(nodes, sizeof(nodes));
    snapshots_digest(meta.digest, digest);
    snapshots_put_configuration(&configuration, &snapshots->save.configuration);
    const struct bytes value[SNAPSHOTS_META_FIELDS] = {
        bytes_of_text(SNAPSHOTS_FORMAT),
        bytes_of_text(snapshots->cluster),
        decimal(&scratch, snapshots->node),
        decimal(&scratch, meta.index),
        decimal(&scratch, snapshots->save.term.n),
        writer_bytes(&configuration),
        decimal(&scratch, meta.count),
        decimal(&scratch, meta.next_id),
        decimal(&scratch, meta.answers_first),
        decimal(&scratch, meta.answers_next),
        bytes_of_text(digest),
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
    send_two(snapshots, "HLEN", KEY_ANSWERS);
    snapshots_send(snapshots, 1, &exec, on_exec);
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
        words[count++] = decimal(&scratch, page->at[i].id);
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
        words[2 + i] = decimal(&scratch, page->removed_id[i]);
    if (page->removed > 0)
        send_words(snapshots, 2 + page->removed, words);

    uint8_t *indexes = scratch.at;
    snapshots_put_indexes(&scratch, page);
    struct bytes text = bytes_of(indexes, (size_t)(scratch.at - indexes));
    struct bytes page_words[] = {
        bytes_of_text(page->count > 0 ? "HSET" : "HDEL"),
        snapshots_key(snapshots, full ? KEY_NEW_INDEXES : KEY_INDEXES),
        decimal(&scratch, page->number),
        text,
    };
    send_words(snapshots, page->count > 0 ? 4 : 3, page_words);
    assert(!scratch.bad);
    snapshots->save.bytes += writer_len(&scratch);
    snapshots->save.any_user |= page->count > 0;
}

static void write_answers(struct snapshots *snapshots, const struct users_past_page *page)
{
    struct writer scratch = writer_of(snapshots->scratch, sizeof(snapshots->scratch));
    snapshots_put_answers(&scratch, page);
    struct bytes text = writer_bytes(&scratch);
    struct bytes words[] = {
        bytes_of_text(page->count > 0 ? "HSET" : "HDEL"),
        snapshots_key(snapshots, snapshots->save.full ? KEY_NEW_ANSWERS : KEY_ANSWERS),
        decimal(&scratch, page->number),
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
    end_save(snapshots);
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

static bool setting_is(const struct store_reply *settings, const char *name, const char *value)
{
    struct bytes found;
    return snapshots_field(settings, name, &found) && bytes_equal(found, bytes_of_text(value));
}

/* The last reply of asking. An error (CONFIG may be forbidden) only means: not known. */
static void on_settings(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (reply != NULL && reply->kind == STORE_ERROR)
        snapshots->open--;
    else if (snapshots_take(snapshots, reply))
        snapshots->save.aof_always = setting_is(reply, "appendonly", "yes") &&
                                     setting_is(reply, "appendfsync", "always") &&
                                     setting_is(reply, "no-appendfsync-on-rewrite", "no");
    if (snapshots->failed)
        abandon(snapshots);
    else
        begin_writing(snapshots);
}

static void on_held(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take(snapshots, reply))
        snapshots->save.full = !meta_is_of(reply, snapshots->base);
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
    snapshots->save.term = term;
    snapshots->save.configuration = *configuration;
    users_unpin(snapshots->attempt);
    snapshots->attempt = take_view;

    struct bytes watch[] = {bytes_of_text("WATCH"), snapshots_key(snapshots, KEY_META)};
    snapshots_send(snapshots, ARRAY_LEN(watch), watch, on_watched);
    ask_meta(snapshots, on_held);
    struct bytes settings[] = {bytes_of_text("CONFIG"), bytes_of_text("GET"),
                               bytes_of_text("*append*")};
    snapshots_send(snapshots, ARRAY_LEN(settings), settings, on_settings);
}
