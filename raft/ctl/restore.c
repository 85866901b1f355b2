/*
 * restore FILE: makes the directory of a node's log, with nothing in it but the backup under the
 * name that a node looks for at its first start. The new cluster has a name of its own, so that no
 * node of the old one, with all that it remembers, can ever take part in it.
 */
#include "raft/ctl/ctl.h"

#include "raft/ctl/target.h"
#include "raft/node/backup.h"
#include "raft/node/diag.h"
#include "raft/wal/disk_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum ctl_exit refused(const struct ctl_arguments *arguments, const char *text)
{
    diag("restore_refused", "file=%s dir=%s text=\"%s; nothing was changed\"", arguments->path,
         arguments->dir, text);
    return CTL_FAILED;
}

/* The name of something that is there beside "lock"; empty when nothing is. */
static int find_anything(const char *path, char *ret_name, size_t size)
{
    ret_name[0] = '\0';
    DIR *directory = opendir(path);
    if (directory == NULL)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *entry; ret_name[0] == '\0' && (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lock") != 0)
            snprintf(ret_name, size, "%s", entry->d_name);
    }
    closedir(directory);
    return 0;
}

/* The same blocks, under a head that names the new cluster. */
static int copy(int file, struct target *target, const char *cluster)
{
    struct backup_writer writer = {.write = target_write, .context = target};
    struct backup_reader reader;
    int result = backup_open(&reader, backup_read_file, &file);
    struct backup_head head = reader.head;
    head.cluster = bytes_of_text(cluster);
    if (result == 0)
        result = backup_begin(&writer, &head);
    while (result == 0) {
        struct backup_block block;
        result = backup_next(&reader, &block);
        if (result == 0)
            result = backup_block(&writer, block.type, block.payload);
    }
    backup_done(&reader);
    return result == -ENODATA ? backup_finish(&writer) : result;
}

static int put_restore(const struct ctl_arguments *arguments)
{
    char path[TARGET_PATH_BYTES];
    struct target target;
    int len = snprintf(path, sizeof(path), "%s/%s", arguments->dir, BACKUP_RESTORE_NAME);
    if (len < 0 || (size_t)len >= sizeof(path))
        return -ENAMETOOLONG;
    int file = open(arguments->path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int result = target_open(&target, path);
    if (result == 0) {
        result = copy(file, &target, arguments->cluster);
        if (result == 0)
            result = target_finish(&target);
        else
            target_abandon(&target);
    }
    close(file);
    return result;
}

static enum ctl_exit restore(const struct ctl_arguments *arguments, const struct backup_head *head)
{
    char name[256], text[512];
    struct disk_posix disk;
    int result = find_anything(arguments->dir, name, sizeof(name));
    if (result == 0 && name[0] != '\0') {
        snprintf(text, sizeof(text),
                 "the directory has a file '%s': a node begins in a directory that is empty or not "
                 "there",
                 name);
        return refused(arguments, text);
    }
    if (result == 0)
        result = disk_posix_open(&disk, arguments->dir);
    if (result == -EWOULDBLOCK)
        return refused(arguments, "a node runs in this directory");
    if (result != 0)
        return refused(arguments, strerror(-result));
    result = put_restore(arguments);
    disk_posix_close(&disk);
    if (result != 0)
        return refused(arguments, result == -EBADMSG ? "the file changed while it was read"
                                                     : strerror(-result));
    diag("restore_ready",
         "dir=%s cluster=%s index=%" PRIu64 " users=%" PRIu64
         " text=\"do the same for each node of the new cluster, then start them all with --cluster "
         "%s\"",
         arguments->dir, arguments->cluster, head->index, head->users, arguments->cluster);
    return CTL_DONE;
}

enum ctl_exit ctl_restore(const struct ctl_arguments *arguments)
{
    struct users *users = users_new(USERS_ANSWERS_MAX);
    struct backup_head head;
    struct backup_names names;
    char text[256];
    int result =
        backup_load_file(AT_FDCWD, arguments->path, users, &head, &names, text, sizeof(text));
    users_free(users);
    if (result == -EBADMSG) {
        (void)refused(arguments, text);
        return CTL_DAMAGED;
    }
    if (result != 0)
        return refused(arguments, strerror(-result));
    if (strcmp(names.cluster, arguments->cluster) == 0)
        return refused(arguments,
                       "the backup is of a cluster of this very name: a node of it that "
                       "still has its log could join the new one; choose a new --cluster");
    return restore(arguments, &head);
}
