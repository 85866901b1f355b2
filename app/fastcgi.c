#include "app/fastcgi.h"

#include "app/fcgi_request.h"
#include "app/note.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcgios.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Accepted in one turn: more would let one worker take what its idle sibling could. */
#define ACCEPTS_PER_TURN 4
/* Out of descriptors: how long to leave new connections in the backlog. */
#define ACCEPT_PAUSE_MS 100u
/* How long a request may take to arrive in full, counted from its first byte. */
#define GATHER_MS 5000u
/* How long what follows a refused body is read and thrown away. */
#define DRAIN_MS 2000u
/* How long a peer may leave an answer unread. */
#define STALL_MS 60000u
/* At a stop: how long an idle connection may still bring a request. */
#define STOP_GRACE_MS 500u

_Static_assert(4 * FASTCGI_WRITE_BYTES_MAX <= 192u << 10,
               "a write fits thrice into the part of the send buffer that POLLOUT promises");

enum connection_state {
    CONNECTION_IDLE,
    CONNECTION_GATHERING,
    CONNECTION_SERVING,
    CONNECTION_STALLED, /* serving, and waiting for the peer to read */
    CONNECTION_DRAINING,
    CONNECTION_CLOSED, /* waits for libuv to let go of it */
};

struct connection {
    struct fastcgi *fastcgi;
    struct exchange *exchange;
    uv_poll_t poll;
    int fd;
    int polled; /* what `poll` is armed for */
    enum connection_state state;
    bool too_big; /* the request's body is over the limit, and not all read */
    FCGX_Request request;
    uint64_t give_up_ms; /* GATHERING, STALLED, DRAINING: how long its peer is waited for */
    uint8_t *part;       /* GATHERING: the request's bytes so far */
    size_t part_len;
    struct connection *prev, *next; /* in the list of all, or of those who wait */
};

struct fastcgi {
    uv_loop_t *loop;
    struct fastcgi_events events;
    int listen_fd;
    uv_poll_t listener;
    uv_timer_t accept_pause;
    uv_timer_t waiting_timer;
    uv_timer_t stop_grace;
    struct connection *connections; /* that do not wait for their peer */
    struct connection *waiting;
    unsigned count;
    bool paused; /* not accepting: too many connections, or out of descriptors */
    bool stopping;
    uint8_t in[FCGI_REQUEST_BYTES_MAX]; /* what was received last */
};

/* --- what libfcgi reads ----------------------------------------------------------------------- */

static struct reader unread; /* of the request that is being read: one at a time */

/*
 * libfcgi's own way to its descriptor, which the linker finds here before the library's: it is
 * given what the loop has received and judged, and nothing after that.
 */
int OS_Read(int fd, char *at, size_t len)
{
    (void)fd;
    size_t left = reader_left(&unread);
    struct bytes bytes = get_raw(&unread, left < len ? left : len);
    if (bytes.len > 0)
        memcpy(at, bytes.at, bytes.len);
    return (int)bytes.len;
}

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_listener(uv_poll_t *poll, int status, int events);

/* --- lists and arming ------------------------------------------------------------------------- */

static struct connection **list_of(struct connection *c)
{
    bool waits = c->state == CONNECTION_GATHERING || c->state == CONNECTION_STALLED ||
                 c->state == CONNECTION_DRAINING;
    return waits ? &c->fastcgi->waiting : &c->fastcgi->connections;
}

static void list_remove(struct connection *c)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        *list_of(c) = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
}

static void list_add(struct connection *c)
{
    struct connection **list = list_of(c);
    c->prev = NULL;
    c->next = *list;
    if (c->next != NULL)
        c->next->prev = c;
    *list = c;
}

static void set_state(struct connection *c, enum connection_state state)
{
    list_remove(c);
    c->state = state;
    list_add(c);
}

/* Arms only what changes: libuv turns each change into an epoll_ctl. */
static void arm(struct connection *c, int events)
{
    if (c->polled == events)
        return;
    c->polled = events;
    int error = uv_poll_start(&c->poll, events, on_poll);
    assert(error == 0);
}

/* --- closing ---------------------------------------------------------------------------------- */

static void maybe_stopped(struct fastcgi *f)
{
    if (f->stopping && f->count == 0)
        f->events.on_stopped(f->events.service);
}

