/* What no node that follows the rules says, in any state. */
#include "tests/sim/hostile_lie.h"

#include <string.h>

static bool term_that_there_is_not(void)
{
    static const uint16_t kinds[] = {RAFT_REQUEST_PRE_VOTE,
                                     RAFT_REQUEST_VOTE,
                                     RAFT_APPEND_ENTRIES,
                                     RAFT_APPEND_ENTRIES_RESPONSE,
                                     RAFT_READ_INDEX,
                                     RAFT_READ_INDEX_RESPONSE,
                                     RAFT_FORGOT};
    const uint64_t terms[] = {UINT64_MAX, RAFT_TERM_MAX + 1,
                              lie_term() > 0 ? lie_term() + RAFT_TERM_LEAP + 1 : RAFT_TERM_MAX + 1};
    lie_begin(kinds[lie_below(ARRAY_LEN(kinds))]);
    l.m.term.n = terms[lie_below(ARRAY_LEN(terms))];
    return lie_message(true);
}

static bool names_of_others(void)
{
    lie_begin((uint16_t)(1 + lie_below(10)));
    switch (lie_below(4)) {
    case 0:
        l.m.from.n = l.victim->id; /* the node itself */
        break;
    case 1:
        l.m.from.n = 0;
        break;
    case 2:
        l.m.from.n = l.lie->from.n + 1;
        break;
    default:
        l.m.to.n = lie_near(l.victim->id);
        if (l.m.to.n == l.victim->id)
            l.m.to.n = 0;
    }
    return lie_message(true);
}

static bool flags_and_indexes(void)
{
    uint64_t beyond = RAFT_INDEX_MAX + 1 + lie_below(2) * (UINT64_MAX - RAFT_INDEX_MAX - 1);
    switch (lie_below(11)) {
    case 0:
        lie_begin(RAFT_REQUEST_PRE_VOTE_RESPONSE);
        l.m.request_pre_vote_response.granted = 2;
        break;
    case 1:
        lie_begin(RAFT_REQUEST_VOTE);
        l.m.request_vote.transfer = 255;
        break;
    case 2:
        lie_begin(RAFT_REQUEST_VOTE_RESPONSE);
        l.m.request_vote_response.granted = 2;
        break;
    case 3:
        lie_begin(RAFT_REQUEST_VOTE);
        l.m.request_vote.last.n = beyond;
        break;
    case 4:
        lie_begin(RAFT_REQUEST_VOTE);
        l.m.request_vote.last_term.n = lie_term() + 1;
        break;
    case 5:
        lie_begin(RAFT_APPEND_ENTRIES_RESPONSE);
        l.m.append_entries_response.accepted = 1;
        l.m.append_entries_response.match.n = beyond;
        break;
    case 6:
        lie_begin(RAFT_APPEND_ENTRIES_RESPONSE);
        l.m.append_entries_response.hint.n = beyond;
        break;
    case 7:
        lie_begin(RAFT_READ_INDEX_RESPONSE);
        l.m.read_index_response.granted = 1;
        l.m.read_index_response.index.n = beyond;
        break;
    case 8:
        lie_begin(RAFT_TIMEOUT_NOW);
        l.m.timeout_now.transfer = 2;
        break;
    case 9:
        lie_begin(RAFT_FORGOT);
        l.m.forgot.index.n = beyond;
        break;
    default:
        lie_begin(RAFT_REQUEST_PRE_VOTE);
        l.m.request_pre_vote.next_term.n = RAFT_TERM_MAX + 1;
    }
    return lie_message(true);
}

static bool stretches_that_no_log_has(void)
{
    lie_begin_append(1);
    struct raft_append_entries *a = &l.m.append_entries;
    switch (lie_below(7)) {
    case 0:
        a->prev_term.n = lie_term() + 1;
        break;
    case 1:
        a->entries.at[0].term.n = lie_term() + 1;
        break;
    case 2:
        a->entries.runs = 2;
        a->entries.at[1] = a->entries.at[0];
        break;
    case 3:
        if (a->prev_term.n == 0)
            return false;
        a->entries.at[0].term.n = a->prev_term.n - 1;
        break;
    case 4:
        a->entries.at[0].count = 0;
        break;
    case 5:
        a->entries.at[0].count = RAFT_APPEND_ENTRIES_MAX + 1;
        break;
    default:
        a->prev.n = RAFT_INDEX_MAX;
    }
    return lie_message(true);
}

