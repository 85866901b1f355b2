#include "raft/node/backup.h"

#include "raft/users/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- writing ---------------------------------------------------------------------------------- */

static int put_block(struct backup_writer *writer, enum backup_type type, struct bytes payload)
{
    uint8_t small[BACKUP_HEADER_BYTES + BACKUP_HEAD_BYTES_MAX];
    size_t len = BACKUP_HEADER_BYTES + payload.len;
    uint8_t *at = len <= sizeof(small) ? small : malloc(len);
    if (at == NULL)
        return -ENOMEM;
    struct writer out = writer_of(at, len);
    backup_put(&out, &writer->chain, type, payload);
    assert(!out.bad);
    int result = writer->write(writer->context, writer_bytes(&out));
    if (at != small)
        free(at);
    return result;
}

int backup_begin(struct backup_writer *writer, const struct backup_head *head)
{
    uint8_t payload[BACKUP_HEAD_BYTES_MAX];
    struct writer out = writer_of(payload, sizeof(payload));
    backup_head_encode(&out, head);
    assert(!out.bad && writer->chain.blocks == 0);
    writer->digest = head->digest;
    return put_block(writer, BACKUP_HEAD, writer_bytes(&out));
}

int backup_block(struct backup_writer *writer, enum backup_type type, struct bytes packed)
{
    assert(type == BACKUP_USERS || type == BACKUP_ANSWERS);
    return packed.len > 0 ? put_block(writer, type, packed) : 0;
}

int backup_finish(struct backup_writer *writer)
{
    uint8_t payload[64];
    struct writer out = writer_of(payload, sizeof(payload));
    struct backup_end end = {.blocks = writer->chain.blocks, .digest = writer->digest};
    backup_end_encode(&out, &end);
    assert(!out.bad);
    return put_block(writer, BACKUP_END, writer_bytes(&out));
}

static int save_users(struct backup_writer *writer, const struct users_view *view, uint8_t *chunk)
{
    uint64_t after = 0;
    int result = 0;
    for (bool last = false; result == 0 && !last;) {
        struct writer out = writer_of(chunk, BACKUP_CHUNK_BYTES);
        after = users_view_list(view, after, 0, &out, &last);
        result = backup_block(writer, BACKUP_USERS, writer_bytes(&out));
    }
    return result;
}

static int save_answers(struct backup_writer *writer, const struct users_view *view, uint8_t *chunk)
{
    uint64_t from = 0;
    int result = 0;
    for (bool last = false; result == 0 && !last;) {
        struct writer out = writer_of(chunk, BACKUP_CHUNK_BYTES);
        from = packed_put_answers(view, from, &out, &last);
        result = backup_block(writer, BACKUP_ANSWERS, writer_bytes(&out));
    }
    return result;
}

