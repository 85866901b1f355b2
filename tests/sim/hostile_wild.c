/* What a node cannot tell from the truth, and what is neither: see HOSTILE_LIES. */
#include "tests/sim/hostile_lie.h"

#include "raft/users/packed.h"

#include <string.h>

static struct raft_configuration any_configuration(void)
{
    struct raft_configuration c = {.voters = 1 + (uint32_t)lie_below(3),
                                   .outgoing = lie_below(4) == 0 ? (uint32_t)lie_below(4) : 0,
                                   .learners = lie_below(4) == 0 ? (uint32_t)lie_below(4) : 0};
    uint64_t first = lie_below(SIM_NODES);
    for (uint32_t i = 0; i < 4; i++) {
        c.voter[i].n = 1 + (first + i) % SIM_NODES;
        c.outgoing_voter[i].n = 1 + (first + 2 * i) % SIM_NODES;
        c.learner[i].n = 1 + (first + i + 4) % (SIM_NODES + 2);
    }
    return c;
}

/* A term that a node follows: mostly its own. */
static uint64_t any_term(void)
{
    uint64_t dice = lie_below(64);
    if (dice == 0)
        return lie_near(lie_term() + RAFT_TERM_LEAP);
    return dice < 8 ? lie_term() + 1 + lie_below(2) : lie_term();
}

static void draw_entries(void)
{
    static uint8_t commands[ARRAY_LEN(l.entry)][USERS_REQUEST_BYTES_MAX];
    static uint8_t configuration[MEMBERS_BYTES_MAX];
    struct raft_append_entries *a = &l.m.append_entries;
    uint64_t term = a->prev_term.n;
    uint32_t entries = 0;
    a->entries.runs = (uint32_t)lie_below(3);
    for (uint32_t i = 0; i < a->entries.runs; i++) {
        term += i > 0 || lie_below(2) == 0;
        a->entries.at[i].term.n = i == 0 && lie_below(2) == 0 ? l.m.term.n : term;
        a->entries.at[i].count = 1 + (uint32_t)lie_below(2);
        entries += a->entries.at[i].count;
    }
    for (uint32_t i = 0; i < ARRAY_LEN(l.entry); i++) {
        l.entry[i] = (struct peer_entry){.kind = RAFT_NOOP};
        if (lie_below(2) == 0)
            l.entry[i] = (struct peer_entry){RAFT_COMMAND, lie_command(commands[i])};
    }
    if (entries == 1 && lie_below(4) == 0)
        l.entry[0] = (struct peer_entry){RAFT_CONFIGURATION,
                                         lie_configuration(any_configuration(), configuration)};
}

static bool append(void)
{
    lie_begin_append(0);
    l.m.term.n = any_term();
    if (lie_leader_is_known() && lie_below(2) == 0)
        l.m.from = l.lie->from = l.status.leader;
    struct raft_append_entries *a = &l.m.append_entries;
    raft_index start = l.raft->log.start;
    if (lie_below(2) == 0)
        a->prev.n = start.n + lie_below(l.status.last.n - start.n + 1);
    a->prev_term = raft_entry_term(l.raft, a->prev);
    if (lie_below(8) == 0)
        a->prev_term.n = lie_below(l.m.term.n + 1);
    if (lie_below(16) == 0)
        a->prev.n = lie_near(l.status.last.n);
    a->commit.n = lie_near(l.status.last.n);
    a->round = lie_near(l.status.role == RAFT_FOLLOWER ? l.raft->follower.round : 3);
    draw_entries();
    return lie_message(false);
}

static bool vote(void)
{
    lie_begin(lie_below(2) == 0 ? RAFT_REQUEST_VOTE : RAFT_REQUEST_VOTE_RESPONSE);
    l.m.term.n = any_term();
    if (l.m.kind == RAFT_REQUEST_VOTE)
        l.m.request_vote = (struct raft_request_vote){
            {lie_near(l.status.last.n)}, {lie_below(l.m.term.n + 1)}, (uint8_t)lie_below(2)};
    else
        l.m.request_vote_response.granted = 1;
    return lie_message(false);
}

static bool pre_vote(void)
{
    lie_begin(lie_below(2) == 0 ? RAFT_REQUEST_PRE_VOTE : RAFT_REQUEST_PRE_VOTE_RESPONSE);
    l.m.term.n = any_term();
    uint64_t next = lie_term() + lie_below(3);
    if (l.m.kind == RAFT_REQUEST_PRE_VOTE)
        l.m.request_pre_vote = (struct raft_request_pre_vote){
            {next}, {lie_near(l.status.last.n)}, {lie_below(next + 1)}};
    else
        l.m.request_pre_vote_response =
            (struct raft_request_pre_vote_response){{next}, (uint8_t)lie_below(2)};
    return lie_message(false);
}

