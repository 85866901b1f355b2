#include "app/node_client.h"

#include "app/node_link.h"

#include <errno.h>
#include <stdlib.h>

struct node_client {
    uv_loop_t *loop;
    uint64_t deadline_ms;
    struct node_link *link;
    bool leaving; /* the node on the connection that stands has said that it is stopping */
    uint64_t away_since_ms; /* while there is no node that takes calls */
    uint64_t index;         /* the newest that an answer spoke of */
    uint64_t answered_ms;   /* when the last answer came */
    uv_timer_t leaving_timer;
    uv_timer_t deadline_timer;
    uv_prepare_t before_wait;
    uv_check_t after_wait;

    struct node_call *first, *last; /* open, by deadline */
    struct node_call *queue_first, **queue_end;
    unsigned open, generation;
    unsigned paused, ahead; /* among the open ones: NODE_CALL_PAUSED; call->ahead */
    struct node_call *slots[NODE_CALLS_MAX];
    uint16_t free_slots[NODE_CALLS_MAX];
};

_Static_assert(NODE_CALLS_MAX <= UINT16_MAX + 1u, "a slot is 16 bits of a call's number");

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

static void no_longer_ahead(struct node_client *client, struct node_call *call)
{
    client->ahead -= call->ahead;
    call->ahead = false;
}

/* Takes the call out of everything; its owner may use it anew. */
static void close_call(struct node_client *client, struct node_call *call)
{
    assert(call->state != NODE_CALL_CLOSED && client->open > 0);
    if (call->state == NODE_CALL_QUEUED)
        unqueue(client, call);
    if (call->state == NODE_CALL_PAUSED)
        client->paused--;
    else
        open_remove(client, call);
    no_longer_ahead(client, call);
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

/* Without its result to hope for: what is known about its outcome? */
static void give_up(struct node_client *client, struct node_call *call, const char *why)
{
    if (call->in_doubt)
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
    else if (ask->kind == CALL_METRICS)
        ask->metrics.call = number;
    else
        ask->status.call = number;
}

static bool put_call(struct node_client *client, struct node_call *call)
{
    struct call more = {.kind = CALL_MORE, .more = {.call = call->number}};
    if (!node_link_put(client->link, call->in_stream ? &more : &call->ask, false))
        return false;
    call->state = NODE_CALL_SENT;
    call->session = node_link_session(client->link);
    return true;
}

/* Was it sent on the connection that stands now? */
static bool is_known_there(const struct node_client *client, const struct node_call *call)
{
    return node_link_is_up(client->link) && call->session == node_link_session(client->link);
}

static void put_drop(struct node_client *client, const struct node_call *call)
{
    struct call drop = {.kind = CALL_DROP, .drop = {.call = call->number}};
    if (is_known_there(client, call) && !node_link_put(client->link, &drop, true))
        node_link_drop(client->link, "too many drops are waiting");
}

/* The turn's calls, in one write. */
static void flush(struct node_client *client)
{
    while (node_link_takes(client->link) && client->queue_first != NULL) {
        while (client->queue_first != NULL && put_call(client, client->queue_first))
            dequeue(client);
        node_link_flush(client->link);
    }
    if (node_link_takes(client->link))
        node_link_flush(client->link); /* DROPs */
}

static void on_before_wait(uv_prepare_t *prepare)
{
    flush(CONTAINER_OF(prepare, struct node_client, before_wait));
}

static void on_after_wait(uv_check_t *check)
{
    flush(CONTAINER_OF(check, struct node_client, after_wait));
}

/* --- losing the node -------------------------------------------------------------------------- */

/* Does no node take calls? */
static bool is_away(const struct node_client *client)
{
    return client->leaving || !node_link_is_up(client->link);
}

static void on_leaving_timer(uv_timer_t *timer)
{
    struct node_client *client = CONTAINER_OF(timer, struct node_client, leaving_timer);
    node_link_drop(client->link, "it said that it is stopping, and does not end");
}

/* What it has taken it answers still, on this connection; the rest is for who comes after it. */
static void begin_leaving(struct node_client *client)
{
    if (client->leaving)
        return;
    client->leaving = true;
    client->away_since_ms = uv_now(client->loop);
    uv_timer_start(&client->leaving_timer, on_leaving_timer, client->deadline_ms, 0);
}

/* For the next connection, all but lists already begun: their state is gone. */
static void hold_all(struct node_client *client)
{
    client->queue_first = NULL;
    client->queue_end = &client->queue_first;
    struct node_call *broken = NULL;
    for (struct node_call *call = client->first; call != NULL; call = call->next) {
        if (call->ask.kind == CALL_WRITE && call->state == NODE_CALL_SENT)
            call->in_doubt = true;
        call->state = NODE_CALL_HELD;
        if (call->in_stream) {
            call->queue_next = broken;
            broken = call;
        }
    }
    while (broken != NULL) {
        struct node_call *call = broken;
        broken = call->queue_next;
        refuse(client, call, "the connection to the node was lost");
    }
}

static void on_down(struct node_client *client)
{
    if (!client->leaving)
        client->away_since_ms = uv_now(client->loop);
    client->leaving = false;
    uv_timer_stop(&client->leaving_timer);
    hold_all(client);
}

static void raise_index(struct node_client *client, uint64_t index)
{
    if (client->index < index)
        client->index = index;
}

/* What waited goes out at the turn's end. */
static void on_up(struct node_client *client)
{
    client->index = node_link_applied(client->link);
    for (struct node_call *call = client->first; call != NULL; call = call->next)
        if (call->state == NODE_CALL_HELD)
            enqueue(client, call);
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
        node_link_drop(client->link, "it answered with users what was no list");
        return;
    }
    struct node_answer answer = {.kind = NODE_USERS, .users = users};
    if (users->last != 0) {
        end_call(client, call, answer);
        return;
    }
    open_remove(client, call);
    no_longer_ahead(client, call);
    call->state = NODE_CALL_PAUSED;
    client->paused++;
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
        node_link_drop(client->link, "its answer does not fit what was asked");
    else
        end_call(client, call, answer);
}

