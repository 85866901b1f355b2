/*
 * Who belongs to a cluster: what an entry of kind CONFIGURATION carries, and with it every
 * snapshot, snapshot transfer and backup. The core sees of it who votes and who learns
 * (raft_configuration, thesis §4); the cluster's id, addresses, disks, the format of entries and
 * the ids that are never given again are the driver's.
 *
 * A cluster's first entry is one: its first leader opens its term with it (core/raft.h, FOUNDING).
 *
 *     u64 u64  id of the cluster, high and low half
 *     u32      format of entries: the newest that all members read (see PEER_FORMAT)
 *     u8       nodes, RAFT_PEERS_MAX at most; of each:
 *                  u64   id
 *                  u8    roles (enum member_role), or'ed
 *                  u64   disk: drawn when its directory was new; 0: not known
 *                  bytes address, "HOST:PORT", MEMBER_ADDRESS_BYTES_MAX at most; empty: not known
 *     u16      retired ids, MEMBERS_RETIRED_MAX at most: of nodes that were removed; a u64 of each
 */
#ifndef ROLLCALL_WIRE_MEMBERS_H
#define ROLLCALL_WIRE_MEMBERS_H

#include "raft/base/bytes.h"
#include "raft/core/types.h"

#define MEMBER_ADDRESS_BYTES_MAX 261u /* a name of DNS, a colon, a port */
#define MEMBERS_RETIRED_MAX      256u

/* A node may have two: a voter that becomes a learner is OUTGOING and LEARNER meanwhile. */
enum member_role {
    MEMBER_VOTER = 1,
    MEMBER_OUTGOING = 2, /* votes in the configuration that is being left (thesis §4.3) */
    MEMBER_LEARNER = 4,
};

struct member {
    raft_node_id id;
    uint8_t roles;
    uint64_t disk;
    char address[MEMBER_ADDRESS_BYTES_MAX + 1];
};

struct members {
    struct raft_cluster_id cluster; /* zeros: none was founded yet */
    uint32_t format;
    uint32_t count;
    struct member member[RAFT_PEERS_MAX];
    uint32_t retired;
    uint64_t retired_id[MEMBERS_RETIRED_MAX];
};

#define MEMBERS_BYTES_MAX                                                                   \
    (16u + 4u + 1u + RAFT_PEERS_MAX * (8u + 1u + 8u + 4u + MEMBER_ADDRESS_BYTES_MAX) + 2u + \
     8u * MEMBERS_RETIRED_MAX)

void members_put(struct writer *out, const struct members *members);
/* -EBADMSG when it is none, or none that can be in effect. */
NODISCARD int members_decode(struct bytes bytes, struct members *ret_members);

/*
 * For people, and as snapshots keep it in Redis, on one line:
 *
 *     cluster=0123…ef format=1 1:voter:0011223344556677@10.0.0.1:7000 2:learner:… retired=3,4
 */
#define MEMBERS_TEXT_BYTES_MAX \
    (80u + RAFT_PEERS_MAX * (60u + MEMBER_ADDRESS_BYTES_MAX) + 21u * MEMBERS_RETIRED_MAX)
void members_print(struct writer *out, const struct members *members);
/* -EBADMSG as members_decode. */
NODISCARD int members_read(struct bytes text, struct members *ret_members);

/* What the core sees. */
struct raft_configuration members_configuration(const struct members *members);

/* Voters of whom nothing else is known, of no cluster yet. */
struct members members_of(const raft_node_id *voters, uint32_t count);

/*
 * The roles become those of the configuration. A node that is not in it goes, and its id is
 * retired; one that is new has neither address nor disk.
 */
void members_change(struct members *members, const struct raft_configuration *configuration);

/* NULL: it is none. */
const struct member *members_find(const struct members *members, raft_node_id id);

#endif