static bool acknowledgement(void)
{
    lie_begin(RAFT_APPEND_ENTRIES_RESPONSE);
    l.m.term.n = any_term();
    l.m.append_entries_response = (struct raft_append_entries_response){
        .accepted = (uint8_t)lie_below(2),
        .round = lie_near(l.status.role == RAFT_LEADER ? l.raft->leader.round : 3),
        .match = {lie_near(l.status.last.n)},
        .prev = {lie_near(l.status.last.n)},
        .hint = {lie_near(l.status.last.n)},
        .hint_term = {lie_below(l.m.term.n + 1)},
        .recovering = lie_below(4) == 0,
    };
    return lie_message(false);
}

static bool word_of_the_leader(void)
{
    static const uint16_t kinds[] = {RAFT_READ_INDEX, RAFT_READ_INDEX_RESPONSE, RAFT_TIMEOUT_NOW,
                                     RAFT_FORGOT};
    if (lie_leader_is_known())
        l.lie->from = l.status.leader;
    lie_begin(kinds[lie_below(ARRAY_LEN(kinds))]);
    l.m.term.n = any_term();
    uint64_t token = l.victim->replica->reads.token + lie_below(2);
    if (l.m.kind == RAFT_READ_INDEX)
        l.m.read_index.token = token;
    else if (l.m.kind == RAFT_READ_INDEX_RESPONSE)
        l.m.read_index_response = (struct raft_read_index_response){
            token, (uint8_t)lie_below(2), {lie_near(l.status.last.n)}};
    else if (l.m.kind == RAFT_FORGOT && lie_below(8) == 0)
        l.m.forgot = (struct raft_forgot){{lie_near(l.status.last.n)}, {lie_below(l.m.term.n + 1)}};
    return lie_message(false);
}

static bool forward(void)
{
    static uint8_t at[USERS_REQUEST_BYTES_MAX];
    const struct pending *p = l.victim->replica->writes.sent.first;
    l.note = (struct peer_note){.kind = PEER_FORWARD, .forward = {lie_command(at)}};
    if (p != NULL && lie_below(2) == 0) {
        l.lie->from = p->sent_to;
        l.note = (struct peer_note){.kind = PEER_FORWARD_REFUSED,
                                    .forward_refused = {p->id, (uint8_t)lie_below(8)}};
    }
    return l.lie->from.n != l.victim->id && lie_note(false);
}

/* Of a state that differs. */
static bool digest(void)
{
    l.note = (struct peer_note){.kind = PEER_DIGEST,
                                .digest = {lie_near(l.victim->replica->applied), lie_any()}};
    return lie_note(false);
}

/* Answers what the node asks, and names any end of a log, and any cluster. */
static bool log_position(void)
{
    const struct replica *replica = l.victim->replica;
    uint64_t term = lie_below(4) == 0 ? lie_near(RAFT_TERM_LEAP) : any_term();
    l.note = (struct peer_note){
        .kind = PEER_LOG_POSITION,
        .log_position = {.question = replica->options.random + replica->rejoin.questions,
                         .term = term,
                         .last = lie_near(l.status.last.n),
                         .last_term = lie_below(term + 1),
                         .cluster_high = lie_below(2) == 0 ? 0 : lie_any(),
                         .cluster_low = lie_below(2)}};
    return lie_note(false);
}

/* What it saw of the node, which may be later than the node is; or that a member was put back. */
static bool life(void)
{
    const struct replica *replica = l.victim->replica;
    bool ours = lie_below(2) == 0;
    uint64_t term = any_term() % RAFT_TERM_MAX;
    l.note = (struct peer_note){
        .kind = PEER_LIFE,
        .life = {.asks = (uint8_t)lie_below(2),
                 .disk = lie_any() | 1u,
                 .start = 1 + lie_below(8),
                 .number = lie_any(),
                 .term = any_term() % RAFT_TERM_MAX,
                 .rolled_back = (uint8_t)lie_below(2),
                 .seen_disk = ours ? wal_identity(replica->wal).disk : lie_any() | 1u,
                 .seen_start = lie_near(wal_start(replica->wal)) % PEER_START_MAX,
                 .seen_number = lie_below(2) == 0 ? replica->options.random : lie_any(),
                 .seen_term = term,
                 .seen_last = lie_near(l.status.last.n) % RAFT_INDEX_MAX,
                 .seen_last_term = lie_below(term + 1)}};
    return lie_note(false);
}

