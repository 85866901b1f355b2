/*
 * The addresses of the members, remembered: the file "members" beside the log holds the list that
 * this node's cluster was founded with, as --members has it, and its checksum. Who votes is in the
 * hard state (replica/identity.c); this file only says where to call. A start that finds it takes
 * the list from it, whatever the options say.
 */
#include "raft/base/crc32c.h"
#include "raft/node/diag.h"
#include "raft/node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MEMBERS_FILE "members"

static uint32_t checksum(const char *members)
{
    return crc32c(0, bytes_of_text(members));
}

/* -ENOENT: there is none. -EBADMSG: it is damaged. */
static int read_file(struct node *node)
{
    char line[sizeof(node->members) + 32];
    unsigned crc;
    int at = 0;
    int file = openat(node->disk.directory, MEMBERS_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return -errno;
    ssize_t len = read(file, line, sizeof(line) - 1);
    int error = errno;
    close(file);
    if (len < 0)
        return -error;
    line[len] = '\0';
    if (sscanf(line, "crc=%8x members=%n", &crc, &at) != 1 || at == 0 || line[len - 1] != '\n')
        return -EBADMSG;
    line[len - 1] = '\0';
    if (strlen(line + at) >= sizeof(node->members) || checksum(line + at) != crc)
        return -EBADMSG;
    snprintf(node->members, sizeof(node->members), "%s", line + at);
    return 0;
}

int boot_members_read(struct node *node)
{
    struct config *config = &node->config;
    int result = read_file(node);
    if (result == -ENOENT)
        return 0;
    if (result != 0) {
        diag("members_damaged",
             "text=\"%s/" MEMBERS_FILE " cannot be read (%s): the addresses are "
             "those of --members\"",
             config->dir, strerror(-result));
        return 0;
    }
    node->members_kept = true;
    if (strcmp(node->members, config->members) == 0)
        return 0;
    diag("members_ignored",
         "text=\"the members of this node's cluster are %s: --members only founds a cluster\"",
         node->members);
    return config_take_members(config, node->members) ? 0 : -EINVAL;
}

static int write_file(const struct node *node)
{
    char line[sizeof(node->members) + 32];
    int len = snprintf(line, sizeof(line), "crc=%08" PRIx32 " members=%s\n",
                       checksum(node->config.members), node->config.members);
    if (len < 0 || (size_t)len >= sizeof(line))
        return -ENAMETOOLONG;
    int directory = node->disk.directory;
    int file = openat(directory, MEMBERS_FILE ".tmp",
                      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return -errno;
    errno = EIO; /* of a write that was cut short */
    int result = write(file, line, (size_t)len) == len && fsync(file) == 0 ? 0 : -errno;
    close(file);
    if (result == 0 && renameat(directory, MEMBERS_FILE ".tmp", directory, MEMBERS_FILE) != 0)
        result = -errno;
    if (result == 0 && fsync(directory) != 0)
        result = -errno;
    return result;
}

void boot_members_keep(struct node *node)
{
    struct record_identity identity = replica_identity(node->replica);
    if (node->members_kept || !cluster_id_known(identity.cluster))
        return;
    node->members_kept = true; /* tried once a life: without it a start needs --members */
    if (node->config.member_count <= 1 || node->config.member_count != identity.members)
        return;
    int result = write_file(node);
    if (result != 0)
        diag("members_unkept", "text=\"%s/" MEMBERS_FILE " cannot be written: %s\"",
             node->config.dir, strerror(-result));
}

void boot_members_judge(struct node *node)
{
    struct record_identity identity = replica_identity(node->replica);
    if (!replica_members_ignored(node->replica))
        return;
    diag("members_ignored",
         "text=\"this directory is that of a node of a cluster of %" PRIu32
         " other members: --members only founds a cluster\"",
         identity.members);
    if (identity.members == 1) {
        peers_free(node->peers);
        node->peers = NULL;
        node->config.member_count = 0;
    }
}
