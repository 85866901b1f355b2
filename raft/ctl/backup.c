/* backup FILE: as a worker would, over the node's socket; and check FILE. */
#include "raft/ctl/ctl.h"

#include "raft/ctl/caller.h"
#include "raft/ctl/target.h"
#include "raft/node/backup.h"
#include "raft/node/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CALL 1u

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct backup_head head_of(const struct call_version_response *version)
{
    return (struct backup_head){.cluster = version->cluster,
                                .node = version->node,
                                .made_ms = wall_ms(),
                                .index = version->index,
                                .term = version->term,
                                .known = version->index,
                                .members = version->members,
                                USERS_META_FIELDS(USERS_META_FROM_version)};
}

static int take_pieces(struct caller *caller, struct backup_writer *writer)
{
    struct call call;
    int result = 0;
    for (bool last = false; result == 0 && !last;) {
        result = caller_say(caller, (struct call){.kind = CALL_MORE, .more = {.call = CALL}});
        if (result == 0)
            result = caller_expect(caller, CALL_PIECE, &call);
        if (result == 0)
            result = backup_block(writer, BACKUP_USERS, call.piece.users);
        if (result == 0)
            result = backup_block(writer, BACKUP_ANSWERS, call.piece.answers);
        if (result == 0)
            last = call.piece.last != 0;
    }
    return result == 0 ? backup_finish(writer) : result;
}

static int copy_state(struct caller *caller, struct target *target, struct backup_head *ret_head)
{
    struct backup_writer writer = {.write = target_write, .context = target};
    struct call call;
    int result = caller_say(caller, (struct call){.kind = CALL_BACKUP, .backup = {.call = CALL}});
    if (result == 0)
        result = caller_expect(caller, CALL_VERSION_RESPONSE, &call);
    if (result != 0)
        return result;
    *ret_head = head_of(&call.version_response);
    ret_head->cluster = ret_head->members = bytes_of("", 0); /* borrowed: for the file alone */
    struct backup_head head = head_of(&call.version_response);
    result = backup_begin(&writer, &head);
    return result == 0 ? take_pieces(caller, &writer) : result;
}

static enum ctl_exit failed(const struct ctl_arguments *arguments, const char *why)
{
    diag("backup_failed", "file=%s socket=%s text=\"%s; nothing was written\"", arguments->path,
         arguments->socket, why);
    return CTL_FAILED;
}

static int copy(struct caller *caller, const struct ctl_arguments *arguments,
                struct backup_head *ret_head, uint64_t *ret_bytes)
{
    struct target target;
    int result = target_open(&target, arguments->path);
    if (result != 0)
        return result;
    result = copy_state(caller, &target, ret_head);
    if (result == 0)
        result = target_finish(&target);
    else
        target_abandon(&target);
    *ret_bytes = target.bytes;
    return result;
}

static const char *why_not(const struct caller *caller, int error)
{
    return error == -EMLINK || error == -ENOTTY ? target_text(error) : caller_text(caller, error);
}

enum ctl_exit ctl_backup(const struct ctl_arguments *arguments)
{
    struct caller caller;
    struct backup_head head;
    uint64_t bytes;
    int result = caller_open(&caller, arguments->socket);
    if (result == 0)
        result = copy(&caller, arguments, &head, &bytes);
    enum ctl_exit code = result == 0 ? CTL_DONE : failed(arguments, why_not(&caller, result));
    if (result == 0)
        diag("backup_done",
             "file=%s index=%" PRIu64 " term=%" PRIu64 " users=%" PRIu64 " answers=%" PRIu64
             " bytes=%" PRIu64,
             arguments->path, head.index, head.term, head.users,
             head.answers_next - head.answers_first, bytes);
    caller_close(&caller);
    return code;
}

/* --- check ------------------------------------------------------------------------------------ */

enum ctl_exit ctl_check(const struct ctl_arguments *arguments)
{
    struct users *users = users_new(USERS_ANSWERS_MAX);
    struct backup_head head;
    struct backup_names names;
    char text[256];
    int result =
        backup_load_file(AT_FDCWD, arguments->path, users, &head, &names, text, sizeof(text));
    users_free(users);
    if (result != 0) {
        diag("backup_bad", "file=%s text=\"%s\"", arguments->path,
             result == -EBADMSG ? text : strerror(-result));
        return result == -EBADMSG ? CTL_DAMAGED : CTL_FAILED;
    }
    static uint8_t line[512 + MEMBERS_TEXT_BYTES_MAX];
    struct writer out = writer_of(line, sizeof(line));
    backup_describe(&out, &head);
    printf("%s:%.*s\n", arguments->path, (int)writer_len(&out), (const char *)line);
    return CTL_DONE;
}
