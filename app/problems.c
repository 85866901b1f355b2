#include "app/problems.h"

#include <string.h>

#define PROBLEMS_PATH "/problems"
/* Most bytes of a page; the longest is the index. */
#define HTML_BYTES_MAX (8u << 10)
_Static_assert(HTML_BYTES_MAX + RESPONSE_HEAD_BYTES_MAX < FASTCGI_WRITE_BYTES_MAX,
               "an answer of one piece");

#define NOTHING "No. Nothing was changed, and no id was given."
/* Of what the state says, and therefore remembers. */
#define KEPT                                                                                    \
    " Under an <code>Idempotency-Key</code> this answer is kept for a day: draw a new key for " \
    "the next request."
#define PERHAPS "Perhaps. A request that reads changes nothing; a write may have been executed."

/* W(name, was anything executed?, what it means, what to do): as HTML. One for each of PROBLEMS. */
/* clang-format off */
#define PROBLEM_WORDS(W) \
    W(PROBLEM_BAD_REQUEST, NOTHING, \
      "The request is not well-formed HTTP, or a header field of it cannot be read: a doubled " \
      "field, an <code>If-Match</code> that is no list of entity tags, an " \
      "<code>Idempotency-Key</code> that is none.", \
      "Mend the request as <code>detail</code> says. The same one will be refused again.") \
    W(PROBLEM_MALFORMED_JSON, NOTHING, \
      "The body is not one JSON value: <code>detail</code> says at which line and column.", \
      "Send valid JSON in UTF-8, with nothing after it.") \
    W(PROBLEM_INVALID_PARAMETER, NOTHING, \
      "A query parameter is not known here, has a value that it cannot have, or stands there " \
      "twice. A misspelt one is refused, so that it does not count as one that is not there.", \
      "Mend the parameter that <code>detail</code> names.") \
    W(PROBLEM_UNAUTHORIZED, NOTHING, \
      "This server answers only who shows a token that it knows, and this request had none or " \
      "another.", \
      "Send <code>Authorization: Bearer</code> and the token. Who runs this server draws one " \
      "with <code>rollcallctl token</code>.") \
    W(PROBLEM_FORBIDDEN, NOTHING, \
      "The token is known, and its role does not suffice: <em>read</em> reads users, " \
      "<em>write</em> changes them, too, <em>admin</em> sees the cluster and its metrics as " \
      "well. Or there are no tokens, and only this machine itself may ask.", \
      "Ask with a token of the role that <code>detail</code> names.") \
    W(PROBLEM_NOT_FOUND, NOTHING, \
      "There is no user with this id, or nothing at all at this path. Ids of deleted users are " \
      "never given again.", \
      "Look the user up by <code>/users?email=</code> or <code>/users?name=</code>, or in the " \
      "list. To create one, POST to <code>/users</code>: ids are the server's to give." KEPT) \
    W(PROBLEM_METHOD_NOT_ALLOWED, NOTHING, \
      "There is something at this path, and it does not take this method.", \
      "Use a method that <code>Allow</code> names.") \
    W(PROBLEM_EMAIL_TAKEN, NOTHING, \
      "Another user has this email already: no two may have one that differs in the case of " \
      "ASCII letters only. <code>detail</code> names the user who has it.", \
      "Use another email, or take it from that user first." KEPT) \
    W(PROBLEM_PRECONDITION_FAILED, NOTHING, \
      "What the request was for has changed, or is not as <code>If-Match</code> or " \
      "<code>If-None-Match</code> demands.", \
      "GET it again, see what others have changed, and send the request with the new " \
      "<code>ETag</code>. (This answer's <code>ETag</code> names the state that was found.)" KEPT) \
    W(PROBLEM_BODY_TOO_LARGE, NOTHING, \
      "The body is longer than 65,536 bytes.", \
      "Send a shorter one: a user takes no more than a few thousand bytes.") \
    W(PROBLEM_MEDIA_TYPE, NOTHING, \
      "The body is of a type that is not taken here: POST and PUT take " \
      "<code>application/json</code>, PATCH <code>application/merge-patch+json</code>. Or it " \
      "is coded: with <code>Content-Encoding</code>, such as gzip, none is taken.", \
      "Send what <code>Accept</code> or <code>Accept-Patch</code> names, under a " \
      "<code>Content-Type</code> that says so. Where the answer has " \
      "<code>Accept-Encoding: identity</code>, send the body as it is, without " \
      "<code>Content-Encoding</code>.") \
    W(PROBLEM_INVALID_USER, NOTHING, \
      "The body is JSON, but no user: a member is missing, doubled, of another type or too long.", \
      "Mend the member that <code>detail</code> names. A name is a string of at most 1,024 " \
      "bytes, an email an address of at most 254 without blanks or anything that cannot be " \
      "seen.") \
    W(PROBLEM_ID_REUSED, \
      "Not this request: nothing was changed by it. The one that came first under the id was " \
      "answered.", \
      "Another request, with another method, path, condition or body, came under this " \
      "<code>Rollcall-Request-Id</code> before.", \
      "Leave that header field out: the server gives each request an id of its own. A proxy that " \
      "sets it draws a new one for each request of a client.") \
    W(PROBLEM_KEY_REUSED, \
      "Not this request: nothing was changed by it. The one that came first under the key was " \
      "answered.", \
      "Another request, with another method, path, condition or body, came under this " \
      "<code>Idempotency-Key</code> before.", \
      "Draw a new key for each request; use one again only to send the very same request again.") \
    W(PROBLEM_TOO_MANY_REQUESTS, NOTHING, \
      "More requests came from this client than one client may send.", \
      "Wait as long as <code>Retry-After</code> says, then send the request again, slower.") \
    W(PROBLEM_UNAVAILABLE, NOTHING, \
      "The request could not be carried out just now: too many are under way, the cluster has no " \
      "leader, the node cannot be reached or has too much to do, or its disk is full.", \
      "Wait as long as <code>Retry-After</code> says, then send the request again. It was " \
      "certainly not executed.") \
    W(PROBLEM_OUTCOME_UNKNOWN, PERHAPS, \
      "No answer came in time. What was asked may have happened, or may yet happen.", \
      "Send the very same request under the same <code>Idempotency-Key</code> again: it then " \
      "happens once, and the answer is the first one's. Without a key, look at what is there " \
      "before asking again.")
