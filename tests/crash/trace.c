#include "tests/crash/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct trace *trace_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct trace, disk);
}

static bool is_dead(const struct trace *trace)
{
    return trace->operations >= trace->dies_at;
}

static void set_name(char to[IMAGE_NAME_BYTES], const char *name)
{
    assert(strlen(name) < IMAGE_NAME_BYTES);
    memcpy(to, name, strlen(name) + 1);
}

/* NULL while nobody wants to know. */
static struct operation *record(struct trace *trace, enum operation_kind kind, int file)
{
    if (!trace->recording)
        return NULL;
    if (trace->operations == trace->room) {
        trace->room = trace->room == 0 ? 256 : 2 * trace->room;
        trace->operation = realloc(trace->operation, trace->room * sizeof(*trace->operation));
        assert(trace->operation != NULL);
    }
    struct operation *operation = &trace->operation[trace->operations++];
    *operation = (struct operation){
        .kind = kind, .job = trace->running, .file = file, .promise = trace->promise};
    for (int i = 0; i < trace->now.names; i++) {
        if (file >= 0 && trace->now.name[i].file == file)
            set_name(operation->name, trace->now.name[i].text);
    }
    return operation;
}

static int trace_open(struct disk *disk, const char *name, bool create, int *ret_file)
{
    struct trace *trace = trace_of(disk);
    int file = image_find(&trace->now, name);
    if (is_dead(trace))
        return -EIO;
    if (file < 0 && !create)
        return -ENOENT;
    if (file < 0) {
        assert(trace->now.files < IMAGE_FILES);
        file = trace->now.files++;
        trace->now.file[file].size = 0;
        image_name(&trace->now, name, file);
        (void)record(trace, OPERATION_CREATE, file);
    }
    trace->direct[file] = false;
    *ret_file = file;
    return 0;
}

static int trace_close(struct disk *disk, int file)
{
    (void)disk, (void)file;
    return 0;
}

static void trace_go_direct(struct disk *disk, int file)
{
    trace_of(disk)->direct[file] = true;
}

static int trace_size(struct disk *disk, int file, uint64_t *ret_size)
{
    *ret_size = trace_of(disk)->now.file[file].size;
    return 0;
}

static int trace_read(struct disk *disk, int file, uint64_t offset, void *ret_bytes, size_t len)
{
    const struct image_file *f = &trace_of(disk)->now.file[file];
    if (is_dead(trace_of(disk)))
        return -EIO;
    if (offset + len > f->size)
        return -ENODATA;
    memcpy(ret_bytes, f->bytes + offset, len);
    return 0;
}

static int trace_write(struct disk *disk, int file, uint64_t offset, const void *bytes, size_t len)
{
    struct trace *trace = trace_of(disk);
    if (trace->direct[file])
        assert((offset | len | (uintptr_t)bytes) % DISK_SECTOR_BYTES == 0);
    if (is_dead(trace))
        return -EIO;
    struct operation *operation = record(trace, OPERATION_WRITE, file);
    if (operation != NULL) {
        operation->offset = offset;
        operation->len = len;
        operation->bytes = malloc(len + 1);
        assert(operation->bytes != NULL);
        memcpy(operation->bytes, bytes, len);
    }
    image_write(&trace->now, file, offset, bytes, len);
    return 0;
}

static int trace_sync(struct disk *disk, int file)
{
    if (is_dead(trace_of(disk)))
        return -EIO;
    (void)record(trace_of(disk), OPERATION_SYNC, file);
    return 0;
}

static int trace_rename(struct disk *disk, const char *from, const char *to)
{
    struct trace *trace = trace_of(disk);
    int file = image_find(&trace->now, from);
    if (is_dead(trace))
        return -EIO;
    if (file < 0)
        return -ENOENT;
    if (image_find(&trace->now, to) == file)
        return 0; /* two names of one file: POSIX leaves both */
    struct operation *operation = record(trace, OPERATION_RENAME, file);
    if (operation != NULL) {
        set_name(operation->name, from);
        set_name(operation->to, to);
    }
    image_name(&trace->now, to, file);
    image_name(&trace->now, from, -1);
    return 0;
}

static int trace_remove(struct disk *disk, const char *name)
{
    struct trace *trace = trace_of(disk);
    if (is_dead(trace))
        return -EIO;
    if (image_find(&trace->now, name) < 0)
        return -ENOENT;
    struct operation *operation = record(trace, OPERATION_REMOVE, -1);
    if (operation != NULL)
        set_name(operation->name, name);
    image_name(&trace->now, name, -1);
    return 0;
}

