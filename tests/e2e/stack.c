#include "tests/e2e/stack.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void sleep_ms(int ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        ;
}

long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool wait_for(bool (*holds)(void *context), void *context, int seconds)
{
    long deadline = now_ms() + (seconds < HANGS_AFTER_S ? HANGS_AFTER_S : seconds) * 1000L;

    while (!holds(context)) {
        if (now_ms() > deadline)
            return false;
        sleep_ms(20);
    }
    return true;
}

bool process_lives(pid_t pid)
{
    char path[64], state = 'Z';
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(file);
    return state != 'Z' && state != 'X';
}

static bool is_gone(void *pid)
{
    return !process_lives(*(pid_t *)pid);
}

void stack_kill(pid_t pid)
{
    cr_assert_eq(kill(pid, SIGKILL), 0, "kill %d: %s", (int)pid, strerror(errno));
    cr_assert(wait_for(is_gone, &pid, 10), "%d does not die", (int)pid);
}

/* The repository: the tests are started from its top. */
static const char *root(void)
{
    static char path[4096];

    if (path[0] == '\0')
        cr_assert_not_null(getcwd(path, sizeof path));
    return path;
}

/* In a child: the command, with everything closed but the standard three. */
_Noreturn static void run_shell(const struct stack *stack, const char *command)
{
    char port[16], nodes[16];

    snprintf(port, sizeof port, "%d", stack->port);
    snprintf(nodes, sizeof nodes, "%d", stack->nodes);
    setenv("NODES", nodes, 1);
    setenv("D", stack->dir, 1);
    setenv("N", stack->node_dir, 1);
    setenv("P", port, 1);
    setenv("ROOT", root(), 1);
    setenv("ROLLCALL_ALLOW_ROOT", "yes", 0);
    close_range(3, ~0u, 0);
    execl("/bin/bash", "bash", "-c", command, (char *)NULL);
    _exit(127);
}

