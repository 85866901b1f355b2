#include "app/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static int read_from(char **environment, struct bytes body, struct request *ret_request)
{
    struct request_fault fault;
    int bad = request_read(environment, body, false, ret_request, &fault);
    if (bad != 0)
        cr_assert(fault.what != NULL);
    return bad;
}

#define ENVIRONMENT(...) ((char *[]){__VA_ARGS__, NULL})

Test(request, is_read_from_its_environment)
{
    struct request request;
    char **environment =
        ENVIRONMENT("FCGI_ROLE=RESPONDER", "REQUEST_METHOD=POST", "REQUEST_URI=/users?a=b",
                    "CONTENT_TYPE=application/json", "CONTENT_LENGTH=2", "HTTP_PROXY=http://evil",
                    "REQUEST_ID=000102030405060708090a0b0c0d0eFF", "SERVER_ADDR=::1",
                    "HTTP_AUTHORIZATION=Bearer x", "HTTP_AUTHORIZED=no", "SERVER_ADDRESS=no");
    cr_assert(eq(int, read_from(environment, bytes_of_text("{}"), &request), 0));
    cr_assert(eq(int, request.method, METHOD_POST));
    cr_assert(bytes_equal(request.path, bytes_of_text("/users")));
    cr_assert(bytes_equal(request.query, bytes_of_text("a=b")));
    cr_assert(bytes_equal(request.content_type, bytes_of_text("application/json")));
    cr_assert(bytes_equal(request.body, bytes_of_text("{}")));
    cr_assert(bytes_equal(request.address, bytes_of_text("::1")));
    cr_assert(bytes_equal(request.authorization, bytes_of_text("Bearer x")));
    static const struct request_id id = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}};
    cr_assert(request_id_equal(&request.id, &id));
}

Test(request, keeps_its_path_raw)
{
    static const char *const paths[] = {"/users/",    "//users",   "/user%73",    "/./users",
                                        "/users;x=1", "/users%2F", "/users#frag", "/%E3%81%82",
                                        "*",          ""};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char uri[64];
        snprintf(uri, sizeof(uri), "REQUEST_URI=%s", paths[i]);
        struct request request;
        char **environment = ENVIRONMENT("REQUEST_METHOD=GET", uri);
        cr_assert(eq(int, read_from(environment, bytes_of(NULL, 0), &request), 0));
        cr_expect(bytes_equal(request.path, bytes_of_text(paths[i])));
        cr_expect(eq(sz, request.query.len, 0));
    }
}

