/*
 * A Redis server on a unix socket, by hiredis: the only file that knows it. Connects, and connects
 * again with back-off whenever the connection is gone.
 */
#ifndef ROLLCALL_NODE_REDIS_H
#define ROLLCALL_NODE_REDIS_H

#include "raft/snapshots/store.h"

#include <uv.h>

struct redis;

struct redis_hooks {
    void (*connected)(void *context);
    /* Also for each attempt that fails. */
    void (*disconnected)(void *context, const char *why);
};

/* The path is borrowed for the redis's life. NULL: no memory. */
struct redis *redis_open(uv_loop_t *loop, const char *path, const struct redis_hooks *hooks,
                         void *context);
struct store *redis_store(struct redis *redis);
bool redis_connected(const struct redis *redis);
/* Ends the connection and stops trying; every open command is called back. Free after the loop. */
void redis_close(struct redis *redis);
void redis_free(struct redis *redis);

#endif
