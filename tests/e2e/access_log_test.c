/* What both nginx write to their access logs: of each request enough, of nobody too much. */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static bool log_tells(void *stack)
{
    static const char command[] =
        "grep -qE '^\\{.*\"id\":\"[0-9a-f]{32}\",.*\"status\":201,.*\"upstream_status\":\"201\","
        "\"upstream_head_seconds\":\"0\\.[0-9]+\",\"upstream_seconds\":\"0\\.[0-9]+\","
        "\"raft_index\":\"2\",\"raft_node\":\"1\"\\}$' ";
    char all[1024];

    snprintf(all, sizeof all,
             "%s $D/log/front-access.log && %s $N/log/access.log && [ \"$(sed -n "
             "'s/.*\"id\":\"\\([^\"]*\\)\".*\"status\":201.*/\\1/p' $D/log/front-access.log "
             "$N/log/access.log | uniq | wc -l)\" = 1 ]",
             command, command);
    return stack_shell(stack, all, NULL, 0) == 0;
}

Test(access_log, both_logs_tell_of_a_request_by_one_id_and_where_it_stands_in_the_log,
     .timeout = 60)
{
    struct stack stack = stack_start();

    operator_enrols(stack.port, 1, 1);
    cr_expect(wait_for(log_tells, &stack, 10));
    stack_stop(&stack);
}

/* Every line of the file is JSON: what the parser of json-c in its strict way says. */
static int json_lines(const char *path)
{
    int flags = JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8, count = 0;
    char line[4096];
    FILE *file = fopen(path, "re");

    cr_assert_not_null(file, "%s", path);
    while (fgets(line, sizeof line, file) != NULL) {
        struct json_tokener *parser = json_tokener_new();
        struct json_object *object;

        json_tokener_set_flags(parser, flags);
        object = json_tokener_parse_ex(parser, line, (int)strcspn(line, "\n"));
        cr_expect_not_null(object, "%s: %s", path, line);
        cr_expect_lt(strlen(line), 1024, "%s", line);
        cr_expect_null(strstr(line, "example.org"), "%s", line);
        json_object_put(object);
        json_tokener_free(parser);
        count++;
    }
    fclose(file);
    return count;
}

static bool logs_are_written(void *stack)
{
    return stack_shell(stack, "grep -q last-one $D/log/front-access.log $N/log/access.log", NULL,
                       0) == 0;
}

Test(access_log, whatever_bytes_come_the_logs_are_short_lines_of_json_that_name_nobody,
     .timeout = 60)
{
    static const char *const asked[] = {
        GET("/users?email=ann@example.org"),
        GET("/users?name=ann%40example.org&limit=1"),
        GET("/users/ann@example.org"),
        GET("/users/\xff\xfe\x80?email=\xc3\x28"),
        GET("/\"\\a\"b"),
        "GET /users?email=ann@example.org\r\n\r\n", /* HTTP/0.9: its status has a nought before it
                                                     */
        "\"\xff ann@example.org \x01\r\n\r\n",
        "GET /users HTTP/1.1\r\nHost: \xff\"ann@example.org\r\nConnection: close\r\n\r\n",
        "PUTann /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    };
    struct stack stack = stack_start();
    char path[128], longer[9000] = "GET /users/";

    memset(longer + 11, 'a', 8000);
    stpcpy(longer + 8011, "?email=ann@example.org HTTP/1.1\r\nHost: localhost\r\n"
                          "Connection: close\r\n\r\n");
    operator_does(&stack, 0, NULL, /* every line for this once, sampled ones too */
                  "sed -i 's/^    \"100 0\" 0;//' $D/log.conf $N/log.conf && "
                  "kill -HUP $(cat $D/front.pid) $(cat $N/nginx.pid)");
    for (int round = 0; round < 2; round++) { /* the old workers may take the first */
        for (int port = stack.port; port <= stack.port + 1; port++) {
            for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
                struct answer answer = http_raw(port, bytes_of_text(asked[i]));

                answer_done(&answer);
            }
            struct answer answer = http_raw(port, bytes_of_text(longer));

            answer_done(&answer);
            answer = http_raw(port, bytes_of_text(GET("/last-one")));
            answer_done(&answer);
        }
    }
    cr_assert(wait_for(logs_are_written, &stack, 20));
    sleep_ms(1100); /* nginx keeps lines for a second */
    snprintf(path, sizeof path, "%s/log/front-access.log", stack.dir);
    cr_expect_geq(json_lines(path), 11);
    snprintf(path, sizeof path, "%s/log/access.log", stack.node_dir);
    cr_expect_geq(json_lines(path), 11);
    operator_does(&stack, 1, NULL, "grep -r example.org $D/log $N/log");
    stack_stop(&stack);
}
