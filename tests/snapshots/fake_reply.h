/* Replies of the fake store, for fake_store.c. */
#ifndef ROLLCALL_TESTS_SNAPSHOTS_FAKE_REPLY_H
#define ROLLCALL_TESTS_SNAPSHOTS_FAKE_REPLY_H

#include "raft/snapshots/store.h"
#include "tests/snapshots/fake_db.h"

#include <stdlib.h>

/* A reply that owns what it points to. */
struct fake_reply {
    struct store_reply reply;
    struct fake_text text;
    struct fake_reply *element;
};

static inline void element_at(const void *elements, size_t i, struct store_reply *ret_reply)
{
    *ret_reply = ((const struct fake_reply *)elements)[i].reply;
}

static inline struct fake_reply text_reply(enum store_reply_kind kind, struct bytes text)
{
    struct fake_reply reply = {.reply = {.kind = kind}, .text = fake_text_of(text)};
    reply.reply.text = fake_text_bytes(&reply.text);
    return reply;
}

static inline struct fake_reply status_reply(const char *text)
{
    return text_reply(STORE_TEXT, bytes_of_text(text));
}

static inline struct fake_reply error_reply(const char *text)
{
    return text_reply(STORE_ERROR, bytes_of_text(text));
}

static inline struct fake_reply integer_reply(int64_t integer)
{
    return (struct fake_reply){.reply = {.kind = STORE_INTEGER, .integer = integer}};
}

static inline struct fake_reply list_reply(size_t count)
{
    struct fake_reply reply = {.element = calloc(count + 1, sizeof(*reply.element))};
    reply.reply = (struct store_reply){
        .kind = STORE_LIST, .count = count, .elements = reply.element, .at = element_at};
    return reply;
}

static inline void free_reply(struct fake_reply *reply)
{
    for (size_t i = 0; reply->element != NULL && i < reply->reply.count; i++)
        free_reply(&reply->element[i]);
    free(reply->element);
    free(reply->text.at);
}

#endif
