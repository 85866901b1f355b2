/* What may be an email. */
#include "raft/base/json.h"
#include "raft/users/command.h"

#include <string.h>

#define LOCAL_BYTES_MAX 64u /* RFC 5321 §4.5.3.1.1 */
#define LABEL_BYTES_MAX 63u /* RFC 1035 §2.3.4 */

/* From U+0080 on: what is no letter, nor a mark that belongs to one. Ascending. */
static const struct {
    uint32_t first, last;
} no_letters[] = {
    {0x0080, 0x00a9},   /* C1 controls, no-break space, Latin-1 punctuation and symbols */
    {0x00ab, 0x00b4},   /* soft hyphen among them */
    {0x00b6, 0x00b9},   /* */
    {0x00bb, 0x00bf},   /* */
    {0x00d7, 0x00d7},   /* multiplication sign */
    {0x00f7, 0x00f7},   /* division sign */
    {0x034f, 0x034f},   /* combining grapheme joiner */
    {0x037e, 0x037e},   /* Greek question mark */
    {0x0600, 0x060f},   /* Arabic signs and punctuation */
    {0x061b, 0x061f},   /* Arabic letter mark */
    {0x06dd, 0x06dd},   /* */
    {0x070f, 0x070f},   /* Syriac abbreviation mark */
    {0x0890, 0x0891},   /* Arabic marks above */
    {0x08e2, 0x08e2},   /* */
    {0x115f, 0x1160},   /* Hangul fillers */
    {0x1680, 0x1680},   /* Ogham space */
    {0x17b4, 0x17b5},   /* Khmer vowels without a form */
    {0x1800, 0x180f},   /* Mongolian punctuation, variation selectors, vowel separator */
    {0x2000, 0x2bff},   /* blanks, zero width, direction, punctuation, symbols */
    {0x2e00, 0x2e7f},   /* supplemental punctuation */
    {0x2ff0, 0x3004},   /* ideographic description, space and punctuation */
    {0x3008, 0x3020},   /* CJK brackets */
    {0x3030, 0x3030},   /* wavy dash */
    {0x303d, 0x303f},   /* */
    {0x3164, 0x3164},   /* Hangul filler */
    {0xd800, 0xf8ff},   /* surrogates, private use */
    {0xfdd0, 0xfdef},   /* no characters */
    {0xfe00, 0xfe1f},   /* variation selectors, vertical forms */
    {0xfe30, 0xfe6f},   /* compatibility and small forms */
    {0xfeff, 0xff0f},   /* byte order mark, wide punctuation */
    {0xff1a, 0xff20},   /* a wide '@' among them */
    {0xff3b, 0xff40},   /* */
    {0xff5b, 0xff65},   /* */
    {0xffa0, 0xffa0},   /* Hangul filler, half wide */
    {0xffe0, 0xffff},   /* wide signs, specials, no characters */
    {0x110bd, 0x110bd}, /* Kaithi number signs */
    {0x110cd, 0x110cd}, /* */
    {0x13430, 0x1345f}, /* Egyptian format controls */
    {0x1bca0, 0x1bcaf}, /* shorthand format controls */
    {0x1d000, 0x1d3ff}, /* musical symbols and the like */
    {0x1f000, 0x1fbff}, /* pictures */
    {0xe0000, 0x10ffff} /* tags, variation selectors, private use */
};

static bool is_letter_beyond_ascii(uint32_t code)
{
    if ((code & 0xfffe) == 0xfffe)
        return false; /* no character, in any plane */
    for (size_t i = 0; i < ARRAY_LEN(no_letters); i++) {
        if (code <= no_letters[i].last)
            return code < no_letters[i].first;
    }
    return true;
}

/* The code point at the start of valid UTF-8, which is taken off. */
static uint32_t take_code(struct bytes *text)
{
    uint8_t first = text->at[0];
    size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = len == 1 ? first : first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (text->at[i] & 0x3fu);
    *text = bytes_of(text->at + len, text->len - len);
    return code;
}

/* A letter or a digit, or an ASCII character that is among these. */
static bool is_word(struct bytes text, struct bytes among)
{
    while (text.len > 0) {
        uint32_t code = take_code(&text), letter = code | 0x20;
        bool good = code >= 0x80
                        ? is_letter_beyond_ascii(code)
                        : (letter >= 'a' && letter <= 'z') || (code >= '0' && code <= '9') ||
                              memchr(among.at, (int)code, among.len) != NULL;
        if (!good)
            return false;
    }
    return true;
}

static bool is_label(struct bytes label)
{
    return label.len >= 1 && label.len <= LABEL_BYTES_MAX && label.at[0] != '-' &&
           label.at[label.len - 1] != '-' && is_word(label, bytes_of_text("-"));
}

static bool is_domain(struct bytes domain)
{
    for (;;) {
        const uint8_t *dot = memchr(domain.at, '.', domain.len);
        size_t len = dot != NULL ? (size_t)(dot - domain.at) : domain.len;
        if (!is_label(bytes_of(domain.at, len)))
            return false;
        if (dot == NULL)
            return true;
        domain = bytes_of(dot + 1, domain.len - len - 1);
    }
}

bool user_email_valid(struct bytes email)
{
    if (email.len < 3 || email.len > USER_EMAIL_BYTES_MAX || !json_utf8_valid(email))
        return false;
    const uint8_t *at = memchr(email.at, '@', email.len);
    if (at == NULL)
        return false;
    size_t len = (size_t)(at - email.at);
    return len >= 1 && len <= LOCAL_BYTES_MAX && len + 1 < email.len &&
           is_word(bytes_of(email.at, len), bytes_of_text(".!#$%&'*+/=?^_`{|}~-")) &&
           is_domain(bytes_of(at + 1, email.len - len - 1));
}
