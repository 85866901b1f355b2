/*
 * The reader of backup files: no input may make it read beyond its end or break the state that it
 * loads into. Tried as it is, and with every checksum and chain put right, which no fuzzer guesses.
 */
#include "raft/node/backup.h"

#include "raft/base/crc32c.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE_LIMIT  (1u << 15)
#define ANSWERS_MAX 256u

static int64_t take(void *context, uint8_t *buffer, size_t len)
{
    struct bytes *left = context;
    if (len > left->len)
        len = left->len;
    if (len > 0)
        memcpy(buffer, left->at, len);
    *left = bytes_of(left->at + len, left->len - len);
    return (int64_t)len;
}

static void load(struct bytes bytes)
{
    struct users *users = users_new(ANSWERS_MAX);
    struct backup_reader reader;
    int result = backup_open(&reader, take, &bytes);
    if (result == 0)
        result = backup_load(&reader, users);
    if ((result == 0) != (reader.text[0] == '\0'))
        abort();
    if (result == 0)
        users_check(users);
    backup_done(&reader);
    users_free(users);
}

static void put_at(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* As many whole blocks as fit. */
static void put_right(uint8_t *at, size_t size)
{
    uint32_t before = 0;
    uint64_t number = 0;
    for (size_t offset = 0; size - offset >= BACKUP_HEADER_BYTES; number++) {
        uint8_t *header = at + offset;
        size_t room = size - offset - BACKUP_HEADER_BYTES;
        size_t len = header[12] | (size_t)header[13] << 8;
        len = len > room ? room : len;
        memcpy(header + 4, "RBAK", 4);
        header[9] = 0;
        put_at(header + 10, BACKUP_VERSION, 2);
        put_at(header + 12, len, 4);
        put_at(header + 16, number, 8);
        put_at(header + 24, before, 4);
        put_at(header + 28, crc32c(0, bytes_of(header + BACKUP_HEADER_BYTES, len)), 4);
        before = crc32c(0, bytes_of(header + 4, BACKUP_HEADER_BYTES - 4));
        put_at(header, before, 4);
        offset += BACKUP_HEADER_BYTES + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > SIZE_LIMIT)
        return 0;
    load(bytes_of(data, size));
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL)
        return 0;
    if (size > 0)
        memcpy(copy, data, size);
    put_right(copy, size);
    load(bytes_of(copy, size));
    free(copy);
    return 0;
}
