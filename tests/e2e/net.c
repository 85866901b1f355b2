#include "tests/e2e/net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACKET_BYTES_MAX 2048 /* MTU 1500 */
#define DELAYED_MAX      20000

struct packet {
    TAILQ_ENTRY(packet) link;
    int64_t due_ns;
    int to;
    size_t len;
    uint8_t bytes[PACKET_BYTES_MAX];
};

TAILQ_HEAD(packets, packet);

struct net {
    int home;                      /* the namespace that the test came from */
    int namespaces[NET_NODES_MAX]; /* of each node */
    int tuns[NET_NODES_MAX];
    int stop;
    pthread_t thread;
    pthread_mutex_t mutex; /* over what follows */
    struct way ways[NET_NODES_MAX][NET_NODES_MAX];
    struct net_counts counts;
    /* The switch's own. */
    unsigned seed;
    struct packets delayed; /* by the time they are due */
    int delayed_count;
};

const char *net_address(int node)
{
    static const char *addresses[NET_NODES_MAX] = {"10.77.0.1", "10.77.0.2", "10.77.0.3"};

    assert(node >= 1 && node <= NET_NODES_MAX);
    return addresses[node - 1];
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* --- the switch ------------------------------------------------------------------------------- */

static void deliver(struct net *net, int to, const uint8_t *bytes, size_t len)
{
    /* A full interface loses it, as any would. */
    (void)!write(net->tuns[to], bytes, len);
}

static void delay(struct net *net, int to, const uint8_t *bytes, size_t len, int64_t due_ns)
{
    struct packet *packet, *before;

    if (net->delayed_count == DELAYED_MAX)
        return; /* lost */
    packet = malloc(sizeof *packet);
    assert(packet != NULL);
    packet->due_ns = due_ns;
    packet->to = to;
    packet->len = len;
    memcpy(packet->bytes, bytes, len);
    before = TAILQ_LAST(&net->delayed, packets);
    while (before != NULL && before->due_ns > due_ns)
        before = TAILQ_PREV(before, packets, link);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&net->delayed, before, packet, link);
    else
        TAILQ_INSERT_HEAD(&net->delayed, packet, link);
    net->delayed_count++;
}

static bool happens(struct net *net, int permille)
{
    return rand_r(&net->seed) % 1000 < permille;
}

/* What becomes of a packet: how many copies go on, by which way. */
static int judge(struct net *net, int from, int to, struct way *ret_way)
{
    int copies = 1;

    pthread_mutex_lock(&net->mutex);
    *ret_way = net->ways[from][to];
    if (ret_way->cut) {
        net->counts.cut++;
        copies = 0;
    } else if (happens(net, ret_way->lost_permille)) {
        net->counts.lost++;
        copies = 0;
    } else {
        net->counts.carried++;
        if (happens(net, ret_way->doubled_permille)) {
            net->counts.doubled++;
            copies = 2;
        }
    }
    pthread_mutex_unlock(&net->mutex);
    return copies;
}

static void carry(struct net *net, int from, const uint8_t *bytes, size_t len)
{
    struct way way;
    int to;

    if (len < 20 || bytes[0] >> 4 != 4)
        return;
    to = bytes[19] - 1; /* the last byte of an IPv4 packet's destination */
    if (to < 0 || to >= NET_NODES_MAX || to == from)
        return;
    for (int copies = judge(net, from, to, &way); copies > 0; copies--) {
        int64_t ms = way.delay_ms + (way.jitter_ms > 0 ? rand_r(&net->seed) % way.jitter_ms : 0);

        if (ms == 0)
            deliver(net, to, bytes, len);
        else
            delay(net, to, bytes, len, now_ns() + ms * 1000000);
    }
}

static void deliver_due(struct net *net)
{
    int64_t now = now_ns();
    struct packet *packet;

    while ((packet = TAILQ_FIRST(&net->delayed)) != NULL && packet->due_ns <= now) {
        TAILQ_REMOVE(&net->delayed, packet, link);
        net->delayed_count--;
        deliver(net, packet->to, packet->bytes, packet->len);
        free(packet);
    }
}

static struct timespec until_next(const struct net *net)
{
    const struct packet *packet = TAILQ_FIRST(&net->delayed);
    int64_t ns = packet != NULL ? packet->due_ns - now_ns() : 1000000000;

