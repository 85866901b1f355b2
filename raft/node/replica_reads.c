/*
 * Reads that wait. All that came while a round was under way share the next one: an index from the
 * leader (ReadIndex, thesis §6.4), then the state here must have got there.
 */
#include "raft/node/replica_state.h"

#include <errno.h>
#include <stdlib.h>

int reads_init(struct reads *reads)
{
    reads->gathered = calloc(REPLICA_WAITING_MAX, sizeof(*reads->gathered));
    reads->asking = calloc(REPLICA_WAITING_MAX, sizeof(*reads->asking));
    return reads->gathered != NULL && reads->asking != NULL ? 0 : -ENOMEM;
}

void reads_done(struct reads *reads)
{
    free(reads->gathered);
    free(reads->asking);
}

void replica_read(struct replica *replica, struct replica_client client, bool stale)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    struct reads *reads = &replica->reads;
    if (replica->stopping)
        hooks->refused(replica->options.context, client, CALL_STOPPING);
    else if (stale && replica->ready && !replica_lacks_state(replica))
        hooks->readable(replica->options.context, client);
    else if (reads->gathered_count == REPLICA_WAITING_MAX)
        hooks->refused(replica->options.context, client, CALL_BUSY);
    else
        reads->gathered[reads->gathered_count++] =
            (struct waiting_read){.client = client, .born_ms = replica_now_ms(replica)};
}

void reads_ask(struct replica *replica, uint64_t now_ms)
{
    struct reads *reads = &replica->reads;
    if (reads->phase == ROUND_NONE && (reads->gathered_count > 0 || !replica->ready)) {
        struct waiting_read *asking = reads->gathered;
        reads->gathered = reads->asking;
        reads->asking = asking;
        reads->asking_count = reads->gathered_count;
        reads->gathered_count = 0;
        reads->phase = ROUND_WANTED;
    }
    struct raft_status status = raft_status(replica->raft);
    if (reads->phase != ROUND_WANTED || now_ms < reads->retry_ms ||
        (status.role != RAFT_LEADER && !status.leader_known))
        return;
    reads->phase = ROUND_ASKED;
    reads->asked_ms = now_ms;
    replica_step(replica, &(struct raft_event){.kind = RAFT_READ_ASKED,
                                               .read_asked = {.token = ++reads->token}});
}

void reads_ready(struct replica *replica, uint64_t token, raft_index index)
{
    struct reads *reads = &replica->reads;
    if (reads->phase != ROUND_ASKED || token != reads->token)
        return; /* a round that was given up for another */
    reads->phase = ROUND_READY;
    reads->index = index;
}

void reads_refused(struct replica *replica, uint64_t token)
{
    struct reads *reads = &replica->reads;
    if (reads->phase != ROUND_ASKED || token != reads->token)
        return;
    reads->phase = ROUND_WANTED;
    reads->retry_ms = replica_now_ms(replica) + replica->options.heartbeat_ms;
}

void reads_again(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    if (reads->phase == ROUND_ASKED)
        reads->phase = ROUND_WANTED;
    reads->retry_ms = 0;
}

void reads_deliver(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    if (reads->phase != ROUND_READY || replica->applied < reads->index.n ||
        replica_lacks_state(replica))
        return;
    const struct replica_hooks *hooks = replica->options.hooks;
    reads->phase = ROUND_NONE;
    if (!replica->ready) {
        replica->ready = true;
        hooks->ready(replica->options.context);
    }
    for (uint32_t i = 0; i < reads->asking_count; i++)
        hooks->readable(replica->options.context, reads->asking[i].client);
    reads->asking_count = 0;
}

/* Those who have waited long enough: refused, and out of the list. */
static void give_up_old(struct replica *replica, struct waiting_read *list, uint32_t *count,
                        uint64_t now_ms)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (now_ms - list[i].born_ms < REPLICA_WAIT_MS)
            list[kept++] = list[i];
        else
            hooks->refused(replica->options.context, list[i].client, CALL_NO_LEADER);
    }
    *count = kept;
}

void reads_look(struct replica *replica, uint64_t now_ms)
{
    struct reads *reads = &replica->reads;
    give_up_old(replica, reads->gathered, &reads->gathered_count, now_ms);
    give_up_old(replica, reads->asking, &reads->asking_count, now_ms);
    bool lost = now_ms - reads->asked_ms >= 2 * (uint64_t)replica->options.election_ms;
    if (reads->phase == ROUND_ASKED && lost)
        reads->phase = ROUND_WANTED; /* under another token */
}
