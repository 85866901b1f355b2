/*
 * Failed I/O under the real process: strace has one system call of rollcall-node on its log fail,
 * the nth of its kind (of a thread), in each run. What then happens is one of two: the process ends
 * and says in one line what failed and why; or, when it is a segment made ahead that finds no room,
 * it goes on. The next start has every user that was acknowledged and none that was refused.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define POSTS 60

struct trial {
    const struct stack *stack;
    const char *call;  /* that fails */
    const char *error; /* as strace names it */
    int n;
    bool ahead; /* only calls on the segment that is made ahead */
    pid_t pid;  /* strace, or the node; 0: it has ended */
    int status;
    long told[POSTS]; /* statuses; 0: never asked */
    unsigned long long id[POSTS];
    int seen[POSTS];
    unsigned long long next_id;
};

struct tally {
    int runs, ended, refused_start, went_on, acknowledged;
};

static bool is_permitted(const struct stack *stack)
{
    return stack_shell(stack, "strace -f --seccomp-bpf -qq -o /dev/null -e trace=fsync true", NULL,
                       0) == 0;
}

/* --- the node --------------------------------------------------------------------------------- */

/* In a process of its own; what it says goes to $N/run.log, what strace saw to $N/run.trace. */
static void start_node(struct trial *trial, bool faults)
{
    static const char node[] =
        "\"${ROLLCALL_BIN:-build/release}/rollcall-node\" --dir $N/wal --socket $N/raft.sock "
        "--redis $N/redis.sock --pid-file $N/raft.pid </dev/null >/dev/null 2>$N/run.log";
    char command[1024], inject[320] = "";

    if (faults)
        snprintf(inject, sizeof inject,
                 "strace -f --seccomp-bpf -qq -y -o $N/run.trace -e trace=%s "
                 "-e inject=%s:error=%s:when=%d %s ",
                 trial->call, trial->call, trial->error, trial->n,
                 trial->ahead ? "-P $N/wal/next.tmp" : "");
    snprintf(command, sizeof command, "exec %s%s", inject, node);
    trial->pid = fork();
    cr_assert_geq(trial->pid, 0);
    if (trial->pid == 0) {
        setenv("N", trial->stack->node_dir, 1);
        /* What a leak check finds under a tracer is nothing. */
        if (faults)
            setenv("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=1", 1);
        close_range(3, ~0u, 0);
        execl("/bin/bash", "bash", "-c", command, (char *)NULL);
        _exit(127);
    }
}

static bool has_ended(struct trial *trial)
{
    if (trial->pid != 0 && waitpid(trial->pid, &trial->status, WNOHANG) == trial->pid)
        trial->pid = 0;
    return trial->pid == 0;
}

/* False when it ended before. */
static bool becomes_ready(struct trial *trial)
{
    long deadline = now_ms() + 120000;
    long status = 0;

    while (status != 200 && !has_ended(trial)) {
        struct answer answer = http_get(trial->stack->port + 1, "/readyz");

        status = answer.status;
        answer_done(&answer);
        cr_assert_lt(now_ms(), deadline, "neither ready nor ended: %s:%s:%d", trial->call,
                     trial->error, trial->n);
        if (status != 200)
            sleep_ms(2);
    }
    return status == 200;
}

static void stop_node(struct trial *trial)
{
    if (has_ended(trial))
        return;
    cr_assert_eq(kill(stack_pid(trial->stack, "raft.pid"), SIGTERM), 0);
    cr_assert_eq(waitpid(trial->pid, &trial->status, 0), trial->pid);
    trial->pid = 0;
    cr_assert(WIFEXITED(trial->status) && WEXITSTATUS(trial->status) == 0, "%s:%s:%d: status %d",
              trial->call, trial->error, trial->n, trial->status);
}

/* --- its users -------------------------------------------------------------------------------- */

