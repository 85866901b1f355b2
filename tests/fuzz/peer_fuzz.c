/*
 * What comes from another node, into a core: a frame's kind, then its payload, one after another.
 * No input may trip an assertion or break an invariant (raft_check), nor take a term beyond its
 * end. Bytes 0 and 1 of a step choose: a frame (kind, length, payload), time that passes, or a disk
 * that has everything.
 */
#include "raft/core/raft.h"
#include "raft/wire/peer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct raft_output output;
static struct raft_mark mark;
static uint64_t now_ms;

static void step(struct raft *raft, struct raft_event event)
{
    event.now_ms = now_ms;
    raft_step(raft, &event, &output);
    if (output.persist.wanted)
        mark = output.persist.mark;
    raft_check(raft);
    if (raft_status(raft).term.n > RAFT_TERM_MAX)
        abort();
}

/* As replica/peers.c does it. */
static void hear(struct raft *raft, struct frame frame)
{
    static struct peer_message message;
    static uint32_t bytes[RAFT_APPEND_ENTRIES_MAX];
    struct peer_note note;
    static struct members members;
    struct raft_configuration configuration;
    struct raft_received received = {.message = &message.message, .bytes = bytes};
    (void)!peer_note_decode(frame, &note);
    if (peer_message_decode(frame, &message) != 0)
        return;
    uint32_t count = message.message.kind == RAFT_APPEND_ENTRIES
                         ? raft_runs_entries(&message.message.append_entries.entries)
                         : 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint32_t)message.entry[i].payload.len;
        if (message.entry[i].kind != RAFT_CONFIGURATION)
            continue;
        if (count != 1 || members_decode(message.entry[i].payload, &members) != 0)
            return;
        configuration = members_configuration(&members);
        received.configuration = &configuration;
    }
    step(raft, (struct raft_event){.kind = RAFT_RECEIVED, .received = received});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_options options = {.self = {1}, .election_ms = 100, .heartbeat_ms = 20, .seed = 1};
    struct raft_saved saved = {.configuration = {.voters = 3, .voter = {{1}, {2}, {3}}}};
    struct reader in = reader_of(bytes_of(data, size));
    struct raft *raft;
    void *memory = malloc(raft_size());
    if (memory == NULL || raft_init(memory, &options, &saved, &raft) != 0)
        abort();
    now_ms = 1000;
    mark = (struct raft_mark){.epoch = 0};
    step(raft, (struct raft_event){.kind = RAFT_TICKED});
    while (!in.bad && reader_left(&in) > 0) {
        uint8_t kind = get_u8(&in);
        if (kind == 200) {
            now_ms += get_u8(&in) * 4u;
            step(raft, (struct raft_event){.kind = RAFT_TICKED});
        } else if (kind == 201) {
            step(raft, (struct raft_event){.kind = RAFT_PERSISTED, .persisted = {.mark = mark}});
        } else {
            uint16_t length = get_u16(&in);
            if (length > reader_left(&in))
                break;
            hear(raft, (struct frame){.kind = kind, .payload = get_raw(&in, length)});
        }
    }
    free(memory);
    return 0;
}
