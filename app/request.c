#include "app/request.h"

#include "app/fcgi_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The parameters that mean something here: no other HTTP_…, and HTTP_PROXY least of all. */
enum parameter {
    REQUEST_METHOD,
    REQUEST_URI,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    REQUEST_ID,
    SERVER_ADDR,
    HTTP_AUTHORIZATION,
    HTTP_IDEMPOTENCY_KEY,
    HTTP_CONTENT_RANGE,
    SINGLE, /* those before come once, those from here on any number of times */
    HTTP_IF_MATCH = SINGLE,
    HTTP_IF_NONE_MATCH,
    HTTP_CONTENT_ENCODING,
    PARAMETERS
};

#define PARAMETER(name) [name] = {#name "=", sizeof(#name "=") - 1}

static const struct {
    const char *text;
    size_t len;
} parameter_names[PARAMETERS] = {
    PARAMETER(REQUEST_METHOD),     PARAMETER(REQUEST_URI),
    PARAMETER(CONTENT_TYPE),       PARAMETER(CONTENT_LENGTH),
    PARAMETER(REQUEST_ID),         PARAMETER(SERVER_ADDR),
    PARAMETER(HTTP_AUTHORIZATION), PARAMETER(HTTP_IDEMPOTENCY_KEY),
    PARAMETER(HTTP_IF_MATCH),      PARAMETER(HTTP_IF_NONE_MATCH),
    PARAMETER(HTTP_CONTENT_RANGE), PARAMETER(HTTP_CONTENT_ENCODING),
};

/* Which parameter this entry is; PARAMETERS for one that means nothing here. */
static size_t find_parameter(const char *entry)
{
    size_t i = 0;
    if (strchr("RCSH", entry[0]) == NULL)
        return PARAMETERS;
    while (i < PARAMETERS && strncmp(entry, parameter_names[i].text, parameter_names[i].len) != 0)
        i++;
    return i;
}

/* One pass over the environment; NULL where a parameter is not there. False: one is doubled. */
static bool collect(char **environment, const char *values[SINGLE],
                    struct request_lines lines[PARAMETERS - SINGLE])
{
    for (; *environment != NULL; environment++) {
        size_t i = find_parameter(*environment);
        if (i == PARAMETERS)
            continue;
        const char *value = *environment + parameter_names[i].len;
        if (i >= SINGLE) {
            struct request_lines *many = &lines[i - SINGLE];
            if (many->count == REQUEST_LINES_MAX)
                return false;
            many->line[many->count++] = value;
            continue;
        }
        if (values[i] != NULL)
            return false;
        values[i] = value;
    }
    return true;
}

static enum method method_of(const char *text)
{
    static const char *const names[] = {
        [METHOD_GET] = "GET",         [METHOD_HEAD] = "HEAD",   [METHOD_POST] = "POST",
        [METHOD_PUT] = "PUT",         [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE",
        [METHOD_OPTIONS] = "OPTIONS",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0)
            return (enum method)i;
    return METHOD_OTHER;
}

/* -1 for what is no digit. By table: the digits of an id are random, which branches take badly. */
static int hex_value(uint8_t byte)
{
    static const uint8_t plus_one[256] = {
        ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,
        ['6'] = 7,  ['7'] = 8,  ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
        ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
        ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    };
    return plus_one[byte] - 1;
}

bool request_id_parse(struct bytes text, struct request_id *ret_id)
{
    struct request_id id;
    if (text.len != 2 * sizeof(id.at))
        return false;
    for (size_t i = 0; i < sizeof(id.at); i++) {
        int high = hex_value(text.at[2 * i]), low = hex_value(text.at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        id.at[i] = (uint8_t)(high << 4 | low);
    }
    *ret_id = id;
    return true;
}

static struct request_id random_id(void)
{
    struct request_id id;
    ssize_t got = getrandom(id.at, sizeof(id.at), 0);
    /* Up to 256 bytes are given in one piece (getrandom(2)); without them no write is safe. */
    assert(got == (ssize_t)sizeof(id.at));
    return id;
}

/* CONTENT_LENGTH; SIZE_MAX when it is none. Missing or empty it says nothing: `otherwise`. */
static size_t length_told(const char *text, size_t otherwise)
{
    size_t value = 0;
    if (text == NULL || *text == '\0')
        return otherwise;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > SIZE_MAX / 100)
            return SIZE_MAX;
        value = value * 10 + (size_t)(*text - '0');
    }
    return value;
}

static int fault(struct request_fault *ret_fault, const char *what)
{
    ret_fault->what = what;
    return -EBADMSG;
}