static void post_users(struct trial *trial)
{
    struct client *client = client_open(trial->stack->port + 1, true);

    for (int i = 0; i < POSTS && !has_ended(trial); i++) {
        char name[32];
        struct answer answer;

        snprintf(name, sizeof name, "user-%d", i);
        answer = http_post_name(client, name);
        trial->told[i] = answer.status == 0 ? -1 : answer.status;
        if (answer.status == 201)
            sscanf(answer.body, "{\"id\":%llu,", &trial->id[i]);
        answer_done(&answer);
    }
    client_close(client);
}

static void judge_user(void *context, uint64_t id, const char *name)
{
    struct trial *trial = context;
    int i = -1;

    cr_assert_eq(sscanf(name, "user-%d", &i), 1);
    cr_assert(i >= 0 && i < POSTS && trial->told[i] != 0, "nobody asked for %s", name);
    cr_expect_eq(id, ++trial->next_id);
    cr_expect_eq(trial->seen[i]++, 0, "%s is there twice", name);
    cr_expect_neq(trial->told[i], 503, "%s was refused, and is there", name);
    cr_expect(trial->told[i] != 201 || trial->id[i] == id, "%s has another id", name);
}

static void judge_users(struct trial *trial, struct tally *tally)
{
    struct answer answer = http_get(trial->stack->port + 1, "/users");

    cr_assert_eq(answer.status, 200, "%ld %s", answer.status, answer.body);
    cr_assert_geq(users_read(answer.body, judge_user, trial), 0);
    answer_done(&answer);
    for (int i = 0; i < POSTS; i++) {
        cr_expect(trial->told[i] != 201 || trial->seen[i] == 1, "%s:%s:%d: user-%d is lost",
                  trial->call, trial->error, trial->n, i);
        tally->acknowledged += trial->told[i] == 201;
    }
}

/* --- what it said ----------------------------------------------------------------------------- */

static bool shell(const struct trial *trial, const char *command, char output[4096])
{
    return stack_shell(trial->stack, command, output, 4096) == 0;
}

/* One line, and no other that complains; it names the folder and the reason. */
static void expect_one_line(const struct trial *trial)
{
    const char *reason =
        strcmp(trial->error, "EIO") == 0 ? "Input/output error" : "No space left on device";
    char said[4096], dir[96];

    shell(trial, "grep -E 'event=(fatal|refused)|^rollcall-node' $N/run.log", said);
    snprintf(dir, sizeof dir, "%s/wal", trial->stack->node_dir);
    const char *end = strchr(said, '\n');
    cr_expect(end != NULL && end[1] == '\0' && strstr(said, reason) != NULL &&
                  strstr(said, dir) != NULL,
              "%s:%s:%d: it said: %s", trial->call, trial->error, trial->n, said);
}

static void judge_end(struct trial *trial, bool was_ready, struct tally *tally)
{
    char traced[4096];
    bool ahead = trial->ahead && strcmp(trial->error, "ENOSPC") == 0;

    if (trial->pid == 0) {
        cr_expect(WIFEXITED(trial->status) && WEXITSTATUS(trial->status) == 1,
                  "%s:%s:%d: status %d", trial->call, trial->error, trial->n, trial->status);
        cr_expect_not(ahead, "%s:%s:%d: without room it ended", trial->call, trial->error,
                      trial->n);
        expect_one_line(trial);
        tally->ended += was_ready;
        tally->refused_start += !was_ready;
        return;
    }
    shell(trial, "grep INJECTED $N/run.trace", traced);
    cr_expect(ahead, "%s:%s:%d: it went on after %s", trial->call, trial->error, trial->n, traced);
    int created = 0;
    for (int i = 0; i < POSTS; i++) { /* 504: it did so, and later than a worker waits here */
        cr_expect(trial->told[i] == 201 || trial->told[i] == 504, "%ld", trial->told[i]);
        created += trial->told[i] == 201;
    }
    cr_expect_gt(created, 0);
    tally->went_on++;
}

static bool made_ahead(void *context)
{
    return shell(context, "test -e $N/wal/0000000000000002.wal", (char[4096]){0});
}

