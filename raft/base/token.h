/*
 * What a server knows of a bearer token, as a line of the file that lists them:
 *
 *     6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d write alice
 *
 * 64 lower case hexadecimal digits (the token's SHA-256), a role and a name, with blanks between.
 * rollcallctl writes such lines, app/access.c reads them.
 */
#ifndef ROLLCALL_BASE_TOKEN_H
#define ROLLCALL_BASE_TOKEN_H

#include "raft/base/bytes.h"

#define TOKEN_HASH_BYTES 32u
#define TOKEN_NAME_MAX   64u

/* Each may do all that those before it may. */
enum token_role {
    TOKEN_NONE, /* no token's: what it may do needs none */
    TOKEN_READ,
    TOKEN_WRITE,
    TOKEN_ADMIN,
};

struct token {
    uint8_t hash[TOKEN_HASH_BYTES];
    enum token_role role;
    char name[TOKEN_NAME_MAX + 1]; /* letters, digits, '-', '_', '.', '@' */
};

const char *token_role_text(enum token_role role);

/* False when the text is none, and nothing is set. */
NODISCARD bool token_role_read(struct bytes text, enum token_role *ret_role);
NODISCARD bool token_name_read(struct bytes text, char ret_name[TOKEN_NAME_MAX + 1]);

/* NULL, or what is wrong with the line; then nothing is set. */
NODISCARD const char *token_line_read(struct bytes line, struct token *ret_token);
/* Without the end of the line. */
void token_line_put(struct writer *out, const struct token *token);

/* The next word of a text whose words have blanks or tabs between them; empty at its end. */
struct bytes token_word(struct reader *in);

#endif
