/*
 * JSON Schema, as far as openapi.json uses it. A keyword that is not known here is a fault, so that
 * nothing in the document goes unjudged.
 */
#ifndef ROLLCALL_TESTS_E2E_SCHEMA_H
#define ROLLCALL_TESTS_E2E_SCHEMA_H

#include "raft/base/attr.h"

#include <json-c/json.h>

#define SCHEMA_FAULT_MAX 512

/* Follows "$ref": "#/…" in the document, however often; fails the test when it leads nowhere. */
struct json_object *json_resolve(struct json_object *document, struct json_object *at);
/* The member, resolved; NULL when it is not there. */
struct json_object *json_member(struct json_object *document, struct json_object *at,
                                const char *name);
/* Its text; "" when it is not there. */
const char *json_text(struct json_object *at, const char *name);

/* Does the value fit the schema? Else `fault` says why not. */
bool schema_holds(struct json_object *document, struct json_object *schema,
                  struct json_object *value, char fault[static SCHEMA_FAULT_MAX]);
/* The same for a text from a header field, a path or a query. */
bool schema_holds_text(struct json_object *document, struct json_object *schema, const char *text,
                       char fault[static SCHEMA_FAULT_MAX]);

#endif
