/* Writes that wait: where they are sent, when again, and what becomes of them. */
#include "raft/replica/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* After a leader refused a write the next ones wait so long: it is busy, or no leader any more. */
#define REFUSED_PAUSE_MS 10u

int writes_init(struct writes *writes, uint64_t random)
{
    writes->bucket = calloc(REPLICA_WAITING_MAX, sizeof(struct pending *));
    writes->key = (struct siphash_key){.low = random, .high = ~random};
    return writes->bucket != NULL ? 0 : -ENOMEM;
}

static void free_list(struct pending_list *list)
{
    while (list->first != NULL) {
        struct pending *gone = list->first;
        list->first = gone->next;
        free(gone);
    }
}

void writes_done(struct writes *writes)
{
    free_list(&writes->unsent);
    free_list(&writes->sent);
    free(writes->bucket);
}

/* --- lists and hash --------------------------------------------------------------------------- */

static void push(struct pending_list *list, struct pending *pending)
{
    pending->prev = list->last;
    pending->next = NULL;
    if (list->last != NULL)
        list->last->next = pending;
    else
        list->first = pending;
    list->last = pending;
}

static void take_out(struct pending_list *list, struct pending *pending)
{
    assert((pending->prev == NULL) == (list->first == pending));
    if (pending->prev != NULL)
        pending->prev->next = pending->next;
    else
        list->first = pending->next;
    if (pending->next != NULL)
        pending->next->prev = pending->prev;
    else
        list->last = pending->prev;
}

static struct pending_list *list_of(struct writes *writes, const struct pending *pending)
{
    return pending->sent ? &writes->sent : &writes->unsent;
}

static struct pending **bucket_of(const struct writes *writes, const struct request_id *id)
{
    uint64_t hash = siphash(writes->key, bytes_of(id->at, sizeof(id->at)));
    return &writes->bucket[hash & (REPLICA_WAITING_MAX - 1)];
}

static struct pending *new_pending(const struct request_id *id, struct bytes request,
                                   uint64_t now_ms)
{
    struct pending *pending = malloc(sizeof(*pending) + request.len);
    if (pending == NULL)
        return NULL;
    *pending = (struct pending){
        .id = *id,
        .born_ms = now_ms,
        .reason = CALL_NO_LEADER,
        .len = (uint32_t)request.len,
    };
    memcpy(pending->request, request.at, request.len);
    return pending;
}

/* Out of its list and the hash, and gone. */
static void end(struct writes *writes, struct pending *pending)
{
    take_out(list_of(writes, pending), pending);
    if (pending->from.n == 0) {
        struct pending **at = bucket_of(writes, &pending->id);
        while (*at != pending)
            at = &(*at)->hash_next;
        *at = pending->hash_next;
        writes->count--;
        writes->bytes -= pending->len;
    } else {
        writes->forwarded--;
        writes->forwarded_bytes -= pending->len;
    }
    free(pending);
}

/* --- the time in an entry --------------------------------------------------------------------- */

void writes_observe_clock(struct replica *replica)
{
    uint64_t time_ms = users_meta(replica->users).time_ms;
    if (time_ms == replica->time_ms)
        return;
    replica->time_ms = time_ms;
    replica->time_since_ms = replica_now_ms(replica);
}

/*
 * The wall clock, but not further beyond what the state knows than twice the time that has passed
 * since: a clock that was set wrong by a year must not make every Idempotency-Key a year old. At
 * worst they are kept for half as long as was promised. After a time in which no node ran they are
 * kept for longer, until as much time again has passed.
 */
static uint64_t entry_ms(struct replica *replica)
{
    uint64_t wall_ms = replica->options.hooks->wall_ms(replica->options.context);
    writes_observe_clock(replica);
    uint64_t most_ms = replica->time_ms + 2 * (replica_now_ms(replica) - replica->time_since_ms);
    return replica->time_ms == 0 || wall_ms < most_ms ? wall_ms : most_ms;
}

/* --- asked here ------------------------------------------------------------------------------- */

