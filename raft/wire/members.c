#include "raft/wire/members.h"

#include "raft/base/json.h"
#include "raft/wire/record.h"

#include <errno.h>
#include <string.h>

#define ROLES_ALL (MEMBER_VOTER | MEMBER_OUTGOING | MEMBER_LEARNER)

/* --- what may be ------------------------------------------------------------------------------ */

/* Printable, without a blank: it stands between blanks in the text. */
static bool is_address(struct bytes address)
{
    bool good = address.len <= MEMBER_ADDRESS_BYTES_MAX;
    for (size_t i = 0; good && i < address.len; i++)
        good = address.at[i] > ' ' && address.at[i] < 0x7f;
    return good;
}

static bool is_retired(const struct members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->retired; i++) {
        if (members->retired_id[i] == id)
            return true;
    }
    return false;
}

static bool is_valid(const struct members *members)
{
    struct raft_configuration configuration = members_configuration(members);
    if (!raft_configuration_valid(&configuration))
        return false;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *member = &members->member[i];
        if (member->roles == 0 || (member->roles & ~ROLES_ALL) != 0 ||
            members_find(members, member->id) != member || is_retired(members, member->id.n))
            return false;
    }
    return true;
}

static void take_address(struct reader *in, struct bytes address, struct member *member)
{
    if (!is_address(address)) {
        in->bad = true;
        return;
    }
    memset(member->address, 0, sizeof(member->address));
    if (address.len > 0)
        memcpy(member->address, address.at, address.len);
}

/* --- bytes ------------------------------------------------------------------------------------ */

void members_put(struct writer *out, const struct members *members)
{
    put_u64(out, members->cluster.high);
    put_u64(out, members->cluster.low);
    put_u32(out, members->format);
    put_u8(out, (uint8_t)members->count);
    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *member = &members->member[i];
        put_u64(out, member->id.n);
        put_u8(out, member->roles);
        put_u64(out, member->disk);
        put_bytes(out, bytes_of_text(member->address));
    }
    put_u16(out, (uint16_t)members->retired);
    for (uint32_t i = 0; i < members->retired; i++)
        put_u64(out, members->retired_id[i]);
}

int members_decode(struct bytes bytes, struct members *ret_members)
{
    struct reader in = reader_of(bytes);
    memset(ret_members, 0, sizeof(*ret_members));
    ret_members->cluster.high = get_u64(&in);
    ret_members->cluster.low = get_u64(&in);
    ret_members->format = get_u32(&in);
    uint32_t count = get_u8(&in);
    if (count > RAFT_PEERS_MAX)
        return -EBADMSG;
    ret_members->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct member *member = &ret_members->member[i];
        member->id.n = get_u64(&in);
        member->roles = get_u8(&in);
        member->disk = get_u64(&in);
        take_address(&in, get_bytes(&in), member);
    }
    uint32_t retired = get_u16(&in);
    if (retired > MEMBERS_RETIRED_MAX)
        return -EBADMSG;
    ret_members->retired = retired;
    for (uint32_t i = 0; i < retired; i++)
        ret_members->retired_id[i] = get_u64(&in);
    return reader_done(&in) && is_valid(ret_members) ? 0 : -EBADMSG;
}

/* --- text ------------------------------------------------------------------------------------- */

static const struct {
    enum member_role role;
    const char *name;
} role_names[] = {
    {MEMBER_VOTER, "voter"}, {MEMBER_OUTGOING, "outgoing"}, {MEMBER_LEARNER, "learner"}};

static void print_roles(struct writer *out, uint8_t roles)
{
    const char *before = "";
    for (uint32_t i = 0; i < ARRAY_LEN(role_names); i++) {
        if ((roles & role_names[i].role) == 0)
            continue;
        put_text(out, before);
        put_text(out, role_names[i].name);
        before = "+";
    }
}

void members_print(struct writer *out, const struct members *members)
{
    char cluster[CLUSTER_ID_TEXT_BYTES], disk[CLUSTER_ID_TEXT_BYTES];
    record_cluster_id_print(members->cluster, cluster);
    put_text(out, "cluster=");
    put_text(out, cluster);
    put_text(out, " format=");
    put_decimal(out, members->format);
    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *member = &members->member[i];
        record_cluster_id_print((struct raft_cluster_id){.high = member->disk}, disk);
        put_text(out, " ");
        put_decimal(out, member->id.n);
        put_text(out, ":");
        print_roles(out, member->roles);
        put_text(out, ":");
        put_raw(out, bytes_of(disk, 16));
        put_text(out, "@");
        put_text(out, member->address);
    }
    for (uint32_t i = 0; i < members->retired; i++) {
        put_text(out, i == 0 ? " retired=" : ",");
        put_decimal(out, members->retired_id[i]);
    }
}

static bool skip(struct reader *in, const char *text)
{
    size_t len = strlen(text);
    bool here = reader_left(in) >= len && memcmp(in->at, text, len) == 0;
    if (here)
        in->at += len;
    return here;
}

static struct bytes word(struct reader *in, uint8_t end)
{
    size_t len = 0;
    while (len < reader_left(in) && in->at[len] != end)
        len++;
    return get_raw(in, len);
}

