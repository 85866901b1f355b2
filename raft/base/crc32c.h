/*
 * CRC-32C (Castagnoli), the checksum of every frame and record: polynomial 0x1EDC6F41, reflected,
 * as in RFC 3720 §B.4. By the processor's own instruction where it has one, else by table.
 */
#ifndef ROLLCALL_BASE_CRC32C_H
#define ROLLCALL_BASE_CRC32C_H

#include "raft/base/bytes.h"

/* The checksum of what gave `before`, followed by `bytes`; `before` is 0 at the start. */
uint32_t crc32c(uint32_t before, struct bytes bytes);

/* The same by table, on every processor: what the fast way is tested against. */
uint32_t crc32c_portable(uint32_t before, struct bytes bytes);

#endif
