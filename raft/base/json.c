#include "raft/base/json.h"

#include <errno.h>
#include <string.h>

/*
 * The checker reads left to right and keeps no more than where it is: one bit a level says whether
 * that level is an array or an object, and `expect` what may come next. So depth costs no stack,
 * and no input makes it slower than a few steps a byte.
 */

enum expect {
    EXPECT_VALUE,          /* after ':' or a ',' in an array, and at the start */
    EXPECT_VALUE_OR_CLOSE, /* after '[' */
    EXPECT_KEY_OR_CLOSE,   /* after '{' */
    EXPECT_KEY,            /* after ',' in an object */
    EXPECT_COLON,          /* after a key */
    EXPECT_COMMA_OR_CLOSE, /* after a value inside something */
    EXPECT_END,            /* after the outermost value */
};

struct checker {
    const uint8_t *at;
    const uint8_t *end;
    const char *what; /* what is wrong at `at`; NULL while nothing is */
    unsigned depth;
    uint64_t objects; /* bit n: level n is an object, not an array */
    enum expect expect;
};

_Static_assert(JSON_DEPTH_MAX <= 64, "a level is a bit of checker.objects");

/* Stops at `at` with `what`; false, so that callers can return it. */
static bool fail(struct checker *in, const uint8_t *at, const char *what)
{
    in->at = at;
    in->what = what;
    return false;
}

/* --- UTF-8 ------------------------------------------------------------------------------------ */

/*
 * The bytes of the well-formed sequence at `at`; 0 when there is none. RFC 3629 §4: the second
 * byte's range depends on the first, which is what shuts out overlong forms, surrogates and what
 * is above U+10FFFF.
 */
