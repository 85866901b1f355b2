/*
 * The snapshot store as snapshots.c sees it: something that speaks Redis commands. What stands
 * behind it is a Redis server (redis.h), or in tests something that forgets and fails on demand.
 */
#ifndef ROLLCALL_SNAPSHOTS_STORE_H
#define ROLLCALL_SNAPSHOTS_STORE_H

#include "raft/base/bytes.h"

enum store_reply_kind { STORE_NIL, STORE_TEXT, STORE_ERROR, STORE_INTEGER, STORE_LIST };

struct store_reply {
    enum store_reply_kind kind;
    struct bytes text; /* TEXT, ERROR */
    int64_t integer;   /* INTEGER */
    size_t count;      /* LIST; see store_reply_at */
    const void *elements;
    void (*at)(const void *elements, size_t i, struct store_reply *ret_reply);
};

/* Element i of a LIST, i < count. */
static inline struct store_reply store_reply_at(const struct store_reply *list, size_t i)
{
    assert(list->kind == STORE_LIST && i < list->count);
    struct store_reply reply;
    list->at(list->elements, i, &reply);
    return reply;
}

/* `reply` is NULL when the connection ended before it came, and borrowed for the call. */
typedef void store_on_reply(void *context, const struct store_reply *reply);

struct store {
    /*
     * Sends a command; replies come in the order of commands. May call back before it returns when
     * there is no connection.
     */
    void (*command)(struct store *store, size_t count, const struct bytes *arguments,
                    store_on_reply *on_reply, void *context);
    /* Calls back once, after so long. One at a time. */
    void (*later)(struct store *store, uint32_t ms, void (*call)(void *context), void *context);
};

#endif