/* It was not executed now; whether it was on an earlier connection is another question. */
static void on_refused(struct node_client *client, const struct call_refused *refused)
{
    struct node_call *call = find_call(client, refused->call);
    const char *why = call_reason_text(refused->reason);
    if (call == NULL)
        return;
    if (refused->reason == CALL_STOPPING)
        begin_leaving(client);
    if (refused->reason == CALL_STOPPING && !call->in_stream)
        call->state = NODE_CALL_HELD;
    else
        give_up(client, call, why != NULL ? why : "the node gave a reason that is not known here");
}

static void on_call(struct node_client *client, const struct call *call)
{
    client->answered_ms = uv_now(client->loop);
    struct node_answer answer;
    switch (call->kind) {
    case CALL_WRITTEN:
        raise_index(client, call->written.index);
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
        raise_index(client, call->users.index);
        on_users(client, &call->users);
        return;
    case CALL_STATUS_RESPONSE:
        raise_index(client, call->status_response.applied);
        answer = (struct node_answer){.kind = NODE_STATUS, .status = &call->status_response};
        on_end(client, call->status_response.call, CALL_STATUS, answer);
        return;
    case CALL_METRICS_RESPONSE:
        answer = (struct node_answer){.kind = NODE_METRICS, .metrics = &call->metrics_response};
        on_end(client, call->metrics_response.call, CALL_METRICS, answer);
        return;
    case CALL_WELCOME: /* the link's */
    case CALL_HELLO:
    case CALL_WRITE:
    case CALL_LIST:
    case CALL_MORE:
    case CALL_DROP:
    case CALL_STATUS:
    case CALL_METRICS:
    case CALL_BACKUP:
        node_link_drop(client->link, "it sent what only workers send");
        return;
    case CALL_VERSION_RESPONSE:
    case CALL_PIECE:
        node_link_drop(client->link, "it sent a backup that nobody asked for");
        return;
    }
    UNREACHABLE();
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
        if (call != client->first)
            continue; /* a failing connection has ended it */
        if (call->ask.kind == CALL_WRITE && call->state == NODE_CALL_SENT)
            call->in_doubt = true;
        give_up(client, call,
                call->state == NODE_CALL_HELD ? "the node cannot be reached"
                                              : "the node did not answer in time");
    }
    if (client->first != NULL)
        uv_timer_start(timer, on_deadline, client->first->deadline_ms - now, 0);
}

