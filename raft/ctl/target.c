#include "raft/ctl/target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
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

static int open_standard_output(struct target *target)
{
    if (isatty(STDOUT_FILENO))
        return -ENOTTY;
    *target = (struct target){.directory = -1, .file = dup(STDOUT_FILENO)};
    return target->file >= 0 ? 0 : -errno;
}

/* What stands there already may be replaced: a regular file, or nothing. */
static int judge_old(int directory, const char *name)
{
    struct stat stat;
    if (fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (S_ISDIR(stat.st_mode))
        return -EISDIR;
    return S_ISREG(stat.st_mode) ? 0 : -EMLINK;
}

int target_open(struct target *target, const char *path)
{
    const char *name;
    uint64_t random;
    if (strcmp(path, "-") == 0)
        return open_standard_output(target);
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -errno;
    int directory = open_parent(path, &name);
    if (directory < 0)
        return directory;
    *target = (struct target){.directory = directory, .file = -1};
    snprintf(target->name, sizeof(target->name), "%s", name);
    snprintf(target->temporary, sizeof(target->temporary), ".%s.%016" PRIx64, name, random);
    int result = judge_old(directory, name);
    if (result == 0)
        target->file = openat(directory, target->temporary,
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (result == 0 && target->file < 0)
        result = -errno;
    if (result != 0)
        close(directory);
    return result;
}

const char *target_text(int error)
{
    switch (error) {
    case -EMLINK:
        return "FILE is a link, a device or a pipe, and only a regular file is replaced; - is "
               "standard output";
    case -ENOTTY:
        return "standard output is a terminal: send it into a file or a pipe";
    default:
        return strerror(-error);
    }
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
    if (target->directory >= 0)
        close(target->directory);
}

int target_finish(struct target *target)
{
    int result = fsync(target->file) == 0 ? 0 : -errno;
    if (target->directory < 0) {
        close(target->file);
        return result == -EINVAL || result == -EROFS ? 0 : result; /* a pipe keeps nothing */
    }
    if (result == 0)
        result = judge_old(target->directory, target->name);
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
    if (target->directory >= 0)
        (void)unlinkat(target->directory, target->temporary, 0);
    close_both(target);
}