/* False when the run had no nth call. */
static bool run(struct trial *trial, struct tally *tally)
{
    char output[4096];

    shell(trial, "rm -rf $N/wal $N/run.trace", output);
    if (trial->ahead) { /* a log is there, but for the segment that is made ahead */
        start_node(trial, false);
        cr_assert(becomes_ready(trial));
        cr_assert(wait_for(made_ahead, trial, 10));
        stop_node(trial);
        shell(trial, "rm $N/wal/0000000000000002.wal", output);
    }
    start_node(trial, true);
    bool ready = becomes_ready(trial);
    if (ready)
        post_users(trial);
    if (trial->ahead && strcmp(trial->error, "ENOSPC") == 0)
        cr_expect(wait_for(made_ahead, trial, 10), "the segment is not made when there is room");
    bool reached = shell(trial, "grep -q INJECTED $N/run.trace", output);
    if (reached) { /* it may just be ending */
        for (int i = 0; i < 6000 && !has_ended(trial) && !trial->ahead; i++)
            sleep_ms(10);
        judge_end(trial, ready, tally);
    }
    stop_node(trial);
    start_node(trial, false);
    cr_assert(becomes_ready(trial), "%s:%s:%d: it does not start again", trial->call, trial->error,
              trial->n);
    judge_users(trial, tally);
    stop_node(trial);
    tally->runs += reached;
    return reached;
}

/* Each of the first calls, then some: most of them write parts of the same new file. */
static int next(int n)
{
    return n + (n < 8 ? 1 : n < 36 ? 15 : n < 46 ? 1 : 25);
}

static void fail_each(const struct stack *stack, const char *call, const char *error, bool ahead,
                      struct tally *tally)
{
    struct trial trial;
    int n = 1;

    do {
        trial =
            (struct trial){.stack = stack, .call = call, .error = error, .n = n, .ahead = ahead};
        n = next(n);
    } while (run(&trial, tally));
}

static void begin(struct stack *stack)
{
    char output[4096];

    setenv("ROLLCALL_WORKERS", "1", 1);       /* the one that says that the node is ready */
    setenv("ROLLCALL_DEADLINE_MS", "150", 1); /* for who asks a node that ends */
    *stack = stack_start();
    if (!is_permitted(stack)) {
        stack_stop(stack);
        cr_skip_test("strace may trace nothing here");
    }
    cr_assert_eq(kill(stack_pid(stack, "raft.pid"), SIGTERM), 0);
    cr_assert_eq(
        stack_shell(stack, "while [ -e $N/raft.pid ]; do sleep 0.02; done", output, sizeof output),
        0);
}

static void end(struct stack *stack, const struct tally *tally)
{
    fprintf(stderr, "%d runs: %d ended, %d did not start, %d went on; %d users acknowledged\n",
            tally->runs, tally->ended, tally->refused_start, tally->went_on, tally->acknowledged);
    stack_stop(stack);
}

Test(fault, a_call_that_fails_ends_the_node_with_one_line_and_loses_nothing, .timeout = 180)
{
    static const char *const calls[] = {"pwrite64", "fdatasync", "fsync", "renameat"};
    struct tally tally = {0};
    struct stack stack;

    begin(&stack);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        fail_each(&stack, calls[i], "EIO", false, &tally);
        fail_each(&stack, calls[i], "ENOSPC", false, &tally);
    }
    /* How many there are of each depends on how writes fall together: on how busy the disk is. */
    cr_expect_gt(tally.ended, 0);
    cr_expect_gt(tally.refused_start, 0);
    cr_expect_gt(tally.ended + tally.refused_start, 20);
    cr_expect_eq(tally.went_on, 0);
    end(&stack, &tally);
}

Test(fault, no_room_for_the_next_segment_is_waited_for_and_any_other_failure_is_not, .timeout = 120)
{
    static const char *const calls[] = {"pwrite64", "fdatasync", "renameat"};
    struct tally tally = {0};
    struct stack stack;

    begin(&stack);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        fail_each(&stack, calls[i], "EIO", true, &tally);
        fail_each(&stack, calls[i], "ENOSPC", true, &tally);
    }
    cr_expect_gt(tally.ended + tally.refused_start, 0);
    cr_expect_gt(tally.went_on, 0);
    end(&stack, &tally);
}
