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
    struct install *install = &replica->install;
    struct peer_note note = {
        .kind = PEER_SNAPSHOT_CHUNK_REQUEST,
        .snapshot_chunk_request = {.index = install->index.n,
                                   .after = install->after,
                                   .answers_from = install->answers_from},
    };
    install->asked_ms = replica_now_ms(replica);
    replica_send_note(replica, install->from, &note);
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

void install_give_up(struct replica *replica)
{
    struct install *install = &replica->install;
    if (install->users != NULL)
        users_free(install->users);
    install->users = NULL;
    install->phase = INSTALL_NONE;
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
    const struct install *install = &replica->install;
    char text[256];
    snprintf(text, sizeof(text),
             "the state after entry %" PRIu64 ", %" PRIu64 " users, from node %" PRIu64
             ", which %s",
             install->index.n, install->meta.users, install->from.n, how);
    replica->options.hooks->note(replica->options.context, fact, text);
}

static void fetch_ends(struct replica *replica, const char *why)
{
    note_fetch(replica, "snapshot_fetch_lost", why);
    install_give_up(replica);
}

/* The holder has another one now, or none that it talks of: this fetch comes to nothing. */
static bool is_overtaken(const struct replica *replica, raft_node_id from, uint64_t index)
{
    const struct install *install = &replica->install;
    if (install->phase != INSTALL_FETCHING)
        return false;
    if (node_id_equal(install->from, from))
        return install->index.n != index;
    return replica_now_ms(replica) - install->heard_ms >= PIECE_LATE_MS;
}

