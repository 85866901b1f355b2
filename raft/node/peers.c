/* The whole: addresses, the listener, and what peers.h offers. */
#include "raft/node/config.h"
#include "raft/node/diag.h"
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

/* A machine that starts may not have this address yet, or nobody who knows the name. */
static bool may_come(int error)
{
    return error == UV_EADDRNOTAVAIL || error == UV_EAI_AGAIN || error == UV_EAI_NONAME ||
           error == UV_EAI_NODATA || error == UV_EAI_FAIL;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct peers *peers = handle->data;
    peers->listener_state = LISTENER_NONE;
}

/* Waits if the address may come; else the node ends. */
static int await_address(struct peers *peers, int error)
{
    peers->listen_ms = uv_now(peers->options.loop) + PEERS_LISTEN_AGAIN_MS;
    if (!may_come(error))
        return error;
    if (!peers->awaited)
        diag("address_awaited",
             "address=%s text=\"%s: no other node can call until this machine has this address or "
             "name (--raft), and it is tried again every second; if it never will, start the node "
             "with another\"",
             peers->options.listen, uv_strerror(error));
    peers->awaited = true;
    return 0;
}

static int listen_at(struct peers *peers, const struct sockaddr *address)
{
    int result = uv_tcp_init(peers->options.loop, &peers->listener);
    if (result != 0)
        return result;
    peers->listener.data = peers;
    peers->listener_state = LISTENER_OPEN;
    result = uv_tcp_bind(&peers->listener, address, 0);
    if (result == 0)
        result = uv_listen((uv_stream_t *)&peers->listener, BACKLOG, on_connection);
    if (result == 0) {
        if (peers->awaited)
            diag("address_found", "address=%s", peers->options.listen);
        peers->awaited = false;
        return 0;
    }
    peers->listener_state = LISTENER_CLOSING;
    uv_close((uv_handle_t *)&peers->listener, on_listener_closed);
    return await_address(peers, result);
}

static bool is_loopback(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    return address->sa_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
                                         : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* Whether a member is named as if it were at another host than this one. */
static bool has_others_elsewhere(const struct peers *peers)
{
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    if (peers_address(peers->options.listen, host, &port) != 0)
        return false;
    for (uint32_t i = 0; i < peers->links; i++) {
        const char *other = peers->link[i].host;
        if (strcmp(other, host) != 0 && !config_is_loopback(other))
            return true;
    }
    return false;
}

static void say_loopback(struct peers *peers)
{
    if (!peers->told_loopback)
        diag("address_is_loopback",
             "address=%s text=\"this name stands for a loopback address on this machine "
             "(/etc/hosts?), so nodes on others cannot call it: give --raft the address that they "
             "use\"",
             peers->options.listen);
    peers->told_loopback = true;
}

/* Debian's installer has a machine's own name stand for 127.0.1.1 on itself. */
static void on_listen_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct peers *peers = CONTAINER_OF(resolve, struct peers, listen_resolve);
    const struct addrinfo *at = found;
    int result = 0;
    peers->listener_state = LISTENER_NONE;
    while (at != NULL && at->ai_next != NULL && is_loopback(at->ai_addr))
        at = at->ai_next;
    if (!peers->closing && at == NULL)
        result = await_address(peers, status != 0 ? status : UV_EAI_NODATA);
    if (!peers->closing && at != NULL) {
        if (is_loopback(at->ai_addr) && has_others_elsewhere(peers))
            say_loopback(peers);
        result = listen_at(peers, at->ai_addr);
    }
    uv_freeaddrinfo(found);
    if (result != 0)
        peers->options.hooks->unusable(peers->options.context, result);
}

static int listen_on(struct peers *peers)
{
    char host[PEERS_HOST_BYTES], service[8];
    uint16_t port;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int result = peers_address(peers->options.listen, host, &port);
    if (result != 0)
        return result;
    if (uv_ip4_addr(host, port, &v4) == 0)
        return listen_at(peers, (const struct sockaddr *)&v4);
    if (uv_ip6_addr(host, port, &v6) == 0)
        return listen_at(peers, (const struct sockaddr *)&v6);
    snprintf(service, sizeof(service), "%u", port);
    peers->listener_state = LISTENER_RESOLVING;
    result = uv_getaddrinfo(peers->options.loop, &peers->listen_resolve, on_listen_resolved, host,
                            service, &hints);
    if (result != 0)
        peers->listener_state = LISTENER_NONE;
    return result;
}

static void on_tick(uv_timer_t *tick)
{
    struct peers *peers = tick->data;
    int result = 0;
    inlets_tick(peers);
    if (peers->listener_state == LISTENER_NONE && uv_now(peers->options.loop) >= peers->listen_ms)
        result = listen_on(peers);
    if (result != 0)
        peers->options.hooks->unusable(peers->options.context, result);
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
    int result = uv_timer_init(options->loop, &peers->tick);
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
    if (result == 0)
        result = listen_on(peers);
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
    if (id.n == peers->options.node)
        return peers->listener_state == LISTENER_OPEN;
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
    if (peers->listener_state == LISTENER_OPEN)
        uv_close((uv_handle_t *)&peers->listener, NULL);
    if (peers->listener_state == LISTENER_RESOLVING)
        (void)uv_cancel((uv_req_t *)&peers->listen_resolve);
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
