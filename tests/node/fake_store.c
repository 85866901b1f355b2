#include "tests/node/fake_store.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A reply that owns what it points to. */
struct fake_reply {
    struct store_reply reply;
    struct fake_text text;
    struct fake_reply *element;
};

static void element_at(const void *elements, size_t i, struct store_reply *ret_reply)
{
    *ret_reply = ((const struct fake_reply *)elements)[i].reply;
}

static struct fake_reply text_reply(enum store_reply_kind kind, struct bytes text)
{
    struct fake_reply reply = {.reply = {.kind = kind}, .text = fake_text_of(text)};
    reply.reply.text = fake_text_bytes(&reply.text);
    return reply;
}

static struct fake_reply status_reply(const char *text)
{
    return text_reply(STORE_TEXT, bytes_of_text(text));
}

static struct fake_reply error_reply(const char *text)
{
    return text_reply(STORE_ERROR, bytes_of_text(text));
}

static struct fake_reply integer_reply(int64_t integer)
{
    return (struct fake_reply){.reply = {.kind = STORE_INTEGER, .integer = integer}};
}

static struct fake_reply list_reply(size_t count)
{
    struct fake_reply reply = {.element = calloc(count + 1, sizeof(*reply.element))};
    reply.reply = (struct store_reply){
        .kind = STORE_LIST, .count = count, .elements = reply.element, .at = element_at};
    return reply;
}

static void free_reply(struct fake_reply *reply)
{
    for (size_t i = 0; reply->element != NULL && i < reply->reply.count; i++)
        free_reply(&reply->element[i]);
    free(reply->element);
    free(reply->text.at);
}

static void free_command(struct fake_command *command)
{
    for (size_t i = 0; i < command->count; i++)
        free(command->argument[i].at);
    free(command->argument);
    command->argument = NULL;
}

static struct bytes argument(const struct fake_command *command, size_t i)
{
    assert(i < command->count);
    return fake_text_bytes(&command->argument[i]);
}

static bool is(const struct fake_command *command, const char *name)
{
    return bytes_equal(argument(command, 0), bytes_of_text(name));
}

/* --- what it finds again ---------------------------------------------------------------------- */

static void file_is_now(struct fake_store *store)
{
    fake_db_copy(&store->file, &store->db);
}

static struct fake_reply run_waitaof(struct fake_store *store)
{
    if (!store->knows_waitaof)
        return error_reply("ERR unknown command 'WAITAOF', with args beginning with: '1' '0' ");
    if (store->append == FAKE_APPEND_NO)
        return error_reply("ERR WAITAOF cannot be used when numlocal is set but appendonly is "
                           "disabled.");
    struct fake_reply reply = list_reply(2);
    if (!store->waitaof_times_out)
        file_is_now(store);
    reply.element[0] = integer_reply(!store->waitaof_times_out);
    reply.element[1] = integer_reply(0);
    return reply;
}

static void dump_goes_on(struct fake_store *store)
{
    if (!store->dumping)
        return;
    if (store->polls_left > 0) {
        store->polls_left--;
        return;
    }
    store->dumping = store->other_dump = false;
    store->dump_failed = store->dump_fails;
    if (!store->dump_fails && store->append == FAKE_APPEND_NO)
        fake_db_copy(&store->file, &store->child);
}

static struct fake_reply run_bgsave(struct fake_store *store)
{
    if (store->other_dump && !store->dumping) {
        store->dumping = true;
        store->polls_left = store->dump_polls;
        fake_db_copy(&store->child, &store->file); /* it began before what came since */
    }
    bool busy = store->dumping;
    dump_goes_on(store);
    if (busy)
        return error_reply("ERR Background save already in progress");
    store->dumping = true;
    store->polls_left = store->dump_polls;
    fake_db_copy(&store->child, &store->db);
    return status_reply("Background saving started");
}

static struct fake_reply run_info(struct fake_store *store)
{
    char text[256];
    dump_goes_on(store);
    snprintf(text, sizeof(text),
             "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:%s\r\nallocator:none\r\n"
             "# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:%d\r\n"
             "rdb_last_bgsave_status:%s\r\naof_enabled:%d\r\n",
             store->policy, store->dumping, store->dump_failed ? "err" : "ok",
             store->append != FAKE_APPEND_NO);
    return status_reply(text);
}

