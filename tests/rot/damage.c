#include "tests/rot/damage.h"

#include "raft/wal/hard_state.h"
#include "raft/wire/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const damage_names[DAMAGE_KINDS] = {
    [DAMAGE_HEADER_BIT] = "one bit of a header",
    [DAMAGE_PAYLOAD_BIT] = "one bit of a payload",
    [DAMAGE_SECTOR_ZEROED] = "a 512-byte sector zeroed",
    [DAMAGE_SECTOR_FILLED] = "a 512-byte sector filled with 0xA5",
    [DAMAGE_BLOCK_ZEROED] = "a 4-KiB block zeroed",
    [DAMAGE_BLOCK_FILLED] = "a 4-KiB block filled with 0xA5",
    [DAMAGE_CUT_SHORT] = "a segment cut short",
    [DAMAGE_FILE_GONE] = "a file gone",
    [DAMAGE_FILES_SWAPPED] = "two segments swapped",
    [DAMAGE_HARD_STATE_BIT] = "one bit of term and vote",
    [DAMAGE_HARD_STATE_BLOCK] = "a block of term and vote zeroed",
    [DAMAGE_HARD_STATE_GENERATION] = "both copies of term and vote",
    [DAMAGE_HARD_STATE_SHORT] = "term and vote cut short",
};

#define BLOCK_BYTES 4096u

static void add(struct damages *list, struct damage damage)
{
    if (list->count == list->room) {
        list->room = list->room == 0 ? 4096 : 2 * list->room;
        list->at = realloc(list->at, list->room * sizeof(*list->at));
        if (list->at == NULL)
            abort();
    }
    list->at[list->count++] = damage;
}

static struct fake_file *file_of(struct fake_disk *disk, int name)
{
    return &disk->file[disk->durable_name[name].file];
}

static bool is_segment(const struct fake_disk *disk, int name)
{
    return strstr(disk->durable_name[name].name, ".wal") != NULL;
}

static void list_records(struct damages *list, const struct fake_file *file, int name,
                         uint64_t stride)
{
    struct record record;
    uint64_t drawn = 0;
    for (uint64_t at = 0; at + RECORD_HEADER_BYTES <= file->durable_size;) {
        size_t left = (size_t)(file->durable_size - at);
        if (record_get(bytes_of(file->durable + at, left), &record) != RECORD_OK) {
            at += 8;
            continue;
        }
        for (uint64_t bit = drawn % stride; bit < RECORD_HEADER_BYTES * 8; bit += stride)
            add(list, (struct damage){.kind = DAMAGE_HEADER_BIT,
                                      .file = name,
                                      .offset = at + bit / 8,
                                      .value = (uint8_t)(1 << bit % 8)});
        for (uint32_t i = 0; i < 2 && record.payload.len > 0; i++) {
            uint64_t bit = fake_random(&drawn) % (record.payload.len * 8);
            add(list, (struct damage){.kind = DAMAGE_PAYLOAD_BIT,
                                      .file = name,
                                      .offset = at + RECORD_HEADER_BYTES + bit / 8,
                                      .value = (uint8_t)(1 << bit % 8)});
        }
        drawn++;
        at += record_bytes(record.payload.len);
    }
}

