#include "raft/wire/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct bytes framed(uint8_t *at, size_t capacity, uint16_t kind, struct bytes payload)
{
    struct writer out = writer_of(at, capacity);
    size_t begin = frame_begin(&out);
    put_raw(&out, payload);
    frame_end(&out, begin, kind);
    cr_assert(not(out.bad));
    return writer_bytes(&out);
}

Test(frame, is_laid_out_as_its_header_says)
{
    uint8_t at[64];
    struct bytes frame = framed(at, sizeof(at), 0x0102, bytes_of_text("hello"));
    static const uint8_t expected[8] = {5, 0, 0, 0, 0x02, 0x01, 'R', 'C'};
    cr_assert(eq(sz, frame.len, FRAME_HEADER_BYTES + 5));
    cr_assert(bytes_equal(bytes_of(frame.at, 8), bytes_of(expected, 8)));
    cr_assert(bytes_equal(bytes_of(frame.at + 12, 5), bytes_of_text("hello")));
}

Test(frame, comes_back_as_it_went)
{
    uint8_t at[64];
    static const size_t lengths[] = {0, 1, 7, 40};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        uint8_t payload[40];
        memset(payload, 0xa5, sizeof(payload));
        struct bytes frame = framed(at, sizeof(at), 9, bytes_of(payload, lengths[i]));
        struct frame back;
        cr_assert(eq(i64, frame_decode(frame, &back), (int64_t)frame.len));
        cr_assert(eq(u16, back.kind, 9));
        cr_assert(bytes_equal(back.payload, bytes_of(payload, lengths[i])));
    }
}

Test(frame, is_the_first_of_several)
{
    uint8_t at[128];
    struct bytes first = framed(at, sizeof(at), 1, bytes_of_text("one"));
    struct bytes second = framed(at + first.len, sizeof(at) - first.len, 2, bytes_of_text("two!"));
    struct frame back;
    int64_t len = frame_decode(bytes_of(at, first.len + second.len), &back);
    cr_assert(eq(i64, len, (int64_t)first.len));
    cr_assert(eq(u16, back.kind, 1));
}

Test(frame, needs_more_at_every_cut)
{
    uint8_t at[64];
    struct bytes frame = framed(at, sizeof(at), 3, bytes_of_text("payload"));
    for (size_t len = 0; len < frame.len; len++) {
        uint8_t *copy = malloc(len + 1);
        memcpy(copy, frame.at, len);
        struct frame back;
        cr_expect(eq(i64, frame_decode(bytes_of(copy, len), &back), 0), "cut at %zu", len);
        free(copy);
    }
}

/* Whatever bit flips, it is seen, or taken for a frame that is not all there yet. */
Test(frame, does_not_survive_a_flipped_bit)
{
    uint8_t at[64];
    struct bytes frame = framed(at, sizeof(at), 3, bytes_of_text("payload"));
    for (size_t bit = 0; bit < 8 * frame.len; bit++) {
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct frame back;
        int64_t got = frame_decode(frame, &back);
        bool length_grew = bit < 32 && got == 0;
        cr_expect(got == -EBADMSG || length_grew, "bit %zu gave %ld", bit, (long)got);
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(frame, over_its_limit_is_neither_written_nor_read)
{
    size_t capacity = FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX + 1;
    uint8_t *at = calloc(1, capacity), *payload = calloc(1, FRAME_PAYLOAD_BYTES_MAX + 1);
    struct bytes largest = framed(at, capacity, 1, bytes_of(payload, FRAME_PAYLOAD_BYTES_MAX));
    struct frame back;
    cr_assert(eq(i64, frame_decode(largest, &back), (int64_t)largest.len));
    struct writer out = writer_of(at, capacity);
    size_t begin = frame_begin(&out);
    put_raw(&out, bytes_of(payload, FRAME_PAYLOAD_BYTES_MAX + 1));
    frame_end(&out, begin, 1);
    cr_assert(out.bad);
    /* Refused by its header alone: nobody waits for a megabyte more. */
    struct writer head = writer_of(at, capacity);
    put_u32(&head, FRAME_PAYLOAD_BYTES_MAX + 1);
    put_u32(&head, 0x43520001);
    put_u32(&head, 0);
    cr_assert(eq(i64, frame_decode(writer_bytes(&head), &back), -EBADMSG));
    free(at);
    free(payload);
}

Test(frame, that_does_not_fit_makes_the_writer_bad_and_no_more)
{
    uint8_t at[FRAME_HEADER_BYTES + 3];
    for (size_t capacity = 0; capacity < sizeof(at); capacity++) {
        struct writer out = writer_of(at, capacity);
        size_t begin = frame_begin(&out);
        put_text(&out, "abc");
        frame_end(&out, begin, 1);
        cr_expect(out.bad);
    }
}
