/* Snapshots for others: a version of the state, handed out piece by piece as they ask. */
#include "raft/replica/state.h"

#include "raft/users/packed.h"

#include <errno.h>

/* An offer is said again so often, and given up when nobody has asked for so long. */
#define OFFER_AGAIN_MS 200u
#define OFFER_LOST_MS  12000u
_Static_assert(sizeof(((struct replica *)0)->read_back) >= PEER_CHUNK_BYTES_MAX,
               "a piece is packed where entries are read back to: never both at once");

static struct snapshot_send *find(struct replica *replica, raft_node_id to)
{
    for (uint32_t i = 0; i < ARRAY_LEN(replica->offer); i++) {
        if (replica->offer[i].active && node_id_equal(replica->offer[i].to, to))
            return &replica->offer[i];
    }
    return NULL;
}

/* Its former place where there is one, which knows when it had its last piece. */
static struct snapshot_send *new_offer(struct replica *replica, raft_node_id to)
{
    struct snapshot_send *found = NULL;
    for (uint32_t i = 0; i < ARRAY_LEN(replica->offer); i++) {
        struct snapshot_send *offer = &replica->offer[i];
        if (!offer->active && node_id_equal(offer->to, to))
            return offer;
        if (!offer->active && (found == NULL || offer->to.n == 0))
            found = offer;
    }
    return found;
}

static void say(struct replica *replica, struct snapshot_send *offer)
{
    uint8_t members[MEMBERS_BYTES_MAX];
    struct writer out = writer_of(members, sizeof(members));
    struct users_meta meta = users_view_meta(offer->view);
    members_put(&out, &offer->members);
    struct peer_note note = {
        .kind = PEER_SNAPSHOT_OFFER,
        .snapshot_offer = {.index = offer->index.n,
                           .term = offer->term.n,
                           USERS_META_FIELDS(USERS_META_FROM_meta).members = writer_bytes(&out)},
    };
    offer->sent_ms = replica_now_ms(replica);
    replica_send_note(replica, offer->to, &note);
}

static void drop(struct snapshot_send *offer)
{
    users_unpin(offer->view);
    *offer = (struct snapshot_send){.active = false, .to = offer->to, .answered = offer->answered};
}

bool snapshot_send_begin(struct replica *replica, raft_node_id to, bool for_core)
{
    struct snapshot_send *offer = find(replica, to);
    if (offer != NULL) { /* the same one goes on */
        offer->for_core = offer->for_core || for_core;
        return false;
    }
    offer = new_offer(replica, to);
    raft_index index = {replica->applied};
    if (offer == NULL || replica->applied == 0 || replica_lacks_state(replica) ||
        !cluster_id_known(replica_members_at(replica, index)->cluster)) {
        if (offer != NULL && for_core) /* reported at the next look: the core asks again then */
            *offer = (struct snapshot_send){
                .active = true, .for_core = true, .to = to, .answered = replica->turns};
        return false;
    }
    *offer = (struct snapshot_send){
        .active = true,
        .for_core = for_core,
        .to = to,
        .view = users_pin(replica->users),
        .index = index,
        .term = raft_entry_term(replica->raft, index),
        .members = *replica_members_at(replica, index),
        .heard_ms = replica_now_ms(replica),
        .answered = node_id_equal(offer->to, to) ? offer->answered : 0,
    };
    say(replica, offer);
    return true;
}

static uint32_t piece_bytes(const struct replica *replica)
{
    uint32_t bytes = replica->options.piece_bytes;
    assert(bytes == 0 || (bytes > PACKED_ANSWER_BYTES_MAX && bytes <= PEER_CHUNK_BYTES_MAX));
    return bytes == 0 ? PEER_CHUNK_BYTES_MAX : bytes;
}

/*
 * A piece a turn to each: it is much work for a small question, and who fetches asks for the next
 * one when it has this one.
 */
int snapshot_send_wanted(struct replica *replica, raft_node_id from,
                         const struct peer_snapshot_chunk_request *want)
{
    struct snapshot_send *offer = find(replica, from);
    if (offer == NULL || offer->view == NULL || want->index != offer->index.n)
        return 0;
    if (offer->answered == replica->turns)
        return -EAGAIN;
    offer->answered = replica->turns;
    offer->heard_ms = offer->sent_ms = replica_now_ms(replica);
    struct writer users_out = writer_of(replica->read_back, piece_bytes(replica));
    bool last = false, answers_last = false;
    uint64_t after = users_view_list(offer->view, want->after, 0, &users_out, &last);
    struct writer answers_out = writer_of(users_out.at, writer_room(&users_out));
    uint64_t answers_from = want->answers_from;
    if (last)
        answers_from =
            packed_put_answers(offer->view, want->answers_from, &answers_out, &answers_last);
    assert(!answers_out.bad && !users_out.bad);
    struct peer_note note = {
        .kind = PEER_SNAPSHOT_CHUNK,
        .snapshot_chunk = {.index = want->index,
                           .after = want->after,
                           .answers_from = want->answers_from,
                           .next_after = after,
                           .next_answers_from = answers_from,
                           .last = answers_last,
                           .users = writer_bytes(&users_out),
                           .answers = writer_bytes(&answers_out)},
    };
    replica_send_note(replica, from, &note);
    return 0;
}

static void tell_core(struct replica *replica, raft_node_id to, bool installed, raft_index index)
{
    struct raft_event event = {
        .kind = RAFT_SNAPSHOT_SENT,
        .snapshot_sent = {.to = to, .installed = installed, .index = index},
    };
    replica_step(replica, &event);
}

void snapshot_send_ended(struct replica *replica, raft_node_id from,
                         const struct peer_snapshot_end *end)
{
    struct snapshot_send *offer = find(replica, from);
    if (offer == NULL)
        return;
    bool for_core = offer->for_core;
    drop(offer);
    if (for_core)
        tell_core(replica, from, end->installed != 0, (raft_index){end->index});
}

void snapshot_send_tick(struct replica *replica, uint64_t now_ms)
{
    for (uint32_t i = 0; i < ARRAY_LEN(replica->offer); i++) {
        struct snapshot_send *offer = &replica->offer[i];
        if (!offer->active)
            continue;
        if (offer->view == NULL || now_ms - offer->heard_ms >= OFFER_LOST_MS) {
            struct peer_snapshot_end lost = {.installed = 0};
            snapshot_send_ended(replica, offer->to, &lost);
        } else if (now_ms - offer->sent_ms >= OFFER_AGAIN_MS) {
            say(replica, offer);
        }
    }
}

void snapshot_send_end_all(struct replica *replica)
{
    for (uint32_t i = 0; i < ARRAY_LEN(replica->offer); i++) {
        struct peer_snapshot_end lost = {.installed = 0};
        if (replica->offer[i].active)
            snapshot_send_ended(replica, replica->offer[i].to, &lost);
    }
}

void snapshot_send_drop_all(struct replica *replica)
{
    for (uint32_t i = 0; i < ARRAY_LEN(replica->offer); i++) {
        if (replica->offer[i].active)
            drop(&replica->offer[i]);
    }
}
