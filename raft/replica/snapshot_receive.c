/*
 * A snapshot from another node: fetched into a state beside the one that serves, saved in the store
 * so that a crash finds it, then put in its place.
 */
#include "raft/replica/state.h"

#include "raft/users/packed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * A piece is asked for again after this. When nothing came for PIECE_LATE_MS, somebody else's offer
 * is as good; without one, what was fetched is kept for the holder to come back, until
 * PIECE_LOST_MS (a holder keeps its offer a little longer). One is begun every BEGIN_AGAIN_MS at
 * most, since each begins with an empty state and is said: who offers does so again and again.
 */
#define PIECE_AGAIN_MS    200u
#define BEGIN_AGAIN_MS    100u
#define PIECE_LATE_MS     1000u
#define PIECE_LOST_MS     10000u
#define PLEASE_MS         300u
#define SAVE_AGAIN_MS     500u
#define SAVE_AGAIN_MS_MAX 5000u

static void send_want(struct replica *replica)
{
    struct snapshot_receive *receive = &replica->receive;
    struct peer_note note = {
        .kind = PEER_SNAPSHOT_CHUNK_REQUEST,
        .snapshot_chunk_request = {.index = receive->index.n,
                                   .after = receive->after,
                                   .answers_from = receive->answers_from},
    };
    receive->asked_ms = replica_now_ms(replica);
    replica_send_note(replica, receive->from, &note);
}

static void send_end(struct replica *replica, raft_node_id to, uint64_t index, bool installed)
{
    struct peer_note note = {
        .kind = PEER_SNAPSHOT_END,
        .snapshot_end = {.index = index, .installed = installed},
    };
    if (to.n != 0)
        replica_send_note(replica, to, &note);
}

void snapshot_receive_give_up(struct replica *replica)
{
    struct snapshot_receive *receive = &replica->receive;
    if (receive->users != NULL)
        users_free(receive->users);
    receive->users = NULL;
    receive->phase = RECEIVE_NONE;
}

/* Beyond what this node has, and what its own log will give it. */
static bool is_news(const struct replica *replica, uint64_t index)
{
    if (replica_lacks_state(replica))
        return index >= replica->log_start;
    if (repair_is_hopeless(replica))
        return index > replica->applied;
    return index > replica->committed;
}

static void note_fetch(const struct replica *replica, const char *fact, const char *how)
{
    const struct snapshot_receive *receive = &replica->receive;
    char text[256];
    snprintf(text, sizeof(text),
             "the state after entry %" PRIu64 ", %" PRIu64 " users, from node %" PRIu64
             ", which %s",
             receive->index.n, receive->meta.users, receive->from.n, how);
    replica->options.hooks->note(replica->options.context, fact, text);
}

static void fetch_ends(struct replica *replica, const char *why)
{
    note_fetch(replica, "snapshot_fetch_lost", why);
    snapshot_receive_give_up(replica);
}

/* The holder has another one now, or none that it talks of: this fetch comes to nothing. */
static bool is_overtaken(const struct replica *replica, raft_node_id from, uint64_t index)
{
    const struct snapshot_receive *receive = &replica->receive;
    if (receive->phase != RECEIVE_FETCHING)
        return false;
    if (node_id_equal(receive->from, from))
        return receive->index.n != index;
    return replica_now_ms(replica) - receive->heard_ms >= PIECE_LATE_MS;
}

