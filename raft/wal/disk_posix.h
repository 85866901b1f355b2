/* The disk behind disk.h that is one: a directory of the file system. */
#ifndef ROLLCALL_WAL_DISK_POSIX_H
#define ROLLCALL_WAL_DISK_POSIX_H

#include "raft/wal/disk.h"

struct disk_posix {
    struct disk disk;
    int directory; /* descriptor */
    int lock;      /* descriptor of the file "lock", held against a second process */
};

/*
 * Opens the directory, made if need be, and locks it: -EWOULDBLOCK when another process has it.
 * The functions may be called from any one thread at a time.
 */
NODISCARD int disk_posix_open(struct disk_posix *disk, const char *path);
void disk_posix_close(struct disk_posix *disk);

#endif
