#include "raft/node/redis.h"

#include <hiredis/adapters/libuv.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include <poll.h>
#include <stdlib.h>

#define RETRY_MS_MIN 50u
#define RETRY_MS_MAX 1000u
#define WATCH_MS     250u

/* A server that owes a reply and has said nothing for so long is given up. WAITAOF may take 10 s.
 */
#define SILENT_MS 20000u

/* Arguments of one command at most: a page of users as field and value, key and command. */
#define ARGUMENTS_MAX 160u

struct redis {
    struct store store;
    uv_loop_t *loop;
    const char *path;
    const struct redis_hooks *hooks;
    void *context;
    redisAsyncContext *connection; /* NULL: none */
    bool connected;
    bool closing;
    bool silent;       /* it is being given up */
    uint32_t waiters;  /* replies that are to come */
    uint64_t heard_ms; /* when the last one came, or the first of these was asked for */
    uv_timer_t retry;
    uint64_t retry_ms;
    uv_timer_t watch;
    uv_timer_t later;
    void (*later_call)(void *context);
    void *later_context;
};

/* Who waits for one reply. */
struct waiter {
    struct redis *redis;
    store_on_reply *on_reply;
    void *context;
};

static void reply_at(const void *elements, size_t i, struct store_reply *ret_reply);

static struct store_reply reply_of(const redisReply *reply)
{
    struct store_reply out = {.kind = STORE_NIL};
    switch (reply->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        out.kind = STORE_TEXT;
        out.text = bytes_of(reply->str, reply->len);
        break;
    case REDIS_REPLY_ERROR:
        out.kind = STORE_ERROR;
        out.text = bytes_of(reply->str, reply->len);
        break;
    case REDIS_REPLY_INTEGER:
        out.kind = STORE_INTEGER;
        out.integer = reply->integer;
        break;
    case REDIS_REPLY_ARRAY:
        out.kind = STORE_LIST;
        out.count = reply->elements;
        out.elements = reply;
        out.at = reply_at;
        break;
    default:
        break;
    }
    return out;
}

static void reply_at(const void *elements, size_t i, struct store_reply *ret_reply)
{
    const redisReply *list = elements;
    *ret_reply = reply_of(list->element[i]);
}

static void on_reply(redisAsyncContext *connection, void *reply, void *private_data)
{
    (void)connection;
    struct waiter waiter = *(struct waiter *)private_data;
    free(private_data);
    waiter.redis->waiters--;
    waiter.redis->heard_ms = uv_now(waiter.redis->loop);
    if (reply == NULL) {
        waiter.on_reply(waiter.context, NULL);
        return;
    }
    struct store_reply converted = reply_of(reply);
    waiter.on_reply(waiter.context, &converted);
}

static void command(struct store *store, size_t count, const struct bytes *arguments,
                    store_on_reply *call, void *context)
{
    struct redis *redis = CONTAINER_OF(store, struct redis, store);
    const char *at[ARGUMENTS_MAX];
    size_t len[ARGUMENTS_MAX];
    assert(count > 0 && count <= ARGUMENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        at[i] = arguments[i].len > 0 ? (const char *)arguments[i].at : "";
        len[i] = arguments[i].len;
    }
    struct waiter *waiter = redis->connected ? malloc(sizeof(*waiter)) : NULL;
    if (waiter != NULL) {
        *waiter = (struct waiter){.redis = redis, .on_reply = call, .context = context};
        if (redisAsyncCommandArgv(redis->connection, on_reply, waiter, (int)count, at, len) ==
            REDIS_OK) {
            if (redis->waiters++ == 0)
                redis->heard_ms = uv_now(redis->loop);
            return;
        }
    }
    free(waiter);
    call(context, NULL);
}

static void on_later(uv_timer_t *timer)
{
    struct redis *redis = CONTAINER_OF(timer, struct redis, later);
    redis->later_call(redis->later_context);
}

static void later(struct store *store, uint32_t ms, void (*call)(void *context), void *context)
{
    struct redis *redis = CONTAINER_OF(store, struct redis, store);
    assert(!uv_is_active((uv_handle_t *)&redis->later));
    redis->later_call = call;
    redis->later_context = context;
    if (uv_timer_start(&redis->later, on_later, ms, 0) != 0)
        UNREACHABLE();
}

static void try_connect(struct redis *redis);

