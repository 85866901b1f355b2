/*
 * The JSON checker against a second reader of the same grammar, written the other way: recursive,
 * and by the pieces json_get_string and friends. They must agree on every input; what one takes as
 * a string must come back as it was written.
 */
#include "raft/base/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX (1u << 16)

static void skip_space(struct reader *in)
{
    while (reader_left(in) > 0 && memchr(" \t\n\r", *in->at, 4) != NULL)
        in->at++;
}

static bool next_is(const struct reader *in, uint8_t byte)
{
    return reader_left(in) > 0 && *in->at == byte;
}

static void digits(struct reader *in)
{
    if (reader_left(in) == 0 || *in->at < '0' || *in->at > '9')
        in->bad = true;
    while (reader_left(in) > 0 && *in->at >= '0' && *in->at <= '9')
        in->at++;
}

static void number(struct reader *in)
{
    if (next_is(in, '-'))
        in->at++;
    if (next_is(in, '0'))
        in->at++;
    else
        digits(in);
    if (next_is(in, '.')) {
        in->at++;
        digits(in);
    }
    if (next_is(in, 'e') || next_is(in, 'E')) {
        in->at++;
        if (next_is(in, '+') || next_is(in, '-'))
            in->at++;
        digits(in);
    }
}

static void value(struct reader *in, unsigned depth);

static void items(struct reader *in, unsigned depth, bool object)
{
    uint8_t end = object ? '}' : ']';
    in->at++;
    skip_space(in);
    if (depth > JSON_DEPTH_MAX)
        in->bad = true;
    for (bool first = true; !in->bad; first = false) {
        if (first && next_is(in, end))
            break;
        static uint8_t key[TEXT_MAX];
        struct writer out = writer_of(key, sizeof(key));
        if (object) {
            json_get_string(in, &out);
            skip_space(in);
            json_get_literal(in, ":");
            skip_space(in);
        }
        value(in, depth);
        skip_space(in);
        if (in->bad || next_is(in, end))
            break;
        json_get_literal(in, ",");
        skip_space(in);
    }
    if (!in->bad)
        in->at++;
}

static void value(struct reader *in, unsigned depth)
{
    static uint8_t text[TEXT_MAX];
    struct writer out = writer_of(text, sizeof(text));
    if (in->bad || reader_left(in) == 0)
        in->bad = true;
    else if (*in->at == '{' || *in->at == '[')
        items(in, depth + 1, *in->at == '{');
    else if (*in->at == '"')
        json_get_string(in, &out);
    else if (*in->at == 't')
        json_get_literal(in, "true");
    else if (*in->at == 'f')
        json_get_literal(in, "false");
    else if (*in->at == 'n')
        json_get_literal(in, "null");
    else
        number(in);
}

static bool taken_by_the_other(struct bytes text)
{
    struct reader in = reader_of(text);
    skip_space(&in);
    value(&in, 0);
    if (!in.bad)
        skip_space(&in);
    return reader_done(&in);
}

static void check_string(struct bytes text)
{
    static uint8_t json[JSON_STRING_BYTES_MAX(TEXT_MAX)], back[TEXT_MAX];
    struct writer out = writer_of(json, sizeof(json));
    json_put_string(&out, text);
    struct json_error error;
    bool valid = json_utf8_valid(text);
    if (out.bad || (json_check(writer_bytes(&out), &error) == 0) != valid)
        abort();
    struct reader in = reader_of(writer_bytes(&out));
    struct writer again = writer_of(back, sizeof(back));
    json_get_string(&in, &again);
    if (valid && (!reader_done(&in) || !bytes_equal(writer_bytes(&again), text)))
        abort();
    if (!valid && !in.bad)
        abort();
}

static void check_u64(struct bytes text)
{
    struct reader in = reader_of(text);
    uint64_t got = json_get_u64(&in);
    if (in.bad)
        return;
    uint8_t digits_store[24];
    struct writer out = writer_of(digits_store, sizeof(digits_store));
    put_decimal(&out, got);
    size_t used = text.len - reader_left(&in);
    if (!bytes_equal(writer_bytes(&out), bytes_of(text.at, used)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TEXT_MAX)
        return 0;
    struct bytes text = bytes_of(data, size);
    struct json_error error = {.what = NULL};
    bool taken = json_check(text, &error) == 0;
    if (taken != taken_by_the_other(text))
        abort();
    if (!taken && (error.what == NULL || error.line == 0 || error.column == 0))
        abort();
    check_string(text);
    check_u64(text);
    return 0;
}
