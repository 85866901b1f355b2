/*
 * The members that the log says: of each CONFIGURATION entry what the core does not keep
 * (addresses, disks, the cluster's id), from the entry on that a snapshot as of now would need.
 *
 * The first leader of a cluster writes the first of them (core/raft.h, FOUNDING). By then it has
 * heard from all other members, so it knows their disks (replica/rejoin.c).
 */
#include "raft/replica/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The state before the log's first configuration; of no cluster before one is founded. */
static struct members implied(const struct replica *replica)
{
    const struct replica_options *options = &replica->options;
    raft_node_id self = {options->node};
    return replica_alone(replica) ? members_of(&self, 1)
                                  : members_of(options->member, options->members);
}

void membership_begin(struct replica *replica, raft_index index, const struct members *members)
{
    struct membership *membership = &replica->membership;
    membership->count = 1;
    membership->at[0].index = index;
    if (members != NULL && cluster_id_known(members->cluster))
        membership->at[0].members = *members;
    else
        membership->at[0].members = implied(replica);
}

/* A snapshot is never of an earlier entry than what is applied. */
static void forget_old(struct replica *replica)
{
    struct membership *membership = &replica->membership;
    uint32_t gone = 0;
    while (gone + 1 < membership->count && membership->at[gone + 1].index.n <= replica->applied)
        gone++;
    membership->count -= gone;
    memmove(membership->at, membership->at + gone, membership->count * sizeof(membership->at[0]));
}

void membership_add(struct replica *replica, raft_index index, const struct members *members)
{
    struct membership *membership = &replica->membership;
    if (membership->count == ARRAY_LEN(membership->at))
        forget_old(replica);
    assert(membership->count < ARRAY_LEN(membership->at)); /* the core has room for no more */
    membership->at[membership->count].index = index;
    membership->at[membership->count++].members = *members;
}

void membership_repaired(struct replica *replica, raft_index index, struct bytes payload)
{
    struct membership *membership = &replica->membership;
    struct members members;
    if (members_decode(payload, &members) != 0 || membership_is_foreign(replica, &members))
        return; /* the checksum is right: what it means is told when it is applied */
    struct raft_configuration configuration = members_configuration(&members);
    for (uint32_t i = 0; i < membership->count; i++) {
        if (index_equal(membership->at[i].index, index))
            membership->at[i].members = members;
    }
    replica_step(replica, &(struct raft_event){.kind = RAFT_CONFIGURATION_REPAIRED,
                                               .configuration_repaired = {index, &configuration}});
}

void membership_truncate(struct replica *replica, raft_index first_gone)
{
    struct membership *membership = &replica->membership;
    while (membership->count > 1 &&
           !index_less(membership->at[membership->count - 1].index, first_gone))
        membership->count--;
}

const struct members *replica_members_at(const struct replica *replica, raft_index index)
{
    const struct membership *membership = &replica->membership;
    uint32_t i = membership->count - 1;
    while (i > 0 && index_less(index, membership->at[i].index))
        i--;
    return &membership->at[i].members;
}

const struct members *replica_members(const struct replica *replica)
{
    const struct membership *membership = &replica->membership;
    return &membership->at[membership->count - 1].members;
}

static void describe(const struct replica *replica, struct member *member)
{
    const struct replica_options *options = &replica->options;
    if (member->id.n == options->node)
        member->disk = wal_identity(replica->wal).disk;
    for (uint32_t i = 0; i < options->members; i++) {
        if (!node_id_equal(options->member[i], member->id))
            continue;
        if (options->address[i] != NULL)
            snprintf(member->address, sizeof(member->address), "%s", options->address[i]);
        if (member->disk == 0)
            member->disk = replica->rejoin.disk[i];
    }
}

struct members membership_next(const struct replica *replica,
                               const struct raft_configuration *configuration)
{
    struct members next = *replica_members(replica);
    members_change(&next, configuration);
    if (cluster_id_known(next.cluster))
        return next;
    next.cluster = wal_identity(replica->wal).cluster;
    next.format = PEER_FORMAT;
    for (uint32_t i = 0; i < next.count; i++)
        describe(replica, &next.member[i]);
    return next;
}

bool membership_is_foreign(const struct replica *replica, const struct members *members)
{
    return !cluster_id_equal(members->cluster, wal_identity(replica->wal).cluster);
}