/* Up to the first stretch that nothing was written to; `fresh` is a segment nobody used. */
static uint64_t used_bytes(const struct fake_file *file)
{
    struct record record;
    uint64_t used = 0;
    for (uint64_t at = 0; at + RECORD_HEADER_BYTES <= file->durable_size; at += 8) {
        if (record_get(bytes_of(file->durable + at, (size_t)(file->durable_size - at)), &record) ==
            RECORD_OK)
            used = at + record_bytes(record.payload.len);
    }
    return (used + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

static void list_stretches(struct damages *list, enum damage_kind kind, int name, uint64_t used,
                           uint64_t bytes, uint8_t value)
{
    for (uint64_t at = 0; at < used; at += bytes)
        add(list, (struct damage){
                      .kind = kind, .file = name, .offset = at, .len = bytes, .value = value});
}

static void list_segment(struct damages *list, struct fake_disk *disk, int name, uint64_t stride)
{
    const struct fake_file *file = file_of(disk, name);
    uint64_t used = used_bytes(file);
    if (used == 0)
        return; /* made ahead of need */
    list_records(list, file, name, stride);
    list_stretches(list, DAMAGE_SECTOR_ZEROED, name, used, DISK_SECTOR_BYTES, 0);
    list_stretches(list, DAMAGE_SECTOR_FILLED, name, used, DISK_SECTOR_BYTES, 0xa5);
    list_stretches(list, DAMAGE_BLOCK_ZEROED, name, used, BLOCK_BYTES, 0);
    list_stretches(list, DAMAGE_BLOCK_FILLED, name, used, BLOCK_BYTES, 0xa5);
    for (uint64_t size = 0; size < file->durable_size; size += DISK_SECTOR_BYTES) {
        add(list, (struct damage){.kind = DAMAGE_CUT_SHORT, .file = name, .offset = size});
        add(list, (struct damage){.kind = DAMAGE_CUT_SHORT,
                                  .file = name,
                                  .offset = size + DISK_SECTOR_BYTES - 1});
    }
    add(list, (struct damage){.kind = DAMAGE_FILE_GONE, .file = name});
    for (int other = name + 1; other < disk->durable_names; other++) {
        if (is_segment(disk, other))
            add(list, (struct damage){.kind = DAMAGE_FILES_SWAPPED, .file = name, .other = other});
    }
}

static void list_hard_state(struct damages *list, struct fake_disk *disk, int name, uint64_t stride)
{
    uint64_t size = file_of(disk, name)->durable_size;
    for (uint64_t block = 0; block < HARD_STATE_BLOCKS; block++) {
        uint64_t at = block * HARD_STATE_BLOCK_BYTES;
        for (uint64_t bit = 0; bit < RECORD_HARD_STATE_BYTES * 8; bit += stride)
            add(list, (struct damage){.kind = DAMAGE_HARD_STATE_BIT,
                                      .file = name,
                                      .offset = at + bit / 8,
                                      .value = (uint8_t)(1 << bit % 8)});
        add(list, (struct damage){.kind = DAMAGE_HARD_STATE_BLOCK,
                                  .file = name,
                                  .offset = at,
                                  .len = HARD_STATE_BLOCK_BYTES});
        if (block % 2 == 0)
            add(list, (struct damage){.kind = DAMAGE_HARD_STATE_GENERATION,
                                      .file = name,
                                      .offset = at,
                                      .len = 2ull * HARD_STATE_BLOCK_BYTES,
                                      .value = 0x5a});
    }
    for (uint64_t at = 0; at < size; at += DISK_SECTOR_BYTES)
        add(list, (struct damage){.kind = DAMAGE_HARD_STATE_SHORT, .file = name, .offset = at});
    add(list, (struct damage){.kind = DAMAGE_FILE_GONE, .file = name});
}

struct damages damage_list(struct fake_disk *disk, uint64_t stride)
{
    struct damages list = {.count = 0};
    for (int name = 0; name < disk->durable_names; name++) {
        if (is_segment(disk, name))
            list_segment(&list, disk, name, stride);
        else if (strcmp(disk->durable_name[name].name, HARD_STATE_FILE) == 0)
            list_hard_state(&list, disk, name, stride);
    }
    return list;
}

static void damage_bytes(uint8_t *at, uint64_t size, const struct damage *damage, bool flip)
{
    if (flip && damage->offset < size)
        at[damage->offset] ^= damage->value;
    for (uint64_t i = damage->offset; !flip && i < size && i < damage->offset + damage->len; i++)
        at[i] = damage->value;
}

/* Names that are durable are those that are seen: the disk is that of a machine that is down. */
static void remove_name(struct fake_disk *disk, int name)
{
    disk->durable_name[name] = disk->durable_name[--disk->durable_names];
    disk->names = disk->durable_names;
    memcpy(disk->name, disk->durable_name, (size_t)disk->names * sizeof(disk->name[0]));
}

void damage_do(struct fake_disk *disk, const struct damage *damage)
{
    struct fake_file *file = file_of(disk, damage->file);
    switch (damage->kind) {
    case DAMAGE_HEADER_BIT:
    case DAMAGE_PAYLOAD_BIT:
    case DAMAGE_HARD_STATE_BIT:
        damage_bytes(file->now, file->now_size, damage, true);
        damage_bytes(file->durable, file->durable_size, damage, true);
        return;
    case DAMAGE_SECTOR_ZEROED:
    case DAMAGE_SECTOR_FILLED:
    case DAMAGE_BLOCK_ZEROED:
    case DAMAGE_BLOCK_FILLED:
    case DAMAGE_HARD_STATE_BLOCK:
    case DAMAGE_HARD_STATE_GENERATION:
        damage_bytes(file->now, file->now_size, damage, false);
        damage_bytes(file->durable, file->durable_size, damage, false);
        return;
    case DAMAGE_CUT_SHORT:
    case DAMAGE_HARD_STATE_SHORT:
        file->now_size = file->durable_size = damage->offset;
        return;
    case DAMAGE_FILE_GONE:
        remove_name(disk, damage->file);
        return;
    case DAMAGE_FILES_SWAPPED: {
        int other = disk->durable_name[damage->other].file;
        disk->durable_name[damage->other].file = disk->durable_name[damage->file].file;
        disk->durable_name[damage->file].file = other;
        disk->names = disk->durable_names;
        memcpy(disk->name, disk->durable_name, (size_t)disk->names * sizeof(disk->name[0]));
        return;
    }
    case DAMAGE_KINDS:
        break;
    }
    abort();
}
