/*
 * A Redis that answers, but no data. Nothing of this says anything of the snapshot: it is waited
 * for, and people are told what to do.
 */
#include "raft/snapshots/state.h"

#include <string.h>

static const struct {
    const char *begin; /* of what Redis says */
    const char *to_do;
} refusals[] = {
    {"NOAUTH", "it asks for a password, and nodes have none: take requirepass away, its socket is "
               "private"},
    {"WRONGPASS", "it asks for another password: take requirepass away, its socket is private"},
    {"NOPERM", "its ACL forbids this: allow the default user every command on rollcall:*"},
    {"LOADING", "it is still reading its file: nothing is to be done"},
    {"BUSY", "a script keeps it: SCRIPT KILL, or FUNCTION KILL"},
    {"MISCONF", "it cannot write its file: its log says why, often the disk is full"},
    {"OOM", "it is full: raise maxmemory, or remove what is not ours"},
    {"READONLY", "it is a replica, and follows another Redis: REPLICAOF NO ONE"},
    {"MASTERDOWN", "it is a replica, and its master is gone: REPLICAOF NO ONE"},
    {"NOREPLICAS", "it wants replicas that are not there: set min-replicas-to-write to 0"},
    {"CLUSTERDOWN", "it is part of a Redis cluster: give this node a Redis of its own"},
    {"MOVED", "it is part of a Redis cluster: give this node a Redis of its own"},
    {"WRONGTYPE", "a key of this node holds something else: DEL it if nobody needs it"},
    {"ERR max number of clients", "others hold all its connections: close them, or raise "
                                  "maxclients"},
    {"ERR unknown command", "a command is renamed there, or it is no Redis of version 4 or later"},
};

static bool begins_with(struct bytes text, const char *begin)
{
    size_t len = strlen(begin);
    return text.len >= len && memcmp(text.at, begin, len) == 0;
}

void snapshots_refuse(struct snapshots *snapshots, const struct store_reply *reply)
{
    if (snapshots->failed)
        return;
    snapshots->refused = true;
    if (reply->kind != STORE_ERROR) {
        snapshots_fail(snapshots, "what answers is no Redis that we know: a reply is of another "
                                  "kind than its command has; see what listens there");
        return;
    }
    const char *to_do = "its log may say more";
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        if (begins_with(reply->text, refusals[i].begin))
            to_do = refusals[i].to_do;
    }
    snapshots_fail(snapshots, "Redis says: %.*s; %s",
                   (int)(reply->text.len < 256 ? reply->text.len : 256),
                   (const char *)reply->text.at, to_do);
}

bool snapshots_is_wrong_type(const struct store_reply *reply)
{
    return reply != NULL && reply->kind == STORE_ERROR && begins_with(reply->text, "WRONGTYPE");
}
