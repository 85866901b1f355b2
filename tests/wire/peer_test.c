#include "raft/wire/peer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct peer_entry entry_of(const void *context, uint32_t i)
{
    static const char *const texts[] = {"one", "", "three"};
    (void)context;
    return (struct peer_entry){.kind = i == 1 ? RAFT_NOOP : RAFT_COMMAND,
                               .payload = bytes_of_text(texts[i])};
}

static struct raft_message an_append(void)
{
    struct raft_message m = {.from = {1}, .to = {2}, .term = {7}, .kind = RAFT_APPEND_ENTRIES};
    m.append_entries.prev.n = 41;
    m.append_entries.prev_term.n = 5;
    m.append_entries.commit.n = 40;
    m.append_entries.round = 3;
    m.append_entries.entries.runs = 2;
    m.append_entries.entries.at[0].term.n = 6;
    m.append_entries.entries.at[0].count = 2;
    m.append_entries.entries.at[1].term.n = 7;
    m.append_entries.entries.at[1].count = 1;
    return m;
}

static struct frame frame_of(struct writer *out)
{
    struct frame frame;
    cr_assert_not(out->bad);
    cr_assert_eq(frame_decode(writer_bytes(out), &frame), (int64_t)writer_len(out));
    return frame;
}

Test(peer, carries_an_append_with_its_entries)
{
    uint8_t buffer[1024];
    struct writer out = writer_of(buffer, sizeof(buffer));
    struct raft_message m = an_append();
    peer_message_frame(&out, &m, entry_of, NULL);
    struct peer_message *got = calloc(1, sizeof(*got));
    cr_assert_eq(peer_message_decode(frame_of(&out), got), 0);
    cr_assert_eq(got->message.term.n, 7);
    cr_assert_eq(got->message.append_entries.prev.n, 41);
    cr_assert_eq(got->message.append_entries.entries.at[1].term.n, 7);
    cr_assert(bytes_equal(got->entry[2].payload, bytes_of_text("three")));
    cr_assert_eq(got->entry[1].kind, RAFT_NOOP);
    free(got);
}

Test(peer, carries_every_kind_of_message)
{
    struct peer_message *got = calloc(1, sizeof(*got));
    for (uint16_t kind = RAFT_REQUEST_PRE_VOTE; kind <= RAFT_FORGOT; kind++) {
        uint8_t buffer[1024], text[512];
        struct writer out = writer_of(buffer, sizeof(buffer));
        struct raft_message m = {.from = {1}, .to = {2}, .term = {kind}};
        m.kind = (enum raft_message_kind)kind;
        peer_message_frame(&out, &m, entry_of, NULL);
        cr_assert_eq(peer_message_decode(frame_of(&out), got), 0, "kind %u", kind);
        cr_assert_eq(got->message.kind, m.kind);
        cr_assert_eq(got->message.term.n, kind);
        struct writer printed = writer_of(text, sizeof(text));
        peer_message_print(&printed, &m);
        cr_assert_not(printed.bad);
    }
    free(got);
}

Test(peer, refuses_every_prefix_and_what_announces_too_much)
{
    uint8_t buffer[1024];
    struct writer out = writer_of(buffer, sizeof(buffer));
    struct raft_message m = an_append();
    peer_message_frame(&out, &m, entry_of, NULL);
    struct frame whole = frame_of(&out);
    struct peer_message *got = calloc(1, sizeof(*got));
    for (size_t len = 0; len < whole.payload.len; len++) {
        struct frame cut = {.kind = whole.kind, .payload = bytes_of(whole.payload.at, len)};
        cr_assert_neq(peer_message_decode(cut, got), 0, "cut to %zu", len);
    }
    struct frame other = {.kind = 63, .payload = whole.payload};
    cr_assert_neq(peer_message_decode(other, got), 0);
    m.append_entries.entries.at[0].count = RAFT_APPEND_ENTRIES_MAX + 1;
    uint8_t *large = malloc(1 << 16);
    struct writer too_many = writer_of(large, 1 << 16);
    put_u64(&too_many, 1);
    put_u64(&too_many, 2);
    put_u64(&too_many, 7);
    for (int i = 0; i < 4; i++)
        put_u64(&too_many, 1);
    put_u32(&too_many, 1);
    put_u64(&too_many, 7);
    put_u32(&too_many, RAFT_APPEND_ENTRIES_MAX + 1);
    struct frame greedy = {.kind = RAFT_APPEND_ENTRIES, .payload = writer_bytes(&too_many)};
    cr_assert_neq(peer_message_decode(greedy, got), 0);
    free(large);
    free(got);
}

Test(peer, greets_with_who_it_is)
{
    uint8_t buffer[256];
    struct writer out = writer_of(buffer, sizeof(buffer));
    struct peer_hello hello = {
        .version = PEER_VERSION, .from = 1, .to = 2, .cluster = bytes_of_text("here")};
    peer_hello_frame(&out, &hello);
    struct peer_hello got;
    struct frame frame = frame_of(&out);
    cr_assert_eq(peer_hello_decode(frame, &got), 0);
    cr_assert_eq(got.to, 2);
    cr_assert(bytes_equal(got.cluster, hello.cluster));
    frame.kind = RAFT_APPEND_ENTRIES;
    cr_assert_neq(peer_hello_decode(frame, &got), 0);
}

