/* Connections from others: who calls, whether it belongs here, and what it says. */
#include "raft/node/diag.h"
#include "raft/node/peers_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Who has not said who it is by then is nobody. */
#define GREETING_MS 2000u

/* --- the end of a connection ------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    struct inlet *inlet = handle->data;
    free(inlet->in); /* only who is connected has one */
    inlet->in = NULL;
    inlet->state = INLET_FREE;
}

static void end_inlet(struct inlet *inlet)
{
    if (inlet->state == INLET_CLOSING)
        return;
    inlet->state = INLET_CLOSING;
    uv_close((uv_handle_t *)&inlet->tcp, on_closed);
}

static void close_inlet(struct inlet *inlet)
{
    const struct peers *peers = inlet->peers;
    bool was_present = inlet->state == INLET_PRESENT;
    end_inlet(inlet);
    if (was_present && !peers->closing)
        peers->options.hooks->lost(peers->options.context, inlet->from);
}

/*
 * What a callee says fits an empty buffer of the socket. Should it not fit, the caller does not
 * read: then it is no node, or its end is found by other means.
 */
static void answer(struct inlet *inlet, struct bytes frame)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)frame.at, (unsigned)frame.len);
    (void)uv_try_write((uv_stream_t *)&inlet->tcp, &buffer, 1);
}

static void signal_caller(struct inlet *inlet, uint16_t kind)
{
    uint8_t bytes[PEER_SIGNAL_BYTES];
    struct writer out = writer_of(bytes, sizeof(bytes));
    peer_signal_frame(&out, kind);
    answer(inlet, writer_bytes(&out));
}

/* Said once for each reason and caller: whoever is refused comes again and again. */
static void say_refused(struct peers *peers, uint64_t from, enum peer_refusal why)
{
    uint32_t row = 0;
    while (row < peers->links && peers->link[row].id.n != from)
        row++;
    uint64_t *told_ms = &peers->told_ms[row < peers->links ? row : RAFT_MEMBERS_MAX][why];
    uint64_t now_ms = uv_now(peers->options.loop);
    if (*told_ms != 0 && now_ms - *told_ms < PEERS_SAY_AGAIN_MS)
        return;
    *told_ms = now_ms;
    diag("peer_refused", "from=%" PRIu64 " text=\"%s\"", from, peer_refusal_at_callee(why));
}

static void refuse(struct inlet *inlet, uint64_t from, enum peer_refusal why)
{
    uint8_t bytes[PEER_REFUSED_BYTES];
    struct writer out = writer_of(bytes, sizeof(bytes));
    if (inlet->state == INLET_CLOSING)
        return;
    if (inlet->state == INLET_PRESENT)
        inlet->peers->measures.refused_frames++;
    else
        inlet->peers->measures.refused_greetings++;
    say_refused(inlet->peers, from, why);
    peer_refused_frame(&out, why);
    answer(inlet, writer_bytes(&out));
    close_inlet(inlet);
}

/* --- greetings -------------------------------------------------------------------------------- */

static struct inlet *find(struct peers *peers, raft_node_id from, enum inlet_state state)
{
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        if (inlet->state == state && node_id_equal(inlet->from, from))
            return inlet;
    }
    return NULL;
}

static void welcome(struct inlet *inlet)
{
    inlet->state = INLET_PRESENT;
    signal_caller(inlet, PEER_WELCOME);
    link_nudge(peers_link(inlet->peers, inlet->from));
}

/* Somebody else is connected in this name: a connection that the node lost, or another process. */
static void wait_for_older(struct inlet *inlet, struct inlet *older)
{
    if (find(inlet->peers, inlet->from, INLET_WAITING) != NULL) {
        refuse(inlet, inlet->from.n, PEER_REFUSAL_DUPLICATE_ID);
        return;
    }
    inlet->state = INLET_WAITING;
    older->probed_ms = uv_now(inlet->peers->options.loop);
    signal_caller(older, PEER_PROBE);
}

