/*
 * Term and vote on disk: the most dangerous bytes there are (a node that forgets a vote can make
 * two leaders), in a file "hardstate" of their own. Beside them stand what the node knows to have
 * forgotten (core/raft.h, RECOVERING NODES) and how far the log reaches (wal.h).
 *
 * Four blocks of 4 KiB: two generations of two copies each, A A B B, all of them written when the
 * file is made. A write goes to both copies of the generation that does not hold the newest state,
 * one after the other, each synced before what comes next. So a torn write damages one block of
 * what was not acknowledged, and any one rotten block leaves a copy of the newest state: the
 * readable block with the highest sequence number. Where both copies of a generation are lost,
 * which no torn write leaves, that one may have been the newest: the state is in doubt.
 */
#ifndef ROLLCALL_WAL_HARD_STATE_H
#define ROLLCALL_WAL_HARD_STATE_H

#include "raft/wal/disk.h"
#include "raft/wire/record.h"

#define HARD_STATE_FILE        "hardstate"
#define HARD_STATE_BLOCK_BYTES 4096u
#define HARD_STATE_BLOCKS      4u

enum hard_state_health {
    HARD_STATE_NONE,    /* there is no file */
    HARD_STATE_KNOWN,   /* this is the newest state */
    HARD_STATE_DOUBTED, /* a newer one may have been lost */
    HARD_STATE_LOST,    /* the file was cut short, or nothing in it can be read */
};

struct hard_state_file {
    struct disk *disk;
    int file;                     /* open or not: hard_state_is_open */
    struct record_hard_state now; /* the newest that can be read; sequence 0: none */
    bool was_read;                /* `now` may not be durable */
    enum hard_state_health health;
    uint32_t damaged; /* blocks that cannot be read */
};

/*
 * Reads; changes nothing. What was read may be of a write that was never synced, or whose sync
 * failed and which the kernel takes for clean nevertheless: hard_state_write must be called before
 * anything is built upon it. -EBADMSG: it is another node's.
 * -EPROTONOSUPPORT: another version of this program wrote it.
 */
NODISCARD int hard_state_open(struct disk *disk, uint64_t node, struct hard_state_file *ret_file);

static inline bool hard_state_is_open(const struct hard_state_file *file)
{
    return file->health == HARD_STATE_KNOWN || file->health == HARD_STATE_DOUBTED;
}

/* Makes the file anew, in the place of one that may be there, and opens it. */
NODISCARD int hard_state_make(struct disk *disk, const struct record_hard_state *state,
                              struct hard_state_file *ret_file);

/*
 * Writes and syncs; `now` is the new state on success. May run off the loop. `state->sequence` and
 * `state->node` are not looked at. The first call after hard_state_open writes what was read to its
 * own place again, before it writes over the other generation.
 */
NODISCARD int hard_state_write(struct hard_state_file *file, const struct record_hard_state *state);

/* Writes `now` to both generations, so that it stands in four blocks. */
NODISCARD int hard_state_refresh(struct hard_state_file *file);

#endif
