/*
 * Frames: the envelope of everything on a socket.
 *
 *     offset  size
 *          0     4  length of the payload, ≤ FRAME_PAYLOAD_BYTES_MAX
 *          4     2  kind: the tag of a message, its family is the socket's
 *          6     2  magic "RC"
 *          8     4  CRC-32C of the eight bytes before and of the payload
 *         12        payload
 *
 * Integers are little-endian. A frame that breaks a rule ends its connection: after it the bytes
 * cannot be trusted to be where frames begin.
 */
#ifndef ROLLCALL_WIRE_FRAME_H
#define ROLLCALL_WIRE_FRAME_H

#include "raft/base/bytes.h"

#define FRAME_HEADER_BYTES      12u
#define FRAME_PAYLOAD_BYTES_MAX (1u << 20)

struct frame {
    uint16_t kind;
    struct bytes payload; /* points into the decoded buffer */
};

/*
 * The first frame in `buffer`. Returns its whole length in bytes; 0 when more bytes are needed;
 * -EBADMSG when this is no frame (wrong magic, too long, checksum).
 */
NODISCARD int64_t frame_decode(struct bytes buffer, struct frame *ret_frame);

/*
 * Writing: begin leaves room for the header, the payload is put by the caller, end fills the
 * header in. `begin` is what frame_begin returned. No-ops on a bad writer.
 */
size_t frame_begin(struct writer *out);
void frame_end(struct writer *out, size_t begin, uint16_t kind);

#endif
