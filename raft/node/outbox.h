/*
 * What is to be sent on a stream: gathered as a turn goes on, sent in one go at its end, the rest
 * when the other side takes it.
 */
#ifndef ROLLCALL_NODE_OUTBOX_H
#define ROLLCALL_NODE_OUTBOX_H

#include "raft/base/bytes.h"

#include <uv.h>

struct outbox_buffer {
    uint8_t *bytes;
    size_t len, capacity;
};

struct outbox {
    uv_stream_t *stream;
    struct outbox_buffer gathered, sending;
    uv_write_t write;
    /* Everything was sent. */
    void (*on_sent)(struct outbox *outbox);
    /* The stream is broken: nothing more is sent. */
    void (*on_broken)(struct outbox *outbox, int error);
};

/* Memory of an outbox that was used before stays. */
void outbox_open(struct outbox *outbox, uv_stream_t *stream, void (*on_sent)(struct outbox *),
                 void (*on_broken)(struct outbox *, int));
/* Not before the stream's close has ended. */
void outbox_free(struct outbox *outbox);

/* A writer over at least `bytes` of room at the end, put back by outbox_put. -ENOMEM. */
NODISCARD int outbox_writer(struct outbox *outbox, size_t bytes, struct writer *ret_out);
void outbox_put(struct outbox *outbox, const struct writer *out);

/* Bytes that are not sent. */
size_t outbox_bytes(const struct outbox *outbox);

/* Sends what was gathered, as far as nothing is under way. Calls on_sent when nothing is left. */
void outbox_flush(struct outbox *outbox);

#endif
