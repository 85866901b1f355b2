/* Nodes over real sockets: who is let in, what is lost, and what comes back. */
#include "raft/node/peers.h"
#include "raft/wire/peer.h"
#include "tests/users/support.h"

#include <arpa/inet.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 120000u /* only a hang takes so long */
#define FRAMES_MAX  4096u

/* One node: its peers, and what it heard. */
struct side {
    struct peers *peers;
    uint64_t node;
    char address[32];
    uint32_t up, lost;
    int unusable;
    uint32_t frames;
    uint64_t frame[FRAMES_MAX]; /* the terms of what came */
    uint32_t refuse;            /* so many times it has no room */
    bool nonsense;              /* it makes no sense of what comes */
};

struct net {
    uv_loop_t loop;
    uv_timer_t tick;
    struct side side[2];
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int received(void *context, raft_node_id from, struct frame frame)
{
    struct side *side = context;
    struct peer_note note;
    must(from.n != side->node);
    if (side->refuse > 0) {
        side->refuse--;
        return -EAGAIN;
    }
    if (side->nonsense)
        return -EBADMSG;
    must(peer_note_decode(frame, &note) == 0 && note.kind == PEER_LOG_POSITION);
    must(side->frames < FRAMES_MAX);
    side->frame[side->frames++] = note.log_position.term;
    return 0;
}

static void up(void *context, raft_node_id peer)
{
    struct side *side = context;
    must(peer.n != side->node);
    side->up++;
}

static void lost(void *context, raft_node_id peer)
{
    struct side *side = context;
    must(peer.n != side->node);
    side->lost++;
}

static void unusable(void *context, int error)
{
    struct side *side = context;
    side->unusable = error;
}

#define FORMAT .format_least = PEER_FORMAT, .format_most = PEER_FORMAT

static struct record_identity identity(void *context)
{
    (void)context;
    return (struct record_identity){.cluster = {.low = 7}};
}

static const struct peers_hooks hooks = {
    .received = received, .up = up, .lost = lost, .unusable = unusable, .identity = identity};

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    must(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void on_tick(uv_timer_t *tick)
{
    (void)tick;
}

static void open_side(struct net *net, uint32_t i, const char *cluster)
{
    struct side *side = &net->side[i];
    struct peers_options options = {
        .loop = &net->loop,
        .node = i + 1,
        .cluster = cluster,
        .listen = side->address,
        .members = 2,
        .member = {{.id = {1}, .address = net->side[0].address},
                   {.id = {2}, .address = net->side[1].address}},
        .dead_ms = 1000,
        .hooks = &hooks,
        .context = side,
    };
    side->node = i + 1;
    side->peers = peers_new(&options);
    must(side->peers != NULL && peers_start(side->peers) == 0);
}

static void close_side(struct net *net, uint32_t i)
{
    struct side *side = &net->side[i];
    peers_close(side->peers);
    for (int turn = 0; turn < 20; turn++)
        (void)uv_run(&net->loop, UV_RUN_NOWAIT);
    peers_free(side->peers);
    side->peers = NULL;
}

static struct net *net_new(void)
{
    struct net *net = calloc(1, sizeof(*net));
    must(net != NULL && uv_loop_init(&net->loop) == 0 &&
         uv_timer_init(&net->loop, &net->tick) == 0);
    must(uv_timer_start(&net->tick, on_tick, 2, 2) == 0);
    for (uint32_t i = 0; i < 2; i++)
        snprintf(net->side[i].address, sizeof(net->side[i].address), "127.0.0.1:%u", free_port());
    return net;
}

static void net_free(struct net *net)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (net->side[i].peers != NULL)
            close_side(net, i);
    }
    uv_close((uv_handle_t *)&net->tick, NULL);
    (void)uv_run(&net->loop, UV_RUN_DEFAULT);
    must(uv_loop_close(&net->loop) == 0);
    free(net);
}

static void turn(struct net *net)
{
    (void)uv_run(&net->loop, UV_RUN_ONCE);
    for (uint32_t i = 0; i < 2; i++) {
        if (net->side[i].peers != NULL)
            peers_resume(net->side[i].peers);
    }
}

