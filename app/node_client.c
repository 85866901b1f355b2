#include "app/node_client.h"

#include "app/note.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_MS_MIN 10u
#define RETRY_MS_MAX 250u
/* How long a node that let us connect may take to say WELCOME. */
#define WELCOME_MS 1000u
/* One LIST chunk and whatever else comes with it; a frame that does not fit is none of ours. */
#define IN_BYTES  (4 * CALL_FRAME_BYTES_MAX(CALL_CHUNK_BYTES_MAX))
#define OUT_BYTES (256u << 10)
/* Kept free of calls, for DROPs, which are short and must not wait. */
#define OUT_RESERVE_BYTES (64u << 10)
/* Hang-ups looked for in one poll(). */
#define WATCHED_MAX 256u

enum link_state {
    LINK_DOWN,    /* the retry timer runs */
    LINK_GREETED, /* connected, HELLO is on its way */
    LINK_UP,      /* WELCOME came */
};

/* A connection; its memory outlives it until libuv lets go. */
struct link {
    uv_poll_t poll;
    int fd;
};

struct node_client {
    uv_loop_t *loop;
    const char *path;
    uint64_t deadline_ms;
    enum link_state state;
    struct link *link; /* unless LINK_DOWN */
    uint64_t session;  /* counts connections */
    uint64_t node;
    uint64_t away_since_ms; /* while not LINK_UP */
    uint64_t retry_ms;
    bool away_noted;        /* one note a time away */
    bool out_waits;         /* the kernel takes no more for now */
    uv_timer_t retry_timer; /* next attempt, or the end of waiting for WELCOME */
    uv_timer_t grace_timer;
    uv_timer_t deadline_timer;
    uv_prepare_t before_wait;
    uv_check_t after_wait;
    unsigned handles; /* closed one by one at the end */

    struct node_call *first, *last; /* open, by deadline */
    struct node_call *queue_first, **queue_end;
    unsigned open, generation;
    struct node_call *slots[NODE_CALLS_MAX];
    uint16_t free_slots[NODE_CALLS_MAX];

    size_t in_len, out_len;
    uint8_t in[IN_BYTES];
    uint8_t out[OUT_BYTES];
};

_Static_assert(NODE_CALLS_MAX <= UINT16_MAX + 1u, "a slot is 16 bits of a call's number");

static void disconnect(struct node_client *client, const char *why);
static void on_link(uv_poll_t *poll, int status, int events);
static void on_deadline(uv_timer_t *timer);

/* --- the two lists of calls ------------------------------------------------------------------- */

static void open_append(struct node_client *client, struct node_call *call)
{
    call->deadline_ms = uv_now(client->loop) + client->deadline_ms;
    call->prev = client->last;
    call->next = NULL;
    if (client->last != NULL)
        client->last->next = call;
    else
        client->first = call;
    client->last = call;
    if (!uv_is_active((uv_handle_t *)&client->deadline_timer))
        uv_timer_start(&client->deadline_timer, on_deadline, client->deadline_ms, 0);
}

/* In front of all others: its deadline is now. */
static void open_prepend(struct node_client *client, struct node_call *call)
{
    call->deadline_ms = uv_now(client->loop);
    call->prev = NULL;
    call->next = client->first;
    if (call->next != NULL)
        call->next->prev = call;
    else
        client->last = call;
    client->first = call;
}

static void open_remove(struct node_client *client, struct node_call *call)
{
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        client->first = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    else
        client->last = call->prev;
}

static void enqueue(struct node_client *client, struct node_call *call)
{
    call->state = NODE_CALL_QUEUED;
    call->queue_next = NULL;
    *client->queue_end = call;
    client->queue_end = &call->queue_next;
}

static struct node_call *dequeue(struct node_client *client)
{
    struct node_call *call = client->queue_first;
    client->queue_first = call->queue_next;
    if (client->queue_first == NULL)
        client->queue_end = &client->queue_first;
    return call;
}

/* Rare: a call that is given up before it was sent. */
static void unqueue(struct node_client *client, struct node_call *call)
{
    struct node_call **at = &client->queue_first;
    while (*at != call)
        at = &(*at)->queue_next;
    *at = call->queue_next;
    if (client->queue_end == &call->queue_next)
        client->queue_end = at;
}

/* Takes the call out of everything; its owner may use it anew. */
static void close_call(struct node_client *client, struct node_call *call)
{
    assert(call->state != NODE_CALL_CLOSED && client->open > 0);
    if (call->state == NODE_CALL_QUEUED)
        unqueue(client, call);
    if (call->state != NODE_CALL_PAUSED)
        open_remove(client, call);
    call->state = NODE_CALL_CLOSED;
    uint16_t slot = (uint16_t)call->number;
    client->slots[slot] = NULL;
    client->open--;
    client->free_slots[client->open] = slot;
}

