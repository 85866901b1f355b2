#include "raft/wire/record.h"

#include "raft/base/crc32c.h"

#include <errno.h>
#include <string.h>

#define RECORD_MAGIC       0x4c415752u                  /* "RWAL" */
#define UNUSED_MAGIC       UINT64_C(0x6465737520746f6e) /* "not used" */
#define HARD_STATE_MAGIC   0x34535248u                  /* "HRS4" */
#define HARD_STATE_MAGIC_2 0x32535248u                  /* "HRS2" */
#define HARD_STATE_NAME    0x00535248u                  /* "HRS", and the format's digit */

void record_head_put(struct writer *out, struct record *record)
{
    if (writer_room(out) < RECORD_HEADER_BYTES) {
        out->bad = true;
        return;
    }
    uint8_t *header = out->at;
    put_u32(out, 0);
    put_u32(out, RECORD_MAGIC);
    put_u8(out, (uint8_t)record->type);
    put_u8(out, record->kind);
    put_u16(out, RECORD_VERSION);
    put_u32(out, record->length);
    put_u64(out, record->index.n);
    put_u64(out, record->term.n);
    put_u64(out, record->synced);
    put_u64(out, record->generation);
    put_u64(out, record->sequence);
    put_u32(out, record->previous_crc);
    put_u32(out, record->payload_crc);
    assert(out->at == header + RECORD_HEADER_BYTES);
    record->header_crc = crc32c(0, bytes_of(header + 4, RECORD_HEADER_BYTES - 4));
    struct writer head = writer_of(header, 4);
    put_u32(&head, record->header_crc);
}

void record_put(struct writer *out, struct record *record)
{
    if (writer_room(out) < record_bytes(record->payload.len)) {
        out->bad = true;
        return;
    }
    const uint8_t *header = out->at;
    record->length = (uint32_t)record->payload.len;
    record->payload_crc = crc32c(0, record->payload);
    record_head_put(out, record);
    put_raw(out, record->payload);
    while ((size_t)(out->at - header) % 8 != 0)
        put_u8(out, 0);
}

static bool all_zero(struct bytes bytes)
{
    return bytes.len == 0 ||
           (bytes.at[0] == 0 && memcmp(bytes.at, bytes.at + 1, bytes.len - 1) == 0);
}

static bool type_valid(uint8_t type)
{
    return type >= RECORD_SEGMENT && type <= RECORD_COPIES;
}

enum record_verdict record_head_get(struct bytes bytes, struct record *ret_record)
{
    if (bytes.len < RECORD_HEADER_BYTES)
        return all_zero(bytes) ? RECORD_END : RECORD_BROKEN;
    struct bytes header = bytes_of(bytes.at, RECORD_HEADER_BYTES);
    struct reader in = reader_of(header);
    struct record record = {.header_crc = get_u32(&in)};
    uint32_t magic = get_u32(&in);
    if (magic == 0 && all_zero(header))
        return RECORD_END;
    if (magic != RECORD_MAGIC ||
        crc32c(0, bytes_of(header.at + 4, RECORD_HEADER_BYTES - 4)) != record.header_crc)
        return RECORD_BROKEN;
    uint8_t type = get_u8(&in);
    record.kind = get_u8(&in);
    uint16_t version = get_u16(&in);
    if (version != RECORD_VERSION || !type_valid(type))
        return RECORD_FOREIGN;
    record.type = (enum record_type)type;
    record.length = get_u32(&in);
    record.index.n = get_u64(&in);
    record.term.n = get_u64(&in);
    record.synced = get_u64(&in);
    record.generation = get_u64(&in);
    record.sequence = get_u64(&in);
    record.previous_crc = get_u32(&in);
    record.payload_crc = get_u32(&in);
    *ret_record = record;
    return RECORD_OK;
}

bool record_is_payload(const struct record *record, struct bytes payload)
{
    return payload.len == record->length && crc32c(0, payload) == record->payload_crc;
}

enum record_verdict record_get(struct bytes bytes, struct record *ret_record)
{
    struct record record;
    enum record_verdict verdict = record_head_get(bytes, &record);
    if (verdict != RECORD_OK)
        return verdict;
    if (record.length > bytes.len - RECORD_HEADER_BYTES)
        return RECORD_BROKEN;
    record.payload = bytes_of(bytes.at + RECORD_HEADER_BYTES, record.length);
    if (!record_is_payload(&record, record.payload))
        return RECORD_BROKEN;
    *ret_record = record;
    return RECORD_OK;
}

void record_unused_put(struct writer *out, uint64_t generation, uint64_t segment, uint64_t offset)
{
    put_u64(out, UNUSED_MAGIC);
    put_u64(out, generation);
    put_u64(out, segment);
    put_u64(out, offset);
    for (int i = 0; i < 4; i++)
        put_u64(out, UNUSED_MAGIC);
}

bool record_is_unused(struct bytes bytes, uint64_t generation, uint64_t segment, uint64_t offset)
{
    uint8_t unused[RECORD_HEADER_BYTES];
    struct writer out = writer_of(unused, sizeof(unused));
    record_unused_put(&out, generation, segment, offset);
    return bytes.len >= sizeof(unused) && memcmp(bytes.at, unused, sizeof(unused)) == 0;
}

void record_owner_put(struct writer *out, const struct record_owner *owner)
{
    put_u64(out, owner->node);
    put_u64(out, owner->segment);
    put_u64(out, owner->size);
    put_u64(out, owner->cluster_id.high);
    put_u64(out, owner->cluster_id.low);
    put_bytes(out, owner->cluster);
}