static bool refusal_for(const struct replica *replica, size_t len, enum call_reason *ret_reason)
{
    if (replica->stopping)
        *ret_reason = CALL_STOPPING;
    else if (replica->writes.count == REPLICA_WAITING_MAX ||
             replica->writes.bytes + len > REPLICA_WAITING_BYTES_MAX)
        *ret_reason = CALL_BUSY;
    else
        return false;
    return true;
}

void replica_write(struct replica *replica, struct replica_client client,
                   const struct request_id *request, struct bytes command)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    void *context = replica->options.context;
    struct users_request entry = {.id = *request, .time_ms = entry_ms(replica)};
    uint8_t encoded[USERS_REQUEST_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    if (users_command_decode(command, &entry.command) != 0 ||
        !users_command_valid(&entry.command)) {
        hooks->refused(context, client, CALL_INVALID);
        return;
    }
    struct users_answer answer;
    if (users_answered(replica->users, &entry.id, &entry.command, &answer)) {
        hooks->written(context, client, replica->applied, &answer);
        return;
    }
    users_request_put(&out, &entry);
    enum call_reason reason = CALL_INVALID;
    if (out.bad || refusal_for(replica, writer_len(&out), &reason)) {
        hooks->refused(context, client, reason);
        return;
    }
    struct pending *pending = new_pending(request, writer_bytes(&out), replica_now_ms(replica));
    if (pending == NULL) {
        hooks->refused(context, client, CALL_BUSY);
        return;
    }
    struct writes *writes = &replica->writes;
    struct pending **bucket = bucket_of(writes, request);
    pending->client = client;
    pending->born_ns = replica_measure_ns(replica);
    pending->hash_next = *bucket;
    *bucket = pending;
    push(&writes->unsent, pending);
    writes->count++;
    writes->bytes += pending->len;
}

/* --- forwarded to here ------------------------------------------------------------------------ */

static void refuse_forwarded(struct replica *replica, raft_node_id from,
                             const struct request_id *id, uint8_t reason)
{
    struct peer_note note = {
        .kind = PEER_FORWARD_REFUSED,
        .forward_refused = {.request = *id, .reason = reason},
    };
    replica_send_note(replica, from, &note);
}

