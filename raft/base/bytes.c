#include "raft/base/bytes.h"

#include <string.h>

struct bytes bytes_of(const void *at, size_t len)
{
    return (struct bytes){.at = at, .len = len};
}

struct bytes bytes_of_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool request_id_equal(const struct request_id *a, const struct request_id *b)
{
    return memcmp(a->at, b->at, sizeof(a->at)) == 0;
}

struct reader reader_of(struct bytes bytes)
{
    static const uint8_t nothing[1];
    const uint8_t *at = bytes.len > 0 ? bytes.at : nothing;
    return (struct reader){.at = at, .end = at + bytes.len, .bad = false};
}

size_t reader_left(const struct reader *in)
{
    return (size_t)(in->end - in->at);
}

bool reader_done(const struct reader *in)
{
    return !in->bad && in->at == in->end;
}

/* The next `len` bytes, or NULL and a bad cursor. */
static const uint8_t *take(struct reader *in, size_t len)
{
    if (in->bad || len > reader_left(in)) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += len;
    return at;
}

uint8_t get_u8(struct reader *in)
{
    const uint8_t *at = take(in, 1);
    return at != NULL ? at[0] : 0;
}

uint16_t get_u16(struct reader *in)
{
    const uint8_t *at = take(in, 2);
    return at != NULL ? (uint16_t)(at[0] + 256u * at[1]) : 0;
}

static uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint32_t get_u32(struct reader *in)
{
    const uint8_t *at = take(in, 4);
    return at != NULL ? load_u32(at) : 0;
}

uint64_t get_u64(struct reader *in)
{
    const uint8_t *at = take(in, 8);
    return at != NULL ? (uint64_t)load_u32(at) | (uint64_t)load_u32(at + 4) << 32 : 0;
}

struct request_id get_request_id(struct reader *in)
{
    struct request_id id = {{0}};
    const uint8_t *at = take(in, sizeof(id.at));
    if (at != NULL)
        memcpy(id.at, at, sizeof(id.at));
    return id;
}

struct bytes get_raw(struct reader *in, size_t len)
{
    const uint8_t *at = take(in, len);
    return at != NULL ? bytes_of(at, len) : bytes_of(NULL, 0);
}

struct bytes get_bytes(struct reader *in)
{
    uint32_t len = get_u32(in);
    return get_raw(in, len);
}

struct writer writer_of(void *at, size_t capacity)
{
    uint8_t *start = at;
    return (struct writer){.at = start, .start = start, .end = start + capacity, .bad = false};
}

size_t writer_len(const struct writer *out)
{
    return (size_t)(out->at - out->start);
}

size_t writer_room(const struct writer *out)
{
    return (size_t)(out->end - out->at);
}

struct bytes writer_bytes(const struct writer *out)
{
    return bytes_of(out->start, writer_len(out));
}

/* Room for `len` more bytes, or NULL and a bad cursor. */
static uint8_t *make(struct writer *out, size_t len)
{
    if (out->bad || len > writer_room(out)) {
        out->bad = true;
        return NULL;
    }
    uint8_t *at = out->at;
    out->at += len;
    return at;
}

void put_u8(struct writer *out, uint8_t value)
{
    uint8_t *at = make(out, 1);
    if (at != NULL)
        at[0] = value;
}

void put_u16(struct writer *out, uint16_t value)
{
    uint8_t *at = make(out, 2);
    if (at != NULL) {
        at[0] = (uint8_t)value;
        at[1] = (uint8_t)(value >> 8);
    }
}

void put_u32(struct writer *out, uint32_t value)
{
    uint8_t *at = make(out, 4);
    for (unsigned i = 0; at != NULL && i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void put_u64(struct writer *out, uint64_t value)
{
    uint8_t *at = make(out, 8);
    for (unsigned i = 0; at != NULL && i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void put_request_id(struct writer *out, struct request_id value)
{
    put_raw(out, bytes_of(value.at, sizeof(value.at)));
}

void put_raw(struct writer *out, struct bytes value)
{
    uint8_t *at = make(out, value.len);
    if (at != NULL && value.len > 0)
        memcpy(at, value.at, value.len);
}

void put_bytes(struct writer *out, struct bytes value)
{
    if (value.len > UINT32_MAX) {
        out->bad = true;
        return;
    }
    put_u32(out, (uint32_t)value.len);
    put_raw(out, value);
}

void put_text(struct writer *out, const char *text)
{
    put_raw(out, bytes_of_text(text));
}

void put_decimal(struct writer *out, uint64_t value)
{
    uint8_t digits[20]; /* 2^64 - 1 has 20 */
    size_t first = sizeof(digits);
    do {
        digits[--first] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put_raw(out, bytes_of(digits + first, sizeof(digits) - first));
}
