/*
 * Drives a node alone, over its workers' socket.
 *
 *     node_load write  --socket PATH [--in-flight 1] (--ms 1000 | --count N) [--name-bytes 20]
 *                      [--wait block|poll]
 *         So many creates in flight over one connection, each answer starting the next, all that
 *         came in one read answered by one send. Latency: from before the send to after the read.
 *     node_load probe  --socket PATH --rate 200 [--ms 60000]
 *         A write, then a linearizable read of one user, in turn, at a low rate, until the time is
 *         over or SIGTERM comes: what a single client feels of what else goes on.
 *     node_load list   --socket PATH
 *         Reads the whole directory once, and judges it: ids ascend, none twice.
 *
 * Prints one line of key=value. Exit status 1 when any call was refused, unknown, or answered
 * wrongly (an id given twice).
 */
#include "tests/bench/node_client.h"
#include "tests/bench/samples.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IN_FLIGHT_MAX 1024u

struct options {
    const char *socket_path;
    uint64_t in_flight;
    uint64_t run_ms;
    uint64_t count; /* 0: as many as the time allows */
    uint64_t name_bytes;
    uint64_t rate;
    enum node_wait wait;
};

static volatile sig_atomic_t stopped;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/* Ids that were given out, as a bitmap above the first one seen. */
struct seen {
    uint64_t base; /* 0 until the first id */
    uint8_t *bits;
    size_t bytes;
};

static bool seen_before(struct seen *seen, uint64_t id)
{
    if (seen->base == 0)
        seen->base = id > IN_FLIGHT_MAX ? id - IN_FLIGHT_MAX : 1;
    if (id < seen->base)
        return true; /* below what could still be open: an old id again */
    uint64_t at = id - seen->base;
    size_t byte = (size_t)(at / 8);
    if (byte >= seen->bytes) {
        size_t bytes = (byte + 1) * 2;
        seen->bits = realloc(seen->bits, bytes);
        if (seen->bits == NULL)
            die("realloc");
        memset(seen->bits + seen->bytes, 0, bytes - seen->bytes);
        seen->bytes = bytes;
    }
    uint8_t mask = (uint8_t)(1u << (at % 8));
    bool before = (seen->bits[byte] & mask) != 0;
    seen->bits[byte] |= mask;
    return before;
}

/* The id that a WRITTEN gave, 0 when the call was refused or the answer is none. */
static uint64_t created_id(const struct call *call)
{
    if (call->kind != CALL_WRITTEN)
        return 0;
    struct users_answer answer;
    if (users_answer_decode(call->written.answer, &answer) != 0 || answer.kind != USERS_CREATED)
        return 0;
    return answer.created.id;
}

static void complain(const struct call *call)
{
    static int said;
    if (said++ >= 5)
        return;
    char line[512];
    struct writer out = writer_of(line, sizeof(line));
    call_print(&out, call);
    fprintf(stderr, "node_load: %.*s\n", (int)writer_len(&out), line);
}

static uint64_t call_number(const struct call *call)
{
    if (call->kind == CALL_WRITTEN)
        return call->written.call;
    if (call->kind == CALL_REFUSED)
        return call->refused.call;
    if (call->kind == CALL_UNKNOWN)
        return call->unknown.call;
    complain(call);
    errno = 0;
    die("an answer that no write has");
}

static int run_write(const struct options *options)
{
    struct node_client client;
    node_connect(&client, options->socket_path, options->wait);
    static uint64_t sent_ns[IN_FLIGHT_MAX];
    struct samples samples = {0};
    struct seen seen = {0};
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t errors = 0;
    uint64_t limit = options->count > 0 ? options->count : UINT64_MAX;
    uint64_t begin_ns = now_ns();
    uint64_t end_ns = options->count > 0 ? UINT64_MAX : begin_ns + options->run_ms * 1000000u;
    for (; sent < options->in_flight && sent < limit; sent++) {
        sent_ns[sent] = begin_ns;
        node_put_create(&client, sent, (size_t)options->name_bytes);
    }
    node_flush(&client);
    while (received < sent) {
        do {
            struct call call = node_take(&client);
            uint64_t slot = call_number(&call);
            uint64_t id = created_id(&call);
            received++;
            if (slot >= options->in_flight || id == 0 || seen_before(&seen, id)) {
                errors++;
                complain(&call);
                if (slot >= options->in_flight)
                    break;
            }
            samples_add(&samples, client.received_ns - sent_ns[slot]);
            if (sent < limit && client.received_ns < end_ns && !stopped) {
                sent_ns[slot] = 0; /* set before the send below */
                node_put_create(&client, slot, (size_t)options->name_bytes);
                sent++;
            }
        } while (node_ready(&client));
        uint64_t batch_ns = now_ns();
        for (size_t slot = 0; slot < options->in_flight; slot++)
            if (sent_ns[slot] == 0)
                sent_ns[slot] = batch_ns;
        node_flush(&client);
    }
    double seconds = (double)(client.received_ns - begin_ns) / 1e9;
    printf("in_flight=%llu wait=%s ms=%.0f errors=%llu rate=%.0f",
           (unsigned long long)options->in_flight,
           options->wait == NODE_WAIT_BLOCK ? "block" : "poll", seconds * 1e3,
           (unsigned long long)errors, (double)received / seconds);
    samples_print(&samples, "");
    putchar('\n');
    samples_done(&samples);
    free(seen.bits);
    node_close(&client);
    return errors > 0;
}

