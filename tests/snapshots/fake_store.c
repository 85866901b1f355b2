#include "tests/snapshots/fake_store.h"

#include "tests/snapshots/fake_reply.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    if (!store->parted)
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
    char text[512];
    dump_goes_on(store);
    snprintf(text, sizeof(text),
             "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:%s\r\nallocator:none\r\n"
             "# Persistence\r\nloading:0\r\nrdb_bgsave_in_progress:%d\r\n"
             "rdb_last_bgsave_status:%s\r\naof_enabled:%d\r\n"
             "# Server\r\nredis_version:7.0.15\r\nrun_id:%040x\r\ntcp_port:0\r\n",
             store->policy, store->dumping, store->dump_failed ? "err" : "ok",
             store->append != FAKE_APPEND_NO, store->life);
    return status_reply(text);
}

static struct fake_reply run_config(struct fake_store *store, const struct fake_command *command)
{
    static const char *const fsync[] = {"everysec", "everysec", "always"};
    const char *const setting[][2] = {
        {"appenddirname", "appendonlydir"},
        {"appendfsync", fsync[store->append]},
        {"appendonly", store->append != FAKE_APPEND_NO ? "yes" : "no"},
        {"no-appendfsync-on-rewrite", store->no_sync_on_rewrite ? "yes" : "no"},
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

static struct fake_reply run_get(struct fake_db *db, struct bytes key, struct bytes field)
{
    struct bytes value;
    if (!fake_db_get(db, key, field, &value))
        return (struct fake_reply){.reply = {.kind = STORE_NIL}};
    return text_reply(STORE_TEXT, value);
}

static struct fake_reply run_getall(struct fake_db *db, struct bytes key)
{
    struct fake_hash *hash = fake_db_find(db, key);
    struct fake_reply reply = list_reply(hash != NULL ? 2 * hash->count : 0);
    for (size_t i = 0, at = 0; hash != NULL && i < hash->used; i++) {
        if (hash->field[i].name.at == NULL)
            continue;
        reply.element[at++] = text_reply(STORE_TEXT, fake_text_bytes(&hash->field[i].name));
        reply.element[at++] = text_reply(STORE_TEXT, fake_text_bytes(&hash->field[i].value));
    }
    return reply;
}

static struct fake_reply run_keys(struct fake_db *db, struct bytes key)
{
    struct fake_hash *hash = fake_db_find(db, key);
    struct fake_reply reply = list_reply(hash != NULL ? hash->count : 0);
    for (size_t i = 0, at = 0; hash != NULL && i < hash->used; i++) {
        if (hash->field[i].name.at != NULL)
            reply.element[at++] = text_reply(STORE_TEXT, fake_text_bytes(&hash->field[i].name));
    }
    return reply;
}

/* What a transaction may hold: everything on keys. */
static struct fake_reply run_on_db(struct fake_db *db, const struct fake_command *command)
{
    struct bytes key = command->count > 1 ? argument(command, 1) : bytes_of(NULL, 0);
    int64_t done = 0;
    if (is(command, "HGETALL"))
        return run_getall(db, key);
    if (is(command, "HKEYS"))
        return run_keys(db, key);
    if (is(command, "HGET"))
        return run_get(db, key, argument(command, 2));
    if (is(command, "HMGET")) {
        struct fake_reply reply = list_reply(command->count - 2);
        for (size_t i = 2; i < command->count; i++)
            reply.element[i - 2] = run_get(db, key, argument(command, i));
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
    } else if (is(command, "FLUSHALL")) {
        fake_db_clear(db);
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
    for (int i = 0; i < store->watched_count; i++)
        free(store->watched[i].at);
    store->watched_count = 0;
    store->watch_broken = false;
}

/* Somebody wrote this key. */
static void touch(struct fake_store *store, struct bytes key)
{
    for (int i = 0; i < store->watched_count; i++)
        store->watch_broken |= bytes_equal(fake_text_bytes(&store->watched[i]), key);
}

static bool writes(const struct fake_command *command)
{
    return is(command, "HSET") || is(command, "HDEL") || is(command, "UNLINK") ||
           is(command, "RENAME") || is(command, "FLUSHALL");
}

/* --- the append-only file --------------------------------------------------------------------- */

static void push_tail(struct fake_store *store, const struct fake_command *command)
{
    struct fake_command copy = {.count = command->count};
    copy.argument = calloc(command->count, sizeof(*copy.argument));
    for (size_t i = 0; i < command->count; i++)
        copy.argument[i] = fake_text_of(argument(command, i));
    size_t size = ((size_t)store->tail_count + 1) * sizeof(copy);
    store->tail = realloc(store->tail, size);
    assert(copy.argument != NULL && store->tail != NULL);
    store->tail[store->tail_count++] = copy;
}

static void forget_tail(struct fake_store *store)
{
    for (int i = 0; i < store->tail_count; i++)
        free_command(&store->tail[i]);
    free(store->tail);
    store->tail = NULL;
    store->tail_count = 0;
    store->torn = false;
}

/* What was appended to a file that is not what the server holds. */
static void append(struct fake_store *store, const struct fake_command *command)
{
    if (store->torn) {
        push_tail(store, command);
    } else if (store->parted) {
        struct fake_reply reply = run_on_db(&store->file, command);
        free_reply(&reply);
    }
}

/* EXEC was appended: the open transaction, and all that joined it, will be executed. */
static void append_exec(struct fake_store *store)
{
    for (int i = 0; store->torn && i < store->tail_count; i++) {
        struct fake_reply reply = run_on_db(&store->file, &store->tail[i]);
        free_reply(&reply);
    }
    forget_tail(store);
}

/* It starts, and reads its file. What is open at its end, and ends with a whole command, goes. */
static void read_file(struct fake_store *store)
{
    if (store->append != FAKE_APPEND_ALWAYS || store->parted)
        fake_db_copy(&store->db, &store->file);
    forget_tail(store);
    store->parted = false;
    store->life++;
}

static void lose_power_in_exec(struct fake_store *store)
{
    if (!store->parted)
        fake_db_copy(&store->file, &store->db);
    fake_db_copy(&store->db, &store->file);
    for (int i = 0; i < store->queued && i < store->tear - 1; i++) {
        if (writes(&store->transaction[i]))
            push_tail(store, &store->transaction[i]);
    }
    store->tear = 0;
    store->torn = store->parted = true;
    store->life++;
    fake_store_lose(store);
}

static struct fake_reply run_on_keys(struct fake_store *store, const struct fake_command *command)
{
    struct fake_reply reply = run_on_db(&store->db, command);
    if (writes(command)) {
        if (command->count > 1)
            touch(store, argument(command, 1));
        append(store, command);
    }
    return reply;
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
        append_exec(store);
    }
    forget_transaction(store);
    return reply;
}

static void watch(struct fake_store *store, struct bytes key)
{
    assert(store->watched_count < FAKE_WATCHED);
    store->watched[store->watched_count++] = fake_text_of(key);
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
        for (size_t i = 1; i < command->count; i++)
            watch(store, argument(command, i));
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
    bool executes = is(&command, "EXEC") && store->multi && !store->multi_broken &&
                    !store->watch_broken && store->append == FAKE_APPEND_ALWAYS;
    if (store->tear > 0 && executes) {
        store->connected = false;
        free_command(&command);
        command.on_reply(command.context, NULL); /* in the order of commands */
        lose_power_in_exec(store);
        return true;
    }
    if (store->refuses != NULL || store->commands == store->error_at) {
        store->multi_broken = store->multi;
        reply = error_reply(store->refuses != NULL ? store->refuses : store->error);
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
    forget_tail(store);
    fake_db_clear(&store->db);
    fake_db_clear(&store->file);
    fake_db_clear(&store->child);
}

/* --- what else happens to it ------------------------------------------------------------------ */

void fake_store_crash(struct fake_store *store)
{
    read_file(store);
    store->dumping = store->dump_failed = store->other_dump = false;
    fake_store_lose(store);
}

static void somebody_runs(struct fake_store *store, const char *name, const char *key,
                          const char *field, const char *value)
{
    const char *const words[] = {name, key, field, value};
    struct fake_text text[ARRAY_LEN(words)];
    struct fake_command command = {.argument = text};
    while (command.count < ARRAY_LEN(words) && words[command.count] != NULL) {
        text[command.count] = fake_text_of(bytes_of_text(words[command.count]));
        command.count++;
    }
    struct fake_reply reply = run_on_keys(store, &command);
    free_reply(&reply);
    for (size_t i = 0; i < command.count; i++)
        free(text[i].at);
}

void fake_store_empty(struct fake_store *store)
{
    for (int i = 0; i < FAKE_KEYS; i++) { /* a key that was not there did not change */
        if (store->db.hash[i].key.at != NULL)
            touch(store, fake_text_bytes(&store->db.hash[i].key));
    }
    somebody_runs(store, "FLUSHALL", NULL, NULL, NULL);
}

void fake_store_restore(struct fake_store *store, const struct fake_db *past)
{
    fake_store_empty(store);
    fake_db_copy(&store->db, past);
    fake_db_copy(&store->file, past);
    forget_tail(store);
    store->parted = false;
}

void fake_store_edit(struct fake_store *store, const char *key, const char *field,
                     const char *value)
{
    somebody_runs(store, value != NULL ? "HSET" : "HDEL", key, field, value);
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