int install_offered(struct replica *replica, raft_node_id from,
                    const struct peer_snapshot_offer *offer)
{
    struct install *install = &replica->install;
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
        install->began_ms != 0 && replica_now_ms(replica) - install->began_ms < BEGIN_AGAIN_MS;
    bool overtaken = is_overtaken(replica, from, offer->index);
    if ((overtaken || install->phase == INSTALL_NONE) && too_soon)
        return 0;
    if (overtaken)
        fetch_ends(replica, "has another one now, or somebody else has");
    if (install->phase != INSTALL_NONE) {
        bool same = node_id_equal(install->from, from) && install->index.n == offer->index;
        if (same && install->phase == INSTALL_FETCHING)
            install->heard_ms = replica_now_ms(replica);
        if (!same)
            install->also = from; /* hears of the end of this one */
        return 0;
    }
    struct users *users = users_new(replica->options.answers_max);
    if (users == NULL)
        return 0;
    *install = (struct install){
        .phase = INSTALL_FETCHING,
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
static bool outgrows(const struct install *install)
{
    struct users_meta loaded = users_meta(install->users), meta = install->meta;
    return loaded.users > meta.users || loaded.answers_next > meta.answers_next ||
           loaded.keys_next > meta.keys_next || loaded.next_id > meta.next_id;
}

int install_chunk(struct replica *replica, raft_node_id from,
                  const struct peer_snapshot_chunk *chunk)
{
    struct install *install = &replica->install;
    if (install->phase != INSTALL_FETCHING || !node_id_equal(install->from, from) ||
        chunk->index != install->index.n || chunk->after != install->after ||
        chunk->answers_from != install->answers_from)
        return 0; /* late, or twice */
    int result = packed_load_users(install->users, chunk->users);
    if (result == 0)
        result = packed_load_answers(install->users, chunk->answers);
    if (result == 0 && outgrows(install))
        result = -EBADMSG;
    if (result == 0 && chunk->last)
        result = users_load_done(install->users, &install->meta);
    if (result != 0) {
        replica->options.hooks->note(replica->options.context, "snapshot_refused",
                                     "what another node sent is not what it offered");
        install_give_up(replica);
        return -EBADMSG;
    }
    install->after = chunk->next_after;
    install->answers_from = chunk->next_answers_from;
    install->heard_ms = replica_now_ms(replica);
    if (chunk->last)
        install->phase = INSTALL_TO_SAVE;
    else
        send_want(replica);
    return 0;
}

/* --- to the store, and into its place --------------------------------------------------------- */

static void take_its_place(struct replica *replica)
{
    struct install *install = &replica->install;
    raft_index index = install->index;
    struct raft_configuration configuration = members_configuration(&install->members);
    struct raft_event event = {
        .kind = RAFT_SNAPSHOT_INSTALLED,
        .snapshot_installed = {.index = index,
                               .term = install->term,
                               .configuration = &configuration},
    };
    struct users *old = replica->users;
    replica->users = install->users;
    replica->applied = index.n;
    digests_applied(replica);
    install->users = NULL;
    install->phase = INSTALL_NONE;
    replica->saved_index = replica->saved_before = index.n;
    replica_step(replica, &event);
    replica->committed = raft_status(replica->raft).commit.n;
    offers_end_all(replica); /* of the old state */
    writes_installed(replica);
    users_free(old);
    replica->options.hooks->note(replica->options.context, "snapshot_installed",
                                 "the state of another node took the place of this one's");
}

void install_saved(struct replica *replica, bool durable)
{
    struct install *install = &replica->install;
    if (install->phase != INSTALL_SAVING)
        return;
    if (!durable) {
        install->phase = INSTALL_TO_SAVE;
        install->save_after_ms = replica_now_ms(replica) + install->save_retry_ms;
        if (install->save_retry_ms < SAVE_AGAIN_MS_MAX)
            install->save_retry_ms *= 2;
        return;
    }
    bool wanted = is_news(replica, install->index.n);
    /* What the core would not take: a leader knows best, no snapshot is of a term to come, and who
     * has another history than others stays as it is. */
    struct raft_status status = raft_status(replica->raft);
    if (install->index.n > replica->committed &&
        (status.role == RAFT_LEADER || term_less(status.term, install->term) || status.diverged))
        wanted = false;
    if (wanted)
        take_its_place(replica);
    else
        install_give_up(replica);
    replica->save_wanted = replica->save_wanted || !wanted; /* the store holds another state */
    send_end(replica, install->from, replica->applied, true);
    if (!node_id_equal(install->also, install->from))
        send_end(replica, install->also, replica->applied, true);
}

static void save(struct replica *replica)
{
    struct install *install = &replica->install;
    replica->saving = true;
    install->phase = INSTALL_SAVING;
    replica->options.hooks->save(replica->options.context, users_pin(install->users), install->term,
                                 &install->members);
}

/* A node whose store lost what the log builds on asks the others in turn. */
static void say_please(struct replica *replica, uint64_t now_ms)
{
    struct install *install = &replica->install;
    bool lacks = replica_lacks_state(replica);
    raft_index damaged = {replica->applied + 1};
    bool late = install->phase == INSTALL_FETCHING && now_ms - install->heard_ms >= PIECE_LATE_MS;
    if ((!lacks && !repair_is_hopeless(replica)) || (install->phase != INSTALL_NONE && !late) ||
        now_ms - install->please_ms < PLEASE_MS)
        return;
    install->please_ms = now_ms;
    if (!lacks)
        (void)repair_first(replica, &damaged);
    install->please_who = (install->please_who + 1) % replica->options.members;
    raft_node_id who = replica->options.member[install->please_who];
    struct peer_note note = {
        .kind = PEER_SNAPSHOT_REQUEST,
        .snapshot_request = {.least = lacks ? replica->log_start : damaged.n},
    };
    if (who.n != replica->options.node)
        replica_send_note(replica, who, &note);
}

/* Who asks for a state has none to give. */
void install_begged(struct replica *replica, raft_node_id from)
{
    for (uint32_t i = 0; i < replica->options.members; i++)
        replica->install.begged[i] |= node_id_equal(replica->options.member[i], from);
}

/* Every Redis was emptied while no process had the state in memory: people must bring it back. */
static void judge_gone(struct replica *replica)
{
    struct install *install = &replica->install;
    if (!replica_lacks_state(replica) || install->phase != INSTALL_NONE) {
        memset(install->begged, 0, sizeof(install->begged));
        install->gone = false;
        return;
    }
    uint32_t begging = 1;
    for (uint32_t i = 0; i < replica->options.members; i++)
        begging += install->begged[i];
    if (install->gone || begging < replica->options.members)
        return;
    install->gone = true;
    replica->options.hooks->note(
        replica->options.context, "state_gone",
        "no member holds the users any more: every Redis was emptied or lost, and the logs begin "
        "later; bring back the Redis data of one node from a copy, or restore a backup");
}

void install_look(struct replica *replica, uint64_t now_ms)
{
    struct install *install = &replica->install;
    say_please(replica, now_ms);
    judge_gone(replica);
    switch (install->phase) {
    case INSTALL_NONE:
    case INSTALL_SAVING:
        break;
    case INSTALL_FETCHING:
        if (now_ms - install->heard_ms >= PIECE_LOST_MS)
            fetch_ends(replica, "says no more");
        else if (now_ms - install->asked_ms >= PIECE_AGAIN_MS)
            send_want(replica);
        break;
    case INSTALL_TO_SAVE:
        if (!replica->saving && now_ms >= install->save_after_ms && replica_room(replica) > 0)
            save(replica);
        break;
    }
    /* The holder keeps what it offered as long as it hears of us. */
    bool saves = install->phase == INSTALL_TO_SAVE || install->phase == INSTALL_SAVING;
    if (saves && now_ms - install->asked_ms >= PIECE_AGAIN_MS)
        send_want(replica);
}
