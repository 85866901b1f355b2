/*
 * Single users through the real nginx: conditional requests beside a model, clients that read,
 * change and write back, and keys under which a request happens once.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/operator.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- one client, beside a model --------------------------------------------------------------- */

#define USERS  8u
#define EMAILS 5u

struct model_user {
    bool there;
    unsigned name, email; /* email 0: none */
    unsigned long etag;
};

struct model {
    struct model_user user[1000]; /* by id */
    unsigned next_id;
    unsigned long changed;
    unsigned seed;
    struct client *client;
};

/* What a condition's list says of a tag. */
struct condition {
    char text[96]; /* of the header field; empty: it is not sent */
    bool matches;
};

static unsigned below(struct model *m, unsigned limit)
{
    return (unsigned)rand_r(&m->seed) / 7 % limit;
}

static struct condition any_condition(struct model *m, unsigned long tag, bool weakly)
{
    struct condition condition = {.matches = true};
    size_t room = sizeof(condition.text);
    switch (below(m, 12)) {
    case 0:
        snprintf(condition.text, room, "*");
        break;
    case 1:
        snprintf(condition.text, room, "\"%lu\"", tag);
        break;
    case 2:
        snprintf(condition.text, room, "\"of,another\", W/\"1\" , \"%lu\",", tag);
        break;
    case 3:
        snprintf(condition.text, room, "W/\"%lu\"", tag);
        condition.matches = weakly;
        break;
    case 4:
        snprintf(condition.text, room, "\"%lu\", \"0%lu\"", tag + 100000, tag);
        condition.matches = false;
        break;
    default:
        condition.matches = false;
        break;
    }
    return condition;
}

static void put_email(char *text, size_t room, unsigned email, bool upper)
{
    if (email == 0)
        snprintf(text, room, "null");
    else
        snprintf(text, room, "\"%s%u@example.org\"", upper ? "ANN" : "ann", email);
}

/* The user as its JSON, emails as they were first written: in lower case. */
static void expect_user(const struct answer *answer, unsigned id, const struct model_user *user)
{
    char text[160], email[40];
    put_email(email, sizeof(email), user->email, false);
    snprintf(text, sizeof(text), "{\"id\":%u,\"name\":\"n%u\"%s%s}", id, user->name,
             user->email > 0 ? ",\"email\":" : "", user->email > 0 ? email : "");
    cr_assert_str_eq(answer->body, text);
    snprintf(text, sizeof(text), "\"%lu\"", user->etag);
    cr_assert_str_eq(answer_header(answer, "ETag"), text);
}

static bool is_taken(const struct model *m, unsigned email, unsigned id)
{
    for (unsigned other = 1; email > 0 && other < m->next_id; other++)
        if (other != id && m->user[other].there && m->user[other].email == email)
            return true;
    return false;
}

static struct answer send(struct model *m, const char *method, unsigned id, const char *body,
                          const struct condition *match, const struct condition *none_match)
{
    char path[32], headers[2][128];
    unsigned count = 0;
    bool patch = strcmp(method, "PATCH") == 0;
    snprintf(path, sizeof(path), id > 0 ? "/users/%u" : "/users", id);
    struct request request = {
        .method = method,
        .path = path,
        .body = bytes_of_text(body),
    };
    if (match->text[0] != '\0') {
        snprintf(headers[0], sizeof(headers[0]), "If-Match: %s", match->text);
        request.headers[count++] = headers[0];
    }
    if (none_match->text[0] != '\0') {
        snprintf(headers[1], sizeof(headers[1]), "If-None-Match: %s", none_match->text);
        request.headers[count++] = headers[1];
    }
    request.headers[count++] =
        patch ? "Content-Type: application/merge-patch+json" : "Content-Type: application/json";
    return client_send(m->client, &request);
}

/* What the conditions make of a request for something with this tag; 0: it goes on. */
static long refusal(const struct condition *match, const struct condition *none_match, bool read)
{
    if (match->text[0] != '\0' && !match->matches)
        return 412;
    if (none_match->text[0] != '\0' && none_match->matches)
        return read ? 304 : 412;
    return 0;
}

