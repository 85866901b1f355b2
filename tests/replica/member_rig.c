#include "tests/replica/member_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t now_ms(void *context)
{
    return ((struct member_rig *)context)->now_ms;
}

static void on_note(void *context, const char *fact, const char *text)
{
    struct member_rig *member = context;
    (void)text;
    member->notes++;
    member->fact = fact;
}

static void on_ready(void *context)
{
    (void)context;
}

static void on_readable(void *context, struct replica_client client)
{
    (void)client;
    ((struct member_rig *)context)->readable++;
}

static void on_refused(void *context, struct replica_client client, enum call_reason reason)
{
    (void)client;
    ((struct member_rig *)context)->refused = reason;
}

static void on_failed(void *context, const char *what, int error)
{
    (void)context;
    cr_fatal("%s: %d", what, error);
}

static const struct replica_hooks hooks = {
    .now_ms = now_ms,
    .wall_ms = now_ms,
    .readable = on_readable,
    .refused = on_refused,
    .note = on_note,
    .ready = on_ready,
    .failed = on_failed,
};

static void on_sent(struct network *network, raft_node_id to, struct bytes frames)
{
    struct member_rig *member = CONTAINER_OF(network, struct member_rig, network);
    struct frame frame;
    must(to.n != 1 && frame_decode(frames, &frame) == (int64_t)frames.len);
    member->said[frame.kind % ARRAY_LEN(member->said)]++;
    struct peer_note note;
    if (frame.kind == PEER_LIFE && peer_note_decode(frame, &note) == 0)
        member->life = note.life;
}

static void on_flush(struct network *network)
{
    (void)network;
}

void member_turns(struct member_rig *member)
{
    for (bool more = true; more;) {
        replica_turn(member->replica);
        more = fake_runner_step(&member->runner, RUNNER_LOG) ||
               fake_runner_step(&member->runner, RUNNER_HOUSEKEEPING);
    }
}

static const struct raft_cluster_id cluster = {1, 2};

struct members member_list(void)
{
    struct members members = members_of((const raft_node_id[]){{1}, {2}, {3}}, 3);
    members.cluster = cluster;
    return members;
}

void member_start(struct member_rig *member)
{
    struct replica_options options = {
        .node = 1,
        .cluster = "test",
        .members = 3,
        .member = {{1}, {2}, {3}},
        .election_ms = 60000, /* it never campaigns */
        .heartbeat_ms = 10,
        .snapshot_entries = 1u << 20,
        .answers_max = RIG_ANSWERS_MAX,
        .random = ++member->random,
        .segment_bytes = RIG_SEGMENT,
        .disk = &member->disk.disk,
        .runner = &member->runner.runner,
        .network = &member->network,
        .hooks = &hooks,
        .context = member,
    };
    fake_runner_init(&member->runner);
    must(replica_open(&options, &member->replica, &member->recovered) == 0);
    if (!cluster_id_known(replica_identity(member->replica).cluster))
        replica_identify(member->replica, cluster);
    struct replica_state state = {.users = users_new(RIG_ANSWERS_MAX), .members = member_list()};
    char text[600];
    must(replica_start(member->replica, &state, text, sizeof(text)) == 0);
    member_turns(member);
}

void member_close(struct member_rig *member)
{
    fake_runner_drain(&member->runner);
    replica_close(member->replica);
    member->replica = NULL;
}

struct member_rig *member_new(void)
{
    struct member_rig *member = calloc(1, sizeof(*member));
    must(member != NULL);
    fake_disk_init(&member->disk);
    member->network = (struct network){.send = on_sent, .flush = on_flush};
    member->now_ms = 1000;
    member->random = 4;
    member_start(member);
    return member;
}

void member_free(struct member_rig *member)
{
    member_close(member);
    fake_disk_done(&member->disk);
    free(member);
}

static int hear(struct member_rig *member, uint64_t from, struct writer *out)
{
    struct frame frame;
    must(!out->bad && frame_decode(writer_bytes(out), &frame) == (int64_t)writer_len(out));
    return replica_receive(member->replica, (raft_node_id){from}, frame);
}

int member_hear_note(struct member_rig *member, uint64_t from, struct peer_note note)
{
    struct writer out = writer_of(member->bytes, sizeof(member->bytes));
    peer_note_frame(&out, &note);
    return hear(member, from, &out);
}

static struct peer_entry entry_of(const void *context, uint32_t i)
{
    (void)i;
    return ((const struct member_rig *)context)->entry;
}

int member_hear(struct member_rig *member, struct raft_message message)
{
    struct writer out = writer_of(member->bytes, sizeof(member->bytes));
    message.to.n = 1;
    peer_message_frame(&out, &message, entry_of, member);
    int result = hear(member, message.from.n, &out);
    member_turns(member);
    return result;
}

int member_hear_append(struct member_rig *member, uint64_t prev, uint32_t count,
                       struct peer_entry entry)
{
    struct raft_message m = {.from = {2}, .to = {1}, .term = {1}, .kind = RAFT_APPEND_ENTRIES};
    m.append_entries.prev.n = prev;
    m.append_entries.prev_term.n = prev > 0;
    m.append_entries.commit.n = prev + count;
    m.append_entries.entries.runs = count > 0;
    m.append_entries.entries.at[0].term.n = 1;
    m.append_entries.entries.at[0].count = count;
    member->entry = entry;
    return member_hear(member, m);
}
