/*
 * Every operation of the disk fails, one in each run, with EIO and with ENOSPC: when a segment
 * cannot be made for want of room, writes are refused until there is some; whatever else fails ends
 * the process, which says what failed, once. And the start after it has all that was acknowledged,
 * also where the kernel forgot what a sync could not write.
 */
#include "raft/wal/hard_state.h"
#include "raft/wire/peer.h"
#include "tests/replica/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct fault {
    int error;
    bool forgets, power; /* see fake_disk.h; the machine goes down after it */
    uint64_t ended, refused_start, went_on;
    uint64_t said[5]; /* of the words below */
};

enum { WRITING_LOG, WRITING_TERM, MAKING, REMOVING, REPAIRING };
static const char *const words[] = {"writing the log", "writing term and vote", "making a segment",
                                    "removing a segment", "repairing the log"};

static struct fault faults[] = {
    {.error = -EIO},
    {.error = -EIO, .forgets = true, .power = true},
    {.error = -ENOSPC},
    {.error = -ENOSPC, .forgets = true, .power = true},
};

static void arm(struct fake_disk *disk, const struct fault *fault, uint64_t n)
{
    disk->fail_at = n;
    disk->fail_error = fault->error;
    disk->fail_forgets = fault->forgets;
}

/* What the process must say of the operation that failed. */
static int words_for(const struct fake_disk *disk, const char *said)
{
    bool removing = strcmp(disk->failed_call, "remove") == 0 ||
                    strcmp(disk->failed_call, "sync_directory") == 0;
    if (strcmp(disk->failed_name, "next.tmp") == 0)
        return MAKING;
    if (strncmp(disk->failed_name, HARD_STATE_FILE, strlen(HARD_STATE_FILE)) == 0)
        return WRITING_TERM;
    if (strcmp(said, words[REPAIRING]) == 0 && !removing)
        return REPAIRING; /* of the same files */
    return removing ? REMOVING : WRITING_LOG;
}

/*
 * After a run in which an operation failed, or not; `started`: of the start in which it failed.
 * What may go on returns true.
 */
static bool judge(struct fault *fault, const struct fake_disk *disk, int started, uint32_t failures,
                  const char *what, int error)
{
    bool no_room = fault->error == -ENOSPC && strcmp(disk->failed_name, "next.tmp") == 0;
    if (failures > 0) {
        if (failures != 1 || error != fault->error || what == NULL ||
            strcmp(what, words[words_for(disk, what)]) != 0)
            cr_fatal("%s of %s failed, and %u times it was said that %s failed with %d",
                     disk->failed_call, disk->failed_name, failures, what, error);
        must(!no_room);
        fault->ended++;
        fault->said[words_for(disk, what)]++;
        return false;
    }
    if (started != 0) {
        must(started == fault->error);
        fault->refused_start++;
        return false;
    }
    if (!no_room)
        cr_fatal("%s of %s failed, and it went on", disk->failed_call, disk->failed_name);
    fault->went_on++;
    return true;
}

/* --- one that is alone ------------------------------------------------------------------------ */

#define LONE_WRITES 110u

/* First start, segments, term and vote, and snapshots that let the oldest segments go. */
static int lone_run(struct rig *rig)
{
    int result = rig_start(rig);
    if (result == 0)
        rig_ready(rig);
    for (uint64_t i = 1; result == 0 && i <= LONE_WRITES && !rig->failed; i++) {
        rig_write(rig, i);
        if (i % 7 == 0) {
            rig->now_ms += 60;
            rig_settle(rig);
        }
    }
    for (uint32_t life = 0; result == 0 && life < 2 && !rig->failed; life++) {
        rig_close(rig); /* and starts that find a log */
        result = rig_start(rig);
        if (result == 0)
            rig_ready(rig);
    }
    return result;
}

static bool lone_trial(struct fault *fault, uint64_t n)
{
    struct rig *rig = rig_new();
    uint64_t random = n;
    rig->snapshot_entries = 20;
    arm(&rig->disk, fault, n);
    int started = lone_run(rig);
    bool reached = rig->disk.failed_call != NULL;
    if (reached &&
        judge(fault, &rig->disk, started, rig->failures, rig->failed_what, rig->failed_error)) {
        for (uint64_t i = 1; i <= LONE_WRITES; i++)
            rig_insist(rig, i); /* some were refused: there is room now */
        must(!rig->failed);
        rig_check(rig);
    }
    if (fault->power)
        rig_power_loss(rig, &random);
    else
        rig_kill(rig);
    must(rig_start(rig) == 0);
    rig_ready(rig);
    must(rig->ready && !rig->failed);
    rig_check(rig);
    for (uint64_t i = 1; i <= LONE_WRITES; i++) {
        rig_insist(rig, i);
        must(rig->request[i].written);
    }
    rig_check(rig);
    rig_free(rig);
    return reached;
}

