/*
 * What Prometheus is told by a real stack: promtool judges it, the counters move, and whatever
 * deploy/ says of metrics (alerts, dashboard, runbook) speaks of ones that are there.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The page of node 1, in $D/page. */
#define PAGE "curl -s http://127.0.0.1:$((P + 1))/metrics >$D/page && "

static double value_at(int port, const char *name)
{
    struct answer answer = http_get(port, "/metrics");
    char start[160];
    const char *at;
    double value = -1;

    cr_assert_eq(answer.status, 200, "%ld %s", answer.status, answer.body);
    snprintf(start, sizeof start, "\n%s ", name);
    at = strstr(answer.body, start);
    if (at != NULL)
        sscanf(at + strlen(start), "%lf", &value);
    answer_done(&answer);
    return value;
}

struct saving {
    int port;
    double saves, index;
};

static bool has_saved(void *context)
{
    struct saving *saving = context;

    return value_at(saving->port, "rollcall_snapshot_duration_seconds_count") > saving->saves &&
           value_at(saving->port, "rollcall_snapshot_index") > saving->index;
}

Test(metrics, are_what_promtool_wants_and_move, .timeout = 90)
{
    static const struct {
        const char *name;
        double by; /* at least, for 20 writes through node 1 */
    } rows[] = {
        {"rollcall_http_requests_total{route=\"/users\",method=\"POST\",status=\"201\"}", 20},
        {"rollcall_http_request_duration_seconds_count{route=\"/users\",method=\"POST\",class="
         "\"2xx\"}",
         20},
        {"rollcall_http_request_duration_seconds_sum{route=\"/users\",method=\"POST\",class="
         "\"2xx\"}",
         0.0001},
        {"rollcall_commit_duration_seconds_count", 20},
        {"rollcall_commit_duration_seconds_sum", 0.0001},
        {"rollcall_apply_duration_seconds_count", 1},
        {"rollcall_apply_duration_seconds_sum", 0.0000001},
        {"rollcall_wal_fsync_duration_seconds_count", 1},
        {"rollcall_wal_fsync_duration_seconds_sum", 0.00001},
        {"rollcall_wal_appended_bytes_total", 20 * 100}, /* several share a sector */
        {"rollcall_raft_commit_index", 20},
        {"rollcall_raft_applied_index", 20},
        {"rollcall_raft_last_index", 20},
        {"rollcall_users", 20},
        {"rollcall_remembered_answers", 20},
        {"rollcall_snapshot_index", 1},
        {"rollcall_snapshot_duration_seconds_count", 1},
        {"process_cpu_seconds_total", 0.0001},
    };
    double before[sizeof rows / sizeof rows[0]];
    struct saving saving;
    struct stack stack;
    int port;

    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "10", 1);
    stack = stack_start_nodes(3);
    port = stack.port + 1;
    operator_enrols(port, 1, 1); /* so that each has been there */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        before[i] = value_at(port, rows[i].name);
    saving = (struct saving){port, value_at(port, "rollcall_snapshot_duration_seconds_count"),
                             value_at(port, "rollcall_snapshot_index")};
    operator_enrols(port, 2, 21);
    cr_assert(wait_for(has_saved, &saving, 20), "there is no snapshot");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect_geq(value_at(port, rows[i].name), before[i] + rows[i].by, "%s: %g, then %g",
                      rows[i].name, before[i], value_at(port, rows[i].name));
    cr_expect_eq(value_at(port, "rollcall_node_up"), 1);
    cr_expect_gt(value_at(port, "rollcall_snapshot_last_success_timestamp_seconds"), 1.7e9);
    operator_does(&stack, 0, NULL,
                  "for I in 1 2 3; do curl -s http://127.0.0.1:$((P + I))/metrics | "
                  "promtool check metrics || exit; done");
    operator_does(&stack, 0, NULL, /* one leads, and it alone tells of lag: of two */
                  "for I in 1 2 3; do curl -s http://127.0.0.1:$((P + I))/metrics; done >$D/all; "
                  "[ $(grep -c '^rollcall_raft_role{role=\"leader\"} 1' $D/all) = 1 ] && "
                  "[ $(grep -c '^rollcall_peer_lag_entries{' $D/all) = 2 ] && "
                  "[ $(grep -c '^rollcall_peer_reachable{.*} 1' $D/all) = 6 ]");
    stack_stop(&stack);
}

