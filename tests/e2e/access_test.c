/* Who may ask, through the real nginx: what deploy refuses, what a token opens, how it is changed.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL "\"$ROOT/deploy/local\" "
#define NODE  "\"$ROOT/deploy/node\" "

static long status_of(int port, const char *method, const char *path, const char *header)
{
    struct answer answer = http_send(
        port, &(struct request){
                  .method = method,
                  .path = path,
                  .headers = {"Content-Type: application/json", header},
                  .body = bytes_of_text(strcmp(method, "POST") == 0 ? "{\"name\":\"Ann\"}" : "")});
    long status = answer.status;

    answer_done(&answer);
    return status;
}

/* A token keeps clients out, and not who has the host. */
static void expect_status(const struct stack *stack)
{
    operator_does(stack, 0, "raft   running  pid", NODE "status --dir $N");
    operator_does(stack, 0, ", leader in term ", NODE "status --dir $N");
    operator_does(stack, 0, "node=1 cluster=rollcall ready=1 role=leader term=",
                  CTL "status --socket $N/raft.sock");
    operator_does(stack, 0, "member=1 address=", CTL "status --socket $N/raft.sock");
    operator_does(stack, 1, "event=status_unknown socket=/nowhere text=\"No such file or directory",
                  CTL "status --socket /nowhere");
}

Test(access, each_token_opens_what_its_role_says_at_either_door, .timeout = 60)
{
    struct stack stack = stack_prepare();
    char reader[160], writer[160], admin[160];

    operator_draws(&stack, "read", "rita", reader);
    operator_draws(&stack, "write", "walter", writer);
    operator_draws(&stack, "admin", "anna", admin);
    stack_up(&stack);
    expect_status(&stack);
    for (int port = stack.port; port <= stack.port + 1; port++) {
        const struct {
            const char *method, *path, *header;
            long status;
        } rows[] = {
            {"GET", "/livez", NULL, 200},
            {"GET", "/readyz", NULL, 200},
            {"GET", "/users", NULL, 401},
            {"GET", "/nowhere", NULL, 401},
            {"BREW", "/users", NULL, 401},
            {"GET", "/users", "Authorization: Bearer rc_0", 401},
            {"GET", "/users", "Authorization: Basic cm9vdDpyb290", 401},
            {"GET", "/users", reader, 200},
            {"OPTIONS", "/users", reader, 204},
            {"POST", "/users", reader, 403},
            {"GET", "/cluster", writer, 403},
            {"POST", "/users", writer, 201},
            {"GET", "/cluster", admin, 200},
            {"POST", "/users", admin, 201},
        };
        char twice[512];

        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            long status = status_of(port, rows[i].method, rows[i].path, rows[i].header);

            cr_expect_eq(status, rows[i].status, "%s %s with %s: %ld, not %ld", rows[i].method,
                         rows[i].path, rows[i].header, status, rows[i].status);
        }
        snprintf(twice, sizeof twice,
                 "GET /users HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s\r\nConnection: close\r\n\r\n",
                 reader, reader);
        struct answer answer = http_raw(port, bytes_of_text(twice));

        cr_expect_eq(answer.status, 400);
        answer_done(&answer);
        answer = http_get(port, "/users");
        cr_expect_str_eq(answer_header(&answer, "WWW-Authenticate"), "Bearer realm=\"rollcall\"");
        cr_expect_str_eq(answer_header(&answer, "Content-Type"), "application/problem+json");
        answer_done(&answer);
    }
    stack_stop(&stack);
}

struct wanted {
    int port;
    const char *header;
    long status;
};

/* Whichever worker answers. */
static bool all_answer(void *context)
{
    struct wanted *wanted = context;

    for (int i = 0; i < 16; i++)
        if (status_of(wanted->port, "GET", "/users", wanted->header) != wanted->status)
            return false;
    return true;
}

Test(access, sighup_changes_the_tokens_and_a_bad_file_changes_nothing, .timeout = 60)
{
    static const char hang_up[] = "kill -HUP $(cat $N/app-master.pid)";
    struct stack stack = stack_prepare();
    char reader[160], writer[160], admin[160], metrics[256];

    operator_draws(&stack, "read", "rita", reader);
    operator_draws(&stack, "admin", "anna", admin);
    snprintf(metrics, sizeof metrics,
             "curl -s -H '%s' 127.0.0.1:$((P + 1))/metrics | grep ^rollcall_tokens_refused", admin);
    stack_up(&stack);
    operator_draws(&stack, "write", "walter", writer);
    cr_expect_eq(status_of(stack.port, "GET", "/users", writer), 401); /* nobody has read it yet */
    operator_does(&stack, 0, NULL, hang_up);
    cr_expect(wait_for(all_answer, &(struct wanted){stack.port, writer, 200}, 10));

    operator_does(&stack, 0, NULL, "echo nonsense >>$D/tokens");
    operator_does(&stack, 1, "tokens line=4 text=\"64 lower case", LOCAL "reload --dir $D");
    cr_expect(all_answer(&(struct wanted){stack.port, reader, 200}));
    operator_does(&stack, 0, "rollcall_tokens_refused 1", metrics);

    operator_does(&stack, 0, NULL, "sed -i '1d; 4d' $D/tokens");
    operator_does(&stack, 0, "count=2", LOCAL "reload --dir $D");
    operator_does(&stack, 0, "rollcall_tokens_refused 0", metrics);
    cr_expect(wait_for(all_answer, &(struct wanted){stack.port, reader, 401}, 10));
    cr_expect(all_answer(&(struct wanted){stack.port, writer, 200}));
    stack_stop(&stack);
}

