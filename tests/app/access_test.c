/* Who may ask for what. The tokens here are "reader", "writer" and "admin", whose SHA-256 these
 * are. */
#include "app/access.h"

#include "tests/app/stage.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define READER "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30"
#define WRITER "b93006774cbdd4b299389a03ac3d88c3a76b460d538795bc12718011a909fba5"
#define ADMIN  "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918"
#define OTHER  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"

static const char file_of_three[] = "# who may ask\n\n" READER " read rita\n  " WRITER
                                    "\twrite  walter\n" ADMIN " admin anna\n \t# the end\n";

TestSuite(access, .timeout = 60);

/* --- the file --------------------------------------------------------------------------------- */

/* Loads a file that holds this. */
static int load(struct access *access, struct bytes text, struct access_fault *ret_fault)
{
    static char path[] = "/tmp/rollcall-tokens-XXXXXX";
    snprintf(path, sizeof(path), "/tmp/rollcall-tokens-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text.at, text.len) == (ssize_t)text.len);
    close(fd);
    access->path = path;
    int error = access_load(access, ret_fault);
    unlink(path);
    return error;
}

static struct access access_of_three(void)
{
    struct access access;
    struct access_fault fault;
    access_init(&access, NULL, false);
    cr_assert(eq(int, load(&access, bytes_of_text(file_of_three), &fault), 0), "%s", fault.what);
    cr_assert(eq(sz, access.count, 3));
    return access;
}

Test(access, file_that_is_no_good_is_refused_by_line_and_the_old_one_stays)
{
    const struct {
        const char *text;
        unsigned line;
        const char *what;
    } rows[] = {
        {OTHER " read a\n\n" OTHER " chief b\n", 3, "role"},
        {OTHER " read a\n" OTHER " read b\n", 2, "hash stands"},
        {OTHER " read a\n" READER " write a\n", 2, "name stands"},
        {OTHER " read a", 1, "cut off"},
        {OTHER " read a\n#", 2, "cut off"},
        {OTHER " read a\r\n", 1, "name"},
        {"secret in the clear\n", 1, "digits"},
    };
    struct access access = access_of_three();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct access_fault fault;
        cr_expect(eq(int, load(&access, bytes_of_text(rows[i].text), &fault), -EBADMSG));
        cr_expect(eq(uint, fault.line, rows[i].line), "row %zu", i);
        cr_expect(strstr(fault.what, rows[i].what) != NULL, "row %zu: %s", i, fault.what);
        cr_expect(eq(sz, access.count, 3));
    }
    struct access_fault fault;
    access.path = "/nowhere/tokens";
    cr_expect(eq(int, access_load(&access, &fault), -ENOENT));
    cr_expect(strstr(fault.what, "No such file") != NULL);
    access_done(&access);
}

Test(access, file_without_a_line_is_nobody)
{
    const char *const texts[] = {"", "# nobody\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct access access = access_of_three();
        struct access_fault fault;
        cr_expect(eq(int, load(&access, bytes_of_text(texts[i]), &fault), 0));
        cr_expect(eq(sz, access.count, 0));
        access_done(&access);
    }
}

