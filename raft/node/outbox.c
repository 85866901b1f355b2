#include "raft/node/outbox.h"

#include <errno.h>
#include <stdlib.h>

#define OUTBOX_BYTES_MIN 65536u

void outbox_open(struct outbox *outbox, uv_stream_t *stream, void (*on_sent)(struct outbox *),
                 void (*on_broken)(struct outbox *, int))
{
    outbox->stream = stream;
    outbox->on_sent = on_sent;
    outbox->on_broken = on_broken;
    outbox->gathered.len = outbox->sending.len = 0;
}

void outbox_free(struct outbox *outbox)
{
    free(outbox->gathered.bytes);
    free(outbox->sending.bytes);
    outbox->gathered = outbox->sending = (struct outbox_buffer){.len = 0};
}

int outbox_writer(struct outbox *outbox, size_t bytes, struct writer *ret_out)
{
    struct outbox_buffer *buffer = &outbox->gathered;
    if (buffer->capacity - buffer->len < bytes) {
        size_t capacity = buffer->capacity > 0 ? buffer->capacity : OUTBOX_BYTES_MIN;
        while (capacity - buffer->len < bytes)
            capacity *= 2;
        uint8_t *grown = realloc(buffer->bytes, capacity);
        if (grown == NULL)
            return -ENOMEM;
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    *ret_out = writer_of(buffer->bytes + buffer->len, buffer->capacity - buffer->len);
    return 0;
}

void outbox_put(struct outbox *outbox, const struct writer *out)
{
    assert(!out->bad);
    outbox->gathered.len += writer_len(out);
}

size_t outbox_bytes(const struct outbox *outbox)
{
    return outbox->gathered.len + outbox->sending.len;
}

static void on_written(uv_write_t *write, int status)
{
    struct outbox *outbox = CONTAINER_OF(write, struct outbox, write);
    outbox->sending.len = 0;
    if (uv_is_closing((uv_handle_t *)outbox->stream))
        return; /* its owner knows */
    if (status == 0)
        outbox_flush(outbox);
    else
        outbox->on_broken(outbox, status);
}

void outbox_flush(struct outbox *outbox)
{
    struct outbox_buffer *gathered = &outbox->gathered;
    if (outbox->sending.len > 0)
        return;
    if (gathered->len == 0) {
        outbox->on_sent(outbox);
        return;
    }
    uv_buf_t buffer = uv_buf_init((char *)gathered->bytes, (unsigned)gathered->len);
    int sent = uv_try_write(outbox->stream, &buffer, 1);
    if (sent == (int)gathered->len) {
        gathered->len = 0;
        outbox->on_sent(outbox);
        return;
    }
    if (sent < 0 && sent != UV_EAGAIN) {
        outbox->on_broken(outbox, sent);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    struct outbox_buffer empty = outbox->sending;
    outbox->sending = *gathered;
    *gathered = empty;
    buffer =
        uv_buf_init((char *)outbox->sending.bytes + done, (unsigned)(outbox->sending.len - done));
    int result = uv_write(&outbox->write, outbox->stream, &buffer, 1, on_written);
    if (result != 0) {
        outbox->sending.len = 0;
        outbox->on_broken(outbox, result);
    }
}
