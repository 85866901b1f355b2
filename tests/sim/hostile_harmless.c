/* What may be said by whoever says it: it is ignored, or answered, or costs an election. */
#include "tests/sim/hostile_lie.h"

/* Any message whose term is over. */
static bool of_an_old_term(void)
{
    if (lie_term() < 2)
        return false;
    lie_begin((uint16_t)(3 + lie_below(8)));
    l.m.term.n = 1 + lie_below(lie_term() - 1);
    uint64_t at = lie_near(l.status.last.n) % RAFT_INDEX_MAX, old = lie_below(l.m.term.n + 1);
    switch (l.m.kind) {
    case RAFT_REQUEST_PRE_VOTE:
    case RAFT_REQUEST_PRE_VOTE_RESPONSE:
        break;
    case RAFT_REQUEST_VOTE:
        l.m.request_vote = (struct raft_request_vote){{at}, {old}, (uint8_t)lie_below(2)};
        break;
    case RAFT_REQUEST_VOTE_RESPONSE:
        l.m.request_vote_response.granted = 1;
        break;
    case RAFT_APPEND_ENTRIES:
        l.m.append_entries.prev.n = at;
        l.m.append_entries.prev_term.n = old;
        l.m.append_entries.commit.n = lie_near(l.status.last.n) % RAFT_INDEX_MAX;
        l.m.append_entries.round = lie_any();
        break;
    case RAFT_APPEND_ENTRIES_RESPONSE:
        l.m.append_entries_response =
            (struct raft_append_entries_response){.accepted = (uint8_t)lie_below(2),
                                                  .round = lie_any(),
                                                  .match = {at},
                                                  .hint_term = {old}};
        break;
    case RAFT_READ_INDEX:
        l.m.read_index.token = lie_any();
        break;
    case RAFT_READ_INDEX_RESPONSE:
        l.m.read_index_response =
            (struct raft_read_index_response){l.victim->replica->reads.token, 1, {at}};
        break;
    case RAFT_TIMEOUT_NOW:
        l.m.timeout_now.transfer = 1;
        break;
    case RAFT_FORGOT:
        l.m.forgot = (struct raft_forgot){{at}, {old}};
    }
    return lie_message(false);
}

static bool pre_vote(void)
{
    lie_begin(lie_below(2) == 0 ? RAFT_REQUEST_PRE_VOTE : RAFT_REQUEST_PRE_VOTE_RESPONSE);
    l.m.term.n = lie_term() + (lie_below(16) == 0);
    if (l.m.kind == RAFT_REQUEST_PRE_VOTE)
        l.m.request_pre_vote =
            (struct raft_request_pre_vote){{lie_term() + lie_below(3)},
                                           {lie_near(l.status.last.n) % RAFT_INDEX_MAX},
                                           {lie_term()}};
    else
        l.m.request_pre_vote_response = (struct raft_request_pre_vote_response){
            {lie_term() + lie_below(3)}, (uint8_t)lie_below(2)};
    return lie_message(false);
}

/* Asked by who has nothing: the term moves, and no vote is given. */
static bool vote_for_an_empty_log(void)
{
    if (l.status.last.n == 0)
        return false;
    lie_begin(RAFT_REQUEST_VOTE);
    l.m.term.n = lie_term() + (lie_below(8) == 0);
    l.m.request_vote.transfer = (uint8_t)lie_below(2);
    return lie_message(false);
}

static bool timeout_now(void)
{
    if (lie_below(8) != 0)
        return false;
    lie_begin(RAFT_TIMEOUT_NOW);
    l.m.timeout_now.transfer = (uint8_t)lie_below(2);
    return lie_message(false);
}

/* A member refuses, or has more than there is: then it counts for less, never for more. */
static bool refusal(void)
{
    lie_begin(RAFT_APPEND_ENTRIES_RESPONSE);
    struct raft_append_entries_response *give = &l.m.append_entries_response;
    if (lie_below(2) == 0) {
        give->accepted = 1;
        give->match.n = l.status.last.n + 1 + lie_below(5);
        return l.status.role == RAFT_LEADER && lie_message(false);
    }
    give->prev.n = lie_near(l.status.last.n) % RAFT_INDEX_MAX;
    give->hint.n = lie_near(l.status.last.n) % RAFT_INDEX_MAX;
    give->hint_term.n = lie_below(lie_term() + 1);
    return lie_message(false);
}

