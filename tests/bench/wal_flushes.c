/*
 * How many entries a node made durable with each flush, read from its log afterwards (wal.h: what a
 * flush brings to a segment ends with COPIES). The node is not asked and does not notice.
 *
 *     wal_flushes --dir DIR [--after INDEX] [--upto INDEX]
 *
 * Prints entries=… flushes=… entry_bytes=… of the entries in (after, upto] that are still in the
 * log.
 */
#include "raft/wal/disk.h"
#include "raft/wire/record.h"
#include "tests/bench/samples.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_BYTES_MAX (64u << 20)

struct count {
    uint64_t after;
    uint64_t upto;
    uint64_t entries;
    uint64_t flushes;
    uint64_t bytes;
    uint64_t first; /* the lowest index seen */
};

static uint8_t segment[SEGMENT_BYTES_MAX];

/* Gone since it was listed: empty. */
static size_t segment_read(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size_t len = 0;
    for (ssize_t got; len < sizeof(segment); len += (size_t)got) {
        got = read(fd, segment + len, sizeof(segment) - len);
        if (got <= 0)
            break;
    }
    /* The node writes past the page cache, and should find nothing in it. */
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return len;
}

static void segment_count(struct count *count, size_t len)
{
    bool counted = false; /* an entry of this flush */
    for (size_t at = 0; at < len;) {
        struct record record;
        if (record_get(bytes_of(segment + at, len - at), &record) != RECORD_OK) {
            if (at % DISK_SECTOR_BYTES == 0)
                return;
            at += DISK_SECTOR_BYTES - at % DISK_SECTOR_BYTES;
            continue;
        }
        uint64_t index = record.index.n;
        at += record_bytes(record.payload.len);
        if (record.type == RECORD_COPIES)
            counted = false; /* it ends what a flush brought */
        if (record.type != RECORD_ENTRY)
            continue;
        if (index < count->first)
            count->first = index;
        if (index <= count->after || index > count->upto)
            continue;
        count->entries++;
        count->bytes += record_bytes(record.payload.len);
        count->flushes += !counted;
        counted = true;
    }
}

static int is_segment(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".wal") == 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"after", required_argument, NULL, 'a'},
        {"upto", required_argument, NULL, 'u'},
        {0},
    };
    struct count count = {.upto = UINT64_MAX, .first = UINT64_MAX};
    const char *dir = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'd')
            dir = optarg;
        else if (option == 'a')
            count.after = number_option("after", optarg, 0, UINT64_MAX);
        else if (option == 'u')
            count.upto = number_option("upto", optarg, 0, UINT64_MAX);
        else
            return 2;
    }
    if (dir == NULL) {
        fputs("wal_flushes: --dir is missing\n", stderr);
        return 2;
    }
    struct dirent **list = NULL;
    int segments = scandir(dir, &list, is_segment, alphasort);
    if (segments < 0)
        die(dir);
    for (int i = segments - 1; i >= 0; i--) {
        if (count.first > count.after)
            segment_count(&count, segment_read(dir, list[i]->d_name));
        free(list[i]);
    }
    free(list);
    printf("entries=%llu flushes=%llu entry_bytes=%.0f\n", (unsigned long long)count.entries,
           (unsigned long long)count.flushes,
           count.entries > 0 ? (double)count.bytes / (double)count.entries : 0);
    return 0;
}