static void resume_accepting(struct fastcgi *f)
{
    if (!f->paused || f->stopping)
        return;
    f->paused = false;
    int error = uv_poll_start(&f->listener, UV_READABLE, on_listener);
    assert(error == 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = CONTAINER_OF(handle, struct connection, poll);
    struct fastcgi *f = c->fastcgi;
    free(c);
    f->count--;
    if (!uv_is_active((uv_handle_t *)&f->accept_pause))
        resume_accepting(f);
    maybe_stopped(f);
}

static void close_connection(struct connection *c)
{
    assert(c->state != CONNECTION_CLOSED);
    FCGX_Free(&c->request, 0);
    list_remove(c);
    c->state = CONNECTION_CLOSED;
    c->fastcgi->events.on_close(c->exchange);
    c->exchange = NULL;
    uv_close((uv_handle_t *)&c->poll, on_closed);
    free(c->part);
    if (c->fd >= 0)
        close(c->fd);
}

/* The peer of a request that is being served has gone. */
static void hang_up(struct connection *c)
{
    c->fastcgi->events.on_hangup(c->exchange);
    close_connection(c);
}

/* --- waiting for the peer --------------------------------------------------------------------- */

static void rearm_waiting_timer(struct fastcgi *f);

static void drain(struct connection *c)
{
    ssize_t got = recv(c->fd, c->fastcgi->in, sizeof(c->fastcgi->in), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        close_connection(c);
}

static void wait_for_peer(struct connection *c, enum connection_state state, uint64_t ms)
{
    set_state(c, state);
    c->give_up_ms = uv_now(c->fastcgi->loop) + ms;
    rearm_waiting_timer(c->fastcgi);
}

static void give_up(struct connection *c)
{
    if (c->state == CONNECTION_STALLED) {
        note("peer-stalled", "fd=%d ms=%u", c->fd, STALL_MS);
        hang_up(c);
        return;
    }
    if (c->state == CONNECTION_GATHERING)
        note("request-incomplete", "fd=%d ms=%u", c->fd, GATHER_MS);
    close_connection(c);
}

static void on_waiting_timer(uv_timer_t *timer)
{
    struct fastcgi *f = CONTAINER_OF(timer, struct fastcgi, waiting_timer);
    uint64_t now = uv_now(f->loop);
    for (struct connection *c = f->waiting, *next; c != NULL; c = next) {
        next = c->next;
        if (now >= c->give_up_ms)
            give_up(c);
    }
    rearm_waiting_timer(f);
}

static void rearm_waiting_timer(struct fastcgi *f)
{
    if (f->waiting == NULL) {
        uv_timer_stop(&f->waiting_timer);
        return;
    }
    uint64_t now = uv_now(f->loop), due = UINT64_MAX;
    for (const struct connection *c = f->waiting; c != NULL; c = c->next)
        due = c->give_up_ms < due ? c->give_up_ms : due;
    uv_timer_start(&f->waiting_timer, on_waiting_timer, due > now ? due - now : 0, 0);
}

/* --- requests --------------------------------------------------------------------------------- */

static void serve(struct connection *c, struct bytes request, bool too_big)
{
    /* Set on purpose, against the header's advice: FCGX_Accept_r then reads from this descriptor
     * instead of accepting one, and does not close it before it has seen the request. */
    c->request.ipcFd = c->fd;
    c->request.keepConnection = 1;
    if (c->state != CONNECTION_SERVING)
        set_state(c, CONNECTION_SERVING);
    unread = reader_of(request);
    if (FCGX_Accept_r(&c->request) != 0) {
        note("request-refused", "fd=%d text=\"libfcgi could not read it\"", c->fd);
        c->fd = -1; /* libfcgi has closed it */
        close_connection(c);
        return;
    }
    c->too_big = too_big;
    c->fastcgi->events.on_request(c->exchange);
    unread = reader_of(bytes_of(NULL, 0));
}

/* Part of a request is there, more must come. */
static void gather(struct connection *c, struct bytes part)
{
    uint8_t *kept = realloc(c->part, part.len);
    if (kept == NULL) {
        note("request-refused", "fd=%d text=\"no memory\"", c->fd);
        close_connection(c);
        return;
    }
    memcpy(kept + c->part_len, part.at + c->part_len, part.len - c->part_len);
    c->part = kept;
    c->part_len = part.len;
    if (c->state != CONNECTION_GATHERING)
        wait_for_peer(c, CONNECTION_GATHERING, GATHER_MS);
}

static void judge(struct connection *c, struct bytes bytes)
{
    enum fcgi_request_state found = fcgi_request_state(bytes);
    if (found == FCGI_REQUEST_PARTIAL && bytes.len == sizeof(c->fastcgi->in))
        found = FCGI_REQUEST_BROKEN;
    if (found == FCGI_REQUEST_PARTIAL) {
        gather(c, bytes);
        return;
    }
    free(c->part);
    c->part = NULL;
    c->part_len = 0;
    if (found == FCGI_REQUEST_BROKEN) {
        note("request-broken", "fd=%d bytes=%zu", c->fd, bytes.len);
        close_connection(c);
        return;
    }
    serve(c, bytes, found == FCGI_REQUEST_TOO_BIG);
}

/* An idle or gathering connection has bytes, or its end. */
static void receive(struct connection *c)
{
    struct fastcgi *f = c->fastcgi;
    ssize_t got = recv(c->fd, f->in + c->part_len, sizeof(f->in) - c->part_len, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close_connection(c);
        return;
    }
    if (c->part_len > 0)
        memcpy(f->in, c->part, c->part_len);
    judge(c, bytes_of(f->in, c->part_len + (size_t)got));
}

/* A served connection is readable: nothing may come but its end. */
static bool peer_is_there(const struct connection *c)
{
    uint8_t byte;
    ssize_t got = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *c = CONTAINER_OF(poll, struct connection, poll);
    bool gone = status < 0 || (events & UV_DISCONNECT) != 0;
    switch (c->state) {
    case CONNECTION_IDLE:
    case CONNECTION_GATHERING:
        /* A request whose sender has hung up already is not begun. */
        if (gone)
            close_connection(c);
        else
            receive(c);
        return;
    case CONNECTION_SERVING:
    case CONNECTION_STALLED:
        if (gone || ((events & UV_READABLE) != 0 && !peer_is_there(c))) {
            hang_up(c);
        } else if ((events & UV_WRITABLE) != 0 && c->state == CONNECTION_STALLED) {
            set_state(c, CONNECTION_SERVING);
            c->fastcgi->events.on_room(c->exchange);
        } else if ((events & UV_WRITABLE) != 0) {
            arm(c, UV_READABLE | UV_DISCONNECT); /* nothing to write for now */
        }
        return;
    case CONNECTION_DRAINING:
        if (status < 0)
            close_connection(c);
        else
            drain(c);
        return;
    case CONNECTION_CLOSED:
        break;
    }
    UNREACHABLE();
}

/* --- accepting -------------------------------------------------------------------------------- */

static void pause_accepting(struct fastcgi *f)
{
    f->paused = true;
    uv_poll_stop(&f->listener);
}

static void on_accept_pause(uv_timer_t *timer)
{
    resume_accepting(CONTAINER_OF(timer, struct fastcgi, accept_pause));
}

static void open_connection(struct fastcgi *f, int fd)
{
    struct connection *c = calloc(1, sizeof(*c));
    if (c == NULL || uv_poll_init(f->loop, &c->poll, fd) != 0) {
        note("connection-refused", "text=\"no memory\"");
        free(c);
        close(fd);
        return;
    }
    /* So that a full write fits into what POLLOUT promises, whatever the system's default. */
    int buffer_bytes = 192 << 10;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
    c->fastcgi = f;
    c->fd = fd;
    c->state = CONNECTION_IDLE;
    int error = FCGX_InitRequest(&c->request, -1, 0);
    assert(error == 0);
    list_add(c);
    f->count++;
    c->exchange = f->events.on_open(f->events.service, c);
    if (c->exchange == NULL) {
        note("connection-refused", "text=\"no memory\"");
        close_connection(c);
        return;
    }
    arm(c, UV_READABLE | UV_DISCONNECT);
    /* Not received from yet, though it may all be there: the loop also tells who has hung up. */
}

/* The errors of accept(2) that say nothing about the listening socket itself. */
static bool is_passing(int error)
{
    return error == ECONNABORTED || error == EINTR || error == EPROTO;
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct fastcgi *f = CONTAINER_OF(poll, struct fastcgi, listener);
    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (f->count >= FASTCGI_CONNECTIONS_MAX) {
            note("connections-full", "count=%u", f->count);
            pause_accepting(f);
            return;
        }
        int fd = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            open_connection(f, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (!is_passing(errno)) {
            /* EMFILE, ENFILE, ENOBUFS, ENOMEM: those that are open must go on and will close. */
            note("accept-failed", "count=%u text=\"%s\"", f->count, strerror(errno));
            pause_accepting(f);
            uv_timer_start(&f->accept_pause, on_accept_pause, ACCEPT_PAUSE_MS, 0);
            return;
        }
    }
}

bool fastcgi_is_listening(int fd)
{
    int listening = 0;
    socklen_t size = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int fastcgi_open(uv_loop_t *loop, int listen_fd, const struct fastcgi_events *events,
                 struct fastcgi **ret_fastcgi)
{
    if (!fastcgi_is_listening(listen_fd))
        return -EINVAL;
    int error = set_nonblocking(listen_fd);
    if (error != 0)
        return error;
    /* Should libfcgi close a descriptor after all, it must not wait for the peer to do so first. */
    if (setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "0", 1) != 0 || FCGX_Init() != 0)
        return -ENOMEM;
    struct fastcgi *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return -ENOMEM;
    f->loop = loop;
    f->events = *events;
    f->listen_fd = listen_fd;
    error = uv_poll_init(loop, &f->listener, listen_fd);
    if (error != 0) {
        free(f);
        return error;
    }
    error = uv_timer_init(loop, &f->accept_pause) | uv_timer_init(loop, &f->waiting_timer) |
            uv_timer_init(loop, &f->stop_grace);
    assert(error == 0);
    f->paused = true;
    resume_accepting(f);
    *ret_fastcgi = f;
    return 0;
}

/* --- stopping --------------------------------------------------------------------------------- */

static void on_stop_grace(uv_timer_t *timer)
{
    struct fastcgi *f = CONTAINER_OF(timer, struct fastcgi, stop_grace);
    for (struct connection *c = f->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state == CONNECTION_IDLE)
            close_connection(c);
    }
}

void fastcgi_stop(struct fastcgi *f)
{
    if (f->stopping)
        return;
    f->stopping = true;
    uv_timer_stop(&f->accept_pause);
    uv_close((uv_handle_t *)&f->listener, NULL);
    uv_timer_start(&f->stop_grace, on_stop_grace, STOP_GRACE_MS, 0);
    maybe_stopped(f);
}

/* --- for the request that is being served ----------------------------------------------------- */

char **connection_environment(const struct connection *c)
{
    return c->request.envp;
}

int connection_body(struct connection *c, uint8_t *at, size_t capacity, size_t *ret_len)
{
    if (c->too_big)
        return -EMSGSIZE;
    int got = FCGX_GetStr((char *)at, (int)capacity, c->request.in);
    /* Reading to the end of the stream leaves nothing of this request in the socket. */
    char beyond[512];
    bool more = false;
    while (FCGX_GetStr(beyond, sizeof(beyond), c->request.in) > 0)
        more = true;
    if (more)
        return -EMSGSIZE;
    *ret_len = (size_t)got;
    return 0;
}

bool connection_write(struct connection *c, struct bytes bytes)
{
    assert(c->state == CONNECTION_SERVING && bytes.len <= FASTCGI_WRITE_BYTES_MAX);
    int len = (int)bytes.len;
    return FCGX_PutStr((const char *)bytes.at, len, c->request.out) == len;
}

bool connection_has_room(const struct connection *c)
{
    /* For unix sockets POLLOUT means that at most a quarter of the send buffer is in use. */
    struct pollfd poll_fd = {.fd = c->fd, .events = POLLOUT};
    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLOUT) != 0;
}

void connection_await_room(struct connection *c)
{
    assert(c->state == CONNECTION_SERVING);
    wait_for_peer(c, CONNECTION_STALLED, STALL_MS);
    arm(c, UV_READABLE | UV_DISCONNECT | UV_WRITABLE);
}

void connection_finish(struct connection *c)
{
    assert(c->state == CONNECTION_SERVING);
    bool wanted = c->request.keepConnection != 0;
    bool sent = FCGX_FClose(c->request.err) == 0;
    sent = FCGX_FClose(c->request.out) == 0 && sent;
    FCGX_Free(&c->request, 0);
    if (c->too_big && sent) {
        (void)shutdown(c->fd, SHUT_WR);
        arm(c, UV_READABLE);
        wait_for_peer(c, CONNECTION_DRAINING, DRAIN_MS);
    } else if (wanted && sent && !c->fastcgi->stopping) {
        arm(c, UV_READABLE | UV_DISCONNECT);
        set_state(c, CONNECTION_IDLE);
    } else {
        close_connection(c);
    }
}

void connection_abort(struct connection *c)
{
    assert(c->state == CONNECTION_SERVING);
    close_connection(c);
}
