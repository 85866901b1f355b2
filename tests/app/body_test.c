#include "app/body.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* What comes of a body: the name, or the status that says why not. */
struct row {
    const char *body;
    size_t len;
    unsigned status;  /* 0: a user */
    const char *text; /* its name, or part of the sentence */
    size_t text_len;
};

#define USER(body, name)                                  \
    {                                                     \
        body, sizeof(body) - 1, 0, name, sizeof(name) - 1 \
    }
#define FAULT(body, status, says)                              \
    {                                                          \
        body, sizeof(body) - 1, status, says, sizeof(says) - 1 \
    }

static void check(const struct row *row)
{
    struct body_text store;
    struct body_user user;
    struct body_fault fault;
    int bad = body_read_user(bytes_of(row->body, row->len), &store, &user, &fault);
    if (row->status == 0) {
        cr_expect(eq(int, bad, 0), "%s: %s", row->body, bad != 0 ? fault.what : "");
        if (bad == 0)
            cr_expect(bytes_equal(user.texts.name, bytes_of(row->text, row->text_len)),
                      "%s gave %.*s", row->body, (int)user.texts.name.len, user.texts.name.at);
        return;
    }
    cr_expect(eq(int, bad, -EBADMSG), "took %s", row->body);
    if (bad != 0) {
        cr_expect(eq(uint, fault.malformed ? 400 : 422, row->status), "%s: %s", row->body,
                  fault.what);
        cr_expect(strstr(fault.what, row->text) != NULL, "%s: %s", row->body, fault.what);
    }
}

#define CHECK_ALL(rows)                          \
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) \
    check(&(rows)[i])

Test(body, gives_the_name_as_it_was_meant)
{
    static const struct row rows[] = {
        USER("{\"name\":\"Alice\"}", "Alice"),
        USER(" { \"name\" : \"Alice\" } \r\n\t", "Alice"),
        USER("{\"name\":\"\"}", ""),
        USER("{\"name\":\" \"}", " "),
        USER("{\"id\":99,\"name\":\"Alice\"}", "Alice"),
        USER("{\"x\":{\"name\":\"Bob\",\"y\":[\"}\",\"\\\"]\"]},\"name\":\"Alice\",\"z\":[]}",
             "Alice"),
        USER("{\"x\":1,\"x\":2,\"name\":\"Alice\"}", "Alice"),
        USER("{\"na\\u006de\":\"Alice\"}", "Alice"),
        USER("{\"name\":\"a\\u0000b\"}", "a\0b"),
        USER("{\"name\":\"\\u0001\\u001f\\b\\f\\n\\r\\t\"}", "\x01\x1f\b\f\n\r\t"),
        USER("{\"name\":\"a\x7f/\\/<&'\"}", "a\x7f//<&'"),
        USER("{\"name\":\"\\uD83D\\ude00\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\"}",
             "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf"),
        USER("{\"name\":\"e\xcc\x81 \xc3\xa9 \\u2028 \\u0085\"}",
             "e\xcc\x81 \xc3\xa9 \xe2\x80\xa8 \xc2\x85"),
        USER("{\"name\":\"Alice\",\"x\":1e999}", "Alice"),
        USER("{\"name\":\"Alice\",\"x\":99999999999999999999999999999999999999999}", "Alice"),
    };
    CHECK_ALL(rows);
}

