/*
 * What rot can do to the files of a log: a list of damages, each of one kind at one place, made
 * from the files as they are. The kinds are the rows of the table that `rot` prints.
 */
#ifndef ROLLCALL_TESTS_ROT_DAMAGE_H
#define ROLLCALL_TESTS_ROT_DAMAGE_H

#include "tests/wal/fake_disk.h"

enum damage_kind {
    DAMAGE_HEADER_BIT,     /* every bit of every record's header, one at a time */
    DAMAGE_PAYLOAD_BIT,    /* some bits of every payload */
    DAMAGE_SECTOR_ZEROED,  /* every sector of 512 bytes that was written */
    DAMAGE_SECTOR_FILLED,  /* the same, with 0xA5 */
    DAMAGE_BLOCK_ZEROED,   /* every block of 4 KiB */
    DAMAGE_BLOCK_FILLED,   /* the same, with 0xA5 */
    DAMAGE_CUT_SHORT,      /* segments cut to every multiple of 512 bytes, and one byte less */
    DAMAGE_FILE_GONE,      /* every file */
    DAMAGE_FILES_SWAPPED,  /* every two segments */
    DAMAGE_HARD_STATE_BIT, /* every bit of every copy of term and vote */
    DAMAGE_HARD_STATE_BLOCK,
    DAMAGE_HARD_STATE_GENERATION, /* both copies of one */
    DAMAGE_HARD_STATE_SHORT,
    DAMAGE_KINDS,
};

extern const char *const damage_names[DAMAGE_KINDS];

struct damage {
    enum damage_kind kind;
    int file, other; /* of the disk's names */
    uint64_t offset, len;
    uint8_t value;
};

struct damages {
    size_t count, room;
    struct damage *at;
};

/* All of them; of bits every `stride`th. The caller frees `at`. */
struct damages damage_list(struct fake_disk *disk, uint64_t stride);
void damage_do(struct fake_disk *disk, const struct damage *damage);

#endif
