/* When the log is flushed, and on which thread. */
#include "raft/replica/state.h"

/* A flush that takes so long holds the loop up: for a while the next ones go off it. */
#define FLUSH_SLOW_MS 10u
#define FLUSH_AWAY_MS 1000u
/* After the leader's own flush was needed for a majority, it is not put off for so long. */
#define FLUSH_NEEDED_MS 200u
void flush_request(struct replica *replica, raft_index first, bool at_once)
{
    if (!replica->unflushed) {
        replica->unflushed_since_ms = replica->stepped_ms;
        replica->unflushed_first = first;
    }
    replica->unflushed = true;
    replica->flush_wanted = replica->flush_wanted || at_once;
}

/* The other voters that answer are a majority by themselves. */
static bool others_suffice(const struct replica *replica)
{
    const struct raft_configuration *now = raft_configuration(replica->raft);
    uint32_t answering = 0;
    for (uint32_t i = 0; i < now->voters; i++) {
        struct raft_peer_status peer;
        if (now->voter[i].n != replica->options.node &&
            raft_peer_status(replica->raft, now->voter[i], &peer) && peer.reachable)
            answering++;
    }
    return now->outgoing == 0 && answering > now->voters / 2;
}

/*
 * Flushes of one disk are in one another's way: the leader's own, which nobody waits for, waits a
 * little, and takes more with it.
 */
static bool flush_can_wait(const struct replica *replica, uint64_t now_ms)
{
    return replica->options.own_flush_after_ms > 0 && !replica->flush_wanted &&
           now_ms >= replica->flush_needed_until_ms &&
           now_ms - replica->unflushed_since_ms < replica->options.own_flush_after_ms &&
           raft_status(replica->raft).role == RAFT_LEADER &&
           wal_room(replica->wal) > WAL_BATCH_BYTES_MAX / 2 && others_suffice(replica);
}

/*
 * Flushing on this thread saves two wake-ups, which is as long as the flush itself; off it, the
 * next batch gathers meanwhile. A leader with peers flushes off it, since its heartbeats do not
 * wait for a disk, and it may count the others' disks before its own. Everybody else flushes here
 * as long as the disk is quick (measured on two processors: a tenth less of all their time). One
 * flush that is not sends those of the next second off the loop.
 */
void flush_gathered(struct replica *replica)
{
    if (replica->unflushed && flush_can_wait(replica, replica_now_ms(replica)))
        return;
    uint64_t before_ms = replica_now_ms(replica);
    bool leads = !replica_alone(replica) && raft_status(replica->raft).role == RAFT_LEADER;
    bool lone = replica_alone(replica) && replica->writes.count <= 1;
    bool here = !leads && (lone || replica->options.flush_here_while_quick) &&
                before_ms >= replica->flush_away_until_ms;
    if (!wal_flushing(replica->wal)) {
        /* The others alone would have committed this by now, if they kept up. */
        if (leads && replica->unflushed && replica->committed < replica->unflushed_first.n &&
            before_ms - replica->unflushed_since_ms >= replica->options.own_flush_after_ms)
            replica->flush_needed_until_ms = before_ms + FLUSH_NEEDED_MS;
        replica->flush_began_ms = before_ms;
        replica->unflushed = replica->flush_wanted = false;
    }
    wal_flush(replica->wal, here);
    if (!here)
        return;
    uint64_t after_ms = replica_now_ms(replica);
    if (after_ms - before_ms >= FLUSH_SLOW_MS)
        replica->flush_away_until_ms = after_ms + FLUSH_AWAY_MS;
}
