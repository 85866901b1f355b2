#include "app/fcgi_request.h"

#include "tests/app/records.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static uint8_t store[1 << 20];

static struct writer empty(void)
{
    return writer_of(store, sizeof(store));
}

static enum fcgi_request_state scan(const struct writer *out)
{
    cr_assert(not(out->bad));
    return fcgi_request_state(writer_bytes(out));
}

static void put_stdin_end(struct writer *out)
{
    put_record(out, RECORD_STDIN, 1, bytes_of(NULL, 0), 0);
}

Test(fcgi_request, finds_a_request_whole_and_partial_at_every_cut)
{
    struct writer out = empty();
    put_request(&out, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text("{\"name\":1}")});
    struct bytes whole = writer_bytes(&out);
    cr_assert(eq(int, fcgi_request_state(whole), FCGI_REQUEST_WHOLE));
    for (size_t len = 0; len < whole.len; len++) {
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, whole.at, len);
        cr_expect(eq(int, fcgi_request_state(bytes_of(copy, len)), FCGI_REQUEST_PARTIAL),
                  "cut at %zu", len);
        free(copy);
    }
}

Test(fcgi_request, follows_pairs_that_records_split_anywhere)
{
    uint8_t pairs_store[1024];
    char value[300];
    memset(value, 'v', sizeof(value));
    struct writer pairs = writer_of(pairs_store, sizeof(pairs_store));
    put_pair(&pairs, "A", bytes_of(value, 300)); /* one length in a byte, one in four */
    put_pair(&pairs, "", bytes_of(NULL, 0));
    put_pair(&pairs, "B", bytes_of_text("b"));
    struct bytes all = writer_bytes(&pairs);
    for (size_t at = 1; at < all.len; at++) {
        struct writer out = empty();
        put_begin(&out, 1, true);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(all.at, at), 1);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(all.at + at, all.len - at), 0);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(NULL, 0), 0);
        put_stdin_end(&out);
        cr_expect(eq(int, scan(&out), FCGI_REQUEST_WHOLE), "split at %zu", at);
        /* Without its last byte the pairs end in the middle of one. */
        out = empty();
        put_begin(&out, 1, true);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(all.at, at), 1);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(all.at + at, all.len - at - 1), 0);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(NULL, 0), 0);
        put_stdin_end(&out);
        cr_expect(eq(int, scan(&out), FCGI_REQUEST_BROKEN), "split at %zu", at);
    }
}

Test(fcgi_request, tells_bodies_at_and_over_the_limit_apart)
{
    static uint8_t body[REQUEST_BODY_BYTES_MAX + 1];
    struct writer out = empty();
    put_request(&out, &(struct fcgi_ask){.body = bytes_of(body, REQUEST_BODY_BYTES_MAX)});
    cr_assert(eq(int, scan(&out), FCGI_REQUEST_WHOLE));
    out = empty();
    put_request(&out, &(struct fcgi_ask){.body = bytes_of(body, REQUEST_BODY_BYTES_MAX + 1)});
    cr_assert(eq(int, scan(&out), FCGI_REQUEST_TOO_BIG));
    /* … and knows it before the end has come. */
    cr_assert(
        eq(int, fcgi_request_state(bytes_of(store, writer_len(&out) - 8)), FCGI_REQUEST_TOO_BIG));
}

Test(fcgi_request, refuses_parameters_over_the_limit)
{
    static uint8_t value[REQUEST_PARAMS_BYTES_MAX];
    static uint8_t params[REQUEST_PARAMS_BYTES_MAX + 64];
    struct writer pairs = writer_of(params, sizeof(params));
    put_pair(&pairs, "A", bytes_of(value, REQUEST_PARAMS_BYTES_MAX - 6));
    struct bytes all = writer_bytes(&pairs);
    cr_assert(eq(sz, all.len, REQUEST_PARAMS_BYTES_MAX));
    for (unsigned over = 0; over < 2; over++) {
        struct writer out = empty();
        put_begin(&out, 1, true);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(all.at, 60000), 0);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(all.at + 60000, all.len - 60000), 0);
        if (over > 0)
            put_record(&out, RECORD_PARAMS, 1, bytes_of_text("\1"), 0);
        put_record(&out, RECORD_PARAMS, 1, bytes_of(NULL, 0), 0);
        put_stdin_end(&out);
        cr_expect(eq(int, scan(&out), over > 0 ? FCGI_REQUEST_BROKEN : FCGI_REQUEST_WHOLE));
    }
}

/* CVE-2025-23016: name and value of 2^31-1 bytes, whose sum and two wrap to nothing. */
Test(fcgi_request, refuses_lengths_that_libfcgi_would_add_up_wrongly)
{
    static const uint8_t both[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'x'};
    static const uint8_t one[] = {0x04, 0xff, 0xff, 0xff, 0xf0, 'x'};
    const struct bytes pairs[] = {bytes_of(both, sizeof(both)), bytes_of(one, sizeof(one))};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct writer out = empty();
        put_begin(&out, 1, true);
        put_record(&out, RECORD_PARAMS, 1, pairs[i], 0);
        cr_expect(eq(int, scan(&out), FCGI_REQUEST_BROKEN));
    }
}

static struct writer request_but(unsigned what)
{
    struct writer out = empty();
    static const uint8_t filter[8] = {0, 3, 1}, responder[8] = {0, 1, 1};
    if (what == 0)
        put_record(&out, RECORD_GET_VALUES, 0, bytes_of(NULL, 0), 0);
    else if (what == 1)
        put_record(&out, RECORD_BEGIN, 1, bytes_of(filter, 8), 0);
    else if (what == 2)
        put_record(&out, RECORD_BEGIN, 1, bytes_of(responder, 7), 0);
    else if (what == 3)
        put_record(&out, RECORD_PARAMS, 1, bytes_of(NULL, 0), 0);
    else
        put_begin(&out, 1, true);
    if (what == 4)
        put_begin(&out, 1, true);
    if (what == 5)
        put_record(&out, RECORD_STDIN, 1, bytes_of(NULL, 0), 0);
    if (what == 6)
        put_record(&out, RECORD_PARAMS, 2, bytes_of(NULL, 0), 0);
    put_record(&out, RECORD_PARAMS, 1, bytes_of(NULL, 0), 0);
    if (what == 7)
        put_record(&out, RECORD_ABORT, 1, bytes_of(NULL, 0), 0);
    if (what == 8)
        put_record(&out, RECORD_PARAMS, 1, bytes_of(NULL, 0), 0);
    put_stdin_end(&out);
    if (what == 9)
        put_u8(&out, 1); /* the next request, in a hurry */
    return out;
}

Test(fcgi_request, refuses_what_no_web_server_sends)
{
    for (unsigned what = 0; what < 10; what++) {
        struct writer out = request_but(what);
        cr_expect(eq(int, scan(&out), FCGI_REQUEST_BROKEN), "variation %u", what);
    }
    struct writer out = request_but(10);
    cr_assert(eq(int, scan(&out), FCGI_REQUEST_WHOLE));
    store[0] = 2; /* the version */
    cr_assert(eq(int, scan(&out), FCGI_REQUEST_BROKEN));
    cr_assert(eq(int, fcgi_request_state(bytes_of_text("GET /users HTTP/1.1\r\n\r\n")),
                 FCGI_REQUEST_BROKEN));
}
