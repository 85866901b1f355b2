#include "raft/wire/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* Every kind once, every field with a value of its own. */
static const struct call calls[] = {
    {.kind = CALL_HELLO, .hello = {.version = 0x01020304}},
    {.kind = CALL_WELCOME, .welcome = {.version = 2, .node = UINT64_MAX}},
    {.kind = CALL_WRITE,
     .write = {.call = 3,
               .request = {{1, 2, 3, [15] = 16}},
               .command = {(const uint8_t *)"cmd", 3}}},
    {.kind = CALL_WRITTEN,
     .written = {.call = 4, .index = 5, .answer = {(const uint8_t *)"answer", 6}}},
    {.kind = CALL_REFUSED, .refused = {.call = 6, .reason = CALL_BUSY}},
    {.kind = CALL_UNKNOWN, .unknown = {.call = 7}},
    {.kind = CALL_LIST,
     .list = {.call = 8,
              .consistency = CALL_STALE,
              .after = 9,
              .limit = 1000,
              .by = CALL_BY_NAME,
              .text = {(const uint8_t *)"Zoe", 3}}},
    {.kind = CALL_USERS,
     .users = {.call = 10, .index = 11, .last = 1, .users = {(const uint8_t *)"", 0}}},
    {.kind = CALL_MORE, .more = {.call = 12}},
    {.kind = CALL_DROP, .drop = {.call = 13}},
    {.kind = CALL_STATUS, .status = {.call = 14}},
    {.kind = CALL_STATUS_RESPONSE,
     .status_response = {.call = 15,
                         .node = 16,
                         .role = CALL_LEADER,
                         .ready = 1,
                         .term = 17,
                         .leader = 18,
                         .commit = 19,
                         .applied = 20,
                         .last = 21,
                         .users = 22,
                         .wal_full = 1,
                         .snapshot_state = CALL_SNAPSHOT_DOWN,
                         .snapshot_index = 23,
                         .cluster = {(const uint8_t *)"c", 1},
                         .address = {(const uint8_t *)"a:1", 3},
                         .members = {(const uint8_t *)"members", 7}}},
    {.kind = CALL_METRICS, .metrics = {.call = 35}},
    {.kind = CALL_METRICS_RESPONSE,
     .metrics_response = {.call = 36, .text = {(const uint8_t *)"up 1\n", 5}}},
    {.kind = CALL_BACKUP, .backup = {.call = 24}},
    {.kind = CALL_VERSION_RESPONSE,
     .version_response = {.call = 25,
                          .cluster = {(const uint8_t *)"c", 1},
                          .node = 26,
                          .index = 27,
                          .term = 28,
                          .users = 29,
                          .next_id = 30,
                          .changed = 40,
                          .time_ms = 41,
                          .answers_first = 31,
                          .answers_next = 32,
                          .keys_first = 42,
                          .keys_next = 43,
                          .digest = 33}},
    {.kind = CALL_PIECE,
     .piece = {.call = 34,
               .last = 1,
               .users = {(const uint8_t *)"users", 5},
               .answers = {(const uint8_t *)"answers", 7}}},
};

#define COUNT_ONE(...) +1
_Static_assert(ARRAY_LEN(calls) == 0 CALLS(COUNT_ONE), "a call of each kind");

static struct bytes encoded(const struct call *call, uint8_t *at, size_t capacity)
{
    struct writer out = writer_of(at, capacity);
    call_put(&out, call);
    cr_assert(not(out.bad));
    return writer_bytes(&out);
}

static struct bytes printed(const struct call *call, uint8_t *at, size_t capacity)
{
    struct writer out = writer_of(at, capacity);
    call_print(&out, call);
    cr_assert(not(out.bad));
    return writer_bytes(&out);
}

Test(call, comes_back_as_it_went)
{
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        uint8_t at[512], before[512], after[512];
        struct frame frame;
        struct call back;
        struct bytes bytes = encoded(&calls[i], at, sizeof(at));
        cr_assert(eq(i64, frame_decode(bytes, &frame), (int64_t)bytes.len));
        cr_assert(eq(int, call_decode(frame, &back), 0));
        struct bytes a = printed(&calls[i], before, 512), b = printed(&back, after, 512);
        cr_expect(bytes_equal(a, b), "%.*s came back as %.*s", (int)a.len, a.at, (int)b.len, b.at);
    }
}

