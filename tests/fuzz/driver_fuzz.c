/*
 * What comes from other nodes, into a driver: node 1 of three, that knows its cluster, on a
 * pretended disk. The input is a program of steps, each begun by a byte:
 *
 *   below 128   a frame of this kind: who says it (2 or 3), length (u16), payload
 *   TURNS       turns until the disk is quiet
 *   TIME        time passes, so many times 8 ms; then a turn
 *   WRITE       a client writes
 *   READ        a client reads
 *   PEER        a connection to a node stands, or has ended
 *   SAVED       the snapshot that is being saved is durable, or could not be
 *   RESTART     the process dies, its disk stays, and it starts again
 *
 * No input may end the process, by an assertion (raft_check among them), by its own decision or
 * when it starts again; nor have it send what is no frame of a node's, or outgrow its bounds. Seeds
 * are what nodes of the simulator heard: sim --heard FILE.
 */
#include "raft/core/raft.h"
#include "raft/replica/state.h"

#ifndef DRIVER_FUZZ_LINKED /* fuzzers are linked with what they test and nothing else */
#include "tests/wal/fake_disk.c"
#endif
#include "tests/fuzz/driver_steps.h"
#include "tests/wal/fake_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS_MAX (USERS_PAGE * 64u)

#define demand(condition)                                                   \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

struct bench {
    struct network network;
    struct fake_disk disk;
    struct fake_runner runner;
    struct replica *replica;
    struct wal_recovered recovered;
    struct users_view *saving;
    uint64_t now_ms;
    uint64_t requests;
};

static uint64_t most_applied; /* by any input: seeds that get nowhere test nothing */

static uint64_t now_ms(void *context)
{
    return ((struct bench *)context)->now_ms;
}

static void on_written(void *context, struct replica_client client, uint64_t index,
                       const struct users_answer *answer)
{
    (void)context, (void)client, (void)index, (void)answer;
}

static void on_refused(void *context, struct replica_client client, enum call_reason reason)
{
    (void)context, (void)client, (void)reason;
}

static void on_told(void *context, struct replica_client client)
{
    (void)context, (void)client;
}

static void on_save(void *context, struct users_view *take_view, raft_term term,
                    const struct members *members)
{
    struct raft_configuration configuration = members_configuration(members);
    struct bench *b = context;
    demand(b->saving == NULL && term.n <= RAFT_TERM_MAX);
    demand(raft_configuration_valid(&configuration));
    b->saving = take_view;
}

static void on_ready(void *context)
{
    (void)context;
}

static void on_note(void *context, const char *fact, const char *text)
{
    (void)context, (void)fact, (void)text;
}

static void on_failed(void *context, const char *what, int error)
{
    (void)context;
    fprintf(stderr, "it ends: %s: %d\n", what, error);
    abort();
}

static const struct replica_hooks hooks = {
    .now_ms = now_ms,
    .wall_ms = now_ms,
    .written = on_written,
    .refused = on_refused,
    .unknown = on_told,
    .readable = on_told,
    .save = on_save,
    .ready = on_ready,
    .note = on_note,
    .failed = on_failed,
};

static void on_sent(struct network *network, raft_node_id to, struct bytes frames)
{
    static struct peer_message message;
    struct frame frame;
    struct peer_note note;
    (void)network;
    demand(to.n != 1 && frame_decode(frames, &frame) == (int64_t)frames.len);
    if (peer_is_note(frame.kind))
        demand(peer_note_decode(frame, &note) == 0);
    else
        demand(peer_message_decode(frame, &message) == 0);
}

static void on_flush(struct network *network)
{
    (void)network;
}

static void look(struct bench *b)
{
    const struct snapshot_receive *receive = &b->replica->receive;
    raft_check(b->replica->raft);
    if (most_applied < b->replica->applied)
        most_applied = b->replica->applied;
    demand(raft_status(b->replica->raft).term.n <= RAFT_TERM_MAX);
    demand(b->replica->writes.forwarded_bytes <= REPLICA_WAITING_BYTES_MAX);
    if (receive->phase != RECEIVE_FETCHING)
        return;
    struct users_meta loaded = users_meta(receive->users);
    demand(loaded.users <= receive->meta.users && loaded.next_id <= receive->meta.next_id);
    demand(loaded.answers_next <= receive->meta.answers_next);
}

static void turns(struct bench *b)
{
    for (bool more = true; more;) {
        replica_turn(b->replica);
        more = fake_runner_step(&b->runner, RUNNER_LOG) ||
               fake_runner_step(&b->runner, RUNNER_HOUSEKEEPING);
    }
}