/* There is one leader in a term, and it is the one that hears this. */
static bool append_to_the_leader(void)
{
    if (l.status.role != RAFT_LEADER)
        return false;
    lie_begin_append((uint32_t)lie_below(2));
    l.m.append_entries.prev.n = lie_near(l.status.last.n);
    l.m.append_entries.prev_term.n = 0;
    if (l.m.append_entries.prev.n > RAFT_INDEX_MAX - 1)
        l.m.append_entries.prev.n = 0;
    bool room =
        replica_room(l.victim->replica) > 1000 && entries_room(&l.victim->replica->entries, 1, 0);
    return room && lie_message(true);
}

/* Nor another one beside the leader that a node follows. */
static bool append_of_a_second_leader(void)
{
    if (!lie_leader_is_known() || node_id_equal(l.lie->from, l.status.leader))
        return false;
    lie_begin_append(0);
    l.m.append_entries.commit.n = lie_near(l.status.last.n) % RAFT_INDEX_MAX;
    l.m.append_entries.prev.n = l.raft->log.start.n;
    l.m.append_entries.prev_term = raft_entry_term(l.raft, l.m.append_entries.prev);
    return lie_message(true);
}

/* The leader's entry is another one than it was, in one term. */
static bool append_that_takes_back(void)
{
    raft_index verified = l.raft->follower.verified;
    if (!lie_leader_is_known() || !index_less(l.status.commit, verified) || lie_term() < 2)
        return false;
    l.lie->from = l.status.leader;
    lie_begin_append(1);
    l.m.append_entries.prev.n = l.status.commit.n + lie_below(verified.n - l.status.commit.n);
    l.m.append_entries.prev_term = raft_entry_term(l.raft, l.m.append_entries.prev);
    raft_term said = raft_entry_term(l.raft, index_next(l.m.append_entries.prev));
    l.m.append_entries.entries.at[0].term.n = said.n + 1;
    bool room =
        replica_room(l.victim->replica) > 1000 && entries_room(&l.victim->replica->entries, 1, 0);
    return room && said.n < lie_term() && lie_message(true);
}

static bool configuration_that_cannot_be(void)
{
    static uint8_t at[MEMBERS_BYTES_MAX];
    struct raft_configuration c = {.voters = 2, .voter = {{1}, {2}}};
    uint32_t entries = 1;
    bool foreign = false;
    switch (lie_below(6)) {
    case 4: /* of another cluster */
        foreign = true;
        if (!cluster_id_known(replica_identity(l.victim->replica).cluster))
            return false;
        break;
    case 0:
        c.voters = 0;
        break;
    case 1:
        c.voter[1].n = 1; /* twice */
        break;
    case 2:
        c.voter[1].n = 0;
        break;
    case 3:
        c.learners = 1;
        c.learner[0].n = 1; /* a voter, too */
        break;
    default:
        entries = 2; /* it travels alone */
    }
    if (lie_leader_is_known())
        l.lie->from = l.status.leader;
    lie_begin_append(entries);
    l.entry[0] = (struct peer_entry){RAFT_CONFIGURATION, lie_configuration(c, at)};
    at[0] ^= foreign;
    return lie_message(true);
}

static bool command_that_cannot_be_read(void)
{
    static uint8_t at[2][USERS_REQUEST_BYTES_MAX];
    struct bytes good = lie_command(at[0]);
    struct bytes bad = lie_command(at[1]);
    bad.len = lie_below(bad.len);
    if (lie_below(3) == 0)
        bad = lie_text(lie_below(200));
    struct users_request request;
    uint32_t entries = 1 + (uint32_t)lie_below(2);
    if (lie_leader_is_known())
        l.lie->from = l.status.leader;
    lie_begin_append(entries);
    l.entry[0] = (struct peer_entry){RAFT_COMMAND, good};
    l.entry[entries - 1] = (struct peer_entry){RAFT_COMMAND, bad};
    return users_request_decode(bad, &request) != 0 && lie_message(true);
}

static bool entry_that_there_is_not(void)
{
    lie_begin_append(1);
    if (lie_below(2) == 0)
        l.entry[0].kind = (enum raft_entry_kind)(4 + lie_below(250));
    else
        l.entry[0].payload = bytes_of(l.text, RAFT_ENTRY_BYTES_MAX + 1);
    return lie_message(true);
}

