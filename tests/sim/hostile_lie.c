#include "tests/sim/hostile_lie.h"

#include <string.h>

struct lie_parts l;

uint64_t lie_below(uint64_t limit)
{
    return hostile_below(l.world, limit);
}

uint64_t lie_any(void)
{
    return fake_random(&l.world->hostile.random);
}

uint64_t lie_near(uint64_t number)
{
    static const uint64_t edge[] = {
        0, 1, RAFT_INDEX_MAX - 1, RAFT_INDEX_MAX, RAFT_INDEX_MAX + 1, UINT64_MAX, UINT32_MAX};
    if (lie_below(8) == 0)
        return edge[lie_below(ARRAY_LEN(edge))];
    uint64_t off = lie_below(4);
    return lie_below(2) == 0 || number < off ? number + off : number - off;
}

uint64_t lie_term(void)
{
    return l.status.term.n;
}

bool lie_leader_is_known(void)
{
    return l.status.role == RAFT_FOLLOWER && l.status.leader_known &&
           l.status.leader.n <= l.world->nodes;
}

/* --- frames ----------------------------------------------------------------------------------- */

void lie_begin(uint16_t kind)
{
    memset(&l.m, 0, sizeof(l.m));
    l.m.from = l.lie->from;
    l.m.to.n = l.victim->id;
    l.m.term.n = lie_term();
    l.m.kind = (enum raft_message_kind)kind;
}

void lie_begin_append(uint32_t entries)
{
    assert(entries <= ARRAY_LEN(l.entry));
    lie_begin(RAFT_APPEND_ENTRIES);
    l.m.append_entries.prev = l.status.last;
    l.m.append_entries.prev_term = raft_entry_term(l.raft, l.status.last);
    l.m.append_entries.commit = l.status.commit;
    l.m.append_entries.entries.runs = entries > 0;
    l.m.append_entries.entries.at[0].term.n = lie_term();
    l.m.append_entries.entries.at[0].count = entries;
    for (uint32_t i = 0; i < ARRAY_LEN(l.entry); i++)
        l.entry[i] = (struct peer_entry){.kind = RAFT_NOOP};
}

static struct peer_entry entry_of(const void *context, uint32_t i)
{
    (void)context;
    return i < ARRAY_LEN(l.entry) ? l.entry[i] : (struct peer_entry){.kind = RAFT_NOOP};
}

static bool say(bool must_be_refused)
{
    int64_t len = frame_decode(writer_bytes(&l.out), &l.lie->frame);
    assert(len > 0);
    l.lie->must_be_refused = must_be_refused;
    return true;
}

bool lie_message(bool must_be_refused)
{
    peer_message_frame(&l.out, &l.m, entry_of, NULL);
    return say(must_be_refused);
}

bool lie_note(bool must_be_refused)
{
    peer_note_frame(&l.out, &l.note);
    return say(must_be_refused);
}

bool lie_frame(uint16_t kind, struct bytes payload, bool must_be_refused)
{
    size_t begin = frame_begin(&l.out);
    put_raw(&l.out, payload);
    frame_end(&l.out, begin, kind);
    return say(must_be_refused);
}

/* --- what frames carry ------------------------------------------------------------------------ */

struct bytes lie_text(size_t len)
{
    assert(len <= sizeof(l.text));
    for (size_t i = 0; i < len; i++)
        l.text[i] = (uint8_t)lie_below(256);
    return bytes_of(l.text, len);
}

struct bytes lie_command(uint8_t at[USERS_REQUEST_BYTES_MAX])
{
    static const char *const names[] = {"Eve", "Mallory", "", "\xff"};
    struct users_request request = {.time_ms = lie_below(4) == 0 ? lie_any() : 1700000000000};
    uint64_t words[2] = {lie_any(), lie_any()};
    memcpy(request.id.at, words, sizeof(request.id.at));
    request.command.kind = lie_below(2) == 0 ? USERS_CREATE : USERS_DELETE;
    if (request.command.kind == USERS_CREATE)
        request.command.create.texts.name = bytes_of_text(names[lie_below(ARRAY_LEN(names))]);
    else
        request.command.delete.id = lie_near(users_meta(replica_users(l.victim->replica)).next_id);
    struct writer out = writer_of(at, USERS_REQUEST_BYTES_MAX);
    users_request_put(&out, &request);
    assert(!out.bad);
    return writer_bytes(&out);
}

/* Rows as they are: who stands twice in a list, has two. */
static void add_role(struct members *members, raft_node_id id, enum member_role role)
{
    uint32_t i = 0;
    while (i < members->count &&
           (members->member[i].id.n != id.n || (members->member[i].roles & (uint8_t)role) != 0))
        i++;
    if (i == members->count)
        members->member[members->count++] = (struct member){.id = id};
    members->member[i].roles |= (uint8_t)role;
}

struct bytes lie_configuration(struct raft_configuration configuration,
                               uint8_t at[MEMBERS_BYTES_MAX])
{
    static struct members members;
    struct writer out = writer_of(at, MEMBERS_BYTES_MAX);
    members = (struct members){.cluster = replica_identity(l.victim->replica).cluster,
                               .format = PEER_FORMAT};
    for (uint32_t i = 0; i < configuration.voters; i++)
        add_role(&members, configuration.voter[i], MEMBER_VOTER);
    for (uint32_t i = 0; i < configuration.outgoing; i++)
        add_role(&members, configuration.outgoing_voter[i], MEMBER_OUTGOING);
    for (uint32_t i = 0; i < configuration.learners; i++)
        add_role(&members, configuration.learner[i], MEMBER_LEARNER);
    members_put(&out, &members);
    return writer_bytes(&out);
}

const struct packet *lie_kept(bool to_victim)
{
    const struct packet *packet = l.world->hostile.kept[lie_below(HOSTILE_KEPT)];
    bool usable = packet != NULL && packet->len + 64 <= FRAME_PAYLOAD_BYTES_MAX &&
                  packet->len + 64 <= sizeof(l.text);
    return usable && (!to_victim || packet->to == l.victim->id) ? packet : NULL;
}

/* --- one -------------------------------------------------------------------------------------- */

static raft_node_id other_member(void)
{
    uint64_t id = 1 + lie_below(l.world->nodes - 1);
    return (raft_node_id){id + (id >= l.victim->id)};
}

bool hostile_lie(struct machine *victim, struct lie *ret_lie)
{
    l.victim = victim;
    l.world = victim->world;
    l.raft = replica_raft(victim->replica);
    l.status = raft_status(l.raft);
    l.out = writer_of(l.bytes, sizeof(l.bytes));
    l.lie = ret_lie;
    *ret_lie = (struct lie){.from = other_member()};
    uint64_t dice = lie_below(3);
    lie_maker *make = dice == 0 ? lie_to_be_refused() : lie_of_no_consequence();
    if (l.world->hostile.kind == HOSTILE_LIES && dice > 0)
        make = lie_of_any_kind();
    return make();
}