    if (ns < 0)
        ns = 0;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static void *run_switch(void *context)
{
    struct net *net = context;
    struct pollfd polled[NET_NODES_MAX + 1];

    for (int i = 0; i < NET_NODES_MAX; i++)
        polled[i] = (struct pollfd){.fd = net->tuns[i], .events = POLLIN};
    polled[NET_NODES_MAX] = (struct pollfd){.fd = net->stop, .events = POLLIN};
    while (polled[NET_NODES_MAX].revents == 0) {
        struct timespec timeout = until_next(net);

        ppoll(polled, ARRAY_LEN(polled), &timeout, NULL);
        deliver_due(net);
        for (int i = 0; i < NET_NODES_MAX; i++) {
            uint8_t bytes[PACKET_BYTES_MAX];
            ssize_t len;

            if (polled[i].revents == 0)
                continue;
            for (int k = 0; k < 64 && (len = read(net->tuns[i], bytes, sizeof bytes)) > 0; k++)
                carry(net, i, bytes, (size_t)len);
        }
    }
    return NULL;
}

/* --- namespaces and interfaces ---------------------------------------------------------------- */

/* The interface is up and has this address; a TUN device is made first. */
static const char *bring_up(const char *name, const char *address, int *ret_tun)
{
    struct ifreq ifreq = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = true;

    snprintf(ifreq.ifr_name, sizeof ifreq.ifr_name, "%s", name);
    if (ret_tun != NULL) {
        *ret_tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (*ret_tun < 0) {
            close(fd);
            return "/dev/net/tun cannot be opened";
        }
        ifreq.ifr_flags = IFF_TUN | IFF_NO_PI;
        up = ioctl(*ret_tun, TUNSETIFF, &ifreq) == 0;
    }
    inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(&ifreq.ifr_addr, &in, sizeof in);
    up = up && ioctl(fd, SIOCSIFADDR, &ifreq) == 0;
    inet_pton(AF_INET, "255.255.255.0", &in.sin_addr);
    memcpy(&ifreq.ifr_netmask, &in, sizeof in);
    up = up && ioctl(fd, SIOCSIFNETMASK, &ifreq) == 0;
    ifreq.ifr_flags = IFF_UP | IFF_RUNNING;
    up = up && ioctl(fd, SIOCSIFFLAGS, &ifreq) == 0;
    close(fd);
    return up ? NULL : "an interface in a network namespace cannot be brought up";
}

static const char *make_node(struct net *net, int node)
{
    const char *why = NULL;

    if (unshare(CLONE_NEWNET) != 0)
        return "network namespaces are for root, or under unshare -Un --map-current-user "
               "--keep-caps";
    net->namespaces[node - 1] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (net->namespaces[node - 1] < 0)
        why = "/proc/thread-self/ns/net cannot be opened";
    if (why == NULL)
        why = bring_up("lo", "127.0.0.1", NULL);
    if (why == NULL)
        why = bring_up("peers", net_address(node), &net->tuns[node - 1]);
    net_enter(net, 0);
    return why;
}

struct net *net_open(const char **ret_why)
{
    struct net *net = calloc(1, sizeof *net);
    const char *why = NULL;

    cr_assert_not_null(net);
    memset(net->tuns, -1, sizeof net->tuns);
    memset(net->namespaces, -1, sizeof net->namespaces);
    TAILQ_INIT(&net->delayed);
    pthread_mutex_init(&net->mutex, NULL);
    net->seed = (unsigned)now_ns();
    net->stop = eventfd(0, EFD_CLOEXEC);
    net->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    for (int node = 1; node <= NET_NODES_MAX && why == NULL; node++)
        why = make_node(net, node);
    if (why != NULL) {
        net_close(net);
        *ret_why = why;
        return NULL;
    }
    cr_assert_eq(pthread_create(&net->thread, NULL, run_switch, net), 0);
    return net;
}

void net_close(struct net *net)
{
    struct packet *packet;

    if (net->thread != 0) {
        cr_assert_eq(write(net->stop, &(uint64_t){1}, sizeof(uint64_t)), (ssize_t)sizeof(uint64_t));
        pthread_join(net->thread, NULL);
    }
    while ((packet = TAILQ_FIRST(&net->delayed)) != NULL) {
        TAILQ_REMOVE(&net->delayed, packet, link);
        free(packet);
    }
    for (int i = 0; i < NET_NODES_MAX; i++) {
        if (net->tuns[i] >= 0)
            close(net->tuns[i]);
        if (net->namespaces[i] >= 0)
            close(net->namespaces[i]);
    }
    close(net->home);
    close(net->stop);
    pthread_mutex_destroy(&net->mutex);
    free(net);
}

void net_enter(const struct net *net, int node)
{
    int fd = node == 0 ? net->home : net->namespaces[node - 1];

    cr_assert_eq(setns(fd, CLONE_NEWNET), 0, "setns: %s", strerror(errno));
}

/* --- what a test says of the ways ------------------------------------------------------------- */

void net_set(struct net *net, int from, int to, struct way way)
{
    pthread_mutex_lock(&net->mutex);
    net->ways[from - 1][to - 1] = way;
    pthread_mutex_unlock(&net->mutex);
}

void net_set_all(struct net *net, int node, struct way way)
{
    for (int other = 1; other <= NET_NODES_MAX; other++) {
        net_set(net, node, other, way);
        net_set(net, other, node, way);
    }
}

void net_heal(struct net *net)
{
    for (int node = 1; node <= NET_NODES_MAX; node++)
        net_set_all(net, node, (struct way){0});
}

struct net_counts net_counts(struct net *net)
{
    struct net_counts counts;

    pthread_mutex_lock(&net->mutex);
    counts = net->counts;
    pthread_mutex_unlock(&net->mutex);
    return counts;
}
