#include "raft/base/schema.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* A family as raft/base/schema.h tells to write one. */
/* clang-format off */
#define SHAPES(M) \
    M(SHAPE_POINT, shape_point, point, 1) \
    M(SHAPE_LABEL, shape_label, label, 7)

#define SHAPE_POINT_FIELDS(F) F(u8, a) F(u16, b) F(u32, c) F(u64, d)
#define SHAPE_LABEL_FIELDS(F) F(request_id, id) F(bytes, text)
/* clang-format on */

SHAPES(SCHEMA_FAMILY_STRUCT)
enum shape_kind { SHAPES(SCHEMA_FAMILY_ENUM) };
struct shape {
    enum shape_kind kind;
    union {
        SHAPES(SCHEMA_FAMILY_ARM)
    };
};
SHAPES(SCHEMA_FAMILY_CODEC)

static void shape_put(struct writer *out, const struct shape *value)
{
    put_u8(out, (uint8_t)value->kind);
    switch (value->kind) {
        SHAPES(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

static void shape_get(struct reader *in, struct shape *value)
{
    switch (get_u8(in)) {
        SHAPES(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

static void shape_print(struct writer *out, const struct shape *value)
{
    switch (value->kind) {
        SHAPES(SCHEMA_CASE_PRINT)
    }
    UNREACHABLE();
}

static const struct shape point = {
    .kind = SHAPE_POINT,
    .point = {.a = 1, .b = 0x0203, .c = 0x04050607, .d = 0x08090a0b0c0d0e0f},
};

static struct shape label(const char *text)
{
    return (struct shape){
        .kind = SHAPE_LABEL,
        .label = {.id = {{0xab, 0xcd}}, .text = bytes_of_text(text)},
    };
}

Test(schema, the_tag_is_the_kind_and_fields_follow_in_order)
{
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    shape_put(&out, &point);
    static const uint8_t expected[] = {1,    1,    0x03, 0x02, 0x07, 0x06, 0x05, 0x04,
                                       0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08};
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of(expected, sizeof(expected))));
}

Test(schema, a_message_comes_back_from_its_bytes)
{
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    struct shape written = label("a text"), read;
    shape_put(&out, &written);
    struct reader in = reader_of(writer_bytes(&out));
    shape_get(&in, &read);
    cr_assert(reader_done(&in));
    cr_assert(eq(int, read.kind, SHAPE_LABEL));
    cr_assert(request_id_equal(&read.label.id, &written.label.id));
    cr_assert(bytes_equal(read.label.text, written.label.text));
    cr_assert(read.label.text.at > at && read.label.text.at < at + sizeof(at), "and points there");
}

Test(schema, every_prefix_is_refused)
{
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    struct shape written = label("a text"), read;
    shape_put(&out, &written);
    for (size_t len = 0; len < writer_len(&out); len++) {
        struct reader in = reader_of(bytes_of(at, len));
        shape_get(&in, &read);
        cr_assert(in.bad, "%zu bytes", len);
    }
}

Test(schema, an_unknown_tag_is_refused)
{
    for (unsigned tag = 0; tag < 256; tag++) {
        uint8_t at[64] = {(uint8_t)tag};
        struct shape read;
        struct reader in = reader_of(bytes_of(at, sizeof(at)));
        shape_get(&in, &read);
        cr_assert(eq(int, in.bad, tag != 1 && tag != 7));
    }
}

static struct bytes printed(const struct shape *shape, struct writer *out)
{
    shape_print(out, shape);
    cr_assert(not(out->bad));
    return writer_bytes(out);
}

Test(schema, prints_for_people)
{
    char at[256];
    struct writer out = writer_of(at, sizeof(at));
    cr_assert(bytes_equal(printed(&point, &out),
                          bytes_of_text("SHAPE_POINT a=1 b=515 c=67438087 d=579005069656919567")));
    out = writer_of(at, sizeof(at));
    struct shape odd = label("a\"\\\n\x7f\xc3\xa9z");
    cr_assert(bytes_equal(printed(&odd, &out),
                          bytes_of_text("SHAPE_LABEL id=abcd0000000000000000000000000000 "
                                        "text=\"a\\x22\\x5c\\x0a\\x7f\\xc3\\xa9z\"")));
}
