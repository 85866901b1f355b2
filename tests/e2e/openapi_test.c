/*
 * Is /openapi.json what the service does? Through the real nginx every status that it describes for
 * an operation is provoked, but for those few that a healthy stack does not answer (`unprovoked`),
 * and judged by what is described: its header fields, its type, its body. So this is also the test
 * of the table of statuses.
 */
#include "tests/e2e/openapi.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON  "Content-Type: application/json"
#define MERGE "Content-Type: application/merge-patch+json"
#define GZIP  "Content-Encoding: gzip"
#define KEY   "Idempotency-Key: \"once\""
#define STALE "If-Match: \"0\""
#define LIKE  "If-None-Match: *"
#define LONG  "@" /* a body of one byte more than is taken */

struct row {
    const char *operation, *path;
    const char *headers[3];
    const char *body;
    long status;
    const char *with; /* a header field that must come, though the document does not demand it */
};

/* In this order, from an empty directory on. */
static const struct row rows[] = {
    {"createUser", "/users", {JSON}, "{\"name\":\"Ann\",\"email\":\"a@b.c\"}", 201, NULL},
    {"createUser", "/users", {JSON, KEY}, "{\"name\":\"Bob\"}", 201, NULL},
    {"createUser", "/users", {JSON, KEY}, "{\"name\":\"Bob\"}", 201, "Idempotency-Replayed"},
    {"createUser", "/users", {JSON, KEY}, "{\"name\":\"Eve\"}", 422, NULL},
    {"createUser", "/users", {JSON}, "{\"name\":7}", 422, NULL},
    {"createUser", "/users", {JSON}, "{oops", 400, NULL},
    {"createUser", "/users", {JSON, "Idempotency-Key: \"\""}, "{\"name\":\"Eve\"}", 400, NULL},
    {"createUser", "/users", {JSON}, "{\"name\":\"Eve\",\"email\":\"A@B.C\"}", 409, NULL},
    {"createUser", "/users", {JSON, STALE}, "{\"name\":\"Eve\"}", 412, NULL},
    {"createUser", "/users", {JSON, LIKE}, "{\"name\":\"Eve\"}", 412, NULL},
    {"createUser", "/users", {JSON}, LONG, 413, NULL},
    {"createUser", "/users", {"Content-Type: text/plain"}, "{\"name\":\"Eve\"}", 415, NULL},
    {"createUser", "/users", {JSON, GZIP}, "{\"name\":\"Eve\"}", 415, "Accept-Encoding"},

    {"listUsers", "/users", {NULL}, NULL, 200, NULL},
    {"listUsers", "/users?limit=1", {NULL}, NULL, 200, "Link"},
    {"listUsers", "/users?limit=1&name=Bob&consistency=stale", {NULL}, NULL, 200, NULL},
    {"listUsers", "/users?email=A%40b.C&min_index=1", {NULL}, NULL, 200, NULL},
    {"listUsers", "/users", {LIKE}, NULL, 304, NULL},
    {"listUsers", "/users?limit=0", {NULL}, NULL, 400, NULL},
    {"listUsers", "/users?name=Ann&email=a@b.c", {NULL}, NULL, 400, NULL},
    {"listUsers", "/users", {STALE}, NULL, 412, NULL},
    {"headUsers", "/users?limit=1", {NULL}, NULL, 200, "Link"},
    {"headUsers", "/users", {LIKE}, NULL, 304, NULL},
    {"headUsers", "/users?after=x", {NULL}, NULL, 400, NULL},
    {"headUsers", "/users", {STALE}, NULL, 412, NULL},
    {"optionsUsers", "/users", {NULL}, NULL, 204, NULL},

    {"getUser", "/users/1", {NULL}, NULL, 200, NULL},
    {"getUser", "/users/1", {LIKE}, NULL, 304, NULL},
    {"getUser", "/users/1?consistency=strong", {NULL}, NULL, 400, NULL},
    {"getUser", "/users/9", {NULL}, NULL, 404, NULL},
    {"getUser", "/users/0", {NULL}, NULL, 404, NULL},
    {"getUser", "/users/1", {STALE}, NULL, 412, NULL},
    {"headUser", "/users/1", {NULL}, NULL, 200, NULL},
    {"headUser", "/users/1", {LIKE}, NULL, 304, NULL},
    {"headUser", "/users/1?min_index=x", {NULL}, NULL, 400, NULL},
    {"headUser", "/users/9", {NULL}, NULL, 404, NULL},
    {"headUser", "/users/1", {STALE}, NULL, 412, NULL},
    {"optionsUser", "/users/1", {NULL}, NULL, 204, NULL},
    {"optionsUser", "/users/0", {NULL}, NULL, 404, NULL},

    {"replaceUser", "/users/2", {JSON, "If-Match: *"}, "{\"name\":\"Rob\"}", 200, NULL},
    {"replaceUser", "/users/2", {JSON}, "[", 400, NULL},
    {"replaceUser", "/users/9", {JSON}, "{\"name\":\"Rob\"}", 404, NULL},
    {"replaceUser", "/users/2", {JSON}, "{\"name\":\"Rob\",\"email\":\"a@B.c\"}", 409, NULL},
    {"replaceUser", "/users/2", {JSON, STALE}, "{\"name\":\"Rob\"}", 412, NULL},
    {"replaceUser", "/users/2", {JSON}, LONG, 413, NULL},
    {"replaceUser", "/users/2", {MERGE ", "}, "{\"name\":\"Rob\"}", 415, NULL},
    {"replaceUser", "/users/2", {JSON}, "{}", 422, NULL},
    {"replaceUser", "/users/2", {JSON, KEY}, "{\"name\":\"Rob\"}", 422, NULL},

    {"patchUser", "/users/2", {MERGE}, "{\"email\":\"r@b.c\"}", 200, NULL},
    {"patchUser", "/users/2", {MERGE}, "{\"email\":null}", 200, NULL},
    {"patchUser", "/users/2", {MERGE}, "", 400, NULL},
    {"patchUser", "/users/9", {MERGE}, "{}", 404, NULL},
    {"patchUser", "/users/2", {MERGE}, "{\"email\":\"a@B.c\"}", 409, NULL},
    {"patchUser", "/users/2", {MERGE, STALE}, "{}", 412, NULL},
    {"patchUser", "/users/2", {MERGE}, LONG, 413, NULL},
    {"patchUser", "/users/2", {JSON}, "{}", 415, NULL},
    {"patchUser", "/users/2", {MERGE, GZIP}, "{}", 415, "Accept-Encoding"},
    {"patchUser", "/users/2", {MERGE}, "{\"name\":null}", 422, NULL},

    {"deleteUser", "/users/2", {"If-Match: 5"}, NULL, 400, NULL},
    {"deleteUser", "/users/2", {STALE}, NULL, 412, NULL},
    {"deleteUser", "/users/2", {KEY}, NULL, 422, NULL},
    {"deleteUser", "/users/2", {"Idempotency-Key: gone"}, NULL, 204, NULL},
    {"deleteUser", "/users/2", {"Idempotency-Key: gone"}, NULL, 204, "Idempotency-Replayed"},
    {"deleteUser", "/users/2", {NULL}, NULL, 404, NULL},
    {"deleteUser", "/users/2", {NULL}, LONG, 413, NULL},

    {"getLivez", "/livez", {NULL}, NULL, 200, NULL},
    {"getReadyz", "/readyz?verbose", {NULL}, NULL, 200, NULL},
    {"getReadyz", "/readyz?exclude=disk&exclude=leader", {NULL}, NULL, 200, NULL},
    {"getReadyz", "/readyz?exclude=luck", {NULL}, NULL, 400, NULL},
    {"headReadyz", "/readyz?exclude", {NULL}, NULL, 400, NULL},
    {"getProblem", "/problems/luck", {NULL}, NULL, 404, NULL},
    {"headProblem", "/problems/luck", {NULL}, NULL, 404, NULL},
    {"optionsProblem", "/problems/luck", {NULL}, NULL, 404, NULL},
};