int snapshot_receive_offered(struct replica *replica, raft_node_id from,
                             const struct peer_snapshot_offer *offer)
{
    struct snapshot_receive *receive = &replica->receive;
    struct members members;
    if (members_decode(offer->members, &members) != 0 || offer->index == 0)
        return -EBADMSG;
    if (!cluster_id_known(replica_identity(replica).cluster))
        return 0; /* as if it were lost: whose it is cannot be told yet */
    if (membership_is_foreign(replica, &members))
        return -EBADMSG;
    if (!is_news(replica, offer->index)) {
        send_end(replica, from, replica->applied, !replica_lacks_state(replica));
        return 0;
    }
    bool too_soon =
        receive->began_ms != 0 && replica_now_ms(replica) - receive->began_ms < BEGIN_AGAIN_MS;
    bool overtaken = is_overtaken(replica, from, offer->index);
    if ((overtaken || receive->phase == RECEIVE_NONE) && too_soon)
        return 0;
    if (overtaken)
        fetch_ends(replica, "has another one now, or somebody else has");
    if (receive->phase != RECEIVE_NONE) {
        bool same = node_id_equal(receive->from, from) && receive->index.n == offer->index;
        if (same && receive->phase == RECEIVE_FETCHING)
            receive->heard_ms = replica_now_ms(replica);
        if (!same)
            receive->also = from; /* hears of the end of this one */
        return 0;
    }
    struct users *users = users_new(replica->options.answers_max);
    if (users == NULL)
        return 0;
    *receive = (struct snapshot_receive){
        .phase = RECEIVE_FETCHING,
        .from = from,
        .index = {offer->index},
        .term = {offer->term},
        .meta = {.index = offer->index, USERS_META_FIELDS(USERS_META_FROM_offer)},
        .members = members,
        .users = users,
        .heard_ms = replica_now_ms(replica),
        .began_ms = replica_now_ms(replica),
        .save_retry_ms = SAVE_AGAIN_MS,
    };
    note_fetch(replica, "snapshot_fetching", "offers it");
    send_want(replica);
    return 0;
}

/* --- pieces ----------------------------------------------------------------------------------- */

/* More came than was announced: it would grow for ever. */
static bool outgrows(const struct snapshot_receive *receive)
{
    struct users_meta loaded = users_meta(receive->users), meta = receive->meta;
    return loaded.users > meta.users || loaded.answers_next > meta.answers_next ||
           loaded.keys_next > meta.keys_next || loaded.next_id > meta.next_id;
}

int snapshot_receive_chunk(struct replica *replica, raft_node_id from,
                           const struct peer_snapshot_chunk *chunk)
{
    struct snapshot_receive *receive = &replica->receive;
    if (receive->phase != RECEIVE_FETCHING || !node_id_equal(receive->from, from) ||
        chunk->index != receive->index.n || chunk->after != receive->after ||
        chunk->answers_from != receive->answers_from)
        return 0; /* late, or twice */
    int result = packed_load_users(receive->users, chunk->users);
    if (result == 0)
        result = packed_load_answers(receive->users, chunk->answers);
    if (result == 0 && outgrows(receive))
        result = -EBADMSG;
    if (result == 0 && chunk->last)
        result = users_load_done(receive->users, &receive->meta);
    if (result != 0) {
        replica->options.hooks->note(replica->options.context, "snapshot_refused",
                                     "what another node sent is not what it offered");
        snapshot_receive_give_up(replica);
        return -EBADMSG;
    }
    receive->after = chunk->next_after;
    receive->answers_from = chunk->next_answers_from;
    receive->heard_ms = replica_now_ms(replica);
    if (chunk->last)
        receive->phase = RECEIVE_TO_SAVE;
    else
        send_want(replica);
    return 0;
}

/* --- to the store, and into its place --------------------------------------------------------- */

static void take_its_place(struct replica *replica)
{
    struct snapshot_receive *receive = &replica->receive;
    raft_index index = receive->index;
    struct raft_configuration configuration = members_configuration(&receive->members);
    struct raft_event event = {
        .kind = RAFT_SNAPSHOT_INSTALLED,
        .snapshot_installed = {.index = index,
                               .term = receive->term,
                               .configuration = &configuration},
    };
    struct users *old = replica->users;
    replica->users = receive->users;
    replica->applied = index.n;
    digests_applied(replica);
    receive->users = NULL;
    receive->phase = RECEIVE_NONE;
    replica->saved_index = replica->saved_before = index.n;
    replica_step(replica, &event);
    replica->committed = raft_status(replica->raft).commit.n;
    snapshot_send_end_all(replica); /* of the old state */
    writes_installed(replica);
    users_free(old);
    replica->options.hooks->note(replica->options.context, "snapshot_installed",
                                 "the state of another node took the place of this one's");
}

