#include "app/listing.h"

#include "app/exchange.h"
#include "app/note.h"
#include "app/reading.h"
#include "raft/users/user_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What is written at a time; the head goes with the first. */
#define PIECE_BYTES_MAX (FASTCGI_WRITE_BYTES_MAX - RESPONSE_HEAD_BYTES_MAX)
/* A user as JSON, with a comma before it. */
#define JSON_USER_BYTES_MAX (USER_JSON_BYTES_MAX + 1u)

_Static_assert(PIECE_BYTES_MAX > 4 * JSON_USER_BYTES_MAX, "a piece holds several of any users");

static uint8_t piece[FASTCGI_WRITE_BYTES_MAX]; /* one loop, one piece at a time */

static void go_on(struct exchange *x);

static void free_packed(struct exchange *x)
{
    free(x->listing.packed);
}

static const struct body_sender sender = {.on_room = go_on, .done = free_packed};

/* --- the question ----------------------------------------------------------------------------- */

/* Who is looked for, if anybody: into x->call.ask.list. NULL, or what is wrong. */
static const char *look_for(struct exchange *x)
{
    struct call_list *list = &x->call.ask.list;
    struct writer out = writer_of(x->text, sizeof(x->text));
    int by_name = request_parameter(&x->request, "name", &out);
    int by_email = by_name == 0 ? request_parameter(&x->request, "email", &out) : 0;
    if (by_name < 0 || by_email < 0)
        return "`name` and `email` must be well encoded and at most 1024 bytes, once";
    if (by_name > 0 && request_has_parameter(&x->request, "email"))
        return "a list is by `name` or by `email`, not by both";
    list->by = by_name > 0 ? CALL_BY_NAME : by_email > 0 ? CALL_BY_EMAIL : CALL_BY_ID;
    list->text = writer_bytes(&out);
    return json_utf8_valid(list->text) ? NULL : "`name` and `email` must be UTF-8";
}

static const char *read_query(struct exchange *x)
{
    struct listing *l = &x->listing;
    x->sender = &sender;
    *l = (struct listing){.packed = NULL};
    uint64_t after = 0;
    const char *fault = reading_begin(x);
    if (fault != NULL)
        return fault;
    if (reading_number(&x->request, "limit", 1, LISTING_LIMIT_MAX, &l->limit) < 0)
        return "`limit` must be a number from 1 to 1000, once";
    if (reading_number(&x->request, "after", 0, USER_ID_MAX, &after) < 0)
        return "`after` must be the id of a user, once";
    x->call.ask.list.after = after;
    x->call.ask.list.limit = l->limit > 0 ? (uint32_t)l->limit + 1 : 0;
    return look_for(x);
}

/* --- packed users → JSON ---------------------------------------------------------------------- */

/* Writes users while there is room for any user; `bad` says that they are not what they should be.
 */
static void put_users(struct writer *out, struct reader *in, bool *comma)
{
    while (reader_left(in) > 0 && writer_room(out) >= JSON_USER_BYTES_MAX) {
        struct user user = user_get(in);
        if (in->bad || !user_texts_fit(&user.texts)) {
            in->bad = true;
            return;
        }
        if (*comma)
            put_raw(out, bytes_of(",", 1));
        *comma = true;
        user_json_put(out, &user);
    }
}

/* The length of all of them as a JSON array; 0 when they are not what they should be. */
static uint64_t json_length(struct bytes packed)
{
    struct reader in = reader_of(packed);
    uint64_t length = 2;
    bool comma = false;
    while (reader_left(&in) > 0) {
        struct writer out = writer_of(piece, sizeof(piece));
        put_users(&out, &in, &comma);
        if (in.bad)
            return 0;
        length += writer_len(&out);
    }
    return length;
}

/* --- answers ---------------------------------------------------------------------------------- */

static struct response list_response(const struct exchange *x)
{
    struct response response = reading_response(x, x->listing.index, x->listing.changed);
    response.vary = "Accept-Encoding"; /* nginx compresses it (nginx.conf) */
    return response;
}

