#include "app/idempotency.h"

#include "app/digest.h"

#include <string.h>

/* The text of the key, its quotes and escapes resolved; false when it is none. */
static bool read_key(struct bytes text, struct writer *out)
{
    while (text.len > 0 && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
        text.len--;
    bool quoted = text.len >= 2 && text.at[0] == '"' && text.at[text.len - 1] == '"';
    if (quoted)
        text = bytes_of(text.at + 1, text.len - 2);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.at[i];
        if (quoted && byte == '\\') {
            if (++i == text.len || (text.at[i] != '"' && text.at[i] != '\\'))
                return false;
            byte = text.at[i];
        } else if (byte < ' ' || byte > '~' || byte == '"' ||
                   (!quoted && (byte == ' ' || byte == ',' || byte == ';'))) {
            return false;
        }
        put_u8(out, byte);
    }
    return !out->bad && writer_len(out) > 0;
}

static struct request_id digest_of(struct bytes bytes)
{
    uint8_t digest[DIGEST_BYTES];
    struct request_id id;
    digest_sha256(bytes, digest);
    memcpy(id.at, digest, sizeof(id.at));
    return id;
}

struct request_id idempotency_scoped(const struct request_id *id,
                                     const uint8_t scope[static IDEMPOTENCY_SCOPE_BYTES])
{
    static const uint8_t nobody[IDEMPOTENCY_SCOPE_BYTES];
    uint8_t text[sizeof(id->at) + IDEMPOTENCY_SCOPE_BYTES];
    if (memcmp(scope, nobody, sizeof(nobody)) == 0)
        return *id;
    memcpy(text, id->at, sizeof(id->at));
    memcpy(text + sizeof(id->at), scope, IDEMPOTENCY_SCOPE_BYTES);
    return digest_of(bytes_of(text, sizeof(text)));
}

static void put_lines(struct writer *out, const struct request_lines *lines)
{
    put_u32(out, lines->count);
    for (uint32_t i = 0; i < lines->count; i++)
        put_bytes(out, bytes_of_text(lines->line[i]));
}

/* nginx lets at most 64 KiB of header fields through, and as much of a body. */
static uint8_t store[(192u << 10)]; /* one request at a time is dispatched */

const char *idempotency_read(const struct request *request,
                             const uint8_t scope[static IDEMPOTENCY_SCOPE_BYTES],
                             struct users_key *ret_key)
{
    uint8_t text[IDEMPOTENCY_KEY_BYTES_MAX];
    struct writer key = writer_of(text, sizeof(text));
    if (!read_key(bytes_of_text(request->idempotency_key), &key))
        return "`Idempotency-Key` must be 1 to 255 characters of printable ASCII, in double quotes "
               "or "
               "bare";
    struct writer out = writer_of(store, sizeof(store));
    put_raw(&out, bytes_of(scope, IDEMPOTENCY_SCOPE_BYTES));
    put_bytes(&out, writer_bytes(&key));
    ret_key->id = digest_of(writer_bytes(&out));

    out = writer_of(store, sizeof(store));
    put_u8(&out, (uint8_t)request->method);
    put_bytes(&out, request->path);
    put_bytes(&out, request->query);
    put_lines(&out, &request->if_match);
    put_lines(&out, &request->if_none_match);
    put_bytes(&out, request->body);
    if (out.bad)
        return "the request is too long to be remembered under an `Idempotency-Key`";
    ret_key->fingerprint = digest_of(writer_bytes(&out));
    return NULL;
}