Test(request, has_methods_of_exactly_these_names)
{
    static const struct {
        char *entry;
        enum method method;
    } rows[] = {
        {"REQUEST_METHOD=GET", METHOD_GET},    {"REQUEST_METHOD=HEAD", METHOD_HEAD},
        {"REQUEST_METHOD=POST", METHOD_POST},  {"REQUEST_METHOD=OPTIONS", METHOD_OPTIONS},
        {"REQUEST_METHOD=get", METHOD_OTHER},  {"REQUEST_METHOD=GETS", METHOD_OTHER},
        {"REQUEST_METHOD=", METHOD_OTHER},     {"REQUEST_METHOD=DELETE", METHOD_DELETE},
        {"REQUEST_METHOD=PUT", METHOD_PUT},    {"REQUEST_METHOD=PATCH", METHOD_PATCH},
        {"REQUEST_METHOD=BREW", METHOD_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request request;
        char **environment = ENVIRONMENT(rows[i].entry, "REQUEST_URI=/users");
        cr_assert(eq(int, read_from(environment, bytes_of(NULL, 0), &request), 0));
        cr_expect(eq(int, request.method, rows[i].method), "%s", rows[i].entry);
    }
}

Test(request, without_method_or_uri_is_refused)
{
    struct request request;
    cr_assert(eq(int, read_from(ENVIRONMENT("REQUEST_METHOD=GET"), bytes_of(NULL, 0), &request),
                 -EBADMSG));
    cr_assert(eq(int, read_from(ENVIRONMENT("REQUEST_URI=/users"), bytes_of(NULL, 0), &request),
                 -EBADMSG));
}

Test(request, with_two_authorizations_is_refused)
{
    struct request request;
    char **environment = ENVIRONMENT("REQUEST_METHOD=GET", "REQUEST_URI=/users",
                                     "HTTP_AUTHORIZATION=Bearer a", "HTTP_AUTHORIZATION=Bearer a");
    cr_assert(eq(int, read_from(environment, bytes_of(NULL, 0), &request), -EBADMSG));
}

Test(request, with_a_doubled_parameter_is_refused)
{
    static char *const doubles[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/x", "CONTENT_TYPE=a/b",
                                    "CONTENT_LENGTH=", "REQUEST_ID="};
    for (size_t i = 0; i < ARRAY_LEN(doubles); i++) {
        struct request request;
        char **environment =
            ENVIRONMENT("REQUEST_METHOD=GET", "REQUEST_URI=/users",
                        "CONTENT_TYPE=", "CONTENT_LENGTH=", "REQUEST_ID=", doubles[i]);
        cr_expect(eq(int, read_from(environment, bytes_of(NULL, 0), &request), -EBADMSG));
    }
    /* Others may come twice: they are not looked at. */
    struct request request;
    char **environment =
        ENVIRONMENT("HTTP_X=1", "HTTP_X=2", "REQUEST_METHOD=GET", "REQUEST_URI=/users");
    cr_assert(eq(int, read_from(environment, bytes_of(NULL, 0), &request), 0));
}

Test(request, whose_length_lies_is_refused)
{
    static const struct {
        char *entry;
        bool good;
    } rows[] = {
        {"CONTENT_LENGTH=3", true},
        {"CONTENT_LENGTH=", true},
        {"CONTENT_LENGTH=003", true},
        {"CONTENT_LENGTH=2", false},
        {"CONTENT_LENGTH=4", false},
        {"CONTENT_LENGTH=-3", false},
        {"CONTENT_LENGTH=3x", false},
        {"CONTENT_LENGTH= 3", false},
        {"CONTENT_LENGTH=0x3", false},
        {"CONTENT_LENGTH=55340232221128654851", false}, /* 3 × 2^64 + 3 */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request request;
        char **environment =
            ENVIRONMENT("REQUEST_METHOD=POST", "REQUEST_URI=/users", rows[i].entry);
        int bad = read_from(environment, bytes_of_text("abc"), &request);
        cr_expect(eq(int, bad, rows[i].good ? 0 : -EBADMSG), "%s", rows[i].entry);
    }
}

Test(request, with_too_big_a_body_is_read_all_the_same)
{
    struct request request;
    struct request_fault fault;
    char **environment =
        ENVIRONMENT("REQUEST_METHOD=PUT", "REQUEST_URI=/users", "CONTENT_LENGTH=9999999");
    cr_assert(eq(int, request_read(environment, bytes_of(NULL, 0), true, &request, &fault), 0));
    cr_assert(request.too_big);
}

Test(request, without_a_good_id_gets_one_of_its_own)
{
    static char *const ids[] = {"REQUEST_ID=", "REQUEST_ID=0123",
                                "X=", "REQUEST_ID=000102030405060708090a0b0c0d0e0g",
                                "REQUEST_ID=000102030405060708090a0b0c0d0e0f0"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct request first, second;
        char **environment = ENVIRONMENT("REQUEST_METHOD=GET", "REQUEST_URI=/", ids[i]);
        cr_assert(eq(int, read_from(environment, bytes_of(NULL, 0), &first), 0));
        cr_assert(eq(int, read_from(environment, bytes_of(NULL, 0), &second), 0));
        cr_expect(not(request_id_equal(&first.id, &second.id)));
    }
}

/* --- Content-Type ----------------------------------------------------------------------------- */

static bool is_json(const char *type)
{
    struct request request = {.content_type = bytes_of_text(type)};
    return request_is_json(&request);
}

Test(content_type, is_json_in_all_its_spellings)
{
    static const char *const types[] = {
        "application/json",
        " application/json",
        "Application/JSON ",
        "application/json;",
        "application/json ; charset=utf-8",
        "application/json; charset=\"utf-8\"",
        "application/json;charset=utf-16;x=\"a\\\"b;c\"",
        "application/vnd.x+json",
        "application/problem+JSON; q=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        cr_expect(is_json(types[i]), "refused %s", types[i]);
}

Test(content_type, is_not_json_when_it_is_another_or_none)
{
    static const char *const types[] = {
        "",
        " ",
        "json",
        "application",
        "application/",
        "/json",
        "text/json",
        "text/plain",
        "image/x+json",
        "*/*",
        "application/*",
        "application/json-seq",
        "application/jsonx",
        "application/+json",
        "application/xjson",
        "application/x-www-form-urlencoded",
        "application/json, text/plain",
        "application/json,application/json",
        "application/json; charset",
        "application/json; =x",
        "application/json; a=\"b",
        "application /json",
        "application/json x",
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        cr_expect(not(is_json(types[i])), "took %s", types[i]);
}

/* --- query ------------------------------------------------------------------------------------ */

static int parameter(const char *query, const char *name, char value[16])
{
    struct request request = {.query = bytes_of_text(query)};
    struct writer out = writer_of(value, 15);
    int found = request_parameter(&request, name, &out);
    value[writer_len(&out)] = '\0';
    return found;
}

Test(query, gives_a_parameter_by_its_name)
{
    static const struct {
        const char *query;
        int found;
        const char *value;
    } rows[] = {
        {"", 0, ""},         {"a", 1, ""},
        {"a=", 1, ""},       {"a=1", 1, "1"},
        {"b=2&a=1", 1, "1"}, {"a=1&b=2", 1, "1"},
        {"&&a=1&", 1, "1"},  {"aa=1&ba=2&A=3", 0, ""},
        {"a=b=c", 1, "b=c"}, {"%61=1", 1, "1"},
        {"%41=1", 0, ""},    {"a=%31%2b+%C3%a9", 1, "1+ \xc3\xa9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char value[16];
        cr_expect(eq(int, parameter(rows[i].query, "a", value), rows[i].found), "%s",
                  rows[i].query);
        cr_expect(eq(str, value, (char *)rows[i].value), "%s", rows[i].query);
    }
}

Test(query, names_the_first_parameter_that_is_not_known)
{
    static const char *const good[] = {"", "&&", "=", "a", "a=1&b=2", "%61=1&%62", "a&a"};
    static const struct {
        const char *query, *name;
    } bad[] = {
        {"c", "c"},         {"a=1&aa=2", "aa"}, {"A=1", "A"},     {"=1", ""},
        {"a%=1", "a%"},     {"%63=1&d", "%63"}, {"a b=1", "a?b"}, {"\xc3\xa9=1", "??"},
        {"a%00=1", "a%00"}, {"a+b=1", "a+b"},   {" a=1", "?a"},
    };
    char name[REQUEST_NAME_SHOWN], longest[200];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct request request = {.query = bytes_of_text(good[i])};
        cr_expect(not(request_unknown_parameter(&request, "a b", name)), "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct request request = {.query = bytes_of_text(bad[i].query)};
        cr_expect(request_unknown_parameter(&request, "a b", name), "%s", bad[i].query);
        cr_expect(eq(str, name, (char *)bad[i].name));
    }
    memset(longest, 'x', sizeof(longest));
    struct request request = {.query = bytes_of((uint8_t *)longest, sizeof(longest))};
    cr_expect(request_unknown_parameter(&request, "a b", name));
    cr_expect(eq(sz, strlen(name), REQUEST_NAME_SHOWN - 1));
}

Test(query, refuses_a_parameter_that_is_doubled_or_badly_written)
{
    static const char *const queries[] = {
        "a=1&a=1", "a&a", "a=%", "a=%4", "a=%4g", "a=%zz", "a=0123456789abcdef"};
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        char value[16];
        cr_expect(eq(int, parameter(queries[i], "a", value), -EINVAL), "%s", queries[i]);
    }
}

Test(request, has_a_parameter_as_many_times_as_it_likes_for_who_asks_so)
{
    struct reader in = reader_of(bytes_of_text("a=1&b=x&a=%32&a&ab=3&a=%zz"));
    static const char *const values[] = {"1", "2", ""};
    uint8_t value[8];
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct writer out = writer_of(value, sizeof(value));
        cr_assert(eq(int, request_parameter_next(&in, "a", &out), 1));
        cr_expect(bytes_equal(writer_bytes(&out), bytes_of_text(values[i])), "%s", values[i]);
    }
    struct writer out = writer_of(value, sizeof(value));
    cr_assert(request_parameter_next(&in, "a", &out) < 0);
    cr_assert(eq(int, request_parameter_next(&in, "a", &out), 0));
}

/* --- Content-Encoding ------------------------------------------------------------------------- */

Test(content_encoding, is_any_that_would_have_to_be_decoded)
{
    static const struct {
        const char *line[2];
        bool coded;
    } rows[] = {
        {{NULL}, false},
        {{""}, false},
        {{" \t"}, false},
        {{"identity"}, false},
        {{"Identity"}, false},
        {{"identity, ,identity"}, false},
        {{"", "identity"}, false},
        {{"gzip"}, true},
        {{"GZIP"}, true},
        {{"identity,gzip"}, true},
        {{"identity", "br"}, true},
        {{"identitygzip"}, true},
        {{"identity;q=1"}, true},
        {{"aws-chunked"}, true},
        {{"\"identity\""}, true},
        {{"/"}, true},
        {{"identity identity"}, true},
        {{","}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request request = {.content_encoding = {.count = 0}};
        for (size_t j = 0; j < ARRAY_LEN(rows[i].line) && rows[i].line[j] != NULL; j++)
            request.content_encoding.line[request.content_encoding.count++] = rows[i].line[j];
        cr_expect(eq(int, request_is_coded(&request), rows[i].coded), "row %zu", i);
    }
    struct request request;
    char **environment = ENVIRONMENT("REQUEST_METHOD=POST", "REQUEST_URI=/users",
                                     "HTTP_CONTENT_ENCODING=identity", "HTTP_CONTENT_ENCODING=br");
    cr_assert(eq(int, read_from(environment, bytes_of_text("{}"), &request), 0));
    cr_assert(request_is_coded(&request));
}