/* False when `ret_why` says why not. */
static bool belongs_here(const struct peers *peers, const struct peer_hello *hello,
                         enum peer_refusal *ret_why)
{
    const struct peers_options *options = &peers->options;
    if (hello->version != PEER_VERSION)
        *ret_why = PEER_REFUSAL_VERSION;
    else if (!bytes_equal(hello->cluster, bytes_of_text(options->cluster)))
        *ret_why = PEER_REFUSAL_OTHER_CLUSTER;
    else if (cluster_id_differ((struct raft_cluster_id){hello->cluster_high, hello->cluster_low},
                               options->hooks->identity(options->context).cluster))
        *ret_why = PEER_REFUSAL_OTHER_CLUSTER_ID;
    else if (hello->format_least > PEER_FORMAT || hello->format_most < PEER_FORMAT)
        *ret_why = PEER_REFUSAL_VERSION;
    else if (hello->to != options->node)
        *ret_why = PEER_REFUSAL_OTHER_NODE;
    else if (hello->from == options->node)
        *ret_why = PEER_REFUSAL_DUPLICATE_ID;
    else if (peers_link((struct peers *)(uintptr_t)peers, (raft_node_id){hello->from}) == NULL)
        *ret_why = PEER_REFUSAL_UNKNOWN_MEMBER;
    else
        return true;
    return false;
}

static void on_hello(struct inlet *inlet, struct frame frame)
{
    struct peers *peers = inlet->peers;
    struct peer_hello hello = {.from = 0};
    enum peer_refusal why;
    if (peer_hello_decode(frame, &hello) != 0) {
        refuse(inlet, 0, PEER_REFUSAL_NO_GREETING);
        return;
    }
    if (!belongs_here(peers, &hello, &why)) {
        refuse(inlet, hello.from, why);
        return;
    }
    inlet->in = malloc(PEERS_IN_BYTES);
    if (inlet->in == NULL) {
        close_inlet(inlet);
        return;
    }
    inlet->from.n = hello.from;
    struct inlet *older = find(peers, inlet->from, INLET_PRESENT);
    if (older != NULL)
        wait_for_older(inlet, older);
    else
        welcome(inlet);
}

/* The older connection answered: whoever else calls in this name is another process. */
static void on_present(struct inlet *inlet)
{
    struct inlet *waiting = find(inlet->peers, inlet->from, INLET_WAITING);
    inlet->probed_ms = 0;
    if (waiting != NULL)
        refuse(waiting, inlet->from.n, PEER_REFUSAL_DUPLICATE_ID);
}

static void replace(struct inlet *older)
{
    struct inlet *waiting = find(older->peers, older->from, INLET_WAITING);
    older->probed_ms = 0;
    if (waiting == NULL)
        return;
    end_inlet(older); /* the node is not lost: it is here */
    welcome(waiting);
}

void inlets_tick(struct peers *peers)
{
    uint64_t now_ms = uv_now(peers->options.loop);
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        if (inlet->state == INLET_SILENT && now_ms - inlet->opened_ms >= GREETING_MS)
            refuse(inlet, 0, PEER_REFUSAL_NO_GREETING);
        else if (inlet->state == INLET_PRESENT && inlet->probed_ms != 0 && !inlet->paused &&
                 now_ms - inlet->probed_ms >= peers->options.dead_ms / 3)
            replace(inlet);
        else if (inlet->state == INLET_WAITING && find(peers, inlet->from, INLET_PRESENT) == NULL)
            welcome(inlet);
    }
}

/* --- frames ----------------------------------------------------------------------------------- */

/* While this is called the loop does not wait. */
static void on_again(uv_idle_t *again)
{
    (void)again;
}

static void take_frame(struct inlet *inlet, struct frame frame)
{
    const struct peers_options *options = &inlet->peers->options;
    if (peer_is_signal(frame, PEER_PRESENT)) {
        on_present(inlet);
        return;
    }
    int result = options->hooks->received(options->context, inlet->from, frame);
    if (result == -EAGAIN)
        inlet->paused = true;
    else if (result != 0)
        refuse(inlet, inlet->from.n, PEER_REFUSAL_BROKE_RULES);
}

/*
 * As much as one connection may say before the others, and the turn, have theirs. The loop comes
 * round at once for the rest.
 */
static bool has_said_its_share(struct inlet *inlet, size_t bytes, uint32_t frames)
{
    if (bytes < PEERS_SHARE_BYTES && frames < PEERS_SHARE_FRAMES)
        return false;
    if (uv_idle_start(&inlet->peers->again, on_again) != 0)
        UNREACHABLE();
    return true;
}