static void on_retry(uv_timer_t *timer)
{
    try_connect(CONTAINER_OF(timer, struct redis, retry));
}

static void retry_later(struct redis *redis, const char *why)
{
    redis->connection = NULL;
    redis->connected = false;
    redis->hooks->disconnected(redis->context, why);
    if (redis->closing)
        return;
    if (uv_timer_start(&redis->retry, on_retry, redis->retry_ms, 0) != 0)
        UNREACHABLE();
    redis->retry_ms = redis->retry_ms * 2 < RETRY_MS_MAX ? redis->retry_ms * 2 : RETRY_MS_MAX;
}

/* Every open command is called back; then on_disconnect, which tries again. */
static void give_up(struct redis *redis)
{
    redis->silent = true;
    redisAsyncFree(redis->connection);
    redis->silent = false;
}

/*
 * The adapter looks away when libuv reports an error condition (a server killed with commands
 * unread leaves one), and libuv polls no further: nobody would ever hear that the connection is
 * gone. So now and then somebody asks. A server that hangs leaves no condition at all.
 */
static void on_watch(uv_timer_t *timer)
{
    struct redis *redis = CONTAINER_OF(timer, struct redis, watch);
    if (redis->connection == NULL)
        return;
    struct pollfd fd = {.fd = redis->connection->c.fd};
    if (poll(&fd, 1, 0) == 1)
        redisAsyncHandleRead(redis->connection);
    else if (redis->waiters > 0 && uv_now(redis->loop) - redis->heard_ms >= SILENT_MS)
        give_up(redis);
}

static void on_connect(const redisAsyncContext *connection, int status)
{
    struct redis *redis = connection->data;
    if (status != REDIS_OK) {
        retry_later(redis, connection->errstr); /* hiredis frees the connection */
        return;
    }
    redis->connected = true;
    redis->retry_ms = RETRY_MS_MIN;
    redis->hooks->connected(redis->context);
}

static void on_disconnect(const redisAsyncContext *connection, int status)
{
    struct redis *redis = connection->data;
    retry_later(redis, redis->silent        ? "it does not answer"
                       : status == REDIS_OK ? "closed"
                                            : connection->errstr);
}

static void try_connect(struct redis *redis)
{
    redisAsyncContext *connection = redisAsyncConnectUnix(redis->path);
    if (connection == NULL || connection->err != 0) {
        retry_later(redis, connection != NULL ? connection->errstr : "no memory");
        if (connection != NULL)
            redisAsyncFree(connection);
        return;
    }
    connection->data = redis;
    redis->connection = connection;
    if (redisLibuvAttach(connection, redis->loop) != REDIS_OK ||
        redisAsyncSetConnectCallback(connection, on_connect) != REDIS_OK ||
        redisAsyncSetDisconnectCallback(connection, on_disconnect) != REDIS_OK)
        UNREACHABLE(); /* fail only on a connection that has them already */
}

struct redis *redis_open(uv_loop_t *loop, const char *path, const struct redis_hooks *hooks,
                         void *context)
{
    struct redis *redis = calloc(1, sizeof(*redis));
    if (redis == NULL)
        return NULL;
    redis->store = (struct store){.command = command, .later = later};
    redis->loop = loop;
    redis->path = path;
    redis->hooks = hooks;
    redis->context = context;
    redis->retry_ms = RETRY_MS_MIN;
    if (uv_timer_init(loop, &redis->retry) != 0 || uv_timer_init(loop, &redis->later) != 0 ||
        uv_timer_init(loop, &redis->watch) != 0 ||
        uv_timer_start(&redis->watch, on_watch, WATCH_MS, WATCH_MS) != 0)
        UNREACHABLE();
    try_connect(redis);
    return redis;
}

struct store *redis_store(struct redis *redis)
{
    return &redis->store;
}

bool redis_connected(const struct redis *redis)
{
    return redis->connected;
}

void redis_close(struct redis *redis)
{
    redis->closing = true;
    if (redis->connection != NULL)
        redisAsyncFree(redis->connection);
    redis->connected = false;
    uv_close((uv_handle_t *)&redis->retry, NULL);
    uv_close((uv_handle_t *)&redis->later, NULL);
    uv_close((uv_handle_t *)&redis->watch, NULL);
}

void redis_free(struct redis *redis)
{
    free(redis);
}
