/* An OpenAPI document, and what an answer must be by it. */
#ifndef ROLLCALL_TESTS_E2E_OPENAPI_H
#define ROLLCALL_TESTS_E2E_OPENAPI_H

#include "tests/e2e/http.h"
#include "tests/e2e/schema.h"

struct operation {
    const char *id;     /* its operationId */
    const char *method; /* "GET" */
    const char *path;   /* "/users/{id}" */
    struct json_object *item, *operation;
};

/* GET /openapi.json; fails the test when it is no document of this kind. */
struct json_object *openapi_get(int port, const char *authorization);

/* Calls for every operation, in the document's order. */
void openapi_each(struct json_object *document,
                  void (*each)(void *context, const struct operation *operation), void *context);
/* Fails the test when there is none of this id. */
struct operation openapi_find(struct json_object *document, const char *id);

/* The path of this operation with `id` for {id}, and a problem for {type}. */
const char *openapi_path(const struct operation *operation, const char *id);

/*
 * Judges an answer: its status is described for the operation, its type and header fields are what
 * the description says, and its body fits the schema. Where not, the test has failed. Returns what
 * the status is described under: "200", "default".
 */
const char *openapi_judge(struct json_object *document, const struct operation *operation,
                          const struct answer *answer);

#endif