static bool read_or_forgot_of_who_does_not_lead(void)
{
    if (lie_leader_is_known() && node_id_equal(l.lie->from, l.status.leader))
        return false;
    if (lie_below(2) == 0) {
        lie_begin(RAFT_READ_INDEX_RESPONSE);
        l.m.read_index_response =
            (struct raft_read_index_response){l.victim->replica->reads.token, 1, {0}};
    } else {
        lie_begin(RAFT_FORGOT);
        l.m.forgot = (struct raft_forgot){{RAFT_INDEX_MAX - lie_below(2)}, {lie_term()}};
    }
    return lie_message(false);
}

static bool read_index(void)
{
    lie_begin(RAFT_READ_INDEX);
    l.m.read_index.token = lie_any();
    return lie_message(false);
}

static bool log_position(void)
{
    struct raft_cluster_id cluster = replica_identity(l.victim->replica).cluster;
    bool says = lie_below(2) == 0;
    l.note = (struct peer_note){.kind = PEER_LOG_POSITION,
                                .log_position = {.asks = (uint8_t)lie_below(2),
                                                 .question = lie_any(),
                                                 .term = lie_term() + lie_below(RAFT_TERM_LEAP),
                                                 .last = lie_near(l.status.last.n) % RAFT_INDEX_MAX,
                                                 .cluster_high = says ? cluster.high : 0,
                                                 .cluster_low = says ? cluster.low : 0}};
    return lie_note(false);
}

static bool about_snapshots(void)
{
    uint64_t applied = l.victim->replica->applied;
    switch (lie_below(4)) {
    case 0:
        l.note = (struct peer_note){.kind = PEER_SNAPSHOT_REQUEST,
                                    .snapshot_request = {lie_near(applied) % RAFT_INDEX_MAX}};
        break;
    case 1: {
        uint64_t index = lie_near(applied) % RAFT_INDEX_MAX;
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
            const struct snapshot_send *offer = &l.victim->replica->offer[i];
            if (offer->active && lie_below(2) == 0) {
                index = offer->index.n;
                l.lie->from = offer->to;
            }
        }
        l.note = (struct peer_note){
            .kind = PEER_SNAPSHOT_CHUNK_REQUEST,
            .snapshot_chunk_request = {index, lie_near(lie_below(100)), lie_any()}};
        if (lie_below(2) == 0)
            l.note.snapshot_chunk_request.answers_from =
                lie_near(0) + (lie_below(2) == 0 ? USERS_KEYED : 0);
        break;
    }
    case 2:
        l.note = (struct peer_note){
            .kind = PEER_SNAPSHOT_END,
            .snapshot_end = {lie_near(applied) % RAFT_INDEX_MAX, (uint8_t)lie_below(2)}};
        break;
    default:
        l.note = (struct peer_note){.kind = PEER_SNAPSHOT_CHUNK,
                                    .snapshot_chunk = {.index = 1 + lie_below(applied + 9),
                                                       .after = lie_any() / 2,
                                                       .next_after = UINT64_MAX,
                                                       .last = (uint8_t)lie_below(2),
                                                       .users = lie_text(40)}};
    }
    return lie_note(false);
}

/*
 * Of a state that there is not: what comes of it does not fit the digest. Nor is there another one
 * of that index: what its holder sends would not fit what was offered in its name.
 */