static void end_call(struct node_client *client, struct node_call *call, struct node_answer answer)
{
    close_call(client, call);
    call->on_answer(call, &answer);
}

static void refuse(struct node_client *client, struct node_call *call, const char *why)
{
    end_call(client, call, (struct node_answer){.kind = NODE_REFUSED, .refused = why});
}

/* Without an answer to hope for: what is known about its outcome? */
static void give_up(struct node_client *client, struct node_call *call, const char *why)
{
    if (call->ask.kind == CALL_WRITE && call->sent_once)
        end_call(client, call, (struct node_answer){.kind = NODE_UNKNOWN});
    else
        refuse(client, call, why);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void set_number(struct call *ask, uint64_t number)
{
    /* Every kind begins with its number, but C has no way to say so. */
    if (ask->kind == CALL_WRITE)
        ask->write.call = number;
    else if (ask->kind == CALL_LIST)
        ask->list.call = number;
    else
        ask->status.call = number;
}

static bool put_frame(struct node_client *client, const struct call *frame, size_t keep_free)
{
    struct writer out = writer_of(client->out + client->out_len, OUT_BYTES - client->out_len);
    if (writer_room(&out) < keep_free)
        return false;
    call_put(&out, frame);
    if (out.bad || writer_room(&out) < keep_free)
        return false;
    client->out_len += writer_len(&out);
    return true;
}

static bool put_call(struct node_client *client, struct node_call *call)
{
    struct call more = {.kind = CALL_MORE, .more = {.call = call->number}};
    if (!put_frame(client, call->in_stream ? &more : &call->ask, OUT_RESERVE_BYTES))
        return false;
    call->state = NODE_CALL_SENT;
    call->sent_once = true;
    call->session = client->session;
    return true;
}

static void put_drop(struct node_client *client, const struct node_call *call)
{
    struct call drop = {.kind = CALL_DROP, .drop = {.call = call->number}};
    if (client->state == LINK_UP && call->session == client->session &&
        !put_frame(client, &drop, 0))
        disconnect(client, "too many drops are waiting");
}

/* Ends the writes in the queue whose clients have given up: one poll() for up to WATCHED_MAX. */
static void end_hung_up(struct node_client *client)
{
    struct pollfd fds[WATCHED_MAX];
    struct node_call *calls[WATCHED_MAX];
    unsigned count = 0;
    for (struct node_call *call = client->queue_first; call != NULL && count < WATCHED_MAX;
         call = call->queue_next) {
        if (call->ask.kind != CALL_WRITE || call->sent_once || call->watch_fd < 0)
            continue;
        fds[count] = (struct pollfd){.fd = call->watch_fd, .events = POLLRDHUP};
        calls[count++] = call;
    }
    if (count == 0 || poll(fds, count, 0) <= 0)
        return;
    for (unsigned i = 0; i < count; i++)
        if (fds[i].revents != 0)
            end_call(client, calls[i], (struct node_answer){.kind = NODE_HUNG_UP});
}

static void write_out(struct node_client *client)
{
    ssize_t sent = send(client->link->fd, client->out, client->out_len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        disconnect(client, strerror(errno));
        return;
    }
    if (sent > 0) {
        client->out_len -= (size_t)sent;
        memmove(client->out, client->out + sent, client->out_len);
    }
    bool waits = client->out_len > 0;
    if (waits != client->out_waits) {
        client->out_waits = waits;
        int events = waits ? UV_READABLE | UV_WRITABLE : UV_READABLE;
        int error = uv_poll_start(&client->link->poll, events, on_link);
        assert(error == 0);
    }
}

/* The turn's calls, in one write. */
static void flush(struct node_client *client)
{
    if (client->state != LINK_UP || client->out_waits)
        return;
    while (client->state == LINK_UP && (client->queue_first != NULL || client->out_len > 0)) {
        end_hung_up(client);
        for (unsigned i = 0; client->queue_first != NULL && i < WATCHED_MAX; i++) {
            struct node_call *call = client->queue_first;
            if (!put_call(client, call))
                break;
            dequeue(client);
        }
        if (client->out_len == 0)
            return;
        write_out(client);
        if (client->out_waits)
            return;
    }
}

static void on_before_wait(uv_prepare_t *prepare)
{
    flush(CONTAINER_OF(prepare, struct node_client, before_wait));
}

static void on_after_wait(uv_check_t *check)
{
    flush(CONTAINER_OF(check, struct node_client, after_wait));
}

/* --- receiving -------------------------------------------------------------------------------- */

/* The open call that an answer is for; NULL when it has been given up meanwhile. */
static struct node_call *find_call(struct node_client *client, uint64_t number)
{
    uint16_t slot = (uint16_t)number;
    struct node_call *call = slot < NODE_CALLS_MAX ? client->slots[slot] : NULL;
    return call != NULL && call->number == number && call->state == NODE_CALL_SENT ? call : NULL;
}

static void on_users(struct node_client *client, const struct call_users *users)
{
    struct node_call *call = find_call(client, users->call);
    if (call == NULL)
        return; /* cancelled: its DROP is on the way */
    if (call->ask.kind != CALL_LIST) {
        disconnect(client, "it answered with users what was no list");
        return;
    }
    struct node_answer answer = {.kind = NODE_USERS, .users = users};
    if (users->last != 0) {
        end_call(client, call, answer);
        return;
    }
    open_remove(client, call);
    call->state = NODE_CALL_PAUSED;
    call->in_stream = true;
    call->on_answer(call, &answer);
}

/* An answer that ends its call, if the call is open and of the kind that is so answered. */
static void on_end(struct node_client *client, uint64_t number, enum call_kind asked,
                   struct node_answer answer)
{
    struct node_call *call = find_call(client, number);
    if (call == NULL)
        return;
    if (call->ask.kind != asked)
        disconnect(client, "its answer does not fit what was asked");
    else
        end_call(client, call, answer);
}

static void on_refused(struct node_client *client, const struct call_refused *refused)
{
    struct node_call *call = find_call(client, refused->call);
    const char *why = call_reason_text(refused->reason);
    if (call != NULL)
        refuse(client, call, why != NULL ? why : "the node gave a reason that is not known here");
}

static void on_welcome(struct node_client *client, const struct call_welcome *welcome)
{
    if (client->state != LINK_GREETED || welcome->version != CALL_VERSION) {
        disconnect(client, "it speaks another version");
        return;
    }
    client->state = LINK_UP;
    client->node = welcome->node;
    client->retry_ms = RETRY_MS_MIN;
    client->away_noted = false;
    uv_timer_stop(&client->retry_timer);
    uv_timer_stop(&client->grace_timer);
    note("node-up", "path=%s node=%" PRIu64 " waiting=%u", client->path, client->node,
         client->open);
}

static void on_call(struct node_client *client, const struct call *call)
{
    struct node_answer answer;
    switch (call->kind) {
    case CALL_WELCOME:
        on_welcome(client, &call->welcome);
        return;
    case CALL_WRITTEN:
        answer = (struct node_answer){.kind = NODE_WRITTEN, .written = &call->written};
        on_end(client, call->written.call, CALL_WRITE, answer);
        return;
    case CALL_REFUSED:
        on_refused(client, &call->refused);
        return;
    case CALL_UNKNOWN:
        on_end(client, call->unknown.call, CALL_WRITE, (struct node_answer){.kind = NODE_UNKNOWN});
        return;
    case CALL_USERS:
        on_users(client, &call->users);
        return;
    case CALL_STATUS_IS:
        answer = (struct node_answer){.kind = NODE_STATUS, .status = &call->status_is};
        on_end(client, call->status_is.call, CALL_STATUS, answer);
        return;
    case CALL_HELLO:
    case CALL_WRITE:
    case CALL_LIST:
    case CALL_MORE:
    case CALL_DROP:
    case CALL_STATUS:
        disconnect(client, "it sent what only workers send");
        return;
    }
    UNREACHABLE();
}

/* The frames that are there in full. Stops where the connection is dropped. */
static void take_frames(struct node_client *client)
{
    uint64_t session = client->session;
    size_t at = 0;
    while (client->session == session && client->state != LINK_DOWN) {
        struct frame frame;
        struct call call;
        int64_t len = frame_decode(bytes_of(client->in + at, client->in_len - at), &frame);
        if (len == 0)
            break;
        if (len < 0 || call_decode(frame, &call) != 0 ||
            (client->state == LINK_GREETED && call.kind != CALL_WELCOME)) {
            disconnect(client, "it sent what is no answer");
            return;
        }
        at += (size_t)len;
        on_call(client, &call);
    }
    if (client->session != session || client->state == LINK_DOWN)
        return;
    client->in_len -= at;
    memmove(client->in, client->in + at, client->in_len);
    if (client->in_len == IN_BYTES)
        disconnect(client, "it sent too long a frame");
}

static void receive(struct node_client *client)
{
    ssize_t got = recv(client->link->fd, client->in + client->in_len, IN_BYTES - client->in_len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        disconnect(client, got == 0 ? "it closed the connection" : strerror(errno));
        return;
    }
    client->in_len += (size_t)got;
    take_frames(client);
}

static void on_link(uv_poll_t *poll, int status, int events)
{
    struct node_client *client = poll->data;
    assert(client->link != NULL && &client->link->poll == poll);
    if (status < 0) {
        disconnect(client, uv_strerror(status));
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        write_out(client); /* the rest of the queue follows at the turn's end */
    if ((events & UV_READABLE) != 0 && client->link != NULL && &client->link->poll == poll)
        receive(client);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer);

static void on_link_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct link, poll));
}

