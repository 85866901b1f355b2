#include "raft/wire/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct record sample(struct bytes payload)
{
    return (struct record){
        .type = RECORD_ENTRY,
        .kind = 2,
        .index = {0x1122334455667788},
        .term = {7},
        .synced = 41,
        .generation = 0xabcdef,
        .sequence = 42,
        .previous_crc = 0xdeadbeef,
        .payload = payload,
    };
}

static struct bytes put(uint8_t *at, size_t capacity, struct record *record)
{
    struct writer out = writer_of(at, capacity);
    record_put(&out, record);
    cr_assert(not(out.bad));
    cr_assert(eq(sz, writer_len(&out), record_bytes(record->payload.len)));
    return writer_bytes(&out);
}

static bool records_equal(const struct record *a, const struct record *b)
{
    return a->type == b->type && a->kind == b->kind && a->index.n == b->index.n &&
           a->term.n == b->term.n && a->synced == b->synced && a->generation == b->generation &&
           a->sequence == b->sequence && a->previous_crc == b->previous_crc &&
           a->header_crc == b->header_crc && bytes_equal(a->payload, b->payload);
}

Test(record, is_laid_out_as_its_header_says)
{
    uint8_t at[128];
    struct record record = sample(bytes_of_text("hello"));
    struct bytes bytes = put(at, sizeof(at), &record);
    static const uint8_t expected[20] = {'R', 'W', 'A',  'L',  2,    2,    3,    0,    5,    0,
                                         0,   0,   0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
    cr_assert(eq(sz, bytes.len, 72));
    cr_assert(
        bytes_equal(bytes_of(at + 4, sizeof(expected)), bytes_of(expected, sizeof(expected))));
    cr_assert(eq(u8, at[24], 7));
    cr_assert(eq(u8, at[32], 41));
    cr_assert(eq(u8, at[48], 42));
    cr_assert(eq(u8, at[56], 0xef));
    cr_assert(bytes_equal(bytes_of(at + 64, 8), bytes_of("hello\0\0\0", 8)));
}

Test(record, comes_back_as_it_went_with_every_length)
{
    uint8_t payload[200], at[300];
    for (size_t len = 0; len <= sizeof(payload); len++) {
        memset(payload, (int)len, len);
        struct record record = sample(bytes_of(payload, len)), back;
        struct bytes bytes = put(at, sizeof(at), &record);
        cr_assert(eq(sz, bytes.len % 8, 0));
        cr_assert(eq(int, record_get(bytes, &back), RECORD_OK));
        if (!records_equal(&record, &back))
            cr_fatal("length %zu", len);
    }
}

Test(record, with_any_bit_flipped_is_never_taken_for_good)
{
    uint8_t at[128], copy[128];
    struct record record = sample(bytes_of_text("thirteen byte"));
    struct bytes bytes = put(at, sizeof(at), &record);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        struct record back;
        bool padding = bit / 8 >= RECORD_HEADER_BYTES + 13;
        memcpy(copy, at, bytes.len);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum record_verdict verdict = record_get(bytes_of(copy, bytes.len), &back);
        if (verdict != (padding ? RECORD_OK : RECORD_BROKEN))
            cr_fatal("bit %zu: verdict %d", bit, verdict);
        if (padding && !records_equal(&record, &back))
            cr_fatal("bit %zu of the padding changed the record", bit);
    }
}

Test(record, cut_short_anywhere_is_broken)
{
    uint8_t at[128];
    struct record record = sample(bytes_of_text("some payload"));
    struct bytes bytes = put(at, sizeof(at), &record);
    for (size_t len = 1; len < RECORD_HEADER_BYTES + 12; len++) {
        struct record back;
        uint8_t *copy = malloc(len); /* so that a sanitizer sees any byte too many */
        memcpy(copy, at, len);
        if (record_get(bytes_of(copy, len), &back) != RECORD_BROKEN)
            cr_fatal("cut at %zu", len);
        free(copy);
    }
    struct record back;
    cr_assert(eq(int, record_get(bytes_of(at, 0), &back), RECORD_END));
    (void)bytes;
}

Test(record, header_says_what_its_payload_must_be)
{
    uint8_t at[128], again[RECORD_HEADER_BYTES];
    struct record record = sample(bytes_of_text("some payload")), head;
    (void)put(at, sizeof(at), &record);
    cr_assert(eq(int, record_head_get(bytes_of(at, RECORD_HEADER_BYTES), &head), RECORD_OK));
    cr_assert(eq(u32, head.length, 12));
    cr_assert(eq(sz, head.payload.len, 0));
    cr_assert(record_is_payload(&head, bytes_of_text("some payload")));
    cr_assert(not(record_is_payload(&head, bytes_of_text("some paylord"))));
    cr_assert(not(record_is_payload(&head, bytes_of_text("some payloa"))));
    struct writer out = writer_of(again, sizeof(again));
    record_head_put(&out, &head);
    cr_assert(bytes_equal(bytes_of(at, sizeof(again)), bytes_of(again, sizeof(again))));
}

