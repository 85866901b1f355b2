/*
 * Requests that a fixed seed mangles, as records and as what is in them, sent to the real worker:
 * it lives, answers what is well formed with a status that it has, or closes; and serves a good
 * request on the next connection.
 */
#include "tests/app/stage.h"

#include "tests/users/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(mangled, .timeout = 120);

#define PLAYS 6000u

/* What requests are made of; NULLs are left out. */
static const char *const methods[] = {"GET",     "POST",    "PUT", "PATCH", "DELETE",    "HEAD",
                                      "OPTIONS", "CONNECT", "",    "get",   "P\xc3\xa9T"};
static const char *const uris[] = {"/users",
                                   "/users/1",
                                   "/users/9007199254740991",
                                   "/users/0",
                                   "/users?limit=2&after=1",
                                   "/users?name=Ann&min_index=3",
                                   "/users?email=a%40b&consistency=stale",
                                   "/livez",
                                   "/readyz?verbose",
                                   "/cluster",
                                   "/metrics",
                                   "",
                                   "*",
                                   "/%",
                                   "/users/1/2"};
static const char *const types[] = {"application/json", "application/merge-patch+json",
                                    "application/json; charset=\"", "", "text/plain"};
static const char *const bodies[] = {"{\"name\":\"Ann\"}",
                                     "{\"name\":\"\\ud83d\\ude00\",\"email\":\"a@b\"}",
                                     "{\"email\":null}",
                                     "{\"name\":\"a\",\"name\":\"b\"}",
                                     "[[[[[[[[]]]]]]]]",
                                     "{\"name\":{\"a\":[1e9,-0.0,true,null]}}",
                                     "",
                                     "\"\\u0000\""};
static const char *const headers[] = {NULL,
                                      "HTTP_IF_MATCH=\"1\", W/\"2\",,*",
                                      "HTTP_IF_MATCH=*",
                                      "HTTP_IF_NONE_MATCH=\"3\"",
                                      "HTTP_IF_NONE_MATCH=W/\"",
                                      "HTTP_IDEMPOTENCY_KEY=\"a\\\"b\"",
                                      "HTTP_IDEMPOTENCY_KEY=k",
                                      "HTTP_AUTHORIZATION=Bearer x",
                                      "CONTENT_LENGTH=99999999999999999999",
                                      "REQUEST_METHOD=GET"};

#define ANY_OF(chance, list) ((list)[chance_below((chance), ARRAY_LEN(list))])

/* Some bytes become others, go, or come twice; more of them with luck. */
static struct bytes mangle(struct chance *chance, struct bytes whole, uint8_t *at, size_t room)
{
    size_t len = whole.len < room ? whole.len : room;
    memcpy(at, whole.at, len);
    for (uint64_t edits = chance_below(chance, 6); edits > 0 && len > 0; edits--) {
        size_t place = chance_below(chance, len), count = 1 + chance_below(chance, 12);
        count = count < len - place ? count : len - place;
        switch (chance_below(chance, 5)) {
        case 0:
            at[place] ^= (uint8_t)(1u << chance_below(chance, 8));
            break;
        case 1:
            at[place] = (uint8_t)chance_u64(chance);
            break;
        case 2:
            memmove(at + place, at + place + count, len - place - count);
            len -= count;
            break;
        case 3:
            if (len + count > room)
                break;
            memmove(at + place + count, at + place, len - place);
            len += count;
            break;
        default:
            len = chance_below(chance, 8) == 0 ? place : len;
            break;
        }
    }
    return bytes_of(at, len);
}

/* Mangled texts in good records, or good texts in mangled records, or both. */
static struct bytes any_request(struct chance *chance, uint8_t *at, size_t room, bool *ret_whole)
{
    static char uri[256], header[3][256];
    static uint8_t whole[16384], body[512];
    bool inner = chance_below(chance, 2) == 0, outer = !inner || chance_below(chance, 4) == 0;
    struct fcgi_ask ask = {
        .method = ANY_OF(chance, methods),
        .content_type = ANY_OF(chance, types),
        .uri = ANY_OF(chance, uris),
        .body = bytes_of_text(ANY_OF(chance, bodies)),
        .close = chance_below(chance, 2) == 0,
    };
    for (size_t i = 0, n = 0; i < 3; i++) {
        const char *text = ANY_OF(chance, headers);
        if (text == NULL)
            continue;
        size_t name = (size_t)(strchr(text, '=') - text) + 1;
        memcpy(header[n], text, name);
        struct bytes value = bytes_of_text(text + name);
        if (inner)
            value = mangle(chance, value, (uint8_t *)header[n] + name, 100);
        else
            memcpy(header[n] + name, value.at, value.len);
        header[n][name + value.len] = '\0';
        ask.headers[n] = header[n];
        n++;
    }
    if (inner) {
        ask.body = mangle(chance, ask.body, body, sizeof(body));
        uri[mangle(chance, bytes_of_text(ask.uri), (uint8_t *)uri, 200).len] = '\0';
        ask.uri = uri;
    }
    struct writer out = writer_of(whole, sizeof(whole));
    put_request(&out, &ask);
    must(!out.bad);
    *ret_whole = !outer;
    return outer ? mangle(chance, writer_bytes(&out), at, room)
                 : bytes_of(memcpy(at, whole, writer_len(&out)), writer_len(&out));
}

static bool is_known(int status)
{
    static const int known[] = {200, 201, 204, 304, 400, 401, 403, 404, 405,
                                409, 412, 413, 415, 422, 429, 503, 504};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i] == status)
            return true;
    return false;
}

/*
 * Good records have an answer, whatever is in them; to others there may be one, or the worker waits
 * for more. True when it was answered.
 */
static bool expect_sense(int fd, bool whole, unsigned long long play)
{
    struct reply *reply = fcgi_receive(fd, whole ? 5000 : 2);
    bool answered = reply->ended && reply->head[0] != '\0';
    cr_assert(answered || !whole, "play %llu: no answer", play);
    if (answered) {
        cr_assert(is_known(reply->status), "play %llu: status %d: %s", play, reply->status,
                  reply->head);
        cr_assert(strstr(reply->head, "\r\n\r\n") != NULL);
        if (reply->status >= 400 && reply->body_len > 0)
            cr_assert(reply->body[0] == '{' || reply_header(reply, "Content-Type")[0] == 't',
                      "play %llu: %s%s", play, reply->head, reply->body);
    }
    free(reply);
    return answered;
}

Test(mangled, requests_are_answered_or_closed_and_the_next_is_served)
{
    static uint8_t at[32768];
    struct stage *stage = stage_start((struct stage_options){0});
    struct chance chance = {20260801};
    pid_t worker = stage_worker(stage);
    unsigned answered = 0;
    for (uint64_t play = 0; play < PLAYS; play++) {
        int fd = fcgi_connect(stage);
        bool whole;
        struct bytes bytes = any_request(&chance, at, sizeof(at), &whole);
        fcgi_send_bytes(fd, bytes);
        answered += expect_sense(fd, whole, play);
        close(fd);
        if (play % 50 != 0)
            continue;
        struct reply *reply = fcgi_post(stage, "{\"name\":\"Zoe\"}");
        cr_assert(reply->ended && reply->status == 201, "after play %llu",
                  (unsigned long long)play);
        free(reply);
    }
    cr_assert(eq(int, stage_worker(stage), worker), "the same worker all along");
    cr_assert(gt(uint, answered, PLAYS / 3));
    stage_stop(stage);
}
