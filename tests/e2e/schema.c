#include "tests/e2e/schema.h"

#include <criterion/criterion.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the document ----------------------------------------------------------------------------- */

/* "#/a/b~1c": the slash in a name is "~1" (RFC 6901). */
static struct json_object *at_pointer(struct json_object *document, const char *pointer)
{
    struct json_object *at = NULL;

    cr_assert(pointer[0] == '#' && json_pointer_get(document, pointer + 1, &at) == 0, "%s: nowhere",
              pointer);
    return at;
}

struct json_object *json_resolve(struct json_object *document, struct json_object *at)
{
    struct json_object *ref;

    while (json_object_is_type(at, json_type_object) &&
           json_object_object_get_ex(at, "$ref", &ref) && json_object_object_length(at) == 1)
        at = at_pointer(document, json_object_get_string(ref));
    return at;
}

struct json_object *json_member(struct json_object *document, struct json_object *at,
                                const char *name)
{
    struct json_object *member;

    if (!json_object_is_type(at, json_type_object) || !json_object_object_get_ex(at, name, &member))
        return NULL;
    return json_resolve(document, member);
}

const char *json_text(struct json_object *at, const char *name)
{
    struct json_object *member = json_member(NULL, at, name);

    return member != NULL ? json_object_get_string(member) : "";
}

/* --- keywords --------------------------------------------------------------------------------- */

struct judging {
    struct json_object *document, *schema, *keyword, *value;
    char *fault;
};

static bool wrong(const struct judging *j, const char *format, ...) PRINTF_LIKE(2, 3);

static bool wrong(const struct judging *j, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(j->fault, SCHEMA_FAULT_MAX, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_of_type(struct json_object *value, const char *type)
{
    static const struct {
        const char *name;
        enum json_type type;
    } types[] = {
        {"object", json_type_object}, {"array", json_type_array},     {"string", json_type_string},
        {"integer", json_type_int},   {"boolean", json_type_boolean}, {"null", json_type_null},
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i].name) == 0)
            return json_object_is_type(value, types[i].type);
    cr_assert_fail("no type of ours: %s", type);
    return false;
}

static bool holds_type(const struct judging *j)
{
    if (!json_object_is_type(j->keyword, json_type_array)) {
        const char *type = json_object_get_string(j->keyword);

        return is_of_type(j->value, type) || wrong(j, "is no %s", type);
    }
    for (size_t i = 0; i < json_object_array_length(j->keyword); i++)
        if (is_of_type(j->value, json_object_get_string(json_object_array_get_idx(j->keyword, i))))
            return true;
    return wrong(j, "is none of %s", json_object_get_string(j->keyword));
}

static bool holds_properties(const struct judging *j)
{
    if (!json_object_is_type(j->value, json_type_object))
        return true;
    json_object_object_foreach(j->keyword, name, schema)
    {
        struct json_object *member;
        char fault[SCHEMA_FAULT_MAX];

        if (json_object_object_get_ex(j->value, name, &member) &&
            !schema_holds(j->document, schema, member, fault))
            return wrong(j, "%s: %.400s", name, fault);
    }
    return true;
}

static bool holds_required(const struct judging *j)
{
    for (size_t i = 0; i < json_object_array_length(j->keyword); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(j->keyword, i));

        if (!json_object_object_get_ex(j->value, name, NULL))
            return wrong(j, "has no %s", name);
    }
    return true;
}

static bool holds_additional(const struct judging *j)
{
    struct json_object *named = json_member(j->document, j->schema, "properties");

    if (json_object_get_boolean(j->keyword))
        return true;
    json_object_object_foreach(j->value, name, member)
    {
        (void)member;
        if (!json_object_object_get_ex(named, name, NULL))
            return wrong(j, "has %s, of which the schema knows nothing", name);
    }
    return true;
}

static bool holds_items(const struct judging *j)
{
    for (size_t i = 0; i < json_object_array_length(j->value); i++) {
        char fault[SCHEMA_FAULT_MAX];

        if (!schema_holds(j->document, j->keyword, json_object_array_get_idx(j->value, i), fault))
            return wrong(j, "[%zu]: %.400s", i, fault);
    }
    return true;
}