int request_read(char **environment, struct bytes body, bool too_big, struct request *ret_request,
                 struct request_fault *ret_fault)
{
    const char *values[SINGLE] = {NULL};
    struct request_lines lines[PARAMETERS - SINGLE] = {{.count = 0}};
    bool single = collect(environment, values, lines);
    ret_request->method = METHOD_OTHER;
    if (values[REQUEST_METHOD] == NULL || values[REQUEST_URI] == NULL)
        return fault(ret_fault, "the web server did not say what was requested");
    struct request request = {.method = method_of(values[REQUEST_METHOD])};
    ret_request->method = request.method;
    if (!single)
        return fault(ret_fault, "a header field or parameter of the request came too often");
    size_t told = length_told(values[CONTENT_LENGTH], body.len);
    if (told > REQUEST_BODY_BYTES_MAX && told != SIZE_MAX)
        too_big = true; /* nginx does not pass on what it need not read */
    if (!too_big && told != body.len)
        return fault(ret_fault, "the body is not as long as Content-Length says");

    request.path = bytes_of_text(values[REQUEST_URI]);
    const uint8_t *mark = memchr(request.path.at, '?', request.path.len);
    if (mark != NULL) {
        size_t path_len = (size_t)(mark - request.path.at);
        request.query = bytes_of(mark + 1, request.path.len - path_len - 1);
        request.path.len = path_len;
    }
    if (values[CONTENT_TYPE] != NULL)
        request.content_type = bytes_of_text(values[CONTENT_TYPE]);
    request.if_match = lines[HTTP_IF_MATCH - SINGLE];
    request.if_none_match = lines[HTTP_IF_NONE_MATCH - SINGLE];
    request.content_encoding = lines[HTTP_CONTENT_ENCODING - SINGLE];
    request.idempotency_key = values[HTTP_IDEMPOTENCY_KEY];
    request.partial = values[HTTP_CONTENT_RANGE] != NULL;
    if (values[SERVER_ADDR] != NULL)
        request.address = bytes_of_text(values[SERVER_ADDR]);
    if (values[HTTP_AUTHORIZATION] != NULL)
        request.authorization = bytes_of_text(values[HTTP_AUTHORIZATION]);
    if (!too_big)
        request.body = body;
    request.too_big = too_big;
    if (values[REQUEST_ID] == NULL ||
        !request_id_parse(bytes_of_text(values[REQUEST_ID]), &request.id))
        request.id = random_id();
    *ret_request = request;
    return 0;
}

/* --- Content-Type: type "/" subtype *( OWS ";" OWS [ name "=" ( token / quoted ) ] ) ---------- */

/* RFC 9110 §5.6.2. */
static bool is_token_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static struct bytes get_token(struct reader *in)
{
    const uint8_t *start = in->at;
    while (in->at != in->end && is_token_byte(*in->at))
        in->at++;
    return bytes_of(start, (size_t)(in->at - start));
}

static bool get_byte(struct reader *in, uint8_t byte)
{
    if (in->at == in->end || *in->at != byte)
        return false;
    in->at++;
    return true;
}

static void skip_blanks(struct reader *in)
{
    while (in->at != in->end && (*in->at == ' ' || *in->at == '\t'))
        in->at++;
}

static bool get_quoted(struct reader *in)
{
    if (!get_byte(in, '"'))
        return false;
    while (in->at != in->end && *in->at != '"') {
        if (*in->at == '\\')
            in->at++;
        if (in->at != in->end)
            in->at++;
    }
    return get_byte(in, '"');
}

static bool equals_ignoring_case(struct bytes a, const char *b)
{
    return a.len == strlen(b) && strncasecmp((const char *)a.at, b, a.len) == 0;
}

static bool ends_with_json(struct bytes subtype)
{
    static const char suffix[] = "+json";
    size_t len = sizeof(suffix) - 1;
    return subtype.len > len &&
           equals_ignoring_case(bytes_of(subtype.at + subtype.len - len, len), suffix);
}

/* The parameters mean nothing here, but must be ones: "application/json, text/plain" is no type. */
static bool parameters_are_good(struct reader *in)
{
    for (;;) {
        skip_blanks(in);
        if (in->at == in->end)
            return true;
        if (!get_byte(in, ';'))
            return false;
        skip_blanks(in);
        if (get_token(in).len == 0)
            continue; /* a trailing ';' */
        if (!get_byte(in, '=') || (get_token(in).len == 0 && !get_quoted(in)))
            return false;
    }
}

/* The subtype of application/SUBTYPE; empty for any other, or for what is no type. */
static struct bytes application_subtype(const struct request *request)
{
    struct reader in = reader_of(request->content_type);
    skip_blanks(&in);
    struct bytes type = get_token(&in);
    bool slash = get_byte(&in, '/');
    struct bytes subtype = get_token(&in);
    if (!slash || !equals_ignoring_case(type, "application") || !parameters_are_good(&in))
        subtype.len = 0;
    return subtype;
}