#define WAIT_FOR(net, condition)                    \
    do {                                            \
        uint64_t from_ms = now_ms();                \
        while (!(condition)) {                      \
            must(now_ms() - from_ms < PATIENCE_MS); \
            turn(net);                              \
        }                                           \
    } while (0)

static void turns_for(struct net *net, uint64_t ms)
{
    for (uint64_t from_ms = now_ms(); now_ms() - from_ms < ms;)
        turn(net);
}

static void say(struct net *net, uint32_t i, uint64_t term)
{
    uint8_t bytes[PEER_NOTE_BYTES_MAX];
    struct writer out = writer_of(bytes, sizeof(bytes));
    struct peer_note note = {.kind = PEER_LOG_POSITION, .log_position = {.term = term}};
    struct network *network = peers_network(net->side[i].peers);
    peer_note_frame(&out, &note);
    network->send(network, (raft_node_id){2 - i}, writer_bytes(&out));
    network->flush(network);
}

/* Somebody who calls node 1 by hand, and says this. */
static int call(struct net *net, struct bytes bytes)
{
    uint16_t port;
    char host[PEERS_HOST_BYTES];
    struct sockaddr_in address = {.sin_family = AF_INET};
    must(peers_address(net->side[0].address, host, &port) == 0);
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    must(write(fd, bytes.at, bytes.len) == (ssize_t)bytes.len);
    return fd;
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t len = recv(fd, &byte, 1, MSG_DONTWAIT);
    return len == 0 || (len < 0 && errno != EAGAIN);
}

static bool is_refused(struct net *net, struct bytes bytes)
{
    int fd = call(net, bytes);
    WAIT_FOR(net, is_closed(fd));
    close(fd);
    return net->side[0].frames == 0;
}

Test(peers, hear_one_another_in_order)
{
    struct net *net = net_new();
    open_side(net, 0, "a");
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[0].up == 1 && net->side[1].up == 1);
    cr_assert(peers_connected(net->side[0].peers, (raft_node_id){2}));
    for (uint64_t i = 1; i <= 1000; i++) {
        say(net, 0, i);
        say(net, 1, 2 * i);
    }
    WAIT_FOR(net, net->side[0].frames == 1000 && net->side[1].frames == 1000);
    for (uint64_t i = 1; i <= 1000; i++)
        must(net->side[1].frame[i - 1] == i && net->side[0].frame[i - 1] == 2 * i);
    cr_assert(eq(u32, net->side[0].lost + net->side[1].lost, 0));
    net_free(net);
}

Test(peers, find_one_another_again)
{
    struct net *net = net_new();
    open_side(net, 0, "a");
    turns_for(net, 100); /* it calls in vain */
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[0].up == 1 && net->side[1].up == 1);
    close_side(net, 1);
    WAIT_FOR(net, net->side[0].lost >= 1);
    cr_assert(not(peers_connected(net->side[0].peers, (raft_node_id){2})));
    say(net, 0, 1); /* lost, and nobody minds */
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[0].up == 2);
    say(net, 0, 2);
    WAIT_FOR(net, net->side[1].frames == 1);
    cr_assert(eq(u64, net->side[1].frame[0], 2));
    net_free(net);
}

Test(peers, hand_in_again_what_had_no_room)
{
    struct net *net = net_new();
    open_side(net, 0, "a");
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[0].up == 1 && net->side[1].up == 1);
    net->side[1].refuse = 10;
    for (uint64_t i = 1; i <= 100; i++)
        say(net, 0, i);
    WAIT_FOR(net, net->side[1].frames == 100);
    for (uint64_t i = 1; i <= 100; i++)
        must(net->side[1].frame[i - 1] == i);
    net_free(net);
}

Test(peers, drop_who_makes_no_sense_and_let_it_come_back)
{
    struct net *net = net_new();
    open_side(net, 0, "a");
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[0].up == 1 && net->side[1].up == 1);
    net->side[1].nonsense = true;
    say(net, 0, 1);
    WAIT_FOR(net, net->side[0].up == 2);
    net->side[1].nonsense = false;
    say(net, 0, 2);
    WAIT_FOR(net, net->side[1].frames == 1);
    cr_assert(eq(u64, net->side[1].frame[0], 2));
    net_free(net);
}

