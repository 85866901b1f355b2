/* Connections to other nodes: resolve, connect, greet, send, and all of it again when it ends. */
#include "raft/node/diag.h"
#include "raft/node/peers_state.h"
#include "raft/wire/peer.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

static void try_connect(struct link *link);

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

static void wait_and_retry(struct link *link)
{
    if (link->peers->closing)
        return;
    if (uv_timer_start(&link->timer, on_retry, link->pause_ms, 0) != 0)
        UNREACHABLE();
    link->pause_ms *= 2;
    if (link->pause_ms > PEERS_PAUSE_MS_MAX)
        link->pause_ms = PEERS_PAUSE_MS_MAX;
}

static void on_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link->state = LINK_DOWN;
    wait_and_retry(link);
}

static void go_down(struct link *link, int error)
{
    const struct peers *peers = link->peers;
    if (link->state != LINK_CONNECTING && link->state != LINK_UP)
        return;
    bool was_up = link->state == LINK_UP;
    link->state = LINK_CLOSING;
    (void)uv_timer_stop(&link->timer);
    uv_close((uv_handle_t *)&link->tcp, on_closed);
    if (peers->closing)
        return;
    if (!link->told_down)
        diag("peer_down", "peer=%" PRIu64 " address=%s:%u text=\"%s\"", link->id.n, link->host,
             link->port, uv_strerror(error));
    link->told_down = true;
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

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct link *link = handle->data;
    (void)suggested;
    *ret_buffer = uv_buf_init(link->ignored, sizeof(link->ignored));
}

/* The other side says nothing here: this is how its end is heard of. */
static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
    (void)buffer;
    if (len < 0)
        go_down(stream->data, (int)len);
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
    };
    if (outbox_writer(&link->outbox, PEER_NOTE_BYTES_MAX, &out) != 0) {
        go_down(link, UV_ENOMEM);
        return;
    }
    peer_hello_frame(&out, &hello);
    outbox_put(&link->outbox, &out);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct link *link = CONTAINER_OF(connect, struct link, connect);
    if (link->state != LINK_CONNECTING)
        return;
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    if (status != 0) {
        go_down(link, status);
        return;
    }
    (void)uv_timer_stop(&link->timer);
    peers_tune(link->peers, &link->tcp);
    outbox_open(&link->outbox, (uv_stream_t *)&link->tcp, on_sent, on_broken);
    link->state = LINK_UP;
    link->pause_ms = PEERS_PAUSE_MS_MIN;
    if (link->told_down || !link->was_up)
        diag("peer_up", "peer=%" PRIu64 " address=%s:%u", link->id.n, link->host, link->port);
    link->told_down = false;
    link->was_up = true;
    greet(link);
    if (link->state == LINK_UP)
        link->peers->options.hooks->up(link->peers->options.context, link->id);
    link_flush(link);
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
    int result = uv_tcp_connect(&link->connect, &link->tcp, address, on_connected);
    if (result != 0)
        go_down(link, result);
    else if (uv_timer_start(&link->timer, on_too_long, link->peers->options.dead_ms, 0) != 0)
        UNREACHABLE();
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct link *link = CONTAINER_OF(resolve, struct link, resolve);
    link->state = LINK_DOWN;
    if (status == 0 && !link->peers->closing) {
        connect_to(link, found->ai_addr);
    } else if (!link->peers->closing) {
        if (!link->told_down)
            diag("peer_down", "peer=%" PRIu64 " address=%s:%u text=\"%s\"", link->id.n, link->host,
                 link->port, uv_strerror(status));
        link->told_down = true;
        wait_and_retry(link);
    }
    uv_freeaddrinfo(found);
}

static void try_connect(struct link *link)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    char port[8];
    if (link->peers->closing || link->state != LINK_DOWN)
        return;
    if (uv_ip4_addr(link->host, link->port, &v4) == 0) {
        connect_to(link, (const struct sockaddr *)&v4);
        return;
    }
    if (uv_ip6_addr(link->host, link->port, &v6) == 0) {
        connect_to(link, (const struct sockaddr *)&v6);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    snprintf(port, sizeof(port), "%u", link->port);
    link->state = LINK_RESOLVING;
    int result = uv_getaddrinfo(link->peers->options.loop, &link->resolve, on_resolved, link->host,
                                port, &hints);
    if (result != 0) {
        link->state = LINK_DOWN;
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
    if (link->state != LINK_DOWN)
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