static void drop_link(struct node_client *client)
{
    if (client->link == NULL)
        return;
    uv_close((uv_handle_t *)&client->link->poll, on_link_closed);
    close(client->link->fd);
    client->link = NULL;
    client->in_len = client->out_len = 0;
    client->out_waits = false;
}

static void retry_later(struct node_client *client)
{
    uv_timer_start(&client->retry_timer, on_retry, client->retry_ms, 0);
    client->retry_ms *= 2;
    if (client->retry_ms > RETRY_MS_MAX)
        client->retry_ms = RETRY_MS_MAX;
}

/* After the grace nobody new waits; only writes whose outcome is open go on hoping. */
static void on_grace(uv_timer_t *timer)
{
    struct node_client *client = CONTAINER_OF(timer, struct node_client, grace_timer);
    for (struct node_call *call = client->first, *next; call != NULL; call = next) {
        next = call->next;
        if (call->ask.kind != CALL_WRITE || !call->sent_once)
            refuse(client, call, "the node cannot be reached");
    }
}

/* What was sent and not answered is sent again, except lists already begun: their state is gone. */
static void requeue_sent(struct node_client *client)
{
    client->queue_first = NULL;
    client->queue_end = &client->queue_first;
    struct node_call *broken = NULL;
    for (struct node_call *call = client->first, *next; call != NULL; call = next) {
        next = call->next;
        if (call->in_stream) {
            call->state = NODE_CALL_SENT; /* in no queue */
            call->queue_next = broken;
            broken = call;
        } else {
            enqueue(client, call);
        }
    }
    while (broken != NULL) {
        struct node_call *call = broken;
        broken = call->queue_next;
        refuse(client, call, "the connection to the node was lost");
    }
}

