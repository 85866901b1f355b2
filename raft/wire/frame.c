#include "raft/wire/frame.h"

#include "raft/base/crc32c.h"

#include <errno.h>

#define FRAME_MAGIC 0x4352u /* "RC" */

int64_t frame_decode(struct bytes buffer, struct frame *ret_frame)
{
    if (buffer.len < FRAME_HEADER_BYTES)
        return 0;
    struct reader in = reader_of(buffer);
    uint32_t length = get_u32(&in);
    uint16_t kind = get_u16(&in);
    uint16_t magic = get_u16(&in);
    uint32_t crc = get_u32(&in);
    if (magic != FRAME_MAGIC || length > FRAME_PAYLOAD_BYTES_MAX)
        return -EBADMSG;
    if (length > reader_left(&in))
        return 0;
    struct bytes payload = get_raw(&in, length);
    if (crc32c(crc32c(0, bytes_of(buffer.at, 8)), payload) != crc)
        return -EBADMSG;
    *ret_frame = (struct frame){.kind = kind, .payload = payload};
    return (int64_t)(FRAME_HEADER_BYTES + length);
}

size_t frame_begin(struct writer *out)
{
    size_t begin = writer_len(out);
    static const uint8_t room[FRAME_HEADER_BYTES];
    put_raw(out, bytes_of(room, sizeof(room)));
    return begin;
}

void frame_end(struct writer *out, size_t begin, uint16_t kind)
{
    if (out->bad)
        return;
    size_t length = writer_len(out) - begin - FRAME_HEADER_BYTES;
    if (length > FRAME_PAYLOAD_BYTES_MAX) {
        out->bad = true;
        return;
    }
    uint8_t *header = out->start + begin;
    struct writer head = writer_of(header, FRAME_HEADER_BYTES);
    put_u32(&head, (uint32_t)length);
    put_u16(&head, kind);
    put_u16(&head, FRAME_MAGIC);
    struct bytes payload = bytes_of(header + FRAME_HEADER_BYTES, length);
    put_u32(&head, crc32c(crc32c(0, bytes_of(header, 8)), payload));
}