/* The runs got to everything that can be said. */
static void expect_counts(const struct fault *fault, bool repairs)
{
    must(fault->said[WRITING_LOG] > 10 && fault->said[WRITING_TERM] > 3);
    must((fault->said[MAKING] > 10) == (fault->error == -EIO));
    must(fault->said[repairs ? REPAIRING : REMOVING] >= 4);
    cr_assert(gt(u64, fault->ended, 50));
    cr_assert(gt(u64, fault->refused_start, 10));
    if (fault->error == -EIO)
        cr_assert(eq(u64, fault->went_on, 0));
    else
        cr_assert(gt(u64, fault->went_on, 10));
}

Test(replica_faults, end_one_that_is_alone_or_stop_its_writes_for_a_while, .timeout = 120)
{
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        uint64_t n = 1;
        while (lone_trial(&faults[i], n))
            n++;
        expect_counts(&faults[i], false);
    }
}

/* --- a follower ------------------------------------------------------------------------------- */

#define LAST       120u
#define RESET_TO   200u
#define RESET_LAST 210u

/* Node 1 of three; the other two are this test. */
struct follower {
    struct network network;
    struct fake_disk disk;
    struct fake_runner runner;
    struct replica *replica;
    uint64_t now_ms;
    uint32_t failures;
    const char *failed_what;
    int failed_error;
    uint64_t term[RESET_LAST + 1]; /* the log of who leads */
    uint64_t acknowledged;         /* up to here, since the last truncation */
    uint64_t base;                 /* the entry that a snapshot held */
    char text[600];
    struct wal_recovered recovered;
    struct peer_message message;
    struct peer_entry entry;
    uint8_t payload[256];
    uint64_t first; /* of the append that is sent */
};

static uint64_t follower_now_ms(void *context)
{
    return ((struct follower *)context)->now_ms;
}

static void follower_failed(void *context, const char *what, int error)
{
    struct follower *f = context;
    f->failures++;
    f->failed_what = what;
    f->failed_error = error;
}

static void no_note(void *context, const char *fact, const char *text)
{
    (void)context, (void)fact, (void)text;
}

static void no_ready(void *context)
{
    (void)context;
}

static const struct replica_hooks follower_hooks = {
    .now_ms = follower_now_ms,
    .wall_ms = follower_now_ms,
    .note = no_note,
    .ready = no_ready,
    .failed = follower_failed,
};

static void on_sent(struct network *network, raft_node_id to, struct bytes frames)
{
    struct follower *f = CONTAINER_OF(network, struct follower, network);
    struct frame frame;
    (void)to;
    must(f->failures == 0);
    must(frame_decode(frames, &frame) == (int64_t)frames.len);
    if (peer_is_note(frame.kind) || peer_message_decode(frame, &f->message) != 0)
        return;
    const struct raft_message *message = &f->message.message;
    if (message->kind == RAFT_APPEND_ENTRIES_RESPONSE &&
        message->append_entries_response.accepted &&
        message->append_entries_response.match.n > f->acknowledged)
        f->acknowledged = message->append_entries_response.match.n;
}

static void no_flush(struct network *network)
{
    (void)network;
}

static int follower_start(struct follower *f)
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
        .random = 5,
        .segment_bytes = RIG_SEGMENT,
        .disk = &f->disk.disk,
        .runner = &f->runner.runner,
        .network = &f->network,
        .hooks = &follower_hooks,
        .context = f,
    };
    fake_runner_init(&f->runner);
    f->failures = 0;
    int result = replica_open(&options, &f->replica, &f->recovered);
    if (result != 0) {
        f->replica = NULL;
        return result;
    }
    struct users *users = users_new(RIG_ANSWERS_MAX);
    struct replica_state state = {.users = users};
    if (f->base > 0) {
        users_skip(users, f->base);
        state.term.n = f->term[f->base];
        state.members = members_of((const raft_node_id[]){{1}, {2}, {3}}, 3);
    }
    result = replica_start(f->replica, &state, f->text, sizeof(f->text));
    if (result != 0)
        users_free(users);
    return result;
}

static void follower_stop(struct follower *f)
{
    if (f->replica == NULL)
        return;
    fake_runner_drain(&f->runner);
    replica_close(f->replica);
    f->replica = NULL;
}

