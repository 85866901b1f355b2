/* A log that is opened to be looked at: by the node's own code, over a disk that is not written. */
#ifndef ROLLCALL_CTL_LOG_H
#define ROLLCALL_CTL_LOG_H

#include "raft/ctl/overlay.h"
#include "raft/wal/wal.h"

struct ctl_log {
    struct overlay *overlay;
    struct runner runner;
    struct wal *wal;                /* NULL: it would not open */
    struct wal_recovered recovered; /* `fresh`: there was none */
    /* Whose it is, as a segment says, or else only the hard state. */
    bool owned;
    uint64_t node;
    char cluster[64];
    uint32_t segment_bytes;
};

/*
 * What wal_open says of it, of a node that is alone or of a member of a cluster: 0, or -EBADMSG
 * with recovered.text, or another −errno. ctl_log_close after it whatever the result.
 */
NODISCARD int ctl_log_open(struct ctl_log *log, const char *path, bool alone);
void ctl_log_close(struct ctl_log *log);

#endif
