/* The listening side: who calls, whether it belongs here, and what it says. */
#include "raft/node/diag.h"
#include "raft/node/peers_state.h"
#include "raft/wire/peer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 64
/* Who has not said who it is by then is nobody. */
#define GREETING_MS 2000u
#define LOOK_MS     500u

int peers_address(const char *address, char ret_host[PEERS_HOST_BYTES], uint16_t *ret_port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return -EINVAL;
    const char *host = address;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len) != NULL) {
        return -EINVAL; /* an IPv6 address without brackets */
    }
    char *end;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    bool digits = colon[1] >= '0' && colon[1] <= '9' && *end == '\0';
    if (len == 0 || len >= PEERS_HOST_BYTES || !digits || errno != 0 || port == 0 || port > 65535)
        return -EINVAL;
    memcpy(ret_host, host, len);
    ret_host[len] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}

/* --- inlets ----------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct inlet *inlet = handle->data;
    inlet->open = false;
}

static void close_inlet(struct inlet *inlet)
{
    const struct peers *peers = inlet->peers;
    if (inlet->closing)
        return;
    inlet->closing = true;
    uv_close((uv_handle_t *)&inlet->tcp, on_closed);
    if (inlet->from.n != 0 && !peers->closing)
        peers->options.hooks->lost(peers->options.context, inlet->from);
}

/* Said once for each reason and caller: whoever is refused comes again and again. */
static void refuse(struct inlet *inlet, uint64_t from, const char *why)
{
    struct peers *peers = inlet->peers;
    uint64_t what = from * 31 + (uint64_t)(uintptr_t)why;
    bool said = false;
    for (uint32_t i = 0; i < peers->told; i++)
        said = said || peers->told_what[i] == what;
    if (!said && peers->told < PEERS_TOLD_MAX) {
        peers->told_what[peers->told++] = what;
        diag("peer_refused", "from=%" PRIu64 " text=\"%s\"", from, why);
    }
    close_inlet(inlet);
}

static struct link *find(struct peers *peers, raft_node_id id)
{
    for (uint32_t i = 0; i < peers->links; i++) {
        if (node_id_equal(peers->link[i].id, id))
            return &peers->link[i];
    }
    return NULL;
}

/* An older connection of the same node is one that it has lost. */
static void replace_older(struct inlet *inlet, raft_node_id from)
{
    struct peers *peers = inlet->peers;
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *other = &peers->inlet[i];
        if (other == inlet || !other->open || other->closing || !node_id_equal(other->from, from))
            continue;
        other->from.n = 0; /* the node is not lost: it is here */
        close_inlet(other);
    }
}

static void on_hello(struct inlet *inlet, struct frame frame)
{
    const struct peers_options *options = &inlet->peers->options;
    struct peer_hello hello = {.from = 0};
    int result = peer_hello_decode(frame, &hello);
    struct link *link = find(inlet->peers, (raft_node_id){hello.from});
    if (result != 0)
        refuse(inlet, 0, "what it said first is no greeting of a node");
    else if (hello.version != PEER_VERSION)
        refuse(inlet, hello.from, "it speaks another version of the protocol between nodes");
    else if (!bytes_equal(hello.cluster, bytes_of_text(options->cluster)))
        refuse(inlet, hello.from, "it is a node of another cluster (--cluster)");
    else if (hello.to != options->node)
        refuse(inlet, hello.from,
               "it takes this node for another one: its --members are not those of this node");
    else if (link == NULL)
        refuse(inlet, hello.from, "it is not among --members");
    else {
        replace_older(inlet, link->id);
        inlet->from = link->id;
        link_nudge(link);
    }
}

