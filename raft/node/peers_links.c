/* Connections to other nodes: resolve, connect, greet, be welcome, send, and all of it again when
 * it ends. */
#include "raft/node/diag.h"
#include "raft/node/peers_state.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

static void try_connect(struct link *link);
static void try_address(struct link *link);

void peers_tune(const struct peers *peers, uv_tcp_t *tcp)
{
    int fd;
    unsigned dead_ms = peers->options.dead_ms;
    (void)uv_tcp_nodelay(tcp, 1);
    if (uv_fileno((uv_handle_t *)tcp, &fd) == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
}

/* --- down ------------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer)
{
    try_connect(CONTAINER_OF(timer, struct link, timer));
}

/* xorshift64: nodes that were refused together do not come back together. */
static uint64_t draw(struct peers *peers, uint64_t below)
{
    peers->random ^= peers->random << 13;
    peers->random ^= peers->random >> 7;
    peers->random ^= peers->random << 17;
    return peers->random % below;
}

static void wait_and_retry(struct link *link)
{
    if (link->peers->closing)
        return;
    uint64_t most_ms = link->not_welcome ? PEERS_REFUSED_MS_MAX : PEERS_PAUSE_MS_MAX;
    if (link->pause_ms > most_ms)
        link->pause_ms = most_ms;
    uint64_t wait_ms = link->pause_ms - draw(link->peers, link->pause_ms / 2);
    if (uv_timer_start(&link->timer, on_retry, wait_ms, 0) != 0)
        UNREACHABLE();
    link->pause_ms *= 2;
}

static void on_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link->state = LINK_DOWN;
    if (link->address_at < link->addresses && !link->peers->closing)
        try_address(link);
    else
        wait_and_retry(link);
}

static void say_down(struct link *link, int error)
{
    if (!link->told_down)
        diag("peer_down", "peer=%" PRIu64 " address=%s:%u text=\"%s\"", link->id.n, link->host,
             link->port, uv_strerror(error));
    link->told_down = true;
}

static void go_down(struct link *link, int error)
{
    const struct peers *peers = link->peers;
    if (link->state != LINK_CONNECTING && link->state != LINK_GREETING && link->state != LINK_UP)
        return;
    bool was_up = link->state == LINK_UP;
    if (was_up) {
        link->addresses = 0; /* a name may stand for another address by now */
        if (uv_now(peers->options.loop) - link->up_ms >= PEERS_LASTED_MS)
            link->pause_ms = PEERS_PAUSE_MS_MIN;
    }
    /* Who did not answer in time may be paused: it is to be found soon when it goes on. */
    link->not_welcome = link->refused || (link->state == LINK_GREETING && error != UV_ETIMEDOUT);
    link->state = LINK_CLOSING;
    (void)uv_timer_stop(&link->timer);
    uv_close((uv_handle_t *)&link->tcp, on_closed);
    if (peers->closing)
        return;
    /* A refusal has a line of its own. And one address of several says nothing of the node. */
    if (!link->refused && link->address_at >= link->addresses)
        say_down(link, error);
    if (was_up)
        peers->options.hooks->lost(peers->options.context, link->id);
}

/* --- up --------------------------------------------------------------------------------------- */

static void on_sent(struct outbox *outbox)
{
    (void)outbox;
}

static void on_broken(struct outbox *outbox, int error)
{
    go_down(CONTAINER_OF(outbox, struct link, outbox), error);
}

static void greet(struct link *link)
{
    const struct peers_options *options = &link->peers->options;
    struct writer out;
    struct peer_hello hello = {
        .version = PEER_VERSION,
        .from = options->node,
        .to = link->id.n,
        .cluster = bytes_of_text(options->cluster),
        .format_least = PEER_FORMAT,
        .format_most = PEER_FORMAT,
    };
    struct record_identity identity = options->hooks->identity(options->context);
    hello.cluster_high = identity.cluster.high;
    hello.cluster_low = identity.cluster.low;
    hello.disk = identity.disk;
    if (outbox_writer(&link->outbox, PEER_NOTE_BYTES_MAX, &out) != 0) {
        go_down(link, UV_ENOMEM);
        return;
    }
    peer_hello_frame(&out, &hello);
    outbox_put(&link->outbox, &out);
}

