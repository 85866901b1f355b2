#include "raft/base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* With its NULs: C strings end at the first. */
#define TEXT(literal)                \
    {                                \
        literal, sizeof(literal) - 1 \
    }

struct text {
    const char *at;
    size_t len;
};

static bool good(struct bytes text)
{
    struct json_error error;
    return json_check(text, &error) == 0;
}

/* --- json_check ------------------------------------------------------------------------------- */

Test(json_check, takes_what_rfc_8259_takes)
{
    static const struct text texts[] = {
        TEXT("null"),
        TEXT("true"),
        TEXT(" false\t\r\n "),
        TEXT("0"),
        TEXT("-0"),
        TEXT("10"),
        TEXT("1.5"),
        TEXT("0.5e10"),
        TEXT("1E+2"),
        TEXT("-1e-2"),
        TEXT("1e999"),
        TEXT("99999999999999999999999999999999999999999999999999"),
        TEXT("\"\""),
        TEXT("\"a/b\\/\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u00e9\\uD83D\\uDE00\""),
        TEXT("\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
        TEXT("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""),
        TEXT("[]"),
        TEXT("{}"),
        TEXT("[ ]"),
        TEXT("{ }"),
        TEXT("[1,[2,{\"a\":[]}],{}]"),
        TEXT("{\"a\":1,\"a\":2}"),
        TEXT("{ \"a\" : { \"b\" : [ 1 , 2 ] } , \"c\" : null }"),
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        cr_expect(good(bytes_of(texts[i].at, texts[i].len)), "refused: %s", texts[i].at);
}

struct bad {
    const char *at;
    size_t len;
    const char *what;
    unsigned line, column;
};

#define BAD(literal, what, line, column)                 \
    {                                                    \
        literal, sizeof(literal) - 1, what, line, column \
    }

static const struct bad bad_texts[] = {
    BAD("", "EOF while parsing a value", 1, 1),
    BAD("  \n", "EOF while parsing a value", 2, 1),
    BAD("{", "EOF while parsing an object", 1, 2),
    BAD("[", "EOF while parsing a list", 1, 2),
    BAD("[1", "EOF while parsing a list", 1, 3),
    BAD("{\"a\":", "EOF while parsing a value", 1, 6),
    BAD("{\"a\"", "EOF while parsing an object", 1, 5),
    BAD("\"abc", "EOF while parsing a string", 1, 5),
    BAD("\"abc\\", "EOF while parsing a string", 1, 6),
    BAD("tru", "EOF while parsing a value", 1, 4),
    BAD("-", "EOF while parsing a value", 1, 2),
    BAD("1.", "EOF while parsing a value", 1, 3),
    BAD("1e+", "EOF while parsing a value", 1, 4),
    BAD("{\n  \"name\": \"Alice\",\n  \"x\": ?\n}", "expected value", 3, 8),
    BAD("{oops", "key must be a string", 1, 2),
    BAD("{\"a\" 1}", "expected `:`", 1, 6),
    BAD("{\"a\":1 \"b\":2}", "expected `,` or `}`", 1, 8),
    BAD("[1 2]", "expected `,` or `]`", 1, 4),
    BAD("[1}", "expected `,` or `]`", 1, 3),
    BAD("{\"a\":1]", "expected `,` or `}`", 1, 7),
    BAD("{\"a\":1,}", "trailing comma", 1, 8),
    BAD("[1,]", "trailing comma", 1, 4),
    BAD("[,]", "expected value", 1, 2),
    BAD("{,}", "key must be a string", 1, 2),
    BAD("{\"a\":1}}", "trailing characters", 1, 8),
    BAD("{\"a\":1}\n{}", "trailing characters", 2, 1),
    BAD("1 x", "trailing characters", 1, 3),
    BAD("{\"a\":1}\0", "trailing characters", 1, 8),
    BAD("{}\f", "trailing characters", 1, 3),
    BAD("nul1", "expected ident", 1, 4),
    BAD("TRUE", "expected value", 1, 1),
    BAD("NaN", "expected value", 1, 1),
    BAD("Infinity", "expected value", 1, 1),
    BAD("-Infinity", "invalid number", 1, 2),
    BAD("+1", "expected value", 1, 1),
    BAD(".5", "expected value", 1, 1),
    BAD("5.", "EOF while parsing a value", 1, 3),
    BAD("[5.]", "invalid number", 1, 4),
    BAD("01", "invalid number", 1, 2),
    BAD("-01", "invalid number", 1, 3),
    BAD("0x10", "trailing characters", 1, 2),
    BAD("1e", "EOF while parsing a value", 1, 3),
    BAD("'a'", "expected value", 1, 1),
    BAD("// c", "expected value", 1, 1),
    BAD("\0{}", "expected value", 1, 1),
    BAD("\xef\xbb\xbf{}", "expected value", 1, 1),
    BAD("\xc2\xa0{}", "expected value", 1, 1),
    BAD("\"a\x01\"", "control character while parsing a string", 1, 3),
    BAD("\"a\nb\"", "control character while parsing a string", 1, 3),
    BAD("\"\t\"", "control character while parsing a string", 1, 2),
    BAD("\"\\x41\"", "invalid escape", 1, 3),
    BAD("\"\\u12g4\"", "invalid escape", 1, 4),
    BAD("\"\\u12\"", "invalid escape", 1, 4),
    BAD("\"\\ud800\"", "lone leading surrogate in hex escape", 1, 8),
    BAD("\"\\ud800x\"", "lone leading surrogate in hex escape", 1, 8),
    BAD("\"\\ud800\\ud800\"", "lone leading surrogate in hex escape", 1, 8),
    BAD("\"\\ud800\\n\"", "lone leading surrogate in hex escape", 1, 8),
    BAD("\"\\udc00\\ud800\"", "lone trailing surrogate in hex escape", 1, 4),
    BAD("{\"\xff\":1}", "invalid unicode code point", 1, 3),
    BAD("\"\xc0\xaf\"", "invalid unicode code point", 1, 2),
    BAD("\"\xed\xa0\x80\"", "invalid unicode code point", 1, 2),
    BAD("\"\xf4\x90\x80\x80\"", "invalid unicode code point", 1, 2),
    BAD("\"\xe3\x81\"", "invalid unicode code point", 1, 2),
    BAD("\"\xe3\x81", "invalid unicode code point", 1, 2),
    BAD("\"\x80\"", "invalid unicode code point", 1, 2),
};

Test(json_check, says_what_is_wrong_and_where)
{
    const struct bad *texts = bad_texts;
    for (size_t i = 0; i < ARRAY_LEN(bad_texts); i++) {
        struct json_error error = {.what = "nothing"};
        cr_expect(eq(int, json_check(bytes_of(texts[i].at, texts[i].len), &error), -EBADMSG),
                  "took: %s", texts[i].at);
        cr_expect(eq(str, (char *)error.what, (char *)texts[i].what), "of: %s", texts[i].at);
        cr_expect(eq(u32, error.line, texts[i].line), "of: %s", texts[i].at);
        cr_expect(eq(u32, error.column, texts[i].column), "of: %s", texts[i].at);
    }
}

Test(json_check, takes_nesting_to_its_limit_and_no_deeper)
{
    char text[2 * JSON_DEPTH_MAX + 3];
    for (unsigned depth = 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        cr_expect(eq(int, good(bytes_of(text, 2 * depth)), depth <= JSON_DEPTH_MAX));
    }
    struct json_error error;
    cr_assert(json_check(bytes_of(text, 2 * (JSON_DEPTH_MAX + 1)), &error) != 0);
    cr_assert(eq(str, (char *)error.what, "nesting too deep"));
    cr_assert(eq(u32, error.column, JSON_DEPTH_MAX + 1));
}

Test(json_check, tells_levels_apart_at_every_depth)
{
    /* Arrays and objects in turn, closed in the right order and in the wrong one. */
    char open[512] = "", close[512] = "";
    for (unsigned depth = 0; depth < JSON_DEPTH_MAX; depth++) {
        size_t len = strlen(open);
        snprintf(open + len, sizeof(open) - len, "%s", depth % 2 == 0 ? "[" : "{\"a\":");
        memmove(close + 1, close, strlen(close) + 1);
        close[0] = depth % 2 == 0 ? ']' : '}';
    }
    char text[1024];
    int len = snprintf(text, sizeof(text), "%s1%s", open, close);
    cr_assert(good(bytes_of(text, (size_t)len)));
    for (size_t i = 0; i < strlen(close); i++) {
        char *at = text + len - 1 - i;
        *at = *at == ']' ? '}' : ']';
        cr_expect(not(good(bytes_of(text, (size_t)len))));
        *at = *at == ']' ? '}' : ']';
    }
}

Test(json_check, refuses_every_prefix_of_an_object)
{
    static const char text[] =
        "{\"a\":[1,-2.5e3,\"\\ud83d\\ude00\xe2\x82\xac\"],\"b\":{\"c\":true}}";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        /* In memory of its own, so that reading past the end is seen. */
        char *copy = malloc(len + 1);
        memcpy(copy, text, len);
        cr_expect(not(good(bytes_of(copy, len))), "took %zu bytes", len);
        free(copy);
    }
    cr_assert(good(bytes_of(text, sizeof(text) - 1)));
}

/* --- UTF-8 ------------------------------------------------------------------------------------ */

static size_t encode(uint32_t point, uint8_t *at)
{
    if (point < 0x80) {
        at[0] = (uint8_t)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--, point >>= 6)
        at[i] = (uint8_t)(0x80 | (point & 0x3f));
    at[0] = (uint8_t)(lead[len] | point);
    return len;
}

Test(utf8, takes_every_code_point_but_surrogates)
{
    for (uint32_t point = 0; point <= 0x10ffff + 0x1000; point++) {
        uint8_t at[4];
        size_t len = encode(point, at);
        bool is_one = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        cr_assert(eq(int, json_utf8_valid(bytes_of(at, len)), is_one), "U+%x", point);
        if (len > 1)
            cr_assert(not(json_utf8_valid(bytes_of(at, len - 1))));
    }
}

Test(utf8, takes_no_two_bytes_that_are_not_one_or_two_code_points)
{
    unsigned taken = 0;
    for (unsigned both = 0; both <= 0xffff; both++) {
        uint8_t at[2] = {(uint8_t)(both >> 8), (uint8_t)both};
        taken += json_utf8_valid(bytes_of(at, 2));
    }
    /* ASCII twice, or one of the 0x80 … 0x7ff. */
    cr_assert(eq(u32, taken, 0x80 * 0x80 + (0x800 - 0x80)));
    cr_assert(json_utf8_valid(bytes_of(NULL, 0)));
}

/* --- writing and reading strings -------------------------------------------------------------- */

static struct bytes written(struct bytes text, uint8_t *at, size_t capacity)
{
    struct writer out = writer_of(at, capacity);
    json_put_string(&out, text);
    cr_assert(not(out.bad));
    return writer_bytes(&out);
}

Test(json_put_string, escapes_as_the_reference_does)
{
    uint8_t at[256];
    struct bytes got = written(bytes_of("a/b\"\\\0\x1f\x7f\b\f\n\r\t\xe5\xa4\xaa<&'", 19), at, 256);
    struct bytes expected =
        bytes_of_text("\"a/b\\\"\\\\\\u0000\\u001f\x7f\\b\\f\\n\\r\\t\xe5\xa4\xaa<&'\"");
    cr_assert(bytes_equal(got, expected), "%.*s", (int)got.len, got.at);
}

Test(json_put_string, stays_within_what_it_promises)
{
    uint8_t text[64], at[JSON_STRING_BYTES_MAX(64)];
    memset(text, 1, sizeof(text));
    for (size_t len = 0; len <= sizeof(text); len++) {
        struct writer out = writer_of(at, JSON_STRING_BYTES_MAX(len));
        json_put_string(&out, bytes_of(text, len));
        cr_assert(not(out.bad));
        cr_assert(eq(sz, writer_room(&out), 0));
        struct writer less = writer_of(at, JSON_STRING_BYTES_MAX(len) - 1);
        json_put_string(&less, bytes_of(text, len));
        cr_assert(less.bad);
    }
}

Test(json_get_string, reads_back_what_was_written)
{
    uint8_t text[256], json[JSON_STRING_BYTES_MAX(256) + 1], back[256];
    for (unsigned i = 0; i < 128; i++)
        text[i] = (uint8_t)i;
    struct bytes got = written(bytes_of(text, 128), json, sizeof(json));
    json[got.len] = ':'; /* what follows is left */
    struct reader in = reader_of(bytes_of(json, got.len + 1));
    struct writer out = writer_of(back, sizeof(back));
    json_get_string(&in, &out);
    cr_assert(not(in.bad));
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of(text, 128)));
    cr_assert(eq(sz, reader_left(&in), 1));
}

