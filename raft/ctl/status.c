/* status: what a node says of itself and of the others, over the socket where its workers call. */
#include "raft/ctl/ctl.h"

#include "raft/ctl/caller.h"
#include "raft/node/diag.h"

#include <inttypes.h>
#include <stdio.h>

static const char *text_or_none(const char *text)
{
    return text != NULL ? text : "none";
}

static void print_status(const struct call_status_response *is)
{
    printf("node=%" PRIu64 " cluster=%.*s ready=%u role=%s term=%" PRIu64 " leader=%" PRIu64
           " commit=%" PRIu64 " applied=%" PRIu64 " last=%" PRIu64 " users=%" PRIu64
           " snapshot_index=%" PRIu64 " snapshot_state=%s wal_full=%u\n",
           is->node, (int)is->cluster.len, (const char *)is->cluster.at, is->ready,
           text_or_none(call_role_text(is->role)), is->term, is->leader, is->commit, is->applied,
           is->last, is->users, is->snapshot_index,
           text_or_none(call_snapshot_text(is->snapshot_state)), is->wal_full);
    struct reader members = reader_of(is->members);
    while (reader_left(&members) > 0) {
        struct call_member member = member_get(&members);
        printf("member=%" PRIu64 " address=%.*s voter=%u reachable=%u", member.id,
               (int)member.address.len, (const char *)member.address.at, member.voter,
               member.reachable);
        if (member.match_known)
            printf(" match=%" PRIu64, member.match);
        printf("\n");
    }
}

enum ctl_exit ctl_status(const struct ctl_arguments *arguments)
{
    struct caller caller;
    struct call call;
    int result = caller_open(&caller, arguments->socket);
    if (result == 0)
        result = caller_say(&caller, (struct call){.kind = CALL_STATUS, .status = {.call = 1}});
    if (result == 0)
        result = caller_expect(&caller, CALL_STATUS_RESPONSE, &call);
    if (result == 0)
        print_status(&call.status_response);
    else
        diag("status_unknown", "socket=%s text=\"%s\"", arguments->socket,
             caller_text(&caller, result));
    caller_close(&caller);
    return result == 0 ? CTL_DONE : CTL_FAILED;
}
