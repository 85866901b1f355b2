/* Node 1 of three, and frames that no node that follows the rules sends it, or too many of them. */
#include "raft/node/replica_state.h"
#include "tests/node/rig.h"

#include <errno.h>
#include <string.h>

struct victim {
    struct network network;
    struct fake_disk disk;
    struct fake_runner runner;
    struct replica *replica;
    struct wal_recovered recovered;
    uint64_t now_ms;
    uint32_t said[PEER_ENTRY + 1]; /* frames, by kind */
    uint32_t notes;
    uint8_t bytes[PEER_MESSAGE_BYTES_MAX];
    struct peer_entry entry;
};

static uint64_t now_ms(void *context)
{
    return ((struct victim *)context)->now_ms;
}

static void on_note(void *context, const char *fact, const char *text)
{
    (void)fact, (void)text;
    ((struct victim *)context)->notes++;
}

static void on_ready(void *context)
{
    (void)context;
}

static void on_failed(void *context, const char *what, int error)
{
    (void)context;
    cr_fatal("%s: %d", what, error);
}

static const struct replica_hooks hooks = {
    .now_ms = now_ms, .wall_ms = now_ms, .note = on_note, .ready = on_ready, .failed = on_failed};

static void on_sent(struct network *network, raft_node_id to, struct bytes frames)
{
    struct victim *victim = CONTAINER_OF(network, struct victim, network);
    struct frame frame;
    must(to.n != 1 && frame_decode(frames, &frame) == (int64_t)frames.len);
    victim->said[frame.kind]++;
}

static void on_flush(struct network *network)
{
    (void)network;
}

static void turns(struct victim *victim)
{
    for (bool more = true; more;) {
        replica_turn(victim->replica);
        more = fake_runner_step(&victim->runner, RUNNER_LOG) ||
               fake_runner_step(&victim->runner, RUNNER_HOUSEKEEPING);
    }
}

static const struct raft_cluster_id cluster = {1, 2};

static struct members three_members(void)
{
    struct members members = members_of((const raft_node_id[]){{1}, {2}, {3}}, 3);
    members.cluster = cluster;
    return members;
}

static struct victim *victim_new(void)
{
    struct victim *victim = calloc(1, sizeof(*victim));
    must(victim != NULL);
    fake_disk_init(&victim->disk);
    fake_runner_init(&victim->runner);
    victim->network = (struct network){.send = on_sent, .flush = on_flush};
    victim->now_ms = 1000;
    struct replica_options options = {
        .node = 1,
        .cluster = "test",
        .members = 3,
        .member = {{1}, {2}, {3}},
        .election_ms = 60000, /* it never campaigns */
        .heartbeat_ms = 10,
        .snapshot_entries = 1u << 20,
        .answers_max = RIG_ANSWERS_MAX,
        .random = 5,
        .segment_bytes = RIG_SEGMENT,
        .disk = &victim->disk.disk,
        .runner = &victim->runner.runner,
        .network = &victim->network,
        .hooks = &hooks,
        .context = victim,
    };
    must(replica_open(&options, &victim->replica, &victim->recovered) == 0);
    replica_identify(victim->replica, cluster);
    struct replica_state state = {.users = users_new(RIG_ANSWERS_MAX), .members = three_members()};
    char text[600];
    must(replica_start(victim->replica, &state, text, sizeof(text)) == 0);
    turns(victim);
    return victim;
}

static void victim_free(struct victim *victim)
{
    fake_runner_drain(&victim->runner);
    replica_close(victim->replica);
    fake_disk_done(&victim->disk);
    free(victim);
}

static int hear(struct victim *victim, uint64_t from, struct writer *out)
{
    struct frame frame;
    must(!out->bad && frame_decode(writer_bytes(out), &frame) == (int64_t)writer_len(out));
    return replica_receive(victim->replica, (raft_node_id){from}, frame);
}

static int hear_note(struct victim *victim, uint64_t from, struct peer_note note)
{
    struct writer out = writer_of(victim->bytes, sizeof(victim->bytes));
    peer_note_frame(&out, &note);
    return hear(victim, from, &out);
}

static struct peer_entry entry_of(const void *context, uint32_t i)
{
    (void)i;
    return ((const struct victim *)context)->entry;
}

/* An append of node 2, which leads in term 1, after the first `prev` entries, of `count` such. */
static int hear_append(struct victim *victim, uint64_t prev, uint32_t count,
                       struct peer_entry entry)
{
    struct raft_message m = {.from = {2}, .to = {1}, .term = {1}, .kind = RAFT_APPEND};
    struct writer out = writer_of(victim->bytes, sizeof(victim->bytes));
    m.append.prev.n = prev;
    m.append.prev_term.n = prev > 0;
    m.append.commit.n = prev + count;
    m.append.entries.runs = count > 0;
    m.append.entries.at[0].term.n = 1;
    m.append.entries.at[0].count = count;
    victim->entry = entry;
    peer_message_frame(&out, &m, entry_of, victim);
    int result = hear(victim, 2, &out);
    turns(victim);
    return result;
}

static const struct peer_entry noop = {.kind = RAFT_NOOP};

