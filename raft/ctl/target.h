/*
 * A file that is written: under the name FILE.tmp until all of it is there and durable. So FILE is
 * whole, or what it was before, or not there, whatever happens; an older FILE is replaced.
 */
#ifndef ROLLCALL_CTL_TARGET_H
#define ROLLCALL_CTL_TARGET_H

#include "raft/base/bytes.h"

#define TARGET_PATH_BYTES 4096u

struct target {
    int directory, file; /* descriptors */
    uint64_t bytes;
    char name[TARGET_PATH_BYTES], temporary[TARGET_PATH_BYTES + 4]; /* in the directory */
};

/* −errno; -EWOULDBLOCK: another process writes it. */
NODISCARD int target_open(struct target *target, const char *path);
/* A backup_write; the context is the target. */
NODISCARD int target_write(void *context, struct bytes bytes);
/* Makes it durable under its name. Closes it, whatever the result. */
NODISCARD int target_finish(struct target *target);
/* Leaves nothing behind. */
void target_abandon(struct target *target);

#endif
