/*
 * What nodes remember of one another, so that a disk that was put back to an earlier copy is known
 * at once (core/raft.h, ROLLED BACK NODES), not only by a leader that misses an entry.
 *
 * A directory counts its starts, durably, before the process says anything; each process draws a
 * number of its own. When a connection stands a node says which start of which disk it is, and what
 * it has seen of the other: the latest start and its number, the latest term that was durable
 * there, and the last entry that the other acknowledged to it. Terms are said when they change,
 * too. A node was put back if anybody saw
 *   - a later start of its disk;
 *   - the same start, or one of the last few, of another process: the count is an earlier copy's;
 *   - its disk in a later term than the one it is in;
 *   - another disk of it since;
 *   - an acknowledgement of an entry behind the end of its log, by the order of §5.4.1. (A log may
 *     end earlier than it once did, after a truncation that nothing could follow: then the node
 *     waits for an entry of the leader that had it truncated, and is sure by that.)
 *
 * It says so, goes on as a start that nobody has seen, and is recovering. How far its log must
 * reach is what it acknowledged to those who remember, if that was in the last term in which it was
 * seen. While nobody does it asks as a node does that lost all (replica/rejoin.c), and its leader,
 * too.
 *
 * A node that has just started gives no vote until all others have said what they saw of it, or a
 * while has passed: a vote that it forgot is not to be given twice meanwhile. What nobody remembers
 * who runs and can be reached is not detected: memory ends with the process.
 */
#include "raft/replica/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TELL_AGAIN_MS 500u
#define TELL_PACE_MS  50u
/* That it was put back is said so often at most. */
#define NOTE_AGAIN_MS 10000u
/* So long it waits at least before it votes, and not less than an election timeout: connections to
 * a machine that was restarted are made anew by then. */
#define VOTE_AFTER_MS 500u
/* What is so many starts ahead of this one is a lie: nobody starts so often. */
#define START_LEAP (UINT64_C(1) << 32)

static uint64_t own_number(const struct replica *replica)
{
    return replica->options.random;
}

static bool ends_later(raft_index index, raft_term term, struct raft_floor than)
{
    return log_end_less(than.index, than.term, index, term);
}

static struct life_seen *seen_of(struct replica *replica, raft_node_id id)
{
    uint32_t place = replica_place_of(replica, id);
    return place < replica->options.members ? &replica->lives.seen[place] : NULL;
}

static void say(struct replica *replica, raft_node_id to, const struct life_seen *seen, bool asks)
{
    struct raft_status status = raft_status(replica->raft);
    struct peer_note note = {
        .kind = PEER_LIFE,
        .life = {.asks = asks,
                 .disk = wal_identity(replica->wal).disk,
                 .start = wal_start(replica->wal),
                 .number = own_number(replica),
                 .term = status.durable_term.n,
                 .rolled_back = status.rolled_back,
                 .seen_disk = seen->disk,
                 .seen_start = seen->start,
                 .seen_number = seen->number,
                 .seen_term = seen->term.n,
                 .seen_last = seen->last.index.n,
                 .seen_last_term = seen->last.term.n},
    };
    replica_send_note(replica, to, &note);
}

void lives_begin(struct replica *replica)
{
    replica->lives.start = wal_start(replica->wal);
}

void lives_peer_up(struct replica *replica, raft_node_id peer)
{
    struct life_seen *seen = seen_of(replica, peer);
    if (seen == NULL)
        return;
    seen->knows_us = false;
    say(replica, peer, seen, true);
}

/* --- what others saw of this node ------------------------------------------------------------- */

/* Those who are not known to have seen it; all, when it has something to tell. */
static void tell(struct replica *replica, uint64_t now_ms)
{
    const struct replica_options *options = &replica->options;
    struct lives *lives = &replica->lives;
    struct raft_status status = raft_status(replica->raft);
    bool news = status.rolled_back || !term_equal(lives->told_term, status.durable_term);
    lives->told_ms = now_ms;
    lives->told_term = status.durable_term;
    for (uint32_t i = 0; i < options->members; i++) {
        struct life_seen *seen = &lives->seen[i];
        if (options->member[i].n != options->node && (news || !seen->knows_us))
            say(replica, options->member[i], seen, !seen->knows_us);
    }
}

