#include "raft/wal/disk_posix.h"

#include "tests/users/support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench {
    char root[64], path[160];
    struct disk_posix disk;
};

static struct bench new_bench(void)
{
    struct bench b;
    snprintf(b.root, sizeof(b.root), "/tmp/rollcall-disk-XXXXXX");
    must(mkdtemp(b.root) != NULL);
    snprintf(b.path, sizeof(b.path), "%s/wal", b.root);
    must(disk_posix_open(&b.disk, b.path) == 0);
    return b;
}

static int remove_name(void *context, const char *name)
{
    struct disk *disk = context;
    return disk->ops->remove(disk, name);
}

static void free_bench(struct bench *b)
{
    must(b->disk.disk.ops->list(&b->disk.disk, remove_name, &b->disk.disk) == 0);
    disk_posix_close(&b->disk);
    must(rmdir(b->path) == 0 && rmdir(b->root) == 0);
}

Test(disk_posix, makes_the_directories_that_are_missing)
{
    char root[] = "/tmp/rollcall-disk-XXXXXX", path[128];
    must(mkdtemp(root) != NULL);
    snprintf(path, sizeof(path), "%s/a//b/c/", root);
    struct disk_posix disk;
    struct stat about;
    must(disk_posix_open(&disk, path) == 0);
    must(stat(path, &about) == 0 && S_ISDIR(about.st_mode) && (about.st_mode & 07) == 0);
    disk_posix_close(&disk);
    static const char *const made[] = {"a/b/c/lock", "a/b/c", "a/b", "a", "."};
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, made[i]);
        (void)!remove(path);
    }
    (void)rmdir(root);
}

Test(disk_posix, is_opened_once)
{
    struct bench b = new_bench();
    struct disk_posix second;
    cr_assert(eq(int, disk_posix_open(&second, b.path), -EWOULDBLOCK));
    pid_t child = fork(); /* another process */
    if (child == 0)
        _exit(disk_posix_open(&second, b.path) == -EWOULDBLOCK ? 0 : 1);
    int status = -1;
    must(waitpid(child, &status, 0) == child);
    cr_assert(eq(int, status, 0));
    disk_posix_close(&b.disk);
    cr_assert(eq(int, disk_posix_open(&b.disk, b.path), 0), "and again when it was closed");
    free_bench(&b);
}

Test(disk_posix, says_why_it_cannot_be_opened)
{
    struct bench b = new_bench();
    struct disk_posix other;
    char path[5000];
    snprintf(path, sizeof(path), "%s/lock", b.path);
    cr_assert(eq(int, disk_posix_open(&other, path), -ENOTDIR), "a file");
    snprintf(path, sizeof(path), "%s/lock/below", b.path);
    cr_assert(eq(int, disk_posix_open(&other, path), -ENOTDIR));
    cr_assert(eq(int, disk_posix_open(&other, ""), -ENAMETOOLONG));
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    cr_assert(eq(int, disk_posix_open(&other, path), -ENAMETOOLONG));
    free_bench(&b);
}

Test(disk_posix, reads_what_was_written_and_says_where_it_ends)
{
    struct bench b = new_bench();
    struct disk *disk = &b.disk.disk;
    int file;
    uint64_t size;
    char back[8];
    cr_assert(eq(int, disk->ops->open(disk, "x", false, &file), -ENOENT));
    must(disk->ops->open(disk, "x", true, &file) == 0);
    must(disk->ops->write(disk, file, 3, "hello", 5) == 0 && disk->ops->sync(disk, file) == 0);
    must(disk->ops->size(disk, file, &size) == 0 && size == 8);
    must(disk->ops->read(disk, file, 0, back, 8) == 0 && memcmp(back, "\0\0\0hello", 8) == 0);
    cr_assert(eq(int, disk->ops->read(disk, file, 1, back, 8), -ENODATA));
    cr_assert(eq(int, disk->ops->read(disk, file, 100, back, 1), -ENODATA));
    must(disk->ops->close(disk, file) == 0);
    must(disk->ops->rename(disk, "x", "y") == 0 && disk->ops->sync_directory(disk) == 0);
    cr_assert(eq(int, disk->ops->open(disk, "x", false, &file), -ENOENT));
    must(disk->ops->open(disk, "y", false, &file) == 0 && disk->ops->close(disk, file) == 0);
    cr_assert(eq(int, disk->ops->remove(disk, "x"), -ENOENT));
    cr_assert(eq(int, disk->ops->rename(disk, "x", "z"), -ENOENT));
    free_bench(&b);
}

/* Whole sectors past the page cache, where the file system takes them; else as before. */
Test(disk_posix, reads_what_was_written_past_the_page_cache)
{
    struct bench b = new_bench();
    struct disk *disk = &b.disk.disk;
    uint8_t *sectors = aligned_alloc(4096, 8192), back[512];
    int file;
    must(disk->ops->open(disk, "direct", true, &file) == 0);
    disk->ops->go_direct(disk, file);
    for (unsigned i = 0; i < 16; i++) {
        memset(sectors, (int)i, 512);
        must(disk->ops->write(disk, file, i * 512, sectors, 512) == 0);
    }
    memset(sectors, 99, 8192);
    must(disk->ops->write(disk, file, 16 * 512, sectors, 8192) == 0);
    must(disk->ops->sync(disk, file) == 0 && disk->ops->close(disk, file) == 0);
    must(disk->ops->open(disk, "direct", false, &file) == 0);
    for (unsigned i = 0; i < 32; i++) {
        must(disk->ops->read(disk, file, i * 512, back, sizeof(back)) == 0);
        must(back[0] == (i < 16 ? i : 99) && back[511] == back[0]);
    }
    must(disk->ops->close(disk, file) == 0);
    free(sectors);
    free_bench(&b);
}

struct names {
    int count;
    int stop_at;
};

static int count_name(void *context, const char *name)
{
    struct names *names = context;
    must(name[0] != '.');
    return ++names->count == names->stop_at ? -77 : 0;
}

Test(disk_posix, lists_every_name_and_stops_when_told)
{
    struct bench b = new_bench();
    struct disk *disk = &b.disk.disk;
    for (int i = 0; i < 300; i++) {
        char name[32];
        int file;
        snprintf(name, sizeof(name), "%016x.wal", (unsigned)i);
        must(disk->ops->open(disk, name, true, &file) == 0 && disk->ops->close(disk, file) == 0);
    }
    struct names all = {.count = 0}, some = {.stop_at = 5};
    cr_assert(eq(int, disk->ops->list(disk, count_name, &all), 0));
    cr_assert(eq(int, all.count, 301), "300 and the lock");
    cr_assert(eq(int, disk->ops->list(disk, count_name, &some), -77));
    cr_assert(eq(int, some.count, 5));
    free_bench(&b);
}