/* --- what the callee says --------------------------------------------------------------------- */

static void on_welcome(struct link *link)
{
    struct peers *peers = link->peers;
    if (link->state != LINK_GREETING)
        return;
    (void)uv_timer_stop(&link->timer);
    link->state = LINK_UP;
    link->up_ms = uv_now(peers->options.loop);
    link->told_refused_ms = 0;
    if (link->told_down || !link->was_up)
        diag("peer_up", "peer=%" PRIu64 " address=%s:%u", link->id.n, link->host, link->port);
    link->told_down = false;
    link->was_up = true;
    peers->options.hooks->up(peers->options.context, link->id);
    link_flush(link);
}

static void on_refused(struct link *link, enum peer_refusal why)
{
    struct peers *peers = link->peers;
    uint64_t now_ms = uv_now(peers->options.loop);
    bool told = link->told_refused_ms != 0 && link->told_refused == why &&
                now_ms - link->told_refused_ms < PEERS_SAY_AGAIN_MS;
    peers->measures.refused_by++;
    link->refused = true;
    if (!told) {
        link->told_refused = why;
        link->told_refused_ms = now_ms;
        diag("refused_by_peer", "peer=%" PRIu64 " address=%s:%u text=\"%s\"", link->id.n,
             link->host, link->port, peer_refusal_at_caller(why));
    }
    link->told_down = true; /* peer_up is said when it accepts */
    go_down(link, UV_ECONNREFUSED);
}

/* Read by a connection that lives: so the one that was called in this node's name is not its own.
 */
static void on_probe(struct link *link)
{
    uint64_t now_ms = uv_now(link->peers->options.loop);
    uint8_t present[PEER_SIGNAL_BYTES];
    struct writer out = writer_of(present, sizeof(present));
    peer_signal_frame(&out, PEER_PRESENT);
    link_send(link, writer_bytes(&out)); /* lost with the rest, when too much is not taken */
    link_flush(link);
    if (link->told_duplicate_ms != 0 && now_ms - link->told_duplicate_ms < PEERS_SAY_AGAIN_MS)
        return;
    link->told_duplicate_ms = now_ms;
    diag("duplicate_id", "peer=%" PRIu64 " text=\"%s\"", link->id.n,
         "another process calls that node with this node's id, and is refused: does a copy of this "
         "folder run?");
}

/* False when the connection is no good. */
static bool take_answer(struct link *link, struct frame frame)
{
    enum peer_refusal why;
    if (peer_is_signal(frame, PEER_WELCOME))
        on_welcome(link);
    else if (peer_is_signal(frame, PEER_PROBE) && link->state == LINK_UP)
        on_probe(link);
    else if (peer_refused_decode(frame, &why) == 0)
        on_refused(link, why);
    else
        return false;
    return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct link *link = handle->data;
    (void)suggested;
    *ret_buffer = uv_buf_init((char *)link->answer + link->answer_len,
                              (unsigned)(sizeof(link->answer) - link->answer_len));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
    struct link *link = stream->data;
    size_t at = 0;
    (void)buffer;
    if (len < 0) {
        go_down(link, (int)len);
        return;
    }
    link->answer_len += (size_t)len;
    while (link->state == LINK_GREETING || link->state == LINK_UP) {
        struct frame frame;
        int64_t taken = frame_decode(bytes_of(link->answer + at, link->answer_len - at), &frame);
        if (taken == 0)
            break;
        if (taken < 0 || !take_answer(link, frame)) {
            go_down(link, UV_EPROTO);
            return;
        }
        at += (size_t)taken;
    }
    link->answer_len -= at;
    memmove(link->answer, link->answer + at, link->answer_len);
    if (link->answer_len == sizeof(link->answer))
        go_down(link, UV_EPROTO);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct link *link = CONTAINER_OF(connect, struct link, connect);
    if (link->state != LINK_CONNECTING)
        return;
    link->answer_len = 0;
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    if (status != 0) {
        go_down(link, status);
        return;
    }
    peers_tune(link->peers, &link->tcp);
    outbox_open(&link->outbox, (uv_stream_t *)&link->tcp, on_sent, on_broken);
    link->state = LINK_GREETING; /* the timer goes on: until WELCOME */
    greet(link);
    if (link->state == LINK_GREETING)
        outbox_flush(&link->outbox);
}

