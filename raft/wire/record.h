/*
 * What the write-ahead log and the hard state are made of on disk; wal.h says how they are used.
 *
 * A record is a header of 64 bytes and its payload, padded with zeros to a multiple of 8:
 *
 *     offset  size
 *          0     4  CRC-32C of header bytes 4 … 63: every byte of it, the length included
 *          4     4  magic "RWAL"
 *          8     1  type (enum record_type)
 *          9     1  kind of entry (enum raft_entry_kind), else 0
 *         10     2  version of this format, 1
 *         12     4  length of the payload
 *         16     8  index   SEGMENT, RESET: the entry before the next; ENTRY: its own;
 *                           TRUNCATE: the first that goes
 *         24     8  term    of that entry (TRUNCATE: of the entry before it)
 *         32     8  synced: records up to this sequence were durable when this one was written, so
 *                   a damaged one among them is no torn write
 *         40     8  generation of the log, drawn at random when it was made
 *         48     8  sequence: records count from 1 in physical order, over all segments
 *         56     4  CRC-32C field of the record before (0 before the first): the chain
 *         60     4  CRC-32C of the payload
 *
 * The payload of a SEGMENT record says whose log it is and which segment: see struct record_owner.
 *
 * A hard state block is 128 bytes, its checksum first; wal.h says where it lies.
 */
#ifndef ROLLCALL_WIRE_RECORD_H
#define ROLLCALL_WIRE_RECORD_H

#include "raft/base/schema.h"
#include "raft/core/types.h"

#define RECORD_HEADER_BYTES 64u
#define RECORD_VERSION      1u

enum record_type { RECORD_SEGMENT = 1, RECORD_ENTRY = 2, RECORD_TRUNCATE = 3, RECORD_RESET = 4 };

struct record {
    enum record_type type;
    uint8_t kind;
    raft_index index;
    raft_term term;
    uint64_t synced;
    uint64_t generation;
    uint64_t sequence;
    uint32_t previous_crc;
    uint32_t header_crc; /* filled in by put and get */
    struct bytes payload;
};

/* Bytes that a record with so long a payload takes. */
static inline size_t record_bytes(size_t payload_len)
{
    return RECORD_HEADER_BYTES + ((payload_len + 7) & ~(size_t)7);
}

/* Appends the record and fills in its header_crc. */
void record_put(struct writer *out, struct record *record);

enum record_verdict {
    RECORD_OK,
    RECORD_END,     /* zeros, or no room for a header: nothing was written here */
    RECORD_BROKEN,  /* something is here, and it is no whole record */
    RECORD_FOREIGN, /* whole, but of a version that this program does not know */
};

/*
 * Judges the record at the start of `bytes` by itself (checksums, ranges), not its place in the
 * log. Its payload points into `bytes`.
 */
enum record_verdict record_get(struct bytes bytes, struct record *ret_record);

/* Whose log this is: the payload of a SEGMENT record. */
struct record_owner {
    uint64_t node;
    uint64_t segment; /* counts from 1; also the file's name */
    uint64_t size;    /* of the file */
    struct bytes cluster;
};
void record_owner_put(struct writer *out, const struct record_owner *owner);
NODISCARD int record_owner_decode(struct bytes bytes, struct record_owner *ret_owner);

struct record_hard_state {
    uint64_t sequence; /* counts writes; the highest that can be read counts */
    uint64_t node;
    struct raft_hard_state hard;
};

#define RECORD_HARD_STATE_BYTES 128u

/* Writes exactly RECORD_HARD_STATE_BYTES. */
void record_hard_state_put(struct writer *out, const struct record_hard_state *state);
/* -ENODATA: nothing but zeros was written here. -EBADMSG: damaged. */
NODISCARD int record_hard_state_decode(struct bytes bytes, struct record_hard_state *ret_state);

#endif
