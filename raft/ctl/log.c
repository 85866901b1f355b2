#include "raft/ctl/log.h"

#include "raft/wal/hard_state.h"
#include "raft/wire/record.h"

#include <errno.h>
#include <string.h>

/* The opening of a log submits jobs of its housekeeping: done at once, in memory. */
static void run_now(struct runner *runner, enum runner_lane lane, struct job *job)
{
    (void)runner, (void)lane;
    job->run(job);
    job->done(job);
}

static void on_durable(void *context, struct raft_mark mark)
{
    (void)context, (void)mark;
}

/* wal_open returns it, too. */
static void on_failed(void *context, const char *what, int error)
{
    (void)context, (void)what, (void)error;
}

/* What a file begins with; fewer bytes than asked for where it is shorter. */
static struct bytes head_of(struct disk *disk, const char *name, uint8_t *at, size_t len)
{
    int file;
    uint64_t size = 0;
    if (disk->ops->open(disk, name, false, &file) != 0)
        return bytes_of(at, 0);
    if (disk->ops->size(disk, file, &size) != 0)
        size = 0;
    len = size < len ? (size_t)size : len;
    if (disk->ops->read(disk, file, 0, at, len) != 0)
        len = 0;
    (void)disk->ops->close(disk, file);
    return bytes_of(at, len);
}

static int note_owner(void *context, const char *name)
{
    struct ctl_log *log = context;
    uint8_t at[RECORD_HEADER_BYTES + 128];
    size_t len = strlen(name);
    if (len < 4 || strcmp(name + len - 4, ".wal") != 0)
        return 0;
    struct bytes head = head_of(overlay_disk(log->overlay), name, at, sizeof(at));
    struct record record;
    struct record_owner owner;
    if (record_get(head, &record) != RECORD_OK || record.type != RECORD_SEGMENT ||
        record_owner_decode(record.payload, &owner) != 0 ||
        owner.cluster.len >= sizeof(log->cluster) || owner.size < 4096 ||
        owner.size % DISK_SECTOR_BYTES != 0 || owner.size > WAL_SEGMENT_BYTES)
        return 0;
    log->owned = true;
    log->segment_bytes = (uint32_t)owner.size;
    log->node = owner.node;
    memcpy(log->cluster, owner.cluster.at, owner.cluster.len);
    log->cluster[owner.cluster.len] = '\0';
    return 1; /* found */
}

static void ask_hard_state(struct ctl_log *log)
{
    uint8_t at[HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES] = {0};
    struct bytes blocks = head_of(overlay_disk(log->overlay), HARD_STATE_FILE, at, sizeof(at));
    for (size_t i = 0; i < HARD_STATE_BLOCKS && log->node == 0; i++) {
        struct record_hard_state state;
        struct bytes block = bytes_of(at + i * HARD_STATE_BLOCK_BYTES, RECORD_HARD_STATE_BYTES);
        if (blocks.len >= i * HARD_STATE_BLOCK_BYTES + RECORD_HARD_STATE_BYTES &&
            record_hard_state_decode(block, &state) == 0)
            log->node = state.node;
    }
}

int ctl_log_open(struct ctl_log *log, const char *path, bool alone)
{
    memset(log, 0, sizeof(*log));
    int result = overlay_open(path, &log->overlay);
    if (result != 0)
        return result;
    struct disk *disk = overlay_disk(log->overlay);
    log->segment_bytes = WAL_SEGMENT_BYTES;
    (void)disk->ops->list(disk, note_owner, log);
    if (!log->owned)
        ask_hard_state(log);
    log->runner.submit = run_now;
    struct wal_options options = {
        .disk = disk,
        .runner = &log->runner,
        .node = log->node,
        .cluster = log->cluster,
        .alone = alone,
        .generation = 1,
        .segment_bytes = log->segment_bytes,
        .on_durable = on_durable,
        .on_failed = on_failed,
        .context = log,
    };
    return wal_open(&options, &log->wal, &log->recovered);
}

void ctl_log_close(struct ctl_log *log)
{
    wal_close(log->wal);
    overlay_close(log->overlay);
}
