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
 *         10     2  version of this format, 3
 *         12     4  length of the payload
 *         16     8  index   SEGMENT, RESET: the entry before the next; ENTRY: its own;
 *                           TRUNCATE: the first that goes; COPIES: the last of the log
 *         24     8  term    of that entry (TRUNCATE: of the entry before it)
 *         32     8  synced: the sequence of the last record before its part (see below). All up to
 *                   it are durable when this one is written, so a damaged one among them is rot
 *         40     8  generation of the log, drawn at random when it was made
 *         48     8  sequence: records count from 1 in physical order, over all segments
 *         56     4  CRC-32C field of the record before (0 before the first): the chain
 *         60     4  CRC-32C of the payload
 *
 * A part is what one write brings to one segment. It begins in a sector of its own, and ends with a
 * COPIES record, in a sector of its own too: its payload is the headers of the part's other
 * records, as they are and in their order. So a sector never holds both a record and all that is
 * known of it. Between the two, and after COPIES, zeros fill up the sector. Every field of COPIES
 * follows from the records before it: where it rots it is made again.
 *
 * A sector that nothing was written to yet says so: it begins with the 64 bytes of
 * record_unused_put, which nothing but making the segment leaves there. So zeros are damage, too.
 *
 * The payload of a SEGMENT record says whose log it is and which segment: see struct record_owner.
 *
 * A hard state block is 256 bytes, its checksum first; hard_state.h says where it lies.
 */
#ifndef ROLLCALL_WIRE_RECORD_H
#define ROLLCALL_WIRE_RECORD_H

#include "raft/base/schema.h"
#include "raft/core/types.h"

#define RECORD_HEADER_BYTES 64u
#define RECORD_VERSION      3u

enum record_type {
    RECORD_SEGMENT = 1,
    RECORD_ENTRY = 2,
    RECORD_TRUNCATE = 3,
    RECORD_RESET = 4,
    RECORD_COPIES = 5,
};

struct record {
    enum record_type type;
    uint8_t kind;
    raft_index index;
    raft_term term;
    uint64_t synced;
    uint64_t generation;
    uint64_t sequence;
    uint32_t previous_crc;
    struct bytes payload;
    uint32_t length;      /* of the payload; this and what follows is filled in by put and get */
    uint32_t payload_crc; /* what it must be */
    uint32_t header_crc;
};

/* Bytes that a record with so long a payload takes. */
static inline size_t record_bytes(size_t payload_len)
{
    return RECORD_HEADER_BYTES + ((payload_len + 7) & ~(size_t)7);
}

/* Appends the record; fills in its length and checksums. */
void record_put(struct writer *out, struct record *record);
/* Its header alone, with the length and the payload's checksum as they are there. */
void record_head_put(struct writer *out, struct record *record);

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
/* The same of its header alone; the payload is left empty, whatever its length. */
enum record_verdict record_head_get(struct bytes bytes, struct record *ret_record);
/* Whether this is the payload that its header speaks of. */
bool record_is_payload(const struct record *record, struct bytes payload);

/* RECORD_HEADER_BYTES that a sector at `offset` begins with until it is written to. */
void record_unused_put(struct writer *out, uint64_t generation, uint64_t segment, uint64_t offset);
bool record_is_unused(struct bytes bytes, uint64_t generation, uint64_t segment, uint64_t offset);

/* Whose log this is: the payload of a SEGMENT record. */
struct record_owner {
    uint64_t node;
    uint64_t segment;                  /* counts from 1; also the file's name */
    uint64_t size;                     /* of the file */
    struct raft_cluster_id cluster_id; /* zeros: it was not known when the segment was made */
    struct bytes cluster;              /* its name */
};
void record_owner_put(struct writer *out, const struct record_owner *owner);
NODISCARD int record_owner_decode(struct bytes bytes, struct record_owner *ret_owner);

/*
 * Who this directory belongs to. Written when the node learns its cluster, before it votes or its
 * acknowledgements count; from then on no option changes it.
 */
struct record_identity {
    struct raft_cluster_id cluster;
    uint64_t disk;    /* drawn when the directory was first used: tells it from a new one */
    uint32_t members; /* of the cluster, as founded; 0 while the cluster is not known */
    uint64_t member[RAFT_MEMBERS_MAX];
};

/* An id as people read it: 32 hexadecimal digits, and a NUL. */
#define CLUSTER_ID_TEXT_BYTES 33u
void record_cluster_id_print(struct raft_cluster_id id, char ret_text[CLUSTER_ID_TEXT_BYTES]);
/* -EBADMSG: it is no such text. */
NODISCARD int record_cluster_id_read(struct bytes text, struct raft_cluster_id *ret_id);

/*
 * The starts of a node on this directory: how many, and a part of the number that each of the last
 * ones drew, by start % RECORD_STARTS. 0: any, the process was not one of this copy of the
 * directory.
 */
#define RECORD_STARTS 16u
struct record_starts {
    uint64_t count;
    uint32_t number[RECORD_STARTS];
};

struct record_hard_state {
    uint64_t sequence; /* counts writes; the highest that can be read counts */
    uint64_t node;
    struct raft_hard_state hard;
    uint64_t segment; /* the newest one with records that were called durable; 0: none yet */
    uint64_t cut;     /* the log ends before the record of this sequence; 0: as it is found */
    struct record_starts starts;
    struct record_identity identity;
};

#define RECORD_HARD_STATE_BYTES 256u

/* Writes exactly RECORD_HARD_STATE_BYTES. */
void record_hard_state_put(struct writer *out, const struct record_hard_state *state);
/* -EBADMSG: damaged. -EPROTONOSUPPORT: whole, but of a format that this program does not read. */
NODISCARD int record_hard_state_decode(struct bytes bytes, struct record_hard_state *ret_state);

#endif