Test(metrics, are_there_when_the_node_is_not, .timeout = 60)
{
    struct stack stack = stack_start();
    int port = stack.port + 1;
    struct answer answer;

    operator_enrols(port, 1, 3);
    stack_kill(stack_pid(&stack, "raft.pid"));
    answer = http_get(port, "/metrics");
    cr_expect_eq(answer.status, 200, "%ld", answer.status);
    cr_expect_not_null(strstr(answer.body, "\nrollcall_node_up 0\n"), "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "method=\"POST\",status=\"201\"} 3\n"), "%s",
                       answer.body);
    cr_expect_null(strstr(answer.body, "\nrollcall_users "));
    answer_done(&answer);
    operator_does(&stack, 0, NULL, PAGE "promtool check metrics <$D/page");
    stack_up(&stack);
    cr_expect_eq(value_at(port, "rollcall_users"), 3);
    stack_stop(&stack);
}

/* Names in a file of deploy/ that the page does not have; and the other way round. */
#define FAMILIES "sed -n 's/^# TYPE \\([a-z_]*\\) .*/\\1/p' $D/page | sort -u >$D/families; "
#define NAMES(file)                                                                 \
    "grep -oE '(rollcall|process)_[a-z_]+' $ROOT/deploy/" file " | grep -v '_$' | " \
    "sed -E 's/_(bucket|sum|count)$//' | sort -u >$D/names; comm -13 $D/families $D/names"

Test(metrics, that_deploy_speaks_of_are_there, .timeout = 60)
{
    struct stack stack = stack_start();
    const char *output;

    operator_enrols(stack.port + 1, 1, 1);
    output = operator_does(&stack, 0, NULL, PAGE FAMILIES NAMES("alerts.yml"));
    cr_expect_str_empty(output, "alerts.yml knows what is not there:\n%s", output);
    output = operator_does(&stack, 0, NULL, NAMES("grafana.json"));
    cr_expect_str_empty(output, "grafana.json knows what is not there:\n%s", output);
    output = operator_does(&stack, 0, NULL,
                           "for NAME in $(sed 's/^rollcall_//' $D/families); do "
                           "grep -q \"[\\`_]$NAME\\`\" $ROOT/deploy/README.md || echo $NAME; done");
    cr_expect_str_empty(output, "deploy/README.md does not name\n%s", output);
    output = operator_does(&stack, 0, NULL,
                           "for NAME in $(cat $D/families); do "
                           "grep -q $NAME $ROOT/deploy/grafana.json || echo $NAME; done");
    /* The ends of the log, but for what moves them, and the one that says how it is. */
    cr_expect_str_eq(output, "rollcall_raft_durable_index\nrollcall_raft_last_index\n",
                     "grafana.json does not show\n%s", output);
    stack_stop(&stack);
}

Test(metrics, have_rules_that_promtool_wants_and_a_word_on_each, .timeout = 60)
{
    struct stack stack = stack_prepare();
    const char *output;

    operator_does(&stack, 0, "SUCCESS", "promtool check rules $ROOT/deploy/alerts.yml");
    operator_does(&stack, 0, "SUCCESS", "promtool test rules $ROOT/tests/alerts/alerts_test.yml");
    output = operator_does(
        &stack, 0, NULL,
        "sed -n 's/.* alert: \\(.*\\)/\\1/p' $ROOT/deploy/alerts.yml | while read -r NAME; do "
        "grep -q \"^| \\`$NAME\\` (\\(page\\|ticket\\)) |\" $ROOT/deploy/README.md || echo $NAME; "
        "done");
    cr_expect_str_empty(output, "deploy/README.md does not say what to do at\n%s", output);
    /* What the dashboard asks is judged as rules, with its variables filled in. */
    operator_does(&stack, 0, "SUCCESS",
                  "{ echo 'groups: [{name: d, rules: ['; "
                  "grep -oE '\"expr\": \"([^\"\\\\]|\\\\.)*\"' $ROOT/deploy/grafana.json | "
                  "sed 's/.__rate_interval/5m/g; s/\"expr\": \\(.*\\)/{record: a:b, expr: \\1, "
                  "labels: {n: N}},/' | awk '{ gsub(/n: N/, \"n: \\\"\" NR \"\\\"\"); print }'; "
                  "echo ']}]'; } >$D/rules.yml && promtool check rules $D/rules.yml");
    stack_stop(&stack);
}