static void take_frames(struct inlet *inlet)
{
    const struct peers_options *options = &inlet->peers->options;
    size_t at = 0;
    inlet->paused = false;
    while (!inlet->closing && !inlet->paused) {
        struct frame frame;
        int64_t len = frame_decode(bytes_of(inlet->in + at, inlet->in_len - at), &frame);
        if (len == 0)
            break;
        if (len < 0) {
            refuse(inlet, inlet->from.n, "what it sent is no frame");
            break;
        }
        if (inlet->from.n == 0) {
            on_hello(inlet, frame);
        } else {
            int result = options->hooks->received(options->context, inlet->from, frame);
            if (result == -EAGAIN) {
                inlet->paused = true;
                break;
            }
            if (result != 0)
                refuse(inlet, inlet->from.n, "what it sent makes no sense");
        }
        at += (size_t)len;
    }
    memmove(inlet->in, inlet->in + at, inlet->in_len - at);
    inlet->in_len -= at;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct inlet *inlet = handle->data;
    (void)suggested;
    *ret_buffer =
        uv_buf_init((char *)inlet->in + inlet->in_len, (unsigned)(PEERS_IN_BYTES - inlet->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer)
{
    struct inlet *inlet = stream->data;
    (void)buffer;
    if (len < 0)
        close_inlet(inlet);
    if (len <= 0)
        return;
    inlet->in_len += (size_t)len;
    take_frames(inlet);
    if (inlet->paused && !inlet->closing)
        (void)uv_read_stop(stream);
}

void peers_resume(struct peers *peers)
{
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        if (!inlet->open || inlet->closing || !inlet->paused)
            continue;
        take_frames(inlet);
        if (!inlet->paused && !inlet->closing &&
            uv_read_start((uv_stream_t *)&inlet->tcp, on_alloc, on_read) != 0)
            close_inlet(inlet);
    }
}

/* --- listening -------------------------------------------------------------------------------- */

static struct inlet *new_inlet(struct peers *peers)
{
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        if (inlet->open)
            continue;
        uint8_t *in = inlet->in != NULL ? inlet->in : malloc(PEERS_IN_BYTES);
        if (in == NULL)
            return NULL;
        *inlet = (struct inlet){.peers = peers, .in = in};
        return inlet;
    }
    return NULL;
}

static void on_turned_away(uv_handle_t *handle)
{
    free(handle);
}

static void turn_away(uv_stream_t *listener)
{
    /* Accepted and closed: left in the backlog it would call us for ever. */
    uv_tcp_t *turned_away = malloc(sizeof(*turned_away));
    if (turned_away == NULL || uv_tcp_init(listener->loop, turned_away) != 0) {
        free(turned_away);
        return;
    }
    (void)uv_accept(listener, (uv_stream_t *)turned_away);
    uv_close((uv_handle_t *)turned_away, on_turned_away);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct peers *peers = listener->data;
    if (status != 0)
        return;
    struct inlet *inlet = new_inlet(peers);
    if (inlet == NULL) {
        turn_away(listener);
        return;
    }
    if (uv_tcp_init(listener->loop, &inlet->tcp) != 0)
        UNREACHABLE();
    inlet->tcp.data = inlet;
    inlet->open = true;
    inlet->opened_ms = uv_now(listener->loop);
    uv_stream_t *stream = (uv_stream_t *)&inlet->tcp;
    int result = uv_accept(listener, stream);
    if (result == 0)
        result = uv_read_start(stream, on_alloc, on_read);
    if (result != 0)
        close_inlet(inlet);
    else
        peers_tune(peers, &inlet->tcp);
}

static void on_look(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    uint64_t now_ms = uv_now(timer->loop);
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        bool nobody = inlet->open && !inlet->closing && inlet->from.n == 0;
        if (nobody && now_ms - inlet->opened_ms >= GREETING_MS)
            refuse(inlet, 0, "it does not say who it is");
    }
}