bool request_is_json(const struct request *request)
{
    struct bytes subtype = application_subtype(request);
    return equals_ignoring_case(subtype, "json") || ends_with_json(subtype);
}

bool request_is_merge_patch(const struct request *request)
{
    return equals_ignoring_case(application_subtype(request), "merge-patch+json");
}

/* A list of codings; an empty element is none, and neither is "identity". */
bool request_is_coded(const struct request *request)
{
    for (uint32_t i = 0; i < request->content_encoding.count; i++) {
        struct reader in = reader_of(bytes_of_text(request->content_encoding.line[i]));
        while (reader_left(&in) > 0) {
            skip_blanks(&in);
            struct bytes coding = get_token(&in);
            skip_blanks(&in);
            bool ended = reader_left(&in) == 0 || get_byte(&in, ',');
            if (!ended || (coding.len > 0 && !equals_ignoring_case(coding, "identity")))
                return true;
        }
    }
    return false;
}

/* --- query ------------------------------------------------------------------------------------ */

static int decode_value(struct bytes text, struct writer *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.at[i];
        if (byte == '+') {
            byte = ' ';
        } else if (byte == '%') {
            int high = text.len - i > 2 ? hex_value(text.at[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_value(text.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -EINVAL;
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        }
        put_u8(out, byte);
    }
    return out->bad ? -EINVAL : 0;
}

/* The next pair of the query; false when there is none. The value is empty when there is no '='. */
static bool next_pair(struct reader *in, struct bytes *ret_name, struct bytes *ret_value)
{
    if (reader_left(in) == 0)
        return false;
    const uint8_t *end = memchr(in->at, '&', reader_left(in));
    size_t len = end != NULL ? (size_t)(end - in->at) : reader_left(in);
    struct bytes pair = get_raw(in, len);
    if (end != NULL)
        (void)get_u8(in);
    const uint8_t *equals = len > 0 ? memchr(pair.at, '=', pair.len) : NULL;
    size_t name_len = equals != NULL ? (size_t)(equals - pair.at) : pair.len;
    size_t skip = equals != NULL ? name_len + 1 : name_len;
    *ret_name = bytes_of(pair.at, name_len);
    *ret_value = bytes_of(pair.at + skip, pair.len - skip);
    return true;
}

#define NAME_BYTES_MAX 32u

/* Is the name, as it was sent, this one? Names are encoded as values are. */
static bool is_name(struct bytes sent, struct bytes wanted)
{
    uint8_t text[NAME_BYTES_MAX];
    struct writer out = writer_of(text, sizeof(text));
    return decode_value(sent, &out) == 0 && bytes_equal(writer_bytes(&out), wanted);
}

static bool is_known(struct bytes sent, const char *known)
{
    while (*known != '\0') {
        size_t len = strcspn(known, " ");
        if (is_name(sent, bytes_of((const uint8_t *)known, len)))
            return true;
        known += len;
        known += strspn(known, " ");
    }
    return false;
}

bool request_unknown_parameter(const struct request *request, const char *known,
                               char ret_name[static REQUEST_NAME_SHOWN])
{
    struct reader in = reader_of(request->query);
    struct bytes name, value;
    while (next_pair(&in, &name, &value)) {
        bool nothing = name.len == 0 && value.len == 0; /* "&&", or "?" alone */
        if (nothing || is_known(name, known))
            continue;
        size_t len = name.len < REQUEST_NAME_SHOWN ? name.len : REQUEST_NAME_SHOWN - 1;
        for (size_t i = 0; i < len; i++)
            ret_name[i] = name.at[i] > ' ' && name.at[i] <= '~' ? (char)name.at[i] : '?';
        ret_name[len] = '\0';
        return true;
    }
    return false;
}

int request_parameter_next(struct reader *in, const char *name, struct writer *out)
{
    struct bytes wanted = bytes_of_text(name), found, value;
    while (next_pair(in, &found, &value))
        if (is_name(found, wanted))
            return decode_value(value, out) == 0 ? 1 : -EINVAL;
    return 0;
}

bool request_has_parameter(const struct request *request, const char *name)
{
    struct reader in = reader_of(request->query);
    struct writer nothing = writer_of(NULL, 0);
    return request_parameter_next(&in, name, &nothing) != 0;
}

int request_parameter(const struct request *request, const char *name, struct writer *out)
{
    struct reader in = reader_of(request->query);
    int found = request_parameter_next(&in, name, out);
    struct writer nothing = writer_of(NULL, 0);
    if (found == 1 && request_parameter_next(&in, name, &nothing) != 0)
        return -EINVAL;
    return found;
}