static void sleep_until(uint64_t at_ns)
{
    struct timespec at = {.tv_sec = (time_t)(at_ns / 1000000000u),
                          .tv_nsec = (long)(at_ns % 1000000000u)};
    while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static int run_probe(const struct options *options)
{
    struct node_client client;
    node_connect(&client, options->socket_path, NODE_WAIT_BLOCK);
    struct samples writes = {0};
    struct samples reads = {0};
    uint64_t errors = 0;
    uint64_t begin_ns = now_ns();
    uint64_t end_ns = begin_ns + options->run_ms * 1000000u;
    uint64_t period_ns = 1000000000u / options->rate;
    for (uint64_t at_ns = begin_ns; at_ns < end_ns && !stopped; at_ns += period_ns) {
        sleep_until(at_ns);
        bool write = (at_ns - begin_ns) / period_ns % 2 == 0;
        struct call list = {
            .kind = CALL_LIST,
            .list = {.call = 1, .consistency = CALL_LINEARIZABLE, .after = 0, .limit = 1}};
        if (write)
            node_put_create(&client, 1, (size_t)options->name_bytes);
        else
            node_put(&client, &list);
        uint64_t before_ns = now_ns();
        node_flush(&client);
        struct call answer = node_take(&client);
        samples_add(write ? &writes : &reads, client.received_ns - before_ns);
        bool good = write ? created_id(&answer) != 0 : answer.kind == CALL_USERS;
        if (!good) {
            errors++;
            complain(&answer);
        }
    }
    printf("errors=%llu", (unsigned long long)errors);
    samples_print(&writes, "write_");
    samples_print(&reads, "read_");
    putchar('\n');
    samples_done(&writes);
    samples_done(&reads);
    node_close(&client);
    return errors > 0;
}

static int run_list(const struct options *options)
{
    struct node_client client;
    node_connect(&client, options->socket_path, NODE_WAIT_BLOCK);
    struct call list = {.kind = CALL_LIST, .list = {.call = 1, .consistency = CALL_LINEARIZABLE}};
    uint64_t begin_ns = now_ns();
    node_put(&client, &list);
    node_flush(&client);
    uint64_t users = 0;
    uint64_t last_id = 0;
    uint64_t chunks = 0;
    for (bool last = false; !last; chunks++) {
        struct call answer = node_take(&client);
        if (answer.kind != CALL_USERS) {
            complain(&answer);
            return 1;
        }
        struct reader in = reader_of(answer.users.users);
        while (reader_left(&in) > 0 && !in.bad) {
            struct user user = user_get(&in);
            if (user.id <= last_id)
                in.bad = true;
            last_id = user.id;
            users++;
        }
        if (in.bad) {
            fputs("node_load: users that do not ascend, or are none\n", stderr);
            return 1;
        }
        last = answer.users.last != 0;
        if (!last) {
            struct call more = {.kind = CALL_MORE, .more = {.call = 1}};
            node_put(&client, &more);
            node_flush(&client);
        }
    }
    double ms = (double)(client.received_ns - begin_ns) / 1e6;
    printf("users=%llu last_id=%llu chunks=%llu bytes=%llu ms=%.1f\n", (unsigned long long)users,
           (unsigned long long)last_id, (unsigned long long)chunks,
           (unsigned long long)client.received_bytes, ms);
    node_close(&client);
    return 0;
}

static void read_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        {"socket", required_argument, NULL, 's'},     {"in-flight", required_argument, NULL, 'n'},
        {"ms", required_argument, NULL, 'm'},         {"count", required_argument, NULL, 'c'},
        {"name-bytes", required_argument, NULL, 'b'}, {"rate", required_argument, NULL, 'r'},
        {"wait", required_argument, NULL, 'w'},       {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 's') {
            options->socket_path = optarg;
        } else if (option == 'n') {
            options->in_flight = number_option("in-flight", optarg, 1, IN_FLIGHT_MAX);
        } else if (option == 'm') {
            options->run_ms = number_option("ms", optarg, 1, 600000);
        } else if (option == 'c') {
            options->count = number_option("count", optarg, 1, 100000000);
        } else if (option == 'b') {
            options->name_bytes = number_option("name-bytes", optarg, 1, USER_NAME_BYTES_MAX);
        } else if (option == 'r') {
            options->rate = number_option("rate", optarg, 1, 100000);
        } else if (option == 'w' && strcmp(optarg, "poll") == 0) {
            options->wait = NODE_WAIT_POLL;
        } else if (option == 'w' && strcmp(optarg, "block") == 0) {
            options->wait = NODE_WAIT_BLOCK;
        } else {
            exit(2);
        }
    }
    if (options->socket_path == NULL) {
        fputs("node_load: --socket is missing\n", stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct options *options);
    } modes[] = {{"write", run_write}, {"probe", run_probe}, {"list", run_list}};
    struct options options = {
        .in_flight = 1, .run_ms = 1000, .name_bytes = 20, .rate = 200, .wait = NODE_WAIT_BLOCK};
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(modes); i++) {
        if (strcmp(argv[1], modes[i].name) != 0)
            continue;
        read_options(argc - 1, argv + 1, &options);
        struct sigaction stop = {.sa_handler = on_stop};
        sigaction(SIGTERM, &stop, NULL);
        sigaction(SIGINT, &stop, NULL);
        return modes[i].run(&options);
    }
    fputs("node_load: say write, probe or list\n", stderr);
    return 2;
}
