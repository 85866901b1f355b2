#include "app/access.h"

#include "app/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)

void access_init(struct access *access, const char *path, bool open)
{
    assert(path == NULL || !open); /* options.c refuses both */
    *access = (struct access){.path = path, .open = open};
}

void access_done(struct access *access)
{
    free(access->tokens);
    *access = (struct access){0};
}

/* --- the file --------------------------------------------------------------------------------- */

static int fault(struct access_fault *ret_fault, unsigned line, const char *what)
{
    ret_fault->line = line;
    snprintf(ret_fault->what, sizeof(ret_fault->what), "%s", what);
    return -EBADMSG;
}

static const char *find_double(const struct token *tokens, size_t count, const struct token *token)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(tokens[i].hash, token->hash, TOKEN_HASH_BYTES) == 0)
            return "this hash stands on an earlier line, too";
        if (strcmp(tokens[i].name, token->name) == 0)
            return "this name stands on an earlier line, too";
    }
    return NULL;
}

/* All lines of `text` into room for ACCESS_TOKENS_MAX. */
static int read_tokens(struct bytes text, struct token *ret_tokens, size_t *ret_count,
                       struct access_fault *ret_fault)
{
    size_t count = 0;
    struct reader in = reader_of(text);
    for (unsigned number = 1; reader_left(&in) > 0; number++) {
        const uint8_t *end = memchr(in.at, '\n', reader_left(&in));
        if (end == NULL)
            return fault(ret_fault, number, "the last line has no end: the file may be cut off");
        struct bytes line = get_raw(&in, (size_t)(end - in.at));
        (void)get_u8(&in);
        struct reader words = reader_of(line);
        struct bytes first = token_word(&words);
        if (first.len == 0 || first.at[0] == '#')
            continue;
        if (count == ACCESS_TOKENS_MAX)
            return fault(ret_fault, number, "this is one token more than the 1024 there may be");
        struct token token;
        const char *what = token_line_read(line, &token);
        what = what != NULL ? what : find_double(ret_tokens, count, &token);
        if (what != NULL)
            return fault(ret_fault, number, what);
        ret_tokens[count++] = token;
    }
    *ret_count = count;
    return 0;
}

/* At most `size` bytes of the file. */
static int read_file(const char *path, uint8_t *at, size_t size, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t len = 0;
    ssize_t got;
    while ((got = read(fd, at + len, size - len)) > 0)
        len += (size_t)got;
    int error = got < 0 ? -errno : 0;
    close(fd);
    *ret_len = len;
    return error;
}

static int load(const char *path, uint8_t *text, struct token *tokens, size_t *ret_count,
                struct access_fault *ret_fault)
{
    size_t len = 0;
    int error = read_file(path, text, FILE_BYTES_MAX, &len);
    if (error != 0) {
        (void)fault(ret_fault, 0, strerror(-error));
        return error;
    }
    if (len == FILE_BYTES_MAX)
        return fault(ret_fault, 0, "it is longer than 1 MiB");
    return read_tokens(bytes_of(text, len), tokens, ret_count, ret_fault);
}

int access_load(struct access *access, struct access_fault *ret_fault)
{
    if (access->path == NULL)
        return 0;
    uint8_t *text = malloc(FILE_BYTES_MAX);
    struct token *tokens = calloc(ACCESS_TOKENS_MAX, sizeof(*tokens));
    size_t count = 0;
    int error = text != NULL && tokens != NULL ? load(access->path, text, tokens, &count, ret_fault)
                                               : fault(ret_fault, 0, "no memory");
    free(text);
    if (error != 0) {
        free(tokens);
        return error;
    }
    free(access->tokens);
    access->tokens = tokens;
    access->count = count;
    return 0;
}

/* --- a request -------------------------------------------------------------------------------- */

static bool begins_with(struct bytes text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && memcmp(text.at, start, len) == 0;
}

/* By the address that was asked. What is not known is not loopback. */
static bool is_loopback(struct bytes address)
{
    return begins_with(address, "127.") || begins_with(address, "::ffff:127.") ||
           begins_with(address, "unix:") || bytes_equal(address, bytes_of_text("::1"));
}

/* The word after "Bearer", in any case (RFC 9110 §11.4), and no more; false: it is another scheme.
 */
static bool bearer_of(struct bytes credentials, struct bytes *ret_token)
{
    struct reader in = reader_of(credentials);
    struct bytes scheme = token_word(&in);
    if (scheme.len != strlen("bearer") ||
        strncasecmp((const char *)scheme.at, "bearer", scheme.len) != 0)
        return false;
    *ret_token = token_word(&in);
    return token_word(&in).len == 0;
}

/* Looks at every token, so that the time it takes says nothing about any. */
static const struct token *find_token(const struct access *access, struct bytes text)
{
    uint8_t hash[DIGEST_BYTES];
    _Static_assert(DIGEST_BYTES == TOKEN_HASH_BYTES, "a token is known by its SHA-256");
    digest_sha256(text, hash);
    const struct token *found = NULL;
    for (size_t i = 0; i < access->count; i++)
        if (digest_equal(access->tokens[i].hash, hash))
            found = &access->tokens[i];
    return found;
}

enum access_verdict access_judge(const struct access *access, enum token_role needed,
                                 const struct request *request, struct access_scope *ret_scope)
{
    struct access_scope scope = {0};
    if (needed != TOKEN_NONE && access->path != NULL) {
        struct bytes text;
        if (!bearer_of(request->authorization, &text))
            return ACCESS_NO_TOKEN;
        const struct token *token = find_token(access, text);
        if (token == NULL)
            return ACCESS_UNKNOWN_TOKEN;
        if (token->role < needed)
            return ACCESS_TOO_SMALL;
        memcpy(scope.at, token->hash, sizeof(scope.at));
    } else if (needed != TOKEN_NONE && !access->open && !is_loopback(request->address)) {
        return ACCESS_UNSET;
    }
    *ret_scope = scope;
    return ACCESS_GRANTED;
}