static struct fake_reply run_config(struct fake_store *store, const struct fake_command *command)
{
    static const char *const fsync[] = {"everysec", "everysec", "always"};
    const char *const setting[][2] = {
        {"appenddirname", "appendonlydir"},
        {"appendfsync", fsync[store->append]},
        {"appendonly", store->append != FAKE_APPEND_NO ? "yes" : "no"},
        {"no-appendfsync-on-rewrite", "no"},
        {"save", store->save},
    };
    struct fake_reply reply = list_reply(2 * ARRAY_LEN(setting));
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(setting); i++) {
        bool asked = false;
        for (size_t j = 2; j < command->count; j++) {
            char pattern[64] = "";
            struct bytes text = argument(command, j);
            memcpy(pattern, text.at, text.len < sizeof(pattern) ? text.len : 0);
            asked = asked || fnmatch(pattern, setting[i][0], 0) == 0;
        }
        for (size_t j = 0; asked && j < 2; j++)
            reply.element[count++] = status_reply(setting[i][j]);
    }
    reply.reply.count = count;
    return reply;
}

/* --- hashes ----------------------------------------------------------------------------------- */

static struct fake_reply run_get(struct fake_store *store, struct bytes key, struct bytes field)
{
    struct bytes value;
    if (!fake_db_get(&store->db, key, field, &value))
        return (struct fake_reply){.reply = {.kind = STORE_NIL}};
    return text_reply(STORE_TEXT, value);
}

static struct fake_reply run_getall(struct fake_store *store, struct bytes key)
{
    struct fake_hash *hash = fake_db_find(&store->db, key);
    struct fake_reply reply = list_reply(hash != NULL ? 2 * hash->count : 0);
    for (size_t i = 0, at = 0; hash != NULL && i < hash->used; i++) {
        if (hash->field[i].name.at == NULL)
            continue;
        reply.element[at++] = text_reply(STORE_TEXT, fake_text_bytes(&hash->field[i].name));
        reply.element[at++] = text_reply(STORE_TEXT, fake_text_bytes(&hash->field[i].value));
    }
    return reply;
}

/* What a transaction may hold: everything on keys. */
static struct fake_reply run_on_keys(struct fake_store *store, const struct fake_command *command)
{
    struct bytes key = command->count > 1 ? argument(command, 1) : bytes_of(NULL, 0);
    struct fake_db *db = &store->db;
    int64_t done = 0;
    if (is(command, "HGETALL"))
        return run_getall(store, key);
    if (is(command, "HGET"))
        return run_get(store, key, argument(command, 2));
    if (is(command, "HMGET")) {
        struct fake_reply reply = list_reply(command->count - 2);
        for (size_t i = 2; i < command->count; i++)
            reply.element[i - 2] = run_get(store, key, argument(command, i));
        return reply;
    }
    if (is(command, "HLEN")) {
        struct fake_hash *hash = fake_db_find(db, key);
        return integer_reply(hash != NULL ? (int64_t)hash->count : 0);
    }
    if (is(command, "HSET")) {
        for (size_t i = 2; i + 1 < command->count; i += 2, done++)
            fake_db_set(db, key, argument(command, i), argument(command, i + 1));
    } else if (is(command, "HDEL")) {
        for (size_t i = 2; i < command->count; i++)
            done += fake_db_delete(db, key, argument(command, i));
    } else if (is(command, "UNLINK")) {
        for (size_t i = 1; i < command->count; i++)
            done += fake_db_unlink(db, argument(command, i));
    } else if (is(command, "RENAME")) {
        return fake_db_rename(db, key, argument(command, 2)) ? status_reply("OK")
                                                             : error_reply("ERR no such key");
    } else {
        return error_reply("ERR unknown command");
    }
    return integer_reply(done);
}

/* --- transactions ----------------------------------------------------------------------------- */

static void forget_watched(struct fake_store *store)
{
    free(store->watched.at);
    store->watched = (struct fake_text){.at = NULL};
    store->watch_broken = false;
}

