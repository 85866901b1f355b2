/*
 * A file that is written: under a name of its own, `.FILE.` and random digits, until all of it is
 * there and durable. So FILE is whole, or what it was before, or not there, whatever happens; an
 * older FILE is replaced. What is no regular file is not: a link, a device, a pipe. `-` is standard
 * output, as long as that is no terminal.
 */
#ifndef ROLLCALL_CTL_TARGET_H
#define ROLLCALL_CTL_TARGET_H

#include "raft/base/bytes.h"

#define TARGET_PATH_BYTES 4096u

struct target {
    int directory, file; /* descriptors; no directory: standard output */
    uint64_t bytes;
    char name[TARGET_PATH_BYTES], temporary[TARGET_PATH_BYTES + 24]; /* in the directory */
};

/* −errno; target_text says it in words. */
NODISCARD int target_open(struct target *target, const char *path);
const char *target_text(int error);
/* A backup_write; the context is the target. */
NODISCARD int target_write(void *context, struct bytes bytes);
/* Makes it durable under its name. Closes it, whatever the result. */
NODISCARD int target_finish(struct target *target);
/* Leaves nothing behind. */
void target_abandon(struct target *target);

#endif
