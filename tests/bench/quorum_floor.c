/*
 * What three disks and two connections ask for one lone write: the same bytes go to two followers
 * over TCP while the leader writes them itself, each into a file of its own and durable; the write
 * is done when two of the three are. The floor under every write that a cluster of three agrees on.
 *
 *     quorum_floor --dir DIR [--own thread|inline] [--bytes 96] [--ms 1000]
 *
 * Followers are processes that sleep until bytes come, write all that came at once, and answer.
 * Files are written as a node writes its log: zero-filled before, whole sectors, past the page
 * cache where the disk allows it, one fdatasync a write. They stay, so that rounds of one run pay
 * for their zeros once.
 *
 * --own says where the leader flushes: on a thread of its own, so that both followers may be
 * faster, or where it stands, which saves waking somebody up. The floor is the faster of the two.
 */
#include "raft/wal/disk.h"
#include "tests/bench/samples.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLLOWERS  2u
#define MAJORITY   2u
#define FILE_BYTES (16u << 20)
#define BYTES_MAX  (64u << 10)
#define BATCH_MAX  16u /* writes that a slow follower makes durable at once */

enum own { OWN_THREAD, OWN_INLINE };

struct log {
    int fd;
    off_t at;
    uint8_t *batch; /* aligned for direct I/O */
};

struct leader {
    size_t bytes;
    struct log log;
    int follower[FOLLOWERS];
    pid_t process[FOLLOWERS];
    uint64_t durable[FOLLOWERS + 1]; /* writes that each has on disk; the leader's own come last */
    uint64_t sent;
    enum own own;
    int begin; /* eventfds between the leader and its thread */
    int end;
};