Test(json_get_string, resolves_escapes_of_every_length)
{
    struct reader in = reader_of(bytes_of_text("\"\\u0041\\u00e9\\u20ac\\uD83d\\uDe00\\/\""));
    uint8_t at[16];
    struct writer out = writer_of(at, sizeof(at));
    json_get_string(&in, &out);
    cr_assert(reader_done(&in));
    cr_assert(
        bytes_equal(writer_bytes(&out), bytes_of_text("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/")));
}

Test(json_get_string, refuses_what_is_no_string_or_does_not_fit)
{
    static const char *const texts[] = {"", "a", "\"", "\"a", "\"\\\"", "\"\n\"", "\"\xff\"", "1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reader in = reader_of(bytes_of_text(texts[i]));
        uint8_t at[16];
        struct writer out = writer_of(at, sizeof(at));
        json_get_string(&in, &out);
        cr_expect(in.bad, "took: %s", texts[i]);
    }
    struct reader in = reader_of(bytes_of_text("\"abc\""));
    uint8_t at[2];
    struct writer out = writer_of(at, sizeof(at));
    json_get_string(&in, &out);
    cr_assert(in.bad);
}

/* --- numbers and literals --------------------------------------------------------------------- */

Test(json_get_u64, reads_up_to_the_largest_and_no_further)
{
    struct reader in = reader_of(bytes_of_text("18446744073709551615,"));
    cr_assert(eq(u64, json_get_u64(&in), UINT64_MAX));
    cr_assert(not(in.bad));
    cr_assert(eq(sz, reader_left(&in), 1));
    in = reader_of(bytes_of_text("0"));
    cr_assert(eq(u64, json_get_u64(&in), 0));
    cr_assert(reader_done(&in));
}

