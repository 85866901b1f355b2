#include "tests/e2e/load.h"

#include "tests/e2e/http.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX  8
#define REQUESTS_MAX 100000

/* What a client was told about its n-th name. */
struct told {
    uint64_t id; /* when status is 201 */
    int status;  /* 0: nothing at all */
    int seen;    /* in the directory, at the end */
};

struct sender {
    struct load *load;
    pthread_t thread;
    int number;
    int count;
    struct told *told;
};

struct load {
    int port, clients;
    bool keep;
    atomic_bool stop;
    atomic_long created, refused, unknown, other;
    struct sender sender[CLIENTS_MAX];
};

static void note(struct load *load, const struct answer *answer)
{
    static atomic_int shown;

    if (answer->status == 201) {
        load->created++;
        return;
    }
    if (answer->status == 503)
        load->refused++;
    else if (answer->status == 504)
        load->unknown++;
    else
        load->other++;
    if (shown++ < 5)
        fprintf(stderr, "a client was told %ld %s\n", answer->status, answer->body);
    sleep_ms(5);
}

static void *send_names(void *context)
{
    struct sender *sender = context;
    struct load *load = sender->load;
    struct client *client = client_open(load->port, load->keep);

    while (!load->stop && sender->count < REQUESTS_MAX) {
        struct told *told = &sender->told[sender->count];
        char name[64], expected[128];
        struct answer answer;
        unsigned long long id = 0;

        snprintf(name, sizeof name, "c%d-%d", sender->number, sender->count);
        answer = http_post_name(client, name);
        told->status = (int)answer.status;
        if (answer.status == 201) {
            sscanf(answer.body, "{\"id\":%llu,", &id);
            told->id = id;
            snprintf(expected, sizeof expected, "{\"id\":%llu,\"name\":\"%s\"}", id, name);
            if (strcmp(answer.body, expected) != 0)
                load->other++;
        }
        note(load, &answer);
        answer_done(&answer);
        sender->count++;
    }
    client_close(client);
    return NULL;
}

struct load *load_start(int port, int clients, bool keep)
{
    struct load *load = calloc(1, sizeof *load);

    cr_assert(load != NULL && clients <= CLIENTS_MAX);
    load->port = port;
    load->clients = clients;
    load->keep = keep;
    for (int i = 0; i < clients; i++) {
        struct sender *sender = &load->sender[i];

        sender->load = load;
        sender->number = i;
        sender->told = calloc(REQUESTS_MAX, sizeof *sender->told);
        cr_assert_not_null(sender->told);
        cr_assert_eq(pthread_create(&sender->thread, NULL, send_names, sender), 0);
    }
    return load;
}

struct load_counts load_counts(struct load *load)
{
    return (struct load_counts){load->created, load->refused, load->unknown, load->other};
}

struct load_counts load_stop(struct load *load)
{
    load->stop = true;
    for (int i = 0; i < load->clients; i++)
        pthread_join(load->sender[i].thread, NULL);
    return load_counts(load);
}

void load_free(struct load *load)
{
    for (int i = 0; i < load->clients; i++)
        free(load->sender[i].told);
    free(load);
}

struct judge {
    struct load *load;
    uint64_t next_id;
    long wrong;
};

static void wrong(struct judge *judge, uint64_t id, const char *name, const char *what)
{
    if (judge->wrong++ < 10)
        cr_expect(false, "user %llu \"%s\" %s", (unsigned long long)id, name, what);
}

static void judge_user(void *context, uint64_t id, const char *name)
{
    struct judge *judge = context;
    struct load *load = judge->load;
    int client, number;
    struct told *told;

    if (id != judge->next_id)
        wrong(judge, id, name, "does not have the id that follows");
    judge->next_id = id + 1;
    if (sscanf(name, "c%d-%d", &client, &number) != 2)
        return;
    if (client >= load->clients || number > load->sender[client].count) {
        wrong(judge, id, name, "was never asked for");
        return;
    }
    told = &load->sender[client].told[number];
    if (told->seen++ > 0)
        wrong(judge, id, name, "is there twice");
    if (told->status == 201 && told->id != id)
        wrong(judge, id, name, "was acknowledged under another id");
    if (told->status == 503)
        wrong(judge, id, name, "was refused with 503, and yet executed");
}

void load_judge(struct load *load, int port)
{
    struct judge judge = {.load = load, .next_id = 1};
    struct answer users = http_get(port, "/users");

    for (int c = 0; c < load->clients; c++)
        for (int i = 0; i < load->sender[c].count; i++)
            load->sender[c].told[i].seen = 0;
    cr_assert_eq(users.status, 200, "GET /users: %ld %s", users.status, users.body);
    cr_assert_geq(users_read(users.body, judge_user, &judge), 0, "GET /users is cut or malformed");
    answer_done(&users);
    for (int c = 0; c < load->clients; c++) {
        for (int i = 0; i < load->sender[c].count; i++) {
            const struct told *told = &load->sender[c].told[i];

            if (told->status == 201 && told->seen == 0)
                wrong(&judge, told->id, "", "was acknowledged, and is lost");
        }
    }
    cr_assert_eq(judge.wrong, 0);
}
