#include "raft/base/token.h"

#include <string.h>

static const char *const role_texts[] = {
    [TOKEN_NONE] = "none",
    [TOKEN_READ] = "read",
    [TOKEN_WRITE] = "write",
    [TOKEN_ADMIN] = "admin",
};

static const char hex_digits[] = "0123456789abcdef";

const char *token_role_text(enum token_role role)
{
    return role_texts[role];
}

bool token_role_read(struct bytes text, enum token_role *ret_role)
{
    for (enum token_role role = TOKEN_READ; role <= TOKEN_ADMIN; role++)
        if (bytes_equal(text, bytes_of_text(role_texts[role]))) {
            *ret_role = role;
            return true;
        }
    return false;
}

static bool is_of_a_name(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '_' || byte == '.' || byte == '@';
}

bool token_name_read(struct bytes text, char ret_name[TOKEN_NAME_MAX + 1])
{
    if (text.len == 0 || text.len > TOKEN_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_of_a_name(text.at[i]))
            return false;
    memcpy(ret_name, text.at, text.len);
    ret_name[text.len] = '\0';
    return true;
}

static int digit_value(uint8_t byte)
{
    for (int value = 0; value < 16; value++)
        if (byte == (uint8_t)hex_digits[value])
            return value;
    return -1;
}

static bool read_hash(struct bytes text, uint8_t ret_hash[TOKEN_HASH_BYTES])
{
    if (text.len != (size_t)2 * TOKEN_HASH_BYTES)
        return false;
    for (size_t i = 0; i < TOKEN_HASH_BYTES; i++) {
        int high = digit_value(text.at[2 * i]), low = digit_value(text.at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_hash[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

struct bytes token_word(struct reader *in)
{
    while (in->at != in->end && is_blank(*in->at))
        in->at++;
    const uint8_t *start = in->at;
    while (in->at != in->end && !is_blank(*in->at))
        in->at++;
    return bytes_of(start, (size_t)(in->at - start));
}

const char *token_line_read(struct bytes line, struct token *ret_token)
{
    struct reader in = reader_of(line);
    struct token token = {0};
    if (!read_hash(token_word(&in), token.hash))
        return "64 lower case hexadecimal digits are wanted first: a token's SHA-256";
    if (!token_role_read(token_word(&in), &token.role))
        return "a role is wanted after the hash: read, write or admin";
    if (!token_name_read(token_word(&in), token.name))
        return "a name is wanted after the role: 1 to 64 letters, digits, '-', '_', '.', '@'";
    if (token_word(&in).len > 0)
        return "there is more than a hash, a role and a name";
    *ret_token = token;
    return NULL;
}

void token_line_put(struct writer *out, const struct token *token)
{
    for (size_t i = 0; i < TOKEN_HASH_BYTES; i++) {
        put_u8(out, (uint8_t)hex_digits[token->hash[i] >> 4]);
        put_u8(out, (uint8_t)hex_digits[token->hash[i] & 15]);
    }
    put_text(out, " ");
    put_text(out, token_role_text(token->role));
    put_text(out, " ");
    put_text(out, token->name);
}
