/* A log whose files are damaged on purpose, and what it held before. */
#ifndef ROLLCALL_TESTS_WAL_ROT_RIG_H
#define ROLLCALL_TESTS_WAL_ROT_RIG_H

#include "raft/wal/hard_state.h"
#include "raft/wal/wal.h"
#include "raft/wire/record.h"

#include "tests/wal/fake_disk.h"

#define ROT_SEGMENT 8192u
#define ROT_ENTRIES 256u
#define ROT_FILES   32u
#define ROT_PAYLOAD 1400u

enum rot_outcome {
    ROT_WHOLE,    /* nothing was found */
    ROT_REPAIRED, /* nothing is missing, and what was found was said */
    ROT_HOLES,    /* every entry is known, and some want repair; it was done */
    ROT_CUT,      /* the end is missing, and that was said */
    ROT_REFUSED,
    ROT_OUTCOMES,
};

struct rot_file {
    char name[32];
    uint64_t size;
    uint8_t *bytes;
};

struct rot_entry {
    uint64_t term;
    struct bytes payload;
    size_t file; /* where its record is */
    uint64_t offset;
};

struct rot {
    /* As it was written. */
    size_t files;
    struct rot_file file[ROT_FILES];
    size_t oldest; /* the file of the oldest segment */
    uint64_t last, last_term;
    uint64_t last_batch; /* its first entry */
    struct rot_entry entry[ROT_ENTRIES];
    uint8_t payloads[ROT_ENTRIES][ROT_PAYLOAD];
    /* One trial. */
    struct fake_disk disk;
    struct fake_runner runner;
    struct wal *wal;
    struct wal_recovered recovered;
    bool vote_doubted; /* the damage is to the hard state, too */
    bool oldest_gone;  /* to the log it is as if a snapshot covered it */
    bool said;         /* by a start that crashed */
    bool failed;
    struct wal_scrubbed scrubbed;
    uint32_t scrubs;
    /* All trials. */
    uint64_t tried;
    uint64_t count[ROT_OUTCOMES];
    uint64_t recovering, floors; /* of them, recovering ones, and those that know their floor */
};

struct rot *rot_new(void);
void rot_free(struct rot *rot);
void rot_say(const struct rot *rot, const char *what);
bool rot_is_segment(const struct rot_file *file);
size_t rot_hard_state(const struct rot *rot);

/* The files as they were, for damaging them. */
void rot_begin(struct rot *rot);
uint8_t *rot_bytes(struct rot *rot, size_t file);
void rot_resize(struct rot *rot, size_t file, uint64_t size);
/* As they are now they are after a crash. */
void rot_make_durable(struct rot *rot);

/* Opens, and closes when that failed. */
int rot_try(struct rot *rot, bool alone);
void rot_close(struct rot *rot);
/* Fills every hole with what it held. */
int rot_repair_all(struct rot *rot);
/* Opens, holds what is there to what was written, repairs, and goes on with it. */
enum rot_outcome rot_judge(struct rot *rot, bool alone, const char *what, uint64_t where);

#endif
