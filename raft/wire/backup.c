#include "raft/wire/backup.h"

#include "raft/base/crc32c.h"

#include <errno.h>

#define BACKUP_MAGIC 0x4b414252u /* "RBAK" */

SCHEMA_CODEC(backup_head, BACKUP_HEAD_FIELDS)
SCHEMA_CODEC(backup_end, BACKUP_END_FIELDS)

void backup_head_encode(struct writer *out, const struct backup_head *head)
{
    backup_head_put(out, head);
}

int backup_head_decode(struct bytes payload, struct backup_head *ret_head)
{
    struct reader in = reader_of(payload);
    struct backup_head head = {.index = 0};
    backup_head_get(&in, &head);
    if (!reader_done(&in) || head.cluster.len > BACKUP_CLUSTER_BYTES_MAX || head.index == 0 ||
        head.term == 0 || head.known > head.index || head.members.len > MEMBERS_BYTES_MAX)
        return -EBADMSG;
    *ret_head = head;
    return 0;
}

void backup_end_encode(struct writer *out, const struct backup_end *end)
{
    backup_end_put(out, end);
}

int backup_end_decode(struct bytes payload, struct backup_end *ret_end)
{
    struct reader in = reader_of(payload);
    struct backup_end end = {.blocks = 0};
    backup_end_get(&in, &end);
    if (!reader_done(&in))
        return -EBADMSG;
    *ret_end = end;
    return 0;
}

void backup_describe(struct writer *out, const struct backup_head *head)
{
    static uint8_t text[MEMBERS_TEXT_BYTES_MAX];
    static struct members members;
    struct backup_head printed = *head;
    struct writer list = writer_of(text, sizeof(text));
    if (head->members.len > 0 && members_decode(head->members, &members) == 0)
        members_print(&list, &members);
    printed.members = writer_bytes(&list);
    backup_head_print(out, &printed);
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* HEAD, USERS …, ANSWERS …, END. */
static bool may_follow(const struct backup_chain *chain, enum backup_type type)
{
    if (chain->blocks == 0)
        return type == BACKUP_HEAD;
    return type > BACKUP_HEAD && type >= chain->last && chain->last != BACKUP_END;
}

static uint32_t header_crc(const uint8_t *header)
{
    return crc32c(0, bytes_of(header + 4, BACKUP_HEADER_BYTES - 4));
}

static void move_on(struct backup_chain *chain, enum backup_type type, uint32_t crc)
{
    chain->blocks++;
    chain->crc = crc;
    chain->last = type;
}

void backup_put(struct writer *out, struct backup_chain *chain, enum backup_type type,
                struct bytes payload)
{
    assert(may_follow(chain, type) && payload.len <= BACKUP_PAYLOAD_BYTES_MAX);
    if (writer_room(out) < BACKUP_HEADER_BYTES + payload.len) {
        out->bad = true;
        return;
    }
    uint8_t *header = out->at;
    put_u32(out, 0);
    put_u32(out, BACKUP_MAGIC);
    put_u8(out, (uint8_t)type);
    put_u8(out, 0);
    put_u16(out, BACKUP_VERSION);
    put_u32(out, (uint32_t)payload.len);
    put_u64(out, chain->blocks);
    put_u32(out, chain->crc);
    put_u32(out, crc32c(0, payload));
    assert(out->at == header + BACKUP_HEADER_BYTES);
    uint32_t crc = header_crc(header);
    struct writer head = writer_of(header, 4);
    put_u32(&head, crc);
    put_raw(out, payload);
    move_on(chain, type, crc);
}

enum backup_verdict backup_header(const struct backup_chain *chain, struct bytes header,
                                  uint32_t *ret_len)
{
    struct reader in = reader_of(header);
    uint32_t crc = get_u32(&in), magic = get_u32(&in);
    if (in.bad || header.len != BACKUP_HEADER_BYTES || magic != BACKUP_MAGIC)
        return chain->blocks == 0 ? BACKUP_NOT_ONE : BACKUP_DAMAGED;
    if (header_crc(header.at) != crc)
        return BACKUP_DAMAGED;
    uint8_t type = get_u8(&in), zero = get_u8(&in);
    if (get_u16(&in) != BACKUP_VERSION)
        return BACKUP_FOREIGN;
    uint32_t len = get_u32(&in);
    uint64_t number = get_u64(&in);
    uint32_t before = get_u32(&in);
    if (zero != 0 || type < BACKUP_HEAD || type > BACKUP_END ||
        !may_follow(chain, (enum backup_type)type) || len > BACKUP_PAYLOAD_BYTES_MAX ||
        number != chain->blocks || before != chain->crc)
        return BACKUP_DAMAGED;
    *ret_len = len;
    return BACKUP_GOOD;
}

enum backup_verdict backup_payload(struct backup_chain *chain, struct bytes header,
                                   struct bytes payload, struct backup_block *ret_block)
{
    uint32_t len = 0;
    enum backup_verdict verdict = backup_header(chain, header, &len);
    assert(verdict == BACKUP_GOOD && len == payload.len); /* it was judged before */
    struct reader crcs = reader_of(bytes_of(header.at + 28, 4));
    if (get_u32(&crcs) != crc32c(0, payload))
        return BACKUP_DAMAGED;
    struct reader start = reader_of(header);
    enum backup_type type = (enum backup_type)header.at[8];
    move_on(chain, type, get_u32(&start));
    *ret_block = (struct backup_block){.type = type, .payload = payload};
    return BACKUP_GOOD;
}
