#include "tests/e2e/openapi_client.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define LINES_MAX 4 /* header fields of a request */

struct api api_open(int port)
{
    return (struct api){.document = openapi_get(port, NULL), .port = port};
}

void api_close(struct api *api)
{
    json_object_put(api->document);
}

/* --- the request ------------------------------------------------------------------------------ */

struct call {
    const struct api *api;
    struct operation operation;
    char path[4096];
    char lines[LINES_MAX][512];
    int line_count;
};

/* All but what RFC 3986 calls unreserved. */
static void escape(const char *text, char *out, size_t size)
{
    size_t len = 0;

    for (; *text != '\0'; text++) {
        bool plain = strchr("-._~", *text) != NULL || (*text >= '0' && *text <= '9') ||
                     ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z');

        cr_assert_lt(len + 4, size);
        len +=
            (size_t)snprintf(out + len, size - len, plain ? "%c" : "%%%02X", (unsigned char)*text);
    }
    out[len] = '\0';
}

/* The parameter in one of the two places where an operation's stand; NULL: the document has none.
 */
static struct json_object *find_parameter(const struct call *call, const char *name)
{
    struct json_object *places[] = {call->operation.operation, call->operation.item};

    for (size_t place = 0; place < ARRAY_LEN(places); place++) {
        struct json_object *all = json_member(NULL, places[place], "parameters");

        for (size_t i = 0; all != NULL && i < json_object_array_length(all); i++) {
            struct json_object *parameter =
                json_resolve(call->api->document, json_object_array_get_idx(all, i));

            if (strcmp(json_text(parameter, "name"), name) == 0)
                return parameter;
        }
    }
    return NULL;
}

static void put_in_path(struct call *call, const char *name, const char *escaped)
{
    char hole[64], rest[1024], *at;

    snprintf(hole, sizeof hole, "{%s}", name);
    at = strstr(call->path, hole);
    cr_assert_not_null(at, "%s has no %s", call->path, hole);
    snprintf(rest, sizeof rest, "%s", at + strlen(hole));
    snprintf(at, sizeof call->path - (size_t)(at - call->path), "%s%s", escaped, rest);
}

static void put_line(struct call *call, const char *name, const char *value)
{
    cr_assert_lt(call->line_count, LINES_MAX);
    snprintf(call->lines[call->line_count++], sizeof call->lines[0], "%s: %s", name, value);
}

/* Of a list that is given one by one, its items'. */
static struct json_object *schema_of(const struct call *call, struct json_object *parameter)
{
    struct json_object *schema = json_member(call->api->document, parameter, "schema");
    struct json_object *items = json_member(call->api->document, schema, "items");

    return items != NULL ? items : schema;
}

static void put_argument(struct call *call, const struct argument *argument)
{
    struct json_object *parameter = find_parameter(call, argument->name);
    const char *in = json_text(parameter, "in");
    char escaped[2048], fault[SCHEMA_FAULT_MAX] = "";
    size_t len = strlen(call->path);

    cr_assert_not_null(parameter, "%s has no %s", call->operation.id, argument->name);
    cr_assert(
        schema_holds_text(call->api->document, schema_of(call, parameter), argument->value, fault),
        "%s: %s: %s", call->operation.id, argument->name, fault);
    escape(argument->value, escaped, sizeof escaped);
    if (strcmp(in, "path") == 0)
        put_in_path(call, argument->name, escaped);
    else if (strcmp(in, "query") == 0)
        snprintf(call->path + len, sizeof call->path - len, "%c%s=%s",
                 strchr(call->path, '?') == NULL ? '?' : '&', argument->name, escaped);
    else
        put_line(call, argument->name, argument->value);
}

/* As the first type that the document names. */
static void put_body(struct call *call, const char *body)
{
    struct json_object *document = call->api->document;
    struct json_object *content = json_member(
        document, json_member(document, call->operation.operation, "requestBody"), "content");
    struct json_object *value = json_tokener_parse(body);
    char fault[SCHEMA_FAULT_MAX] = "";

    cr_assert_not_null(content, "%s takes no body", call->operation.id);
    json_object_object_foreach(content, type, media)
    {
        cr_assert(schema_holds(document, json_member(document, media, "schema"), value, fault),
                  "%s: %s: %s", call->operation.id, body, fault);
        put_line(call, "Content-Type", type);
        break;
    }
    json_object_put(value);
}

struct called api_call(const struct api *api, const char *operation,
                       const struct argument *arguments, const char *body)
{
    struct call call = {.api = api, .operation = openapi_find(api->document, operation)};
    struct request request = {.method = call.operation.method, .path = call.path};
    struct called called;

    snprintf(call.path, sizeof call.path, "%s", call.operation.path);
    for (; arguments != NULL && arguments->name != NULL; arguments++)
        put_argument(&call, arguments);
    cr_assert_null(strchr(call.path, '{'), "%s: an argument is missing", call.path);
    if (body != NULL)
        put_body(&call, body);
    for (int i = 0; i < call.line_count; i++)
        request.headers[i] = call.lines[i];
    request.body = bytes_of_text(body != NULL ? body : "");
    called.answer = http_send(api->port, &request);
    (void)openapi_judge(api->document, &call.operation, &called.answer);
    called.body = strstr(answer_header(&called.answer, "Content-Type"), "json") != NULL
                      ? json_tokener_parse(called.answer.body)
                      : NULL;
    return called;
}

void called_done(struct called *called)
{
    json_object_put(called->body);
    answer_done(&called->answer);
}

struct operation api_follow(const struct api *api, const char *operation,
                            const struct called *called, const char *name,
                            struct argument *ret_argument)
{
    static const char from_body[] = "$response.body#";
    struct operation source = openapi_find(api->document, operation);
    struct json_object *at = json_member(api->document, source.operation, "responses"), *found;
    char status[16];

    snprintf(status, sizeof status, "%ld", called->answer.status);
    at = json_member(api->document, json_member(api->document, at, status), "links");
    at = json_member(api->document, at, name);
    cr_assert_not_null(at, "%s: %s has no link %s", operation, status, name);
    json_object_object_foreach(json_member(NULL, at, "parameters"), parameter, expression)
    {
        const char *text = json_object_get_string(expression);

        cr_assert_eq(strncmp(text, from_body, strlen(from_body)), 0, "%s", text);
        cr_assert_eq(json_pointer_get(called->body, text + strlen(from_body), &found), 0);
        *ret_argument = (struct argument){parameter, json_object_get_string(found)};
    }
    return openapi_find(api->document, json_text(at, "operationId"));
}
