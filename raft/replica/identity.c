/*
 * Which cluster this replica belongs to, and who its members are: remembered, not
 * configured.
 *
 * A cluster has an id of 128 random bits. The hard state holds it, with the members that the
 * cluster was founded with; from then on the options that name members are not looked at.
 *
 *   1. A node that is alone draws the id when it starts on a directory that knows none, and Redis
 *      holds no snapshot that says one: a start that was cut off may have saved it there before.
 *   2. A new node among others asks them (STANDING). Whoever knows the id says it, and the node
 *      takes it over.
 *   3. When all others have answered and nobody knows one, the member with the lowest number draws
 *      it. The others hear of it when they ask again.
 *
 * Until it knows the id a node is recovering without a floor (core/raft.h): it does not vote, and
 * what it acknowledges does not count. So of two ids that might be drawn at most one is ever voted
 * under: the founder is one node, and what it forgot before it was durable counted nowhere.
 */
#include "raft/replica/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct record_identity replica_identity(const struct replica *replica)
{
    return wal_identity(replica->wal);
}

static void remember(struct replica *replica, struct raft_cluster_id cluster)
{
    const struct replica_options *options = &replica->options;
    struct record_identity identity = wal_identity(replica->wal);
    identity.cluster = cluster;
    identity.members = options->members > 0 ? options->members : 1;
    identity.member[0] = options->node;
    for (uint32_t i = 0; i < options->members; i++)
        identity.member[i] = options->member[i].n;
    wal_identify(replica->wal, &identity);
    flush_request(replica, (raft_index){0}, true);
}

static struct raft_cluster_id draw(const struct replica *replica)
{
    struct raft_cluster_id id = replica->options.drawn;
    uint8_t number = 0;
    if (cluster_id_known(id))
        return id;
    const struct siphash_key key = {.low = replica->options.random, .high = replica->options.node};
    id.high = siphash(key, bytes_of(&number, 1));
    number++;
    id.low = siphash(key, bytes_of(&number, 1)) | 1u;
    return id;
}

static void learn(struct replica *replica, struct raft_cluster_id cluster, const char *how)
{
    char text[160];
    remember(replica, cluster);
    snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64 ": %s", cluster.high, cluster.low,
             how);
    replica->options.hooks->note(replica->options.context, "cluster_id", text);
}

static bool is_member(const struct replica *replica, uint64_t id)
{
    for (uint32_t i = 0; i < replica->options.members; i++) {
        if (replica->options.member[i].n == id)
            return true;
    }
    return false;
}

/* The options name the members that the directory knows, in whatever order. */
static bool same_members(const struct replica *replica, const struct record_identity *identity)
{
    const struct replica_options *options = &replica->options;
    if (options->members <= 1)
        return identity->members == 1 && identity->member[0] == options->node;
    bool same = options->members == identity->members;
    for (uint32_t i = 0; same && i < identity->members; i++)
        same = is_member(replica, identity->member[i]);
    return same;
}

static void take_members(struct replica *replica, const struct record_identity *identity)
{
    struct replica_options *options = &replica->options;
    replica->members_ignored = !same_members(replica, identity);
    if (!replica->members_ignored)
        return;
    const struct replica_options given = *options;
    options->members = identity->members;
    for (uint32_t i = 0; i < identity->members; i++) {
        options->member[i].n = identity->member[i];
        options->address[i] = NULL;
        for (uint32_t j = 0; j < given.members; j++) {
            if (given.member[j].n == identity->member[i])
                options->address[i] = given.address[j];
        }
    }
    if (options->members == 1)
        options->network = NULL;
}

int identity_open(struct replica *replica, struct wal_recovered *recovered)
{
    struct record_identity identity = wal_identity(replica->wal);
    if (identity.members > 0)
        take_members(replica, &identity);
    if (replica->options.members <= 1 || replica->options.network != NULL)
        return 0;
    snprintf(recovered->text, sizeof(recovered->text),
             "this directory is that of a node of a cluster of %" PRIu32
             ", and no address of the others is known: name them (--members)",
             replica->options.members);
    return -EBADMSG;
}

void identity_start(struct replica *replica)
{
    struct raft_cluster_id in_log = replica_members(replica)->cluster;
    if (cluster_id_known(wal_identity(replica->wal).cluster))
        return;
    if (cluster_id_known(in_log))
        learn(replica, in_log, "of this node's log");
    else if (replica_alone(replica))
        learn(replica, draw(replica), "of a cluster that is founded now");
}

bool replica_members_ignored(const struct replica *replica)
{
    return replica->members_ignored;
}

void replica_identify(struct replica *replica, struct raft_cluster_id cluster)
{
    assert(replica->users == NULL && !cluster_id_known(replica_identity(replica).cluster));
    learn(replica, cluster, "of the snapshot that this node's Redis holds");
}

bool identity_known(const struct replica *replica)
{
    return replica_alone(replica) || cluster_id_known(wal_identity(replica->wal).cluster);
}

bool identity_heard(struct replica *replica, struct raft_cluster_id theirs)
{
    struct raft_cluster_id ours = wal_identity(replica->wal).cluster;
    if (cluster_id_known(ours) || !cluster_id_known(theirs))
        return false;
    learn(replica, theirs, "of the cluster that others know");
    return true;
}

void identity_found(struct replica *replica)
{
    for (uint32_t i = 0; i < replica->options.members; i++) {
        if (replica->options.member[i].n < replica->options.node)
            return;
    }
    learn(replica, draw(replica), "of a cluster that is founded now");
}