/* One row for each line of the table of what json-c alone would let through. */
Test(body, refuses_what_json_c_would_take)
{
    static const struct row rows[] = {
        FAULT("{\"name\":\"A\",\"x\":NaN}", 400, "expected value at line 1 column 17"),
        FAULT("{\"name\":\"A\",\"x\":Infinity}", 400, "expected value"),
        FAULT("{\"name\":\"A\",\"x\":5.}", 400, "invalid number"),
        FAULT("{\"name\":\"a\x01\"}", 400, "control character"),
        FAULT("{\"name\":\"a\nb\"}", 400, "control character"),
        FAULT("{\"name\":\"a\tb\"}", 400, "control character"),
        FAULT("{\"name\":\"\\ud800\"}", 400, "surrogate"),
        FAULT("{\"name\":\"\\udc00\"}", 400, "surrogate"),
        FAULT("{\"name\":\"\\ud800\\ud800\"}", 400, "surrogate"),
        FAULT("{\"name\":\"\xc0\xaf\"}", 400, "invalid unicode"),
        FAULT("{\"name\":\"\xed\xa0\x80\"}", 400, "invalid unicode"),
        FAULT("{\"name\":\"\xf4\x90\x80\x80\"}", 400, "invalid unicode"),
        FAULT("{\"name\":\"A\",\"name\":\"B\"}", 422, "duplicate field `name`"),
        FAULT("{\"name\":\"A\",\"na\\u006de\":\"A\"}", 422, "duplicate field `name`"),
        FAULT("{\"name\":\"A\"}\0", 400, "trailing characters at line 1 column 13"),
        FAULT("null", 422, "invalid type: null"),
        FAULT("{\"name\":\"A\"", 400, "EOF"),
        FAULT("{\"x\":\"\xff\",\"name\":\"A\"}", 400, "invalid unicode"),
        FAULT("{\"x\":\"\\ud800\",\"name\":\"A\"}", 400, "surrogate"),
        FAULT("{\"\xff\":1,\"name\":\"A\"}", 400, "invalid unicode"),
    };
    CHECK_ALL(rows);
}

/* json-c cuts keys at their first NUL: these are other keys, and must not stand in for `name`. */
Test(body, does_not_take_a_key_with_a_nul_for_another)
{
    static const struct row rows[] = {
        FAULT("{\"name\\u0000\":\"Bob\"}", 422, "missing field `name`"),
        USER("{\"name\":\"Alice\",\"name\\u0000\":\"Bob\"}", "Alice"),
        USER("{\"name\\u0000x\":\"Bob\",\"name\":\"Alice\"}", "Alice"),
    };
    CHECK_ALL(rows);
}

Test(body, refuses_what_is_no_json)
{
    static const struct row rows[] = {
        FAULT("", 400, "EOF while parsing a value at line 1 column 1"),
        FAULT("  \n", 400, "EOF"),
        FAULT("{", 400, "EOF"),
        FAULT("{'name':'A'}", 400, "key must be a string"),
        FAULT("{name:\"A\"}", 400, "key must be a string"),
        FAULT("{\"name\" \"A\"}", 400, "expected `:`"),
        FAULT("{\"name\":\"A\",}", 400, "trailing comma"),
        FAULT("{\"name\":\"A\"}}", 400, "trailing characters"),
        FAULT("{\"name\":\"A\"}\n{\"name\":\"B\"}\n", 400,
              "trailing characters at line 2 column 1"),
        FAULT("{\"name\":\"A\"}x", 400, "trailing characters"),
        FAULT("{\"name\":\"A\"}\f", 400, "trailing characters"),
        FAULT("\0{\"name\":\"A\"}", 400, "expected value at line 1 column 1"),
        FAULT("\xef\xbb\xbf{\"name\":\"A\"}", 400, "expected value"),
        FAULT("\xc2\xa0{\"name\":\"A\"}", 400, "expected value"),
        FAULT("\xff\xfe{\0\"\0n\0", 400, "expected value"),
        FAULT("{\"name\":\"A\",\"x\":+1}", 400, "expected value"),
        FAULT("{\"name\":\"A\",\"x\":.5}", 400, "expected value"),
        FAULT("{\"name\":\"A\",\"x\":0x10}", 400, "expected `,` or `}`"),
        FAULT("{\"name\":\"A\",\"x\":01}", 400, "invalid number"),
        FAULT("{\"name\":\"A\",\"x\":TRUE}", 400, "expected value"),
        FAULT("{\"name\":\"\\x41\"}", 400, "invalid escape"),
        FAULT("{\"name\":\"\xe3\x81\"}", 400, "invalid unicode"),
        FAULT("{\n  \"name\": \"Alice\",\n  \"x\": ?\n}", 400, "expected value at line 3 column 8"),
        FAULT("// hi\n{\"name\":\"A\"}", 400, "expected value"),
    };
    CHECK_ALL(rows);
}

