/*
 * The disk as the write-ahead log sees it: one directory of files. What stands behind it is the
 * kernel (disk_posix.h), or in tests something that fails and crashes on demand.
 *
 * All functions return 0 or −errno. Names are plain names in the directory. Nothing is durable
 * before `sync` (a file's bytes and size) or `sync_directory` (names) has returned 0.
 */
#ifndef ROLLCALL_WAL_DISK_H
#define ROLLCALL_WAL_DISK_H

#include "raft/base/attr.h"

#define DISK_SECTOR_BYTES 512u

struct disk;

struct disk_ops {
    /* -ENOENT where it is not, unless `create`. The file number is given back by close. */
    int (*open)(struct disk *disk, const char *name, bool create, int *ret_file);
    int (*close)(struct disk *disk, int file);
    /*
     * From now on the file is written in whole sectors of DISK_SECTOR_BYTES (place, length and
     * memory are multiples), so that the disk may take them past the page cache. A wish.
     */
    void (*go_direct)(struct disk *disk, int file);
    int (*size)(struct disk *disk, int file, uint64_t *ret_size);
    /* Exactly `len` bytes; -ENODATA when the file ends before. */
    int (*read)(struct disk *disk, int file, uint64_t offset, void *ret_bytes, size_t len);
    int (*write)(struct disk *disk, int file, uint64_t offset, const void *bytes, size_t len);
    int (*sync)(struct disk *disk, int file);
    int (*rename)(struct disk *disk, const char *from, const char *to);
    int (*remove)(struct disk *disk, const char *name);
    int (*sync_directory)(struct disk *disk);
    /* Calls `each` for every name, in any order; stops at its first non-zero result, returns it. */
    int (*list)(struct disk *disk, int (*each)(void *context, const char *name), void *context);
};

struct disk {
    const struct disk_ops *ops;
};

#endif
