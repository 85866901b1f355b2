#include "tests/e2e/clients.h"

#include "tests/e2e/history.h"
#include "tests/e2e/http.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPERATIONS_MAX 300000
#define CALLERS_MAX    16
#define PAUSE_MS       2

struct caller {
    struct clients *clients;
    int node;
    int list_every; /* so many operations */
    pthread_t thread;
};

struct clients {
    struct cluster *cluster;
    atomic_bool stop;
    int callers_count;
    struct caller callers[CALLERS_MAX];
    pthread_mutex_t mutex; /* over what follows */
    struct operation *operations;
    uint32_t operations_count;
    struct clients_counts counts[CLUSTER_NODES + 1];
};

static int64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* --- the record ------------------------------------------------------------------------------- */

static uint32_t begin(struct clients *clients, enum operation_kind kind)
{
    uint32_t number;

    pthread_mutex_lock(&clients->mutex);
    number = clients->operations_count++;
    assert(number < OPERATIONS_MAX);
    clients->operations[number] = (struct operation){.kind = kind, .begin_ns = clock_ns()};
    pthread_mutex_unlock(&clients->mutex);
    return number;
}

static void end(struct clients *clients, int node, uint32_t number, struct operation told,
                long status)
{
    struct clients_counts *counts = &clients->counts[node];
    int64_t now = clock_ns();

    pthread_mutex_lock(&clients->mutex);
    told.kind = clients->operations[number].kind;
    told.begin_ns = clients->operations[number].begin_ns;
    told.end_ns = now;
    clients->operations[number] = told;
    if (told.outcome == OUTCOME_DONE && told.kind == OPERATION_ENROL) {
        long ms = (long)((now - told.begin_ns) / 1000000);

        counts->enrolled++;
        counts->slowest_ms = ms > counts->slowest_ms ? ms : counts->slowest_ms;
    } else if (told.outcome == OUTCOME_DONE) {
        counts->listed++;
    } else if (told.outcome == OUTCOME_REFUSED) {
        counts->refused++;
    } else if (status == 504 || status == 0) {
        counts->unknown++;
    } else {
        counts->other++;
    }
    pthread_mutex_unlock(&clients->mutex);
}

/* --- callers ---------------------------------------------------------------------------------- */

static enum outcome outcome_of(const struct answer *answer, long good)
{
    if (answer->status == good)
        return OUTCOME_DONE;
    return answer->status == 503 ? OUTCOME_REFUSED : OUTCOME_UNKNOWN;
}

static void complain(int node, const struct answer *answer)
{
    static atomic_int shown;

    if (shown++ < 8)
        fprintf(stderr, "a client at node %d was told %ld %.200s\n", node, answer->status,
                answer->body);
}

static void enrol(struct caller *caller, struct client *client)
{
    uint32_t number = begin(caller->clients, OPERATION_ENROL);
    struct operation told = {0};
    struct answer answer;
    unsigned long long id = 0;
    char name[32], expected[96];

    snprintf(name, sizeof name, "u%u", number);
    answer = http_post_name(client, name);
    told.outcome = outcome_of(&answer, 201);
    if (told.outcome == OUTCOME_DONE) {
        sscanf(answer.body, "{\"id\":%llu,", &id);
        snprintf(expected, sizeof expected, "{\"id\":%llu,\"name\":\"%s\"}", id, name);
        told.id = id;
        if (strcmp(answer.body, expected) != 0)
            told.outcome = OUTCOME_UNKNOWN;
    }
    if (told.outcome != OUTCOME_DONE)
        complain(caller->node, &answer);
    end(caller->clients, caller->node, number, told, answer.status);
    answer_done(&answer);
}

struct list {
    struct listed *at;
    uint32_t count, room;
};

static void add_listed(void *context, uint64_t id, const char *name)
{
    struct list *list = context;
    unsigned number = HISTORY_STRANGER;

    if (list->count == list->room) {
        list->room = 2 * list->room + 256;
        list->at = realloc(list->at, list->room * sizeof *list->at);
        assert(list->at != NULL);
    }
    if (sscanf(name, "u%u", &number) != 1)
        number = HISTORY_STRANGER;
    list->at[list->count++] = (struct listed){id < UINT32_MAX ? (uint32_t)id : UINT32_MAX, number};
}

static long list_users(struct clients *clients, int node, struct client *client)
{
    uint32_t number = begin(clients, OPERATION_LIST);
    struct operation told = {0};
    struct list list = {0};
    struct answer answer =
        client_send(client, &(struct request){.method = "GET", .path = "/users"});
    long status = answer.status;

    told.outcome = outcome_of(&answer, 200);
    if (told.outcome == OUTCOME_DONE && users_read(answer.body, add_listed, &list) < 0) {
        /* A list that broke off is told by its end missing, and proves nothing. */
        told.outcome = OUTCOME_UNKNOWN;
        status = 0;
    }
    if (told.outcome == OUTCOME_DONE) {
        told.list.at = list.at;
        told.list.count = list.count;
    } else {
        free(list.at);
        complain(node, &answer);
    }
    end(clients, node, number, told, status);
    answer_done(&answer);
    return status;
}

