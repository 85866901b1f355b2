/*
 * The decoder of frames and calls: no input may make it read beyond its end, and what it takes must
 * be, byte for byte, what the encoder writes. The bytes are tried as they are, and as the payload
 * of a frame with a good checksum, which no fuzzer guesses.
 */
#include "raft/wire/call.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE_LIMIT (1u << 16)

static void check_call(struct frame frame)
{
    static uint8_t again[CALL_FRAME_BYTES_MAX(SIZE_LIMIT)], line[8 * SIZE_LIMIT];
    struct call call;
    if (call_decode(frame, &call) != 0)
        return;
    struct writer out = writer_of(again, sizeof(again));
    call_put(&out, &call);
    struct frame back;
    if (out.bad || frame_decode(writer_bytes(&out), &back) != (int64_t)writer_len(&out))
        abort();
    if (back.kind != frame.kind || !bytes_equal(back.payload, frame.payload))
        abort();
    struct writer text = writer_of(line, sizeof(line));
    call_print(&text, &call);
    (void)call_reason_text(frame.payload.len > 0 ? frame.payload.at[0] : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame;
    struct bytes bytes = bytes_of(data, size);
    int64_t len = frame_decode(bytes, &frame);
    if (len > 0 && ((size_t)len > size || (size_t)len != FRAME_HEADER_BYTES + frame.payload.len))
        abort();
    if (len > 0)
        check_call(frame);
    if (size < 2 || size > SIZE_LIMIT)
        return 0;
    static uint8_t framed[SIZE_LIMIT + FRAME_HEADER_BYTES];
    struct writer out = writer_of(framed, sizeof(framed));
    size_t begin = frame_begin(&out);
    put_raw(&out, bytes_of(data + 1, size - 1));
    frame_end(&out, begin, data[0]);
    if (frame_decode(writer_bytes(&out), &frame) != (int64_t)writer_len(&out))
        abort();
    check_call(frame);
    return 0;
}
