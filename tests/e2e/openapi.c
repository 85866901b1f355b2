#include "tests/e2e/openapi.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct json_object *openapi_get(int port, const char *authorization)
{
    struct answer answer = http_send(
        port,
        &(struct request){.method = "GET", .path = "/openapi.json", .headers = {authorization}});
    struct json_object *document;

    cr_assert_eq(answer.status, 200, "%ld %s", answer.status, answer.body);
    document = json_tokener_parse(answer.body);
    cr_assert_not_null(document, "no JSON: %.200s", answer.body);
    cr_assert_eq(strncmp(json_text(document, "openapi"), "3.1.", 4), 0);
    answer_done(&answer);
    return document;
}

/* --- operations ------------------------------------------------------------------------------- */

static const struct {
    const char *key, *method;
} methods[] = {
    {"get", "GET"},     {"head", "HEAD"},     {"post", "POST"},       {"put", "PUT"},
    {"patch", "PATCH"}, {"delete", "DELETE"}, {"options", "OPTIONS"}, {"trace", "TRACE"},
};

void openapi_each(struct json_object *document,
                  void (*each)(void *context, const struct operation *operation), void *context)
{
    json_object_object_foreach(json_member(document, document, "paths"), path, item)
    {
        for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
            struct operation operation = {.method = methods[i].method, .path = path, .item = item};

            operation.operation = json_member(document, item, methods[i].key);
            if (operation.operation == NULL)
                continue;
            operation.id = json_text(operation.operation, "operationId");
            each(context, &operation);
        }
    }
}

static void keep_if_wanted(void *context, const struct operation *operation)
{
    struct operation *wanted = context;

    if (strcmp(operation->id, wanted->id) == 0) {
        cr_assert_null(wanted->operation, "two operations are %s", wanted->id);
        *wanted = *operation;
    }
}

struct operation openapi_find(struct json_object *document, const char *id)
{
    struct operation wanted = {.id = id};

    openapi_each(document, keep_if_wanted, &wanted);
    cr_assert_not_null(wanted.operation, "no operation is %s", id);
    return wanted;
}

const char *openapi_path(const struct operation *operation, const char *id)
{
    static char path[256];
    size_t fixed = strcspn(operation->path, "{");

    snprintf(path, sizeof path, "%.*s%s", (int)fixed, operation->path,
             operation->path[fixed] == '\0'                 ? ""
             : strcmp(operation->path + fixed, "{id}") == 0 ? id
                                                            : "not-found");
    return path;
}

/* --- answers ---------------------------------------------------------------------------------- */

struct judged {
    struct json_object *document, *description;
    const struct operation *operation;
    const struct answer *answer;
};

static void expect_header(const struct judged *j, const char *name, struct json_object *header)
{
    const char *value = answer_header(j->answer, name);
    struct json_object *required = json_member(NULL, header, "required");
    char fault[SCHEMA_FAULT_MAX] = "";

    if (*value == '\0')
        cr_expect(!json_object_get_boolean(required), "%s: %ld without %s", j->operation->id,
                  j->answer->status, name);
    else
        cr_expect(schema_holds_text(j->document, json_member(j->document, header, "schema"), value,
                                    fault),
                  "%s: %ld: %s: %s", j->operation->id, j->answer->status, name, fault);
}

/* What is described is there, and of ours nothing is there that is not described. */
static void expect_headers(const struct judged *j)
{
    static const char *const ours[] = {
        "ETag",
        "Link",
        "Location",
        "Retry-After",
        "Idempotency-Replayed",
        "Accept-Patch",
        "Accept",
        "Allow",
        "WWW-Authenticate",
        "Content-Encoding",
        "Accept-Encoding",
    };
    struct json_object *headers = json_member(j->document, j->description, "headers");

    if (headers != NULL) {
        json_object_object_foreach(headers, name, header)
        {
            expect_header(j, name, json_resolve(j->document, header));
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        cr_expect(*answer_header(j->answer, ours[i]) == '\0' ||
                      json_member(j->document, headers, ours[i]) != NULL,
                  "%s: %ld has %s, which is not described", j->operation->id, j->answer->status,
                  ours[i]);
}

static void expect_body(const struct judged *j)
{
    struct json_object *content = json_member(j->document, j->description, "content");
    const char *type = answer_header(j->answer, "Content-Type");
    struct json_object *media = json_member(j->document, content, type);
    char fault[SCHEMA_FAULT_MAX] = "";
    struct json_object *body;

    if (content == NULL || strcmp(j->operation->method, "HEAD") == 0)
        cr_expect_str_empty(j->answer->body, "%s: %ld", j->operation->id, j->answer->status);
    if (content == NULL)
        return;
    cr_expect_not_null(media, "%s: %ld is '%s'", j->operation->id, j->answer->status, type);
    if (media == NULL || strcmp(j->operation->method, "HEAD") == 0)
        return;
    body = strstr(type, "json") != NULL ? json_tokener_parse(j->answer->body)
                                        : json_object_new_string(j->answer->body);
    cr_expect(schema_holds(j->document, json_member(j->document, media, "schema"), body, fault),
              "%s: %ld: %s\n%s", j->operation->id, j->answer->status, fault, j->answer->body);
    json_object_put(body);
}

const char *openapi_judge(struct json_object *document, const struct operation *operation,
                          const struct answer *answer)
{
    static char status[24];
    struct json_object *responses = json_member(document, operation->operation, "responses");
    struct judged judged = {.document = document, .operation = operation, .answer = answer};

    snprintf(status, sizeof status, "%ld", answer->status);
    judged.description = json_member(document, responses, status);
    if (judged.description == NULL) {
        snprintf(status, sizeof status, "default");
        judged.description = json_member(document, responses, status);
    }
    cr_assert_not_null(judged.description, "%s: %ld is not described", operation->id,
                       answer->status);
    expect_headers(&judged);
    expect_body(&judged);
    return status;
}