int record_owner_decode(struct bytes bytes, struct record_owner *ret_owner)
{
    struct reader in = reader_of(bytes);
    struct record_owner owner;
    owner.node = get_u64(&in);
    owner.segment = get_u64(&in);
    owner.size = get_u64(&in);
    owner.cluster_id.high = get_u64(&in);
    owner.cluster_id.low = get_u64(&in);
    owner.cluster = get_bytes(&in);
    if (!reader_done(&in))
        return -EBADMSG;
    *ret_owner = owner;
    return 0;
}

static void put_identity(struct writer *out, const struct record_identity *identity)
{
    put_u64(out, identity->cluster.high);
    put_u64(out, identity->cluster.low);
    put_u64(out, identity->disk);
    put_u32(out, identity->members);
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        put_u64(out, i < identity->members ? identity->member[i] : 0);
}

static struct record_identity get_identity(struct reader *in)
{
    struct record_identity identity = {.cluster.high = get_u64(in)};
    identity.cluster.low = get_u64(in);
    identity.disk = get_u64(in);
    identity.members = get_u32(in);
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        identity.member[i] = get_u64(in);
    if (identity.members > RAFT_MEMBERS_MAX)
        in->bad = true;
    return identity;
}

void record_hard_state_put(struct writer *out, const struct record_hard_state *state)
{
    uint8_t block[RECORD_HARD_STATE_BYTES] = {0};
    struct writer w = writer_of(block + 4, sizeof(block) - 4);
    put_u32(&w, HARD_STATE_MAGIC);
    put_u64(&w, state->sequence);
    put_u64(&w, state->node);
    put_u64(&w, state->hard.term.n);
    put_u64(&w, state->hard.vote.n);
    put_u8(&w, state->hard.voted);
    put_u8(&w, state->hard.recovering);
    put_u8(&w, state->hard.rolled_back);
    put_u8(&w, state->hard.floor.known);
    put_u64(&w, state->hard.floor.index.n);
    put_u64(&w, state->hard.floor.term.n);
    put_u64(&w, state->segment);
    put_u64(&w, state->cut);
    put_u64(&w, state->starts.count);
    for (uint32_t i = 0; i < RECORD_STARTS; i++)
        put_u32(&w, state->starts.number[i]);
    put_identity(&w, &state->identity);
    struct writer crc = writer_of(block, 4);
    put_u32(&crc, crc32c(0, bytes_of(block + 4, sizeof(block) - 4)));
    put_raw(out, bytes_of(block, sizeof(block)));
}

/* Format 2 had half as many bytes under its checksum; all others are taken to have as many. */
static bool is_other_format(struct bytes bytes, uint32_t crc, uint32_t magic)
{
    size_t len = magic == HARD_STATE_MAGIC_2 ? bytes.len / 2 : bytes.len;
    return magic != HARD_STATE_MAGIC && (magic & 0xffffffu) == HARD_STATE_NAME &&
           crc32c(0, bytes_of(bytes.at + 4, len - 4)) == crc;
}

int record_hard_state_decode(struct bytes bytes, struct record_hard_state *ret_state)
{
    if (bytes.len != RECORD_HARD_STATE_BYTES)
        return -EBADMSG;
    struct reader in = reader_of(bytes);
    uint32_t crc = get_u32(&in), magic = get_u32(&in);
    if (is_other_format(bytes, crc, magic))
        return -EPROTONOSUPPORT;
    if (crc32c(0, bytes_of(bytes.at + 4, bytes.len - 4)) != crc || magic != HARD_STATE_MAGIC)
        return -EBADMSG;
    struct record_hard_state state;
    state.sequence = get_u64(&in);
    state.node = get_u64(&in);
    state.hard.term.n = get_u64(&in);
    state.hard.vote.n = get_u64(&in);
    state.hard.voted = get_u8(&in) != 0;
    state.hard.recovering = get_u8(&in) != 0;
    state.hard.rolled_back = get_u8(&in) != 0;
    state.hard.floor.known = get_u8(&in) != 0;
    state.hard.floor.index.n = get_u64(&in);
    state.hard.floor.term.n = get_u64(&in);
    state.segment = get_u64(&in);
    state.cut = get_u64(&in);
    state.starts.count = get_u64(&in);
    for (uint32_t i = 0; i < RECORD_STARTS; i++)
        state.starts.number[i] = get_u32(&in);
    state.identity = get_identity(&in);
    if (in.bad)
        return -EBADMSG;
    *ret_state = state;
    return 0;
}

static void print_hex(uint64_t value, char *ret_digits)
{
    for (int i = 0; i < 16; i++)
        ret_digits[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
}

static bool read_hex(const uint8_t *digits, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t c = digits[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_value = value;
    return true;
}

void record_cluster_id_print(struct raft_cluster_id id, char ret_text[CLUSTER_ID_TEXT_BYTES])
{
    print_hex(id.high, ret_text);
    print_hex(id.low, ret_text + 16);
    ret_text[32] = '\0';
}

int record_cluster_id_read(struct bytes text, struct raft_cluster_id *ret_id)
{
    struct raft_cluster_id id;
    if (text.len != 32 || !read_hex(text.at, &id.high) || !read_hex(text.at + 16, &id.low))
        return -EBADMSG;
    *ret_id = id;
    return 0;
}
