/*
 * What counts: how Redis is set, and whether a snapshot that was written is on its disk. See
 * snapshots.h.
 */
#include "raft/snapshots/state.h"

#include <string.h>

/* BGSAVE is looked after this often, and no longer than so many times. */
#define POLL_MS   100u
#define POLLS_MAX 6000u

/* --- how is it set? --------------------------------------------------------------------------- */

static bool setting_is(const struct store_reply *settings, const char *name, const char *value)
{
    struct bytes found;
    return snapshots_field(settings, name, &found) && bytes_equal(found, bytes_of_text(value));
}

static void judge_settings(struct snapshots *snapshots)
{
    const struct snapshots_settings *settings = &snapshots->save.settings;
    if (settings->evicts)
        snapshots_fail(snapshots,
                       "Redis may evict the snapshot (maxmemory-policy %s): none counts, and the "
                       "log grows, until it is set to noeviction",
                       settings->policy);
    else if (settings->known && !settings->append && !settings->dumps)
        snapshots_fail(snapshots, "Redis keeps nothing on disk (appendonly no, and save is empty): "
                                  "no snapshot counts, and the log grows, until it is set to "
                                  "appendonly yes and appendfsync always");
}

/* The last of the three. An error (CONFIG may be forbidden) only means: not known. */
static void on_append_settings(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct snapshots_settings *settings = &snapshots->save.settings;
    if (snapshots_take_error(snapshots, reply)) {
        settings->known = false;
    } else if (snapshots_take(snapshots, reply)) {
        settings->append = setting_is(reply, "appendonly", "yes");
        settings->append_always = settings->append && setting_is(reply, "appendfsync", "always") &&
                                  setting_is(reply, "no-appendfsync-on-rewrite", "no");
    }
    judge_settings(snapshots);
    snapshots->save.then(snapshots);
}

static void on_dump_settings(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    struct snapshots_settings *settings = &snapshots->save.settings;
    if (snapshots_take_error(snapshots, reply))
        return;
    if (snapshots_take(snapshots, reply)) {
        settings->known = true;
        settings->dumps = !setting_is(reply, "save", "");
    }
}

/* "maxmemory_policy:allkeys-lru" evicts any key; volatile-… only such as expire, and ours do not.
 */
static void on_memory(void *context, const struct store_reply *reply)
{
    static const char name[] = "maxmemory_policy:";
    struct snapshots *snapshots = context;
    struct snapshots_settings *settings = &snapshots->save.settings;
    if (snapshots_take_error(snapshots, reply))
        return;
    if (!snapshots_take(snapshots, reply) || reply->kind != STORE_TEXT)
        return;
    const uint8_t *at = memmem(reply->text.at, reply->text.len, name, strlen(name));
    if (at == NULL)
        return;
    at += strlen(name);
    size_t left = (size_t)(reply->text.at + reply->text.len - at), len = 0;
    while (len < left && at[len] != '\r' && len + 1 < sizeof(settings->policy)) {
        settings->policy[len] = (char)at[len];
        len++;
    }
    settings->evicts = strncmp(settings->policy, "allkeys", strlen("allkeys")) == 0;
}

void snapshots_ask_settings(struct snapshots *snapshots, void (*then)(struct snapshots *snapshots))
{
    struct bytes memory[] = {bytes_of_text("INFO"), bytes_of_text("memory")};
    struct bytes dumps[] = {bytes_of_text("CONFIG"), bytes_of_text("GET"), bytes_of_text("save")};
    struct bytes append[] = {bytes_of_text("CONFIG"), bytes_of_text("GET"),
                             bytes_of_text("*append*")};
    snapshots->save.settings = (struct snapshots_settings){.known = false};
    snapshots->save.then = then;
    snapshots_send(snapshots, ARRAY_LEN(memory), memory, on_memory);
    snapshots_send(snapshots, ARRAY_LEN(dumps), dumps, on_dump_settings);
    snapshots_send(snapshots, ARRAY_LEN(append), append, on_append_settings);
}

/* --- is it on disk? --------------------------------------------------------------------------- */

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
 * The last question. A server that died while it was waited for, and is back, has nothing to say
 * about a dump that it began in its life before; but what it holds now is what it found on its
 * disk. And one that was emptied meanwhile holds nothing.
 */
static void on_still_held(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take(snapshots, reply) && !snapshots_meta_is_of(reply, snapshots->base))
        snapshots_fail(snapshots, "Redis lost the snapshot before it was on disk");
    snapshots_end_save(snapshots);
}

static void ask_background_save(void *context);

static void on_background_info(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (!snapshots_take(snapshots, reply) || reply->kind != STORE_TEXT) {
        snapshots_fail(snapshots, "INFO is no text");
        snapshots_end_save(snapshots);
    } else if (info_says(reply->text, "rdb_bgsave_in_progress:0")) {
        if (info_says(reply->text, "rdb_last_bgsave_status:ok")) {
            snapshots_ask_meta(snapshots, on_still_held);
            return;
        }
        snapshots_fail(snapshots, "Redis could not BGSAVE: see its diagnostics");
        snapshots_end_save(snapshots);
    } else if (++snapshots->save.polls > POLLS_MAX) {
        snapshots_fail(snapshots, "BGSAVE takes too long");
        snapshots_end_save(snapshots);
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
        snapshots_end_save(snapshots);
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
        snapshots_end_save(snapshots);
    else
        start_background_save(snapshots);
}

static void on_waitaof(void *context, const struct store_reply *reply)
{
    struct snapshots *snapshots = context;
    if (snapshots_take_error(snapshots, reply)) { /* not known, or no append-only file */
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
    if (snapshots->failed)
        snapshots_end_save(snapshots);
    else
        snapshots_ask_meta(snapshots, on_still_held);
}

static void wait_for_append_only_file(struct snapshots *snapshots)
{
    struct bytes arguments[] = {bytes_of_text("WAITAOF"), bytes_of_text("1"), bytes_of_text("0"),
                                bytes_of_text("10000")};
    snapshots_send(snapshots, ARRAY_LEN(arguments), arguments, on_waitaof);
}

static void on_confirming(struct snapshots *snapshots)
{
    bool always = snapshots->save.began_always && snapshots->save.settings.append_always;
    if (snapshots->failed)
        snapshots_end_save(snapshots);
    else if (always) /* synced before it was answered */
        snapshots_ask_meta(snapshots, on_still_held);
    else
        wait_for_append_only_file(snapshots);
}

void snapshots_confirm(struct snapshots *snapshots)
{
    snapshots->phase = SNAPSHOTS_CONFIRMING;
    snapshots_ask_settings(snapshots, on_confirming);
}