Test(body, refuses_json_that_is_no_user)
{
    static const struct row rows[] = {
        FAULT("{}", 422, "missing field `name`"),
        FAULT("{\"Name\":\"Alice\"}", 422, "missing field `name`"),
        FAULT("{\"name \":\"Alice\"}", 422, "missing field `name`"),
        FAULT("{\"nam\":1,\"names\":2,\"a very long key that is not the one\":3}", 422, "missing"),
        FAULT("{\"name\":1}", 422, "name: invalid type: number, expected a string"),
        FAULT("{\"name\":-1.5e3}", 422, "name: invalid type: number"),
        FAULT("{\"name\":99999999999999999999}", 422, "name: invalid type: number"),
        FAULT("{\"name\":null}", 422, "name: invalid type: null"),
        FAULT("{\"name\":true}", 422, "name: invalid type: boolean"),
        FAULT("{\"name\":[\"Alice\"]}", 422, "name: invalid type: sequence"),
        FAULT("{\"name\":{\"first\":\"A\"}}", 422, "name: invalid type: map"),
        FAULT("{\"name\":\"Alice\",\"name\":\"Alice\"}", 422, "duplicate field `name`"),
        FAULT("{\"name\":\"Alice\",\"name\":1}", 422, "duplicate field `name`"),
        FAULT("[\"Alice\"]", 422, "invalid type: sequence, expected an object"),
        FAULT("[\"Alice\",\"Bob\"]", 422, "invalid type: sequence"),
        FAULT("[]", 422, "invalid type: sequence"),
        FAULT("\"Alice\"", 422, "invalid type: string"),
        FAULT("1.0", 422, "invalid type: number"),
        FAULT("false", 422, "invalid type: boolean"),
    };
    CHECK_ALL(rows);
}

/* Unlike in the reference, whose parser is streaming, no syntax error hides behind a wrong shape.
 */
Test(body, that_is_no_json_is_that_first_of_all)
{
    static const struct row rows[] = {
        FAULT("{\"name\":1,oops", 400, "key must be a string at line 1 column 11"),
        FAULT("{\"name\":1}x", 400, "trailing characters"),
        FAULT("[1}", 400, "expected `,` or `]`"),
    };
    CHECK_ALL(rows);
}

static void check_long(size_t characters, const char *character, unsigned status)
{
    char body[16 + 6 * USER_NAME_BYTES_MAX + 64];
    size_t len = (size_t)snprintf(body, sizeof(body), "{\"name\":\"");
    for (size_t i = 0; i < characters; i++)
        len += (size_t)snprintf(body + len, sizeof(body) - len, "%s", character);
    len += (size_t)snprintf(body + len, sizeof(body) - len, "\"}");
    struct body_text store;
    struct body_user user;
    struct body_fault fault;
    int bad = body_read_user(bytes_of(body, len), &store, &user, &fault);
    if (status == 0) {
        cr_assert(eq(int, bad, 0), "%s", bad != 0 ? fault.what : "");
        cr_assert(eq(sz, user.texts.name.len, USER_NAME_BYTES_MAX));
    } else {
        cr_assert(eq(int, bad, -EBADMSG));
        cr_assert(not(fault.malformed));
        cr_assert(strstr(fault.what, "longer than 1024 bytes") != NULL, "%s", fault.what);
    }
}

Test(body, takes_names_of_1024_bytes_of_utf8_and_no_more)
{
    check_long(1024, "a", 0);
    check_long(1025, "a", 422);
    check_long(512, "\xc3\xa9", 0);
    check_long(513, "\xc3\xa9", 422);
    check_long(1024, "\\u0001", 0); /* escapes count as what they stand for */
    check_long(1025, "\\n", 422);
}

Test(body, takes_nesting_of_64_and_no_more)
{
    for (unsigned depth = 63; depth <= 64; depth++) {
        char body[256] = "{\"x\":", end[80];
        size_t len = strlen(body);
        memset(body + len, '[', depth);
        memset(end, ']', depth);
        len += depth;
        len += (size_t)snprintf(body + len, sizeof(body) - len, "%.*s,\"name\":\"A\"}", (int)depth,
                                end);
        struct row row = {body, len, depth == 63 ? 0 : 400, depth == 63 ? "A" : "too deep", 1};
        check(&row);
    }
}

