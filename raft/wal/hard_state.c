#include "raft/wal/hard_state.h"

#include <errno.h>
#include <string.h>

#define COPIES (HARD_STATE_BLOCKS / 2)

/* Of which generation a write of this sequence is: 0 or 1. */
static uint32_t generation_of(uint64_t sequence)
{
    return sequence % 2 == 0 ? 0 : 1;
}

/* The first copy is durable before the second is begun: power that fails tears one of them. */
static int write_generation(struct disk *disk, int file, const struct record_hard_state *state)
{
    uint8_t block[RECORD_HARD_STATE_BYTES];
    struct writer out = writer_of(block, sizeof(block));
    record_hard_state_put(&out, state);
    assert(!out.bad && writer_len(&out) == sizeof(block));
    uint32_t first = generation_of(state->sequence) * COPIES;
    for (uint32_t i = first; i < first + COPIES; i++) {
        int result = disk->ops->write(disk, file, (uint64_t)i * HARD_STATE_BLOCK_BYTES, block,
                                      sizeof(block));
        if (result == 0 && i == first)
            result = disk->ops->sync(disk, file);
        if (result != 0)
            return result;
    }
    return 0;
}

/* Under another name first, and whole: a file by the right name is never short. */
static int make_file(struct disk *disk, const struct record_hard_state *state)
{
    static const uint8_t zeros[HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES];
    struct record_hard_state before = *state;
    before.sequence--;
    int file;
    int result = disk->ops->open(disk, HARD_STATE_FILE ".tmp", true, &file);
    if (result != 0)
        return result;
    result = disk->ops->write(disk, file, 0, zeros, sizeof(zeros));
    if (result == 0)
        result = write_generation(disk, file, &before);
    if (result == 0)
        result = write_generation(disk, file, state);
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

int hard_state_make(struct disk *disk, const struct record_hard_state *state,
                    struct hard_state_file *ret_file)
{
    struct hard_state_file file = {.disk = disk, .now = *state, .health = HARD_STATE_KNOWN};
    file.now.sequence = 2;
    int result = make_file(disk, &file.now);
    if (result == 0)
        result = disk->ops->open(disk, HARD_STATE_FILE, false, &file.file);
    if (result == 0)
        *ret_file = file;
    return result;
}

/* -ENODATA: the file ends before this block. */
static int read_block(const struct hard_state_file *file, uint32_t i, struct record_hard_state *ret)
{
    uint8_t block[RECORD_HARD_STATE_BYTES];
    int result = file->disk->ops->read(file->disk, file->file, (uint64_t)i * HARD_STATE_BLOCK_BYTES,
                                       block, sizeof(block));
    return result == 0 ? record_hard_state_decode(bytes_of(block, sizeof(block)), ret) : result;
}

static int read_all(struct hard_state_file *file, uint64_t node)
{
    uint32_t readable[2] = {0};
    bool cut_short = false;
    for (uint32_t i = 0; i < HARD_STATE_BLOCKS; i++) {
        struct record_hard_state state;
        int result = read_block(file, i, &state);
        cut_short = cut_short || result == -ENODATA;
        if (result == -EPROTONOSUPPORT)
            return result;
        if (result != 0) {
            file->damaged++;
            continue;
        }
        if (state.node != node)
            return -EBADMSG;
        readable[i / COPIES]++;
        if (state.sequence > file->now.sequence)
            file->now = state;
    }
    if (cut_short || readable[0] + readable[1] == 0)
        file->health = HARD_STATE_LOST;
    else if (readable[0] == 0 || readable[1] == 0)
        file->health = HARD_STATE_DOUBTED;
    else
        file->health = HARD_STATE_KNOWN;
    return 0;
}

int hard_state_open(struct disk *disk, uint64_t node, struct hard_state_file *ret_file)
{
    struct hard_state_file file = {.disk = disk, .now = {.node = node}, .was_read = true};
    int result = disk->ops->open(disk, HARD_STATE_FILE, false, &file.file);
    if (result == 0) {
        result = read_all(&file, node);
        if (result != 0 || file.health == HARD_STATE_LOST)
            (void)!disk->ops->close(disk, file.file);
    } else if (result == -ENOENT) {
        result = 0;
    }
    if (result == 0)
        *ret_file = file;
    return result;
}

/* The other generation may be all that is durable, and must stay until this one is. */
static int write_what_was_read(struct hard_state_file *file)
{
    if (!file->was_read)
        return 0;
    int result = write_generation(file->disk, file->file, &file->now);
    if (result == 0)
        result = file->disk->ops->sync(file->disk, file->file);
    file->was_read = result != 0;
    return result;
}

int hard_state_write(struct hard_state_file *file, const struct record_hard_state *state)
{
    assert(!term_less(state->hard.term, file->now.hard.term));
    struct record_hard_state next = *state;
    next.sequence = file->now.sequence + 1;
    next.node = file->now.node;
    int result = write_what_was_read(file);
    if (result == 0)
        result = write_generation(file->disk, file->file, &next);
    if (result == 0)
        result = file->disk->ops->sync(file->disk, file->file);
    if (result == 0)
        file->now = next;
    return result;
}

int hard_state_refresh(struct hard_state_file *file)
{
    struct record_hard_state state = file->now;
    int result = hard_state_write(file, &state);
    return result == 0 ? hard_state_write(file, &state) : result;
}
