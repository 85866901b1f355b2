/*
 * recover FILE: a majority of a cluster is lost for good, and this is the disk of a node that is
 * left. What it holds, snapshot and log, becomes a backup, to be restored into a new cluster.
 *
 * All of the log is taken, whether it is known to be committed or not. An entry that was
 * acknowledged is on a majority, so perhaps on this disk without this node having heard that it was
 * committed: leaving it out would lose it. An entry that was never acknowledged may be in it, too:
 * its client was told that the outcome is unknown. What was acknowledged by the lost majority alone
 * is lost, and nobody can say what it was: so the operator says that this is accepted.
 *
 * Where the log is damaged, and there is nobody to ask, what the snapshot in Redis holds is left:
 * --without-log takes that alone, which is committed, and older.
 *
 * The directory is only read (through an overlay, under its lock), but for one line a recovery in
 * its file "recovered": what was taken, and from where on it was not known to be committed.
 */
#include "raft/ctl/ctl.h"

#include "raft/ctl/log.h"
#include "raft/ctl/stored.h"
#include "raft/ctl/target.h"
#include "raft/node/backup.h"
#include "raft/node/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define RECOVERED_NAME "recovered"

struct recovery {
    const struct ctl_arguments *arguments;
    int directory, lock; /* descriptors */
    struct ctl_log log;
    struct users *users;
    raft_term term;                  /* of its last entry */
    struct members members, decoded; /* then; and of an entry, to be judged */
    uint64_t known;                  /* up to here it is the snapshot's, so committed */
    uint64_t commands;               /* taken from the log beyond that */
    bool log_is_behind; /* the snapshot came from another node: of the log nothing is taken */
    char text[700];
};

static int refuse(struct recovery *recovery, int error, const char *text)
{
    if (recovery->text[0] == '\0')
        snprintf(recovery->text, sizeof(recovery->text), "%s", text);
    return error;
}