/* Before the head is out there is still a word to say; after it, only a cut. */
static void fail(struct exchange *x, const char *why)
{
    node_client_cancel(x->service->node, &x->call);
    bool begun = x->listing.begun;
    exchange_body_done(x);
    if (!begun) {
        respond_refused(x, why);
        return;
    }
    note("list-cut", "text=\"%s\"", why);
    exchange_ended(x, COUNTS_CUT);
    connection_abort(x->connection);
}

static void fail_distrusting(struct exchange *x)
{
    node_client_distrust(x->service->node, "its users cannot be read");
    fail(x, "the node's answer could not be read");
}

static void finish(struct exchange *x)
{
    exchange_body_done(x);
    exchange_ended(x, 200);
    connection_finish(x->connection);
}

/* The whole list in one write, when it fits; false when it does not, and nothing is written. */
static bool answer_small(struct exchange *x, struct bytes packed, struct response *response)
{
    static uint8_t body[PIECE_BYTES_MAX];
    struct writer json = writer_of(body, sizeof(body));
    struct reader in = reader_of(packed);
    bool comma = false;
    put_raw(&json, bytes_of("[", 1));
    put_users(&json, &in, &comma);
    if (in.bad) {
        fail_distrusting(x);
        return true;
    }
    put_raw(&json, bytes_of("]", 1));
    if (reader_left(&in) > 0 || json.bad)
        return false;
    if (writer_len(&json) > 4096 && !connection_has_room(x->connection))
        return false; /* what fits into one packet always does, or the peer is none of ours */
    response->body = writer_bytes(&json);
    exchange_body_done(x);
    respond(x, response);
    return true;
}

/* Keeps a copy of `users` behind what is there; false when there is no memory. */
static bool keep(struct listing *l, struct bytes users)
{
    if (users.len == 0)
        return true;
    size_t need = l->packed_len + users.len;
    if (need > l->packed_capacity) {
        size_t capacity = l->packed_capacity > 0 ? 2 * l->packed_capacity : CALL_CHUNK_BYTES_MAX;
        capacity = capacity < need ? need : capacity;
        uint8_t *packed = realloc(l->packed, capacity);
        if (packed == NULL)
            return false;
        l->packed = packed;
        l->packed_capacity = capacity;
    }
    assert(l->packed != NULL);
    memcpy(l->packed + l->packed_len, users.at, users.len);
    l->packed_len = need;
    return true;
}

/* Writes what the peer takes now, then waits for room or for the node. */
static void go_on(struct exchange *x)
{
    struct listing *l = &x->listing;
    while (l->packed_at < l->packed_len) {
        if (!connection_has_room(x->connection)) {
            connection_await_room(x->connection);
            return;
        }
        struct writer out = writer_of(piece, PIECE_BYTES_MAX);
        struct reader in =
            reader_of(bytes_of(l->packed + l->packed_at, l->packed_len - l->packed_at));
        put_users(&out, &in, &l->first_written);
        if (in.bad) {
            fail_distrusting(x);
            return;
        }
        l->packed_at = l->packed_len - reader_left(&in);
        if (!connection_write(x->connection, writer_bytes(&out))) {
            fail(x, "the client is gone");
            return;
        }
    }
    l->packed_at = l->packed_len = 0;
    if (l->last) {
        if (connection_write(x->connection, bytes_of("]", 1)))
            finish(x);
        else
            fail(x, "the client is gone");
        return;
    }
    node_client_more(x->service->node, &x->call);
}

/* Writes the head and begins to write what is kept. */
static void begin_stream(struct exchange *x, const struct response *response)
{
    struct writer out = writer_of(piece, sizeof(piece));
    response_put(&out, response);
    if (!response->omit_body)
        put_raw(&out, bytes_of("[", 1));
    assert(!out.bad);
    x->listing.begun = true;
    if (!connection_write(x->connection, writer_bytes(&out))) {
        fail(x, "the client is gone");
    } else if (response->omit_body) {
        node_client_cancel(x->service->node, &x->call);
        finish(x);
    } else {
        go_on(x);
    }
}