static void follower_turns(struct follower *f)
{
    for (bool more = true; more && f->failures == 0;) {
        replica_turn(f->replica);
        more = fake_runner_step(&f->runner, RUNNER_LOG) ||
               fake_runner_step(&f->runner, RUNNER_HOUSEKEEPING);
    }
}

static struct bytes name_of_entry(uint64_t index, uint64_t term, char text[64])
{
    return bytes_of(text, (size_t)snprintf(text, 64, "entry %lu of term %lu", (unsigned long)index,
                                           (unsigned long)term));
}

static struct bytes payload_of(struct follower *f, uint64_t index)
{
    char text[64];
    struct writer out = writer_of(f->payload, sizeof(f->payload));
    struct users_request request =
        create_request(index * 16 + f->term[index], name_of_entry(index, f->term[index], text));
    users_request_put(&out, &request);
    return writer_bytes(&out);
}

static struct peer_entry entry_of(const void *context, uint32_t i)
{
    struct follower *f = (struct follower *)context;
    return (struct peer_entry){.kind = RAFT_COMMAND, .payload = payload_of(f, f->first + i)};
}

static void hand_in(struct follower *f, uint64_t from, struct writer *out)
{
    struct frame frame;
    must(!out->bad && frame_decode(writer_bytes(out), &frame) == (int64_t)writer_len(out));
    for (int i = 0; i < 20 && f->failures == 0; i++) {
        int result = replica_receive(f->replica, (raft_node_id){from}, frame);
        follower_turns(f);
        if (result == 0)
            return;
        must(result == -EAGAIN);
        f->now_ms += 100;
    }
}

/* From whoever leads in that term: entries first … last, after what comes before them. */
static void append(struct follower *f, uint64_t first, uint64_t last, uint64_t term,
                   uint64_t commit)
{
    uint8_t memory[4096];
    struct writer out = writer_of(memory, sizeof(memory));
    struct raft_message m = {
        .from = {1 + term % 2 + 1}, .to = {1}, .term = {term}, .kind = RAFT_APPEND_ENTRIES};
    m.append_entries.prev.n = first - 1;
    m.append_entries.prev_term.n = f->term[first - 1];
    m.append_entries.commit.n = commit;
    for (uint64_t i = first; i <= last; i++) {
        struct raft_runs *runs = &m.append_entries.entries;
        if (runs->runs == 0 || runs->at[runs->runs - 1].term.n != f->term[i])
            runs->at[runs->runs++].term.n = f->term[i];
        runs->at[runs->runs - 1].count++;
    }
    f->first = first;
    peer_message_frame(&out, &m, entry_of, f);
    hand_in(f, m.from.n, &out);
}

/* The same until it is acknowledged: where there was no room, there is after a while. */
static void insist(struct follower *f, uint64_t first, uint64_t last, uint64_t term,
                   uint64_t commit)
{
    for (int i = 0; i < 20 && f->failures == 0 && f->acknowledged < last; i++) {
        append(f, first, last, term, commit);
        f->now_ms += 100;
    }
    must(f->failures > 0 || f->acknowledged >= last);
}

static void write_entries(struct follower *f, uint64_t first, uint64_t last, uint64_t term)
{
    for (uint64_t i = first; i <= last && f->failures == 0; i += 4) {
        uint64_t to = i + 3 < last ? i + 3 : last;
        for (uint64_t j = i; j <= to; j++)
            f->term[j] = term;
        insist(f, i, to, term, i - 1);
    }
}

/* A byte of an entry that the oldest segment has rots. */
static void rot(struct follower *f, uint64_t index, uint64_t byte)
{
    static const char oldest[] = "0000000000000001.wal";
    uint64_t size, random = 9;
    const uint8_t *bytes = fake_disk_bytes(&f->disk, oldest, &size);
    for (uint64_t at = 0; at + RECORD_HEADER_BYTES < size; at += 8) {
        struct record record;
        if (record_head_get(bytes_of(bytes + at, size - at), &record) == RECORD_OK &&
            record.type == RECORD_ENTRY && record.index.n == index) {
            fake_disk_rot(&f->disk, oldest, at + byte, 1, &random);
            return;
        }
    }
    must(false);
}

static void send_entry(struct follower *f, uint64_t index)
{
    uint8_t memory[1024];
    struct writer out = writer_of(memory, sizeof(memory));
    struct peer_note note = {.kind = PEER_ENTRY,
                             .entry = {.index = index,
                                       .term = f->term[index],
                                       .kind = RAFT_COMMAND,
                                       .payload = payload_of(f, index)}};
    peer_note_frame(&out, &note);
    hand_in(f, 2, &out);
}

