/*
 * Who may ask for what, written out: every method at every path, and at paths where there is
 * nothing, by everybody who may come. The tokens are those of access_test.c.
 */
#include "app/route.h"

#include "tests/app/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(access_table, .timeout = 120);

static const char tokens[] =
    "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30 read rita\n"
    "b93006774cbdd4b299389a03ac3d88c3a76b460d538795bc12718011a909fba5 write walter\n"
    "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918 admin anna\n";

/* BREW stands for every method that no resource here takes, TRACE for one that HTTP knows. */
enum { METHODS = 9 };
static const char *const method_text[METHODS] = {"GET",    "HEAD",    "POST",  "PUT", "PATCH",
                                                 "DELETE", "OPTIONS", "TRACE", "BREW"};
static const enum method method_of[METHODS] = {METHOD_GET,     METHOD_HEAD,  METHOD_POST,
                                               METHOD_PUT,     METHOD_PATCH, METHOD_DELETE,
                                               METHOD_OPTIONS, METHOD_OTHER, METHOD_OTHER};

/*
 * By method, in this order: the role that it takes (none, read, write, admin), and what one who
 * has it is answered: by a handler, what Allow says (o), 405 (x) or that there is nothing (4).
 */
struct row {
    const char *path;
    const char *role, *answer;
};

static const struct row rows[] = {
    {"/users", "rrwwwwrww", "hhhxxxoxx"},
    {"/users/7", "rrwwwwrww", "hhxhhhoxx"},
    {"/users/9007199254740991", "rrwwwwrww", "hhxhhhoxx"},
    {"/livez", "---------", "hhxxxxoxx"},
    {"/readyz", "---------", "hhxxxxoxx"},
    {"/cluster", "aaaaaaaaa", "hhxxxxoxx"},
    {"/metrics", "aaaaaaaaa", "hhxxxxoxx"},
    {"/openapi.json", "rrwwwwrww", "hhxxxxoxx"},
    {"/problems", "---------", "hhxxxxoxx"},
    {"/problems/forbidden", "---------", "hhxxxxoxx"},
    {"/problems/not-found", "---------", "hhxxxxoxx"},
    /* What looks like one of these, and is none. */
    {"/problems/nothing-like-it", "---------", "444444444"},
    {"/problems/", "---------", "444444444"},
    {"/problems/forbidden/", "---------", "444444444"},
    {"/problems/{type}", "---------", "444444444"},
    {"/problems//forbidden", "---------", "444444444"},
    {"/problemss", "rrwwwwrww", "444444444"},
    {"/problem", "rrwwwwrww", "444444444"},
    {"//problems/forbidden", "rrwwwwrww", "444444444"},
    {"/", "rrwwwwrww", "444444444"},
    {"*", "rrwwwwrww", "444444444"},
    {"/nowhere", "rrwwwwrww", "444444444"},
    {"/users/", "rrwwwwrww", "444444444"},
    {"/users/0", "rrwwwwrww", "444444444"},
    {"/users/07", "rrwwwwrww", "444444444"},
    {"/users/{id}", "rrwwwwrww", "444444444"},
    {"/users/9007199254740992", "rrwwwwrww", "444444444"},
    {"/users/7/", "rrwwwwrww", "444444444"},
    {"/livez/", "rrwwwwrww", "444444444"},
    {"/livezz", "rrwwwwrww", "444444444"},
    {"/Livez", "rrwwwwrww", "444444444"},
    {"/readyz/x", "rrwwwwrww", "444444444"},
    {"/cluster/", "rrwwwwrww", "444444444"},
    {"/cluster/x", "rrwwwwrww", "444444444"},
    {"/metrics/", "rrwwwwrww", "444444444"},
    {"/metrics%20", "rrwwwwrww", "444444444"},
    {"/openapi.jso", "rrwwwwrww", "444444444"},
};

/*
 * Who comes, and the verdict where no role is wanted, read, write, admin: Granted, No token, an
 * Unknown one, one that is too Small, or nobody has said who may (X).
 */
struct guest {
    const char *who;
    const char *authorization;
    const char *address;
    bool tokens, open;
    const char *verdict;
};

static const struct guest guests[] = {
    {"nobody", "", "192.0.2.1", true, false, "GNNN"},
    {"nobody, at loopback", "", "127.0.0.1", true, false, "GNNN"},
    {"one of another scheme", "Basic YWRtaW46", "127.0.0.1", true, false, "GNNN"},
    {"a stranger", "Bearer stranger", "127.0.0.1", true, false, "GUUU"},
    {"a reader", "Bearer reader", "192.0.2.1", true, false, "GGSS"},
    {"a writer", "Bearer writer", "192.0.2.1", true, false, "GGGS"},
    {"an admin", "Bearer admin", "192.0.2.1", true, false, "GGGG"},
    {"anybody, where all is open", "", "192.0.2.1", false, true, "GGGG"},
    {"a stranger, where all is open", "Bearer stranger", "", false, true, "GGGG"},
    {"anybody at loopback", "", "127.0.0.1", false, false, "GGGG"},
    {"anybody elsewhere", "", "192.0.2.1", false, false, "GXXX"},
    {"an admin elsewhere", "Bearer admin", "192.0.2.1", false, false, "GXXX"},
    {"anybody at an unknown address", "", "", false, false, "GXXX"},
};

