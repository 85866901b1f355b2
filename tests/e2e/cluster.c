#include "tests/e2e/cluster.h"

#include "tests/e2e/http.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- up and down ------------------------------------------------------------------------------ */

struct upping {
    struct cluster *cluster;
    int node, status;
    char output[4096];
};

static void *up(void *context)
{
    struct upping *upping = context;
    char command[512];

    snprintf(command, sizeof command,
             "ROLLCALL_OPEN_RAFT=yes \"$ROOT/deploy/node\" up --id %d --dir $D/node-%d --http "
             "127.0.0.1:%d --raft %s:7000 "
             "--cluster 1=%s:7000,2=%s:7000,3=%s:7000",
             upping->node, upping->node, CLUSTER_PORT, net_address(upping->node), net_address(1),
             net_address(2), net_address(3));
    net_enter(upping->cluster->net, upping->node);
    upping->status =
        stack_shell(&upping->cluster->stack, command, upping->output, sizeof upping->output);
    net_enter(upping->cluster->net, 0);
    return NULL;
}

void cluster_up(struct cluster *cluster, int node)
{
    struct upping upping = {.cluster = cluster, .node = node};

    up(&upping);
    cr_assert_eq(upping.status, 0, "node %d does not come up:\n%s", node, upping.output);
}

void cluster_up_all(struct cluster *cluster)
{
    struct upping upping[CLUSTER_NODES];
    pthread_t threads[CLUSTER_NODES];

    for (int i = 0; i < CLUSTER_NODES; i++) {
        upping[i] = (struct upping){.cluster = cluster, .node = i + 1};
        cr_assert_eq(pthread_create(&threads[i], NULL, up, &upping[i]), 0);
    }
    for (int i = 0; i < CLUSTER_NODES; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CLUSTER_NODES; i++)
        cr_assert_eq(upping[i].status, 0, "node %d does not come up:\n%s", i + 1, upping[i].output);
}

void cluster_down(struct cluster *cluster, int node)
{
    char command[128], output[2048];

    snprintf(command, sizeof command, "\"$ROOT/deploy/node\" down --dir $D/node-%d", node);
    cr_assert_eq(stack_shell(&cluster->stack, command, output, sizeof output), 0, "%s", output);
}

struct cluster cluster_start(void)
{
    const char *why = NULL;
    struct cluster cluster = {.net = net_open(&why)};

    if (cluster.net == NULL) {
        fprintf(stderr, "skipped: %s\n", why);
        cr_skip_test("%s", why);
    }
    cluster.stack = stack_prepare();
    cluster_up_all(&cluster);
    cluster_settle(&cluster, 30);
    return cluster;
}

void cluster_stop(struct cluster *cluster)
{
    stack_stop(&cluster->stack);
    net_close(cluster->net);
}

/* --- signals ---------------------------------------------------------------------------------- */

pid_t cluster_pid(const struct cluster *cluster, int node, const char *file)
{
    char path[64];

    snprintf(path, sizeof path, "../node-%d/%s", node, file);
    return stack_pid(&cluster->stack, path);
}

void cluster_kill(struct cluster *cluster, int node, const char *file)
{
    stack_kill(cluster_pid(cluster, node, file));
}

static bool has_ended(void *pid)
{
    return !process_lives(*(pid_t *)pid);
}

void cluster_terminate(struct cluster *cluster, int node)
{
    pid_t pid = cluster_pid(cluster, node, "raft.pid");

    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert(wait_for(has_ended, &pid, 15), "node %d does not end on SIGTERM", node);
}

void cluster_pause(struct cluster *cluster, int node)
{
    cr_assert_eq(kill(cluster_pid(cluster, node, "raft.pid"), SIGSTOP), 0);
    cluster->stopped[node] = true;
}

void cluster_resume(struct cluster *cluster, int node)
{
    cr_assert_eq(kill(cluster_pid(cluster, node, "raft.pid"), SIGCONT), 0);
    cluster->stopped[node] = false;
}