static size_t whole_sectors(size_t bytes)
{
    return (bytes + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES;
}

static void fill_with_zeros(int fd, const char *path)
{
    static const uint8_t zeros[1u << 20];
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += (off_t)sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
            die(path);
    if (fsync(fd) != 0)
        die(path);
}

static struct log log_open(const char *dir, unsigned number)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/quorum.%u", dir, number);
    struct log log = {.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    struct stat info;
    if (log.fd < 0 || fstat(log.fd, &info) != 0)
        die(path);
    if (info.st_size != FILE_BYTES)
        fill_with_zeros(log.fd, path);
    (void)!fcntl(log.fd, F_SETFL, fcntl(log.fd, F_GETFL) | O_DIRECT);
    log.batch = aligned_alloc(4096, BATCH_MAX * BYTES_MAX);
    if (log.batch == NULL)
        die("aligned_alloc");
    memset(log.batch, 0x5a, BATCH_MAX * BYTES_MAX);
    return log;
}

/* So many bytes of the batch, padded to whole sectors, and durable on return. */
static void log_append(struct log *log, size_t bytes)
{
    size_t len = whole_sectors(bytes);
    if (log->at + (off_t)len > (off_t)FILE_BYTES)
        log->at = 0;
    ssize_t put = pwrite(log->fd, log->batch, len, log->at);
    if (put < 0 && errno == EINVAL) { /* this disk takes no direct I/O of such sectors */
        (void)!fcntl(log->fd, F_SETFL, fcntl(log->fd, F_GETFL) & ~O_DIRECT);
        put = pwrite(log->fd, log->batch, len, log->at);
    }
    if (put != (ssize_t)len || fdatasync(log->fd) != 0)
        die("flush");
    log->at += (off_t)len;
}

/* --- a follower: counts what came, makes it durable, says how much it has --------------------- */

_Noreturn static void follow(int fd, struct log log, size_t bytes)
{
    uint64_t received = 0;
    uint64_t durable = 0;
    for (;;) {
        ssize_t got = recv(fd, log.batch, BATCH_MAX * bytes, 0);
        if (got <= 0)
            exit(0); /* the leader is done */
        received += (uint64_t)got;
        uint64_t writes = received / bytes;
        if (writes == durable)
            continue; /* a part of one */
        log_append(&log, (size_t)(writes - durable) * bytes);
        durable = writes;
        if (send(fd, &durable, sizeof(durable), MSG_NOSIGNAL) != (ssize_t)sizeof(durable))
            exit(0);
    }
}

static int connected_pair(int *ret_other)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listening < 0 || near < 0 ||
        bind(listening, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listening, 1) != 0 ||
        getsockname(listening, (struct sockaddr *)&address, &len) != 0 ||
        connect(near, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("loopback");
    int far = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    int on = 1;
    if (far < 0 || setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        die("loopback");
    close(listening);
    *ret_other = far;
    return near;
}

static void followers_start(struct leader *leader, const char *dir)
{
    for (unsigned i = 0; i < FOLLOWERS; i++) {
        int far = -1;
        struct log log = log_open(dir, i + 1);
        leader->follower[i] = connected_pair(&far);
        pid_t parent = getpid();
        leader->process[i] = fork();
        if (leader->process[i] < 0)
            die("fork");
        if (leader->process[i] == 0) {
            /* Ends with its parent, whose id is the one that others know. */
            if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
                exit(1);
            for (unsigned other = 0; other <= i; other++)
                close(leader->follower[other]);
            follow(far, log, leader->bytes);
        }
        close(far);
        close(log.fd);
        free(log.batch);
    }
}

static void followers_stop(struct leader *leader)
{
    for (unsigned i = 0; i < FOLLOWERS; i++)
        close(leader->follower[i]);
    for (unsigned i = 0; i < FOLLOWERS; i++)
        waitpid(leader->process[i], NULL, 0);
}

/* --- the leader ------------------------------------------------------------------------------- */

static void *flush_thread(void *context)
{
    struct leader *leader = context;
    uint64_t count = 0;
    while (read(leader->begin, &count, sizeof(count)) == (ssize_t)sizeof(count)) {
        for (uint64_t left = count; left > 0;) { /* others may be ahead by more than a batch */
            uint64_t writes = left < BATCH_MAX ? left : BATCH_MAX;
            log_append(&leader->log, (size_t)writes * leader->bytes);
            left -= writes;
        }
        if (write(leader->end, &count, sizeof(count)) != (ssize_t)sizeof(count))
            die("eventfd");
    }
    die("eventfd");
}

static unsigned durable_on(const struct leader *leader)
{
    unsigned count = 0;
    for (unsigned i = 0; i <= FOLLOWERS; i++)
        count += leader->durable[i] >= leader->sent;
    return count;
}

static void await_answers(struct leader *leader)
{
    struct pollfd polled[FOLLOWERS + 1];
    for (unsigned i = 0; i <= FOLLOWERS; i++)
        polled[i] = (struct pollfd){.fd = i < FOLLOWERS ? leader->follower[i] : leader->end,
                                    .events = POLLIN};
    if (poll(polled, ARRAY_LEN(polled), -1) < 0 && errno != EINTR)
        die("poll");
    for (unsigned i = 0; i <= FOLLOWERS; i++) {
        if (polled[i].revents == 0)
            continue;
        uint64_t said[BATCH_MAX];
        size_t room = i < FOLLOWERS ? sizeof(said) : sizeof(said[0]);
        ssize_t got = read(polled[i].fd, said, room);
        if (got <= 0 || (size_t)got % sizeof(said[0]) != 0)
            die("a follower");
        uint64_t last = said[(size_t)got / sizeof(said[0]) - 1];
        leader->durable[i] = i < FOLLOWERS ? last : leader->durable[i] + last;
    }
}

static void write_once(struct leader *leader, const uint8_t *payload)
{
    leader->sent++;
    for (unsigned i = 0; i < FOLLOWERS; i++)
        if (send(leader->follower[i], payload, leader->bytes, MSG_NOSIGNAL) !=
            (ssize_t)leader->bytes)
            die("send");
    uint64_t one = 1;
    if (leader->own == OWN_INLINE) {
        log_append(&leader->log, leader->bytes);
        leader->durable[FOLLOWERS]++;
    } else if (write(leader->begin, &one, sizeof(one)) != (ssize_t)sizeof(one)) {
        die("eventfd");
    }
    while (durable_on(leader) < MAJORITY)
        await_answers(leader);
}

static void run(struct leader *leader, const char *dir, uint64_t run_ms)
{
    static uint8_t payload[BYTES_MAX];
    followers_start(leader, dir);
    leader->log = log_open(dir, 0);
    leader->begin = eventfd(0, EFD_CLOEXEC);
    leader->end = eventfd(0, EFD_CLOEXEC);
    pthread_t thread;
    if (leader->begin < 0 || leader->end < 0 ||
        (leader->own == OWN_THREAD && pthread_create(&thread, NULL, flush_thread, leader) != 0))
        die("eventfd, thread");

    struct samples samples = {0};
    uint64_t begin_ns = now_ns();
    uint64_t end_ns = begin_ns + run_ms * 1000000u;
    for (uint64_t before_ns = begin_ns; before_ns < end_ns;) {
        payload[0]++;
        write_once(leader, payload);
        uint64_t after_ns = now_ns();
        samples_add(&samples, after_ns - before_ns);
        before_ns = after_ns;
    }
    printf("bytes=%zu own=%s", leader->bytes, leader->own == OWN_THREAD ? "thread" : "inline");
    samples_print(&samples, "");
    putchar('\n');
    fflush(stdout);
    samples_done(&samples);
    followers_stop(leader);
    /* The process ends here and takes its thread with it. */
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"own", required_argument, NULL, 'o'},
        {"bytes", required_argument, NULL, 'b'},
        {"ms", required_argument, NULL, 'm'},
        {0},
    };
    static struct leader leader = {.bytes = 96};
    const char *dir = NULL;
    uint64_t run_ms = 1000;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'd')
            dir = optarg;
        else if (option == 'o' && strcmp(optarg, "thread") == 0)
            leader.own = OWN_THREAD;
        else if (option == 'o' && strcmp(optarg, "inline") == 0)
            leader.own = OWN_INLINE;
        else if (option == 'b')
            leader.bytes = (size_t)number_option("bytes", optarg, 1, BYTES_MAX);
        else if (option == 'm')
            run_ms = number_option("ms", optarg, 1, 600000);
        else
            return 2;
    }
    if (dir == NULL) {
        fputs("quorum_floor: --dir is missing\n", stderr);
        return 2;
    }
    run(&leader, dir, run_ms);
    return 0;
}