static const char role_letters[] = "-rwa";

static char verdict_for(const struct guest *guest, char role)
{
    return guest->verdict[strchr(role_letters, role) - role_letters];
}

/* --- the functions ---------------------------------------------------------------------------- */

static void load(struct access *access)
{
    char path[] = "/tmp/rollcall-tokens-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, tokens, strlen(tokens)) == (ssize_t)strlen(tokens));
    close(fd);
    struct access_fault fault;
    access->path = path;
    int error = access_load(access, &fault);
    access->path = "loaded";
    unlink(path);
    cr_assert(eq(int, error, 0), "%s", fault.what);
}

static enum access_verdict judge(const struct access *access, const struct request *request)
{
    struct access_scope scope;
    enum token_role needed = route_find(request->method, request->path).role;
    return access_judge(access, needed, request, &scope);
}

static char letter_of(enum access_verdict verdict)
{
    switch (verdict) {
    case ACCESS_GRANTED:
        return 'G';
    case ACCESS_NO_TOKEN:
        return 'N';
    case ACCESS_UNKNOWN_TOKEN:
        return 'U';
    case ACCESS_TOO_SMALL:
        return 'S';
    case ACCESS_UNSET:
        return 'X';
    }
    UNREACHABLE();
}

Test(access_table, is_what_the_functions_say)
{
    for (size_t g = 0; g < ARRAY_LEN(guests); g++) {
        const struct guest *guest = &guests[g];
        struct access access;
        access_init(&access, NULL, guest->open);
        if (guest->tokens)
            load(&access);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            for (size_t m = 0; m < METHODS; m++) {
                struct request request = {
                    .method = method_of[m],
                    .path = bytes_of_text(rows[i].path),
                    .authorization = bytes_of_text(guest->authorization),
                    .address = bytes_of_text(guest->address),
                };
                char wanted = verdict_for(guest, rows[i].role[m]);
                char is = letter_of(judge(&access, &request));
                cr_expect(wanted == is, "%s %s of %s: %c, not %c", method_text[m], rows[i].path,
                          guest->who, is, wanted);
            }
        access_done(&access);
    }
}

/* --- the worker ------------------------------------------------------------------------------- */

static bool is_handled(const struct reply *reply)
{
    return reply->status >= 200 && reply->status != 401 && reply->status != 403 &&
           reply->status != 405 && strstr(reply->body, "there is nothing at this path") == NULL;
}

static bool is_granted(const struct reply *reply, bool head, char answer)
{
    switch (answer) {
    case 'h':
        return is_handled(reply);
    case 'o':
        return reply->status == 204 && reply_header(reply, "Allow")[0] != '\0';
    case 'x':
        return reply->status == 405 && reply_header(reply, "Allow")[0] != '\0';
    case '4':
        return reply->status == 404 &&
               (head || strstr(reply->body, "there is nothing at this path") != NULL);
    }
    UNREACHABLE();
}

/* The answer is the verdict's, and says the role that is wanted. */
static bool is_denied(const struct reply *reply, bool head, char verdict, char role)
{
    static const char *const scopes[] = {"", "scope=\"read\"", "scope=\"write\"",
                                         "scope=\"admin\""};
    if (reply_header(reply, "Allow")[0] != '\0')
        return false; /* a stranger learns not even what there is */
    const char *challenge = reply_header(reply, "WWW-Authenticate");
    switch (verdict) {
    case 'N':
        return reply->status == 401 && strcmp(challenge, "Bearer realm=\"rollcall\"") == 0;
    case 'U':
        return reply->status == 401 && strstr(challenge, "invalid_token") != NULL;
    case 'S':
        return reply->status == 403 &&
               strstr(challenge, scopes[strchr(role_letters, role) - role_letters]) != NULL;
    case 'X':
        return reply->status == 403 && challenge[0] == '\0' &&
               (head || strstr(reply->body, "--open-access") != NULL);
    }
    UNREACHABLE();
}

static void ask_all(const struct stage *stage, const struct guest *guest)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t m = 0; m < METHODS; m++) {
            struct fcgi_ask ask = {
                .method = method_text[m],
                .uri = rows[i].path,
                .address = guest->address,
                .authorization = guest->authorization[0] != '\0' ? guest->authorization : NULL,
            };
            if (m >= 2 && m <= 4)
                ask.body = bytes_of_text("{\"name\":\"Bob\"}");
            struct reply *reply = fcgi_ask(stage, &ask);
            char verdict = verdict_for(guest, rows[i].role[m]);
            bool head = method_of[m] == METHOD_HEAD;
            cr_expect(verdict == 'G' ? is_granted(reply, head, rows[i].answer[m])
                                     : is_denied(reply, head, verdict, rows[i].role[m]),
                      "%s %s of %s: not %c but %s %s", method_text[m], rows[i].path, guest->who,
                      verdict, reply->head, reply->body);
            free(reply);
        }
}

Test(access_table, is_what_the_worker_answers)
{
    for (size_t g = 0; g < ARRAY_LEN(guests); g++) {
        struct stage_options options = {.tokens = guests[g].tokens ? tokens : NULL,
                                        .open_access = guests[g].open};
        struct stage *stage = stage_start(options);
        ask_all(stage, &guests[g]);
        stage_stop(stage);
    }
}
