#include "raft/ctl/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int open_parent(const char *path, const char **ret_name)
{
    char parent[TARGET_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    *ret_name = slash == NULL ? path : slash + 1;
    if (len >= sizeof(parent) || strlen(*ret_name) >= TARGET_PATH_BYTES)
        return -ENAMETOOLONG;
    if (**ret_name == '\0')
        return -EISDIR;
    memcpy(parent, path, len);
    parent[len] = '\0';
    const char *where = slash == NULL ? "." : len == 0 ? "/" : parent;
    int directory = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return directory >= 0 ? directory : -errno;
}

int target_open(struct target *target, const char *path)
{
    const char *name;
    int directory = open_parent(path, &name);
    if (directory < 0)
        return directory;
    *target = (struct target){.directory = directory, .file = -1};
    snprintf(target->name, sizeof(target->name), "%s", name);
    snprintf(target->temporary, sizeof(target->temporary), "%s.tmp", name);
    target->file = openat(directory, target->temporary, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int result = target->file >= 0 ? 0 : -errno;
    if (result == 0 && flock(target->file, LOCK_EX | LOCK_NB) != 0)
        result = -errno;
    if (result == 0 && ftruncate(target->file, 0) != 0)
        result = -errno;
    if (result == 0)
        return 0;
    if (target->file >= 0)
        close(target->file);
    close(directory);
    return result;
}

int target_write(void *context, struct bytes bytes)
{
    struct target *target = context;
    while (bytes.len > 0) {
        ssize_t put = write(target->file, bytes.at, bytes.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        bytes = bytes_of(bytes.at + put, bytes.len - (size_t)put);
        target->bytes += (uint64_t)put;
    }
    return 0;
}

static void close_both(struct target *target)
{
    close(target->file);
    close(target->directory);
}

int target_finish(struct target *target)
{
    int result = fsync(target->file) == 0 ? 0 : -errno;
    if (result == 0 &&
        renameat(target->directory, target->temporary, target->directory, target->name) != 0)
        result = -errno;
    if (result == 0 && fsync(target->directory) != 0)
        result = -errno;
    if (result != 0)
        (void)unlinkat(target->directory, target->temporary, 0);
    close_both(target);
    return result;
}

void target_abandon(struct target *target)
{
    (void)unlinkat(target->directory, target->temporary, 0);
    close_both(target);
}