Test(peers, refuse_a_node_of_another_cluster)
{
    struct net *net = net_new();
    open_side(net, 0, "a");
    open_side(net, 1, "b");
    turns_for(net, 300);
    say(net, 0, 1);
    say(net, 1, 1);
    turns_for(net, 200);
    cr_assert(eq(u32, net->side[0].frames + net->side[1].frames, 0));
    net_free(net);
}

Test(peers, refuse_strangers)
{
    static const struct peer_hello rows[] = {
        {.version = PEER_VERSION + 1, .from = 2, .to = 1, FORMAT}, /* another version */
        {.version = PEER_VERSION, .from = 2, .to = 3, FORMAT},     /* it wants another node */
        {.version = PEER_VERSION, .from = 3, .to = 1, FORMAT},     /* no member */
        {.version = PEER_VERSION, .from = 1, .to = 1},             /* this node itself */
    };
    struct net *net = net_new();
    uint8_t bytes[PEER_NOTE_BYTES_MAX];
    open_side(net, 0, "a");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct writer out = writer_of(bytes, sizeof(bytes));
        struct peer_hello hello = rows[i];
        hello.cluster = bytes_of_text("a");
        peer_hello_frame(&out, &hello);
        cr_assert(is_refused(net, writer_bytes(&out)), "row %zu", i);
    }
    struct writer out = writer_of(bytes, sizeof(bytes));
    struct peer_note note = {.kind = PEER_LOG_POSITION, .log_position = {.term = 9}};
    peer_note_frame(&out, &note);
    cr_assert(is_refused(net, writer_bytes(&out)), "who does not greet");
    cr_assert(is_refused(net, bytes_of_text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")));
    cr_assert(is_refused(net, bytes_of_text("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")));
    uint64_t from_ms = now_ms();
    int silent = call(net, bytes_of_text("x"));
    WAIT_FOR(net, is_closed(silent));
    cr_assert(ge(u64, now_ms() - from_ms, 1000), "it was given time");
    close(silent);
    net_free(net);
}

/* Keeps so many silent connections to node 1 open. */
static void crowd(struct net *net, int *fd, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fd[i] >= 0 && !is_closed(fd[i]))
            continue;
        if (fd[i] >= 0)
            close(fd[i]);
        fd[i] = call(net, bytes_of_text("x"));
    }
}

Test(peers, hear_a_member_however_many_others_are_silent)
{
    enum { CROWD = 3 * PEERS_INLETS_MAX };
    struct net *net = net_new();
    int fd[CROWD];
    for (size_t i = 0; i < CROWD; i++)
        fd[i] = -1;
    open_side(net, 0, "a");
    for (size_t i = 0; i < CROWD; i += 16) {
        crowd(net, fd + i, 16);
        turns_for(net, 5);
    }
    uint32_t open = 0;
    for (size_t i = 0; i < CROWD; i++)
        open += !is_closed(fd[i]);
    cr_assert(le(u32, open, PEERS_SILENT_MAX + 1), "they are bounded");
    open_side(net, 1, "a");
    while (net->side[1].up == 0) { /* new ones all the time */
        crowd(net, fd, 16);
        turn(net);
    }
    say(net, 1, 5);
    WAIT_FOR(net, net->side[0].frames == 1);
    for (size_t i = 0; i < CROWD; i++)
        close(fd[i]);
    net_free(net);
}

static struct bytes hello_of(uint64_t from, const char *cluster, uint8_t *bytes, size_t size)
{
    struct writer out = writer_of(bytes, size);
    struct peer_hello hello = {
        .version = PEER_VERSION, .from = from, .to = 1, .cluster = bytes_of_text(cluster), FORMAT};
    peer_hello_frame(&out, &hello);
    return writer_bytes(&out);
}