static void take_frames(struct inlet *inlet)
{
    size_t at = 0;
    uint32_t frames = 0;
    inlet->paused = false;
    while (inlet->state == INLET_PRESENT && !inlet->paused && at < inlet->in_len) {
        struct frame frame;
        inlet->paused = has_said_its_share(inlet, at, frames++);
        if (inlet->paused)
            break;
        int64_t len = frame_decode(bytes_of(inlet->in + at, inlet->in_len - at), &frame);
        if (len == 0)
            break;
        if (len < 0) {
            refuse(inlet, inlet->from.n, PEER_REFUSAL_BROKE_RULES);
            break;
        }
        take_frame(inlet, frame);
        if (!inlet->paused)
            at += (size_t)len;
    }
    memmove(inlet->in, inlet->in + at, inlet->in_len - at);
    inlet->in_len -= at;
}

/* The greeting, and nothing after it: a caller waits for WELCOME. */
static void take_greeting(struct inlet *inlet)
{
    struct frame frame;
    int64_t len = frame_decode(bytes_of(inlet->greeting, inlet->in_len), &frame);
    if (len == 0 && inlet->in_len < sizeof(inlet->greeting))
        return;
    if (len <= 0 || (size_t)len != inlet->in_len)
        refuse(inlet, 0, PEER_REFUSAL_NO_GREETING);
    else
        on_hello(inlet, frame);
    inlet->in_len = 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct inlet *inlet = handle->data;
    uint8_t *in = inlet->state == INLET_SILENT ? inlet->greeting : inlet->in;
    size_t size = inlet->state == INLET_SILENT ? sizeof(inlet->greeting) : PEERS_IN_BYTES;
    (void)suggested;
    *ret_buffer = uv_buf_init((char *)in + inlet->in_len, (unsigned)(size - inlet->in_len));
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
    if (inlet->state == INLET_SILENT)
        take_greeting(inlet);
    else if (inlet->state == INLET_WAITING)
        refuse(inlet, inlet->from.n, PEER_REFUSAL_BROKE_RULES);
    else
        take_frames(inlet);
    if (inlet->paused && inlet->state == INLET_PRESENT)
        (void)uv_read_stop(stream);
}

void peers_resume(struct peers *peers)
{
    if (peers->tick_open)
        (void)uv_idle_stop(&peers->again); /* started again by who has more to say */
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        if (inlet->state != INLET_PRESENT || !inlet->paused)
            continue;
        take_frames(inlet);
        if (!inlet->paused && inlet->state == INLET_PRESENT &&
            uv_read_start((uv_stream_t *)&inlet->tcp, on_alloc, on_read) != 0)
            close_inlet(inlet);
    }
}

/* --- connections ------------------------------------------------------------------------------ */

static struct inlet *new_inlet(struct peers *peers)
{
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        if (inlet->state != INLET_FREE)
            continue;
        *inlet = (struct inlet){.peers = peers};
        return inlet;
    }
    return NULL;
}

/* A member's greeting comes with its connection: whoever has been silent longest is none. */
static void limit_silent(struct peers *peers)
{
    struct inlet *oldest = NULL;
    uint32_t silent = 0;
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        struct inlet *inlet = &peers->inlet[i];
        if (inlet->state != INLET_SILENT)
            continue;
        silent++;
        if (oldest == NULL || inlet->opened_ms < oldest->opened_ms)
            oldest = inlet;
    }
    if (silent > PEERS_SILENT_MAX)
        close_inlet(oldest);
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

void inlet_accept(struct peers *peers, uv_stream_t *listener)
{
    struct inlet *inlet = new_inlet(peers);
    if (inlet == NULL) {
        turn_away(listener);
        return;
    }
    if (uv_tcp_init(listener->loop, &inlet->tcp) != 0)
        UNREACHABLE();
    inlet->tcp.data = inlet;
    inlet->state = INLET_SILENT;
    inlet->opened_ms = uv_now(listener->loop);
    uv_stream_t *stream = (uv_stream_t *)&inlet->tcp;
    int result = uv_accept(listener, stream);
    if (result == 0)
        result = uv_read_start(stream, on_alloc, on_read);
    if (result != 0)
        close_inlet(inlet);
    else
        peers_tune(peers, &inlet->tcp);
    limit_silent(peers);
}

void inlets_close(struct peers *peers)
{
    for (uint32_t i = 0; i < PEERS_INLETS_MAX; i++) {
        if (peers->inlet[i].state != INLET_FREE)
            close_inlet(&peers->inlet[i]);
    }
}