/* --- who leads -------------------------------------------------------------------------------- */

static struct answer get(const struct cluster *cluster, int node, const char *path)
{
    struct answer answer;

    net_enter(cluster->net, node);
    answer = http_get(CLUSTER_PORT, path);
    net_enter(cluster->net, 0);
    return answer;
}

static uint64_t number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

bool cluster_view(const struct cluster *cluster, int node, struct view *ret_view)
{
    struct answer answer;
    bool answered;

    if (cluster->stopped[node])
        return false;
    answer = get(cluster, node, "/cluster");
    answered = answer.status == 200;
    if (answered)
        *ret_view = (struct view){
            .leads = strstr(answer.body, "\"role\":\"leader\"") != NULL,
            .leader = (int)number_after(answer.body, "\"leader\":"),
            .term = number_after(answer.body, "\"term\":"),
            .commit = number_after(answer.body, "\"commit\":"),
            .applied = number_after(answer.body, "\"applied\":"),
            .last = number_after(answer.body, "\"last\":"),
        };
    answer_done(&answer);
    return answered;
}

/* 0: nobody who runs leads in the highest term that is known. */
static int find_leader(struct cluster *cluster, uint64_t *ret_term)
{
    uint64_t term = 0;
    int leader = 0;

    for (int node = 1; node <= CLUSTER_NODES; node++) {
        struct view view;

        if (!cluster_view(cluster, node, &view) || view.term < term)
            continue;
        if (view.term > term)
            leader = 0;
        term = view.term;
        if (view.leads)
            leader = node;
    }
    *ret_term = term;
    return leader;
}

struct leading {
    struct cluster *cluster;
    uint64_t after, term;
    int leader;
};

static bool somebody_leads(void *context)
{
    struct leading *leading = context;

    leading->leader = find_leader(leading->cluster, &leading->term);
    return leading->leader != 0 && leading->term > leading->after;
}

int cluster_leader_after(struct cluster *cluster, uint64_t term)
{
    struct leading leading = {.cluster = cluster, .after = term};

    cr_assert(wait_for(somebody_leads, &leading, 20), "nobody leads after term %" PRIu64, term);
    return leading.leader;
}

int cluster_leader(struct cluster *cluster)
{
    return cluster_leader_after(cluster, 0);
}

uint64_t cluster_term(struct cluster *cluster)
{
    uint64_t term;

    (void)find_leader(cluster, &term);
    return term;
}

struct settling {
    struct cluster *cluster;
    char seen[512];
};

/* All say the same, and one of them leads. What they say is kept, should they never agree. */
static bool is_settled(void *context)
{
    struct settling *settling = context;
    struct view views[CLUSTER_NODES] = {0};
    bool settled = true;
    int leaders = 0, len = 0;

    for (int i = 0; i < CLUSTER_NODES; i++) {
        struct answer ready;
        bool answered = cluster_view(settling->cluster, i + 1, &views[i]);

        if (answered) {
            ready = get(settling->cluster, i + 1, "/readyz");
            answered = ready.status == 200;
            answer_done(&ready);
        }
        leaders += views[i].leads;
        settled = settled && answered && views[i].leader == views[0].leader &&
                  views[i].term == views[0].term && views[i].applied == views[0].commit;
        len += snprintf(settling->seen + len, sizeof settling->seen - (size_t)len,
                        "node %d: %s, leader %d, term %" PRIu64 ", commit %" PRIu64
                        ", applied %" PRIu64 "\n",
                        i + 1, answered ? "ready" : "not ready", views[i].leader, views[i].term,
                        views[i].commit, views[i].applied);
    }
    return settled && leaders == 1;
}

void cluster_settle(struct cluster *cluster, int seconds)
{
    struct settling settling = {.cluster = cluster};

    cr_assert(wait_for(is_settled, &settling, seconds), "the nodes do not settle:\n%s",
              settling.seen);
}