static bool offer_that_cannot_be(void)
{
    static uint8_t at[MEMBERS_BYTES_MAX];
    struct raft_configuration c = {.voters = 1, .voter = {{1}}};
    uint64_t index = l.status.commit.n + 10;
    l.note = (struct peer_note){.kind = PEER_SNAPSHOT_OFFER};
    struct peer_snapshot_offer *offer = &l.note.snapshot_offer;
    *offer = (struct peer_snapshot_offer){.index = index, .term = lie_term() + 1, .next_id = 2};
    switch (lie_below(8)) {
    case 0:
        offer->index = lie_below(2) == 0 ? 0 : RAFT_INDEX_MAX + 1;
        break;
    case 1:
        offer->term = lie_below(2) == 0 ? 0 : RAFT_TERM_MAX + 1;
        break;
    case 2:
        offer->users = 2;
        break;
    case 3:
        offer->next_id = index + 2;
        break;
    case 4:
        offer->answers_first = 1;
        break;
    case 5:
        offer->answers_next = index + 1;
        break;
    case 6:
        offer->keys_next = 1;
        break;
    default:
        c.voters = 0;
    }
    offer->members = lie_configuration(c, at);
    return lie_note(true);
}

static bool life_that_cannot_be(void)
{
    struct peer_life *life = &l.note.life;
    l.note = (struct peer_note){.kind = PEER_LIFE, .life = {.disk = 1, .start = 1}};
    life->seen_disk = wal_identity(l.victim->replica->wal).disk;
    switch (lie_below(6)) {
    case 0:
        life->start = lie_below(2) == 0 ? 0 : PEER_START_MAX + 1;
        break;
    case 1:
        life->rolled_back = 2;
        break;
    case 2:
        life->seen_disk = 0;
        life->seen_start = 1 + lie_below(3);
        break;
    case 3:
        life->seen_last = 1;
        life->seen_last_term = 1; /* of a term in which the node was not */
        break;
    case 4:
        life->seen_start = wal_start(l.victim->replica->wal) + (UINT64_C(1) << 33);
        break;
    default:
        if (lie_term() == 0)
            return false;
        life->seen_term = lie_term() + RAFT_TERM_LEAP + 1;
    }
    return lie_note(true);
}

static bool note_that_cannot_be(void)
{
    l.note = (struct peer_note){.kind = PEER_LOG_POSITION};
    switch (lie_below(9)) {
    case 0:
        l.note.log_position.asks = 2;
        break;
    case 1:
        l.note.log_position.last = RAFT_INDEX_MAX + 1;
        break;
    case 2:
        l.note.log_position.last_term = 1;
        break;
    case 3:
        if (lie_term() == 0)
            return false;
        l.note.log_position.term = lie_term() + RAFT_TERM_LEAP + 1;
        break;
    case 4:
        l.note.kind = PEER_SNAPSHOT_CHUNK_REQUEST;
        l.note.snapshot_chunk_request.index = UINT64_MAX;
        break;
    case 5:
        l.note.kind = PEER_SNAPSHOT_END;
        l.note.snapshot_end = (struct peer_snapshot_end){.index = 1, .installed = 2};
        break;
    case 6:
        l.note.kind = PEER_ENTRIES_REQUEST;
        l.note.entries_request.indexes =
            bytes_of(l.text, lie_below(2) == 0 ? 8 * lie_below(9) + 1 + lie_below(7)
                                               : 8 * (PEER_ENTRIES_REQUEST_MAX + 1));
        break;
    case 7:
        l.note.kind = PEER_ENTRY;
        l.note.entry =
            (struct peer_entry_here){.index = 1, .term = 1, .kind = (uint8_t)(4 + lie_below(9))};
        break;
    default: /* a chunk that does not go on, or holds nothing */
        l.note.kind = PEER_SNAPSHOT_CHUNK;
        l.note.snapshot_chunk = (struct peer_snapshot_chunk){
            .index = 5, .after = 7, .next_after = lie_below(2) == 0 ? 7 : 6, .users = lie_text(30)};
        if (lie_below(2) == 0)
            l.note.snapshot_chunk = (struct peer_snapshot_chunk){.index = 5, .next_after = 7};
        break;
    }
    return lie_note(true);
}