int stack_shell(const struct stack *stack, const char *command, char *ret_output, size_t size)
{
    int out[2], status = 0;
    size_t len = 0;
    char rest[4096];
    ssize_t got;
    pid_t pid;

    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        run_shell(stack, command);
    }
    close(out[1]);
    for (;;) {
        bool room = len + 1 < size;

        got = read(out[0], room ? ret_output + len : rest, room ? size - len - 1 : sizeof rest);
        if (got <= 0)
            break;
        len += room ? (size_t)got : 0;
    }
    if (size > 0)
        ret_output[len] = '\0';
    close(out[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Fails the test with what the command said. */
static void must(const struct stack *stack, const char *command)
{
    char output[4096];
    int status = stack_shell(stack, command, output, sizeof output);

    cr_assert_eq(status, 0, "%s: exit code %d\n%s", command, status, output);
}

void stack_up(struct stack *stack)
{
    must(stack, "\"$ROOT/deploy/local\" up --nodes $NODES --dir $D --port $P");
}

void stack_down(struct stack *stack)
{
    must(stack, "\"$ROOT/deploy/local\" down --dir $D");
}

void stack_node_up(struct stack *stack)
{
    must(stack, "\"$ROOT/deploy/node\" up --id 1 --dir $N --http 127.0.0.1:$((P+1))");
}

/*
 * Ports are taken by the block, so that tests that run side by side, of other checkouts too, never
 * want the same, though what listens there may be down for a while. A block is whose name is bound:
 * a socket of the abstract kind is gone with the test's process, and leaves no file.
 */
#define PORTS_FIRST  10000 /* and below those that the kernel gives to clients */
#define PORTS_EACH   128
#define PORTS_BLOCKS 150

static bool take_block(int block)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int len = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "rollcall-e2e-%d", block);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool bound = bind(fd, (struct sockaddr *)&name,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0;

    if (!bound)
        close(fd);
    return bound; /* and it stays open */
}

static bool is_free(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

    close(fd);
    return bound;
}

/* The first of a block for which the kernel says that all which deploy/local takes are free. */
static int free_ports(int nodes)
{
    unsigned seed = (unsigned)getpid() ^ (unsigned)now_ms();

    for (int i = 0; i < 1000; i++) {
        int block = rand_r(&seed) % PORTS_BLOCKS, port = PORTS_FIRST + block * PORTS_EACH;
        bool all = take_block(block) && is_free(port);

        for (int node = 1; node <= nodes && all; node++)
            all = is_free(port + node) && (nodes == 1 || is_free(port + 100 + node));
        if (all)
            return port;
    }
    cr_assert_fail("no free ports beside each other");
    return 0;
}

/* Lives in a process of its own until the test's process ends, however it does. */
_Noreturn static void guard(const struct stack *stack, int fd)
{
    static const char clean_up[] = "exec 2>/dev/null; kill $(cat $D/run.pid);"
                                   "kill -CONT $(cat $D/node-*/*.pid);"
                                   "\"$ROOT/deploy/local\" down --dir $D;"
                                   "umount $N/wal; [ -n \"${E2E_KEEP-}\" ] || rm -rf $D";
    static const char show[] = "echo \"| the test ended badly; the ends of its logs:\";"
                               "tail -n 5 $D/log/front.log $D/node-*/log/[a-z]*.log 2>&1 |"
                               " sed 's/^/| /';";
    char commands[sizeof show + sizeof clean_up];
    char well = 0;

    setsid();
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    dup2(fd, 3);
    close_range(4, ~0u, 0);
    while (read(3, &well, 1) < 0 && errno == EINTR)
        ;
    dup2(STDERR_FILENO, STDOUT_FILENO);
    snprintf(commands, sizeof commands, "%s%s", well ? "" : show, clean_up);
    run_shell(stack, commands);
}

struct stack stack_prepare_nodes(int nodes)
{
    struct stack stack = {.dir = "/tmp/rollcall-e2e-XXXXXX", .nodes = nodes};
    char test[200];
    int ends[2];

    cr_assert_not_null(mkdtemp(stack.dir), "mkdtemp: %s", strerror(errno));
    snprintf(stack.node_dir, sizeof stack.node_dir, "%s/node-1", stack.dir);
    stack.port = free_ports(nodes);
    root();
    snprintf(test, sizeof test, "%s/%s", criterion_current_test->category,
             criterion_current_test->name);
    setenv("ROLLCALL_TEST", test, 1); /* tests/reap.c says who left something behind */
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    stack.guardian_pid = fork();
    cr_assert_geq(stack.guardian_pid, 0);
    if (stack.guardian_pid == 0) {
        close(ends[1]);
        guard(&stack, ends[0]);
    }
    close(ends[0]);
    stack.guardian = ends[1];
    return stack;
}

struct stack stack_start_nodes(int nodes)
{
    struct stack stack = stack_prepare_nodes(nodes);

    stack_up(&stack);
    return stack;
}

struct stack stack_prepare(void)
{
    return stack_prepare_nodes(1);
}

struct stack stack_start(void)
{
    return stack_start_nodes(1);
}

void stack_stop(struct stack *stack)
{
    char output[8192] = "";

    stack_down(stack);
    /* A process that found a bug in itself said so on stderr, whether or not anyone noticed. */
    stack_shell(stack,
                "grep -hE -A20 'Sanitizer|runtime error:|Assertion|unreachable' "
                "$D/node-*/log/*.log $D/log/*.log 2>/dev/null",
                output, sizeof output);
    cr_assert_str_empty(output, "a process of the stack broke:\n%s", output);
    cr_assert_eq(write(stack->guardian, "1", 1), 1);
    close(stack->guardian);
    waitpid(stack->guardian_pid, NULL, 0);
}

pid_t stack_pid(const struct stack *stack, const char *file)
{
    char path[160];
    int pid = 0;
    FILE *in;

    snprintf(path, sizeof path, "%s/%s", stack->node_dir, file);
    in = fopen(path, "re");
    cr_assert_not_null(in, "%s: %s", path, strerror(errno));
    cr_assert_eq(fscanf(in, "%d", &pid), 1, "%s holds no pid", path);
    fclose(in);
    return pid;
}

int stack_workers(const struct stack *stack, pid_t ret_workers[2])
{
    char path[160];
    int count;
    FILE *in;

    snprintf(path, sizeof path, "%s/app.pid", stack->node_dir);
    in = fopen(path, "re");
    cr_assert_not_null(in, "%s: %s", path, strerror(errno));
    count = fscanf(in, "%d\n%d", &ret_workers[0], &ret_workers[1]);
    fclose(in);
    return count;
}