static const char *read_user(const char *body, bool patch, struct body_user *ret_user)
{
    static struct body_text store;
    static struct body_fault fault;
    int bad = patch ? body_read_patch(bytes_of_text(body), &store, ret_user, &fault)
                    : body_read_user(bytes_of_text(body), &store, ret_user, &fault);
    return bad == 0 ? "" : fault.what;
}

Test(body, takes_an_email_or_none)
{
    struct body_user user;
    cr_assert(eq(str, (char *)read_user("{\"email\":\"a@b\",\"name\":\"A\"}", false, &user), ""));
    cr_assert(bytes_equal(user.texts.email, bytes_of_text("a@b")));
    static const char *const none[] = {"{\"name\":\"A\"}", "{\"name\":\"A\",\"email\":null}"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        cr_assert(eq(str, (char *)read_user(none[i], false, &user), ""));
        cr_assert(eq(sz, user.texts.email.len, 0));
    }
}

Test(body, says_what_is_wrong_with_an_email)
{
    static const struct {
        const char *body, *says;
    } rows[] = {
        {"{\"name\":\"A\",\"email\":\"\"}", "email: must be an address"},
        {"{\"name\":\"A\",\"email\":\"ab\"}", "email: must be an address"},
        {"{\"name\":\"A\",\"email\":\"a@b@c\"}", "email: must be an address"},
        {"{\"name\":\"A\",\"email\":\"a b@c\"}", "email: must be an address"},
        {"{\"name\":\"A\",\"email\":\"a@b\\nBcc: c@d\"}", "email: must be an address"},
        {"{\"name\":\"A\",\"email\":\"\\ufeffa@b\"}", "email: must be an address"},
        {"{\"name\":\"A\",\"email\":7}", "email: invalid type: number, expected a string or null"},
        {"{\"name\":\"A\",\"email\":\"a@b\",\"email\":null}", "duplicate field `email`"},
        {"{\"email\":\"a@b\"}", "missing field `name`"},
    };
    struct body_user user;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect(strstr(read_user(rows[i].body, false, &user), rows[i].says) != NULL, "%s: %s",
                  rows[i].body, read_user(rows[i].body, false, &user));
    char body[400] = "{\"name\":\"A\",\"email\":\"@";
    size_t len = strlen(body);
    memset(body + len, 'x', 300);
    memcpy(body + len + 254, "\"}", 3); /* 255 bytes */
    body[len] = 'a';
    cr_expect(strstr(read_user(body, false, &user), "longer than 254 bytes") != NULL);
}

Test(body, a_patch_sets_what_it_has)
{
    static const struct {
        const char *body;
        uint8_t sets;
        const char *name, *email;
    } rows[] = {
        {"{}", 0, "", ""},
        {"{\"x\":1}", 0, "", ""},
        {"{\"name\":\"B\"}", USERS_SETS(USER_TEXT_name), "B", ""},
        {"{\"email\":\"c@d\"}", USERS_SETS(USER_TEXT_email), "", "c@d"},
        {"{\"email\":null}", USERS_SETS(USER_TEXT_email), "", ""},
        {"{\"email\":null,\"name\":\"\"}", USERS_SETS(USER_TEXT_name) | USERS_SETS(USER_TEXT_email),
         "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct body_user user;
        cr_assert(eq(str, (char *)read_user(rows[i].body, true, &user), ""), "%s", rows[i].body);
        cr_expect(eq(u8, user.sets, rows[i].sets));
        cr_expect(bytes_equal(user.texts.name, bytes_of_text(rows[i].name)));
        cr_expect(bytes_equal(user.texts.email, bytes_of_text(rows[i].email)));
    }
}

Test(body, a_patch_may_not_take_the_name_or_be_no_object)
{
    struct body_user user;
    cr_expect(strstr(read_user("{\"name\":null}", true, &user), "name: invalid type: null") !=
              NULL);
    cr_expect(strstr(read_user("[]", true, &user), "invalid type: sequence") != NULL);
    cr_expect(strstr(read_user("\"x\"", true, &user), "invalid type: string") != NULL);
    cr_expect(strstr(read_user("{", true, &user), "Failed to parse") != NULL);
}
