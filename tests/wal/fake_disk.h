/*
 * A disk that crashes and fails on demand, behind raft/wal/disk.h.
 *
 * Written bytes and names are remembered apart from durable ones. A crash keeps what is durable
 * and, of what is not, whatever the seed picks: any subset of the writes, each torn at 512-byte
 * sectors, and a prefix of the changes of names.
 */
#ifndef ROLLCALL_TESTS_WAL_FAKE_DISK_H
#define ROLLCALL_TESTS_WAL_FAKE_DISK_H

#include "raft/wal/disk.h"
#include "raft/wal/runner.h"

#define FAKE_FILES   1024
#define FAKE_WRITES  4096
#define FAKE_CHANGES 4096

struct fake_file {
    bool used, direct;
    uint8_t *now, *durable;
    uint64_t now_size, durable_size;
};

struct fake_name {
    char name[32];
    int file; /* -1: removed */
};

struct fake_write {
    int file;
    uint64_t offset;
    uint64_t len;
    uint8_t *bytes;
};

struct fake_disk {
    struct disk disk;
    struct fake_file file[FAKE_FILES];
    int names, durable_names;
    struct fake_name name[FAKE_FILES], durable_name[FAKE_FILES];
    int writes; /* not synced, in order */
    struct fake_write write[FAKE_WRITES];
    int changes; /* of names, not synced */
    struct fake_name change[FAKE_CHANGES];

    uint64_t operations; /* done so far: writes, syncs, changes of names */
    uint64_t syncs;      /* among them, of files and of the directory */
    uint64_t crash_at;   /* the operation that does not return any more; 0: none */
    bool crashed;        /* since then all fail with -EIO */
    uint64_t fail_at;    /* the operation that fails with `fail_error`, once */
    int fail_error;
    const char *failed_call; /* what that was; of the directory: on what was last changed in it */
    char failed_name[32], changed_name[32];
    bool fail_forgets; /* a sync that fails leaves what it should have written in memory only */
    uint64_t room;     /* bytes that files may still grow by */
};

void fake_disk_init(struct fake_disk *disk);
void fake_disk_done(struct fake_disk *disk);

/* What the machine finds after a loss of power. */
void fake_disk_crash(struct fake_disk *disk, uint64_t *random);

/* What is durable on `from`, as a copy of its folder has it. `ret_copy` is a disk of its own. */
void fake_disk_copy(struct fake_disk *ret_copy, const struct fake_disk *from);

/* The bytes of a file as they are now, for damaging them; NULL where there is none. */
uint8_t *fake_disk_bytes(struct fake_disk *disk, const char *name, uint64_t *ret_size);

/* The same as a loss of power would leave them. */
const uint8_t *fake_disk_durable(struct fake_disk *disk, const char *name, uint64_t *ret_size);

/* Other bytes stand there from now on, and after a crash. Nothing where there is no such place. */
void fake_disk_rot(struct fake_disk *disk, const char *name, uint64_t offset, uint64_t len,
                   uint64_t *random);

/* The sector was written to the place of another one, and is unused, as before. */
void fake_disk_misdirect(struct fake_disk *disk, const char *name, uint64_t offset,
                         const char *other, uint64_t other_offset);

/*
 * A sector of a log segment, in use, that something in a later segment proves to have been
 * durable. False when there is none.
 */
bool fake_disk_old_sector(struct fake_disk *disk, uint64_t random, char ret_name[32],
                          uint64_t *ret_offset);

/* The next of a sequence of random numbers (splitmix64). */
uint64_t fake_random(uint64_t *random);

/* A runner whose jobs run when the test says so. */
struct fake_runner {
    struct runner runner;
    struct job *first[RUNNER_LANES], *last[RUNNER_LANES];
};
void fake_runner_init(struct fake_runner *runner);
/* Runs one job of the lane to its end; false when there is none. */
bool fake_runner_step(struct fake_runner *runner, enum runner_lane lane);
/* Runs all jobs, also those that they submit. */
void fake_runner_drain(struct fake_runner *runner);

#endif
