#include "raft/wire/backup.h"

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static const struct backup_head head = {
    .cluster = {(const uint8_t *)"old", 3},
    .node = 2,
    .made_ms = 3,
    .index = 70,
    .term = 5,
    .known = 69,
    .users = 6,
    .next_id = 7,
    .answers_first = 64,
    .answers_next = 66,
    .digest = 0x1122334455667788,
};

Test(backup, is_laid_out_as_its_header_says)
{
    uint8_t at[128];
    struct writer out = writer_of(at, sizeof(at));
    struct backup_chain chain = {.blocks = 0};
    backup_put(&out, &chain, BACKUP_HEAD, bytes_of_text("head"));
    uint32_t crc = chain.crc;
    backup_put(&out, &chain, BACKUP_USERS, bytes_of_text("users"));
    static const uint8_t first[20] = {'R', 'B', 'A', 'K', 1, 0, 4, 0, 4, 0, 0, 0};
    static const uint8_t second[20] = {'R', 'B', 'A', 'K', 2, 0, 4, 0, 5, 0, 0, 0, 1};
    cr_assert(eq(sz, writer_len(&out), 32 + 4 + 32 + 5));
    cr_assert(bytes_equal(bytes_of(at + 4, 20), bytes_of(first, 20)));
    cr_assert(bytes_equal(bytes_of(at + 32, 4), bytes_of_text("head")));
    cr_assert(bytes_equal(bytes_of(at + 36 + 4, 20), bytes_of(second, 20)));
    struct reader before = reader_of(bytes_of(at + 36 + 24, 4));
    cr_assert(eq(u32, get_u32(&before), crc));
}

Test(backup, head_and_end_come_back_as_they_went)
{
    uint8_t at[BACKUP_HEAD_BYTES_MAX], again[BACKUP_HEAD_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at)), second = writer_of(again, sizeof(again));
    struct backup_head back;
    backup_head_encode(&out, &head);
    cr_assert(eq(int, backup_head_decode(writer_bytes(&out), &back), 0));
    backup_head_encode(&second, &back);
    cr_assert(bytes_equal(writer_bytes(&out), writer_bytes(&second)));

    struct writer end_out = writer_of(at, sizeof(at));
    struct backup_end end = {.blocks = 4, .digest = 5}, end_back;
    backup_end_encode(&end_out, &end);
    cr_assert(eq(int, backup_end_decode(writer_bytes(&end_out), &end_back), 0));
    cr_assert(end_back.blocks == 4 && end_back.digest == 5);
}

static int decoded(struct backup_head changed)
{
    uint8_t at[BACKUP_HEAD_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    struct backup_head back;
    backup_head_encode(&out, &changed);
    return backup_head_decode(writer_bytes(&out), &back);
}

Test(backup, a_head_that_cannot_be_is_refused)
{
    static const uint8_t name[BACKUP_CLUSTER_BYTES_MAX + 1];
    struct backup_head changed = head;
    changed.index = 0;
    cr_expect(eq(int, decoded(changed), -EBADMSG));
    changed = head;
    changed.term = 0;
    cr_expect(eq(int, decoded(changed), -EBADMSG));
    changed = head;
    changed.known = head.index + 1;
    cr_expect(eq(int, decoded(changed), -EBADMSG));
    changed = head;
    changed.cluster = bytes_of(name, sizeof(name));
    cr_expect(eq(int, decoded(changed), -EBADMSG));
    changed.cluster.len--;
    cr_expect(eq(int, decoded(changed), 0));
}

Test(backup, blocks_in_another_order_than_they_were_written_are_refused)
{
    uint8_t at[512];
    size_t offset[6];
    static const enum backup_type types[5] = {BACKUP_HEAD, BACKUP_USERS, BACKUP_USERS,
                                              BACKUP_ANSWERS, BACKUP_END};
    struct writer out = writer_of(at, sizeof(at));
    struct backup_chain written = {.blocks = 0};
    for (int i = 0; i < 5; i++) {
        offset[i] = writer_len(&out);
        backup_put(&out, &written, types[i], bytes_of_text("same"));
    }
    /* After i blocks in their order, block j. */
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) {
            struct backup_chain chain = {.blocks = 0};
            struct backup_block block;
            uint32_t len;
            for (int k = 0; k < i; k++) {
                struct bytes header = bytes_of(at + offset[k], BACKUP_HEADER_BYTES);
                cr_assert(eq(int, backup_header(&chain, header, &len), BACKUP_GOOD));
                struct bytes payload = bytes_of(header.at + BACKUP_HEADER_BYTES, len);
                cr_assert(eq(int, backup_payload(&chain, header, payload, &block), BACKUP_GOOD));
                cr_assert(eq(int, block.type, types[k]));
            }
            enum backup_verdict verdict =
                backup_header(&chain, bytes_of(at + offset[j], BACKUP_HEADER_BYTES), &len);
            cr_expect(eq(int, verdict, i == j ? BACKUP_GOOD : BACKUP_DAMAGED), "%d %d", i, j);
        }
    }
}

Test(backup, of_a_later_version_or_no_backup_at_all_is_told_apart)
{
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    struct backup_chain written = {.blocks = 0}, chain = {.blocks = 0};
    uint32_t len;
    backup_put(&out, &written, BACKUP_HEAD, bytes_of("", 0));
    cr_expect(eq(int, backup_header(&chain, writer_bytes(&out), &len), BACKUP_GOOD));
    at[4] = 'X';
    cr_expect(eq(int, backup_header(&chain, writer_bytes(&out), &len), BACKUP_NOT_ONE));
    cr_expect(eq(int, backup_header(&chain, bytes_of(at, 5), &len), BACKUP_NOT_ONE));
}