/* Of any operation: too many from one client, which loopback may; no leader or no node; no answer
 * from it. The simulator and the tests of faults know these. */
static const char *const unprovoked[] = {"429", "503", "504"};

struct contract {
    struct json_object *document;
    struct json_object *seen; /* "getUser 200" */
    int port;
    const char *socket; /* asked through this one by ask_again; NULL: the port */
    const char *header; /* sent by ask_again */
    long status;        /* of which it must be, or 0 */
};

/* --- asking ----------------------------------------------------------------------------------- */

static struct bytes body_of(const char *text)
{
    static char longest[65537];

    if (text == NULL)
        return bytes_of_text("");
    if (strcmp(text, LONG) != 0)
        return bytes_of_text(text);
    memset(longest, ' ', sizeof longest);
    return bytes_of(longest, sizeof longest);
}

static void see(struct contract *c, const struct operation *operation, const struct answer *answer)
{
    char key[80];

    snprintf(key, sizeof key, "%s %s", operation->id,
             openapi_judge(c->document, operation, answer));
    json_object_object_add(c->seen, key, json_object_new_boolean(true));
}

static void ask_row(struct contract *c, const struct row *row)
{
    struct operation operation = openapi_find(c->document, row->operation);
    size_t fixed = strcspn(operation.path, "{");
    struct request request = {.method = operation.method,
                              .path = row->path,
                              .headers = {row->headers[0], row->headers[1], row->headers[2]},
                              .body = body_of(row->body)};
    struct answer answer = http_send(c->port, &request);

    cr_assert_eq(strncmp(row->path, operation.path, fixed), 0, "%s", row->path);
    cr_expect_eq(answer.status, row->status, "%s %s: %ld, not %ld: %s", row->operation, row->path,
                 answer.status, row->status, answer.body);
    if (row->with != NULL)
        cr_expect(*answer_header(&answer, row->with) != '\0', "%s %s has no %s", row->operation,
                  row->path, row->with);
    see(c, &operation, &answer);
    answer_done(&answer);
}

