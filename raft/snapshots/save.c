/* Saving: ask what Redis holds, write what differs, EXEC; then snapshots/confirm.c. */
#include "raft/snapshots/state.h"

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
            snapshots_refuse(snapshots, &one);
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

static void on_invalid(void *context, const struct store_reply *reply)
{
    (void)snapshots_take(context, reply);
    snapshots_end_save(context);
}

/* Meta says what is not there, and a process that starts now would believe it. */
static void invalidate(struct snapshots *snapshots)
{
    struct bytes words[] = {bytes_of_text("UNLINK"), snapshots_key(snapshots, KEY_META)};
    users_unpin(snapshots->base); /* Redis does not hold it any more: the next is complete */
    snapshots->base = NULL;
    snapshots_send(snapshots, ARRAY_LEN(words), words, on_invalid);
}

static void on_exec(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    bool here = snapshots_take(snapshots, reply);
    if (here)
        judge_exec(snapshots, reply);
    assert(snapshots->open == 0);
    if (!snapshots->failed)
        snapshots_confirm(snapshots);
    else if (here && reply->kind == STORE_LIST)
        invalidate(snapshots);
    else
        snapshots_end_save(snapshots);
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
    char digest[17], cluster_id[CLUSTER_ID_TEXT_BYTES];
    record_cluster_id_print(snapshots->cluster_id, cluster_id);
    uint8_t text[MEMBERS_TEXT_BYTES_MAX];
    struct writer members = writer_of(text, sizeof(text));
    snapshots_digest(meta.digest, digest);
    members_print(&members, &snapshots->save.members);
    const struct bytes value[SNAPSHOTS_META_FIELDS] = {
        bytes_of_text(SNAPSHOTS_FORMAT),
        bytes_of_text(snapshots->cluster),
        snapshots_decimal(&scratch, snapshots->node),
        snapshots_decimal(&scratch, meta.index),
        snapshots_decimal(&scratch, snapshots->save.term.n),
        writer_bytes(&members),
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

/* To whom it is given: a difference upon it is fit for the same process only. */
static void write_server(struct snapshots *snapshots)
{
    struct bytes words[] = {bytes_of_text("HSET"), snapshots_key(snapshots, KEY_SERVER),
                            bytes_of_text("run_id"), bytes_of_text(snapshots->save.run_id)};
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
        write_server(snapshots);
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

/* --- is what was written there? --------------------------------------------------------------- */

static void on_watched(void *context, const struct store_reply *reply)
{
    (void)snapshots_take(context, reply);
}

static void take_size(struct snapshots *snapshots, const struct store_reply *reply,
                      enum snapshots_key key, uint64_t wanted)
{
    if (snapshots_take_kind(snapshots, reply, STORE_INTEGER))
        judge_size(snapshots, key, (uint64_t)reply->integer, wanted);
}

static void on_new_users(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_size(snapshots, reply, KEY_NEW_USERS, snapshots->save.meta.users);
}

static void on_new_indexes(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_size(snapshots, reply, KEY_NEW_INDEXES, snapshots->save.index_pages);
}

static void on_new_answers(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_size(snapshots, reply, KEY_NEW_ANSWERS, snapshots_answers_pages(snapshots->save.meta));
    if (snapshots->failed)
        abandon(snapshots);
    else
        execute(snapshots);
}

/*
 * FLUSHALL touches a watched key only if it is there, and meta need not be: what was written is
 * watched from when it is all there on, and counted after that, so that EXEC does nothing if any of
 * it is gone.
 */
static void count_new(struct snapshots *snapshots)
{
    struct bytes watch[] = {bytes_of_text("WATCH"), snapshots_key(snapshots, KEY_NEW_USERS),
                            snapshots_key(snapshots, KEY_NEW_INDEXES),
                            snapshots_key(snapshots, KEY_NEW_ANSWERS)};
    snapshots->save.executed = true; /* nothing more is written before it */
    snapshots_send(snapshots, ARRAY_LEN(watch), watch, on_watched);
    snapshots_ask_size(snapshots, KEY_NEW_USERS, on_new_users);
    snapshots_ask_size(snapshots, KEY_NEW_INDEXES, on_new_indexes);
    snapshots_ask_size(snapshots, KEY_NEW_ANSWERS, on_new_answers);
}

/* Called when a reply came: writes on while the window has room; ends a lost save. */
static void save_pump(struct snapshots *snapshots)
{
    struct snapshots_save *save = &snapshots->save;
    if (save->executed)
        return; /* on_exec ends it, or on_new_answers */
    if (snapshots->failed) {
        if (snapshots->open > 0)
            return;
        abandon(snapshots);
        return;
    }
    for (uint32_t i = 0; i < SNAPSHOTS_STEP_PAGES && snapshots->open < SNAPSHOTS_WINDOW; i++) {
        if (!write_page(snapshots)) {
            /* A complete one is written outside the transaction: all of it must have arrived. */
            if (!save->full)
                execute(snapshots);
            else if (snapshots->open == 0)
                count_new(snapshots);
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
    if (snapshots_is_wrong_type(reply)) { /* somebody put something else there */
        snapshots->open--;
        snapshots->save.full = true;
        snapshots_lose(snapshots, "%s is no hash any more", snapshots->key[KEY_META]);
        return;
    }
    if (!snapshots_take_kind(snapshots, reply, STORE_LIST))
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

/* What a difference would build upon: where it is not all there, a complete one is written. */
static void take_held(struct snapshots *snapshots, const struct store_reply *reply,
                      enum snapshots_key key, uint64_t wanted)
{
    bool wrong = snapshots_is_wrong_type(reply);
    if (wrong)
        snapshots->open--;
    else if (!snapshots_take_kind(snapshots, reply, STORE_INTEGER))
        return;
    if (snapshots->save.full || (!wrong && (uint64_t)reply->integer == wanted))
        return;
    snapshots->save.full = true;
    snapshots_lose(snapshots, "%s is not what was saved last", snapshots->key[key]);
}

static struct users_meta base_meta(const struct snapshots *snapshots)
{
    return snapshots->base != NULL ? users_view_meta(snapshots->base) : (struct users_meta){0};
}

static void on_held_users(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_held(snapshots, reply, KEY_USERS, base_meta(snapshots).users);
}

static void on_held_indexes(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_held(snapshots, reply, KEY_INDEXES, snapshots->base_indexes);
}

static void on_held_answers(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    take_held(snapshots, reply, KEY_ANSWERS, snapshots_answers_pages(base_meta(snapshots)));
}

/* "run_id:" and what it is. One that does not say is another each time. */
static void on_server(void *context, const struct store_reply *reply)
{
    static const char name[] = "run_id:";
    struct snapshots *snapshots = context;
    char *run_id = snapshots->save.run_id;
    if (snapshots_take_error(snapshots, reply))
        return;
    if (!snapshots_take_kind(snapshots, reply, STORE_TEXT))
        return;
    const uint8_t *at = memmem(reply->text.at, reply->text.len, name, strlen(name));
    const uint8_t *end = reply->text.at + reply->text.len;
    size_t len = 0;
    for (at = at != NULL ? at + strlen(name) : end; at<end && * at> ' '; at++) {
        if (len + 1 < SNAPSHOTS_RUN_ID_BYTES)
            run_id[len++] = (char)*at;
    }
    run_id[len] = '\0';
}

static void on_given_to(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    const char *run_id = snapshots->save.run_id;
    if (snapshots_is_wrong_type(reply)) {
        snapshots->open--;
        snapshots->save.full = true;
    } else if (snapshots_take(snapshots, reply)) {
        snapshots->save.full |= run_id[0] == '\0' || reply->kind != STORE_TEXT ||
                                !bytes_equal(reply->text, bytes_of_text(run_id));
    }
}

/* From here on EXEC does nothing when somebody else writes what it builds upon. */
static void ask_held(struct snapshots *snapshots)
{
    struct bytes watch[] = {bytes_of_text("WATCH"), snapshots_key(snapshots, KEY_META),
                            snapshots_key(snapshots, KEY_USERS),
                            snapshots_key(snapshots, KEY_INDEXES),
                            snapshots_key(snapshots, KEY_ANSWERS)};
    struct bytes server[] = {bytes_of_text("INFO"), bytes_of_text("server")};
    struct bytes given[] = {bytes_of_text("HGET"), snapshots_key(snapshots, KEY_SERVER),
                            bytes_of_text("run_id")};
    snapshots_send(snapshots, ARRAY_LEN(watch), watch, on_watched);
    snapshots_ask_meta(snapshots, on_held);
    snapshots_ask_size(snapshots, KEY_USERS, on_held_users);
    snapshots_ask_size(snapshots, KEY_INDEXES, on_held_indexes);
    snapshots_ask_size(snapshots, KEY_ANSWERS, on_held_answers);
    snapshots_send(snapshots, ARRAY_LEN(server), server, on_server);
    snapshots_send(snapshots, ARRAY_LEN(given), given, on_given_to);
}

void snapshots_save(struct snapshots *snapshots, struct users_view *take_view, raft_term term,
                    const struct members *members)
{
    assert(snapshots->phase == SNAPSHOTS_IDLE && snapshots->open == 0);
    snapshots->phase = SNAPSHOTS_ASKING;
    snapshots->failed = snapshots->away = snapshots->refused = false;
    memset(&snapshots->save, 0, sizeof(snapshots->save));
    snapshots->save.meta = users_view_meta(take_view);
    snapshots->save.term = term;
    snapshots->save.members = *members;
    /* One that was in vain: whoever called us then may still have been reading from it. */
    users_unpin(snapshots->attempt);
    snapshots->attempt = take_view;

    ask_held(snapshots);
    snapshots_ask_settings(snapshots, on_asked);
}
