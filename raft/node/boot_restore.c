/*
 * A node's first start from a backup: `rollcallctl restore` put it into the directory of a log that
 * is not there yet, under the name of this cluster. In this order, so that a crash anywhere finds
 * either all of it still to do, or done:
 *
 *   1. The file is read, all of it. Redis must hold nothing of this node (or this very state: the
 *      last start got so far).
 *   2. The state is saved in Redis, durable.
 *   3. The log begins after the state's last entry, by replica_start, durable.
 *   4. The file is removed.
 *
 * The state's index and next id move far up first (users_begin_life): the old cluster may have gone
 * on after the backup, and its clients hold ids, ETags and indexes that must never mean something
 * else. How far depends on the file's head, which names the new cluster: all its nodes move alike,
 * and a cluster of another name that begins with the same file moves elsewhere.
 *
 * It is no licence to forget: a node of more than one is recovering (core/raft.h) until it has
 * heard from every other that its log, too, ends where the backup does, or never began.
 */
#include "raft/base/siphash.h"
#include "raft/node/backup.h"
#include "raft/node/diag.h"
#include "raft/node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void refuse(struct node *node, const char *why)
{
    char text[700];
    snprintf(text, sizeof(text), "%s/" BACKUP_RESTORE_NAME " cannot be restored: %s",
             node->config.dir, why);
    node_refuse_start(node, text);
}

/* The log is what a start that did not get to the end leaves behind, or newer. */
static bool log_is_new(const struct node *node)
{
    const struct wal_recovered *recovered = &node->recovered;
    return recovered->start.n == 0 && recovered->last.n == 0 &&
           recovered->hard.term.n <= node->restore.term.n && !recovered->hard.voted;
}

static int remove_file(struct node *node)
{
    struct disk *disk = &node->disk.disk;
    int result = disk->ops->remove(disk, BACKUP_RESTORE_NAME);
    return result == 0 ? disk->ops->sync_directory(disk) : result;
}

static int complain(const struct node *node, int error, const char *why)
{
    fprintf(stderr, "rollcall-node: %s/" BACKUP_RESTORE_NAME " cannot be restored: %s\n",
            node->config.dir, why);
    return error;
}

static uint64_t seed_of(const struct backup_head *head)
{
    static const struct siphash_key key = {.low = 0x726f6c6c63616c6c, .high = 0x6c696665};
    uint8_t at[BACKUP_HEAD_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    backup_head_encode(&out, head);
    return siphash(key, writer_bytes(&out));
}

int boot_restore_find(struct node *node)
{
    struct restore *restore = &node->restore;
    struct backup_head head;
    struct backup_names names;
    char why[256];
    if (faccessat(node->disk.directory, BACKUP_RESTORE_NAME, F_OK, 0) != 0)
        return errno == ENOENT ? 0 : complain(node, -errno, strerror(errno));
    struct users *users = users_new(USERS_ANSWERS_MAX);
    int result = backup_load_file(node->disk.directory, BACKUP_RESTORE_NAME, users, &head, &names,
                                  why, sizeof(why));
    if (result == 0 && strcmp(names.cluster, node->config.cluster) != 0) {
        snprintf(why, sizeof(why), "it is for cluster '%s': start with that --cluster",
                 names.cluster);
        result = -EBADMSG;
    }
    if (result == 0 && !users_begin_life(users, seed_of(&head))) {
        snprintf(why, sizeof(why), "no ids are left for another life of this directory");
        result = -EBADMSG;
    }
    if (result != 0) {
        users_free(users);
        return complain(node, result, result == -EBADMSG ? why : strerror(-result));
    }
    restore->users = users;
    restore->term.n = head.term;
    restore->meta = users_meta(users);
    return 0;
}

int boot_restore_judge(struct node *node)
{
    struct restore *restore = &node->restore;
    if (restore->users == NULL)
        return 0;
    if (node->recovered.start.n >= restore->meta.index) { /* done before; only the file is left */
        users_free(restore->users);
        restore->users = NULL;
        int result = remove_file(node);
        return result == 0 ? 0 : complain(node, result, strerror(-result));
    }
    if (!log_is_new(node))
        return complain(node, -EBADMSG, "the log beside it is not new; take one of the two away");
    diag("restoring", "index=%" PRIu64 " term=%" PRIu64 " users=%" PRIu64, restore->meta.index,
         restore->term.n, restore->meta.users);
    return 0;
}

bool boot_restores(const struct node *node)
{
    return node->restore.users != NULL || node->restore.held;
}

/* Nobody: the restored cluster is founded by its first entry (core/raft.h, FOUNDING). */
static struct members nobody_yet(const struct config *config)
{
    raft_node_id self = {config->id};
    return members_of(&self, 1);
}

void boot_restore_save(struct node *node)
{
    struct restore *restore = &node->restore;
    struct members members = nobody_yet(&node->config);
    node->saving_since_ms = node_now_ms(NULL);
    snapshots_save(node->snapshots, users_pin(restore->users), restore->term, &members);
}

bool boot_restore_is_held(struct node *node)
{
    struct restore *restore = &node->restore;
    struct users_meta held = users_meta(node->loading), meta = restore->meta;
    if (held.index != meta.index || held.digest != meta.digest || held.next_id != meta.next_id ||
        !term_equal(snapshots_loaded_term(node->snapshots), restore->term)) {
        refuse(node, "Redis holds a snapshot of another state for this node: nothing is "
                     "overwritten; choose another --cluster, or empty that Redis");
        return false;
    }
    users_free(restore->users);
    restore->users = NULL;
    restore->held = true;
    return true;
}

void boot_restore_saved(struct node *node)
{
    struct restore *restore = &node->restore;
    users_free(node->loading);
    node->loading = restore->users;
    restore->users = NULL;
    restore->held = true;
}

struct replica_state boot_restore_state(struct node *node)
{
    return (struct replica_state){
        .users = node->loading,
        .term = node->restore.term,
        .members = nobody_yet(&node->config),
        .restored = true,
    };
}

bool boot_restore_done(struct node *node)
{
    int result = remove_file(node);
    node->restore.held = false;
    if (result != 0) {
        char text[700];
        snprintf(text, sizeof(text),
                 "%s/" BACKUP_RESTORE_NAME " is restored and cannot be removed: %s",
                 node->config.dir, strerror(-result));
        node_refuse_start(node, text);
        return false;
    }
    diag("restored", "index=%" PRIu64 " term=%" PRIu64 " users=%" PRIu64, node->restore.meta.index,
         node->restore.term.n, node->restore.meta.users);
    return true;
}