static void hear(struct bench *b, uint8_t kind, uint64_t from, struct bytes payload)
{
    struct frame frame = {.kind = kind, .payload = payload};
    for (int i = 0; i < 3; i++) {
        int result = replica_receive(b->replica, (raft_node_id){from}, frame);
        demand(result == 0 || result == -EBADMSG || result == -EAGAIN);
        if (result != -EAGAIN)
            return;
        turns(b);
    }
}

/* Both others say which cluster this is, and that there is nothing that this node forgot. */
static void introduce(struct bench *b)
{
    for (int round = 0; round < 4 && raft_status(b->replica->raft).recovering; round++) {
        for (uint64_t from = 2; from <= 3; from++) {
            uint8_t bytes[PEER_NOTE_BYTES_MAX];
            struct writer out = writer_of(bytes, sizeof(bytes));
            struct frame frame;
            struct peer_note note = {.kind = PEER_LOG_POSITION,
                                     .log_position = {.question = b->replica->options.random +
                                                                  b->replica->rejoin.questions,
                                                      .cluster_low = DRIVER_CLUSTER}};
            peer_note_frame(&out, &note);
            demand(frame_decode(writer_bytes(&out), &frame) > 0);
            hear(b, (uint8_t)frame.kind, from, frame.payload);
        }
        turns(b);
    }
}

static void start(struct bench *b)
{
    char text[600] = "";
    struct replica_options options = {
        .node = 1,
        .cluster = "fuzz",
        .members = 3,
        .member = {{1}, {2}, {3}},
        .election_ms = 100,
        .heartbeat_ms = 10,
        .snapshot_entries = 20,
        .answers_max = ANSWERS_MAX,
        .random = 5,
        .segment_bytes = 8192,
        .disk = &b->disk.disk,
        .runner = &b->runner.runner,
        .network = &b->network,
        .hooks = &hooks,
        .context = b,
    };
    fake_runner_init(&b->runner);
    int result = replica_open(&options, &b->replica, &b->recovered);
    if (result != 0)
        fprintf(stderr, "%s\n", b->recovered.text);
    demand(result == 0);
    struct replica_state state = {.users = users_new(ANSWERS_MAX)};
    result = replica_start(b->replica, &state, text, sizeof(text));
    if (result != 0)
        fprintf(stderr, "%s\n", text);
    demand(result == 0);
    turns(b);
}

static void stop(struct bench *b)
{
    fake_runner_drain(&b->runner);
    users_unpin(b->saving);
    b->saving = NULL;
    replica_close(b->replica);
}

static void ask(struct bench *b, bool writes)
{
    uint8_t at[USERS_COMMAND_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    struct users_command command = {.kind = USERS_CREATE, .create = {{.name = bytes_of_text("x")}}};
    struct request_id id = {{(uint8_t)++b->requests}};
    users_command_put(&out, &command);
    if (writes)
        replica_write(b->replica, (struct replica_client){1, b->requests}, &id, writer_bytes(&out));
    else
        replica_read(b->replica, (struct replica_client){1, b->requests}, false, 0);
}

static void saved(struct bench *b, bool durable)
{
    if (b->saving == NULL)
        return;
    uint64_t index = users_view_meta(b->saving).index;
    users_unpin(b->saving);
    b->saving = NULL;
    /* The store of this bench forgets: what a start needs it has from others. */
    replica_saved(b->replica, durable, index);
}

static void step(struct bench *b, struct reader *in)
{
    uint8_t kind = get_u8(in), with = get_u8(in);
    switch (kind) {
    case DRIVER_TURNS:
        turns(b);
        break;
    case DRIVER_TIME:
        b->now_ms += with * 8u;
        replica_turn(b->replica);
        break;
    case DRIVER_WRITE:
    case DRIVER_READ:
        ask(b, kind == DRIVER_WRITE);
        break;
    case DRIVER_PEER:
        if (with % 2 == 0)
            replica_peer_up(b->replica, (raft_node_id){2 + with / 2 % 2});
        else
            replica_peer_lost(b->replica, (raft_node_id){2 + with / 2 % 2});
        break;
    case DRIVER_SAVED:
        saved(b, with % 2 == 0);
        break;
    case DRIVER_RESTART:
        stop(b);
        start(b);
        break;
    default: {
        uint16_t len = get_u16(in);
        if (kind < DRIVER_STEPS && len <= reader_left(in))
            hear(b, kind, 2 + with % 2, get_raw(in, len));
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct reader in = reader_of(bytes_of(data, size));
    demand(b != NULL);
    fake_disk_init(&b->disk);
    b->network = (struct network){.send = on_sent, .flush = on_flush};
    b->now_ms = 1000;
    start(b);
    introduce(b);
    while (!in.bad && reader_left(&in) > 0) {
        step(b, &in);
        look(b);
    }
    turns(b);
    stop(b);
    start(b);
    stop(b);
    fake_disk_done(&b->disk);
    free(b);
    return 0;
}