static void note_put_back(struct replica *replica, raft_node_id by, const struct peer_life *life)
{
    char text[480];
    snprintf(text, sizeof(text),
             "node %" PRIu64 " has seen start %" PRIu64 " of this disk, in term %" PRIu64
             " and up to entry %" PRIu64 "; this is start %" PRIu64 ", in term %" PRIu64
             " and up to entry %" PRIu64
             ": the disk was put back to an earlier copy, or a second copy of it runs; this node "
             "does not vote and is not counted until it has again what it may have acknowledged",
             by.n, life->seen_start, life->seen_term, life->seen_last, replica->lives.start,
             raft_status(replica->raft).term.n, raft_status(replica->raft).last.n);
    replica->options.hooks->note(replica->options.context, "log_rolled_back", text);
}

/* From now on this is a start that nobody has seen. */
static void count_on(struct replica *replica, uint64_t seen)
{
    wal_count_start(replica->wal, seen);
    for (uint32_t i = 0; i < replica->options.members; i++)
        replica->lives.seen[i].knows_us = false;
}

/* The core may be sure again at once: it has all that they remember. */
static void take_word(struct replica *replica, raft_node_id from, const struct peer_life *life)
{
    struct raft_self_rolled_back seen = {
        .term = {life->seen_term},
        .floor = {life->seen_last > 0, {life->seen_last}, {life->seen_last_term}},
    };
    struct lives *lives = &replica->lives;
    uint64_t now_ms = replica_now_ms(replica), before = replica->measures.rolled_back;
    if (!raft_status(replica->raft).recovering)
        rejoin_again(replica);
    count_on(replica, life->seen_start);
    lives->taking_word = true;
    replica_step(replica,
                 &(struct raft_event){.kind = RAFT_SELF_ROLLED_BACK, .self_rolled_back = seen});
    lives->taking_word = false;
    flush_request(replica, (raft_index){0}, true);
    if (replica->measures.rolled_back == before)
        return;
    replica->recovering = true; /* so that its end is said: replica/rejoin.c */
    if (lives->noted_ms == 0 || now_ms - lives->noted_ms >= NOTE_AGAIN_MS) {
        lives->noted_ms = now_ms;
        note_put_back(replica, from, life);
    }
    if (lives->word_ms == 0 || now_ms - lives->word_ms >= TELL_PACE_MS)
        tell(replica, now_ms);
    lives->word_ms = now_ms;
}

static bool has_acknowledged(const struct replica *replica, const struct peer_life *life)
{
    struct raft_status status = raft_status(replica->raft);
    struct raft_floor end = {true, status.last, raft_entry_term(replica->raft, status.last)};
    return !status.recovering &&
           ends_later((raft_index){life->seen_last}, (raft_term){life->seen_last_term}, end);
}

static void compare(struct replica *replica, raft_node_id from, struct life_seen *seen,
                    const struct peer_life *life)
{
    if (life->seen_disk != wal_identity(replica->wal).disk)
        return; /* nothing, or one before it */
    bool us = life->seen_number == own_number(replica);
    bool later_life = !us && (life->seen_start >= replica->lives.start ||
                              wal_start_differs(replica->wal, life->seen_start, life->seen_number));
    bool later_term = raft_status(replica->raft).term.n < life->seen_term;
    if (later_life || later_term || has_acknowledged(replica, life))
        take_word(replica, from, life);
    else
        seen->knows_us = us && life->seen_start == wal_start(replica->wal);
}

static bool has_waited(const struct replica *replica)
{
    uint64_t began_ms = replica->lives.began_ms, election_ms = replica->options.election_ms;
    uint64_t wait_ms = election_ms > VOTE_AFTER_MS ? election_ms : VOTE_AFTER_MS;
    return began_ms > 0 && replica_now_ms(replica) - began_ms >= wait_ms;
}

