/* Idempotency-Key: what is one, and what it stands for. */
#include "app/idempotency.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static const uint8_t nobody[IDEMPOTENCY_SCOPE_BYTES];

static struct request request_with(const char *key)
{
    return (struct request){
        .method = METHOD_POST,
        .path = bytes_of_text("/users"),
        .query = bytes_of_text(""),
        .body = bytes_of_text("{\"name\":\"Ann\"}"),
        .idempotency_key = key,
    };
}

static struct users_key key_of(const struct request *request, const uint8_t *scope)
{
    struct users_key key;
    const char *fault = idempotency_read(request, scope, &key);
    cr_assert(fault == NULL, "%s: %s", request->idempotency_key, fault);
    return key;
}

static bool is_one_key(const char *a, const char *b)
{
    struct request requests[2] = {request_with(a), request_with(b)};
    struct users_key keys[2] = {key_of(&requests[0], nobody), key_of(&requests[1], nobody)};
    cr_assert(request_id_equal(&keys[0].fingerprint, &keys[1].fingerprint));
    return request_id_equal(&keys[0].id, &keys[1].id);
}

Test(idempotency, a_key_is_the_same_bare_and_in_quotes)
{
    cr_expect(is_one_key("8e03978e-40d5-43e8", "\"8e03978e-40d5-43e8\""));
    cr_expect(is_one_key("a", "a \t"));
    cr_expect(is_one_key("a\\b", "\"a\\\\b\""));
    cr_expect(is_one_key("\"\\\"\"", "\"\\\"\""));
    cr_expect(not(is_one_key("a", "A")));
    cr_expect(not(is_one_key("a", "aa")));
    cr_expect(not(is_one_key("\"a b\"", "\"a  b\"")));
    cr_expect(not(is_one_key("\"a \"", "\"a\"")));
}

Test(idempotency, what_is_no_key_is_refused)
{
    static char longest[258], too_long[260], escaped[516];
    memset(longest, 'k', 255);
    memset(too_long, 'k', 256);
    memset(escaped, '\\', 2 * 255 + 2);
    escaped[0] = escaped[511] = '"';
    struct request good = request_with(longest);
    (void)key_of(&good, nobody);
    good.idempotency_key = escaped; /* 255 backslashes */
    (void)key_of(&good, nobody);
    const char *const bad[] = {"",         " ",        "\"\"",     "\"",           "\"a",
                               "a\"",      "a b",      "a,b",      "a;b",          "\"a\"b\"",
                               "\"a\\\"",  "\"a\\n\"", "\xc3\xa9", "\"\xc3\xa9\"", "\x01",
                               "\"a\tb\"", "\"\x7f\"", " a",       "\"a\";x=1",    too_long};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct request request = request_with(bad[i]);
        struct users_key key;
        cr_expect(idempotency_read(&request, nobody, &key) != NULL, "took: %s", bad[i]);
    }
}

Test(idempotency, one_clients_keys_are_not_anothers)
{
    struct request request = request_with("k");
    static const uint8_t somebody[IDEMPOTENCY_SCOPE_BYTES] = {1};
    struct users_key a = key_of(&request, nobody), b = key_of(&request, somebody);
    cr_assert(not(request_id_equal(&a.id, &b.id)));
    cr_assert(request_id_equal(&a.fingerprint, &b.fingerprint));
}

Test(idempotency, the_fingerprint_is_of_all_that_the_request_asks)
{
    struct request first = request_with("k");
    struct request others[8];
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        others[i] = first;
    others[0].method = METHOD_PUT;
    others[1].path = bytes_of_text("/users/1");
    others[2].query = bytes_of_text("x=1");
    others[3].body = bytes_of_text("{\"name\":\"Bob\"}");
    others[4].if_match = (struct request_lines){.count = 1, .line = {"\"1\""}};
    others[5].if_none_match = (struct request_lines){.count = 1, .line = {"\"1\""}};
    others[6].if_match = (struct request_lines){.count = 2, .line = {"\"1\"", ""}};
    others[7].path = bytes_of_text("/user"); /* what moves from one to the next is another */
    others[7].query = bytes_of_text("s");
    struct users_key seen[9] = {key_of(&first, nobody)};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        seen[i + 1] = key_of(&others[i], nobody);
        cr_expect(request_id_equal(&seen[i + 1].id, &seen[0].id));
        for (size_t j = 0; j <= i; j++)
            cr_expect(not(request_id_equal(&seen[i + 1].fingerprint, &seen[j].fingerprint)),
                      "%zu and %zu", i, j);
    }
}

Test(idempotency, the_largest_request_has_one)
{
    static char body[64 << 10], line[8 << 10];
    memset(body, 'b', sizeof(body));
    memset(line, 'l', sizeof(line) - 1);
    struct request request = request_with("k");
    request.body = bytes_of(body, sizeof(body));
    for (unsigned i = 0; i < REQUEST_LINES_MAX; i++)
        request.if_match.line[request.if_match.count++] = line;
    (void)key_of(&request, nobody);
}

Test(idempotency, a_request_id_is_bound_to_who_sent_it)
{
    static const uint8_t ann[IDEMPOTENCY_SCOPE_BYTES] = {1}, bob[IDEMPOTENCY_SCOPE_BYTES] = {2};
    struct request_id id = {.at = {1, 2, 3}};
    struct request_id as_nobody = idempotency_scoped(&id, nobody),
                      as_ann = idempotency_scoped(&id, ann);
    struct request_id again = idempotency_scoped(&id, ann), as_bob = idempotency_scoped(&id, bob);
    cr_assert(request_id_equal(&as_nobody, &id));
    cr_assert(request_id_equal(&as_ann, &again));
    cr_assert(not(request_id_equal(&as_ann, &id)));
    cr_assert(not(request_id_equal(&as_ann, &as_bob)));
}
