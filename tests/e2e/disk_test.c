/*
 * A full disk: a small file system of the test's own, in memory or ext4 on a loop device, mounted
 * where only this test sees it.
 */
#include "tests/e2e/http.h"
#include "tests/e2e/load.h"
#include "tests/e2e/stack.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Mounts so much room as the node's wal folder; false where that is not permitted. */
static bool mount_small(const struct stack *stack, const char *options)
{
    char path[128];

    snprintf(path, sizeof path, "%s/wal", stack->node_dir);
    cr_assert_eq(mkdir(stack->node_dir, 0755), 0);
    cr_assert_eq(mkdir(path, 0755), 0);
    return mount("rollcall", path, "tmpfs", 0, options) == 0;
}

/* The same with a file system that has blocks, a journal, and writes past the page cache. */
static bool mount_ext4(const struct stack *stack)
{
    char output[1024];
    bool mounted = stack_shell(stack,
                               "mkdir -p $N/wal && truncate -s 44M $D/disk.img && "
                               "mkfs.ext4 -q -m 0 -F $D/disk.img && "
                               "mount -o loop $D/disk.img $N/wal && rmdir $N/wal/lost+found",
                               output, sizeof output) == 0;

    if (!mounted)
        fprintf(stderr, "%s", output);
    return mounted;
}

/* Fills what is left. */
static void fill(const struct stack *stack)
{
    static const char zeros[1 << 16];
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/wal/filler", stack->node_dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    for (size_t len = sizeof zeros; len > 0;)
        if (write(fd, zeros, len) <= 0)
            len /= 2;
    close(fd);
}

static void make_room(const struct stack *stack)
{
    char path[128];

    snprintf(path, sizeof path, "%s/wal/filler", stack->node_dir);
    cr_assert_eq(unlink(path), 0);
}

/* Names as long as may be, so that the log fills in seconds. */
static struct answer post_long(struct client *client, int number)
{
    char name[1025];

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    name[snprintf(name, sizeof name, "user-%d-", number)] = 'x';
    return http_post_name(client, name);
}

struct posting {
    struct client *client;
    int number;
};

static bool is_created(void *context)
{
    struct posting *posting = context;
    struct answer answer = post_long(posting->client, posting->number);
    bool created = answer.status == 201;

    answer_done(&answer);
    return created;
}

static void expect_users(int port, long count)
{
    struct answer users = http_get(port, "/users");

    cr_expect_eq(users.status, 200);
    cr_expect_eq(users_read(users.body, NULL, NULL), count);
    answer_done(&users);
}

static void alone_with_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        cr_skip_test("no mount is permitted here: %s", strerror(errno));
}

/* Users until one is refused, clearly; how many were created. */
static int create_until_full(struct client *client)
{
    struct answer answer = {0};
    int created = 0;

    for (; created < 60000; created++) {
        answer = post_long(client, created);
        if (answer.status != 201)
            break;
        answer_done(&answer);
    }
    cr_expect_eq(answer.status, 503, "%ld %s", answer.status, answer.body);
    cr_expect_not_null(strstr(answer.body, "disk"), "%s", answer.body);
    cr_expect_str_not_empty(answer_header(&answer, "Retry-After"));
    answer_done(&answer);
    return created;
}

static void fill_up_and_go_on(struct stack *stack)
{
    struct posting posting = {.client = client_open(stack->port, true)};
    pid_t node = stack_pid(stack, "raft.pid");

    fill(stack);
    posting.number = create_until_full(posting.client);
    expect_users(stack->port, posting.number);
    make_room(stack);
    cr_assert(wait_for(is_created, &posting, 20), "there is room, and still no user is created");
    expect_users(stack->port, posting.number + 1);
    cr_expect_eq(stack_pid(stack, "raft.pid"), node, "the node was started again");

    stack_down(stack);
    stack_up(stack);
    expect_users(stack->port, posting.number + 1);
    client_close(posting.client);
    stack_stop(stack);
}

Test(disk, a_full_disk_refuses_clearly_loses_nothing_and_goes_on_when_there_is_room, .timeout = 300)
{
    struct stack stack;

    alone_with_mounts();
    stack = stack_prepare();
    if (!mount_small(&stack, "size=40m"))
        cr_skip_test("no mount is permitted here: %s", strerror(errno));
    stack_up(&stack);
    fill_up_and_go_on(&stack);
}

Test(disk, a_full_ext4_does_the_same_and_a_node_killed_on_it_comes_back, .timeout = 300)
{
    struct posting posting = {0};
    struct stack stack;

    alone_with_mounts();
    stack = stack_prepare();
    if (!mount_ext4(&stack))
        cr_skip_test("no loop device, or no mkfs.ext4");
    stack_up(&stack);
    posting.client = client_open(stack.port, true);
    fill(&stack);
    posting.number = create_until_full(posting.client);
    stack_kill(stack_pid(&stack, "raft.pid")); /* the next start finds no room, either */
    stack_node_up(&stack);
    expect_users(stack.port, posting.number);
    cr_expect_not(is_created(&posting), "there is no room, and a user is created");
    make_room(&stack);
    cr_assert(wait_for(is_created, &posting, 20), "there is room, and still no user is created");
    stack_kill(stack_pid(&stack, "raft.pid"));
    stack_node_up(&stack);
    expect_users(stack.port, posting.number + 1);
    client_close(posting.client);
    stack_stop(&stack);
}

Test(disk, a_disk_too_small_to_start_on_is_said, .timeout = 60)
{
    struct stack stack;
    char output[4096];

    alone_with_mounts();
    stack = stack_prepare();
    if (!mount_small(&stack, "size=1m"))
        cr_skip_test("no mount is permitted here: %s", strerror(errno));
    cr_expect_neq(stack_shell(&stack, "\"$ROOT/deploy/local\" up --nodes $NODES --dir $D --port $P",
                              output, sizeof output),
                  0);
    cr_expect_not_null(strstr(output, "No space left"), "%s", output);
    stack_stop(&stack);
}