/* Any operation, with a body that it takes and one more header field. */
static struct answer ask_any(int port, const char *socket, const struct operation *operation,
                             const char *header)
{
    bool takes = json_member(NULL, operation->operation, "requestBody") != NULL;
    const char *type = strcmp(operation->method, "PATCH") == 0 ? MERGE : JSON;
    struct request request = {.method = operation->method,
                              .path = openapi_path(operation, "1"),
                              .headers = {takes ? type : header, takes ? header : NULL},
                              .body = body_of(takes ? "{\"name\":\"Zoe\"}" : NULL),
                              .socket = socket};

    return http_send(port, &request);
}

static bool wants_role(const struct operation *operation)
{
    return json_object_array_length(json_member(NULL, operation->operation, "security")) > 0;
}

static void ask_again(void *context, const struct operation *operation)
{
    struct contract *c = context;
    struct answer answer = ask_any(c->port, c->socket, operation, c->header);
    long status = c->status == 0 ? answer.status : c->status;

    if ((c->status == 401 || c->status == 403) && !wants_role(operation))
        status = strcmp(operation->method, "OPTIONS") == 0 ? 204 : 200;
    cr_expect_eq(answer.status, status, "%s with %s: %ld, not %ld", operation->id, c->header,
                 answer.status, status);
    see(c, operation, &answer);
    answer_done(&answer);
}

static void ask_all(struct contract *c, const char *header, long status)
{
    c->header = header;
    c->status = status;
    openapi_each(c->document, ask_again, c);
}

/* --- was all of it seen? ---------------------------------------------------------------------- */

static bool is_unprovoked(const char *status)
{
    for (size_t i = 0; i < ARRAY_LEN(unprovoked); i++)
        if (strcmp(status, unprovoked[i]) == 0)
            return true;
    return false;
}

static void expect_seen(void *context, const struct operation *operation)
{
    struct contract *c = context;
    struct json_object *responses = json_member(c->document, operation->operation, "responses");

    json_object_object_foreach(responses, status, description)
    {
        char key[80];

        (void)description;
        snprintf(key, sizeof key, "%s %s", operation->id, status);
        cr_expect(is_unprovoked(status) || json_object_object_get_ex(c->seen, key, NULL),
                  "%s is described, and was not seen", key);
    }
}