/* Somebody else wrote this key. */
static void touch(struct fake_store *store, struct bytes key)
{
    if (store->watched.at != NULL && bytes_equal(fake_text_bytes(&store->watched), key))
        store->watch_broken = true;
}

static void forget_transaction(struct fake_store *store)
{
    for (int i = 0; i < store->queued; i++)
        free_command(&store->transaction[i]);
    store->queued = 0;
    store->multi = store->multi_broken = false;
    forget_watched(store);
}

static struct fake_reply run_exec(struct fake_store *store)
{
    struct fake_reply reply;
    if (!store->multi) {
        reply = error_reply("ERR EXEC without MULTI");
    } else if (store->multi_broken) {
        reply = error_reply("EXECABORT Transaction discarded because of previous errors.");
    } else if (store->watch_broken) {
        reply = (struct fake_reply){.reply = {.kind = STORE_NIL}};
    } else {
        reply = list_reply((size_t)store->queued);
        for (int i = 0; i < store->queued; i++)
            reply.element[i] = run_on_keys(store, &store->transaction[i]);
    }
    forget_transaction(store);
    return reply;
}

static void watch(struct fake_store *store, struct bytes key)
{
    assert(store->watched.at == NULL); /* one is all that snapshots need */
    store->watched = fake_text_of(key);
}

static struct fake_reply run(struct fake_store *store, struct fake_command *command)
{
    if (store->full && is(command, "HSET")) {
        store->multi_broken = store->multi;
        return error_reply("OOM command not allowed when used memory > 'maxmemory'.");
    }
    if (is(command, "EXEC"))
        return run_exec(store);
    if (is(command, "DISCARD")) {
        bool multi = store->multi;
        forget_transaction(store);
        return multi ? status_reply("OK") : error_reply("ERR DISCARD without MULTI");
    }
    if (store->multi) {
        assert(store->queued < (int)ARRAY_LEN(store->transaction));
        store->transaction[store->queued++] = *command;
        command->argument = NULL; /* taken */
        command->count = 0;
        return status_reply("QUEUED");
    }
    if (is(command, "MULTI"))
        store->multi = true;
    else if (is(command, "WATCH"))
        watch(store, argument(command, 1));
    else if (is(command, "UNWATCH"))
        forget_watched(store);
    else if (is(command, "CONFIG"))
        return store->config_forbidden ? error_reply("ERR unknown command 'CONFIG'")
                                       : run_config(store, command);
    else if (is(command, "WAITAOF"))
        return run_waitaof(store);
    else if (is(command, "BGSAVE"))
        return run_bgsave(store);
    else if (is(command, "INFO"))
        return run_info(store);
    else
        return run_on_keys(store, command);
    return status_reply("OK");
}

/* --- the connection --------------------------------------------------------------------------- */

static void take_command(struct store *base, size_t count, const struct bytes *arguments,
                         store_on_reply *on_reply, void *context)
{
    struct fake_store *store = CONTAINER_OF(base, struct fake_store, store);
    if (!store->connected) {
        on_reply(context, NULL);
        return;
    }
    assert(store->waiting < FAKE_COMMANDS);
    struct fake_command *command = &store->queue[store->waiting++];
    *command = (struct fake_command){
        .count = count,
        .argument = calloc(count, sizeof(struct fake_text)),
        .on_reply = on_reply,
        .context = context,
    };
    for (size_t i = 0; i < count; i++) {
        command->argument[i] = fake_text_of(arguments[i]);
        store->bytes_waiting += arguments[i].len;
    }
    if (store->waiting_most < store->waiting)
        store->waiting_most = store->waiting;
    if (store->bytes_most < store->bytes_waiting)
        store->bytes_most = store->bytes_waiting;
}

static void take_later(struct store *base, uint32_t ms, void (*call)(void *context), void *context)
{
    struct fake_store *store = CONTAINER_OF(base, struct fake_store, store);
    assert(store->later_call == NULL);
    store->later_call = call;
    store->later_context = context;
    store->later_ms = ms;
}