int backup_save(struct backup_writer *writer, const struct users_view *view,
                const struct backup_head *head)
{
    struct users_meta meta = users_view_meta(view);
    struct backup_head whole = {.cluster = head->cluster,
                                .node = head->node,
                                .made_ms = head->made_ms,
                                .index = meta.index,
                                .term = head->term,
                                .known = head->known,
                                .members = head->members,
                                USERS_META_FIELDS(USERS_META_FROM_meta)};
    assert(head->index == meta.index);
    uint8_t *chunk = malloc(BACKUP_CHUNK_BYTES);
    int result = chunk != NULL ? backup_begin(writer, &whole) : -ENOMEM;
    if (result == 0)
        result = save_users(writer, view, chunk);
    if (result == 0)
        result = save_answers(writer, view, chunk);
    if (result == 0)
        result = backup_finish(writer);
    free(chunk);
    return result;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int complain(struct backup_reader *reader, const char *format, ...) PRINTF_LIKE(2, 3);

static int complain(struct backup_reader *reader, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->text, sizeof(reader->text), format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

static int complain_of(struct backup_reader *reader, enum backup_verdict verdict)
{
    switch (verdict) {
    case BACKUP_GOOD:
        break;
    case BACKUP_NOT_ONE:
        return complain(reader, "it is no backup of rollcall");
    case BACKUP_FOREIGN:
        return complain(reader, "a later version wrote it: restore with that version");
    case BACKUP_DAMAGED:
        return complain(reader,
                        "damaged at offset %" PRIu64 " (block %" PRIu64
                        "): a checksum differs, or a block is not in its place",
                        reader->offset, reader->chain.blocks);
    }
    UNREACHABLE();
}

static int read_fully(struct backup_reader *reader, uint64_t offset, uint8_t *at, size_t len)
{
    int64_t got = reader->read(reader->context, at, len);
    if (got < 0)
        return (int)got;
    if ((uint64_t)got < len)
        return complain(reader,
                        "it ends at offset %" PRIu64 ", in block %" PRIu64 ", before its "
                        "end: it was cut short",
                        offset + (uint64_t)got, reader->chain.blocks);
    return 0;
}

static int read_block(struct backup_reader *reader, struct backup_block *ret_block)
{
    uint8_t header[BACKUP_HEADER_BYTES];
    uint32_t len = 0;
    int result = read_fully(reader, reader->offset, header, sizeof(header));
    if (result != 0)
        return result;
    struct bytes head = bytes_of(header, sizeof(header));
    enum backup_verdict verdict = backup_header(&reader->chain, head, &len);
    if (verdict != BACKUP_GOOD)
        return complain_of(reader, verdict);
    result = read_fully(reader, reader->offset + sizeof(header), reader->payload, len);
    if (result != 0)
        return result;
    verdict = backup_payload(&reader->chain, head, bytes_of(reader->payload, len), ret_block);
    if (verdict != BACKUP_GOOD)
        return complain_of(reader, verdict);
    reader->offset += sizeof(header) + len;
    return 0;
}

int backup_open(struct backup_reader *reader, backup_read *read, void *context)
{
    *reader = (struct backup_reader){
        .read = read, .context = context, .payload = malloc(BACKUP_PAYLOAD_BYTES_MAX)};
    if (reader->payload == NULL)
        return -ENOMEM;
    struct backup_block block = {.type = BACKUP_HEAD};
    int result = read_block(reader, &block);
    if (result == 0 && backup_head_decode(block.payload, &reader->head) != 0)
        result = complain(reader, "what its first block says cannot be");
    if (result != 0)
        return result;
    memcpy(reader->name, reader->head.cluster.at, reader->head.cluster.len);
    reader->head.cluster = bytes_of(reader->name, reader->head.cluster.len);
    memcpy(reader->members, reader->head.members.at, reader->head.members.len);
    reader->head.members = bytes_of(reader->members, reader->head.members.len);
    return 0;
}

static int judge_end(struct backup_reader *reader, struct bytes payload)
{
    struct backup_end end;
    uint8_t more;
    if (backup_end_decode(payload, &end) != 0 || end.blocks + 1 != reader->chain.blocks ||
        end.digest != reader->head.digest)
        return complain(reader, "its end does not belong to its beginning");
    int64_t got = reader->read(reader->context, &more, 1);
    if (got < 0)
        return (int)got;
    return got == 0
               ? -ENODATA
               : complain(reader, "something follows its end, at offset %" PRIu64, reader->offset);
}

int backup_next(struct backup_reader *reader, struct backup_block *ret_block)
{
    struct backup_block block = {.type = BACKUP_HEAD};
    int result = read_block(reader, &block);
    if (result == 0 && block.type == BACKUP_END)
        return judge_end(reader, block.payload);
    if (result == 0)
        *ret_block = block;
    return result;
}

void backup_done(struct backup_reader *reader)
{
    free(reader->payload);
    reader->payload = NULL;
}

static struct users_meta meta_of(const struct backup_head *head)
{
    return (struct users_meta){.index = head->index, USERS_META_FIELDS(USERS_META_FROM_head)};
}

int backup_load(struct backup_reader *reader, struct users *users)
{
    struct users_meta meta = meta_of(&reader->head);
    for (;;) {
        struct backup_block block = {.type = BACKUP_HEAD};
        uint64_t offset = reader->offset;
        int result = backup_next(reader, &block);
        if (result == -ENODATA)
            break;
        if (result != 0)
            return result;
        result = block.type == BACKUP_USERS ? packed_load_users(users, block.payload)
                                            : packed_load_answers(users, block.payload);
        if (result != 0)
            return complain(reader,
                            "the block at offset %" PRIu64 " is whole, and holds what cannot be: "
                            "it was made that way",
                            offset);
    }
    if (users_load_done(users, &meta) != 0)
        return complain(reader, "what it holds is not what it says: its digest or counts differ");
    return 0;
}

int64_t backup_read_file(void *context, uint8_t *buffer, size_t len)
{
    int file = *(const int *)context;
    size_t done = 0;
    while (done < len) {
        ssize_t got = read(file, buffer + done, len - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

int backup_load_file(int directory, const char *path, struct users *users,
                     struct backup_head *ret_head, struct backup_names *ret_names, char *ret_text,
                     size_t text_bytes)
{
    struct backup_reader reader;
    int file = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int result = backup_open(&reader, backup_read_file, &file);
    if (result == 0)
        result = backup_load(&reader, users);
    if (result == 0) {
        *ret_head = reader.head;
        memcpy(ret_names->cluster, reader.name, sizeof(reader.name));
        memcpy(ret_names->members, reader.members, reader.head.members.len);
        ret_head->cluster = bytes_of_text(ret_names->cluster);
        ret_head->members = bytes_of(ret_names->members, reader.head.members.len);
    }
    snprintf(ret_text, text_bytes, "%s", reader.text);
    backup_done(&reader);
    close(file);
    return result;
}