Test(call, prints_its_kind_and_every_field)
{
    uint8_t at[512];
    struct bytes text = printed(&calls[6], at, sizeof(at));
    cr_assert(bytes_equal(text, bytes_of_text(
                                    "CALL_LIST call=8 consistency=2 min_index=0 after=9 limit=1000 "
                                    "by=1 text=\"Zoe\"")),
              "%.*s", (int)text.len, text.at);
}

Test(call, is_refused_when_bytes_are_missing_or_left_over)
{
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        uint8_t at[512];
        struct frame frame;
        struct call back;
        struct bytes bytes = encoded(&calls[i], at, sizeof(at));
        cr_assert(frame_decode(bytes, &frame) > 0);
        size_t whole = frame.payload.len;
        for (size_t len = 0; len < whole; len++) {
            uint8_t *copy = malloc(len + 1);
            memcpy(copy, frame.payload.at, len);
            struct frame cut = {.kind = frame.kind, .payload = bytes_of(copy, len)};
            cr_expect(eq(int, call_decode(cut, &back), -EBADMSG));
            free(copy);
        }
        at[FRAME_HEADER_BYTES + whole] = 0;
        struct frame longer = {.kind = frame.kind,
                               .payload = bytes_of(frame.payload.at, whole + 1)};
        cr_expect(eq(int, call_decode(longer, &back), -EBADMSG));
    }
}

Test(call, packs_the_members_of_its_status)
{
    static char address[CALL_ADDRESS_BYTES_MAX + 1];
    memset(address, 'a', sizeof(address) - 1);
    uint8_t at[CALL_MEMBERS_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    for (uint64_t i = 1; i <= CALL_MEMBERS_MAX; i++)
        member_put(&out, &(struct call_member){.id = i,
                                               .voter = i % 2,
                                               .match = 100 + i,
                                               .reachable = i % 3 == 0,
                                               .match_known = i % 5 == 0,
                                               .address = bytes_of_text(address)});
    cr_assert(not(out.bad));
    cr_assert(eq(sz, writer_room(&out), 0)); /* as many, and as long, as is promised */
    struct reader in = reader_of(writer_bytes(&out));
    for (uint64_t i = 1; i <= CALL_MEMBERS_MAX; i++) {
        struct call_member member = member_get(&in);
        cr_expect(eq(u64, member.id, i));
        cr_expect(eq(u64, member.voter, i % 2));
        cr_expect(eq(u64, member.match, 100 + i));
        cr_expect(eq(u64, member.reachable, i % 3 == 0));
        cr_expect(eq(u64, member.match_known, i % 5 == 0));
        cr_expect(bytes_equal(member.address, bytes_of_text(address)));
    }
    cr_assert(reader_done(&in));
    (void)member_get(&in);
    cr_assert(in.bad);
}

Test(call, of_a_kind_that_is_none_is_refused)
{
    uint8_t payload[512] = {0};
    for (unsigned kind = 0; kind <= UINT16_MAX; kind++) {
        if ((kind >= CALL_HELLO && kind <= CALL_METRICS_RESPONSE) ||
            (kind >= CALL_BACKUP && kind <= CALL_PIECE))
            continue;
        struct frame frame = {.kind = (uint16_t)kind, .payload = bytes_of(payload, 8)};
        struct call back;
        cr_assert(eq(int, call_decode(frame, &back), -EBADMSG));
    }
}

Test(call, fits_into_what_is_promised_for_it)
{
    static uint8_t at[CALL_FRAME_BYTES_MAX(CALL_CHUNK_BYTES_MAX)], users[CALL_CHUNK_BYTES_MAX];
    struct call call = {.kind = CALL_USERS, .users = {.users = bytes_of(users, sizeof(users))}};
    struct bytes bytes = encoded(&call, at, sizeof(at));
    cr_assert(bytes.len <= sizeof(at));
}

Test(call, has_a_text_for_every_value_and_none_for_others)
{
    cr_assert(eq(str, (char *)call_reason_text(CALL_NO_LEADER), "no leader is known"));
    cr_assert(eq(str, (char *)call_role_text(CALL_LEADER), "leader"));
    cr_assert(eq(str, (char *)call_snapshot_text(CALL_SNAPSHOT_DOWN), "redis-down"));
    for (unsigned value = 0; value <= UINT8_MAX; value++) {
        cr_assert(eq(int, call_reason_text((uint8_t)value) != NULL, value >= 1 && value <= 6));
        cr_assert(eq(int, call_role_text((uint8_t)value) != NULL, value >= 1 && value <= 3));
        cr_assert(eq(int, call_snapshot_text((uint8_t)value) != NULL, value >= 1 && value <= 4));
    }
}
