#include "app/body.h"

#include <errno.h>
#include <json-c/json_tokener.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- faults: in the words of the reference server --------------------------------------------- */

static int malformed(struct body_fault *ret_fault, const struct json_error *error)
{
    ret_fault->malformed = true;
    snprintf(ret_fault->what, sizeof(ret_fault->what),
             "Failed to parse the request body as JSON: %s at line %u column %u", error->what,
             error->line, error->column);
    return -EBADMSG;
}

static int no_user(struct body_fault *ret_fault, const char *format, ...) PRINTF_LIKE(2, 3);

static int no_user(struct body_fault *ret_fault, const char *format, ...)
{
    static const char begin[] = "Failed to deserialize the JSON body into the target type: ";
    size_t len = sizeof(begin) - 1;
    ret_fault->malformed = false;
    memcpy(ret_fault->what, begin, len);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(ret_fault->what + len, sizeof(ret_fault->what) - len, format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

/* The kind of value that begins with this byte, in text that json_check has passed. */
static const char *kind_of_value(uint8_t first)
{
    switch (first) {
    case '{':
        return "map";
    case '[':
        return "sequence";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "boolean";
    case 'n':
        return "null";
    default:
        return "number";
    }
}

/* --- the members of an object, in text that json_check has passed ----------------------------- */

static void skip_space(struct reader *in)
{
    while (in->at != in->end && (*in->at <= ' '))
        in->at++;
}

/* To after the closing quote. */
static void skip_string(struct reader *in)
{
    in->at++;
    while (*in->at != '"')
        in->at += *in->at == '\\' ? 2 : 1;
    in->at++;
}

static struct bytes get_value(struct reader *in)
{
    const uint8_t *start = in->at;
    unsigned depth = 0;
    do {
        switch (*in->at) {
        case '"':
            skip_string(in);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0) /* of what this value is in */
                return bytes_of(start, (size_t)(in->at - start));
            depth--;
            break;
        case ',':
            if (depth == 0)
                return bytes_of(start, (size_t)(in->at - start));
            break;
        default:
            break;
        }
        in->at++;
    } while (in->at != in->end);
    return bytes_of(start, (size_t)(in->at - start));
}

struct body_member {
    struct bytes key;   /* with its quotes, escapes not resolved */
    struct bytes value; /* white space may follow it */
};

/* After the '{' or a member; false at the '}'. */
static bool next_member(struct reader *in, struct body_member *ret_member)
{
    skip_space(in);
    if (*in->at == ',') {
        in->at++;
        skip_space(in);
    }
    if (*in->at == '}')
        return false;
    const uint8_t *start = in->at;
    skip_string(in);
    ret_member->key = bytes_of(start, (size_t)(in->at - start));
    skip_space(in);
    in->at++; /* the colon */
    skip_space(in);
    ret_member->value = get_value(in);
    return true;
}

#define KEY_BYTES_MAX 16u
#define KEY_FITS(name, limit, need, by, check, demand) \
    _Static_assert(sizeof(#name) <= KEY_BYTES_MAX, #name ": no key of so long a name is found");
USER_TEXTS(KEY_FITS)

static bool key_is(struct bytes key, const char *name)
{
    /* Escapes count as what they stand for: "na\u006de" is "name". */
    uint8_t plain[KEY_BYTES_MAX];
    struct reader in = reader_of(key);
    struct writer out = writer_of(plain, sizeof(plain));
    json_get_string(&in, &out);
    return !in.bad && bytes_equal(writer_bytes(&out), bytes_of_text(name));
}

/* --- values ----------------------------------------------------------------------------------- */

/* A string without escapes is its text already: what stands between the quotes. */
static bool is_plain(struct bytes value, struct bytes *ret_text)
{
    const uint8_t *start = value.at + 1, *end = memchr(start, '"', value.len - 1);
    assert(end != NULL);
    size_t len = (size_t)(end - start);
    if (memchr(start, '\\', len) != NULL)
        return false;
    *ret_text = bytes_of(start, len);
    return true;
}

/* By json-c, into `store`: its length, -EMSGSIZE, or -EBADMSG should json-c not read it. */
static int64_t resolve_escapes(struct bytes value, uint8_t *store, size_t capacity)
{
    static struct json_tokener *tokener; /* one thread, one tokener, for ever */
    if (tokener == NULL)
        tokener = json_tokener_new_ex(2);
    assert(tokener != NULL);
    json_tokener_reset(tokener);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object =
        json_tokener_parse_ex(tokener, (const char *)value.at, (int)value.len);
    int64_t result = -EBADMSG;
    if (json_tokener_get_error(tokener) == json_tokener_success &&
        json_object_is_type(object, json_type_string)) {
        size_t len = (size_t)json_object_get_string_len(object); /* NULs inside count */
        result = len <= capacity ? (int64_t)len : -EMSGSIZE;
        if (result >= 0)
            memcpy(store, json_object_get_string(object), len);
    }
    json_object_put(object);
    return result;
}

/* A string's text into `store`. json-c is for those that need it: each of its parses sets a locale
 * and takes it back, a tenth of what a request costs. */
static int64_t string_text(struct bytes value, uint8_t *store, size_t capacity)
{
    struct bytes plain;
    if (!is_plain(value, &plain))
        return resolve_escapes(value, store, capacity);
    if (plain.len > capacity)
        return -EMSGSIZE;
    memcpy(store, plain.at, plain.len);
    return (int64_t)plain.len;
}

/* A string; null is none where the text is optional. */
static int read_text(const struct body_member *member, const struct user_text_row *row,
                     struct writer *store, struct bytes *ret_text, struct body_fault *ret_fault)
{
    uint8_t first = member->value.at[0];
    bool optional = row->need == USER_TEXT_OPTIONAL;
    *ret_text = bytes_of(store->at, 0);
    if (first == 'n' && optional)
        return 0;
    if (first != '"')
        return no_user(ret_fault, "%s: invalid type: %s, expected a string%s", row->name,
                       kind_of_value(first), optional ? " or null" : "");
    int64_t len = string_text(member->value, store->at, row->bytes_max);
    if (len == -EMSGSIZE)
        return no_user(ret_fault, "%s: longer than %u bytes of UTF-8", row->name, row->bytes_max);
    struct bytes text = bytes_of(store->at, len > 0 ? (size_t)len : 0);
    if (len < 0 || !row->valid(text))
        return no_user(ret_fault, "%s: %s", row->name, row->demand);
    store->at += text.len;
    *ret_text = text;
    return 0;
}

/* The members that mean something here; a key of no length is one that is not there. */
struct body_members {
    struct body_member texts[USER_TEXTS_COUNT];
    struct body_member id;
};

/* The text of this name; USER_TEXTS_COUNT: none. */
static unsigned text_of(struct bytes key)
{
    unsigned i = 0;
    while (i < USER_TEXTS_COUNT && !key_is(key, user_text_rows[i].name))
        i++;
    return i;
}

static int take_once(const struct body_member *member, const char *name,
                     struct body_member *ret_member, struct body_fault *ret_fault)
{
    if (ret_member->key.len != 0)
        return no_user(ret_fault, "duplicate field `%s`", name);
    *ret_member = *member;
    return 0;
}

/* Adds those of the text to none. */
static int read_members(struct bytes text, struct body_members *ret_members,
                        struct body_fault *ret_fault)
{
    struct json_error error;
    if (json_check(text, &error) != 0)
        return malformed(ret_fault, &error);
    struct reader in = reader_of(text);
    skip_space(&in);
    if (*in.at != '{')
        return no_user(ret_fault, "invalid type: %s, expected an object of a user's members",
                       kind_of_value(*in.at));
    in.at++;
    struct body_member member;
    int bad = 0;
    while (bad == 0 && next_member(&in, &member)) {
        unsigned i = text_of(member.key);
        if (i < USER_TEXTS_COUNT)
            bad = take_once(&member, user_text_rows[i].name, &ret_members->texts[i], ret_fault);
        else if (key_is(member.key, "id"))
            ret_members->id = member; /* the last counts, where any does */
        /* unknown members are ignored */
    }
    return bad;
}

int body_read_patch(struct bytes text, struct body_text *store, struct body_user *ret_user,
                    struct body_fault *ret_fault)
{
    struct body_members members = {.id = {.key = {.len = 0}}};
    struct body_user user = {.sets = 0};
    struct writer out = writer_of(store->at, sizeof(store->at));
    int bad = read_members(text, &members, ret_fault);
    if (bad == 0)
        user.id = members.id.value;
    for (unsigned i = 0; bad == 0 && i < USER_TEXTS_COUNT; i++) {
        if (members.texts[i].key.len == 0)
            continue;
        user.sets |= USERS_SETS(i);
        bad = read_text(&members.texts[i], &user_text_rows[i], &out, &user.texts.at[i], ret_fault);
    }
    if (bad == 0)
        *ret_user = user;
    return bad;
}

int body_read_user(struct bytes text, struct body_text *store, struct body_user *ret_user,
                   struct body_fault *ret_fault)
{
    struct body_user user;
    int bad = body_read_patch(text, store, &user, ret_fault);
    for (unsigned i = 0; bad == 0 && i < USER_TEXTS_COUNT; i++) {
        if (user_text_rows[i].need == USER_TEXT_REQUIRED && (user.sets & USERS_SETS(i)) == 0)
            return no_user(ret_fault, "missing field `%s`", user_text_rows[i].name);
    }
    if (bad == 0)
        *ret_user = user;
    return bad;
}