static bool holds_enum(const struct judging *j)
{
    for (size_t i = 0; i < json_object_array_length(j->keyword); i++)
        if (json_object_equal(json_object_array_get_idx(j->keyword, i), j->value))
            return true;
    return wrong(j, "%s is none of %s", json_object_get_string(j->value),
                 json_object_get_string(j->keyword));
}

static bool holds_const(const struct judging *j)
{
    return json_object_equal(j->keyword, j->value) ||
           wrong(j, "%s is not %s", json_object_get_string(j->value),
                 json_object_get_string(j->keyword));
}

static bool holds_minimum(const struct judging *j)
{
    return json_object_get_int64(j->value) >= json_object_get_int64(j->keyword) ||
           wrong(j, "%s is too small", json_object_get_string(j->value));
}

static bool holds_maximum(const struct judging *j)
{
    return json_object_get_int64(j->value) <= json_object_get_int64(j->keyword) ||
           wrong(j, "%s is too large", json_object_get_string(j->value));
}

/* In characters. */
static int64_t length_of(struct json_object *string)
{
    int64_t length = 0;

    for (const char *at = json_object_get_string(string); *at != '\0'; at++)
        length += (*at & 0xc0) != 0x80;
    return length;
}

static bool holds_min_length(const struct judging *j)
{
    return length_of(j->value) >= json_object_get_int64(j->keyword) || wrong(j, "is too short");
}

/* null, where it may be, has no length. */
static bool holds_max_length(const struct judging *j)
{
    return j->value == NULL || length_of(j->value) <= json_object_get_int64(j->keyword) ||
           wrong(j, "is too long");
}

static bool holds_pattern(const struct judging *j)
{
    const char *pattern = json_object_get_string(j->keyword);
    regex_t regex;
    bool holds;

    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0, "%s", pattern);
    holds = regexec(&regex, json_object_get_string(j->value), 0, NULL, 0) == 0;
    regfree(&regex);
    return holds || wrong(j, "%s does not match %s", json_object_get_string(j->value), pattern);
}

static bool holds_ref(const struct judging *j)
{
    return schema_holds(j->document, at_pointer(j->document, json_object_get_string(j->keyword)),
                        j->value, j->fault);
}

static bool holds_anyhow(const struct judging *j)
{
    (void)j;
    return true;
}

static bool keyword_holds(const char *name, const struct judging *j)
{
    static const struct {
        const char *name;
        bool (*holds)(const struct judging *j);
    } keywords[] = {
        {"type", holds_type},
        {"properties", holds_properties},
        {"required", holds_required},
        {"additionalProperties", holds_additional},
        {"items", holds_items},
        {"enum", holds_enum},
        {"const", holds_const},
        {"minimum", holds_minimum},
        {"maximum", holds_maximum},
        {"minLength", holds_min_length},
        {"maxLength", holds_max_length},
        {"pattern", holds_pattern},
        {"$ref", holds_ref},
        {"description", holds_anyhow},
        {"default", holds_anyhow},
    };

    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (strcmp(name, keywords[i].name) == 0)
            return keywords[i].holds(j);
    return wrong(j, "the schema says %s, which nobody here knows", name);
}

/* `type` stands first in every schema: what follows may rely on it. */
bool schema_holds(struct json_object *document, struct json_object *schema,
                  struct json_object *value, char fault[static SCHEMA_FAULT_MAX])
{
    json_object_object_foreach(schema, name, keyword)
    {
        struct judging j = {document, schema, keyword, value, fault};

        if (!keyword_holds(name, &j))
            return false;
    }
    return true;
}

bool schema_holds_text(struct json_object *document, struct json_object *schema, const char *text,
                       char fault[static SCHEMA_FAULT_MAX])
{
    struct json_object *value = NULL;
    const char *type = json_text(json_resolve(document, schema), "type");
    char *end = NULL;
    bool holds;

    if (strcmp(type, "integer") == 0) {
        int64_t number = strtoll(text, &end, 10);

        value = *text != '\0' && *end == '\0' ? json_object_new_int64(number) : NULL;
    }
    if (value == NULL)
        value = json_object_new_string(text);
    holds = schema_holds(document, schema, value, fault);
    json_object_put(value);
    return holds;
}
