/*
 * JSON text (RFC 8259), judged and written; no tree is built here.
 *
 * json_check is the strict reader that stands in front of any parser: one value, nothing after it
 * but white space, UTF-8 by RFC 3629, no raw control characters, surrogates in pairs, the number
 * grammar of RFC 8259 §6, bounded nesting.
 */
#ifndef ROLLCALL_BASE_JSON_H
#define ROLLCALL_BASE_JSON_H

#include "raft/base/bytes.h"

/* Deepest nesting of arrays and objects that is accepted. */
#define JSON_DEPTH_MAX 64

struct json_error {
    const char *what;      /* static text: "expected value", "trailing characters" … */
    uint32_t line, column; /* counted from 1; columns are bytes */
};

/* 0 when `text` is exactly one JSON value; else -EBADMSG, and *ret_error says what and where. */
NODISCARD int json_check(struct bytes text, struct json_error *ret_error);

/* True when `text` is valid UTF-8 (RFC 3629: no surrogates, no overlong forms, ≤ U+10FFFF). */
NODISCARD bool json_utf8_valid(struct bytes text);

/*
 * Writes `text` as a JSON string with its quotes. Escaped are only '"', '\\' and what is below
 * 0x20 (\b \f \n \r \t, else \u00xx in lower case); everything else is written as it is.
 */
void json_put_string(struct writer *out, struct bytes text);

/* The most bytes that json_put_string writes for `len` bytes of text. */
#define JSON_STRING_BYTES_MAX(len) (6 * (size_t)(len) + 2)

/*
 * Reads one JSON string, quotes included, from the cursor, and writes its text in UTF-8 to `out`;
 * a string that is not strict JSON or does not fit makes the reader bad.
 */
void json_get_string(struct reader *in, struct writer *out);

/* Reads an unsigned integer in decimal without sign, point, exponent or leading zero. */
uint64_t json_get_u64(struct reader *in);

/* Reads exactly `text`. */
void json_get_literal(struct reader *in, const char *text);

#endif
