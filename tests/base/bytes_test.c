#include "raft/base/bytes.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

Test(bytes, are_equal_when_length_and_content_are)
{
    cr_assert(bytes_equal(bytes_of_text("abc"), bytes_of("abcd", 3)));
    cr_assert(not(bytes_equal(bytes_of_text("abc"), bytes_of_text("abd"))));
    cr_assert(not(bytes_equal(bytes_of_text("abc"), bytes_of_text("ab"))));
    cr_assert(bytes_equal(bytes_of(NULL, 0), bytes_of_text("")));
}

Test(bytes, request_ids_are_equal_when_all_their_bytes_are)
{
    struct request_id a = {{1, 2, 3}}, b = a;
    cr_assert(request_id_equal(&a, &b));
    for (size_t i = 0; i < sizeof(a.at); i++) {
        b = a;
        b.at[i] ^= 0x80;
        cr_assert(not(request_id_equal(&a, &b)));
    }
}

Test(writer, writes_little_endian)
{
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    put_u8(&out, 0x01);
    put_u16(&out, 0x0203);
    put_u32(&out, 0x04050607);
    put_u64(&out, 0x08090a0b0c0d0e0f);
    put_bytes(&out, bytes_of_text("hi"));
    static const uint8_t expected[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04,
                                       0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09,
                                       0x08, 0x02, 0x00, 0x00, 0x00, 'h',  'i'};
    cr_assert(not(out.bad));
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of(expected, sizeof(expected))));
    cr_assert(eq(sz, writer_len(&out), sizeof(expected)));
    cr_assert(eq(sz, writer_room(&out), sizeof(at) - sizeof(expected)));
}

static void put_everything(struct writer *out)
{
    struct request_id id;
    for (size_t i = 0; i < sizeof(id.at); i++)
        id.at[i] = (uint8_t)(0xf0 + i);
    put_u8(out, UINT8_MAX);
    put_u16(out, UINT16_MAX - 1);
    put_u32(out, UINT32_MAX - 1);
    put_u64(out, UINT64_MAX - 1);
    put_request_id(out, id);
    put_raw(out, bytes_of_text("raw"));
    put_bytes(out, bytes_of_text("bytes"));
    put_bytes(out, bytes_of(NULL, 0));
}

static void get_everything(struct reader *in)
{
    uint64_t sum = get_u8(in);
    sum += get_u16(in);
    sum += get_u32(in);
    sum += get_u64(in);
    struct request_id id = get_request_id(in);
    struct bytes raw = get_raw(in, 3), bytes = get_bytes(in), empty = get_bytes(in);
    if (in->bad) /* what is missing is nothing, and nothing is read outside */
        return;
    cr_assert(eq(u64, sum, (uint64_t)UINT8_MAX + UINT16_MAX - 1 + UINT32_MAX - 1 + UINT64_MAX - 1));
    cr_assert(eq(u8, id.at[15], 0xff));
    cr_assert(bytes_equal(raw, bytes_of_text("raw")));
    cr_assert(bytes_equal(bytes, bytes_of_text("bytes")));
    cr_assert(eq(sz, empty.len, 0));
}

Test(reader, reads_what_was_written)
{
    uint8_t at[128];
    struct writer out = writer_of(at, sizeof(at));
    put_everything(&out);
    struct reader in = reader_of(writer_bytes(&out));
    get_everything(&in);
    cr_assert(reader_done(&in));
}

Test(reader, refuses_every_prefix_and_anything_after)
{
    uint8_t at[128] = {0};
    struct writer out = writer_of(at, sizeof(at));
    put_everything(&out);
    for (size_t len = 0; len < writer_len(&out); len++) {
        uint8_t prefix[128];
        memcpy(prefix, at, len);
        struct reader in = reader_of(bytes_of(prefix, len));
        get_everything(&in);
        cr_assert(in.bad, "%zu bytes", len);
        cr_assert(not(reader_done(&in)));
    }
    struct reader in = reader_of(bytes_of(at, writer_len(&out) + 1));
    get_everything(&in);
    cr_assert(not(in.bad));
    cr_assert(not(reader_done(&in)), "one byte is left");
}

Test(reader, stays_bad_and_gives_nothing)
{
    struct reader in = reader_of(bytes_of_text("ab"));
    cr_assert(eq(u32, get_u32(&in), 0));
    cr_assert(in.bad);
    cr_assert(eq(u8, get_u8(&in), 0), "although there are bytes left");
    cr_assert(eq(sz, get_raw(&in, 1).len, 0));
    cr_assert(eq(sz, reader_left(&in), 2), "and nothing moved");
}

Test(reader, compares_lengths_before_arithmetic)
{
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 'x'};
    struct reader in = reader_of(bytes_of(huge, sizeof(huge)));
    cr_assert(eq(sz, get_bytes(&in).len, 0));
    cr_assert(in.bad);
    in = reader_of(bytes_of(huge, sizeof(huge)));
    cr_assert(eq(sz, get_raw(&in, SIZE_MAX).len, 0));
    cr_assert(in.bad);
}

Test(reader, of_nothing_is_done)
{
    struct reader in = reader_of(bytes_of(NULL, 0));
    cr_assert(reader_done(&in));
    cr_assert(eq(sz, get_raw(&in, 0).len, 0));
    cr_assert(reader_done(&in));
    cr_assert(eq(u8, get_u8(&in), 0));
    cr_assert(in.bad);
}

Test(writer, writes_whole_fields_or_nothing)
{
    uint8_t full[128];
    struct writer all = writer_of(full, sizeof(full));
    put_everything(&all);
    for (size_t room = 0; room < writer_len(&all); room++) {
        uint8_t at[128];
        memset(at, 0xee, sizeof(at));
        struct writer out = writer_of(at, room);
        put_everything(&out);
        cr_assert(out.bad, "room for %zu", room);
        size_t len = writer_len(&out);
        cr_assert(le(sz, len, room));
        put_raw(&out, bytes_of(NULL, 0));
        put_u8(&out, 1);
        cr_assert(eq(sz, writer_len(&out), len), "it stays bad");
        for (size_t i = room; i < sizeof(at); i++)
            cr_assert(eq(u8, at[i], 0xee));
    }
}

struct decimal {
    uint64_t value;
    const char *text;
};

Test(writer, writes_decimals)
{
    static const struct decimal decimals[] = {
        {0, "0"},
        {9, "9"},
        {10, "10"},
        {9007199254740991, "9007199254740991"},
        {UINT64_MAX, "18446744073709551615"},
    };
    for (size_t i = 0; i < ARRAY_LEN(decimals); i++) {
        uint8_t at[20];
        struct writer out = writer_of(at, sizeof(at));
        put_decimal(&out, decimals[i].value);
        cr_assert(bytes_equal(writer_bytes(&out), bytes_of_text(decimals[i].text)));
    }
    uint8_t at[3];
    struct writer out = writer_of(at, sizeof(at));
    put_decimal(&out, 1000);
    cr_assert(out.bad);
}
