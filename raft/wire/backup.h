/*
 * A backup file: the whole replicated state as of one log entry, to be kept anywhere and restored
 * into any new cluster. A row of blocks, each a header of 32 bytes and its payload, without gaps:
 *
 *     offset  size
 *          0     4  CRC-32C of header bytes 4 … 31
 *          4     4  magic "RBAK"
 *          8     1  type (enum backup_type)
 *          9     1  0
 *         10     2  version of this format, 4
 *         12     4  length of the payload
 *         16     8  number of the block, counting from 0
 *         24     4  CRC-32C field of the block before (0 before the first): the chain
 *         28     4  CRC-32C of the payload
 *
 * First one HEAD, which says what the file holds; then USERS, ascending by id; then ANSWERS,
 * ascending by number; last one END, after which nothing comes. Payloads of USERS and
 * ANSWERS are packed as users/packed.h says, each of some users, or some answers, whole.
 *
 * Every byte is under a checksum, every block chained to the one before, and END says how many
 * there were: a bit that flipped, a block that is missing, doubled or moved, a file that was cut or
 * grew are all noticed, with the offset. What was loaded has the digest that HEAD says, or it is
 * not taken.
 */
#ifndef ROLLCALL_WIRE_BACKUP_H
#define ROLLCALL_WIRE_BACKUP_H

#include "raft/users/command.h"
#include "raft/wire/members.h"

#define BACKUP_HEADER_BYTES 32u
#define BACKUP_VERSION      4u
/* What claims a longer payload is no block. */
#define BACKUP_PAYLOAD_BYTES_MAX (1u << 20)
#define BACKUP_CLUSTER_BYTES_MAX 63u
#define BACKUP_HEAD_BYTES_MAX    (512u + MEMBERS_BYTES_MAX)

enum backup_type { BACKUP_HEAD = 1, BACKUP_USERS = 2, BACKUP_ANSWERS = 3, BACKUP_END = 4 };

/*
 * `cluster`, `node`: where it was made, or after `rollcallctl restore` the cluster it is for.
 * `index`, `term`: of the last log entry in it. `known`: entries up to here were certainly
 * committed; below `index` only when a majority was lost (`rollcallctl recover`). `members`: of the
 * cluster it was made of, with its id (wire/members.h), also after a restore; empty: not known.
 * `users` to `digest`: see USERS_META_FIELDS. `made_ms`: wall clock, since 1970.
 */
#define BACKUP_HEAD_FIELDS(F) \
    F(bytes, cluster)         \
    F(u64, node)              \
    F(u64, made_ms)           \
    F(u64, index)             \
    F(u64, term)              \
    F(u64, known)             \
    F(bytes, members)         \
    USERS_META_FIELDS(F)

/* `blocks`: before this one. `digest`: as in HEAD. */
#define BACKUP_END_FIELDS(F) F(u64, blocks) F(u64, digest)

SCHEMA_STRUCT(backup_head, BACKUP_HEAD_FIELDS)
SCHEMA_STRUCT(backup_end, BACKUP_END_FIELDS)

/* How far a file is written or read. All zeros at the start. */
struct backup_chain {
    uint64_t blocks;
    uint32_t crc;
    enum backup_type last; /* of the block before */
};

struct backup_block {
    enum backup_type type;
    struct bytes payload;
};

/* Appends one block: its header and its payload. */
void backup_put(struct writer *out, struct backup_chain *chain, enum backup_type type,
                struct bytes payload);

/* The payloads of HEAD and END. */
void backup_head_encode(struct writer *out, const struct backup_head *head);
NODISCARD int backup_head_decode(struct bytes payload, struct backup_head *ret_head);
void backup_end_encode(struct writer *out, const struct backup_end *end);
NODISCARD int backup_end_decode(struct bytes payload, struct backup_end *ret_end);

/* One line for people: " cluster=…". */
void backup_describe(struct writer *out, const struct backup_head *head);

enum backup_verdict {
    BACKUP_GOOD,
    BACKUP_NOT_ONE, /* the file is none of these: no magic at its beginning */
    BACKUP_FOREIGN, /* of a version that this program does not know */
    BACKUP_DAMAGED, /* a checksum differs, or a block is not in its place */
};

/*
 * Judges the header of the next block, BACKUP_HEADER_BYTES of it; *ret_len is how long its payload
 * is. Then backup_payload judges that, and the chain moves on.
 */
NODISCARD enum backup_verdict backup_header(const struct backup_chain *chain, struct bytes header,
                                            uint32_t *ret_len);
NODISCARD enum backup_verdict backup_payload(struct backup_chain *chain, struct bytes header,
                                             struct bytes payload, struct backup_block *ret_block);

#endif