/* --- the calls of this module ----------------------------------------------------------------- */

int node_client_ask(struct node_client *client, struct node_call *call)
{
    assert(call->state == NODE_CALL_CLOSED);
    uint64_t now = uv_now(client->loop);
    bool away = is_away(client);
    if (away && now - client->away_since_ms >= client->deadline_ms)
        return -ENOTCONN;
    bool answers = !away && now - client->answered_ms <= NODE_ANSWERS_MS;
    bool of_users = call->ask.kind == CALL_WRITE || call->ask.kind == CALL_LIST;
    bool ahead = call->ask.kind == CALL_LIST && call->ask.list.min_index > client->index;
    unsigned waiting = client->open - client->paused - client->ahead;
    if (of_users && !ahead && waiting >= (answers ? NODE_BUSY : NODE_WAITING_MAX))
        return -EBUSY;
    if (ahead && client->ahead == NODE_AHEAD_MAX)
        return -EBUSY;
    if (client->open == NODE_CALLS_MAX)
        return -EBUSY;
    uint16_t slot = client->free_slots[client->open++];
    client->slots[slot] = call;
    call->number = (uint64_t)++client->generation << 16 | slot;
    set_number(&call->ask, call->number);
    call->in_doubt = call->in_stream = false;
    call->ahead = ahead;
    client->ahead += ahead;
    open_append(client, call);
    if (away)
        call->state = NODE_CALL_HELD;
    else
        enqueue(client, call);
    return 0;
}

void node_client_more(struct node_client *client, struct node_call *call)
{
    assert(call->state == NODE_CALL_PAUSED);
    client->paused--;
    if (is_known_there(client, call)) {
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
    bool is_sent = call->state == NODE_CALL_SENT || call->state == NODE_CALL_PAUSED;
    bool node_waits = call->ask.kind == CALL_LIST && (is_sent || call->in_stream);
    close_call(client, call);
    if (node_waits)
        put_drop(client, call);
}

bool node_client_connected(const struct node_client *client)
{
    return !is_away(client);
}

uint64_t node_client_node(const struct node_client *client)
{
    return node_link_node(client->link);
}

uint64_t node_client_index(const struct node_client *client)
{
    return client->index;
}

void node_client_distrust(struct node_client *client, const char *what)
{
    if (node_link_is_up(client->link))
        node_link_drop(client->link, what);
}

int node_client_open(uv_loop_t *loop, const char *path, uint64_t deadline_ms,
                     struct node_client **ret_client)
{
    struct node_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return -ENOMEM;
    client->loop = loop;
    client->deadline_ms = deadline_ms;
    client->away_since_ms = uv_now(loop);
    client->queue_end = &client->queue_first;
    for (unsigned i = 0; i < NODE_CALLS_MAX; i++)
        client->free_slots[i] = (uint16_t)i;
    int error =
        uv_timer_init(loop, &client->leaving_timer) | uv_timer_init(loop, &client->deadline_timer) |
        uv_prepare_init(loop, &client->before_wait) | uv_check_init(loop, &client->after_wait) |
        uv_prepare_start(&client->before_wait, on_before_wait) |
        uv_check_start(&client->after_wait, on_after_wait);
    assert(error == 0); /* these only fill structures in */
    const struct node_link_events events = {
        .client = client, .on_up = on_up, .on_down = on_down, .on_call = on_call};
    error = node_link_open(loop, path, &events, &client->link);
    if (error == 0)
        *ret_client = client;
    return error; /* on failure the process ends, and what was begun with it */
}