static bool false_offer(void)
{
    static uint8_t at[MEMBERS_BYTES_MAX];
    uint64_t index = l.status.commit.n + 1 +
                     (lie_below(2) == 0 ? 100000 + lie_below(50) : lie_any() % RAFT_INDEX_MAX / 2);
    uint64_t ids = lie_below(3) == 0 ? index : lie_below(index < 100 ? index : 100);
    if (ids > USER_ID_MAX)
        ids = USER_ID_MAX;
    l.note = (struct peer_note){
        .kind = PEER_SNAPSHOT_OFFER,
        .snapshot_offer = {.index = index,
                           .term = lie_term() > 0 ? lie_term() : 1,
                           .users = ids / (1 + lie_below(3)),
                           .next_id = ids + 1,
                           .digest = lie_any(),
                           .members = lie_configuration(
                               (struct raft_configuration){.voters = 1, .voter = {{1}}}, at)}};
    return lie_below(8) == 0 && lie_note(false);
}

static bool about_entries(void)
{
    static uint8_t indexes[PEER_ENTRIES_REQUEST_MAX * 8];
    struct writer out = writer_of(indexes, sizeof(indexes));
    struct wal_hole hole = {.index = l.status.commit, .term = l.status.term, .kind = RAFT_COMMAND};
    if (lie_below(2) == 0) {
        for (uint64_t i = lie_below(PEER_ENTRIES_REQUEST_MAX + 1); i > 0; i--)
            put_u64(&out, lie_near(l.status.last.n - lie_below(l.status.last.n + 1)));
        l.note = (struct peer_note){.kind = PEER_ENTRIES_REQUEST,
                                    .entries_request = {writer_bytes(&out)}};
        return lie_note(false);
    }
    if (wal_holes(l.victim->replica->wal) > 0)
        (void)!wal_hole(l.victim->replica->wal,
                        (uint32_t)lie_below(wal_holes(l.victim->replica->wal)), &hole);
    l.note =
        (struct peer_note){.kind = PEER_ENTRY,
                           .entry = {.index = hole.index.n,
                                     .term = hole.term.n,
                                     .kind = RAFT_NOOP,
                                     .payload = lie_text(hole.length < 4096 ? hole.length : 0)}};
    return lie_note(false);
}

static bool refused_by_who_was_not_asked(void)
{
    if (l.status.role != RAFT_LEADER &&
        (!lie_leader_is_known() || node_id_equal(l.lie->from, l.status.leader)))
        return false;
    l.note = (struct peer_note){
        .kind = PEER_FORWARD_REFUSED,
        .forward_refused = {clients_request_id(lie_below(l.world->clients.ops + 1)),
                            (uint8_t)lie_below(8)}};
    const struct pending *p = l.victim->replica->writes.sent.first;
    for (; p != NULL; p = p->next) { /* it was asked before this leader was */
        if (request_id_equal(&p->id, &l.note.forward_refused.request) &&
            node_id_equal(p->sent_to, l.lie->from))
            return false;
    }
    return lie_note(false);
}

/* What a node once said to this one, again. But no write: its client may know that it was refused.
 */
static bool said_again(void)
{
    const struct packet *packet = lie_kept(true);
    if (packet == NULL || packet->kind == PEER_FORWARD || packet->kind == PEER_FORWARD_REFUSED)
        return false;
    l.lie->from.n = packet->from;
    return lie_frame(packet->kind, bytes_of(packet->bytes, packet->len), false);
}

/* --- one of them ------------------------------------------------------------------------------ */

lie_maker *lie_of_no_consequence(void)
{
    static const struct {
        lie_maker *make;
        const char *name;
    } all[] = {
        {of_an_old_term, "of an old term"},
        {pre_vote, "pre vote"},
        {vote_for_an_empty_log, "vote for an empty log"},
        {timeout_now, "campaign now"},
        {refusal, "refusal"},
        {read_or_forgot_of_who_does_not_lead, "read or forgot of who does not lead"},
        {read_index, "read ask"},
        {log_position, "log_position"},
        {about_snapshots, "about snapshots"},
        {false_offer, "false offer"},
        {about_entries, "about entries"},
        {refused_by_who_was_not_asked, "refused by who was not asked"},
        {said_again, "said again"},
    };
    uint64_t which = lie_below(ARRAY_LEN(all));
    l.lie->name = all[which].name;
    return all[which].make;
}