static int trace_sync_directory(struct disk *disk)
{
    if (is_dead(trace_of(disk)))
        return -EIO;
    (void)record(trace_of(disk), OPERATION_SYNC_DIRECTORY, -1);
    return 0;
}

static int trace_list(struct disk *disk, int (*each)(void *context, const char *name),
                      void *context)
{
    const struct image *now = &trace_of(disk)->now;
    for (int i = 0; i < now->names; i++) {
        int result = each(context, now->name[i].text);
        if (result != 0)
            return result;
    }
    return 0;
}

static const struct disk_ops trace_ops = {
    .open = trace_open,
    .close = trace_close,
    .go_direct = trace_go_direct,
    .size = trace_size,
    .read = trace_read,
    .write = trace_write,
    .sync = trace_sync,
    .rename = trace_rename,
    .remove = trace_remove,
    .sync_directory = trace_sync_directory,
    .list = trace_list,
};

/* --- jobs ------------------------------------------------------------------------------------- */

static void trace_submit(struct runner *runner, enum runner_lane lane, struct job *job)
{
    struct trace *trace = CONTAINER_OF(runner, struct trace, runner);
    assert(trace->jobs < TRACE_JOBS);
    uint32_t before = trace->running;
    trace->running = ++trace->jobs;
    trace->job[trace->running] =
        (struct trace_job){.lane = lane, .job = job, .done_at = TRACE_LATE};
    job->run(job);
    trace->running = before;
}

bool trace_finish(struct trace *trace, enum runner_lane lane)
{
    for (uint32_t i = 1; i <= trace->jobs; i++) {
        struct trace_job *job = &trace->job[i];
        if (job->job == NULL || job->lane != lane)
            continue;
        job->done_at = trace->operations;
        uint32_t before = trace->running;
        trace->running = i;
        (void)record(trace, OPERATION_DONE, -1);
        trace->running = before;
        struct job *ended = job->job;
        job->job = NULL;
        ended->done(ended);
        return true;
    }
    return false;
}

void trace_finish_all(struct trace *trace)
{
    while (trace_finish(trace, RUNNER_LOG) || trace_finish(trace, RUNNER_HOUSEKEEPING))
        ;
}

/* --- life ------------------------------------------------------------------------------------- */

static void forget_operations(struct trace *trace)
{
    for (uint32_t i = 0; i < trace->operations; i++)
        free(trace->operation[i].bytes);
    trace->operations = 0;
}

void trace_start(struct trace *trace, const struct image *from, bool recording)
{
    forget_operations(trace);
    trace->disk.ops = &trace_ops;
    trace->runner.submit = trace_submit;
    trace->promise = (struct promise){.history = NULL};
    trace->recording = recording;
    trace->dies_at = TRACE_LATE;
    trace->now.files = trace->now.names = 0;
    if (from != NULL)
        image_copy_named(&trace->now, from);
    if (recording)
        image_copy(&trace->base, &trace->now);
    memset(trace->direct, 0, sizeof(trace->direct));
    trace->jobs = 0;
    trace->running = 0;
}

void trace_free(struct trace *trace)
{
    forget_operations(trace);
    free(trace->operation);
    free(trace);
}

void trace_line(const struct operation *operation, char ret_line[TRACE_LINE_BYTES])
{
    static const char *const words[] = {
        [OPERATION_CREATE] = "create", [OPERATION_WRITE] = "write",
        [OPERATION_SYNC] = "sync",     [OPERATION_RENAME] = "rename",
        [OPERATION_REMOVE] = "remove", [OPERATION_SYNC_DIRECTORY] = "sync the directory",
        [OPERATION_DONE] = "done",
    };
    int len =
        snprintf(ret_line, TRACE_LINE_BYTES, "%s %s", words[operation->kind], operation->name);
    if (operation->kind == OPERATION_WRITE)
        len += snprintf(ret_line + len, TRACE_LINE_BYTES - (size_t)len, " %" PRIu64 "+%zu",
                        operation->offset, operation->len);
    if (operation->kind == OPERATION_RENAME)
        len += snprintf(ret_line + len, TRACE_LINE_BYTES - (size_t)len, " to %s", operation->to);
    if (operation->job != 0)
        snprintf(ret_line + len, TRACE_LINE_BYTES - (size_t)len, " (job %" PRIu32 ")",
                 operation->job);
}
