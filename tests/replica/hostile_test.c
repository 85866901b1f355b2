/* Node 1 of three, and frames that no node that follows the rules sends it, or too many of them. */
#include "tests/replica/member_rig.h"

#include <errno.h>
#include <string.h>

static const struct peer_entry noop = {.kind = RAFT_NOOP};

Test(replica_hostile, refuses_entries_that_cannot_be_read)
{
    static const enum raft_entry_kind kinds[] = {RAFT_COMMAND, RAFT_CONFIGURATION};
    struct member_rig *member = member_new();
    must(member_hear_append(member, 0, 1, noop) == 0);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct peer_entry bad = {kinds[i], bytes_of_text("of a version to come")};
        cr_assert(eq(int, member_hear_append(member, 1, 1, bad), -EBADMSG));
        struct peer_note note = {
            .kind = PEER_ENTRY,
            .entry = {.index = 1, .term = 1, .kind = (uint8_t)kinds[i], .payload = bad.payload}};
        cr_assert(eq(int, member_hear_note(member, 3, note), -EBADMSG));
    }
    cr_assert(eq(u64, raft_status(member->replica->raft).last.n, 1));
    must(member_hear_append(member, 1, 1, noop) == 0);
    cr_assert(eq(u64, replica_status(member->replica).applied, 2));
    member_free(member);
}

Test(replica_hostile, answers_one_question_for_entries_a_turn)
{
    enum { ENTRIES = 16 };
    static uint8_t indexes[8 * ENTRIES];
    struct member_rig *member = member_new();
    struct writer out = writer_of(indexes, sizeof(indexes));
    for (uint64_t i = 1; i <= ENTRIES; i++)
        put_u64(&out, i);
    must(member_hear_append(member, 0, ENTRIES, noop) == 0);
    struct peer_note please = {.kind = PEER_ENTRIES_REQUEST,
                               .entries_request = {bytes_of(indexes, sizeof(indexes))}};
    cr_assert(eq(int, member_hear_note(member, 2, please), 0));
    cr_assert(eq(u32, member->said[PEER_ENTRY], ENTRIES));
    cr_assert(eq(int, member_hear_note(member, 3, please), -EAGAIN));
    member_turns(member);
    cr_assert(eq(int, member_hear_note(member, 3, please), 0));
    cr_assert(eq(u32, member->said[PEER_ENTRY], 2 * ENTRIES));
    member_free(member);
}

static uint8_t members_bytes[MEMBERS_BYTES_MAX];

static struct peer_note offer_of(uint64_t index, uint64_t users)
{
    struct members members = member_list();
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
    struct member_rig *member = member_new();
    must(member_hear_append(member, 0, 3, noop) == 0);
    struct peer_note please = {.kind = PEER_SNAPSHOT_REQUEST};
    struct peer_note want = {.kind = PEER_SNAPSHOT_CHUNK_REQUEST,
                             .snapshot_chunk_request = {.index = 3}};
    struct peer_note end = {.kind = PEER_SNAPSHOT_END, .snapshot_end = {.index = 3}};
    cr_assert(eq(int, member_hear_note(member, 3, please), 0));
    cr_assert(eq(int, member_hear_note(member, 3, want), 0));
    cr_assert(eq(int, member_hear_note(member, 3, want), -EAGAIN));
    cr_assert(eq(int, member_hear_note(member, 3, end), 0));
    cr_assert(eq(int, member_hear_note(member, 3, please), 0));
    cr_assert(eq(int, member_hear_note(member, 3, want), -EAGAIN), "nor by beginning anew");
    cr_assert(eq(int, member_hear_note(member, 2, please), 0));
    cr_assert(eq(int, member_hear_note(member, 2, want), 0));
    member_turns(member);
    cr_assert(eq(int, member_hear_note(member, 3, want), 0));
    cr_assert(eq(u32, member->said[PEER_SNAPSHOT_CHUNK], 3));
    member_free(member);
}

Test(replica_hostile, begins_fetches_at_a_pace_of_its_own)
{
    struct member_rig *member = member_new();
    must(member_hear_append(member, 0, 1, noop) == 0);
    uint32_t before = member->notes;
    for (uint64_t i = 0; i < 1000; i++)
        must(member_hear_note(member, 2, offer_of(100 + i, 1)) == 0);
    cr_assert(eq(u32, member->notes - before, 1));
    cr_assert(eq(u64, member->replica->receive.index.n, 100));
    member->now_ms += 500;
    must(member_hear_note(member, 2, offer_of(2000, 1)) == 0);
    cr_assert(eq(u64, member->replica->receive.index.n, 2000), "the holder has another one");
    member_free(member);
}

Test(replica_hostile, fetches_no_more_than_was_announced)
{
    uint8_t packed[4096];
    struct member_rig *member = member_new();
    must(member_hear_append(member, 0, 1, noop) == 0);
    must(member_hear_note(member, 2, offer_of(100, 2)) == 0);
    struct peer_snapshot_chunk chunk = {.index = 100};
    for (uint64_t id = 1; id <= 3; id++) {
        struct writer out = writer_of(packed, sizeof(packed));
        struct user user = {.id = id, .index = id, .name = bytes_of_text("x")};
        user_put(&out, &user);
        chunk.after = id - 1;
        chunk.next_after = id;
        chunk.users = writer_bytes(&out);
        int result = member_hear_note(
            member, 2, (struct peer_note){.kind = PEER_SNAPSHOT_CHUNK, .snapshot_chunk = chunk});
        cr_assert(eq(int, result, id <= 2 ? 0 : -EBADMSG));
    }
    cr_assert(member->replica->receive.users == NULL);
    member_free(member);
}

Test(replica_hostile, numbers_its_rounds_of_reads_from_a_number_of_this_life)
{
    struct member_rig *member = member_new();
    cr_assert(ge(u64, member->replica->reads.token, member->replica->options.random));
    cr_assert(gt(u64, member->replica->options.random, 0));
    member_free(member);
}
