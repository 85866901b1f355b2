/* If-Match and If-None-Match, by the grammar of RFC 9110 §8.8.3, §13.1 and §5.6.1.2. */
#include "app/preconditions.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static uint8_t store[PRECONDITIONS_BYTES];

/* Reads one line as both fields; true when it is good. */
static bool read_line(const char *line, struct preconditions *ret_conditions)
{
    struct request request = {
        .if_match = {.count = 1, .line = {line}},
        .if_none_match = {.count = 1, .line = {line}},
    };
    return preconditions_read(&request, store, ret_conditions) == NULL;
}

/* The tags of a condition, as text. */
static const char *tags_of(const struct condition *condition)
{
    static char text[2048];
    struct writer out = writer_of(text, sizeof(text) - 1);
    struct reader in = reader_of(condition->tags);
    if (condition->kind != CONDITION_LIST)
        return condition->kind == CONDITION_ANY ? "*" : "none";
    while (reader_left(&in) > 0) {
        put_decimal(&out, get_u64(&in));
        put_text(&out, " ");
    }
    text[writer_len(&out)] = '\0';
    return text;
}

Test(preconditions, are_read_as_they_are_written)
{
    static const struct {
        const char *line, *strong, *weak;
    } rows[] = {
        {"*", "*", "*"},
        {" \t* ", "*", "*"},
        {"\"12\"", "12 ", "12 "},
        {"W/\"12\"", "", "12 "},
        {"W/\"12\", \"13\" ,W/\"14\"", "13 ", "12 13 14 "},
        {",, \"1\",,\t\"2\" , ,", "1 2 ", "1 2 "},
        {"", "", ""},
        {" , ", "", ""},
        {"\"\"", "", ""},
        {"\"abc\"", "", ""},
        {"\"1,2\", \"3\"", "3 ", "3 "},
        {"\"a,\\\",\"3\"", "3 ", "3 "},
        {"\"\xff\xc3\xa9\x80\",\"5\"", "5 ", "5 "},
        {"\"W/\"", "", ""},
        {"\"0\"", "0 ", "0 "},
        {"\"007\"", "", ""},
        {"\"+7\",\"7.0\",\"0x7\",\"-7\"", "", ""},
        {"\"18446744073709551615\"", "18446744073709551615 ", "18446744073709551615 "},
        {"\"18446744073709551616\",\"99999999999999999999\",\"184467440737095516150\"", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct preconditions found;
        cr_assert(read_line(rows[i].line, &found), "refused: %s", rows[i].line);
        cr_expect(eq(str, (char *)tags_of(&found.if_match), (char *)rows[i].strong), "%s",
                  rows[i].line);
        cr_expect(eq(str, (char *)tags_of(&found.if_none_match), (char *)rows[i].weak), "%s",
                  rows[i].line);
    }
}

Test(preconditions, that_are_no_list_of_tags_are_refused)
{
    static const char *const lines[] = {
        "*,",       "*, \"1\"", "\"1\", *",    "**",          "* *",      "1",         "\"1",
        "1\"",      "\"1\"x",   "\"1\"\"2\"",  "\"1\" \"2\"", "w/\"1\"",  "W\"1\"",    "W/ \"1\"",
        "W /\"1\"", "W/",       "W",           "W/1",         "\"a b\"",  "\"a\tb\"",  "\"\x7f\"",
        "\"\x01\"", "'1'",      "\"1\";\"2\"", "\"1\",x",     "\xc3\xa9", "W/W/\"1\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct preconditions found;
        cr_expect(not(read_line(lines[i], &found)), "took: %s", lines[i]);
    }
}

Test(preconditions, that_are_not_there_are_none)
{
    struct request request = {.if_match = {.count = 0}};
    struct preconditions found;
    cr_assert(preconditions_read(&request, store, &found) == NULL);
    cr_assert(eq(int, found.if_match.kind, CONDITION_NONE));
    cr_assert(eq(int, found.if_none_match.kind, CONDITION_NONE));
}

Test(preconditions, go_on_from_line_to_line_and_do_not_mix)
{
    struct request request = {
        .if_match = {.count = 3, .line = {"\"1\"", "", "\"2\",\"3\""}},
        .if_none_match = {.count = 1, .line = {"W/\"4\""}},
    };
    struct preconditions found;
    cr_assert(preconditions_read(&request, store, &found) == NULL);
    cr_assert(eq(str, (char *)tags_of(&found.if_match), "1 2 3 "));
    cr_assert(eq(str, (char *)tags_of(&found.if_none_match), "4 "));
    request.if_match.line[1] = "*";
    const char *fault = preconditions_read(&request, store, &found);
    cr_assert(fault != NULL && strstr(fault, "If-Match") != NULL);
}

Test(preconditions, may_have_64_tags_and_no_more)
{
    char line[1024] = "";
    for (unsigned i = 0; i < 64; i++)
        memcpy(line + 4 * i, "\"7\",", 5);
    struct preconditions found;
    cr_assert(read_line(line, &found));
    cr_assert(eq(sz, found.if_match.tags.len, 8 * 64));
    memcpy(line + 4 * 64, "\"8\"", 4);
    cr_assert(not(read_line(line, &found)));
    struct request request = {.if_none_match = {.count = 1, .line = {line}}};
    const char *fault = preconditions_read(&request, store, &found);
    cr_assert(fault != NULL && strstr(fault, "64") != NULL);
}