/* Who speaks another version is told so: its greeting may go on as it likes. */
Test(peer, reads_of_another_versions_greeting_who_it_is)
{
    uint8_t buffer[64];
    struct writer out = writer_of(buffer, sizeof(buffer));
    put_u32(&out, PEER_VERSION + 1);
    put_u64(&out, 3);
    put_u64(&out, 2);
    put_text(&out, "and more");
    struct frame frame = {.kind = PEER_HELLO, .payload = writer_bytes(&out)};
    struct peer_hello got;
    cr_assert_eq(peer_hello_decode(frame, &got), 0);
    cr_assert(got.version == PEER_VERSION + 1 && got.from == 3 && got.to == 2);
    frame.payload.len = 19;
    cr_assert_neq(peer_hello_decode(frame, &got), 0);
}

Test(peer, says_why_it_refuses)
{
    uint8_t buffer[64];
    enum peer_refusal why;
    for (uint8_t i = 1; i < PEER_REFUSAL_NUMBERS; i++) {
        struct writer out = writer_of(buffer, sizeof(buffer));
        peer_refused_frame(&out, (enum peer_refusal)i);
        cr_assert_eq(peer_refused_decode(frame_of(&out), &why), 0);
        cr_assert_eq((uint8_t)why, i);
        cr_assert(strlen(peer_refusal_at_callee(why)) > 0 &&
                  strlen(peer_refusal_at_caller(why)) > 0);
    }
    struct frame later = {.kind = PEER_REFUSED, .payload = bytes_of_text("\xc8 and more")};
    cr_assert_eq(peer_refused_decode(later, &why), 0);
    cr_assert_eq(why, PEER_REFUSAL_OTHER);
    later.payload.len = 0;
    cr_assert_neq(peer_refused_decode(later, &why), 0);
}

static bool is_taken(const struct peer_note *note)
{
    uint8_t buffer[8192];
    struct writer out = writer_of(buffer, sizeof(buffer));
    struct peer_note got;
    peer_note_frame(&out, note);
    return peer_note_decode(frame_of(&out), &got) == 0;
}

Test(peer, refuses_notes_that_no_node_sends)
{
    static const uint8_t indexes[8 * (PEER_ENTRIES_REQUEST_MAX + 1)];
    struct peer_note note = {.kind = PEER_LOG_POSITION,
                             .log_position = {.term = 3, .last_term = 3}};
    cr_assert(is_taken(&note));
    note.log_position.last_term = 4;
    cr_assert_not(is_taken(&note), "an entry above the term");
    note.log_position.term = note.log_position.last_term = UINT64_MAX;
    cr_assert_not(is_taken(&note), "no such term");

    note = (struct peer_note){.kind = PEER_SNAPSHOT_CHUNK,
                              .snapshot_chunk = {.index = 9, .after = 5, .next_after = 6}};
    cr_assert_not(is_taken(&note), "it holds nothing, and more is to come");
    note.snapshot_chunk.last = 1;
    cr_assert(is_taken(&note));
    note.snapshot_chunk.last = 0;
    note.snapshot_chunk.users = bytes_of_text("users");
    cr_assert(is_taken(&note));
    note.snapshot_chunk.next_after = 5;
    cr_assert_not(is_taken(&note), "it does not go on");
    note.snapshot_chunk.next_after = 4;
    cr_assert_not(is_taken(&note), "it goes back");

    note = (struct peer_note){.kind = PEER_ENTRIES_REQUEST,
                              .entries_request = {bytes_of(indexes, sizeof(indexes) - 8)}};
    cr_assert(is_taken(&note));
    note.entries_request.indexes.len = sizeof(indexes);
    cr_assert_not(is_taken(&note), "too many");
    note.entries_request.indexes.len = 9;
    cr_assert_not(is_taken(&note), "half an index");

    note = (struct peer_note){.kind = PEER_ENTRY, .entry = {.index = 1, .term = 1, .kind = 2}};
    cr_assert(is_taken(&note));
    note.entry.kind = 4;
    cr_assert_not(is_taken(&note), "no kind");

    note = (struct peer_note){.kind = PEER_SNAPSHOT_OFFER,
                              .snapshot_offer = {.index = 9, .term = 1, .next_id = 3, .users = 2}};
    cr_assert(is_taken(&note));
    note.snapshot_offer.users = 3;
    cr_assert_not(is_taken(&note), "more users than ids");
    note.snapshot_offer.users = 2;
    note.snapshot_offer.next_id = 11;
    cr_assert_not(is_taken(&note), "more ids than entries");
    note.snapshot_offer.next_id = 3;
    note.snapshot_offer.answers_next = 10;
    cr_assert_not(is_taken(&note), "more answers than entries");
    note.snapshot_offer.answers_next = 0;
    note.snapshot_offer.index = UINT64_MAX;
    cr_assert_not(is_taken(&note), "no such index");
}
