#include "app/node_link.h"

#include "app/note.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_MS_MIN 10u
#define RETRY_MS_MAX 250u
/* How long a node that let us connect may take to say WELCOME. */
#define WELCOME_MS 1000u
/* A few LIST chunks and whatever else comes with them; a longer frame is none of ours. */
#define IN_BYTES          ((size_t)4 * CALL_FRAME_BYTES_MAX(CALL_CHUNK_BYTES_MAX))
#define OUT_BYTES         (256u << 10)
#define OUT_RESERVE_BYTES (64u << 10)

enum link_state { LINK_DOWN, LINK_GREETED, LINK_UP };

/* A connection; its memory outlives it until libuv lets go. */
struct wire {
    uv_poll_t poll;
    int fd;
};

struct node_link {
    uv_loop_t *loop;
    const char *path;
    struct node_link_events events;
    enum link_state state;
    struct wire *wire; /* unless LINK_DOWN */
    uint64_t session;
    uint64_t node;
    uint64_t applied; /* as it said when it was connected to */
    uint64_t retry_ms;
    bool away_noted;  /* one note each time that it goes */
    bool full;        /* the kernel takes no more for now */
    uv_timer_t timer; /* DOWN: the next attempt; GREETED: the end of waiting for WELCOME */
    size_t in_len, out_len;
    uint8_t in[IN_BYTES];
    uint8_t out[OUT_BYTES];
};

static void on_timer(uv_timer_t *timer);
static void on_poll(uv_poll_t *poll, int status, int events);

bool node_link_is_up(const struct node_link *link)
{
    return link->state == LINK_UP;
}

uint64_t node_link_session(const struct node_link *link)
{
    return link->session;
}

uint64_t node_link_applied(const struct node_link *link)
{
    return link->applied;
}

uint64_t node_link_node(const struct node_link *link)
{
    return link->node;
}

/* --- losing it -------------------------------------------------------------------------------- */

static void on_wire_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct wire, poll));
}

static void close_wire(struct node_link *link)
{
    if (link->wire == NULL)
        return;
    uv_close((uv_handle_t *)&link->wire->poll, on_wire_closed);
    close(link->wire->fd);
    link->wire = NULL;
    link->in_len = link->out_len = 0;
    link->full = false;
}

void node_link_drop(struct node_link *link, const char *why)
{
    bool was_up = link->state == LINK_UP;
    close_wire(link);
    link->state = LINK_DOWN;
    if (!link->away_noted) {
        note("node-away", "path=%s text=\"%s\"", link->path, why);
        link->away_noted = true;
    }
    uv_timer_start(&link->timer, on_timer, link->retry_ms, 0);
    link->retry_ms = 2 * link->retry_ms < RETRY_MS_MAX ? 2 * link->retry_ms : RETRY_MS_MAX;
    if (was_up)
        link->events.on_down(link->events.client);
}

/* --- sending ---------------------------------------------------------------------------------- */

bool node_link_takes(const struct node_link *link)
{
    return link->state == LINK_UP && !link->full;
}

bool node_link_put(struct node_link *link, const struct call *call, bool urgent)
{
    size_t keep_free = urgent ? 0 : OUT_RESERVE_BYTES;
    struct writer out = writer_of(link->out + link->out_len, OUT_BYTES - link->out_len);
    if (writer_room(&out) < keep_free)
        return false;
    call_put(&out, call);
    if (out.bad || writer_room(&out) < keep_free)
        return false;
    link->out_len += writer_len(&out);
    return true;
}

void node_link_flush(struct node_link *link)
{
    if (link->out_len == 0 || link->wire == NULL)
        return;
    ssize_t sent = send(link->wire->fd, link->out, link->out_len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        node_link_drop(link, strerror(errno));
        return;
    }
    if (sent > 0) {
        link->out_len -= (size_t)sent;
        memmove(link->out, link->out + sent, link->out_len);
    }
    bool full = link->out_len > 0;
    if (full != link->full) {
        link->full = full;
        int events = full ? UV_READABLE | UV_WRITABLE : UV_READABLE;
        int error = uv_poll_start(&link->wire->poll, events, on_poll);
        assert(error == 0);
    }
}

/* --- receiving -------------------------------------------------------------------------------- */