static void read_one(struct model *m, unsigned id)
{
    const struct model_user *user = &m->user[id];
    struct condition match = any_condition(m, user->etag, false),
                     none_match = any_condition(m, user->etag, true);
    struct answer answer = send(m, "GET", id, "", &match, &none_match);
    long refused = refusal(&match, &none_match, true);
    long expected = !user->there ? 404 : refused != 0 ? refused : 200;
    cr_assert_eq(answer.status, expected, "GET %u: %ld, not %ld (%s / %s)", id, answer.status,
                 expected, match.text, none_match.text);
    if (expected == 200)
        expect_user(&answer, id, user);
    if (expected == 304)
        cr_assert_eq(answer.len, 0);
    answer_done(&answer);
}

/* Replaces, patches or deletes. */
static void change_one(struct model *m, unsigned id)
{
    static const char *const methods[] = {"PUT", "PATCH", "DELETE"};
    struct model_user *user = &m->user[id], wish = *user;
    const char *method = methods[below(m, 8) == 0 ? 2 : below(m, 2)];
    bool deletes = method == methods[2], patches = method == methods[1];
    struct condition match = any_condition(m, user->etag, false),
                     none_match = any_condition(m, user->etag, true);
    char body[128] = "", email[40];
    unsigned number = below(m, EMAILS + 1);
    put_email(email, sizeof(email), number, false);
    if (!deletes) {
        bool names = !patches || below(m, 2) == 0;
        wish.name = names ? below(m, 3) : wish.name;
        wish.email = number;
        if (names)
            snprintf(body, sizeof(body), "{\"name\":\"n%u\",\"email\":%s}", wish.name, email);
        else
            snprintf(body, sizeof(body), "{\"email\":%s}", email);
    }
    struct answer answer = send(m, method, id, body, &match, &none_match);
    long expected = !user->there ? 404 : refusal(&match, &none_match, false);
    if (expected == 0)
        expected = deletes ? 204 : is_taken(m, wish.email, id) ? 409 : 200;
    cr_assert_eq(answer.status, expected, "%s %u: %ld, not %ld (%s / %s): %s", method, id,
                 answer.status, expected, match.text, none_match.text, answer.body);
    unsigned long index = strtoul(answer_header(&answer, "Raft-Index"), NULL, 10);
    if (expected == 200) {
        if (wish.name != user->name || wish.email != user->email)
            m->changed = wish.etag = index;
        *user = wish;
        expect_user(&answer, id, user);
    } else if (expected == 204) {
        user->there = false;
        m->changed = index;
    } else if (expected == 412) {
        cr_assert_eq(strtoul(answer_header(&answer, "ETag") + 1, NULL, 10), user->etag);
    }
    answer_done(&answer);
}

static void create_one(struct model *m)
{
    struct model_user wish = {.there = true, .name = below(m, 3), .email = below(m, EMAILS + 1)};
    struct condition match = any_condition(m, m->changed, false),
                     none_match = any_condition(m, m->changed, true);
    char body[128], email[40];
    put_email(email, sizeof(email), wish.email, false);
    snprintf(body, sizeof(body), "{\"email\":%s,\"name\":\"n%u\"}", email, wish.name);
    struct answer answer = send(m, "POST", 0, body, &match, &none_match);
    long expected = refusal(&match, &none_match, false);
    if (expected == 0)
        expected = is_taken(m, wish.email, 0) ? 409 : 201;
    cr_assert_eq(answer.status, expected, "POST: %ld, not %ld (%s / %s)", answer.status, expected,
                 match.text, none_match.text);
    if (expected == 201) {
        m->changed = wish.etag = strtoul(answer_header(&answer, "Raft-Index"), NULL, 10);
        expect_user(&answer, m->next_id, &wish);
        m->user[m->next_id++] = wish;
    }
    answer_done(&answer);
}

