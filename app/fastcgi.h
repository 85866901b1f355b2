/*
 * FastCGI connections, driven from the loop. The only file that knows libfcgi.
 *
 * A connection serves one request at a time and is kept open between them when the server asks for
 * it. libfcgi is made for programs that wait for it; what keeps it from blocking:
 *
 *   - it does not read from the socket: the loop does, and hands it a request in memory when
 *     fcgi_request_state() has seen all of it;
 *   - its descriptor is non-blocking, so that a mistake here costs a connection, never the loop;
 *   - more than FASTCGI_WRITE_BYTES_MAX is never written at a time, and anything larger than a
 *     small answer only when the kernel says that there is room;
 *   - it never closes a descriptor: its own way of closing waits up to two seconds for the peer.
 *
 * Life of a connection:
 *
 *     IDLE ──▶ GATHERING (part of a request is there, and kept)
 *      ▲│          │
 *      │└────▶ SERVING ──▶ connection_finish ──▶ IDLE, or closed when it is not to be kept
 *      │           └─────▶ connection_abort  ──▶ closed, so that the client sees a cut answer
 *      └─ DRAINING: answered before its too big body was read; what still comes is thrown away
 *
 * The server hangs up while SERVING when it, or its client, has given up: on_hangup.
 */
#ifndef ROLLCALL_APP_FASTCGI_H
#define ROLLCALL_APP_FASTCGI_H

#include "raft/base/bytes.h"

#include <uv.h>

/* Most that connection_write takes at a time. */
#define FASTCGI_WRITE_BYTES_MAX (40u << 10)
/* Connections beyond it wait in the listening socket's backlog. */
#define FASTCGI_CONNECTIONS_MAX 4096u

struct connection;
struct exchange; /* what the handlers keep of a connection's request: exchange.h */
struct fastcgi;
struct service; /* what the handlers work with: exchange.h */

struct fastcgi_events {
    struct service *service;
    /* A connection came: what is to be kept with it, or NULL to refuse it (no memory). */
    struct exchange *(*on_open)(struct service *service, struct connection *connection);
    void (*on_close)(struct exchange *exchange);
    /* A request is there. It ends by connection_finish or connection_abort, now or later. */
    void (*on_request)(struct exchange *exchange);
    /* Nobody waits for the answer any more; the connection closes when this returns. */
    void (*on_hangup)(struct exchange *exchange);
    /* There is room for FASTCGI_WRITE_BYTES_MAX; asked for by connection_await_room. */
    void (*on_room)(struct exchange *exchange);
    /* After fastcgi_stop: the last connection is gone. */
    void (*on_stopped)(struct service *service);
};

bool fastcgi_is_listening(int fd);

/*
 * Accepts on `listen_fd`, which stays the caller's and becomes non-blocking. -EINVAL when
 * it is no listening socket. Installs libfcgi's signal handlers: call before your own.
 */
NODISCARD int fastcgi_open(uv_loop_t *loop, int listen_fd, const struct fastcgi_events *events,
                           struct fastcgi **ret_fastcgi);

/*
 * Accepts no more, answers what runs and what still comes within a short grace on connections that
 * are open (nginx may be writing to one right now), and closes each as soon as it is idle.
 */
void fastcgi_stop(struct fastcgi *fastcgi);

/* --- for the request that is being served ----------------------------------------------------- */

/* "NAME=value" strings up to a NULL; valid until the request ends. */
char **connection_environment(const struct connection *connection);

/*
 * Reads the body, once. 0 and its length, or -EMSGSIZE when it is longer than `capacity` or than
 * REQUEST_BODY_BYTES_MAX.
 */
NODISCARD int connection_body(struct connection *connection, uint8_t *at, size_t capacity,
                              size_t *ret_len);

/* Adds to the answer. False when the peer is gone: abort then. */
NODISCARD bool connection_write(struct connection *connection, struct bytes bytes);

/* Is there room for FASTCGI_WRITE_BYTES_MAX right now? */
bool connection_has_room(const struct connection *connection);

/* on_room is called once there is (once a call). Gives up, as on_hangup, after a minute. */
void connection_await_room(struct connection *connection);

/* The answer is complete. */
void connection_finish(struct connection *connection);

/* The answer cannot be completed. */
void connection_abort(struct connection *connection);

#endif