/* clang-format on */

#define COUNT_OF(name, ...) +1 /* NOLINT(bugprone-macro-parentheses): a term of a sum */
_Static_assert(0 PROBLEM_WORDS(COUNT_OF) == 0 PROBLEMS(COUNT_OF), "there are words on each");

/* Two of one name do not compile, so that those are all different. */
#define WORDS_OF(name, executed, meaning, remedy) [name] = {executed, meaning, remedy},
static const struct {
    const char *executed, *meaning, *remedy;
} words[] = {PROBLEM_WORDS(WORDS_OF)};

#define TITLE_OF(name, status, slug, title) [name] = {status, slug, title},
static const struct {
    unsigned status;
    const char *slug, *title;
} titles[] = {PROBLEMS(TITLE_OF)};

bool problems_find(struct bytes path, enum problem *ret_problem)
{
    static const char top[] = PROBLEMS_PATH "/";
    size_t begin = sizeof(top) - 1;
    if (path.len < begin || memcmp(path.at, top, begin) != 0)
        return false;
    struct bytes slug = bytes_of(path.at + begin, path.len - begin);
    for (size_t i = 0; i < ARRAY_LEN(titles); i++) {
        if (bytes_equal(slug, bytes_of_text(titles[i].slug))) {
            *ret_problem = (enum problem)i;
            return true;
        }
    }
    return false;
}

static void put_top(struct writer *out, const char *title)
{
    put_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>");
    put_text(out, title);
    put_text(out, "</title>\n<h1>");
    put_text(out, title);
    put_text(out, "</h1>\n");
}

static void put_about(struct writer *out, const char *heading, const char *text)
{
    put_text(out, "<h2>");
    put_text(out, heading);
    put_text(out, "</h2>\n<p>");
    put_text(out, text);
    put_text(out, "</p>\n");
}

static void respond_html(struct exchange *x, struct writer *body)
{
    assert(!body->bad);
    struct response response = {
        .status = 200,
        .content_type = "text/html; charset=utf-8",
        .cache_control = "no-cache",
        .body = writer_bytes(body),
    };
    respond(x, &response);
}

void handle_problem(struct exchange *x)
{
    enum problem problem = PROBLEM_NOT_FOUND;
    bool found = problems_find(x->request.path, &problem);
    assert(found); /* route.c has looked */
    uint8_t store[HTML_BYTES_MAX];
    struct writer out = writer_of(store, sizeof(store));
    put_top(&out, titles[problem].title);
    put_text(&out, "<p>Status ");
    put_decimal(&out, titles[problem].status);
    put_text(&out, ", type <code>" PROBLEMS_PATH "/");
    put_text(&out, titles[problem].slug);
    put_text(&out, "</code></p>\n");
    put_about(&out, "What it means", words[problem].meaning);
    put_about(&out, "Was anything executed?", words[problem].executed);
    put_about(&out, "What to do", words[problem].remedy);
    put_text(&out, "<p><a href=\"" PROBLEMS_PATH "\">All problems</a></p>\n");
    respond_html(x, &out);
}

void handle_problems(struct exchange *x)
{
    uint8_t store[HTML_BYTES_MAX];
    struct writer out = writer_of(store, sizeof(store));
    put_top(&out, "Problems");
    put_text(&out, "<ul>\n");
    for (size_t i = 0; i < ARRAY_LEN(titles); i++) {
        put_text(&out, "<li><a href=\"" PROBLEMS_PATH "/");
        put_text(&out, titles[i].slug);
        put_text(&out, "\">");
        put_text(&out, titles[i].title);
        put_text(&out, "</a>: ");
        put_decimal(&out, titles[i].status);
        put_text(&out, "</li>\n");
    }
    put_text(&out, "</ul>\n");
    respond_html(x, &out);
}