static void on_welcome(struct node_link *link, const struct call_welcome *welcome)
{
    if (link->state != LINK_GREETED || welcome->version != CALL_VERSION) {
        node_link_drop(link, "it speaks another version");
        return;
    }
    link->state = LINK_UP;
    link->node = welcome->node;
    link->applied = welcome->applied;
    link->retry_ms = RETRY_MS_MIN;
    link->away_noted = false;
    uv_timer_stop(&link->timer);
    note("node-up", "path=%s node=%" PRIu64, link->path, link->node);
    link->events.on_up(link->events.client);
}

/* One frame that is there in full. */
static void take_frame(struct node_link *link, struct frame frame)
{
    struct call call;
    if (call_decode(frame, &call) != 0)
        node_link_drop(link, "it sent what is no answer");
    else if (call.kind == CALL_WELCOME)
        on_welcome(link, &call.welcome);
    else if (link->state != LINK_UP)
        node_link_drop(link, "it does not greet");
    else
        link->events.on_call(link->events.client, &call);
}

/* Up to the first that is not all there, or to where the connection is dropped. */
static void take_frames(struct node_link *link)
{
    const struct wire *wire = link->wire;
    size_t at = 0;
    for (;;) {
        struct frame frame;
        int64_t len = frame_decode(bytes_of(link->in + at, link->in_len - at), &frame);
        if (len == 0)
            break;
        if (len < 0) {
            node_link_drop(link, "it sent what is no frame");
            return;
        }
        at += (size_t)len;
        take_frame(link, frame);
        if (link->wire != wire)
            return;
    }
    link->in_len -= at;
    memmove(link->in, link->in + at, link->in_len);
    if (link->in_len == IN_BYTES)
        node_link_drop(link, "it sent too long a frame");
}

static void receive(struct node_link *link)
{
    ssize_t got = recv(link->wire->fd, link->in + link->in_len, IN_BYTES - link->in_len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        node_link_drop(link, got == 0 ? "it closed the connection" : strerror(errno));
        return;
    }
    link->in_len += (size_t)got;
    take_frames(link);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct node_link *link = poll->data;
    assert(link->wire != NULL && &link->wire->poll == poll);
    if (status < 0) {
        node_link_drop(link, uv_strerror(status));
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        node_link_flush(link);
    if ((events & UV_READABLE) != 0 && link->wire != NULL)
        receive(link);
}

/* --- connecting ------------------------------------------------------------------------------- */

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno; /* EAGAIN too: its backlog is full */
        close(fd);
        return -error;
    }
    return fd;
}

static int open_wire(struct node_link *link)
{
    int fd = connect_to(link->path);
    if (fd < 0)
        return fd;
    struct wire *wire = calloc(1, sizeof(*wire));
    int error = wire != NULL ? uv_poll_init(link->loop, &wire->poll, fd) : -ENOMEM;
    if (error != 0) {
        free(wire);
        close(fd);
        return error;
    }
    wire->fd = fd;
    wire->poll.data = link;
    link->wire = wire;
    error = uv_poll_start(&wire->poll, UV_READABLE, on_poll);
    assert(error == 0);
    return 0;
}

static void try_connect(struct node_link *link)
{
    int error = open_wire(link);
    if (error != 0) {
        node_link_drop(link, strerror(-error));
        return;
    }
    link->state = LINK_GREETED;
    link->session++;
    struct call hello = {.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}};
    bool fits = node_link_put(link, &hello, true);
    assert(fits); /* into an empty buffer */
    uv_timer_start(&link->timer, on_timer, WELCOME_MS, 0);
    node_link_flush(link);
}

static void on_timer(uv_timer_t *timer)
{
    struct node_link *link = CONTAINER_OF(timer, struct node_link, timer);
    if (link->state == LINK_GREETED)
        node_link_drop(link, "it does not greet");
    else
        try_connect(link);
}

int node_link_open(uv_loop_t *loop, const char *path, const struct node_link_events *events,
                   struct node_link **ret_link)
{
    struct node_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return -ENOMEM;
    link->loop = loop;
    link->path = path;
    link->events = *events;
    link->retry_ms = RETRY_MS_MIN;
    int error = uv_timer_init(loop, &link->timer);
    assert(error == 0); /* it only fills the structure in */
    try_connect(link);
    *ret_link = link;
    return 0;
}
