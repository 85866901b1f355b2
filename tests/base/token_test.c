#include "raft/base/token.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define HASH "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"

Test(token, line_is_read_and_written_alike)
{
    static const char *const lines[] = {HASH " read a", HASH " write alice@example.org",
                                        HASH " admin -_.@Z9"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct token token;
        uint8_t text[256];
        struct writer out = writer_of(text, sizeof(text));
        cr_assert(token_line_read(bytes_of_text(lines[i]), &token) == NULL);
        cr_expect(eq(int, token.role, TOKEN_READ + (int)i));
        cr_expect(eq(u8, token.hash[0], 0x6e));
        cr_expect(eq(u8, token.hash[31], 0x1d));
        token_line_put(&out, &token);
        cr_expect(bytes_equal(writer_bytes(&out), bytes_of_text(lines[i])));
    }
}

Test(token, line_may_have_any_blanks_between_its_words_and_around)
{
    struct token token;
    cr_assert(token_line_read(bytes_of_text(" \t" HASH "\t \tread   bob \t"), &token) == NULL);
    cr_assert(eq(str, token.name, "bob"));
}

Test(token, line_that_is_none_says_what_is_wrong_and_sets_nothing)
{
    char too_long[256];
    snprintf(too_long, sizeof(too_long), HASH " read %065d", 0);
    const struct {
        const char *line, *what;
    } rows[] = {
        {"", "digits"},
        {"6E340B9CFFB37A989CA544E6BB780A2C78901D3FB33738768511A30617AFA01D read a", "digits"},
        {HASH "0 read a", "digits"},
        {"g" HASH " read a", "digits"},
        {"ge340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d read a", "digits"},
        {HASH, "role"},
        {HASH " root a", "role"},
        {HASH " none a", "role"},
        {HASH " Read a", "role"},
        {HASH " reader a", "role"},
        {HASH " read", "name"},
        {HASH " read a\r", "name"},
        {HASH " read a/b", "name"},
        {HASH " read \xc3\xa4", "name"},
        {too_long, "name"},
        {HASH " read a b", "more than"},
        {HASH " read a # comment", "more than"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct token token = {.name = "untouched"};
        const char *what = token_line_read(bytes_of_text(rows[i].line), &token);
        cr_expect(what != NULL && strstr(what, rows[i].what) != NULL, "%s: %s", rows[i].line, what);
        cr_expect(eq(str, token.name, "untouched"));
    }
    struct token token;
    cr_expect(token_line_read(bytes_of(HASH " read a\0b", sizeof(HASH " read a\0b") - 1), &token) !=
              NULL);
}