/* What node 1 says to this caller before it closes. */
static enum peer_refusal refusal_of(struct net *net, struct bytes bytes)
{
    uint8_t in[PEERS_ADDRESSES_MAX * PEER_REFUSED_BYTES];
    size_t len = 0;
    struct frame frame;
    enum peer_refusal why;
    int fd = call(net, bytes);
    for (uint64_t from_ms = now_ms();;) {
        must(now_ms() - from_ms < PATIENCE_MS);
        turn(net);
        ssize_t got = recv(fd, in + len, sizeof(in) - len, MSG_DONTWAIT);
        if (got == 0)
            break;
        must(got > 0 || errno == EAGAIN);
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    must(frame_decode(bytes_of(in, len), &frame) == (int64_t)len);
    must(peer_refused_decode(frame, &why) == 0);
    return why;
}

Test(peers, tell_who_is_refused_why)
{
    uint8_t bytes[256];
    struct net *net = net_new();
    open_side(net, 0, "a");
    cr_assert(eq(int, refusal_of(net, hello_of(2, "b", bytes, sizeof(bytes))),
                 PEER_REFUSAL_OTHER_CLUSTER));
    cr_assert(eq(int, refusal_of(net, hello_of(3, "a", bytes, sizeof(bytes))),
                 PEER_REFUSAL_UNKNOWN_MEMBER));
    cr_assert(eq(int, refusal_of(net, hello_of(1, "a", bytes, sizeof(bytes))),
                 PEER_REFUSAL_DUPLICATE_ID));
    cr_assert(eq(u64, peers_measures(net->side[0].peers).refused_greetings, 3));
    cr_assert(eq(u64, peers_measures(net->side[0].peers).refused_frames, 0));
    net_free(net);
}

Test(peers, come_back_ever_more_seldom_where_they_are_refused)
{
    struct net *net = net_new();
    open_side(net, 0, "a");
    open_side(net, 1, "b");
    turns_for(net, 1500);
    uint64_t tries = peers_measures(net->side[1].peers).refused_by;
    cr_assert(gt(u64, tries, 0));
    cr_assert(lt(u64, tries, 14), "%llu", (unsigned long long)tries);
    cr_assert(eq(u32, net->side[0].up + net->side[1].up, 0), "nobody is connected");
    cr_assert(not(peers_connected(net->side[1].peers, (raft_node_id){1})));
    net_free(net);
}

Test(peers, are_not_cut_by_who_calls_in_their_name)
{
    uint8_t bytes[256];
    struct net *net = net_new();
    open_side(net, 0, "a");
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[0].up == 1 && net->side[1].up == 1);
    for (uint64_t i = 1; i <= 20; i++) {
        cr_assert(eq(int, refusal_of(net, hello_of(2, "a", bytes, sizeof(bytes))),
                     PEER_REFUSAL_DUPLICATE_ID));
        say(net, 1, i);
    }
    WAIT_FOR(net, net->side[0].frames == 20);
    cr_assert(eq(u32, net->side[0].lost + net->side[1].lost, 0));
    cr_assert(eq(u32, net->side[0].up + net->side[1].up, 2));
    net_free(net);
}

/* A caller in node 2's name that is welcome, and is not node 2. */
static int call_as_2(struct net *net)
{
    uint8_t bytes[256];
    int fd = call(net, hello_of(2, "a", bytes, sizeof(bytes)));
    for (uint64_t from_ms = now_ms(); recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0;) {
        must(now_ms() - from_ms < PATIENCE_MS);
        turn(net);
    }
    return fd;
}

Test(peers, hear_no_more_than_its_share_from_one_at_once)
{
    enum { FRAMES = 3000 };
    static uint8_t bytes[FRAMES * 96];
    struct writer out = writer_of(bytes, sizeof(bytes));
    struct peer_note note = {.kind = PEER_LOG_POSITION};
    struct net *net = net_new();
    open_side(net, 0, "a");
    int fd = call_as_2(net);
    for (uint32_t i = 0; i < FRAMES; i++)
        peer_note_frame(&out, &note);
    must(!out.bad && write(fd, bytes, writer_len(&out)) == (ssize_t)writer_len(&out));
    for (uint32_t heard = 0; heard < FRAMES; heard = net->side[0].frames) {
        turn(net);
        must(net->side[0].frames - heard <= 2 * PEERS_SHARE_FRAMES);
    }
    close(fd);
    net_free(net);
}