void fake_store_lose(struct fake_store *store)
{
    store->connected = false;
    forget_transaction(store);
    struct fake_command lost[FAKE_COMMANDS];
    int count = store->waiting;
    memcpy(lost, store->queue, (size_t)count * sizeof(lost[0]));
    store->waiting = 0;
    store->bytes_waiting = 0;
    for (int i = 0; i < count; i++) {
        free_command(&lost[i]);
        lost[i].on_reply(lost[i].context, NULL);
    }
}

void fake_store_connect(struct fake_store *store)
{
    store->connected = true;
}

static struct fake_command next_command(struct fake_store *store)
{
    struct fake_command command = store->queue[0];
    store->waiting--;
    memmove(store->queue, store->queue + 1, (size_t)store->waiting * sizeof(command));
    for (size_t i = 0; i < command.count; i++)
        store->bytes_waiting -= command.argument[i].len;
    return command;
}

bool fake_store_step(struct fake_store *store)
{
    if (store->waiting == 0 && store->later_call != NULL) {
        void (*call)(void *context) = store->later_call;
        store->later_call = NULL;
        call(store->later_context);
        return true;
    }
    if (store->waiting == 0)
        return false;
    store->commands++;
    if (store->commands == store->lose_before) {
        fake_store_lose(store);
        return true;
    }
    struct fake_command command = next_command(store);
    struct fake_reply reply;
    if (store->commands == store->error_at) {
        store->multi_broken = store->multi;
        reply = error_reply(store->error);
        if (is(&command, "EXEC"))
            forget_transaction(store);
    } else {
        reply = run(store, &command);
    }
    free_command(&command);
    if (store->commands == store->lose_after) {
        store->connected = false;
        command.on_reply(command.context, NULL); /* in the order of commands */
        fake_store_lose(store);
    } else {
        command.on_reply(command.context, &reply.reply);
    }
    free_reply(&reply);
    return true;
}

void fake_store_drain(struct fake_store *store)
{
    while (fake_store_step(store))
        ;
}

void fake_store_init(struct fake_store *store)
{
    memset(store, 0, sizeof(*store));
    store->store = (struct store){.command = take_command, .later = take_later};
    store->connected = true;
    store->append = FAKE_APPEND_ALWAYS;
    store->save = "3600 1 300 100 60 10000";
    store->policy = "noeviction";
    store->error = "OOM command not allowed when used memory > 'maxmemory'.";
}

void fake_store_done(struct fake_store *store)
{
    store->later_call = NULL;
    fake_store_lose(store);
    fake_db_clear(&store->db);
    fake_db_clear(&store->file);
    fake_db_clear(&store->child);
}

/* --- what else happens to it ------------------------------------------------------------------ */

void fake_store_crash(struct fake_store *store)
{
    if (store->append != FAKE_APPEND_ALWAYS) /* else the file is what it held */
        fake_db_copy(&store->db, &store->file);
    store->dumping = store->dump_failed = store->other_dump = false;
    fake_store_lose(store);
}

void fake_store_empty(struct fake_store *store)
{
    for (int i = 0; i < FAKE_KEYS; i++) { /* a key that was not there did not change */
        if (store->db.hash[i].key.at != NULL)
            touch(store, fake_text_bytes(&store->db.hash[i].key));
    }
    fake_db_clear(&store->db);
}

void fake_store_restore(struct fake_store *store, const struct fake_db *past)
{
    fake_store_empty(store);
    fake_db_copy(&store->db, past);
    fake_db_copy(&store->file, past);
}

void fake_store_edit(struct fake_store *store, const char *key, const char *field,
                     const char *value)
{
    struct bytes k = bytes_of_text(key), f = bytes_of_text(field);
    touch(store, k);
    if (value != NULL)
        fake_db_set(&store->db, k, f, bytes_of_text(value));
    else
        (void)fake_db_delete(&store->db, k, f);
}

const char *fake_store_text(struct fake_store *store, const char *key, const char *field)
{
    static char text[1u << 16];
    struct bytes value = {.len = 0};
    text[0] = '\0';
    if (fake_db_get(&store->db, bytes_of_text(key), bytes_of_text(field), &value)) {
        assert(value.len < sizeof(text));
        memcpy(text, value.at, value.len);
        text[value.len] = '\0';
    }
    return text;
}