/* --- a whole snapshot ------------------------------------------------------------------------- */

/* The state of a cluster that there is not, made at the first need; the same in all runs. */
static struct users *false_state(void)
{
    static struct users *users;
    if (users != NULL)
        return users;
    users = users_new(USERS_PAGE * 64u);
    for (uint64_t index = 1; index <= 20; index++) {
        struct users_request request = {
            .id = {{(uint8_t)index}},
            .command = {.kind = USERS_CREATE, .create = {{.name = bytes_of_text("Mallory")}}}};
        (void)users_apply(users, index, &request);
    }
    return users;
}

static bool snapshot(void)
{
    static uint8_t at[MEMBERS_BYTES_MAX];
    const struct snapshot_receive *receive = &l.victim->replica->receive;
    struct users_view *view = users_pin(false_state());
    struct users_meta meta = users_view_meta(view);
    uint64_t far = lie_below(8) == 0 ? lie_any() % RAFT_INDEX_MAX : lie_below(20);
    bool last, said = false;
    if (receive->phase == RECEIVE_NONE && lie_below(4) == 0) {
        l.note =
            (struct peer_note){.kind = PEER_SNAPSHOT_OFFER,
                               .snapshot_offer = {.index = l.status.commit.n + 1 + meta.index + far,
                                                  .term = 1 + lie_below(lie_term() + 1),
                                                  USERS_META_FIELDS(USERS_META_FROM_meta).members =
                                                      lie_configuration(any_configuration(), at)}};
        said = lie_note(false);
    } else if (receive->phase == RECEIVE_FETCHING && receive->meta.digest == meta.digest) {
        struct writer users = writer_of(l.text, PEER_CHUNK_BYTES_MAX / 4);
        (void)users_view_list(view, 0, 0, &users, &last);
        struct writer answers = writer_of(users.at, PEER_CHUNK_BYTES_MAX / 4);
        (void)packed_put_answers(view, 0, &answers, &last);
        l.lie->from = receive->from;
        l.note = (struct peer_note){.kind = PEER_SNAPSHOT_CHUNK,
                                    .snapshot_chunk = {.index = receive->index.n,
                                                       .after = receive->after,
                                                       .answers_from = receive->answers_from,
                                                       .next_after = UINT64_MAX,
                                                       .last = 1,
                                                       .users = writer_bytes(&users),
                                                       .answers = writer_bytes(&answers)}};
        said = lie_note(false);
    }
    users_unpin(view);
    return said;
}

/* --- what nodes said -------------------------------------------------------------------------- */

static bool mutated(void)
{
    const struct packet *packet = lie_kept(lie_below(4) != 0);
    if (packet == NULL || packet->len == 0)
        return false;
    memcpy(l.text, packet->bytes, packet->len);
    for (uint64_t i = lie_below(4); i > 0; i--)
        l.text[lie_below(lie_below(2) == 0 ? packet->len : 1 + packet->len / 4)] ^=
            (uint8_t)(1u << lie_below(8));
    if (packet->from != l.victim->id)
        l.lie->from.n = packet->from;
    return lie_frame(packet->kind, bytes_of(l.text, packet->len), false);
}

/* What was said to somebody else, or by this node. */
static bool readdressed(void)
{
    const struct packet *packet = lie_kept(false);
    if (packet == NULL)
        return false;
    memcpy(l.text, packet->bytes, packet->len);
    struct writer ids = writer_of(l.text, 16);
    if (!peer_is_note(packet->kind)) {
        put_u64(&ids, l.lie->from.n);
        put_u64(&ids, l.victim->id);
    }
    return lie_frame(packet->kind, bytes_of(l.text, packet->len), false);
}

/* --- one of them ------------------------------------------------------------------------------ */

lie_maker *lie_of_any_kind(void)
{
    static const struct {
        lie_maker *make;
        const char *name;
    } all[] = {
        {append, "an append"},
        {append, "an append"},
        {append, "an append"},
        {vote, "a vote"},
        {pre_vote, "a pre-vote"},
        {acknowledgement, "an acknowledgement"},
        {word_of_the_leader, "a word of the leader"},
        {forward, "a write, or its refusal"},
        {log_position, "the end of a log"},
        {life, "a life"},
        {digest, "a digest"},
        {snapshot, "a snapshot"},
        {mutated, "something mutated"},
        {mutated, "something mutated"},
        {readdressed, "something readdressed"},
    };
    uint64_t which = lie_below(ARRAY_LEN(all));
    l.lie->name = all[which].name;
    return all[which].make;
}
