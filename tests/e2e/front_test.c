/* What a front makes of nodes that cannot do what they are asked. */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define NODES 3

static pid_t raft_of(const struct stack *stack, int node)
{
    char file[32];

    snprintf(file, sizeof file, "../node-%d/raft.pid", node);
    return stack_pid(stack, file);
}

static struct answer ask(const struct stack *stack, const char *method, const char *path)
{
    return http_send(stack->port, &(struct request){.method = method,
                                                    .path = path,
                                                    .headers = {"Content-Type: application/json"},
                                                    .body = bytes_of_text(
                                                        *method == 'P' ? "{\"name\":\"A\"}" : "")});
}

static void expect_unavailable(const struct stack *stack, const char *method, const char *path)
{
    struct answer answer = ask(stack, method, path);

    cr_expect_eq(answer.status, 503, "%s %s: %ld %s", method, path, answer.status, answer.body);
    cr_expect_str_eq(answer_header(&answer, "Retry-After"), "1", "%s %s", method, path);
    answer_done(&answer);
}

/* Workers hold what they are asked while a node starts again, for some seconds; from then on they
 * refuse at once. Which of the two answers, nobody knows. */
static void wait_until_refused(const struct stack *stack, int node)
{
    for (int i = 0; i < 8; i++) {
        struct answer answer = http_get(stack->port + node, "/users");

        cr_expect_eq(answer.status, 503, "node %d: %ld %s", node, answer.status, answer.body);
        answer_done(&answer);
    }
}

/* Every node's workers say so, and not one write was executed: neither was it perhaps. */
Test(front, passes_on_that_no_node_has_executed_it, .timeout = 120)
{
    static const char *const asked[][2] = {
        {"POST", "/users"}, {"GET", "/users/1"},        {"DELETE", "/users/1"},
        {"GET", "/users"},  {"GET", "/readyz?verbose"}, {"PUT", "/users/1"},
    };
    struct stack stack = stack_start_nodes(NODES);

    for (int node = 1; node <= NODES; node++)
        stack_kill(raft_of(&stack, node));
    for (int node = 1; node <= NODES; node++)
        wait_until_refused(&stack, node);
    for (int round = 0; round < 4; round++)
        for (size_t i = 0; i < ARRAY_LEN(asked); i++)
            expect_unavailable(&stack, asked[i][0], asked[i][1]);
    stack_stop(&stack);
}

/* One of three cannot: the others are asked, whatever it is. */
Test(front, asks_another_node_when_one_says_that_it_cannot, .timeout = 120)
{
    struct stack stack = stack_start_nodes(NODES);

    stack_kill(raft_of(&stack, 2));
    wait_until_refused(&stack, 2);
    for (int i = 0; i < 30; i++) {
        const char *method = i % 2 != 0 ? "GET" : "POST";
        struct answer answer = ask(&stack, method, "/users");

        cr_expect_eq(answer.status, *method == 'P' ? 201 : 200, "%s: %ld %s", method, answer.status,
                     answer.body);
        answer_done(&answer);
    }
    stack_stop(&stack);
}

static void *posts(void *port)
{
    struct answer answer = http_send(
        *(const int *)port, &(struct request){.method = "POST",
                                              .path = "/users",
                                              .headers = {"Content-Type: application/json"},
                                              .body = bytes_of_text("{\"name\":\"A\"}")});
    long status = answer.status;

    answer_done(&answer);
    return (void *)status;
}

/* All workers of a node die with requests in hand: perhaps they were executed, and another node
 * knows. */
Test(front, asks_another_node_when_one_does_not_know_what_became_of_a_write, .timeout = 120)
{
    struct stack stack = stack_start_nodes(NODES);
    pthread_t threads[6];
    void *status;

    operator_does(&stack, 0, NULL, "kill -STOP $(cat $N/app.pid)");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, posts, &stack.port), 0);
    sleep_ms(300); /* one in three is at node 1, and not yet given up by the front */
    operator_does(&stack, 0, NULL, "kill -KILL $(cat $N/app-master.pid) $(cat $N/app.pid)");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], &status);
        cr_expect_eq((long)status, 201, "%ld", (long)status);
    }
    stack_stop(&stack);
}

/* Reading leaves nothing behind that could be unknown. */
Test(front, says_of_a_read_that_it_was_not_executed_however_long_it_waited, .timeout = 120)
{
    struct stack stack = stack_start_nodes(NODES);
    struct answer answer;

    expect_unavailable(&stack, "GET", "/users?min_index=100000");
    expect_unavailable(&stack, "HEAD", "/users/1?min_index=100000");
    stack_kill(raft_of(&stack, 2));
    stack_kill(raft_of(&stack, 3));
    expect_unavailable(&stack, "GET", "/users/1");
    answer = ask(&stack, "POST", "/users");
    cr_expect(answer.status == 503 || answer.status == 504, "%ld", answer.status);
    answer_done(&answer);
    stack_stop(&stack);
}

static void expect_told(int port, const char *method, long status, const char *type)
{
    struct answer answer = http_send(
        port, &(struct request){.method = method,
                                .path = "/users",
                                .headers = {"Content-Type: application/json"},
                                .body = bytes_of_text(*method == 'P' ? "{\"name\":\"A\"}" : "")});

    cr_expect_eq(answer.status, status, "%s: %ld %s", method, answer.status, answer.body);
    cr_expect_not_null(strstr(answer.body, type), "%s: %s", method, answer.body);
    answer_done(&answer);
}

/* Workers that hang: nginx gives up, and knows of a write only that it sent it. */
Test(front, and_a_node_tell_a_write_that_was_sent_from_a_read, .timeout = 120)
{
    struct stack stack = stack_start();
    pid_t workers[2];

    cr_assert_eq(stack_workers(&stack, workers), 2);
    for (int i = 0; i < 2; i++)
        kill(workers[i], SIGSTOP);
    expect_told(stack.port, "POST", 504, "/problems/outcome-unknown");
    expect_told(stack.port + 1, "POST", 504, "/problems/outcome-unknown");
    expect_told(stack.port + 1, "GET", 503, "/problems/unavailable");
    for (int i = 0; i < 2; i++)
        kill(workers[i], SIGCONT);
    stack_stop(&stack);
}