static void answer_known(struct exchange *x, struct bytes packed, struct response *response)
{
    struct listing *l = &x->listing;
    if (answer_small(x, packed, response))
        return;
    response->length_is = LENGTH_GIVEN;
    response->length = json_length(packed);
    if (response->length == 0)
        fail_distrusting(x);
    else if (l->packed == NULL && !keep(l, packed))
        fail(x, "out of memory");
    else
        begin_stream(x, response);
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Cuts the page to its limit; the id of its last user, or 0 when no user stands behind it. */
static uint64_t cut_page(struct exchange *x, struct bytes *page)
{
    struct reader in = reader_of(*page);
    uint64_t last_id = 0;
    for (uint64_t i = 0; i < x->listing.limit && reader_left(&in) > 0; i++)
        last_id = user_get(&in).id;
    size_t beyond = reader_left(&in);
    if (in.bad || beyond == 0)
        return 0;
    page->len -= beyond;
    return last_id;
}

/* A query parameter with its value, all but RFC 3986's unreserved characters encoded. */
static void put_parameter(struct writer *out, const char *name, struct bytes value)
{
    static const char digits[] = "0123456789ABCDEF";
    put_text(out, name);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.at[i], letter = byte | 0x20;
        if ((letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
            byte == '.' || byte == '_' || byte == '~') {
            put_u8(out, byte);
        } else {
            put_u8(out, '%');
            put_u8(out, (uint8_t)digits[byte >> 4]);
            put_u8(out, (uint8_t)digits[byte & 15]);
        }
    }
}

/* Link: the same question after this user; another node may be asked it. */
static void put_next(struct writer *out, const struct exchange *x, uint64_t last_id)
{
    const struct call_list *list = &x->call.ask.list;
    put_text(out, "</users?limit=");
    put_decimal(out, x->listing.limit);
    put_text(out, "&after=");
    put_decimal(out, last_id);
    if (list->by != CALL_BY_ID)
        put_parameter(out, list->by == CALL_BY_NAME ? "&name=" : "&email=", list->text);
    put_text(out, list->consistency == CALL_STALE ? "&consistency=stale" : "");
    if (list->min_index > 0) {
        put_text(out, "&min_index=");
        put_decimal(out, list->min_index);
    }
    put_text(out, ">; rel=\"next\"");
    assert(!out->bad);
}

static void answer_page(struct exchange *x)
{
    struct listing *l = &x->listing;
    struct bytes page = bytes_of(l->packed, l->packed_len);
    struct response response = list_response(x);
    uint64_t last_id = cut_page(x, &page);
    l->packed_len = page.len;
    uint8_t link[3 * USER_NAME_BYTES_MAX + 128];
    struct writer out = writer_of(link, sizeof(link));
    if (last_id != 0) {
        put_next(&out, x, last_id);
        response.link = writer_bytes(&out);
    }
    answer_known(x, page, &response);
}

static void take_page_part(struct exchange *x, const struct call_users *users)
{
    struct listing *l = &x->listing;
    if (l->packed_len + users->users.len > (l->limit + 1) * USER_PACKED_BYTES_MAX)
        fail_distrusting(x);
    else if (!keep(l, users->users))
        fail(x, "out of memory");
    else if (l->last)
        answer_page(x);
    else
        node_client_more(x->service->node, &x->call);
}

/* --- chunks of the node's answer ----------------------------------------------------------------
 */

static void take(struct exchange *x, const struct call_users *users)
{
    struct listing *l = &x->listing;
    bool first = !l->begun && l->packed_len == 0;
    l->index = users->index;
    l->changed = users->changed;
    l->last = users->last != 0;
    struct response response = list_response(x);
    if (first && reading_answers(x, &response))
        return;
    if (l->limit > 0) {
        take_page_part(x, users);
    } else if (l->begun || !l->last) {
        if (!keep(l, users->users)) {
            fail(x, "out of memory");
        } else if (l->begun) {
            go_on(x);
        } else {
            response.length_is = LENGTH_STREAMED;
            begin_stream(x, &response);
        }
    } else {
        answer_known(x, users->users, &response);
    }
}

void handle_list(struct exchange *x)
{
    const char *fault = read_query(x);
    if (fault != NULL)
        respond_problem(x, PROBLEM_INVALID_PARAMETER, fault);
    else
        reading_ask(x, take, fail);
}