Test(record, an_unused_sector_is_of_one_place_and_no_record)
{
    uint8_t at[RECORD_HEADER_BYTES];
    struct record back;
    struct writer out = writer_of(at, sizeof(at));
    record_unused_put(&out, 77, 3, 1024);
    struct bytes bytes = writer_bytes(&out);
    cr_assert(eq(sz, bytes.len, RECORD_HEADER_BYTES));
    cr_assert(record_is_unused(bytes, 77, 3, 1024));
    cr_assert(not(record_is_unused(bytes, 78, 3, 1024)));
    cr_assert(not(record_is_unused(bytes, 77, 4, 1024)));
    cr_assert(not(record_is_unused(bytes, 77, 3, 1536)));
    cr_assert(eq(int, record_get(bytes, &back), RECORD_BROKEN));
    for (size_t bit = 0; bit < sizeof(at) * 8; bit++) {
        at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert(not(record_is_unused(bytes, 77, 3, 1024)));
        at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(record, of_zeros_is_the_end)
{
    uint8_t zeros[256] = {0};
    struct record back;
    for (size_t len = 0; len <= sizeof(zeros); len++)
        cr_assert(eq(int, record_get(bytes_of(zeros, len), &back), RECORD_END));
    zeros[63] = 1;
    cr_assert(eq(int, record_get(bytes_of(zeros, sizeof(zeros)), &back), RECORD_BROKEN));
    zeros[63] = 0;
    zeros[64] = 1;
    cr_assert(eq(int, record_get(bytes_of(zeros, sizeof(zeros)), &back), RECORD_END),
              "the caller looks at what comes after");
}

Test(record, of_a_later_format_is_foreign_and_not_broken)
{
    uint8_t at[128];
    for (unsigned type = 0; type < 256; type++) {
        struct record record = sample(bytes_of_text("x")), back;
        record.type = (enum record_type)type;
        struct bytes bytes = put(at, sizeof(at), &record);
        bool known = type >= RECORD_SEGMENT && type <= RECORD_COPIES;
        cr_assert(eq(int, record_get(bytes, &back), known ? RECORD_OK : RECORD_FOREIGN));
    }
}

Test(record, is_not_put_where_it_does_not_fit)
{
    uint8_t at[256];
    struct record record = sample(bytes_of_text("some payload"));
    for (size_t room = 0; room < record_bytes(12); room++) {
        struct writer out = writer_of(at, room);
        record_put(&out, &record);
        cr_assert(out.bad);
        cr_assert(eq(sz, writer_len(&out), 0));
    }
}

Test(record, owner_comes_back_and_every_cut_of_it_is_refused)
{
    uint8_t at[128];
    struct writer out = writer_of(at, sizeof(at));
    struct record_owner owner = {.node = 3,
                                 .segment = 9,
                                 .size = 8 << 20,
                                 .cluster = bytes_of_text("rollcall")},
                        back;
    record_owner_put(&out, &owner);
    struct bytes bytes = writer_bytes(&out);
    cr_assert(eq(int, record_owner_decode(bytes, &back), 0));
    cr_assert(eq(u64, back.node, 3));
    cr_assert(eq(u64, back.segment, 9));
    cr_assert(eq(u64, back.size, 8 << 20));
    cr_assert(bytes_equal(back.cluster, bytes_of_text("rollcall")));
    for (size_t len = 0; len < bytes.len; len++)
        cr_assert(eq(int, record_owner_decode(bytes_of(at, len), &back), -EBADMSG));
    at[bytes.len] = 0;
    cr_assert(eq(int, record_owner_decode(bytes_of(at, bytes.len + 1), &back), -EBADMSG));
}

Test(record, hard_state_comes_back_and_every_flipped_bit_of_it_is_refused)
{
    uint8_t at[RECORD_HARD_STATE_BYTES];
    struct writer out = writer_of(at, sizeof(at));
    struct record_hard_state state = {.sequence = 5,
                                      .node = 1,
                                      .hard = {.term = {8},
                                               .voted = true,
                                               .vote = {2},
                                               .recovering = true,
                                               .floor = {true, {9}, {7}}},
                                      .starts = {.count = 4, .number = {[3] = 33, [4] = 44}},
                                      .identity = {.cluster = {11, 12},
                                                   .disk = 13,
                                                   .members = 2,
                                                   .member = {1, 3}}},
                             back;
    record_hard_state_put(&out, &state);
    cr_assert(eq(sz, writer_len(&out), RECORD_HARD_STATE_BYTES));
    cr_assert(eq(int, record_hard_state_decode(bytes_of(at, sizeof(at)), &back), 0));
    cr_assert(eq(u64, back.sequence, 5));
    cr_assert(eq(u64, back.hard.term.n, 8));
    cr_assert(eq(u64, back.hard.vote.n, 2));
    cr_assert(back.hard.voted);
    cr_assert(back.hard.recovering);
    cr_assert(back.hard.floor.known);
    cr_assert(eq(u64, back.hard.floor.index.n, 9));
    cr_assert(eq(u64, back.hard.floor.term.n, 7));
    cr_assert(eq(u64, back.starts.count, 4));
    cr_assert(back.starts.number[3] == 33 && back.starts.number[4] == 44);
    cr_assert(cluster_id_equal(back.identity.cluster, state.identity.cluster));
    cr_assert(eq(u64, back.identity.disk, 13));
    cr_assert(eq(u32, back.identity.members, 2));
    cr_assert(eq(u64, back.identity.member[1], 3));
    for (size_t bit = 0; bit < sizeof(at) * 8; bit++) {
        at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert(eq(int, record_hard_state_decode(bytes_of(at, sizeof(at)), &back), -EBADMSG));
        at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof(at); len++)
        cr_assert(eq(int, record_hard_state_decode(bytes_of(at, len), &back), -EBADMSG));
    memset(at, 0, sizeof(at));
    cr_assert(eq(int, record_hard_state_decode(bytes_of(at, sizeof(at)), &back), -EBADMSG),
              "zeros are damage, too");
}
