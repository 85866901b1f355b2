/*
 * The decoders of what is on disk: no input may make them read beyond its end, and what they take
 * must be what the encoders write. The bytes are tried as they are, and with the checksums put
 * right, which no fuzzer guesses.
 */
#include "raft/wire/record.h"

#include "raft/base/crc32c.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE_LIMIT (1u << 16)

static void check_record(struct bytes bytes)
{
    static uint8_t again[SIZE_LIMIT + RECORD_HEADER_BYTES + 8];
    struct record record;
    if (record_get(bytes, &record) != RECORD_OK)
        return;
    size_t whole = RECORD_HEADER_BYTES + record.payload.len; /* what padding says is not judged */
    struct writer out = writer_of(again, sizeof(again));
    uint32_t crc = record.header_crc;
    record_put(&out, &record);
    if (out.bad || record.header_crc != crc || writer_len(&out) % 8 != 0 || whole > bytes.len ||
        memcmp(again, bytes.at, whole) != 0)
        abort();
    struct record_owner owner;
    if (record_owner_decode(record.payload, &owner) != 0)
        return;
    struct writer owned = writer_of(again, sizeof(again));
    record_owner_put(&owned, &owner);
    if (!bytes_equal(writer_bytes(&owned), record.payload))
        abort();
}

static void check_hard_state(struct bytes bytes)
{
    uint8_t again[RECORD_HARD_STATE_BYTES];
    struct record_hard_state state, back;
    if (record_hard_state_decode(bytes, &state) != 0)
        return;
    struct writer out = writer_of(again, sizeof(again));
    record_hard_state_put(&out, &state);
    if (out.bad || record_hard_state_decode(writer_bytes(&out), &back) != 0 ||
        back.sequence != state.sequence || back.node != state.node ||
        back.hard.term.n != state.hard.term.n || back.hard.voted != state.hard.voted ||
        back.hard.vote.n != state.hard.vote.n || back.segment != state.segment ||
        back.cut != state.cut)
        abort();
}

static void put_crc(uint8_t *at, struct bytes of)
{
    struct writer out = writer_of(at, 4);
    put_u32(&out, crc32c(0, of));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > SIZE_LIMIT)
        return 0;
    check_record(bytes_of(data, size));
    check_hard_state(bytes_of(data, size));
    uint8_t *copy = malloc(size + 1); /* of its size, so that a byte too many is seen */
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (size >= RECORD_HEADER_BYTES) {
        struct reader in = reader_of(bytes_of(copy + 12, 4));
        uint32_t len = get_u32(&in) % (uint32_t)(size - RECORD_HEADER_BYTES + 8);
        struct writer out = writer_of(copy + 12, 4);
        put_u32(&out, len); /* most lengths fit, some do not */
        memcpy(copy + 4, "RWAL", 4);
        if (len <= size - RECORD_HEADER_BYTES)
            put_crc(copy + 60, bytes_of(copy + RECORD_HEADER_BYTES, len));
        put_crc(copy, bytes_of(copy + 4, RECORD_HEADER_BYTES - 4));
        check_record(bytes_of(copy, size));
    }
    if (size >= RECORD_HARD_STATE_BYTES) {
        memcpy(copy + 4, "HRST", 4);
        put_crc(copy, bytes_of(copy + 4, RECORD_HARD_STATE_BYTES - 4));
        check_hard_state(bytes_of(copy, RECORD_HARD_STATE_BYTES));
    }
    free(copy);
    return 0;
}