int writes_forwarded(struct replica *replica, raft_node_id from, const struct peer_forward *forward)
{
    struct users_request entry;
    uint8_t encoded[USERS_REQUEST_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    if (users_request_decode(forward->request, &entry) != 0 || !users_command_valid(&entry.command))
        return -EBADMSG;
    entry.time_ms = entry_ms(replica);
    users_request_put(&out, &entry);
    if (out.bad)
        return -EBADMSG;
    struct users_answer answer;
    /* Where it is in the log, whoever sent it will apply it too. Under an id that another command
     * has it goes into the log as well: applying it says so to whoever sent it. */
    if (users_answered(replica->users, &entry.id, &entry.command, &answer) &&
        answer.kind != USERS_ID_REUSED)
        return 0;
    struct pending *pending = NULL;
    bool leads = raft_status(replica->raft).role == RAFT_LEADER;
    struct writes *writes = &replica->writes;
    if (leads && writes->forwarded < REPLICA_WAITING_MAX &&
        writes->forwarded_bytes + writer_len(&out) <= REPLICA_WAITING_BYTES_MAX)
        pending = new_pending(&entry.id, writer_bytes(&out), replica_now_ms(replica));
    if (pending == NULL) {
        refuse_forwarded(replica, from, &entry.id, leads ? CALL_BUSY : 0);
        return 0;
    }
    pending->from = from;
    writes->forwarded++;
    writes->forwarded_bytes += pending->len;
    push(&writes->unsent, pending);
    return 0;
}

void writes_forward_refused(struct replica *replica, raft_node_id from,
                            const struct peer_forward_refused *refused)
{
    struct writes *writes = &replica->writes;
    struct pending *pending = *bucket_of(writes, &refused->request);
    for (; pending != NULL; pending = pending->hash_next) {
        if (!request_id_equal(&pending->id, &refused->request) || !pending->sent ||
            !node_id_equal(pending->sent_to, from))
            continue;
        pending->in_doubt--;
        if (call_reason_text(refused->reason) != NULL)
            pending->reason = (enum call_reason)refused->reason;
        take_out(&writes->sent, pending);
        pending->sent = false;
        push(&writes->unsent, pending);
        writes->forward_after_ms = replica_now_ms(replica) + REFUSED_PAUSE_MS;
        return;
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

static void mark_sent(struct replica *replica, struct pending *pending, raft_node_id to)
{
    take_out(&replica->writes.unsent, pending);
    pending->sent = true;
    pending->sent_to = to;
    pending->sent_ms = replica_now_ms(replica);
    pending->in_doubt++;
    push(&replica->writes.sent, pending);
}

/* As many of the unsent as fit one proposal and the log, at the end of `entries`. */
static uint32_t gather_proposal(struct replica *replica)
{
    size_t room = replica_room(replica);
    uint32_t count = 0;
    const struct pending *pending = replica->writes.unsent.first;
    for (; pending != NULL && count < RAFT_APPEND_ENTRIES_MAX; pending = pending->next) {
        size_t bytes = wal_entry_bytes(pending->len);
        if (bytes > room || !replica_make_room(replica, 1, pending->len))
            break;
        room -= bytes;
        (void)entries_push(&replica->entries, RAFT_COMMAND,
                           bytes_of(pending->request, pending->len));
        replica->sizes[count++] = pending->len;
    }
    return count;
}

static void propose_unsent(struct replica *replica)
{
    struct writes *writes = &replica->writes;
    while (writes->unsent.first != NULL) {
        raft_index first = {replica->entries.first.n + replica->entries.count};
        uint32_t count = gather_proposal(replica);
        if (count == 0)
            return;
        replica->proposal_accepted = 0;
        replica_step(replica,
                     &(struct raft_event){.kind = RAFT_PROPOSED,
                                          .proposed = {.count = count, .bytes = replica->sizes}});
        if (replica->proposal_accepted != count) { /* busy: it stays unsent */
            entries_drop_from(&replica->entries, first);
            return;
        }
        for (uint32_t i = 0; i < count; i++) {
            struct pending *pending = writes->unsent.first;
            assert(pending != NULL);
            if (pending->from.n != 0)
                end(writes, pending);
            else
                mark_sent(replica, pending, (raft_node_id){replica->options.node});
        }
    }
}

static void forward_unsent(struct replica *replica, raft_node_id leader)
{
    struct writes *writes = &replica->writes;
    if (replica_now_ms(replica) < writes->forward_after_ms)
        return;
    while (writes->unsent.first != NULL) {
        struct pending *pending = writes->unsent.first;
        struct peer_note note = {
            .kind = PEER_FORWARD,
            .forward = {.request = bytes_of(pending->request, pending->len)},
        };
        replica_send_note(replica, leader, &note);
        mark_sent(replica, pending, leader);
    }
}

/* What others sent here finds no place: they shall know. */
static void turn_away_forwarded(struct replica *replica, uint8_t reason)
{
    struct pending *next = NULL;
    for (struct pending *p = replica->writes.unsent.first; p != NULL; p = next) {
        next = p->next;
        if (p->from.n == 0)
            continue;
        refuse_forwarded(replica, p->from, &p->id, reason);
        end(&replica->writes, p);
    }
}

/* The disk has no room, and nobody else would take them: the clients shall know. */
static void refuse_for_full_disk(struct replica *replica)
{
    struct pending *next = NULL;
    turn_away_forwarded(replica, CALL_DISK_FULL);
    for (struct pending *p = replica->writes.unsent.first; p != NULL; p = next) {
        next = p->next;
        p->reason = CALL_DISK_FULL;
        if (p->in_doubt > 0)
            continue;
        replica->options.hooks->refused(replica->options.context, p->client, CALL_DISK_FULL);
        end(&replica->writes, p);
    }
}

void writes_send(struct replica *replica)
{
    if (replica->writes.unsent.first == NULL)
        return;
    struct raft_status status = raft_status(replica->raft);
    if (status.role == RAFT_LEADER) {
        propose_unsent(replica);
        if (replica->writes.unsent.first != NULL && wal_full(replica->wal))
            refuse_for_full_disk(replica);
        return;
    }
    if (replica->writes.forwarded > 0)
        turn_away_forwarded(replica, 0);
    if (status.leader_known)
        forward_unsent(replica, status.leader);
}

void writes_unsend(struct replica *replica, bool only_to, raft_node_id to)
{
    struct writes *writes = &replica->writes;
    struct pending *next = NULL;
    struct pending_list unsent = writes->unsent;
    struct pending_list sent = writes->sent;
    writes->unsent = writes->sent = (struct pending_list){.first = NULL};
    for (struct pending *p = sent.first; p != NULL; p = next) {
        next = p->next;
        p->sent = only_to && !node_id_equal(p->sent_to, to);
        push(list_of(writes, p), p);
    }
    for (struct pending *p = unsent.first; p != NULL; p = next) {
        next = p->next;
        push(&writes->unsent, p);
    }
    writes->forward_after_ms = 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static struct users_request request_of(const struct pending *pending)
{
    struct users_request request;
    int bad = users_request_decode(bytes_of(pending->request, pending->len), &request);
    assert(bad == 0); /* it was encoded here */
    return request;
}

static bool is_command_of(const struct pending *pending, const struct users_command *command)
{
    struct users_request request = request_of(pending);
    return users_command_digest(&request.command) == users_command_digest(command);
}

void writes_applied(struct replica *replica, const struct users_request *request, uint64_t index,
                    const struct users_answer *answer)
{
    struct writes *writes = &replica->writes;
    struct pending *next = NULL;
    if (writes->count == 0)
        return;
    for (struct pending *p = *bucket_of(writes, &request->id); p != NULL; p = next) {
        next = p->hash_next;
        /* Another command under this id has an entry of its own, and an answer. */
        if (!request_id_equal(&p->id, &request->id) || !is_command_of(p, &request->command))
            continue;
        struct replica_client client = p->client;
        histogram_observe(&replica->measures.commit, replica->applying_ns - p->born_ns);
        end(writes, p);
        replica->options.hooks->written(replica->options.context, client, index, answer);
    }
}

static void answer_installed(struct replica *replica, struct pending_list *list)
{
    struct pending *next = NULL;
    for (struct pending *p = list->first; p != NULL; p = next) {
        struct users_answer answer;
        struct users_request request = request_of(p);
        next = p->next;
        if (p->from.n != 0 || !users_answered(replica->users, &p->id, &request.command, &answer))
            continue;
        struct replica_client client = p->client;
        end(&replica->writes, p);
        replica->options.hooks->written(replica->options.context, client, replica->applied,
                                        &answer);
    }
}

void writes_installed(struct replica *replica)
{
    answer_installed(replica, &replica->writes.unsent);
    answer_installed(replica, &replica->writes.sent);
}

static void give_up(struct replica *replica, struct pending *pending)
{
    const struct replica_hooks *hooks = replica->options.hooks;
    struct replica_client client = pending->client;
    enum call_reason reason = pending->reason;
    bool in_doubt = pending->in_doubt > 0;
    end(&replica->writes, pending);
    if (in_doubt)
        hooks->unknown(replica->options.context, client);
    else
        hooks->refused(replica->options.context, client, reason);
}

static void give_up_old(struct replica *replica, struct pending_list *list, uint64_t now_ms)
{
    struct pending *next = NULL;
    for (struct pending *p = list->first; p != NULL; p = next) {
        next = p->next;
        assert(list_of(&replica->writes, p) == list);
        if (p->from.n == 0 && now_ms - p->born_ms >= REPLICA_WAIT_MS)
            give_up(replica, p);
    }
}

void writes_tick(struct replica *replica, uint64_t now_ms)
{
    struct writes *writes = &replica->writes;
    give_up_old(replica, &writes->unsent, now_ms);
    give_up_old(replica, &writes->sent, now_ms);
    /* What was forwarded may be lost under way: the oldest of the list was sent longest ago. */
    uint64_t lost_ms = 4 * (uint64_t)replica->options.election_ms;
    const struct pending *oldest = writes->sent.first;
    if (oldest != NULL && now_ms - oldest->sent_ms >= lost_ms &&
        oldest->sent_to.n != replica->options.node)
        writes_unsend(replica, true, oldest->sent_to);
}
