/* The whole: addresses, the listener, and what peers.h offers. */
#include "raft/node/peers_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 64
#define TICK_MS 100u

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

/* --- listening -------------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0)
        inlet_accept(listener->data, listener);
}

static void on_tick(uv_timer_t *tick)
{
    inlets_tick(tick->data);
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

struct link *peers_link(struct peers *peers, raft_node_id id)
{
    for (uint32_t i = 0; i < peers->links; i++) {
        if (node_id_equal(peers->link[i].id, id))
            return &peers->link[i];
    }
    return NULL;
}

static void network_send(struct network *network, raft_node_id to, struct bytes frames)
{
    struct link *link = peers_link(CONTAINER_OF(network, struct peers, network), to);
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
    peers->random = options->random | 1;
    peers->network = (struct network){.send = network_send, .flush = network_flush};
    return peers;
}

int peers_start(struct peers *peers)
{
    const struct peers_options *options = &peers->options;
    int result = listen_on(peers);
    if (result != 0)
        return result;
    result = uv_timer_init(options->loop, &peers->tick);
    if (result == 0)
        result = uv_idle_init(options->loop, &peers->again);
    if (result != 0)
        return result;
    peers->tick.data = peers;
    peers->tick_open = true;
    result = uv_timer_start(&peers->tick, on_tick, TICK_MS, TICK_MS);
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
    const struct link *link = peers_link(peers, id);
    return link != NULL && link->state == LINK_UP;
}

size_t peers_unsent_bytes(struct peers *peers, raft_node_id id)
{
    const struct link *link = peers_link(peers, id);
    return link != NULL && link->state == LINK_UP ? outbox_bytes(&link->outbox) : 0;
}

void peers_close(struct peers *peers)
{
    if (peers == NULL || peers->closing)
        return;
    peers->closing = true;
    if (peers->listening)
        uv_close((uv_handle_t *)&peers->listener, NULL);
    if (peers->tick_open) {
        uv_close((uv_handle_t *)&peers->tick, NULL);
        uv_close((uv_handle_t *)&peers->again, NULL);
    }
    for (uint32_t i = 0; i < peers->links; i++)
        link_close(&peers->link[i]);
    inlets_close(peers);
}

struct peers_measures peers_measures(const struct peers *peers)
{
    return peers->measures;
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
