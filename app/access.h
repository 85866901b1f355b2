/*
 * Who may ask for what: bearer tokens (RFC 6750), of which a file holds the SHA-256 and the role.
 *
 *     # comment, or nothing at all
 *     6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d write alice
 *
 * A line is 64 lower case hexadecimal digits, a role and a name, with blanks between. No hash and
 * no name stands there twice. Whoever reads the file cannot ask with it.
 *
 * A file without a line is nobody. Without such a file everybody may ask on loopback and nobody
 * elsewhere, unless access is open by the operator's word.
 */
#ifndef ROLLCALL_APP_ACCESS_H
#define ROLLCALL_APP_ACCESS_H

#include "app/request.h"
#include "raft/base/token.h"

#define ACCESS_TOKENS_MAX 1024u

struct access {
    const char *path; /* borrowed; NULL: there are no tokens */
    bool open;        /* everybody may ask, from anywhere */
    size_t count;
    struct token *tokens; /* owned */
};

/* Whose request it is, for what must not be shared between clients: the first bytes of the token's
 * hash; zeros where no token was asked for. */
struct access_scope {
    uint8_t at[16];
};

/* What is wrong with a file. `line` is 0 when no line is to blame. */
struct access_fault {
    unsigned line;
    char what[96];
};

enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_NO_TOKEN,      /* 401: none was given */
    ACCESS_UNKNOWN_TOKEN, /* 401: not one of ours */
    ACCESS_TOO_SMALL,     /* 403: the token's role is another */
    ACCESS_UNSET,         /* 403: there are no tokens, and this is not loopback */
};

/* Neither file nor opening: loopback alone. */
void access_init(struct access *access, const char *path, bool open);
void access_done(struct access *access);

/*
 * Reads the file, in one piece or not at all: -EBADMSG or what open and read say, with *ret_fault;
 * the tokens are then those of before. Does nothing where there is no file.
 */
NODISCARD int access_load(struct access *access, struct access_fault *ret_fault);

/* May it be asked, where this role is needed (route.h says which)? By the request's token and
 * address alone. *ret_scope is set when access is granted. */
enum access_verdict access_judge(const struct access *access, enum token_role needed,
                                 const struct request *request, struct access_scope *ret_scope);

#endif
