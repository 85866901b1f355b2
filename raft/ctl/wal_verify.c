/*
 * wal verify DIR: whether the log would open, asked of the code that opens it; and if it does,
 * whether every live entry can be read back.
 *
 * Beside a node that runs, what is looked at changes meanwhile: a bad verdict counts when it comes
 * twice in a row, word for word.
 */
#include "raft/ctl/ctl.h"

#include "raft/ctl/log.h"
#include "raft/node/backup.h"
#include "raft/node/diag.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 10

struct verdict {
    bool there; /* a directory that can be looked into */
    int result;
    struct ctl_log log;
    uint64_t entries, commands;
    char text[sizeof(((struct wal_recovered *)0)->text)];
};

static int count_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                       struct bytes payload)
{
    struct verdict *verdict = context;
    (void)index, (void)term, (void)payload;
    verdict->entries++;
    verdict->commands += kind == RAFT_COMMAND;
    return 0;
}

static void look(const char *path, struct verdict *verdict)
{
    memset(verdict, 0, sizeof(*verdict));
    verdict->result = ctl_log_open(&verdict->log, path, true);
    verdict->there = verdict->log.overlay != NULL;
    const struct wal_recovered *recovered = &verdict->log.recovered;
    snprintf(verdict->text, sizeof(verdict->text), "%s", recovered->text);
    if (verdict->result == 0 && index_less(recovered->start, recovered->last)) {
        verdict->result = wal_read(verdict->log.wal, index_next(recovered->start), recovered->last,
                                   count_entry, verdict);
        if (verdict->result != 0)
            snprintf(verdict->text, sizeof(verdict->text),
                     "log entry %" PRIu64
                     " cannot be read back: restore the node from its peers or "
                     "a backup",
                     recovered->start.n + verdict->entries + 1);
    }
    if (verdict->result != 0 && verdict->text[0] == '\0')
        snprintf(verdict->text, sizeof(verdict->text), "%s", strerror(-verdict->result));
    for (char *c = verdict->text; *c != '\0'; c++)
        *c = *c == '"' ? '\'' : *c; /* it is quoted itself */
    ctl_log_close(&verdict->log);
}

/* Until two in a row are of one opinion, or one is that it is good. */
static void look_beside(const char *path, struct verdict *verdict)
{
    char before[sizeof(verdict->text)] = "";
    look(path, verdict);
    for (int i = 0; i < TRIES && (verdict->result != 0 || verdict->log.recovered.cut_bytes > 0) &&
                    strcmp(before, verdict->text) != 0;
         i++) {
        memcpy(before, verdict->text, sizeof(before));
        struct timespec pause = {.tv_nsec = 200 * 1000000L};
        (void)nanosleep(&pause, NULL);
        look(path, verdict);
    }
}

static void print_good(const char *path, const struct verdict *verdict)
{
    const struct wal_recovered *recovered = &verdict->log.recovered;
    printf("verdict=opens dir=%s node=%" PRIu64 " cluster=%s term=%" PRIu64, path,
           verdict->log.node, verdict->log.cluster, recovered->hard.term.n);
    if (recovered->hard.voted)
        printf(" vote=%" PRIu64, recovered->hard.vote.n);
    printf(" start=%" PRIu64 " last=%" PRIu64 " entries=%" PRIu64 " commands=%" PRIu64
           " cut_bytes=%" PRIu64 " damaged_hard_state_blocks=%" PRIu32,
           recovered->start.n, recovered->last.n, verdict->entries, verdict->commands,
           recovered->cut_bytes, recovered->damaged_hard_state_blocks);
    if (recovered->start.n > 0)
        printf(" needs=\"the snapshot in Redis, of entry %" PRIu64 " or later\"",
               recovered->start.n);
    if (recovered->repaired > 0)
        printf(" repaired=%" PRIu32, recovered->repaired);
    if (verdict->text[0] != '\0')
        printf(" text=\"at its next start the node would say: %s\"", verdict->text);
    printf("\n");
}

static void print_empty(const char *path)
{
    char name[4096];
    int len = snprintf(name, sizeof(name), "%s/" BACKUP_RESTORE_NAME, path);
    if (len > 0 && (size_t)len < sizeof(name) && access(name, F_OK) == 0)
        printf(
            "verdict=empty dir=%s text=\"there is no log: a node would begin with the backup that "
            "is there to be restored\"\n",
            path);
    else
        printf("verdict=empty dir=%s text=\"there is no log: a node would begin a new one, and a "
               "node of a cluster ask the others\"\n",
               path);
}

/* What a node that is alone refuses, a member of a cluster may repair. */
static void print_refused(const char *path, const struct verdict *verdict)
{
    struct ctl_log member;
    printf("verdict=refused dir=%s node=%" PRIu64 " cluster=%s text=\"%s\"", path,
           verdict->log.node, verdict->log.cluster, verdict->text);
    int result = ctl_log_open(&member, path, false);
    if (result == 0)
        printf(" member=opens start=%" PRIu64 " last=%" PRIu64 " holes=%" PRIu32 " recovering=%d",
               member.recovered.start.n, member.recovered.last.n, member.recovered.holes,
               member.recovered.hard.recovering);
    else
        printf(" member=refused");
    printf("\n");
    ctl_log_close(&member);
}

enum ctl_exit ctl_wal_verify(const struct ctl_arguments *arguments)
{
    struct verdict verdict;
    pid_t holder = overlay_holder(arguments->path);
    if (holder != 0)
        diag("running", "pid=%ld dir=%s text=\"a node runs on this log: its end moves\"",
             (long)holder, arguments->path);
    if (holder != 0)
        look_beside(arguments->path, &verdict);
    else
        look(arguments->path, &verdict);
    if (!verdict.there) {
        diag("verify_failed", "dir=%s text=\"%s\"", arguments->path, verdict.text);
        return CTL_FAILED;
    }
    if (verdict.result != 0) {
        print_refused(arguments->path, &verdict);
        return CTL_DAMAGED;
    }
    if (verdict.log.recovered.fresh)
        print_empty(arguments->path);
    else
        print_good(arguments->path, &verdict);
    return CTL_DONE;
}
