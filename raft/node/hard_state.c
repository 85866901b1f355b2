#include "raft/node/hard_state.h"

#include <errno.h>
#include <string.h>

/* A fresh file is made whole under another name first: a file by the right name is never short. */
static int make_file(struct disk *disk)
{
    static const uint8_t zeros[HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES];
    int file;
    int result = disk->ops->open(disk, HARD_STATE_FILE ".tmp", true, &file);
    if (result != 0)
        return result;
    result = disk->ops->write(disk, file, 0, zeros, sizeof(zeros));
    if (result == 0)
        result = disk->ops->sync(disk, file);
    int closed = disk->ops->close(disk, file);
    if (result == 0)
        result = closed;
    if (result == 0)
        result = disk->ops->rename(disk, HARD_STATE_FILE ".tmp", HARD_STATE_FILE);
    if (result == 0)
        result = disk->ops->sync_directory(disk);
    return result;
}

/* Reads all blocks into file->now; *ret_copies blocks hold it. */
static int load(struct hard_state_file *file, uint64_t node, uint32_t *ret_damaged,
                uint32_t *ret_copies)
{
    uint32_t damaged = 0, written = 0, copies = 0;
    for (uint32_t i = 0; i < HARD_STATE_BLOCKS; i++) {
        uint8_t block[RECORD_HARD_STATE_BYTES];
        struct record_hard_state state;
        int result = file->disk->ops->read(file->disk, file->file, i * HARD_STATE_BLOCK_BYTES,
                                           block, sizeof(block));
        if (result == -ENODATA)
            return -EBADMSG; /* it was made whole, and was cut short since */
        if (result == 0)
            result = record_hard_state_decode(bytes_of(block, sizeof(block)), &state);
        if (result == -ENODATA)
            continue;
        written++;
        if (result != 0) {
            damaged++;
            continue;
        }
        if (state.node != node)
            return -EBADMSG;
        if (state.sequence > file->now.sequence) {
            file->now = state;
            copies = 0;
        }
        copies += state.sequence == file->now.sequence;
    }
    if (written > 0 && damaged == written)
        return -EBADMSG;
    *ret_damaged = damaged;
    *ret_copies = copies;
    return 0;
}

int hard_state_open(struct disk *disk, uint64_t node, bool create, struct hard_state_file *ret_file,
                    uint32_t *ret_damaged)
{
    struct hard_state_file file = {.disk = disk, .now = {.node = node}};
    int result = disk->ops->open(disk, HARD_STATE_FILE, false, &file.file);
    if (result == -ENOENT && create) {
        result = make_file(disk);
        if (result == 0)
            result = disk->ops->open(disk, HARD_STATE_FILE, false, &file.file);
    }
    if (result != 0)
        return result;
    uint32_t damaged = 0, copies = 0;
    result = load(&file, node, &damaged, &copies);
    /* What was read is about to be built upon. It may be of a write whose sync failed, which the
     * kernel took for clean nevertheless; or torn writes or rot left one copy of it. */
    if (result == 0 && copies > 0)
        result = hard_state_write(&file, &file.now.hard);
    if (result != 0) {
        (void)!disk->ops->close(disk, file.file);
        return result;
    }
    *ret_file = file;
    *ret_damaged = damaged;
    return 0;
}

int hard_state_write(struct hard_state_file *file, const struct raft_hard_state *hard)
{
    assert(!term_less(hard->term, file->now.hard.term));
    struct record_hard_state next = {
        .sequence = file->now.sequence + 1,
        .node = file->now.node,
        .hard = *hard,
    };
    uint8_t block[RECORD_HARD_STATE_BYTES];
    struct writer out = writer_of(block, sizeof(block));
    record_hard_state_put(&out, &next);
    assert(!out.bad && writer_len(&out) == sizeof(block));

    uint32_t first = next.sequence % 2 == 0 ? 0 : HARD_STATE_BLOCKS / 2;
    for (uint32_t i = first; i < first + HARD_STATE_BLOCKS / 2; i++) {
        int result = file->disk->ops->write(
            file->disk, file->file, (uint64_t)i * HARD_STATE_BLOCK_BYTES, block, sizeof(block));
        if (result != 0)
            return result;
    }
    int result = file->disk->ops->sync(file->disk, file->file);
    if (result == 0)
        file->now = next;
    return result;
}