Test(replica_hostile, refuses_entries_that_cannot_be_read)
{
    static const enum raft_entry_kind kinds[] = {RAFT_COMMAND, RAFT_CONFIGURATION};
    struct victim *victim = victim_new();
    must(hear_append(victim, 0, 1, noop) == 0);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct peer_entry bad = {kinds[i], bytes_of_text("of a version to come")};
        cr_assert(eq(int, hear_append(victim, 1, 1, bad), -EBADMSG));
        struct peer_note note = {
            .kind = PEER_ENTRY,
            .entry = {.index = 1, .term = 1, .kind = (uint8_t)kinds[i], .payload = bad.payload}};
        cr_assert(eq(int, hear_note(victim, 3, note), -EBADMSG));
    }
    cr_assert(eq(u64, raft_status(victim->replica->raft).last.n, 1));
    must(hear_append(victim, 1, 1, noop) == 0);
    cr_assert(eq(u64, replica_status(victim->replica).applied, 2));
    victim_free(victim);
}

Test(replica_hostile, answers_one_question_for_entries_a_turn)
{
    enum { ENTRIES = 16 };
    static uint8_t indexes[8 * ENTRIES];
    struct victim *victim = victim_new();
    struct writer out = writer_of(indexes, sizeof(indexes));
    for (uint64_t i = 1; i <= ENTRIES; i++)
        put_u64(&out, i);
    must(hear_append(victim, 0, ENTRIES, noop) == 0);
    struct peer_note please = {.kind = PEER_ENTRIES_PLEASE,
                               .entries_please = {bytes_of(indexes, sizeof(indexes))}};
    cr_assert(eq(int, hear_note(victim, 2, please), 0));
    cr_assert(eq(u32, victim->said[PEER_ENTRY], ENTRIES));
    cr_assert(eq(int, hear_note(victim, 3, please), -EAGAIN));
    turns(victim);
    cr_assert(eq(int, hear_note(victim, 3, please), 0));
    cr_assert(eq(u32, victim->said[PEER_ENTRY], 2 * ENTRIES));
    victim_free(victim);
}

static uint8_t members_bytes[MEMBERS_BYTES_MAX];

static struct peer_note offer_of(uint64_t index, uint64_t users)
{
    struct members members = three_members();
    struct writer out = writer_of(members_bytes, sizeof(members_bytes));
    members_put(&out, &members);
    return (struct peer_note){.kind = PEER_SNAPSHOT_OFFER,
                              .snapshot_offer = {.index = index,
                                                 .term = 1,
                                                 .users = users,
                                                 .next_id = users + 1,
                                                 .members = writer_bytes(&out)}};
}

Test(replica_hostile, sends_each_member_one_piece_of_a_snapshot_a_turn)
{
    struct victim *victim = victim_new();
    must(hear_append(victim, 0, 3, noop) == 0);
    struct peer_note please = {.kind = PEER_SNAPSHOT_PLEASE};
    struct peer_note want = {.kind = PEER_SNAPSHOT_WANT, .snapshot_want = {.index = 3}};
    struct peer_note end = {.kind = PEER_SNAPSHOT_END, .snapshot_end = {.index = 3}};
    cr_assert(eq(int, hear_note(victim, 3, please), 0));
    cr_assert(eq(int, hear_note(victim, 3, want), 0));
    cr_assert(eq(int, hear_note(victim, 3, want), -EAGAIN));
    cr_assert(eq(int, hear_note(victim, 3, end), 0));
    cr_assert(eq(int, hear_note(victim, 3, please), 0));
    cr_assert(eq(int, hear_note(victim, 3, want), -EAGAIN), "nor by beginning anew");
    cr_assert(eq(int, hear_note(victim, 2, please), 0));
    cr_assert(eq(int, hear_note(victim, 2, want), 0));
    turns(victim);
    cr_assert(eq(int, hear_note(victim, 3, want), 0));
    cr_assert(eq(u32, victim->said[PEER_SNAPSHOT_CHUNK], 3));
    victim_free(victim);
}

Test(replica_hostile, begins_fetches_at_a_pace_of_its_own)
{
    struct victim *victim = victim_new();
    must(hear_append(victim, 0, 1, noop) == 0);
    uint32_t before = victim->notes;
    for (uint64_t i = 0; i < 1000; i++)
        must(hear_note(victim, 2, offer_of(100 + i, 1)) == 0);
    cr_assert(eq(u32, victim->notes - before, 1));
    cr_assert(eq(u64, victim->replica->install.index.n, 100));
    victim->now_ms += 500;
    must(hear_note(victim, 2, offer_of(2000, 1)) == 0);
    cr_assert(eq(u64, victim->replica->install.index.n, 2000), "the holder has another one");
    victim_free(victim);
}

Test(replica_hostile, fetches_no_more_than_was_announced)
{
    uint8_t packed[4096];
    struct victim *victim = victim_new();
    must(hear_append(victim, 0, 1, noop) == 0);
    must(hear_note(victim, 2, offer_of(100, 2)) == 0);
    struct peer_snapshot_chunk chunk = {.index = 100};
    for (uint64_t id = 1; id <= 3; id++) {
        struct writer out = writer_of(packed, sizeof(packed));
        struct user user = {.id = id, .index = id, .name = bytes_of_text("x")};
        user_put(&out, &user);
        chunk.after = id - 1;
        chunk.next_after = id;
        chunk.users = writer_bytes(&out);
        int result = hear_note(
            victim, 2, (struct peer_note){.kind = PEER_SNAPSHOT_CHUNK, .snapshot_chunk = chunk});
        cr_assert(eq(int, result, id <= 2 ? 0 : -EBADMSG));
    }
    cr_assert(victim->replica->install.users == NULL);
    victim_free(victim);
}

Test(replica_hostile, numbers_its_rounds_of_reads_from_a_number_of_this_life)
{
    struct victim *victim = victim_new();
    cr_assert(ge(u64, victim->replica->reads.token, victim->replica->options.random));
    cr_assert(gt(u64, victim->replica->options.random, 0));
    victim_free(victim);
}
