/*
 * rollcallctl: what an operator does to nodes that run, and to disks of nodes that do not.
 *
 * Each command is one function from its arguments to its exit code. What it was asked for goes to
 * stdout, what it did and what went wrong to stderr, one key=value line a fact.
 */
#ifndef ROLLCALL_CTL_CTL_H
#define ROLLCALL_CTL_CTL_H

#include "raft/base/attr.h"

enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1,  /* it could not be done: stderr says why; nothing was changed */
    CTL_USAGE = 2,   /* what was asked makes no sense */
    CTL_DAMAGED = 3, /* it was looked at, and is damaged, or would not open */
};

struct ctl_arguments {
    const char *path;    /* FILE of a backup, DIR of a log, or NAME of who gets a token */
    const char *dir;     /* of a log */
    const char *socket;  /* of a node, where workers call */
    const char *redis;   /* socket of the node's Redis; NULL: none */
    const char *cluster; /* name of the new cluster */
    const char *role;    /* of a token */
    bool accept_loss;
    bool without_log; /* recover: the snapshot alone */
};

/* backup FILE: all that was acknowledged, from a node that runs, into a file. */
NODISCARD enum ctl_exit ctl_backup(const struct ctl_arguments *arguments);
/* check FILE: reads all of it. */
NODISCARD enum ctl_exit ctl_check(const struct ctl_arguments *arguments);
/* restore FILE: a log's directory that is not there yet, for a node of a new cluster. */
NODISCARD enum ctl_exit ctl_restore(const struct ctl_arguments *arguments);
/* recover FILE: what the disk of a node that does not run holds, committed or not, into a file. */
NODISCARD enum ctl_exit ctl_recover(const struct ctl_arguments *arguments);
/* wal verify DIR, wal dump DIR: read-only, of a node that runs or does not. */
NODISCARD enum ctl_exit ctl_wal_verify(const struct ctl_arguments *arguments);
NODISCARD enum ctl_exit ctl_wal_dump(const struct ctl_arguments *arguments);
/* status: what a node that runs says of itself and of the others. */
NODISCARD enum ctl_exit ctl_status(const struct ctl_arguments *arguments);
/* token NAME: a new token, and the line of the workers' file that makes it one. */
NODISCARD enum ctl_exit ctl_token(const struct ctl_arguments *arguments);

#endif