Test(items, conditional_requests_are_answered_as_a_model_says, .timeout = 120)
{
    static struct model m;
    struct stack stack = stack_start();
    m.seed = 11;
    m.next_id = 1;
    m.client = client_open(stack.port, true);
    for (unsigned i = 0; i < 2500; i++) {
        /* The last few, who mostly are there, and one who is not. */
        unsigned first = m.next_id > USERS ? m.next_id - USERS : 1;
        unsigned id = first + below(&m, m.next_id - first + 1), dice = below(&m, 10);
        if (dice < 2 && m.next_id < 900)
            create_one(&m);
        else if (dice < 6)
            read_one(&m, id);
        else
            change_one(&m, id);
    }
    client_close(m.client);
    stack_stop(&stack);
}

/* --- many clients, one counter ---------------------------------------------------------------- */

#define COUNTERS 4
#define TIMES    25

struct counter {
    int port;
    int retried;
};

/* Reads the number that is user 1's name, and writes the next, until it did so often. */
static void *count(void *context)
{
    struct counter *counter = context;
    struct client *client = client_open(counter->port, true);
    for (int done = 0; done < TIMES;) {
        char body[64], match[64];
        unsigned number = 0;
        struct answer read =
            client_send(client, &(struct request){.method = "GET", .path = "/users/1"});
        bool good =
            read.status == 200 && sscanf(read.body, "{\"id\":1,\"name\":\"%u\"}", &number) == 1;
        snprintf(match, sizeof(match), "If-Match: %s", answer_header(&read, "ETag"));
        snprintf(body, sizeof(body), "{\"name\":\"%u\"}", number + 1);
        answer_done(&read);
        if (!good)
            continue;
        struct answer wrote = client_send(
            client, &(struct request){.method = "PUT",
                                      .path = "/users/1",
                                      .headers = {"Content-Type: application/json", match},
                                      .body = bytes_of_text(body)});
        if (wrote.status == 200)
            done++;
        else if (wrote.status == 412)
            counter->retried++;
        else
            cr_assert_fail("PUT: %ld %s", wrote.status, wrote.body);
        answer_done(&wrote);
    }
    client_close(client);
    return NULL;
}

Test(items, no_update_is_lost_between_clients_who_say_what_they_read, .timeout = 120)
{
    struct stack stack = stack_start_nodes(3);
    struct counter counters[COUNTERS];
    pthread_t threads[COUNTERS];
    struct client *client = client_open(stack.port, false);
    struct answer answer = http_post_name(client, "0");
    cr_assert_eq(answer.status, 201);
    answer_done(&answer);
    for (int i = 0; i < COUNTERS; i++) {
        counters[i] = (struct counter){.port = stack.port + i % 4};
        cr_assert_eq(pthread_create(&threads[i], NULL, count, &counters[i]), 0);
    }
    int retried = 0;
    for (int i = 0; i < COUNTERS; i++) {
        pthread_join(threads[i], NULL);
        retried += counters[i].retried;
    }
    char expected[64];
    snprintf(expected, sizeof(expected), "{\"id\":1,\"name\":\"%d\"}", COUNTERS * TIMES);
    answer = http_get(stack.port, "/users/1");
    cr_expect_str_eq(answer.body, expected);
    cr_expect_gt(retried, 0, "they never met");
    answer_done(&answer);
    client_close(client);
    stack_stop(&stack);
}

/* --- once, whatever happens ------------------------------------------------------------------- */

#define KEYS 10

struct sender {
    int port, key;
    struct answer answer;
};

static struct answer send_key(int port, int key)
{
    char header[64], body[64];
    snprintf(header, sizeof(header), "Idempotency-Key: \"key %d\"", key);
    snprintf(body, sizeof(body), "{\"name\":\"of key %d\",\"email\":\"k%d@example.org\"}", key,
             key);
    return http_send(port, &(struct request){.method = "POST",
                                             .path = "/users",
                                             .headers = {"Content-Type: application/json", header},
                                             .body = bytes_of_text(body)});
}

static void *send_one(void *context)
{
    struct sender *sender = context;
    sender->answer = send_key(sender->port, sender->key);
    return NULL;
}