static void please(struct follower *f, uint64_t index)
{
    uint8_t memory[1024], encoded[8];
    struct writer out = writer_of(memory, sizeof(memory));
    struct writer indexes = writer_of(encoded, sizeof(encoded));
    put_u64(&indexes, index);
    struct peer_note note = {.kind = PEER_ENTRIES_REQUEST,
                             .entries_request = {.indexes = writer_bytes(&indexes)}};
    peer_note_frame(&out, &note);
    hand_in(f, 3, &out);
}

static int follower_run(struct follower *f)
{
    int result = follower_start(f);
    if (result != 0 || f->failures > 0)
        return result;
    write_entries(f, 1, 40, 1);
    if (f->failures == 0)
        f->acknowledged = 37; /* the next leader does not have what comes after */
    write_entries(f, 38, LAST, 2);
    if (f->failures > 0)
        return 0;
    follower_stop(f);
    rot(f, 3, RECORD_HEADER_BYTES + 3); /* a hole, */
    rot(f, 6, 12);                      /* and what is repaired when the log is opened, */
    result = follower_start(f);
    for (uint64_t i = 1; result == 0 && f->failures == 0 && i <= 6; i++)
        send_entry(f, i);
    if (result != 0 || f->failures > 0)
        return result;
    must(replica_status(f->replica).damaged_entries == 0);
    rot(f, 5, 12); /* or when another node asks for it */
    please(f, 5);
    if (f->failures > 0)
        return 0;
    follower_stop(f);
    f->base = f->acknowledged = RESET_TO; /* of the snapshot, from now on */
    f->term[RESET_TO] = 3;
    result = follower_start(f);
    if (result == 0 && f->failures == 0)
        write_entries(f, RESET_TO + 1, RESET_LAST, 3);
    return result;
}

/* Everything that was acknowledged, as it was. */
static void follower_check(struct follower *f)
{
    uint64_t last = f->acknowledged, term = f->base > 0 ? 3 : 2;
    must(f->recovered.last.n >= last || f->base >= last);
    for (uint64_t i = 1; i <= 6 && f->base == 0; i++)
        send_entry(f, i); /* where it rotted, and was not repaired yet */
    if (last > 0)
        append(f, last + 1, last, term, last);
    for (int i = 0; i < 3; i++) {
        f->now_ms += 100;
        follower_turns(f);
    }
    must(f->failures == 0);
    if (replica_status(f->replica).applied != last)
        cr_fatal("%lu entries are there of %lu", (unsigned long)replica_status(f->replica).applied,
                 (unsigned long)last);
    struct users_view *view = users_pin(replica_users(f->replica));
    must(users_view_meta(view).users == last - f->base);
    for (uint64_t id = 1; id <= last - f->base; id++) {
        struct user user;
        char text[64];
        uint64_t index = f->base + id;
        must(users_view_get(view, id, &user) && user.index == index);
        must(bytes_equal(user.name, name_of_entry(index, f->term[index], text)));
    }
    users_unpin(view);
}

static void follower_die(struct follower *f, bool power, uint64_t *random)
{
    f->disk.crashed = true;
    follower_stop(f);
    f->disk.crashed = false;
    f->disk.fail_at = 0;
    if (power)
        fake_disk_crash(&f->disk, random);
}

static bool follower_trial(struct fault *fault, uint64_t n)
{
    struct follower *f = calloc(1, sizeof(*f));
    uint64_t random = n;
    must(f != NULL);
    f->network = (struct network){.send = on_sent, .flush = no_flush};
    f->now_ms = 1000;
    fake_disk_init(&f->disk);
    arm(&f->disk, fault, n);
    int started = follower_run(f);
    bool reached = f->disk.failed_call != NULL;
    if (reached)
        (void)judge(fault, &f->disk, started, f->failures, f->failed_what, f->failed_error);
    follower_die(f, fault->power, &random);
    if (follower_start(f) != 0)
        cr_fatal("%s of %s failed, then: %s %s", f->disk.failed_call, f->disk.failed_name,
                 f->recovered.text, f->text);
    follower_turns(f);
    follower_check(f);
    follower_stop(f);
    fake_disk_done(&f->disk);
    free(f);
    return reached;
}

Test(replica_faults, end_a_follower_or_stop_its_acknowledgements_for_a_while, .timeout = 120)
{
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        uint64_t n = 1;
        while (follower_trial(&faults[i], n))
            n++;
        expect_counts(&faults[i], true);
    }
}
