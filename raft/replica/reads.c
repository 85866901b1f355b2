/*
 * Reads that wait. All that came while a round was under way share the next one: an index from the
 * leader (ReadIndex, thesis §6.4), then the state here must have got there.
 */
#include "raft/replica/state.h"

#include <errno.h>
#include <stdlib.h>

int reads_init(struct reads *reads, uint64_t random)
{
    reads->token = random;
    reads->gathered = calloc(REPLICA_WAITING_MAX, sizeof(*reads->gathered));
    reads->asking = calloc(REPLICA_WAITING_MAX, sizeof(*reads->asking));
    reads->behind = calloc(REPLICA_WAITING_MAX, sizeof(*reads->behind));
    bool made = reads->gathered != NULL && reads->asking != NULL && reads->behind != NULL;
    return made ? 0 : -ENOMEM;
}

void reads_done(struct reads *reads)
{
    free(reads->gathered);
    free(reads->asking);
    free(reads->behind);
}

/* The state is as new as a read must have it, but for its min_index. */
static void deliver(struct replica *replica, const struct waiting_read *read)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    struct reads *reads = &replica->reads;
    if (read->min_index <= replica->applied)
        hooks->readable(replica->options.context, read->client);
    else if (reads->behind_count == REPLICA_WAITING_MAX)
        hooks->refused(replica->options.context, read->client, CALL_BUSY);
    else
        reads->behind[reads->behind_count++] = *read;
}

void replica_read(struct replica *replica, struct replica_client client, bool stale,
                  uint64_t min_index)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    struct reads *reads = &replica->reads;
    struct waiting_read read = {client, replica_now_ms(replica), min_index};
    if (replica->stopping)
        hooks->refused(replica->options.context, client, CALL_STOPPING);
    else if (stale && replica->ready && !replica_lacks_state(replica) &&
             !raft_status(replica->raft).diverged)
        deliver(replica, &read);
    else if (reads->gathered_count == REPLICA_WAITING_MAX)
        hooks->refused(replica->options.context, client, CALL_BUSY);
    else
        reads->gathered[reads->gathered_count++] = read;
}

/* Of one list: the reads of this connection, or the one of this call. */
static void forget(struct waiting_read *list, uint32_t *count, uint64_t connection,
                   const uint64_t *call)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        struct replica_client client = list[i].client;
        if (client.connection != connection || (call != NULL && client.call != *call))
            list[kept++] = list[i];
    }
    *count = kept;
}

static void forget_everywhere(struct reads *reads, uint64_t connection, const uint64_t *call)
{
    forget(reads->gathered, &reads->gathered_count, connection, call);
    forget(reads->asking, &reads->asking_count, connection, call);
    forget(reads->behind, &reads->behind_count, connection, call);
}

void replica_forget_read(struct replica *replica, struct replica_client client)
{
    forget_everywhere(&replica->reads, client.connection, &client.call);
}

void replica_forget_reads(struct replica *replica, uint64_t connection)
{
    forget_everywhere(&replica->reads, connection, NULL);
}

/* Those whose min_index was reached meanwhile. */
static void deliver_behind(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    uint32_t count = reads->behind_count;
    reads->behind_count = 0; /* those that still wait go back, in front of where this reads */
    for (uint32_t i = 0; i < count; i++) {
        struct waiting_read read = reads->behind[i];
        deliver(replica, &read);
    }
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
    if (replica_lacks_state(replica))
        return;
    deliver_behind(replica);
    if (reads->phase != ROUND_READY || replica->applied < reads->index.n)
        return;
    const struct replica_hooks *hooks = replica->options.hooks;
    reads->phase = ROUND_NONE;
    if (!replica->ready) {
        replica->ready = true;
        hooks->ready(replica->options.context);
    }
    for (uint32_t i = 0; i < reads->asking_count; i++)
        deliver(replica, &reads->asking[i]);
    reads->asking_count = 0;
}

/* Those who have waited long enough: refused, and out of the list. */
static void give_up_old(struct replica *replica, struct waiting_read *list, uint32_t *count,
                        enum call_reason reason, uint64_t now_ms)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (now_ms - list[i].born_ms < REPLICA_WAIT_MS)
            list[kept++] = list[i];
        else
            hooks->refused(replica->options.context, list[i].client, reason);
    }
    *count = kept;
}

void reads_tick(struct replica *replica, uint64_t now_ms)
{
    struct reads *reads = &replica->reads;
    give_up_old(replica, reads->gathered, &reads->gathered_count, CALL_NO_LEADER, now_ms);
    give_up_old(replica, reads->asking, &reads->asking_count, CALL_NO_LEADER, now_ms);
    give_up_old(replica, reads->behind, &reads->behind_count, CALL_BEHIND, now_ms);
    bool lost = now_ms - reads->asked_ms >= 2 * (uint64_t)replica->options.election_ms;
    if (reads->phase == ROUND_ASKED && lost)
        reads->phase = ROUND_WANTED; /* under another token */
}