static bool is_replayed(const struct answer *answer)
{
    return strcmp(answer_header(answer, "Idempotency-Replayed"), "true") == 0;
}

/* At three nodes at once: one user, one answer, and all but one of them say that it is not new. */
static void send_everywhere(const struct stack *stack, int key, char ret_body[128])
{
    struct sender senders[3];
    pthread_t threads[3];
    int replayed = 0;
    for (int i = 0; i < 3; i++) {
        senders[i] = (struct sender){.port = stack->port + 1 + i, .key = key};
        cr_assert_eq(pthread_create(&threads[i], NULL, send_one, &senders[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++) {
        struct answer *answer = &senders[i].answer;
        cr_assert_eq(answer->status, 201, "key %d: %ld %s", key, answer->status, answer->body);
        cr_assert_str_eq(answer->body, senders[0].answer.body);
        replayed += is_replayed(answer);
    }
    cr_assert_eq(replayed, 2, "key %d: %d of 3 were replayed", key, replayed);
    snprintf(ret_body, 128, "%s", senders[0].answer.body);
    for (int i = 0; i < 3; i++)
        answer_done(&senders[i].answer);
}

static void expect_replays(int port, char bodies[KEYS][128], const char *when)
{
    for (int key = 0; key < KEYS; key++) {
        struct answer answer = send_key(port, key);
        cr_assert_eq(answer.status, 201, "%s: %ld %s", when, answer.status, answer.body);
        cr_assert_str_eq(answer.body, bodies[key], "%s", when);
        cr_assert(is_replayed(&answer), "%s: key %d happened again", when, key);
        answer_done(&answer);
    }
}

static int leader_of(const struct stack *stack)
{
    struct answer answer = http_get(stack->port, "/cluster");
    const char *at = strstr(answer.body, "\"leader\":");
    int leader = at != NULL ? (int)strtol(at + strlen("\"leader\":"), NULL, 10) : 0;
    answer_done(&answer);
    return leader;
}

Test(items, a_request_under_a_key_happens_once_through_kills_restarts_and_a_snapshot,
     .timeout = 180)
{
    char bodies[KEYS][128], command[512];
    setenv("ROLLCALL_SNAPSHOT_ENTRIES", "50", 1);
    struct stack stack = stack_start_nodes(3);
    for (int key = 0; key < KEYS; key++)
        send_everywhere(&stack, key, bodies[key]);

    int leader = leader_of(&stack);
    cr_assert(leader >= 1 && leader <= 3);
    snprintf(command, sizeof(command), "kill -9 $(cat $D/node-%d/raft.pid)", leader);
    operator_does(&stack, 0, NULL, command);
    expect_replays(stack.port + 1 + leader % 3, bodies, "after kill -9 of the leader");
    stack_up(&stack);

    stack_down(&stack);
    stack_up(&stack);
    expect_replays(stack.port, bodies, "after a restart of all");

    /* Node 2 loses its disk, while the log that made these users goes. */
    operator_does(&stack, 0, NULL,
                  "kill -9 $(cat $D/node-2/raft.pid); \"$ROOT/deploy/node\" down --dir $D/node-2 "
                  "&& rm -rf $D/node-2");
    operator_enrols(stack.port, KEYS + 1, KEYS + 200);
    stack_up(&stack);
    operator_does(&stack, 0, "event=admitted",
                  "until grep event=admitted $D/node-2/log/raft.log; do sleep 0.1; done");
    expect_replays(stack.port + 2, bodies, "at a node that was sent a snapshot");

    struct answer answer =
        http_send(stack.port, &(struct request){.method = "POST",
                                                .path = "/users",
                                                .headers = {"Content-Type: application/json",
                                                            "Idempotency-Key: \"key 0\""},
                                                .body = bytes_of_text("{\"name\":\"another\"}")});
    cr_expect_eq(answer.status, 422, "another request under a key: %ld", answer.status);
    answer_done(&answer);
    stack_stop(&stack);
}