static void disconnect(struct node_client *client, const char *why)
{
    bool was_up = client->state == LINK_UP;
    drop_link(client);
    client->state = LINK_DOWN;
    if (was_up) {
        client->away_since_ms = uv_now(client->loop);
        uv_timer_start(&client->grace_timer, on_grace, NODE_GRACE_MS, 0);
    }
    if (!client->away_noted) {
        note("node-away", "path=%s waiting=%u text=\"%s\"", client->path, client->open, why);
        client->away_noted = true;
    }
    retry_later(client);
    if (was_up)
        requeue_sent(client);
}

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

static int connect_link(struct node_client *client)
{
    int fd = connect_to(client->path);
    if (fd < 0)
        return fd;
    struct link *link = calloc(1, sizeof(*link));
    int error = link != NULL ? uv_poll_init(client->loop, &link->poll, fd) : -ENOMEM;
    if (error != 0) {
        free(link);
        close(fd);
        return error;
    }
    link->fd = fd;
    link->poll.data = client;
    client->link = link;
    error = uv_poll_start(&link->poll, UV_READABLE, on_link);
    assert(error == 0);
    return 0;
}

static void try_connect(struct node_client *client)
{
    int error = connect_link(client);
    if (error != 0) {
        disconnect(client, strerror(-error));
        return;
    }
    client->state = LINK_GREETED;
    client->session++;
    struct call hello = {.kind = CALL_HELLO, .hello = {.version = CALL_VERSION}};
    bool fits = put_frame(client, &hello, 0);
    assert(fits);
    uv_timer_start(&client->retry_timer, on_retry, WELCOME_MS, 0);
    write_out(client);
}

