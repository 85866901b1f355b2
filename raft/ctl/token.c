/* token NAME: draws what a client shows (app/access.h), and the line that a server knows it by. */
#include "raft/ctl/ctl.h"

#include "raft/base/token.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define SECRET_BYTES 32u
#define PREFIX       "rc_" /* so that one that was lost is found in logs and repositories */
#define SHOWN_LEN    (sizeof(PREFIX) - 1 + (SECRET_BYTES * 8 + 5) / 6)

/* RFC 4648 §5, without padding. */
static void put_base64url(const uint8_t *at, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, held = 0;
    for (size_t i = 0; i < len; i++) {
        held = held << 8 | at[i];
        for (bits += 8; bits >= 6; bits -= 6)
            *out++ = digits[held >> (bits - 6) & 63];
    }
    if (bits > 0)
        *out++ = digits[held << (6 - bits) & 63];
    *out = '\0';
}

enum ctl_exit ctl_token(const struct ctl_arguments *arguments)
{
    struct token token;
    if (!token_role_read(bytes_of_text(arguments->role), &token.role) ||
        !token_name_read(bytes_of_text(arguments->path), token.name)) {
        fprintf(stderr,
                "rollcallctl: wanted are --role read, write or admin, and a NAME of 1 to %u "
                "letters, digits, '-', '_', '.', '@'\n",
                TOKEN_NAME_MAX);
        return CTL_USAGE;
    }
    uint8_t secret[SECRET_BYTES];
    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret)) {
        fprintf(stderr, "rollcallctl: no randomness: %s\n", strerror(errno));
        return CTL_FAILED;
    }
    char shown[SHOWN_LEN + 1] = PREFIX, line[2 * TOKEN_HASH_BYTES + TOKEN_NAME_MAX + 16];
    put_base64url(secret, sizeof(secret), shown + strlen(PREFIX));
    assert(strlen(shown) == SHOWN_LEN);
    unsigned hash_len = 0;
    if (EVP_Digest(shown, SHOWN_LEN, token.hash, &hash_len, EVP_sha256(), NULL) != 1) {
        fprintf(stderr, "rollcallctl: SHA-256 is not to be had\n");
        return CTL_FAILED;
    }
    assert(hash_len == TOKEN_HASH_BYTES);
    struct writer out = writer_of(line, sizeof(line));
    token_line_put(&out, &token);
    assert(!out.bad);
    printf("%s\n%.*s\n", shown, (int)writer_len(&out), line);
    return CTL_DONE;
}
