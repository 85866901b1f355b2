/*
 * The network that faults are made with is itself looked at: each fault does what it says, one way,
 * and healing ends it.
 */
#include "tests/e2e/net.h"
#include "tests/e2e/stack.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct net *open_or_skip(void)
{
    const char *why = NULL;
    struct net *net = net_open(&why);

    if (net == NULL) {
        fprintf(stderr, "skipped: %s\n", why);
        cr_skip_test("%s", why);
    }
    return net;
}

/* A socket at each node that hears what others send it. */
static void listen_everywhere(struct net *net, int ret_fds[NET_NODES_MAX + 1])
{
    for (int node = 1; node <= NET_NODES_MAX; node++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7)};

        net_enter(net, node);
        inet_pton(AF_INET, net_address(node), &in.sin_addr);
        ret_fds[node] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        cr_assert_eq(bind(ret_fds[node], (struct sockaddr *)&in, sizeof in), 0);
        net_enter(net, 0);
    }
}

struct judging {
    struct net *net;
    long until; /* so many packets, since the network was opened */
};

static bool has_judged(void *context)
{
    struct judging *judging = context;
    struct net_counts counts = net_counts(judging->net);

    return counts.carried + counts.cut + counts.lost >= judging->until;
}

struct arriving {
    int fd, arrived, disorder, highest;
};

/* Takes what is there, or the first that comes within `ms`; false: nothing came. */
static bool take(struct arriving *arriving, int ms)
{
    bool any = false;
    int number;

    while (poll(&(struct pollfd){.fd = arriving->fd, .events = POLLIN}, 1, any ? 0 : ms) > 0) {
        cr_assert_eq(read(arriving->fd, &number, sizeof number), (ssize_t)sizeof number);
        arriving->arrived++;
        arriving->disorder += number < arriving->highest;
        arriving->highest = number > arriving->highest ? number : arriving->highest;
        any = true;
    }
    return any;
}

/* Sends `count` packets, and counts those that arrive; *ret_disorder: how often one came late. All
 * do that the switch says it carried, and one more for each that it doubled. */
static int arrivals(struct net *net, int from_fd, int to_fd, int to, int count, int *ret_disorder)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7)};
    struct net_counts before = net_counts(net), after;
    struct judging judging = {net, before.carried + before.cut + before.lost + count};
    struct arriving arriving = {.fd = to_fd, .highest = -1};
    long due;

    inet_pton(AF_INET, net_address(to), &in.sin_addr);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(sendto(from_fd, &i, sizeof i, 0, (struct sockaddr *)&in, sizeof in),
                     (ssize_t)sizeof i);
        (void)take(&arriving, 0);
        sleep_ms(i % 10 == 0);
    }
    cr_assert(wait_for(has_judged, &judging, 10), "the switch does not see what was sent");
    after = net_counts(net);
    due = after.carried + after.doubled - before.carried - before.doubled;
    while (arriving.arrived < due)
        cr_assert(take(&arriving, HANGS_AFTER_S * 1000), "%d of %ld that were carried arrive",
                  arriving.arrived, due);
    cr_expect_not(take(&arriving, 20), "%d arrive of %ld that were carried", arriving.arrived, due);
    if (ret_disorder != NULL)
        *ret_disorder = arriving.disorder;
    return arriving.arrived;
}

Test(net, each_way_can_be_cut_lossy_and_slow_by_itself, .timeout = 30)
{
    struct net *net = open_or_skip();
    int fd[NET_NODES_MAX + 1], disorder, came;
    long before;

    listen_everywhere(net, fd);
    cr_expect_eq(arrivals(net, fd[1], fd[2], 2, 100, NULL), 100);

    net_set(net, 1, 2, (struct way){.cut = true});
    cr_expect_eq(arrivals(net, fd[1], fd[2], 2, 20, NULL), 0);
    cr_expect_eq(arrivals(net, fd[2], fd[1], 1, 20, NULL), 20);
    cr_expect_eq(arrivals(net, fd[1], fd[3], 3, 20, NULL), 20);

    net_set(net, 1, 2, (struct way){.lost_permille = 300});
    came = arrivals(net, fd[1], fd[2], 2, 500, NULL);
    cr_expect(came > 250 && came < 450, "%d of 500", came);

    net_set(net, 1, 2, (struct way){.doubled_permille = 500});
    came = arrivals(net, fd[1], fd[2], 2, 500, NULL);
    cr_expect(came > 650 && came < 850, "%d of 500", came);

    net_set(net, 1, 2, (struct way){.delay_ms = 30, .jitter_ms = 30});
    before = now_ms();
    cr_expect_eq(arrivals(net, fd[1], fd[2], 2, 100, &disorder), 100);
    cr_expect_geq(now_ms() - before, 30);
    cr_expect_gt(disorder, 10);

    net_set_all(net, 3, (struct way){.cut = true});
    net_heal(net);
    cr_expect_eq(arrivals(net, fd[1], fd[2], 2, 100, &disorder), 100);
    cr_expect_eq(arrivals(net, fd[3], fd[2], 2, 100, NULL), 100);
    cr_expect_eq(disorder, 0);
    for (int node = 1; node <= NET_NODES_MAX; node++)
        close(fd[node]);
    net_close(net);
}