/* The log of a node that runs moves: the lock says that none does, and keeps it so. */
static int take_lock(struct recovery *recovery)
{
    recovery->directory = open(recovery->arguments->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (recovery->directory < 0)
        return refuse(recovery, -errno, strerror(errno));
    recovery->lock = openat(recovery->directory, "lock", O_RDONLY | O_CLOEXEC);
    if (recovery->lock < 0)
        return refuse(recovery, -errno, "it has no file 'lock': it is no directory of a log");
    if (flock(recovery->lock, LOCK_EX | LOCK_NB) != 0)
        return refuse(recovery, -errno, "a node runs on this log: stop it first");
    return 0;
}

static int open_log(struct recovery *recovery)
{
    int result = ctl_log_open(&recovery->log, recovery->arguments->dir, true);
    if (recovery->arguments->without_log)
        return recovery->log.owned
                   ? 0
                   : refuse(recovery, -EBADMSG, "no segment says whose log it is, or was");
    if (result != 0)
        return refuse(recovery, result,
                      recovery->log.recovered.text[0] != '\0' ? recovery->log.recovered.text
                                                              : strerror(-result));
    if (recovery->log.recovered.fresh)
        return refuse(recovery, -ENODATA, "there is no log in it: nothing to recover");
    return 0;
}

static struct raft_cluster_id cluster_id_of(const struct recovery *recovery)
{
    return recovery->log.wal != NULL ? wal_identity(recovery->log.wal).cluster
                                     : (struct raft_cluster_id){.high = 0};
}

/* Without Redis, or with an empty one, a log that is whole will do. */
static int load_snapshot(struct recovery *recovery)
{
    const char *redis = recovery->arguments->redis;
    char text[512] = "no --redis was given";
    int result = -ENODATA;
    recovery->users = users_new(USERS_ANSWERS_MAX);
    if (redis != NULL)
        result =
            stored_load(redis, recovery->log.cluster, cluster_id_of(recovery), recovery->log.node,
                        recovery->users, &recovery->term, &recovery->members, text, sizeof(text));
    bool log_does = recovery->log.recovered.start.n == 0 && !recovery->arguments->without_log;
    if (result == 0 || (result == -ENODATA && log_does))
        return 0;
    if (result == -ENODATA && recovery->arguments->without_log)
        snprintf(recovery->text, sizeof(recovery->text), "there is no snapshot: %s", text);
    else if (result == -ENODATA)
        snprintf(recovery->text, sizeof(recovery->text),
                 "the log begins after entry %" PRIu64 " and there is no snapshot to it (%s): the "
                 "users before are not here",
                 recovery->log.recovered.start.n, text);
    else
        snprintf(recovery->text, sizeof(recovery->text), "%s (%s)%s", text, redis,
                 log_does ? "; the log holds everything: it does without --redis" : "");
    return result;
}

static int apply(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                 struct bytes payload)
{
    struct recovery *recovery = context;
    struct users_request request;
    recovery->term = term;
    if ((kind == RAFT_COMMAND && users_request_decode(payload, &request) != 0) ||
        (kind == RAFT_CONFIGURATION && members_decode(payload, &recovery->decoded) != 0)) {
        snprintf(recovery->text, sizeof(recovery->text),
                 "entry %" PRIu64 " was written by a newer version of Rollcall: recover with that",
                 index.n);
        return -EPROTONOSUPPORT;
    }
    if (kind == RAFT_CONFIGURATION)
        recovery->members = recovery->decoded;
    if (kind != RAFT_COMMAND) {
        users_skip(recovery->users, index.n);
        return 0;
    }
    (void)users_apply(recovery->users, index.n, &request);
    recovery->commands++;
    return 0;
}

static int note_term(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                     struct bytes payload)
{
    (void)index, (void)kind, (void)payload;
    *(raft_term *)context = term;
    return 0;
}

/* The log holds the snapshot's last entry: what follows it in the log follows it. */
static int log_goes_on(struct recovery *recovery, raft_index state, bool *ret_goes_on)
{
    const struct wal_recovered *recovered = &recovery->log.recovered;
    raft_term term = recovered->start_term;
    *ret_goes_on = false;
    if (index_less(state, recovered->start) || index_less(recovered->last, state))
        return 0;
    int result = index_equal(state, recovered->start)
                     ? 0
                     : wal_read(recovery->log.wal, state, state, note_term, &term);
    *ret_goes_on = result == 0 && (state.n == 0 || term_equal(term, recovery->term));
    return result;
}

static int replay(struct recovery *recovery)
{
    const struct wal_recovered *recovered = &recovery->log.recovered;
    raft_index state = {users_meta(recovery->users).index};
    recovery->known = state.n;
    if (recovery->arguments->without_log)
        return 0;
    if (index_less(state, recovered->start)) {
        snprintf(recovery->text, sizeof(recovery->text),
                 "the log begins after entry %" PRIu64 " and the snapshot in Redis ends at %" PRIu64
                 ": what is between is not here",
                 recovered->start.n, state.n);
        return -ESTALE;
    }
    bool goes_on;
    int result = log_goes_on(recovery, state, &goes_on);
    recovery->log_is_behind = result == 0 && !goes_on;
    if (result == 0 && goes_on && index_less(state, recovered->last))
        result = wal_read(recovery->log.wal, index_next(state), recovered->last, apply, recovery);
    if (result == 0 && users_meta(recovery->users).index == 0)
        return refuse(recovery, -ENODATA, "the log has no entry: nothing to recover");
    return result == 0 ? 0 : refuse(recovery, result, "the log cannot be read back");
}

/* --- what was taken --------------------------------------------------------------------------- */

static void describe(const struct recovery *recovery, char *ret_text, size_t size)
{
    struct users_meta meta = users_meta(recovery->users);
    char unknown[96] = "none";
    if (meta.index > recovery->known)
        snprintf(unknown, sizeof(unknown), "%" PRIu64 "-%" PRIu64, recovery->known + 1, meta.index);
    snprintf(ret_text, size,
             "file=%s dir=%s cluster=%s node=%" PRIu64 " last_term=%" PRIu64 " last_index=%" PRIu64
             " users=%" PRIu64 " answers=%" PRIu64 " snapshot_index=%" PRIu64
             " not_known_committed=%s commands_of_these=%" PRIu64 "%s",
             recovery->arguments->path, recovery->arguments->dir, recovery->log.cluster,
             recovery->log.node, recovery->term.n, meta.index, meta.users,
             meta.answers_next - meta.answers_first, recovery->known, unknown, recovery->commands,
             recovery->arguments->without_log ? " log=left_out"
             : recovery->log_is_behind        ? " log=older_than_the_snapshot"
                                              : "");
}

/* One durable line in the directory, before the file gets its name. */
static int keep_record(struct recovery *recovery, const char *description)
{
    char line[2048], when[64];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
    int len = snprintf(line, sizeof(line), "time=%s event=recovered %s\n", when, description);
    if (len < 0 || (size_t)len >= sizeof(line))
        return -ENAMETOOLONG;
    int file = openat(recovery->directory, RECOVERED_NAME,
                      O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0)
        return -errno;
    errno = EIO; /* of a write that was cut short */
    int result = write(file, line, (size_t)len) == len && fsync(file) == 0 ? 0 : -errno;
    close(file);
    if (result == 0 && fsync(recovery->directory) != 0)
        result = -errno;
    return result;
}

static int write_backup(struct recovery *recovery, struct target *target)
{
    struct backup_writer writer = {.write = target_write, .context = target};
    uint8_t at[MEMBERS_BYTES_MAX];
    struct writer members = writer_of(at, sizeof(at));
    if (recovery->members.count > 0)
        members_put(&members, &recovery->members);
    struct users_view *view = users_pin(recovery->users);
    struct backup_head head = {
        .cluster = bytes_of_text(recovery->log.cluster),
        .node = recovery->log.node,
        .made_ms = (uint64_t)time(NULL) * 1000,
        .index = users_view_meta(view).index,
        .term = recovery->term.n,
        .known = recovery->known,
        .members = writer_bytes(&members),
    };
    int result = backup_save(&writer, view, &head);
    users_unpin(view);
    return result;
}

static int save(struct recovery *recovery, const char *description)
{
    struct target target;
    int result = target_open(&target, recovery->arguments->path);
    if (result != 0)
        return refuse(recovery, result, target_text(result));
    result = write_backup(recovery, &target);
    if (result == 0)
        result = keep_record(recovery, description);
    if (result == 0)
        result = target_finish(&target);
    else
        target_abandon(&target);
    return result == 0 ? 0 : refuse(recovery, result, target_text(result));
}

static int recover(struct recovery *recovery, char *ret_description, size_t size)
{
    int result = take_lock(recovery);
    if (result == 0)
        result = open_log(recovery);
    if (result == 0)
        result = load_snapshot(recovery);
    if (result == 0)
        result = replay(recovery);
    if (result != 0)
        return result;
    describe(recovery, ret_description, size);
    return recovery->arguments->accept_loss ? save(recovery, ret_description) : 0;
}

static void tidy_up(struct recovery *recovery)
{
    users_free(recovery->users);
    if (recovery->log.overlay != NULL)
        ctl_log_close(&recovery->log);
    if (recovery->lock >= 0)
        close(recovery->lock);
    if (recovery->directory >= 0)
        close(recovery->directory);
}

enum ctl_exit ctl_recover(const struct ctl_arguments *arguments)
{
    static struct recovery recovery;
    recovery = (struct recovery){.arguments = arguments, .directory = -1, .lock = -1};
    char description[1800] = "";
    enum ctl_exit code = CTL_DONE;
    int result = recover(&recovery, description, sizeof(description));
    if (result != 0) {
        for (char *c = recovery.text; *c != '\0'; c++)
            *c = *c == '"' ? '\'' : *c;
        diag("recover_refused", "dir=%s text=\"%s\"", arguments->dir, recovery.text);
        code = result == -EBADMSG ? CTL_DAMAGED : CTL_FAILED;
    } else if (!arguments->accept_loss) {
        diag(
            "would_recover",
            "%s text=\"nothing was written. Ask every node that is left, take the one of the "
            "highest last_term, among these of the highest last_index, and say --accept-loss: what "
            "only the lost nodes had is lost\"",
            description);
        code = CTL_FAILED;
    } else {
        diag("recovered", "%s", description);
    }
    tidy_up(&recovery);
    return code;
}
