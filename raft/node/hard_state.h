/*
 * Term and vote on disk: the most dangerous bytes there are (a node that forgets a vote can make
 * two leaders), in a file "hardstate" of their own.
 *
 * Four blocks of 4 KiB: two generations of two copies each, A A B B. A write goes to both copies of
 * the generation that does not hold the newest state, then one fdatasync. So a torn write damages
 * only what was not acknowledged, and a rotten block leaves a second copy of the newest state. The
 * readable block with the highest sequence number is the state; when it is the only one of its
 * generation, opening writes the state once more.
 */
#ifndef ROLLCALL_NODE_HARD_STATE_H
#define ROLLCALL_NODE_HARD_STATE_H

#include "raft/node/disk.h"
#include "raft/wire/record.h"

#define HARD_STATE_FILE        "hardstate"
#define HARD_STATE_BLOCK_BYTES 4096u
#define HARD_STATE_BLOCKS      4u

struct hard_state_file {
    struct disk *disk;
    int file;
    struct record_hard_state now; /* the newest state on disk; sequence 0: none was ever written */
};

/*
 * Opens the file, makes it when `create`. `ret_file->now` is what it held; *ret_damaged counts
 * blocks that could not be read although written. -ENOENT: no file. -EBADMSG: nothing in it can be
 * read, or it is another node's.
 */
NODISCARD int hard_state_open(struct disk *disk, uint64_t node, bool create,
                              struct hard_state_file *ret_file, uint32_t *ret_damaged);

/* Writes and syncs; `now` is the new state on success. May run off the loop. */
NODISCARD int hard_state_write(struct hard_state_file *file, const struct raft_hard_state *hard);

#endif
