#include "tests/e2e/operator.h"

#include "tests/e2e/http.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *operator_does(const struct stack *stack, int code, const char *text,
                          const char *command)
{
    static char output[65536];
    int status = stack_shell(stack, command, output, sizeof output);

    cr_assert_eq(status, code, "%s: exit code %d\n%s", command, status, output);
    cr_assert(text == NULL || strstr(output, text) != NULL, "%s: does not say '%s':\n%s", command,
              text, output);
    return output;
}

void operator_draws(const struct stack *stack, const char *role, const char *name,
                    char header[static 160])
{
    char command[256], token[128];
    const char *said;

    snprintf(command, sizeof command,
             CTL "token %s --role %s >$D/drawn && tail -n 1 $D/drawn >>$D/tokens && head -n 1 "
                 "$D/drawn",
             name, role);
    said = operator_does(stack, 0, "rc_", command);
    cr_assert_eq(sscanf(said, "%127s", token), 1);
    cr_assert_eq(strlen(token), 46, "%s", token);
    snprintf(header, 160, "Authorization: Bearer %s", token);
}

void operator_enrols(int port, int from, int to)
{
    struct client *client = client_open(port, true);

    for (int i = from; i <= to; i++) {
        char name[32];
        struct answer answer;

        snprintf(name, sizeof name, "user-%d", i);
        answer = http_post_name(client, name);
        cr_assert_eq(answer.status, 201, "%s: %ld %s", name, answer.status, answer.body);
        answer_done(&answer);
    }
    client_close(client);
}

const char *operator_tries(const struct stack *stack, int node, const char *name)
{
    static char body[256];
    char json[64], door[96];
    struct answer answer;

    snprintf(json, sizeof json, "{\"name\":\"%s\"}", name);
    snprintf(door, sizeof door, "%s/node-%d/front.sock", stack->dir, node);
    answer = http_send(
        stack->port + node,
        &(struct request){.socket = door,
                          .method = "POST",
                          .path = "/users",
                          .headers = {"Content-Type: application/json",
                                      "Rollcall-Request-Id: 00000000000000000000000000c0ffee"},
                          .body = bytes_of_text(json)});
    cr_assert_eq(answer.status, 201, "%ld %s", answer.status, answer.body);
    snprintf(body, sizeof body, "%s", answer.body);
    answer_done(&answer);
    return body;
}

char *operator_lists(int port)
{
    struct answer answer = http_get(port, "/users");
    char *body;

    cr_assert_eq(answer.status, 200, "%ld %s", answer.status, answer.body);
    body = strdup(answer.body);
    answer_done(&answer);
    return body;
}

struct expected {
    int port;
    const char *users;
};

static bool lists_these(void *context)
{
    struct expected *expected = context;
    struct answer answer = http_get(expected->port, "/users");
    bool same = answer.status == 200 && strcmp(answer.body, expected->users) == 0;

    answer_done(&answer);
    return same;
}

void operator_expects(const struct stack *stack, const char *users)
{
    for (int node = 1; node <= stack->nodes; node++) {
        struct expected expected = {stack->port + node, users};

        cr_assert(wait_for(lists_these, &expected, 30), "node %d does not list what it should",
                  node);
    }
}