static int listen_on(struct peers *peers)
{
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    uv_getaddrinfo_t resolve;
    int result = peers_address(peers->options.listen, host, &port);
    if (result != 0)
        return result;
    result = uv_tcp_init(peers->options.loop, &peers->listener);
    if (result != 0)
        return result;
    peers->listening = true;
    peers->listener.data = peers;
    if (uv_ip4_addr(host, port, &v4) == 0) {
        result = uv_tcp_bind(&peers->listener, (const struct sockaddr *)&v4, 0);
    } else if (uv_ip6_addr(host, port, &v6) == 0) {
        result = uv_tcp_bind(&peers->listener, (const struct sockaddr *)&v6, 0);
    } else {
        char service[8];
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
        snprintf(service, sizeof(service), "%u", port);
        result = uv_getaddrinfo(peers->options.loop, &resolve, NULL, host, service, &hints);
        if (result == 0) {
            result = uv_tcp_bind(&peers->listener, resolve.addrinfo->ai_addr, 0);
            uv_freeaddrinfo(resolve.addrinfo);
        }
    }
    if (result == 0)
        result = uv_listen((uv_stream_t *)&peers->listener, BACKLOG, on_connection);
    return result;
}

/* --- the whole -------------------------------------------------------------------------------- */

static void network_send(struct network *network, raft_node_id to, struct bytes frames)
{
    struct link *link = find(CONTAINER_OF(network, struct peers, network), to);
    if (link != NULL)
        link_send(link, frames);
}

static void network_flush(struct network *network)
{
    struct peers *peers = CONTAINER_OF(network, struct peers, network);
    for (uint32_t i = 0; i < peers->links; i++)
        link_flush(&peers->link[i]);
}

struct peers *peers_new(const struct peers_options *options)
{
    struct peers *peers = calloc(1, sizeof(*peers));
    if (peers == NULL)
        return NULL;
    peers->options = *options;
    peers->network = (struct network){.send = network_send, .flush = network_flush};
    return peers;
}

int peers_start(struct peers *peers)
{
    const struct peers_options *options = &peers->options;
    int result = listen_on(peers);
    if (result != 0)
        return result;
    result = uv_timer_init(options->loop, &peers->greeting);
    if (result != 0)
        return result;
    peers->greeting.data = peers;
    peers->greeting_open = true;
    result = uv_timer_start(&peers->greeting, on_look, LOOK_MS, LOOK_MS);
    for (uint32_t i = 0; i < options->members && result == 0; i++) {
        if (options->member[i].id.n == options->node)
            continue;
        struct link *link = &peers->link[peers->links];
        *link = (struct link){.peers = peers, .id = options->member[i].id};
        result = peers_address(options->member[i].address, link->host, &link->port);
        if (result == 0)
            peers->links++;
    }
    for (uint32_t i = 0; i < peers->links && result == 0; i++)
        result = link_start(&peers->link[i]);
    return result;
}

struct network *peers_network(struct peers *peers)
{
    return &peers->network;
}

bool peers_connected(struct peers *peers, raft_node_id id)
{
    const struct link *link = find(peers, id);
    return link != NULL && link->state == LINK_UP;
}

size_t peers_unsent_bytes(struct peers *peers, raft_node_id id)
{
    const struct link *link = find(peers, id);
    return link != NULL && link->state == LINK_UP ? outbox_bytes(&link->outbox) : 0;
}

void peers_close(struct peers *peers)
{
    if (peers == NULL || peers->closing)
        return;
    peers->closing = true;
    if (peers->listening)
        uv_close((uv_handle_t *)&peers->listener, NULL);
    if (peers->greeting_open)
        uv_close((uv_handle_t *)&peers->greeting, NULL);
    for (uint32_t i = 0; i < peers->links; i++)
        link_close(&peers->link[i]);
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        if (peers->inlet[i].open)
            close_inlet(&peers->inlet[i]);
    }
}

void peers_free(struct peers *peers)
{
    if (peers == NULL)
        return;
    for (uint32_t i = 0; i < peers->links; i++)
        outbox_free(&peers->link[i].outbox);
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++)
        free(peers->inlet[i].in);
    free(peers);
}