Test(peers, count_what_members_say_against_the_rules)
{
    uint8_t bytes[PEER_NOTE_BYTES_MAX];
    struct writer out = writer_of(bytes, sizeof(bytes));
    struct peer_note note = {.kind = PEER_LOG_POSITION};
    struct net *net = net_new();
    open_side(net, 0, "a");
    net->side[0].nonsense = true;
    peer_note_frame(&out, &note);
    for (uint64_t i = 1; i <= 3; i++) {
        int fd = call_as_2(net);
        must(write(fd, bytes, writer_len(&out)) == (ssize_t)writer_len(&out));
        WAIT_FOR(net, peers_measures(net->side[0].peers).refused_frames == i);
        WAIT_FOR(net, net->side[0].lost == i);
        close(fd);
    }
    cr_assert(eq(u64, peers_measures(net->side[0].peers).refused_greetings, 0));
    net_free(net);
}

Test(peers, replace_a_connection_that_does_not_answer)
{
    uint8_t bytes[256];
    struct net *net = net_new();
    open_side(net, 0, "a");
    int older =
        call(net, hello_of(2, "a", bytes, sizeof(bytes))); /* of a machine that lost power */
    turns_for(net, 50);
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[1].up == 1 && is_closed(older));
    say(net, 1, 7);
    WAIT_FOR(net, net->side[0].frames == 1);
    cr_assert(eq(u32, net->side[1].up, 1));
    close(older);
    net_free(net);
}

Test(peers, try_every_address_of_a_name)
{
    struct net *net = net_new();
    char port[8];
    snprintf(port, sizeof(port), "%s", strrchr(net->side[0].address, ':') + 1);
    open_side(net, 0, "a");
    /* As a rule ::1 as well, where nobody listens. */
    snprintf(net->side[0].address, sizeof(net->side[0].address), "localhost:%s", port);
    open_side(net, 1, "a");
    WAIT_FOR(net, net->side[1].up == 1);
    net_free(net);
}

/* To a network namespace that is new. */
static void give_address(const char *interface, const char *text)
{
    struct ifreq request = {.ifr_flags = 0};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    address->sin_family = AF_INET;
    must(inet_pton(AF_INET, text, &address->sin_addr) == 1);
    must(ioctl(fd, SIOCSIFADDR, &request) == 0);
    request.ifr_flags = IFF_UP;
    must(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
}

Test(peers, wait_for_an_address_that_the_machine_does_not_have_yet)
{
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        cr_skip("no network namespaces here");
    give_address("lo", "127.0.0.1"); /* without any address it may bind to all */
    struct net *net = net_new();
    for (int i = 0; i < 2; i++)
        snprintf(net->side[i].address, sizeof(net->side[i].address), "10.9.8.7:%d", 7001 + i);
    open_side(net, 0, "a");
    open_side(net, 1, "a");
    turns_for(net, 300);
    cr_assert_not(peers_connected(net->side[0].peers, (raft_node_id){1}));
    give_address("lo:1", "10.9.8.7");
    WAIT_FOR(net, net->side[0].up == 1 && net->side[1].up == 1);
    cr_assert(peers_connected(net->side[0].peers, (raft_node_id){1}));
    net_free(net);
}

Test(peers, wait_for_a_name_that_nobody_knows_yet)
{
    struct net *net = net_new();
    snprintf(net->side[0].address, sizeof(net->side[0].address), "nobody.invalid:7001");
    open_side(net, 0, "a");
    turns_for(net, 300);
    must(!peers_connected(net->side[0].peers, (raft_node_id){1}) && !net->side[0].unusable);
    net_free(net);
}

Test(peers, do_not_wait_for_an_address_that_somebody_else_has)
{
    struct net *net = net_new();
    open_side(net, 0, "a");
    struct peers_options options = {.loop = &net->loop, .node = 2, .cluster = "a"};
    options.listen = net->side[0].address;
    options.hooks = &hooks;
    options.context = &net->side[1];
    net->side[1].peers = peers_new(&options);
    cr_assert(eq(int, peers_start(net->side[1].peers), UV_EADDRINUSE));
    net_free(net);
}
