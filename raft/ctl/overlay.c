#include "raft/ctl/overlay.h"

#include "raft/wal/hard_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PIECE_BYTES  4096u
#define NEWEST_FIRST 3u /* segments that a node may be writing to, and a few more */

/* A file, by whatever name. Its number on the disk is its place among them. */
struct overlay_file {
    char *name; /* NULL: removed */
    int fd;     /* of what is on the disk; open while `opens` is not 0 */
    uint32_t opens;
    bool copied; /* what counts is in memory: */
    uint8_t *bytes;
    uint64_t size;
};

struct overlay {
    struct disk disk;
    int directory;
    size_t count;
    struct overlay_file *file;
};

static struct overlay *overlay_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct overlay, disk);
}

static struct overlay_file *file_of(struct disk *disk, int number)
{
    struct overlay *overlay = overlay_of(disk);
    assert(number >= 0 && (size_t)number < overlay->count);
    return &overlay->file[number];
}

/* -1: there is none. */
static int find(const struct overlay *overlay, const char *name)
{
    for (size_t i = 0; i < overlay->count; i++) {
        if (overlay->file[i].name != NULL && strcmp(overlay->file[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int add(struct overlay *overlay, const char *name)
{
    struct overlay_file *larger =
        reallocarray(overlay->file, overlay->count + 1, sizeof(*overlay->file));
    if (larger == NULL)
        return -ENOMEM;
    overlay->file = larger;
    char *copy = strdup(name);
    if (copy == NULL)
        return -ENOMEM;
    overlay->file[overlay->count] = (struct overlay_file){.name = copy, .fd = -1};
    return (int)overlay->count++;
}

static void forget_name(struct overlay_file *file)
{
    free(file->name);
    file->name = NULL;
}

/* --- disk_ops --------------------------------------------------------------------------------- */

static int open_file(struct disk *disk, const char *name, bool create, int *ret_file)
{
    struct overlay *overlay = overlay_of(disk);
    int number = find(overlay, name);
    if (number < 0 && !create)
        return -ENOENT;
    if (number < 0) {
        number = add(overlay, name);
        if (number < 0)
            return number;
        overlay->file[number].copied = true;
    }
    struct overlay_file *file = &overlay->file[number];
    if (!file->copied && file->opens == 0) {
        file->fd = openat(overlay->directory, name, O_RDONLY | O_CLOEXEC);
        if (file->fd < 0)
            return -errno;
    }
    file->opens++;
    *ret_file = number;
    return 0;
}

static int close_file(struct disk *disk, int number)
{
    struct overlay_file *file = file_of(disk, number);
    assert(file->opens > 0);
    file->opens--;
    if (file->opens == 0 && file->fd >= 0) {
        close(file->fd);
        file->fd = -1;
    }
    return 0;
}

static void go_direct(struct disk *disk, int number)
{
    (void)disk, (void)number;
}

static int size_of(struct disk *disk, int number, uint64_t *ret_size)
{
    const struct overlay_file *file = file_of(disk, number);
    struct stat about;
    if (!file->copied && fstat(file->fd, &about) != 0)
        return -errno;
    *ret_size = file->copied ? file->size : (uint64_t)about.st_size;
    return 0;
}

static int read_on_disk(const struct overlay_file *file, uint64_t offset, uint8_t *at, size_t len)
{
    while (len > 0) {
        ssize_t got = pread(file->fd, at, len, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -ENODATA;
        at += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

static int read_file(struct disk *disk, int number, uint64_t offset, void *ret_bytes, size_t len)
{
    const struct overlay_file *file = file_of(disk, number);
    if (!file->copied)
        return read_on_disk(file, offset, ret_bytes, len);
    if (offset > file->size || len > file->size - offset)
        return -ENODATA;
    if (len > 0)
        memcpy(ret_bytes, file->bytes + offset, len);
    return 0;
}

/*
 * From its end to its beginning: a node that runs appends, so what speaks of what came before it is
 * read before that.
 */
static int read_backwards(const struct overlay_file *file, uint8_t *at, size_t size)
{
    int result = 0;
    for (size_t end = size; result == 0 && end > 0;) {
        size_t from = end > PIECE_BYTES ? (end - 1) / PIECE_BYTES * PIECE_BYTES : 0;
        result = read_on_disk(file, from, at + from, end - from);
        end = from;
    }
    return result;
}

/* Makes room in memory, zeros where nothing was. */
static int grow(struct overlay_file *file, uint64_t size)
{
    if (size <= file->size)
        return 0;
    uint8_t *larger = size <= SIZE_MAX ? realloc(file->bytes, (size_t)size) : NULL;
    if (larger == NULL)
        return -ENOMEM;
    memset(larger + file->size, 0, (size_t)(size - file->size));
    file->bytes = larger;
    file->size = size;
    return 0;
}

static int copy(struct disk *disk, int number)
{
    struct overlay_file *file = file_of(disk, number);
    uint64_t size = 0;
    if (file->copied)
        return 0;
    int result = size_of(disk, number, &size);
    if (result == 0)
        result = grow(file, size);
    if (result == 0)
        result = read_backwards(file, file->bytes, (size_t)size);
    file->copied = result == 0;
    return result;
}

static int write_file(struct disk *disk, int number, uint64_t offset, const void *bytes, size_t len)
{
    struct overlay_file *file = file_of(disk, number);
    int result = copy(disk, number);
    if (result == 0)
        result = grow(file, offset + len);
    if (result == 0 && len > 0)
        memcpy(file->bytes + offset, bytes, len);
    return result;
}

static int sync_file(struct disk *disk, int number)
{
    (void)disk, (void)number;
    return 0;
}

static int remove_name(struct disk *disk, const char *name)
{
    struct overlay *overlay = overlay_of(disk);
    int number = find(overlay, name);
    if (number < 0)
        return -ENOENT;
    forget_name(&overlay->file[number]);
    return 0;
}

/* What is open under its old name is in memory: only what was made here is renamed. */
static int rename_file(struct disk *disk, const char *from, const char *to)
{
    struct overlay *overlay = overlay_of(disk);
    int number = find(overlay, from);
    char *name = number < 0 ? NULL : strdup(to);
    if (name == NULL)
        return number < 0 ? -ENOENT : -ENOMEM;
    assert(overlay->file[number].copied);
    (void)remove_name(disk, to);
    forget_name(&overlay->file[number]);
    overlay->file[number].name = name;
    return 0;
}

static int sync_directory(struct disk *disk)
{
    (void)disk;
    return 0;
}

static int list(struct disk *disk, int (*each)(void *context, const char *name), void *context)
{
    const struct overlay *overlay = overlay_of(disk);
    int result = 0;
    for (size_t i = 0; result == 0 && i < overlay->count; i++) {
        if (overlay->file[i].name != NULL)
            result = each(context, overlay->file[i].name);
    }
    return result;
}

static const struct disk_ops overlay_ops = {
    .open = open_file,
    .close = close_file,
    .go_direct = go_direct,
    .size = size_of,
    .read = read_file,
    .write = write_file,
    .sync = sync_file,
    .rename = rename_file,
    .remove = remove_name,
    .sync_directory = sync_directory,
    .list = list,
};

/* --- open, close ------------------------------------------------------------------------------ */

static int add_names(struct overlay *overlay)
{
    int fd = openat(overlay->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        int error = -errno;
        close(fd);
        return error;
    }
    int result = 0;
    struct dirent *entry;
    for (errno = 0; result >= 0 && (entry = readdir(directory)) != NULL; errno = 0) {
        if (entry->d_name[0] != '.' && find(overlay, entry->d_name) < 0)
            result = add(overlay, entry->d_name);
    }
    if (result >= 0)
        result = -errno;
    closedir(directory);
    return result;
}

static int keep(struct overlay *overlay, const char *name)
{
    int number = -1, result = open_file(&overlay->disk, name, false, &number);
    if (result != 0)
        return result;
    result = copy(&overlay->disk, number);
    (void)close_file(&overlay->disk, number);
    return result;
}

static bool is_segment(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && strcmp(name + len - 4, ".wal") == 0;
}

/* The newest segment older than that of this name; NULL when there is none. */
static const char *segment_before(const struct overlay *overlay, const char *name)
{
    const char *newest = NULL;
    for (size_t i = 0; i < overlay->count; i++) {
        const char *one = overlay->file[i].name;
        if (is_segment(one) && (name == NULL || strcmp(one, name) < 0) &&
            (newest == NULL || strcmp(one, newest) > 0))
            newest = one;
    }
    return newest;
}

/*
 * A node may be writing: what speaks of other places is read before them. First the hard state,
 * which names a segment, then the names, then the newest segments, each from its end.
 */
static int read_in_order(struct overlay *overlay)
{
    int result = add(overlay, HARD_STATE_FILE);
    if (result >= 0)
        result = keep(overlay, HARD_STATE_FILE);
    if (result == -ENOENT) {
        forget_name(&overlay->file[0]);
        overlay->count = 0;
        result = 0;
    }
    if (result == 0)
        result = add_names(overlay);
    const char *name = NULL;
    for (uint32_t i = 0; result == 0 && i < NEWEST_FIRST; i++) {
        name = segment_before(overlay, name);
        if (name == NULL)
            break;
        result = keep(overlay, name);
        if (result == -ENOENT) /* it was the oldest, and has gone since */
            result = 0;
    }
    return result;
}

int overlay_open(const char *path, struct overlay **ret_overlay)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -errno;
    struct overlay *overlay = calloc(1, sizeof(*overlay));
    if (overlay == NULL) {
        close(directory);
        return -ENOMEM;
    }
    overlay->disk.ops = &overlay_ops;
    overlay->directory = directory;
    int result = read_in_order(overlay);
    if (result != 0) {
        overlay_close(overlay);
        return result;
    }
    *ret_overlay = overlay;
    return 0;
}

struct disk *overlay_disk(struct overlay *overlay)
{
    return &overlay->disk;
}

void overlay_close(struct overlay *overlay)
{
    if (overlay == NULL)
        return;
    for (size_t i = 0; i < overlay->count; i++) {
        struct overlay_file *file = &overlay->file[i];
        if (file->fd >= 0)
            close(file->fd);
        free(file->name);
        free(file->bytes);
    }
    close(overlay->directory);
    free(overlay->file);
    free(overlay);
}

/* --- who runs --------------------------------------------------------------------------------- */

static bool is_node(pid_t pid)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool read = fgets(name, sizeof(name), file) != NULL;
    fclose(file);
    return read && strncmp(name, "rollcall-node", 13) == 0;
}

/*
 * Asked of the kernel's list and not by trying the lock: a node that starts at that moment would
 * find it taken. (File systems in layers tell another device than stat: then the name counts.)
 */
pid_t overlay_holder(const char *path)
{
    char name[4096], line[256];
    struct stat about;
    int len = snprintf(name, sizeof(name), "%s/lock", path);
    if (len < 0 || (size_t)len >= sizeof(name) || stat(name, &about) != 0)
        return 0;
    FILE *locks = fopen("/proc/locks", "re");
    pid_t holder = 0;
    while (locks != NULL && holder == 0 && fgets(line, sizeof(line), locks) != NULL) {
        long pid;
        unsigned major_number, minor_number;
        uint64_t inode;
        if (sscanf(line, "%*s FLOCK %*s %*s %ld %x:%x:%" SCNu64, &pid, &major_number, &minor_number,
                   &inode) != 4 ||
            inode != (uint64_t)about.st_ino)
            continue;
        bool same = major_number == major(about.st_dev) && minor_number == minor(about.st_dev);
        if (same || is_node((pid_t)pid))
            holder = (pid_t)pid;
    }
    if (locks != NULL)
        fclose(locks);
    return holder;
}