Test(access, elsewhere_than_on_loopback_deploy_wants_to_know_who_may_ask, .timeout = 60)
{
    static const char *addresses[] = {"0.0.0.0",          "192.0.2.1",    "[::]",
                                      "[2001:db8::1]",    "host.example", "12.7.0.1",
                                      "localhost.example"};
    struct stack stack = stack_prepare();
    char command[256], header[160];

    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        snprintf(command, sizeof command, NODE "up --id 1 --dir $N --http %s:$((P+1))",
                 addresses[i]);
        operator_does(&stack, 1, "nothing says who may ask", command);
    }
    operator_does(&stack, 1, "there is no such file",
                  "ROLLCALL_TOKENS=/nowhere " NODE "up --id 1 --dir $N --http 0.0.0.0:$((P+1))");
    operator_does(&stack, 1, "tokens-refused file=",
                  "mkdir -p $N; echo nobody >$N/tokens;" NODE
                  "up --id 1 --dir $N --http 0.0.0.0:$((P+1))");
    operator_draws(&stack, "read", "rita", header);
    operator_does(&stack, 0, NULL, "mv $D/tokens $N/tokens");
    operator_does(&stack, 0, NULL, NODE "up --id 1 --dir $N --http 0.0.0.0:$((P+1))");
    cr_expect_eq(status_of(stack.port + 1, "GET", "/users", NULL), 401);
    cr_expect_eq(status_of(stack.port + 1, "GET", "/users", header), 200);
    operator_does(&stack, 0, NULL, NODE "down --dir $N; rm $N/tokens");
    operator_does(&stack, 0, NULL,
                  "ROLLCALL_OPEN_ACCESS=yes " NODE "up --id 1 --dir $N --http 0.0.0.0:$((P+1))");
    cr_expect_eq(status_of(stack.port + 1, "GET", "/users", NULL), 200);
    operator_does(&stack, 0, NULL, NODE "down --dir $N");
    stack_up(&stack);
    stack_stop(&stack);
}

/* A configuration that listens everywhere, under workers that were started for loopback. */
Test(access, a_worker_without_tokens_refuses_what_was_asked_elsewhere_and_says_what_to_set,
     .timeout = 60)
{
    static const char front[] = "GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                "Rollcall-Front-Address: 192.0.2.1\r\n\r\n";
    struct stack stack = stack_start();
    struct answer answer;
    char output[256], door[96];

    snprintf(door, sizeof door, "%s/front.sock", stack.node_dir);
    answer =
        http_send(stack.port, &(struct request){.method = "GET",
                                                .path = "/users",
                                                .headers = {"Rollcall-Front-Address: 192.0.2.1"},
                                                .socket = door});
    cr_expect_eq(answer.status, 403);
    cr_expect_not_null(strstr(answer.body, "--tokens FILE"), "%s", answer.body);
    answer_done(&answer);
    for (int port = stack.port; port <= stack.port + 1; port++) { /* from whom is no front */
        answer = http_raw(port, bytes_of_text(front));
        cr_expect_eq(answer.status, 200);
        answer_done(&answer);
    }

    stack_shell(&stack, "hostname -I | tr ' ' '\\n' | grep -m1 -E '^[0-9.]+$'", output,
                sizeof output);
    output[strcspn(output, "\n")] = '\0';
    if (output[0] == '\0') {
        fprintf(stderr, "access: this machine has loopback alone: nothing more to see\n");
    } else {
        char command[1024];

        operator_does(&stack, 0, NULL,
                      "for c in $D/front.conf $N/nginx.conf; do sed -i 's|listen 127.0.0.1:|listen "
                      "0.0.0.0:|' $c; done; "
                      "for p in $D/front.pid $N/nginx.pid; do kill -QUIT $(cat $p); while [ -e $p "
                      "]; do sleep 0.05; done; done; u=; [ $(id -u) != 0 ] || u='user root root;'; "
                      "nginx -c $D/front.conf -e $D/log/front.log -g \"$u\"; "
                      "nginx -c $N/nginx.conf -e $N/log/nginx.log -g \"$u\"");
        for (int port = stack.port; port <= stack.port + 1; port++) {
            snprintf(
                command, sizeof command,
                "exec 3<>/dev/tcp/%s/%d; printf 'GET /users HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
                output, port);
            operator_does(&stack, 0, "--tokens FILE", command);
            operator_does(&stack, 0, "403 Forbidden", command);
            cr_expect_eq(status_of(port, "GET", "/users", NULL), 200);
        }
    }
    stack_stop(&stack);
}
