/*
 * Byte slices, and cursors that read and write them field by field, little-endian.
 *
 * A cursor's error is sticky: reading past the end, or writing past it, sets `bad`, moves nothing,
 * and every later call is harmless (reads give 0 and empty slices). So a decoder reads all its
 * fields and asks once, at the end. Lengths are compared before any arithmetic on them.
 *
 * Nothing here owns memory: slices point into what they were cut from.
 */
#ifndef ROLLCALL_BASE_BYTES_H
#define ROLLCALL_BASE_BYTES_H

#include "raft/base/attr.h"

struct bytes {
    const uint8_t *at; /* may be NULL when len is 0 */
    size_t len;
};

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

struct writer {
    uint8_t *at;
    uint8_t *start;
    uint8_t *end;
    bool bad;
};

/* The id of a client's request: nginx's $request_id, 32 hexadecimal digits, as 16 bytes. */
struct request_id {
    uint8_t at[16];
};

struct bytes bytes_of(const void *at, size_t len);
struct bytes bytes_of_text(const char *text);
bool bytes_equal(struct bytes a, struct bytes b);
bool request_id_equal(const struct request_id *a, const struct request_id *b);

struct reader reader_of(struct bytes bytes);
size_t reader_left(const struct reader *in);
/* All was read and nothing was missing: what a decoder returns. */
bool reader_done(const struct reader *in);

uint8_t get_u8(struct reader *in);
uint16_t get_u16(struct reader *in);
uint32_t get_u32(struct reader *in);
uint64_t get_u64(struct reader *in);
struct request_id get_request_id(struct reader *in);
/* `len` raw bytes. */
struct bytes get_raw(struct reader *in, size_t len);
/* A length in 32 bits, then so many bytes. */
struct bytes get_bytes(struct reader *in);

struct writer writer_of(void *at, size_t capacity);
size_t writer_len(const struct writer *out);
size_t writer_room(const struct writer *out);
/* What was written so far. */
struct bytes writer_bytes(const struct writer *out);

void put_u8(struct writer *out, uint8_t value);
void put_u16(struct writer *out, uint16_t value);
void put_u32(struct writer *out, uint32_t value);
void put_u64(struct writer *out, uint64_t value);
void put_request_id(struct writer *out, struct request_id value);
void put_raw(struct writer *out, struct bytes value);
void put_bytes(struct writer *out, struct bytes value);
/* Text, without its NUL. */
void put_text(struct writer *out, const char *text);
/* An integer in decimal digits. */
void put_decimal(struct writer *out, uint64_t value);

#endif