bool lives_may_vote(struct replica *replica)
{
    const struct replica_options *options = &replica->options;
    struct lives *lives = &replica->lives;
    if (lives->may_vote) /* asked for each message */
        return true;
    bool known = true;
    for (uint32_t i = 0; i < options->members; i++)
        known = known && (options->member[i].n == options->node || lives->seen[i].knows_us);
    lives->may_vote = known || has_waited(replica);
    return lives->may_vote;
}

/* --- what this node sees of others ------------------------------------------------------------ */

static raft_term term_max(raft_term a, raft_term b)
{
    return term_less(a, b) ? b : a;
}

static struct raft_floor end_max(struct raft_floor a, struct raft_floor b)
{
    return ends_later(b.index, b.term, a) ? b : a;
}

static bool had_before(const struct life_seen *seen, uint64_t disk)
{
    bool had = false;
    for (uint32_t i = 0; i < LIFE_DISKS; i++)
        had = had || seen->before[i] == disk;
    return had;
}

/* Of a disk that comes back it promised all that it did on others since. */
static void change_disk(struct life_seen *seen, uint64_t disk)
{
    struct life_seen next = {.disk = disk, .knows_us = seen->knows_us};
    next.term_before = term_max(seen->term_before, seen->term);
    next.last_before = end_max(seen->last_before, seen->last);
    next.before[0] = seen->disk;
    memcpy(next.before + 1, seen->before, (LIFE_DISKS - 1) * sizeof(seen->before[0]));
    if (had_before(seen, disk)) {
        next.term = next.term_before;
        next.last = next.last_before;
    }
    *seen = next;
}

/* What is earlier than what was seen is not taken: its sender is told. */
static void remember(struct life_seen *seen, const struct peer_life *life)
{
    if (seen->disk != life->disk)
        change_disk(seen, life->disk);
    if (life->start > seen->start) {
        seen->start = life->start;
        seen->number = life->number;
    }
    seen->term = term_max(seen->term, (raft_term){life->term});
}

int lives_heard(struct replica *replica, raft_node_id from, const struct peer_life *life)
{
    struct life_seen *seen = seen_of(replica, from);
    uint64_t term = raft_status(replica->raft).term.n;
    bool of_ours = life->seen_disk == wal_identity(replica->wal).disk;
    if (of_ours && ((term > 0 && life->seen_term > term + RAFT_TERM_LEAP) ||
                    life->seen_start > wal_start(replica->wal) + START_LEAP))
        return -EBADMSG;
    if (seen == NULL)
        return 0;
    bool back = seen->disk != life->disk && had_before(seen, life->disk);
    remember(seen, life);
    compare(replica, from, seen, life);
    if (life->rolled_back)
        replica_step(replica, &(struct raft_event){.kind = RAFT_PEER_ROLLED_BACK,
                                                   .peer_rolled_back = {.peer = from}});
    struct life_seen told = *seen;
    if (back) /* it had another one since: as if this start had been seen of another process */
        told.number = ~told.number;
    if (back || life->asks)
        say(replica, from, &told, false);
    return 0;
}

/* An acknowledgement that counts: it says that the entry, and so its term, is durable there. */
void lives_acknowledged(struct replica *replica, raft_node_id from)
{
    struct life_seen *seen = seen_of(replica, from);
    struct raft_peer_status peer;
    if (seen == NULL || seen->disk == 0 || !raft_peer_status(replica->raft, from, &peer) ||
        peer.match_term.n == 0 || !ends_later(peer.match, peer.match_term, seen->last))
        return;
    seen->last = (struct raft_floor){true, peer.match, peer.match_term};
    seen->term = term_max(seen->term, peer.match_term);
}

void lives_tick(struct replica *replica, uint64_t now_ms)
{
    struct lives *lives = &replica->lives;
    struct raft_status status = raft_status(replica->raft);
    bool news = !term_equal(lives->told_term, status.durable_term);
    if (!status.recovering)
        lives->start = wal_start(replica->wal); /* it has again what others saw of earlier ones */
    if (lives->began_ms == 0)
        lives->began_ms = now_ms;
    if (!replica_alone(replica) && (news || now_ms - lives->told_ms >= TELL_AGAIN_MS))
        tell(replica, now_ms);
}
