/*
 * A disk (disk.h) over a directory that is not written: files are opened O_RDONLY, and whatever is
 * written, made, renamed or removed is so in memory alone, until it is thrown away. So the code
 * that opens a log can be asked what it would do, beside a node that runs, too.
 *
 * It shows the names that were there when it was opened. A file that has gone since is -ENOENT.
 */
#ifndef ROLLCALL_CTL_OVERLAY_H
#define ROLLCALL_CTL_OVERLAY_H

#include "raft/wal/disk.h"

#include <sys/types.h>

struct overlay;

/* −errno. */
NODISCARD int overlay_open(const char *path, struct overlay **ret_overlay);
struct disk *overlay_disk(struct overlay *overlay);
void overlay_close(struct overlay *overlay); /* NULL is fine */

/* The process that holds the lock of this log's directory; 0 when nobody does. */
pid_t overlay_holder(const char *path);

#endif