/* Which methods a path is described to take, as Allow says them. */
static void methods_of(struct json_object *item, char *ret_allow, size_t size)
{
    static const char *const keys[][2] = {{"get", "GET"}, {"head", "HEAD"},   {"post", "POST"},
                                          {"put", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"}};
    size_t len = 0;

    ret_allow[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (json_object_object_get_ex(item, keys[i][0], NULL))
            len += (size_t)snprintf(ret_allow + len, size - len, "%s%s", len > 0 ? "," : "",
                                    keys[i][1]);
}

/* What a path is not described to take it refuses, and Allow says what is described. */
static void expect_405(int port, struct json_object *document)
{
    static const char *const methods[] = {"GET",    "HEAD",    "POST",  "PUT", "PATCH",
                                          "DELETE", "OPTIONS", "TRACE", "BREW"};

    json_object_object_foreach(json_member(document, document, "paths"), path, item)
    {
        struct operation any = {.path = path};
        char allow[64];

        methods_of(item, allow, sizeof allow);
        cr_expect(json_object_object_get_ex(item, "options", NULL), "%s", path);
        for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
            struct request request = {.method = methods[i], .path = openapi_path(&any, "1")};
            struct answer answer;

            if (strstr(allow, methods[i]) != NULL || strcmp(methods[i], "OPTIONS") == 0)
                continue;
            answer = http_send(port, &request);
            cr_expect_eq(answer.status, 405, "%s %s: %ld", methods[i], path, answer.status);
            cr_expect_str_eq(answer_header(&answer, "Allow"), allow, "%s %s", methods[i], path);
            answer_done(&answer);
        }
    }
}

/* --- the tests -------------------------------------------------------------------------------- */

/* What nginx alone answers: 421 for each operation, the others for the list. */
static void ask_the_edge(struct contract *c)
{
    static const struct {
        const char *frame; /* with 20,000 bytes for its '@' */
        long status;
    } raw[] = {
        {"GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nA B: c\r\n\r\n", 400},
        {"GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-Match: *\r\nIf-Match: "
         "*\r\n\r\n",
         400},
        {"GET /users?@ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 414},
        {"GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nA: @\r\n\r\n", 431},
        {"GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: "
         "gzip\r\n\r\n",
         501},
        {"GET /users HTTP/2.0\r\nHost: localhost\r\nConnection: close\r\n\r\n", 505},
        {"GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
         "65537\r\n\r\n",
         413},
    };
    struct operation list = openapi_find(c->document, "listUsers");

    ask_all(c, "Host: elsewhere.example", 421);
    for (size_t i = 0; i < ARRAY_LEN(raw); i++) {
        size_t before = strcspn(raw[i].frame, "@");
        char bytes[21000];
        struct answer answer;

        if (raw[i].frame[before] == '\0')
            snprintf(bytes, sizeof bytes, "%s", raw[i].frame);
        else
            snprintf(bytes, sizeof bytes, "%.*s%020000d%s", (int)before, raw[i].frame, 0,
                     raw[i].frame + before + 1);
        answer = http_raw(c->port, bytes_of_text(bytes));
        cr_expect_eq(answer.status, raw[i].status, "%ld, not %ld", answer.status, raw[i].status);
        see(c, &list, &answer);
        answer_done(&answer);
    }
}

/* A token of each role, in D/tokens; the header fields that show them. */
static void draw_tokens(const struct stack *stack, char headers[3][160])
{
    static const char *const roles[] = {"read", "write", "admin"};

    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        operator_draws(stack, roles[i], roles[i], headers[i]);
}

struct by_role {
    struct contract *contract;
    char (*headers)[160];
};

/* The role that is described opens it, and the one below does not. */
static void ask_by_role(void *context, const struct operation *operation)
{
    static const char *const roles[] = {"read", "write", "admin"};
    struct by_role *by = context;
    struct json_object *security = json_member(NULL, operation->operation, "security"), *role;

    if (!wants_role(operation))
        return;
    role = json_member(NULL, json_object_array_get_idx(security, 0), "bearer");
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        const char *wanted = json_object_get_string(json_object_array_get_idx(role, 0));
        bool opens = strcmp(wanted, "read") == 0 || i == 2 || strcmp(wanted, roles[i]) == 0;
        struct answer answer = ask_any(by->contract->port, NULL, operation, by->headers[i]);

        cr_expect_eq(answer.status == 403, !opens, "%s with role %s: %ld", operation->id, roles[i],
                     answer.status);
        if (!opens)
            cr_expect(*answer_header(&answer, "WWW-Authenticate") != '\0');
        see(by->contract, operation, &answer);
        answer_done(&answer);
    }
}

Test(openapi, describes_what_is_answered_and_nothing_else, .timeout = 120)
{
    struct stack stack = stack_start(), guarded = stack_prepare();
    struct contract c = {.port = stack.port + 1, .seen = json_object_new_object()};
    char headers[3][160], door[96];

    c.document = openapi_get(c.port, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ask_row(&c, &rows[i]);
    expect_405(c.port, c.document);
    ask_the_edge(&c);
    snprintf(door, sizeof door, "%s/front.sock", stack.node_dir);
    c.socket = door; /* a front is believed where it was asked; there are no tokens */
    ask_all(&c, "Rollcall-Front-Address: 192.0.2.1", 403);
    c.socket = NULL;
    ask_all(&c, NULL, 0);

    draw_tokens(&guarded, headers);
    stack_up(&guarded);
    c.port = guarded.port + 1;
    ask_all(&c, "Authorization: Bearer rc_0", 401);
    openapi_each(c.document, ask_by_role, &(struct by_role){&c, headers});
    stack_stop(&guarded);

    openapi_each(c.document, expect_seen, &c);
    stack_kill(stack_pid(&stack, "raft.pid"));
    c.port = stack.port + 1;
    ask_row(&c, &(struct row){"getReadyz", "/readyz", {NULL}, NULL, 503, "Retry-After"});
    ask_row(&c, &(struct row){"headReadyz", "/readyz", {NULL}, NULL, 503, NULL});
    ask_row(&c, &(struct row){"getLivez", "/livez", {NULL}, NULL, 200, NULL});
    ask_row(&c, &(struct row){"getMetrics", "/metrics", {NULL}, NULL, 200, NULL});
    json_object_put(c.seen);
    json_object_put(c.document);
    stack_stop(&stack);
}

/* Where `type` leads, and its page. */
static void expect_page(int port, const char *slug)
{
    char path[128], shown[160];
    struct answer answer;

    snprintf(path, sizeof path, "/problems/%s", slug);
    snprintf(shown, sizeof shown, "<code>%s</code>", path);
    answer = http_get(port, path);
    cr_expect_eq(answer.status, 200, "%s: %ld", path, answer.status);
    cr_expect_not_null(strstr(answer.body, shown), "%s", answer.body);
    cr_expect_str_eq(answer_header(&answer, "X-Content-Type-Options"), "nosniff");
    answer_done(&answer);
}

Test(openapi, has_the_version_of_the_programs_and_a_page_for_each_problem, .timeout = 60)
{
    struct stack stack = stack_start();
    struct json_object *document = openapi_get(stack.port, NULL), *type = NULL;
    char version[64];

    snprintf(version, sizeof version, "%s",
             operator_does(&stack, 0, "rollcall-app ", "\"$ROLLCALL_BIN/rollcall-app\" --version"));
    cr_expect_not_null(
        strstr(version, json_text(json_member(document, document, "info"), "version")), "%s",
        version);
    cr_assert_eq(json_pointer_get(document, "/components/parameters/type/schema/enum", &type), 0);
    cr_expect_gt(json_object_array_length(type), 10);
    for (size_t i = 0; i < json_object_array_length(type); i++)
        expect_page(stack.port, json_object_get_string(json_object_array_get_idx(type, i)));
    operator_does(
        &stack, 0, NULL, /* nginx speaks of no other */
        "for SLUG in $(sed -n 's|.* /problems/\\(.*\\);|\\1|p' $ROOT/deploy/problems.conf);"
        " do curl -sf http://localhost:$P/problems/$SLUG || exit; done");
    json_object_put(document);
    stack_stop(&stack);
}