static void on_retry(uv_timer_t *timer)
{
    struct node_client *client = CONTAINER_OF(timer, struct node_client, retry_timer);
    if (client->state == LINK_GREETED)
        disconnect(client, "it does not greet");
    else
        try_connect(client);
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer)
{
    struct node_client *client = CONTAINER_OF(timer, struct node_client, deadline_timer);
    uint64_t now = uv_now(client->loop);
    while (client->first != NULL && client->first->deadline_ms <= now) {
        struct node_call *call = client->first;
        if (call->state == NODE_CALL_SENT && call->ask.kind == CALL_LIST)
            put_drop(client, call);
        if (call == client->first) /* or else a failing connection has ended it */
            give_up(client, call, "the node did not answer in time");
    }
    if (client->first != NULL)
        uv_timer_start(timer, on_deadline, client->first->deadline_ms - now, 0);
}

/* --- the calls of this module ----------------------------------------------------------------- */

int node_client_ask(struct node_client *client, struct node_call *call)
{
    assert(call->state == NODE_CALL_CLOSED);
    uint64_t now = uv_now(client->loop);
    if (client->state != LINK_UP) {
        if (now - client->away_since_ms >= NODE_GRACE_MS)
            return -ENOTCONN;
        if (client->open >= NODE_WAITING_MAX)
            return -EBUSY;
    }
    if (client->open == NODE_CALLS_MAX)
        return -EBUSY;
    uint16_t slot = client->free_slots[client->open++];
    client->slots[slot] = call;
    call->number = (uint64_t)++client->generation << 16 | slot;
    set_number(&call->ask, call->number);
    call->sent_once = call->in_stream = false;
    open_append(client, call);
    enqueue(client, call);
    return 0;
}

void node_client_more(struct node_client *client, struct node_call *call)
{
    assert(call->state == NODE_CALL_PAUSED);
    if (call->session == client->session && client->state == LINK_UP) {
        open_append(client, call);
        enqueue(client, call);
        return;
    }
    /* Its snapshot went with the connection: due at once, since answers never come from within. */
    call->state = NODE_CALL_SENT;
    open_prepend(client, call);
    uv_timer_start(&client->deadline_timer, on_deadline, 0, 0);
}

void node_client_cancel(struct node_client *client, struct node_call *call)
{
    if (call->state == NODE_CALL_CLOSED)
        return;
    bool node_waits =
        call->ask.kind == CALL_LIST && (call->state != NODE_CALL_QUEUED || call->in_stream);
    close_call(client, call);
    if (node_waits)
        put_drop(client, call);
}

bool node_client_connected(const struct node_client *client)
{
    return client->state == LINK_UP;
}

uint64_t node_client_node(const struct node_client *client)
{
    return client->node;
}

void node_client_distrust(struct node_client *client, const char *what)
{
    if (client->state != LINK_DOWN)
        disconnect(client, what);
}

/* --- life ------------------------------------------------------------------------------------- */

int node_client_open(uv_loop_t *loop, const char *path, uint64_t deadline_ms,
                     struct node_client **ret_client)
{
    struct node_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return -ENOMEM;
    client->loop = loop;
    client->path = path;
    client->deadline_ms = deadline_ms;
    client->retry_ms = RETRY_MS_MIN;
    client->away_since_ms = uv_now(loop);
    client->queue_end = &client->queue_first;
    for (unsigned i = 0; i < NODE_CALLS_MAX; i++)
        client->free_slots[i] = (uint16_t)i;
    int error =
        uv_timer_init(loop, &client->retry_timer) | uv_timer_init(loop, &client->grace_timer) |
        uv_timer_init(loop, &client->deadline_timer) | uv_prepare_init(loop, &client->before_wait) |
        uv_check_init(loop, &client->after_wait) |
        uv_prepare_start(&client->before_wait, on_before_wait) |
        uv_check_start(&client->after_wait, on_after_wait) |
        uv_timer_start(&client->grace_timer, on_grace, NODE_GRACE_MS, 0);
    assert(error == 0); /* these only fill structures in */
    client->handles = 5;
    try_connect(client);
    *ret_client = client;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct node_client *client = handle->data;
    if (--client->handles == 0)
        free(client);
}

void node_client_close(struct node_client *client)
{
    assert(client->open == 0);
    drop_link(client);
    client->state = LINK_DOWN;
    uv_handle_t *handles[] = {
        (uv_handle_t *)&client->retry_timer,    (uv_handle_t *)&client->grace_timer,
        (uv_handle_t *)&client->deadline_timer, (uv_handle_t *)&client->before_wait,
        (uv_handle_t *)&client->after_wait,
    };
    for (size_t i = 0; i < ARRAY_LEN(handles); i++) {
        handles[i]->data = client;
        uv_close(handles[i], on_handle_closed);
    }
}