static bool forward_that_cannot_be(void)
{
    static uint8_t at[USERS_REQUEST_BYTES_MAX];
    struct users_request request;
    l.note =
        (struct peer_note){.kind = PEER_FORWARD, .forward = {.request = lie_text(lie_below(300))}};
    if (lie_below(2) == 0) {
        l.note.forward.request = lie_command(at);
        l.note.forward.request.len -= 1 + lie_below(l.note.forward.request.len - 1);
    }
    return users_request_decode(l.note.forward.request, &request) != 0 && lie_note(true);
}

static bool kind_that_there_is_not(void)
{
    uint64_t kind = lie_below(3) == 0 ? lie_below(65536) : lie_below(80);
    if ((kind >= 1 && kind <= 10) || (kind >= PEER_LOG_POSITION && kind <= PEER_DIGEST))
        return false;
    return lie_frame((uint16_t)kind, lie_text(lie_below(200)), true);
}

static bool length_that_is_another(void)
{
    const struct packet *packet = lie_kept(true);
    if (packet == NULL)
        return false;
    uint32_t len = packet->len;
    memcpy(l.text, packet->bytes, len);
    memset(l.text + len, 0, 8);
    if (len > 0 && lie_below(2) == 0)
        len -= 1 + (uint32_t)lie_below(len < 64 ? len : 64);
    else
        len += 1 + (uint32_t)lie_below(8);
    l.lie->from.n = packet->from;
    return lie_frame(packet->kind, bytes_of(l.text, len), true);
}

/* The piece that the node waits for, from whom it waits for it, and not what was offered. */
static bool piece_of_something_else(void)
{
    const struct snapshot_receive *receive = &l.victim->replica->receive;
    if (receive->phase != RECEIVE_FETCHING)
        return false;
    l.lie->from = receive->from;
    struct users_meta loaded = users_meta(receive->users);
    l.note = (struct peer_note){.kind = PEER_SNAPSHOT_CHUNK,
                                .snapshot_chunk = {.index = receive->index.n,
                                                   .after = receive->after,
                                                   .answers_from = receive->answers_from,
                                                   .next_after = UINT64_MAX,
                                                   .last = (uint8_t)lie_below(2)}};
    struct peer_snapshot_chunk *chunk = &l.note.snapshot_chunk;
    struct writer out = writer_of(l.text, PEER_CHUNK_BYTES_MAX / 4);
    uint64_t more = receive->meta.users - loaded.users + 1;
    switch (lie_below(4)) {
    case 0: /* of nobody */
        chunk->users = lie_text(20 + lie_below(100));
        break;
    case 1: /* the end, while something is missing */
        chunk->last = 1;
        return loaded.users != receive->meta.users && lie_note(true);
    case 2: /* more users than were announced */
        if (more > 500)
            return false;
        for (uint64_t i = 1; i <= more; i++)
            user_put(&out, &(struct user){
                               .id = receive->after + i, .index = 1, .name = bytes_of_text("x")});
        chunk->users = writer_bytes(&out);
        break;
    default: /* one user twice */
        for (uint32_t i = 0; i < 2; i++)
            user_put(&out, &(struct user){.id = receive->after + 1, .index = 1});
        chunk->users = writer_bytes(&out);
    }
    return lie_note(true);
}

/* --- one of them ------------------------------------------------------------------------------ */

lie_maker *lie_to_be_refused(void)
{
    static const struct {
        lie_maker *make;
        const char *name;
    } all[] = {
        {term_that_there_is_not, "term that there is not"},
        {names_of_others, "names of others"},
        {flags_and_indexes, "flags and indexes"},
        {stretches_that_no_log_has, "stretches that no log has"},
        {append_to_the_leader, "append to the leader"},
        {append_of_a_second_leader, "append of a second leader"},
        {append_that_takes_back, "append that takes back"},
        {configuration_that_cannot_be, "configuration that cannot be"},
        {command_that_cannot_be_read, "command that cannot be read"},
        {entry_that_there_is_not, "entry that there is not"},
        {note_that_cannot_be, "note that cannot be"},
        {life_that_cannot_be, "life that cannot be"},
        {offer_that_cannot_be, "offer that cannot be"},
        {forward_that_cannot_be, "forward that cannot be"},
        {kind_that_there_is_not, "kind that there is not"},
        {length_that_is_another, "length that is another"},
        {piece_of_something_else, "piece of something else"},
    };
    uint64_t which = lie_below(ARRAY_LEN(all));
    l.lie->name = all[which].name;
    return all[which].make;
}