static size_t utf8_sequence(const uint8_t *at, const uint8_t *end)
{
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    size_t length;
    uint8_t low = 0x80, high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if ((size_t)(end - at) < length || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool json_utf8_valid(struct bytes text)
{
    const uint8_t *at = text.at;
    const uint8_t *end = at + text.len;
    while (at != end) {
        size_t length = utf8_sequence(at, end);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

/* --- strings ---------------------------------------------------------------------------------- */

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return -1;
}

/* The four digits at `at`; -1 when they are not four. */
static int32_t hex_unit(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4)
        return -1;
    int32_t unit = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static void put_utf8(struct writer *out, uint32_t point)
{
    if (point < 0x80) {
        put_u8(out, (uint8_t)point);
        return;
    }
    if (point < 0x800) {
        put_u8(out, (uint8_t)(0xc0 | point >> 6));
    } else {
        if (point < 0x10000) {
            put_u8(out, (uint8_t)(0xe0 | point >> 12));
        } else {
            put_u8(out, (uint8_t)(0xf0 | point >> 18));
            put_u8(out, (uint8_t)(0x80 | (point >> 12 & 0x3f)));
        }
        put_u8(out, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
    }
    put_u8(out, (uint8_t)(0x80 | (point & 0x3f)));
}

/* After "\u": one code point, of one unit or of a surrogate pair. */
static bool check_unicode_escape(struct checker *in, struct writer *out)
{
    int32_t unit = hex_unit(in->at, in->end);
    if (unit < 0)
        return fail(in, in->at, "invalid escape");
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return fail(in, in->at, "lone trailing surrogate in hex escape");
    uint32_t point = (uint32_t)unit;
    const uint8_t *next = in->at + 4;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        bool escaped = in->end - next >= 2 && next[0] == '\\' && next[1] == 'u';
        int32_t low = escaped ? hex_unit(next + 2, in->end) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(in, next, "lone leading surrogate in hex escape");
        point = 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
        next += 6;
    }
    in->at = next;
    if (out != NULL)
        put_utf8(out, point);
    return true;
}

static bool check_escape(struct checker *in, struct writer *out)
{
    in->at++; /* the backslash */
    if (in->at == in->end)
        return fail(in, in->at, "EOF while parsing a string");
    uint8_t plain;
    switch (*in->at) {
    case 'u':
        in->at++;
        return check_unicode_escape(in, out);
    case '"':
    case '\\':
    case '/':
        plain = *in->at;
        break;
    case 'b':
        plain = '\b';
        break;
    case 'f':
        plain = '\f';
        break;
    case 'n':
        plain = '\n';
        break;
    case 'r':
        plain = '\r';
        break;
    case 't':
        plain = '\t';
        break;
    default:
        return fail(in, in->at, "invalid escape");
    }
    in->at++;
    if (out != NULL)
        put_u8(out, plain);
    return true;
}

/* Bytes that stand for themselves: everything but quotes, backslashes and controls, in UTF-8. */
static bool check_plain(struct checker *in, struct writer *out)
{
    const uint8_t *start = in->at;
    while (in->at != in->end && *in->at != '"' && *in->at != '\\') {
        if (*in->at < 0x20)
            return fail(in, in->at, "control character while parsing a string");
        size_t length = utf8_sequence(in->at, in->end);
        if (length == 0)
            return fail(in, in->at, "invalid unicode code point");
        in->at += length;
    }
    if (out != NULL)
        put_raw(out, bytes_of(start, (size_t)(in->at - start)));
    return true;
}

/* From the opening quote to after the closing one; the text goes to `out`, which may be NULL. */
static bool check_string(struct checker *in, struct writer *out)
{
    in->at++;
    for (;;) {
        if (!check_plain(in, out))
            return false;
        if (in->at == in->end)
            return fail(in, in->at, "EOF while parsing a string");
        if (*in->at == '"') {
            in->at++;
            return true;
        }
        if (!check_escape(in, out))
            return false;
    }
}

/* --- numbers and words ------------------------------------------------------------------------ */

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool check_digits(struct checker *in)
{
    if (in->at == in->end)
        return fail(in, in->at, "EOF while parsing a value");
    if (!is_digit(*in->at))
        return fail(in, in->at, "invalid number");
    while (in->at != in->end && is_digit(*in->at))
        in->at++;
    return true;
}

/* RFC 8259 §6: [ "-" ] ( "0" / digits ) [ "." digits ] [ ( "e" / "E" ) [ "-" / "+" ] digits ] */
static bool check_number(struct checker *in)
{
    if (*in->at == '-')
        in->at++;
    if (in->at != in->end && *in->at == '0') {
        in->at++;
        if (in->at != in->end && is_digit(*in->at))
            return fail(in, in->at, "invalid number");
    } else if (!check_digits(in)) {
        return false;
    }
    if (in->at != in->end && *in->at == '.') {
        in->at++;
        if (!check_digits(in))
            return false;
    }
    if (in->at != in->end && (*in->at == 'e' || *in->at == 'E')) {
        in->at++;
        if (in->at != in->end && (*in->at == '+' || *in->at == '-'))
            in->at++;
        return check_digits(in);
    }
    return true;
}

static bool check_word(struct checker *in, const char *word)
{
    for (; *word != '\0'; word++) {
        if (in->at == in->end)
            return fail(in, in->at, "EOF while parsing a value");
        if (*in->at != (uint8_t)*word)
            return fail(in, in->at, "expected ident");
        in->at++;
    }
    return true;
}

/* --- structure -------------------------------------------------------------------------------- */

static void skip_space(struct checker *in)
{
    while (in->at != in->end &&
           (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
        in->at++;
}

static bool in_object(const struct checker *in)
{
    return (in->objects >> (in->depth - 1) & 1) != 0;
}

static void value_ended(struct checker *in)
{
    in->expect = in->depth > 0 ? EXPECT_COMMA_OR_CLOSE : EXPECT_END;
}

static bool open_level(struct checker *in, bool object)
{
    if (in->depth == JSON_DEPTH_MAX)
        return fail(in, in->at, "nesting too deep");
    uint64_t bit = UINT64_C(1) << in->depth;
    in->objects = object ? in->objects | bit : in->objects & ~bit;
    in->depth++;
    in->at++;
    in->expect = object ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
    return true;
}

static void close_level(struct checker *in)
{
    in->depth--;
    in->at++;
    value_ended(in);
}

static bool check_value(struct checker *in)
{
    bool good;
    switch (*in->at) {
    case '{':
        return open_level(in, true);
    case '[':
        return open_level(in, false);
    case '"':
        good = check_string(in, NULL);
        break;
    case 't':
        good = check_word(in, "true");
        break;
    case 'f':
        good = check_word(in, "false");
        break;
    case 'n':
        good = check_word(in, "null");
        break;
    default:
        if (*in->at != '-' && !is_digit(*in->at))
            return fail(in, in->at, "expected value");
        good = check_number(in);
        break;
    }
    if (good)
        value_ended(in);
    return good;
}

static bool check_key(struct checker *in)
{
    if (*in->at != '"')
        return fail(in, in->at, *in->at == '}' ? "trailing comma" : "key must be a string");
    if (!check_string(in, NULL))
        return false;
    in->expect = EXPECT_COLON;
    return true;
}

static bool check_comma_or_close(struct checker *in)
{
    bool object = in_object(in);
    if (*in->at == (object ? '}' : ']')) {
        close_level(in);
        return true;
    }
    if (*in->at != ',')
        return fail(in, in->at, object ? "expected `,` or `}`" : "expected `,` or `]`");
    in->at++;
    in->expect = object ? EXPECT_KEY : EXPECT_VALUE;
    return true;
}

/* One step at a byte that is there and is no white space. */
static bool check_step(struct checker *in)
{
    switch (in->expect) {
    case EXPECT_VALUE:
        if (*in->at == ']' && in->depth > 0 && !in_object(in))
            return fail(in, in->at, "trailing comma");
        return check_value(in);
    case EXPECT_VALUE_OR_CLOSE:
        if (*in->at != ']')
            return check_value(in);
        close_level(in);
        return true;
    case EXPECT_KEY_OR_CLOSE:
        if (*in->at != '}')
            return check_key(in);
        close_level(in);
        return true;
    case EXPECT_KEY:
        return check_key(in);
    case EXPECT_COLON:
        if (*in->at != ':')
            return fail(in, in->at, "expected `:`");
        in->at++;
        in->expect = EXPECT_VALUE;
        return true;
    case EXPECT_COMMA_OR_CLOSE:
        return check_comma_or_close(in);
    case EXPECT_END:
        return fail(in, in->at, "trailing characters");
    }
    UNREACHABLE();
}

/* The text ended; good only after a whole value. */
static const char *eof_error(const struct checker *in)
{
    if (in->expect == EXPECT_END)
        return NULL;
    if (in->depth == 0 || in->expect == EXPECT_VALUE)
        return "EOF while parsing a value";
    return in_object(in) ? "EOF while parsing an object" : "EOF while parsing a list";
}

static struct json_error error_at(struct bytes text, const uint8_t *at, const char *what)
{
    struct json_error error = {.what = what, .line = 1, .column = 1};
    for (const uint8_t *byte = text.at; byte != at; byte++) {
        error.column++;
        if (*byte == '\n') {
            error.line++;
            error.column = 1;
        }
    }
    return error;
}

int json_check(struct bytes text, struct json_error *ret_error)
{
    static const uint8_t nothing[1];
    if (text.len == 0)
        text.at = nothing;
    struct checker in = {.at = text.at, .end = text.at + text.len, .expect = EXPECT_VALUE};
    for (;;) {
        skip_space(&in);
        if (in.at == in.end) {
            in.what = eof_error(&in);
            break;
        }
        if (!check_step(&in))
            break;
    }
    if (in.what == NULL)
        return 0;
    *ret_error = error_at(text, in.at, in.what);
    return -EBADMSG;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_escape(struct writer *out, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    static const uint8_t letters[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    uint8_t letter = byte < 0x20 ? letters[byte] : byte;
    put_u8(out, '\\');
    if (letter != 0) {
        put_u8(out, letter);
        return;
    }
    put_text(out, "u00");
    put_u8(out, (uint8_t)digits[byte >> 4]);
    put_u8(out, (uint8_t)digits[byte & 15]);
}

void json_put_string(struct writer *out, struct bytes text)
{
    put_u8(out, '"');
    size_t start = 0; /* of the run that needs no escape */
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.at[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        put_raw(out, bytes_of(text.at + start, i - start));
        put_escape(out, byte);
        start = i + 1;
    }
    if (start < text.len)
        put_raw(out, bytes_of(text.at + start, text.len - start));
    put_u8(out, '"');
}

/* --- reading piece by piece ------------------------------------------------------------------- */

void json_get_string(struct reader *in, struct writer *out)
{
    if (in->bad || in->at == in->end || *in->at != '"') {
        in->bad = true;
        return;
    }
    struct checker string = {.at = in->at, .end = in->end};
    if (!check_string(&string, out) || out->bad) {
        in->bad = true;
        return;
    }
    in->at = string.at;
}

uint64_t json_get_u64(struct reader *in)
{
    const uint8_t *at = in->at;
    uint64_t value = 0;
    bool good = !in->bad && at != in->end && is_digit(*at);
    for (; good && at != in->end && is_digit(*at); at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        good = value <= (UINT64_MAX - digit) / 10 && !(at != in->at && value == 0);
        value = value * 10 + digit;
    }
    /* What goes on as a number is not an integer. */
    good = good && (at == in->end || (*at != '.' && *at != 'e' && *at != 'E'));
    if (!good) {
        in->bad = true;
        return 0;
    }
    in->at = at;
    return value;
}

void json_get_literal(struct reader *in, const char *text)
{
    struct bytes expected = bytes_of_text(text);
    struct bytes found = get_raw(in, expected.len);
    if (!bytes_equal(found, expected))
        in->bad = true;
}