void snapshot_receive_saved(struct replica *replica, bool durable)
{
    struct snapshot_receive *receive = &replica->receive;
    if (receive->phase != RECEIVE_SAVING)
        return;
    if (!durable) {
        receive->phase = RECEIVE_TO_SAVE;
        receive->save_after_ms = replica_now_ms(replica) + receive->save_retry_ms;
        if (receive->save_retry_ms < SAVE_AGAIN_MS_MAX)
            receive->save_retry_ms *= 2;
        return;
    }
    bool wanted = is_news(replica, receive->index.n);
    /* What the core would not take: a leader knows best, no snapshot is of a term to come, and who
     * has another history than others stays as it is. */
    struct raft_status status = raft_status(replica->raft);
    if (receive->index.n > replica->committed &&
        (status.role == RAFT_LEADER || term_less(status.term, receive->term) || status.diverged))
        wanted = false;
    if (wanted)
        take_its_place(replica);
    else
        snapshot_receive_give_up(replica);
    replica->save_wanted = replica->save_wanted || !wanted; /* the store holds another state */
    send_end(replica, receive->from, replica->applied, true);
    if (!node_id_equal(receive->also, receive->from))
        send_end(replica, receive->also, replica->applied, true);
}

static void save(struct replica *replica)
{
    struct snapshot_receive *receive = &replica->receive;
    replica->saving = true;
    receive->phase = RECEIVE_SAVING;
    replica->options.hooks->save(replica->options.context, users_pin(receive->users), receive->term,
                                 &receive->members);
}

/* A node whose store lost what the log builds on asks the others in turn. */
static void say_please(struct replica *replica, uint64_t now_ms)
{
    struct snapshot_receive *receive = &replica->receive;
    bool lacks = replica_lacks_state(replica);
    raft_index damaged = {replica->applied + 1};
    bool late = receive->phase == RECEIVE_FETCHING && now_ms - receive->heard_ms >= PIECE_LATE_MS;
    if ((!lacks && !repair_is_hopeless(replica)) || (receive->phase != RECEIVE_NONE && !late) ||
        now_ms - receive->please_ms < PLEASE_MS)
        return;
    receive->please_ms = now_ms;
    if (!lacks)
        (void)repair_first(replica, &damaged);
    receive->please_who = (receive->please_who + 1) % replica->options.members;
    raft_node_id who = replica->options.member[receive->please_who];
    struct peer_note note = {
        .kind = PEER_SNAPSHOT_REQUEST,
        .snapshot_request = {.least = lacks ? replica->log_start : damaged.n},
    };
    if (who.n != replica->options.node)
        replica_send_note(replica, who, &note);
}

/* Who asks for a state has none to give. */
void snapshot_receive_requested(struct replica *replica, raft_node_id from)
{
    for (uint32_t i = 0; i < replica->options.members; i++)
        replica->receive.begged[i] |= node_id_equal(replica->options.member[i], from);
}

/* Every Redis was emptied while no process had the state in memory: people must bring it back. */
static void judge_gone(struct replica *replica)
{
    struct snapshot_receive *receive = &replica->receive;
    if (!replica_lacks_state(replica) || receive->phase != RECEIVE_NONE) {
        memset(receive->begged, 0, sizeof(receive->begged));
        receive->gone = false;
        return;
    }
    uint32_t begging = 1;
    for (uint32_t i = 0; i < replica->options.members; i++)
        begging += receive->begged[i];
    if (receive->gone || begging < replica->options.members)
        return;
    receive->gone = true;
    replica->options.hooks->note(
        replica->options.context, "state_gone",
        "no member holds the users any more: every Redis was emptied or lost, and the logs begin "
        "later; bring back the Redis data of one node from a copy, or restore a backup");
}

void snapshot_receive_tick(struct replica *replica, uint64_t now_ms)
{
    struct snapshot_receive *receive = &replica->receive;
    say_please(replica, now_ms);
    judge_gone(replica);
    switch (receive->phase) {
    case RECEIVE_NONE:
    case RECEIVE_SAVING:
        break;
    case RECEIVE_FETCHING:
        if (now_ms - receive->heard_ms >= PIECE_LOST_MS)
            fetch_ends(replica, "says no more");
        else if (now_ms - receive->asked_ms >= PIECE_AGAIN_MS)
            send_want(replica);
        break;
    case RECEIVE_TO_SAVE:
        if (!replica->saving && now_ms >= receive->save_after_ms && replica_room(replica) > 0)
            save(replica);
        break;
    }
    /* The holder keeps what it offered as long as it hears of us. */
    bool saves = receive->phase == RECEIVE_TO_SAVE || receive->phase == RECEIVE_SAVING;
    if (saves && now_ms - receive->asked_ms >= PIECE_AGAIN_MS)
        send_want(replica);
}