static void on_too_long(uv_timer_t *timer)
{
    go_down(CONTAINER_OF(timer, struct link, timer), UV_ETIMEDOUT);
}

static void connect_to(struct link *link, const struct sockaddr *address)
{
    uv_loop_t *loop = link->peers->options.loop;
    if (uv_tcp_init(loop, &link->tcp) != 0)
        UNREACHABLE();
    link->tcp.data = link;
    link->state = LINK_CONNECTING;
    link->refused = false;
    int result = uv_tcp_connect(&link->connect, &link->tcp, address, on_connected);
    if (result != 0)
        go_down(link, result);
    else if (uv_timer_start(&link->timer, on_too_long, link->peers->options.dead_ms, 0) != 0)
        UNREACHABLE();
}

static void try_address(struct link *link)
{
    connect_to(link, (const struct sockaddr *)&link->address[link->address_at++]);
}

static void add_address(struct link *link, const struct sockaddr *address)
{
    size_t bytes =
        address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    bool usable = address->sa_family == AF_INET || address->sa_family == AF_INET6;
    if (usable && link->addresses < PEERS_ADDRESSES_MAX)
        memcpy(&link->address[link->addresses++], address, bytes);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct link *link = CONTAINER_OF(resolve, struct link, resolve);
    link->state = LINK_DOWN;
    for (const struct addrinfo *at = found; status == 0 && at != NULL; at = at->ai_next)
        add_address(link, at->ai_addr);
    uv_freeaddrinfo(found);
    if (link->peers->closing)
        return;
    if (link->addresses > 0) {
        try_address(link);
    } else {
        say_down(link, status != 0 ? status : UV_EAI_NODATA);
        wait_and_retry(link);
    }
}

static void try_connect(struct link *link)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    char port[8];
    if (link->peers->closing || link->state != LINK_DOWN)
        return;
    link->addresses = link->address_at = 0;
    if (uv_ip4_addr(link->host, link->port, &v4) == 0)
        add_address(link, (const struct sockaddr *)&v4);
    else if (uv_ip6_addr(link->host, link->port, &v6) == 0)
        add_address(link, (const struct sockaddr *)&v6);
    if (link->addresses > 0) {
        try_address(link);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    snprintf(port, sizeof(port), "%u", link->port);
    link->state = LINK_RESOLVING;
    int result = uv_getaddrinfo(link->peers->options.loop, &link->resolve, on_resolved, link->host,
                                port, &hints);
    if (result != 0) {
        link->state = LINK_DOWN;
        say_down(link, result);
        wait_and_retry(link);
    }
}

int link_start(struct link *link)
{
    link->pause_ms = PEERS_PAUSE_MS_MIN;
    int result = uv_timer_init(link->peers->options.loop, &link->timer);
    if (result == 0)
        try_connect(link);
    return result;
}

void link_close(struct link *link)
{
    go_down(link, UV_ECANCELED);
    if (link->state == LINK_RESOLVING)
        (void)uv_cancel((uv_req_t *)&link->resolve);
    uv_close((uv_handle_t *)&link->timer, NULL);
}

void link_nudge(struct link *link)
{
    if (link->state != LINK_DOWN || link->refused) /* it is there, and would refuse again */
        return;
    (void)uv_timer_stop(&link->timer);
    link->pause_ms = PEERS_PAUSE_MS_MIN;
    try_connect(link);
}

/* --- sending ---------------------------------------------------------------------------------- */

void link_send(struct link *link, struct bytes frames)
{
    struct writer out;
    if (link->state != LINK_UP ||
        outbox_bytes(&link->outbox) + frames.len > PEERS_UNSENT_BYTES_MAX ||
        outbox_writer(&link->outbox, frames.len, &out) != 0)
        return;
    put_raw(&out, frames);
    outbox_put(&link->outbox, &out);
}

void link_flush(struct link *link)
{
    if (link->state == LINK_UP)
        outbox_flush(&link->outbox);
}