static uint8_t read_roles(struct reader *in)
{
    uint8_t roles = 0;
    bool more = true;
    while (more && !in->bad) {
        uint32_t i = 0;
        while (i < ARRAY_LEN(role_names) && !skip(in, role_names[i].name))
            i++;
        in->bad = i == ARRAY_LEN(role_names);
        if (!in->bad)
            roles |= (uint8_t)role_names[i].role;
        more = skip(in, "+");
    }
    return roles;
}

static struct raft_cluster_id read_id(struct reader *in, size_t digits)
{
    char text[32] = "00000000000000000000000000000000";
    struct raft_cluster_id id = {.high = 0};
    struct bytes read = get_raw(in, digits);
    if (read.len == digits)
        memcpy(text, read.at, digits);
    if (record_cluster_id_read(bytes_of(text, sizeof(text)), &id) != 0)
        in->bad = true;
    return id;
}

static void read_member(struct reader *in, struct members *members)
{
    if (members->count == RAFT_PEERS_MAX) {
        in->bad = true;
        return;
    }
    struct member *member = &members->member[members->count++];
    member->id.n = json_get_u64(in);
    json_get_literal(in, ":");
    member->roles = read_roles(in);
    json_get_literal(in, ":");
    member->disk = read_id(in, 16).high;
    json_get_literal(in, "@");
    take_address(in, word(in, ' '), member);
}

int members_read(struct bytes text, struct members *ret_members)
{
    struct reader in = reader_of(text);
    memset(ret_members, 0, sizeof(*ret_members));
    json_get_literal(&in, "cluster=");
    ret_members->cluster = read_id(&in, 32);
    json_get_literal(&in, " format=");
    uint64_t format = json_get_u64(&in);
    ret_members->format = (uint32_t)format;
    in.bad = in.bad || format > UINT32_MAX;
    bool retired = skip(&in, " retired=");
    while (!in.bad && !retired && reader_left(&in) > 0) {
        json_get_literal(&in, " ");
        read_member(&in, ret_members);
        retired = skip(&in, " retired=");
    }
    while (retired && !in.bad) {
        if (ret_members->retired == MEMBERS_RETIRED_MAX)
            return -EBADMSG;
        ret_members->retired_id[ret_members->retired++] = json_get_u64(&in);
        retired = skip(&in, ",");
    }
    return reader_done(&in) && is_valid(ret_members) ? 0 : -EBADMSG;
}

/* --- what the core sees ----------------------------------------------------------------------- */

static void add(raft_node_id *ids, uint32_t *count, raft_node_id id)
{
    if (*count < RAFT_MEMBERS_MAX)
        ids[*count] = id;
    (*count)++; /* one too many is no valid configuration */
}

struct raft_configuration members_configuration(const struct members *members)
{
    struct raft_configuration c = {.voters = 0};
    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *member = &members->member[i];
        if ((member->roles & MEMBER_VOTER) != 0)
            add(c.voter, &c.voters, member->id);
        if ((member->roles & MEMBER_OUTGOING) != 0)
            add(c.outgoing_voter, &c.outgoing, member->id);
        if ((member->roles & MEMBER_LEARNER) != 0)
            add(c.learner, &c.learners, member->id);
    }
    return c;
}

static void give_role(struct members *members, raft_node_id id, enum member_role role)
{
    uint32_t i = 0;
    while (i < members->count && !node_id_equal(members->member[i].id, id))
        i++;
    if (i == members->count) {
        assert(i < RAFT_PEERS_MAX);
        members->member[members->count++] = (struct member){.id = id};
    }
    members->member[i].roles |= (uint8_t)role;
}

static void give_roles(struct members *members, const struct raft_configuration *configuration)
{
    for (uint32_t i = 0; i < configuration->voters; i++)
        give_role(members, configuration->voter[i], MEMBER_VOTER);
    for (uint32_t i = 0; i < configuration->outgoing; i++)
        give_role(members, configuration->outgoing_voter[i], MEMBER_OUTGOING);
    for (uint32_t i = 0; i < configuration->learners; i++)
        give_role(members, configuration->learner[i], MEMBER_LEARNER);
}

struct members members_of(const raft_node_id *voters, uint32_t count)
{
    struct members members = {.count = 0};
    for (uint32_t i = 0; i < count; i++)
        give_role(&members, voters[i], MEMBER_VOTER);
    return members;
}

void members_change(struct members *members, const struct raft_configuration *configuration)
{
    struct members before = *members, wanted = {.count = 0};
    give_roles(&wanted, configuration);
    members->count = 0;
    for (uint32_t i = 0; i < before.count; i++) {
        const struct member *now = members_find(&wanted, before.member[i].id);
        if (now != NULL) {
            members->member[members->count] = before.member[i];
            members->member[members->count++].roles = 0;
        } else if (members->retired < MEMBERS_RETIRED_MAX) {
            members->retired_id[members->retired++] = before.member[i].id.n;
        }
    }
    give_roles(members, configuration);
}

const struct member *members_find(const struct members *members, raft_node_id id)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (node_id_equal(members->member[i].id, id))
            return &members->member[i];
    }
    return NULL;
}