Test(json_get_u64, refuses_what_is_no_plain_integer)
{
    static const char *const texts[] = {"",
                                        "-1",
                                        "+1",
                                        "01",
                                        "00",
                                        "1.0",
                                        "1e3",
                                        "1E3",
                                        "x",
                                        "18446744073709551616",
                                        "99999999999999999999",
                                        "184467440737095516150"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reader in = reader_of(bytes_of_text(texts[i]));
        cr_expect(eq(u64, json_get_u64(&in), 0), "took: %s", texts[i]);
        cr_expect(in.bad, "took: %s", texts[i]);
    }
}

Test(json_get_literal, reads_exactly_its_text)
{
    struct reader in = reader_of(bytes_of_text("{\"id\":1"));
    json_get_literal(&in, "{\"id\":");
    cr_assert(not(in.bad));
    cr_assert(eq(u64, json_get_u64(&in), 1));
    cr_assert(reader_done(&in));
    in = reader_of(bytes_of_text("{\"iD\":1"));
    json_get_literal(&in, "{\"id\":");
    cr_assert(in.bad);
    in = reader_of(bytes_of_text("{\"i"));
    json_get_literal(&in, "{\"id\":");
    cr_assert(in.bad);
}

/* Grafana takes nothing else. What it asks is judged by tests/e2e/metrics_test.c. */
Test(json, is_what_the_dashboard_is_written_in)
{
    static char text[1 << 20];
    FILE *file = fopen("deploy/grafana.json", "r");
    cr_assert(file != NULL, "run the tests from the top of the tree");
    size_t len = fread(text, 1, sizeof(text), file);
    fclose(file);
    struct json_error error = {.what = ""};
    cr_assert(eq(int, json_check(bytes_of(text, len), &error), 0), "%s at line %u", error.what,
              error.line);
}
