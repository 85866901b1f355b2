#include "app/response.h"

#include "raft/base/json.h"

static const char *reason_phrase(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        UNREACHABLE(); /* a status that no handler sends */
    }
}

static void put_header(struct writer *out, const char *name, struct bytes value)
{
    put_text(out, name);
    put_text(out, ": ");
    put_raw(out, value);
    put_text(out, "\r\n");
}

static void put_text_header(struct writer *out, const char *name, const char *value)
{
    if (value != NULL)
        put_header(out, name, bytes_of_text(value));
}

/* `before` and `after` stand around the number. */
static void put_number_header(struct writer *out, const char *name, const char *before,
                              uint64_t value, const char *after)
{
    put_text(out, name);
    put_text(out, ": ");
    put_text(out, before);
    put_decimal(out, value);
    put_text(out, after);
    put_text(out, "\r\n");
}

static void put_content_length(struct writer *out, const struct response *r)
{
    switch (r->length_is) {
    case LENGTH_OF_BODY:
        put_number_header(out, "Content-Length", "", r->body.len, "");
        return;
    case LENGTH_GIVEN:
        put_number_header(out, "Content-Length", "", r->length, "");
        return;
    case LENGTH_STREAMED:
    case LENGTH_NONE:
        return;
    }
    UNREACHABLE();
}

void response_put(struct writer *out, const struct response *r)
{
    /* Always a Status: without one nginx makes a 302 of whatever has a Location. */
    put_text(out, "Status: ");
    put_decimal(out, r->status);
    put_text(out, " ");
    put_text(out, reason_phrase(r->status));
    put_text(out, "\r\n");
    put_text_header(out, "Content-Type", r->content_type);
    put_content_length(out, r);
    put_text_header(out, "Cache-Control", r->cache_control);
    put_text_header(out, "Vary", r->vary);
    put_text_header(out, "Allow", r->allow);
    put_text_header(out, "Accept", r->accept);
    put_text_header(out, "Accept-Patch", r->accept_patch);
    put_text_header(out, "Accept-Encoding", r->accept_encoding);
    put_text_header(out, "WWW-Authenticate", r->www_authenticate);
    if (r->link.len > 0)
        put_header(out, "Link", r->link);
    if (r->location_id != 0)
        put_number_header(out, "Location", "/users/", r->location_id, "");
    if (r->etagged)
        put_number_header(out, "ETag", "\"", r->etag, "\"");
    if (r->at_index)
        put_number_header(out, "Raft-Index", "", r->raft_index, "");
    if (r->raft_node != 0)
        put_number_header(out, "Raft-Node", "", r->raft_node, "");
    if (r->replayed)
        put_text_header(out, "Idempotency-Replayed", "true");
    if (r->retry_after)
        put_text_header(out, "Retry-After", "1");
    put_text(out, "\r\n");
    if (!r->omit_body)
        put_raw(out, r->body);
}

struct problem_text {
    unsigned status;
    const char *slug;
    const char *title;
};

#define PROBLEM_TEXT(name, status, slug, title) [name] = {status, slug, title},

struct response response_of_problem(enum problem problem, const char *detail)
{
    static uint8_t store[PROBLEM_BODY_BYTES_MAX]; /* one loop, one answer at a time */
    struct writer body = writer_of(store, sizeof(store));
    static const struct problem_text texts[] = {PROBLEMS(PROBLEM_TEXT)};
    const struct problem_text *text = &texts[problem];
    put_text(&body, "{\"type\":\"/problems/");
    put_text(&body, text->slug);
    put_text(&body, "\",\"title\":");
    json_put_string(&body, bytes_of_text(text->title));
    put_text(&body, ",\"status\":");
    put_decimal(&body, text->status);
    put_text(&body, ",\"detail\":");
    json_put_string(&body, bytes_of_text(detail));
    put_text(&body, "}");
    assert(!body.bad);
    return (struct response){
        .status = text->status,
        .content_type = "application/problem+json",
        .cache_control = "no-store",
        .retry_after = problem == PROBLEM_UNAVAILABLE || problem == PROBLEM_TOO_MANY_REQUESTS,
        .body = writer_bytes(&body),
    };
}