Test(access, file_has_room_for_so_many_tokens_and_no_more)
{
    static char text[ACCESS_TOKENS_MAX * 96 + 96];
    for (unsigned more = 0; more < 2; more++) {
        size_t len = 0;
        for (unsigned i = 0; i < ACCESS_TOKENS_MAX + more; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%064x read n%u\n", i, i);
        struct access access;
        struct access_fault fault;
        access_init(&access, NULL, false);
        cr_expect(eq(int, load(&access, bytes_of(text, len), &fault), more == 0 ? 0 : -EBADMSG));
        cr_expect(more == 0 || fault.line == ACCESS_TOKENS_MAX + 1);
        access_done(&access);
    }
    struct access access;
    struct access_fault fault;
    char *long_one = calloc(1, 1 << 20);
    memset(long_one, '\n', 1 << 20);
    access_init(&access, NULL, false);
    cr_expect(eq(int, load(&access, bytes_of(long_one, 1 << 20), &fault), -EBADMSG));
    cr_expect(strstr(fault.what, "1 MiB") != NULL, "%s", fault.what);
    free(long_one);
    access_done(&access);
}

/* --- a request -------------------------------------------------------------------------------- */

static struct request ask(const char *authorization)
{
    return (struct request){.authorization = bytes_of_text(authorization),
                            .address = bytes_of_text("192.0.2.1")};
}

static enum access_verdict judge(const struct access *access, enum token_role needed,
                                 const char *authorization)
{
    struct access_scope scope;
    struct request request = ask(authorization);
    return access_judge(access, needed, &request, &scope);
}

/* Which path takes which role: access_table_test.c. */
Test(access, each_role_may_do_what_the_smaller_ones_may)
{
    static const char *const tokens[] = {"Bearer reader", "Bearer writer", "Bearer admin"};
    struct access access = access_of_three();
    for (enum token_role needed = TOKEN_NONE; needed <= TOKEN_ADMIN; needed++) {
        enum access_verdict bare = needed == TOKEN_NONE ? ACCESS_GRANTED : ACCESS_NO_TOKEN;
        cr_expect(eq(int, judge(&access, needed, ""), bare));
        for (enum token_role role = TOKEN_READ; role <= TOKEN_ADMIN; role++)
            cr_expect(eq(int, judge(&access, needed, tokens[role - 1]),
                         role >= needed ? ACCESS_GRANTED : ACCESS_TOO_SMALL),
                      "%s as %s", token_role_text(needed), token_role_text(role));
    }
    access_done(&access);
}

Test(access, credentials_are_read_as_they_are_written)
{
    static const struct {
        const char *authorization;
        enum access_verdict verdict;
    } rows[] = {
        {"Bearer reader", ACCESS_GRANTED},
        {"bEARER \t reader ", ACCESS_GRANTED},
        {"", ACCESS_NO_TOKEN},
        {"Basic cmVhZGVyOg==", ACCESS_NO_TOKEN},
        {"reader", ACCESS_NO_TOKEN},
        {"Bearerreader", ACCESS_NO_TOKEN},
        {"Bearer", ACCESS_UNKNOWN_TOKEN},
        {"Bearer ", ACCESS_UNKNOWN_TOKEN},
        {"Bearer Reader", ACCESS_UNKNOWN_TOKEN},
        {"Bearer reade", ACCESS_UNKNOWN_TOKEN},
        {"Bearer readers", ACCESS_UNKNOWN_TOKEN},
        {"Bearer reader writer", ACCESS_NO_TOKEN},
        {"Bearer reader, Bearer writer", ACCESS_NO_TOKEN},
        {"Bearer " READER, ACCESS_UNKNOWN_TOKEN}, /* what the file says opens nothing */
    };
    struct access access = access_of_three();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect(eq(int, judge(&access, TOKEN_READ, rows[i].authorization), rows[i].verdict), "%s",
                  rows[i].authorization);
    access_done(&access);
}

Test(access, scope_is_the_tokens_own_and_zeros_without_one)
{
    static const struct access_scope none;
    struct access access = access_of_three();
    struct access_scope scope;
    struct request request = ask("Bearer reader");
    cr_assert(eq(int, access_judge(&access, TOKEN_READ, &request, &scope), ACCESS_GRANTED));
    char hex[33];
    for (size_t i = 0; i < sizeof(scope.at); i++)
        snprintf(hex + 2 * i, 3, "%02x", scope.at[i]);
    cr_expect(strncmp(hex, READER, 32) == 0, "%s", hex);
    request = ask("Bearer reader");
    cr_assert(eq(int, access_judge(&access, TOKEN_NONE, &request, &scope), ACCESS_GRANTED));
    cr_expect(memcmp(&scope, &none, sizeof(scope)) == 0);
    access_done(&access);

    access_init(&access, NULL, true);
    memset(&scope, 1, sizeof(scope));
    request = ask("Bearer reader");
    cr_assert(eq(int, access_judge(&access, TOKEN_READ, &request, &scope), ACCESS_GRANTED));
    cr_expect(memcmp(&scope, &none, sizeof(scope)) == 0);
}

Test(access, without_tokens_is_for_loopback_alone)
{
    static const struct {
        const char *address;
        enum access_verdict verdict;
    } rows[] = {
        {"127.0.0.1", ACCESS_GRANTED},
        {"127.8.9.1", ACCESS_GRANTED},
        {"::1", ACCESS_GRANTED},
        {"unix:", ACCESS_GRANTED},
        {"192.0.2.1", ACCESS_UNSET},
        {"0.0.0.0", ACCESS_UNSET},
        {"2001:db8::1", ACCESS_UNSET},
        {"::11", ACCESS_UNSET},
        {"12.7.0.0", ACCESS_UNSET},
        {"127:0:0:1::1", ACCESS_UNSET},
        {"1270::1", ACCESS_UNSET},
        {"::ffff:12.7.0.1", ACCESS_UNSET},
        {"::ffff:127.0.0.1", ACCESS_GRANTED},
        {"", ACCESS_UNSET},
    };
    struct access closed, open;
    access_init(&closed, NULL, false);
    access_init(&open, NULL, true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct access_scope scope;
        struct request request = ask("");
        request.address = bytes_of_text(rows[i].address);
        cr_expect(eq(int, access_judge(&closed, TOKEN_WRITE, &request, &scope), rows[i].verdict),
                  "%s", rows[i].address);
        cr_expect(eq(int, access_judge(&open, TOKEN_WRITE, &request, &scope), ACCESS_GRANTED));
        cr_expect(eq(int, access_judge(&closed, TOKEN_NONE, &request, &scope), ACCESS_GRANTED));
    }
}

/* --- the worker ------------------------------------------------------------------------------- */

static int status_of(const struct stage *stage, struct fcgi_ask ask)
{
    struct reply *reply = fcgi_ask(stage, &ask);
    int status = reply->status;
    free(reply);
    return status;
}

static void expect_denied(const struct stage *stage, struct fcgi_ask ask, int status,
                          const char *challenge, const char *detail)
{
    struct reply *reply = fcgi_ask(stage, &ask);
    cr_expect(eq(int, reply->status, status));
    cr_expect(eq(str, (char *)reply_header(reply, "WWW-Authenticate"), (char *)challenge));
    cr_expect(eq(str, (char *)reply_header(reply, "Content-Type"), "application/problem+json"));
    cr_expect(strstr(reply->body, detail) != NULL, "%s", reply->body);
    free(reply);
}

#define BOB .method = "POST", .body = bytes_of_text("{\"name\":\"Bob\"}")

Test(access, worker_says_what_is_missing)
{
    struct stage *stage = stage_start((struct stage_options){.tokens = file_of_three});
    const char *unknown = "Bearer realm=\"rollcall\", error=\"invalid_token\"";
    expect_denied(stage, (struct fcgi_ask){BOB}, 401, "Bearer realm=\"rollcall\"",
                  "/problems/unauthorized");
    expect_denied(stage, (struct fcgi_ask){.uri = "/nowhere"}, 401, "Bearer realm=\"rollcall\"",
                  "/problems/unauthorized");
    expect_denied(stage, (struct fcgi_ask){.method = "BREW"}, 401, "Bearer realm=\"rollcall\"",
                  "/problems/unauthorized");
    expect_denied(stage, (struct fcgi_ask){.authorization = "Bearer x"}, 401, unknown, "not known");
    expect_denied(stage, (struct fcgi_ask){BOB, .authorization = "Bearer reader"}, 403,
                  "Bearer realm=\"rollcall\", error=\"insufficient_scope\", scope=\"write\"",
                  "role write");
    expect_denied(stage, (struct fcgi_ask){.uri = "/cluster", .authorization = "Bearer writer"},
                  403, "Bearer realm=\"rollcall\", error=\"insufficient_scope\", scope=\"admin\"",
                  "role admin");
    cr_expect(eq(uint, fake_node_record(&stage->node).frames, 0)); /* nobody asked the node */
    cr_expect(eq(int, status_of(stage, (struct fcgi_ask){.uri = "/livez"}), 200));
    cr_expect(
        eq(int, status_of(stage, (struct fcgi_ask){BOB, .authorization = "Bearer writer"}), 201));
    cr_expect(
        eq(int,
           status_of(stage, (struct fcgi_ask){.uri = "/nowhere", .authorization = "bearer reader"}),
           404));
    cr_expect(eq(int,
                 status_of(stage, (struct fcgi_ask){.authorization = "Bearer reader",
                                                    .address = "192.0.2.1"}),
                 200));
    stage_stop(stage);
}

Test(access, worker_without_tokens_answers_at_loopback_and_says_elsewhere_what_to_set)
{
    struct stage *stage = stage_start((struct stage_options){0});
    cr_expect(eq(int, status_of(stage, (struct fcgi_ask){BOB}), 201));
    expect_denied(stage, (struct fcgi_ask){BOB, .address = "192.0.2.1"}, 403, "", "--open-access");
    expect_denied(stage, (struct fcgi_ask){BOB, .address = ""}, 403, "", "ROLLCALL_TOKENS");
    cr_expect(eq(uint, fake_node_record(&stage->node).created, 1));
    cr_expect(eq(int, stage_app_stop(stage), 0));
    stage_app_start(stage, (struct stage_options){.open_access = true});
    cr_expect(eq(int, status_of(stage, (struct fcgi_ask){BOB, .address = "192.0.2.1"}), 201));
    stage_stop(stage);
}

static bool has_status(const struct stage *stage, const char *authorization, int status)
{
    return status_of(stage, (struct fcgi_ask){.authorization = authorization}) == status;
}

/* Whichever worker answers: each connection may have another. */
static bool all_have_status(const struct stage *stage, const char *authorization, int status)
{
    for (int i = 0; i < 16; i++)
        if (!has_status(stage, authorization, status))
            return false;
    return true;
}

Test(access, sighup_has_all_workers_read_the_tokens_again)
{
    struct stage *stage =
        stage_start((struct stage_options){.tokens = file_of_three, .workers = 2});
    cr_assert(stage_said(stage, " event=tokens-loaded file=") && stage_said(stage, " count=3"));
    for (int round = 0; round < 3; round++) {
        stage_write_tokens(stage, ADMIN " admin anna\n");
        cr_assert(eq(int, kill(stage->app, SIGHUP), 0));
        WAIT_UNTIL(all_have_status(stage, "Bearer reader", 401), 5000);
        stage_write_tokens(stage, file_of_three);
        cr_assert(eq(int, kill(stage->app, SIGHUP), 0));
        WAIT_UNTIL(all_have_status(stage, "Bearer reader", 200), 5000);
    }
    stage_write_tokens(stage, "");
    cr_assert(eq(int, kill(stage->app, SIGHUP), 0));
    WAIT_UNTIL(all_have_status(stage, "Bearer reader", 401), 5000);
    cr_expect(stage_said(stage, " count=1") && stage_said(stage, " count=0"));
    pid_t pids[2];
    cr_expect(eq(uint, stage_pids(stage, pids, 2), 2));
    cr_expect(not(stage_said(stage, "event=worker-died")));
    stage_stop(stage);
}

Test(access, bad_new_file_is_refused_and_a_worker_that_starts_then_has_the_old_one)
{
    struct stage *stage =
        stage_start((struct stage_options){.tokens = file_of_three, .workers = 2});
    stage_write_tokens(stage, ADMIN " admin anna\n" READER " reed rita\n");
    kill(stage->app, SIGHUP);
    WAIT_UNTIL(stage_said(stage, "event=tokens-refused"), 5000);
    cr_expect(stage_said(stage, "line=2 text=\"a role is wanted"));
    cr_expect(all_have_status(stage, "Bearer reader", 200));
    pid_t pids[2];
    cr_assert(eq(uint, stage_pids(stage, pids, 2), 2));
    kill(pids[0], SIGKILL);
    kill(pids[1], SIGKILL);
    WAIT_UNTIL(all_have_status(stage, "Bearer reader", 200), 5000);
    stage_stop(stage);
}

static bool says_refused(const struct stage *stage, const char *value)
{
    struct reply *reply =
        fcgi_ask(stage, &(struct fcgi_ask){.uri = "/metrics", .authorization = "Bearer admin"});
    bool said = strstr(reply->body, value) != NULL;
    free(reply);
    return said;
}

/* Whether a parent has told it or not. */
Test(access, bad_new_file_is_counted_by_a_worker_that_reads_it)
{
    struct stage *stage = stage_start((struct stage_options){.tokens = file_of_three});
    cr_assert(says_refused(stage, "\nrollcall_tokens_refused 0\n"));
    stage_write_tokens(stage, "nonsense\n");
    kill(stage->app, SIGHUP);
    WAIT_UNTIL(says_refused(stage, "\nrollcall_tokens_refused 1\n"), 5000);
    stage_write_tokens(stage, file_of_three);
    kill(stage->app, SIGHUP);
    WAIT_UNTIL(says_refused(stage, "\nrollcall_tokens_refused 0\n"), 5000);
    stage_stop(stage);
}

Test(access, sighup_without_tokens_ends_nobody)
{
    for (unsigned workers = 0; workers < 3; workers += 2) {
        struct stage *stage = stage_start((struct stage_options){.workers = workers});
        kill(stage->app, SIGHUP);
        ms_sleep(50);
        cr_expect(eq(int, status_of(stage, (struct fcgi_ask){BOB}), 201));
        cr_expect(not(stage_said(stage, "event=worker-died")));
        stage_stop(stage);
    }
}