/* A connection for each request: on a kept one, libcurl may send a request again by itself. */
static void *call(void *context)
{
    struct caller *caller = context;
    struct clients *clients = caller->clients;
    struct client *client;

    net_enter(clients->cluster->net, caller->node);
    client = client_open(CLUSTER_PORT, false);
    for (int i = 1; !clients->stop; i++) {
        if (i % caller->list_every == 0)
            list_users(clients, caller->node, client);
        else
            enrol(caller, client);
        sleep_ms(PAUSE_MS);
    }
    client_close(client);
    return NULL;
}

static void add_caller(struct clients *clients, int node, int list_every)
{
    struct caller *caller = &clients->callers[clients->callers_count++];

    cr_assert_leq(clients->callers_count, (int)ARRAY_LEN(clients->callers));
    *caller = (struct caller){.clients = clients, .node = node, .list_every = list_every};
    cr_assert_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
}

struct clients *clients_start(struct cluster *cluster, int a_node)
{
    struct clients *clients = calloc(1, sizeof *clients);

    cr_assert_not_null(clients);
    clients->cluster = cluster;
    clients->operations = calloc(OPERATIONS_MAX, sizeof *clients->operations);
    cr_assert_not_null(clients->operations);
    pthread_mutex_init(&clients->mutex, NULL);
    /* The first at each node mostly writes, the second mostly reads: whatever happens to the node
     * then happens to a list as well. */
    for (int i = 0; i < CLUSTER_NODES * a_node; i++)
        add_caller(clients, i % CLUSTER_NODES + 1, i / CLUSTER_NODES % 2 == 0 ? 30 : 2);
    return clients;
}

void clients_add_lister(struct clients *clients, int node)
{
    add_caller(clients, node, 1);
}

/* --- what they were told ---------------------------------------------------------------------- */

struct clients_counts clients_counts(struct clients *clients, int node)
{
    struct clients_counts sum = {0};

    pthread_mutex_lock(&clients->mutex);
    for (int i = 1; i <= CLUSTER_NODES; i++) {
        struct clients_counts *counts = &clients->counts[i];

        if (node != 0 && node != i)
            continue;
        sum.enrolled += counts->enrolled;
        sum.listed += counts->listed;
        sum.refused += counts->refused;
        sum.unknown += counts->unknown;
        sum.other += counts->other;
        if (counts->slowest_ms > sum.slowest_ms)
            sum.slowest_ms = counts->slowest_ms;
    }
    pthread_mutex_unlock(&clients->mutex);
    return sum;
}

void clients_forget(struct clients *clients)
{
    pthread_mutex_lock(&clients->mutex);
    memset(clients->counts, 0, sizeof clients->counts);
    pthread_mutex_unlock(&clients->mutex);
}

struct progress {
    struct clients *clients;
    int node;
    long until;
};

static bool has_progressed(void *context)
{
    struct progress *progress = context;

    return clients_counts(progress->clients, progress->node).enrolled >= progress->until;
}

void clients_expect_progress(struct clients *clients, int node, int seconds)
{
    struct progress progress = {clients, node, clients_counts(clients, node).enrolled + 10};

    cr_assert(wait_for(has_progressed, &progress, seconds),
              "at node %d no user is enrolled any more (%ld of %ld)", node,
              clients_counts(clients, node).enrolled, progress.until);
}

void clients_expect_no_failure(struct clients *clients, int node, const char *when)
{
    struct clients_counts counts = clients_counts(clients, node);

    cr_expect_eq(counts.refused + counts.unknown + counts.other, 0,
                 "%s: at node %d %ld refused, %ld unknown, %ld other; %ld enrolled", when, node,
                 counts.refused, counts.unknown, counts.other, counts.enrolled);
}

static void stop(struct clients *clients)
{
    clients->stop = true;
    for (int i = 0; i < clients->callers_count; i++)
        pthread_join(clients->callers[i].thread, NULL);
    clients->callers_count = 0;
}

void clients_judge(struct clients *clients, const char *title)
{
    struct clients_counts counts;
    char text[4096];
    long breaches;

    stop(clients);
    cluster_settle(clients->cluster, 30);
    counts = clients_counts(clients, 0);
    for (int node = 1; node <= CLUSTER_NODES; node++) {
        struct client *client;

        net_enter(clients->cluster->net, node);
        client = client_open(CLUSTER_PORT, false);
        cr_assert_eq(list_users(clients, node, client), 200, "node %d gives no final list", node);
        client_close(client);
        net_enter(clients->cluster->net, 0);
    }
    breaches = history_judge(clients->operations, clients->operations_count, text, sizeof text);
    cr_expect_eq(breaches, 0, "%ld breaches, the first:\n%s", breaches, text);
    cr_expect_eq(counts.other, 0, "%ld answers that this API does not give", counts.other);
    fprintf(stderr, "%s: %ld enrolled, %ld lists, %ld refused, %ld unknown; slowest write %ld ms\n",
            title, counts.enrolled, counts.listed, counts.refused, counts.unknown,
            counts.slowest_ms);
}

void clients_free(struct clients *clients)
{
    stop(clients);
    for (uint32_t i = 0; i < clients->operations_count; i++)
        if (clients->operations[i].kind == OPERATION_LIST &&
            clients->operations[i].outcome == OUTCOME_DONE)
            free((void *)(uintptr_t)clients->operations[i].list.at);
    pthread_mutex_destroy(&clients->mutex);
    free(clients->operations);
    free(clients);
}
