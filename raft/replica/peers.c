/* What goes to other nodes, and what comes from them. */
#include "raft/replica/state.h"

#include <errno.h>
#include <string.h>

/* --- send ------------------------------------------------------------------------------------- */

/* Leaves the first `count` entries of an append. */
static void shorten(struct raft_runs *runs, uint32_t count)
{
    for (uint32_t i = 0; i < runs->runs; i++) {
        if (runs->at[i].count >= count) {
            runs->at[i].count = count;
            runs->runs = count > 0 ? i + 1 : i;
            return;
        }
        count -= runs->at[i].count;
    }
}

static struct peer_entry entry_of(const void *context, uint32_t i)
{
    const struct replica *replica = context;
    return replica->outbound[i];
}

void replica_send_note(struct replica *replica, raft_node_id to, const struct peer_note *note)
{
    struct writer out = writer_of(replica->frame, sizeof(replica->frame));
    peer_note_frame(&out, note);
    assert(!out.bad);
    if (replica->options.network != NULL)
        replica->options.network->send(replica->options.network, to, writer_bytes(&out));
}

struct read_back {
    struct replica *replica;
    uint32_t count;
    size_t used;
};

static int take_back(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                     struct bytes payload)
{
    struct read_back *back = context;
    struct replica *replica = back->replica;
    (void)index, (void)term;
    if (payload.len > sizeof(replica->read_back) - back->used)
        return -ENOBUFS;
    uint8_t *to = replica->read_back + back->used;
    if (payload.len > 0)
        memcpy(to, payload.at, payload.len);
    replica->outbound[back->count++] =
        (struct peer_entry){.kind = kind, .payload = bytes_of(to, payload.len)};
    back->used += payload.len;
    return 0;
}

/*
 * The entries of an append: those that memory has forgotten are read from the disk. Fewer when the
 * core did not know how large they are.
 */
static int gather_entries(struct replica *replica, raft_index first, uint32_t *count)
{
    struct read_back back = {.replica = replica};
    raft_index last = {first.n + *count - 1}, held = replica->entries.first;
    if (*count > 0 && index_less(first, held)) {
        raft_index to = index_min(last, (raft_index){held.n - 1});
        int result = wal_read(replica->wal, first, to, take_back, &back);
        if (result == -ENOBUFS)
            *count = back.count;
        else if (result != 0)
            return result;
    }
    for (uint32_t i = back.count; i < *count; i++) {
        struct peer_entry *entry = &replica->outbound[i];
        if (!entries_get(&replica->entries, (raft_index){first.n + i}, &entry->kind,
                         &entry->payload))
            UNREACHABLE();
        back.used += entry->payload.len;
        if (back.used > sizeof(replica->read_back))
            *count = i;
    }
    return 0;
}

void replica_send(struct replica *replica, struct raft_message *message)
{
    struct writer out = writer_of(replica->frame, sizeof(replica->frame));
    if (message->kind == RAFT_APPEND_ENTRIES) {
        struct raft_append_entries *append = &message->append_entries;
        uint32_t count = raft_runs_entries(&append->entries);
        if (gather_entries(replica, index_next(append->prev), &count) != 0) {
            /* Repaired soon, as a rule. Else, or if nobody knows what they were, the state is sent,
             * which has them all. */
            if (wal_holes(replica->wal) > 0 && replica->repair.tries < REPAIR_TRIES_MAX)
                return;
            if (snapshot_send_begin(replica, message->to, false))
                replica->options.hooks->note(
                    replica->options.context, "log_unreadable",
                    "entries for another node cannot be read back: it is sent a snapshot");
            return;
        }
        shorten(&append->entries, count);
    }
    peer_message_frame(&out, message, entry_of, replica);
    assert(!out.bad);
    replica->options.network->send(replica->options.network, message->to, writer_bytes(&out));
}

/* --- what comes from other nodes -------------------------------------------------------------- */

static int receive_note(struct replica *replica, raft_node_id from, struct frame frame)
{
    struct peer_note note;
    if (peer_note_decode(frame, &note) != 0)
        return -EBADMSG;
    switch (note.kind) {
    case PEER_LOG_POSITION:
        return rejoin_received(replica, from, &note.log_position);
    case PEER_FORWARD:
        return writes_forwarded(replica, from, &note.forward);
    case PEER_FORWARD_REFUSED:
        writes_forward_refused(replica, from, &note.forward_refused);
        return 0;
    case PEER_ENTRIES_REQUEST:
        return repair_asked(replica, from, &note.entries_request);
    case PEER_DIGEST:
        digests_heard(replica, from, &note.digest);
        return 0;
    case PEER_LIFE:
        return lives_heard(replica, from, &note.life);
    case PEER_ENTRY:
        return repair_entry(replica, &note.entry);
    case PEER_SNAPSHOT_REQUEST:
        snapshot_receive_requested(replica, from);
        if (replica->applied >= note.snapshot_request.least)
            (void)snapshot_send_begin(replica, from, false);
        return 0;
    case PEER_SNAPSHOT_OFFER:
        return snapshot_receive_offered(replica, from, &note.snapshot_offer);
    case PEER_SNAPSHOT_CHUNK_REQUEST:
        return snapshot_send_wanted(replica, from, &note.snapshot_chunk_request);
    case PEER_SNAPSHOT_CHUNK:
        return snapshot_receive_chunk(replica, from, &note.snapshot_chunk);
    case PEER_SNAPSHOT_END:
        snapshot_send_ended(replica, from, &note.snapshot_end);
        return 0;
    }
    UNREACHABLE();
}

/* The entries of an append, as far as the log has room for them. */
struct load {
    uint32_t count, fitting;
    size_t bytes; /* of the fitting ones */
    bool is_configuration;
    struct raft_configuration configuration;
};

bool replica_can_read(const struct replica *replica, enum raft_entry_kind kind,
                      struct bytes payload)
{
    struct users_request request;
    struct members members;
    switch (kind) {
    case RAFT_NOOP:
        return true;
    case RAFT_COMMAND:
        return users_request_decode(payload, &request) == 0;
    case RAFT_CONFIGURATION:
        return members_decode(payload, &members) == 0 &&
               (!cluster_id_known(replica_identity(replica).cluster) ||
                !membership_is_foreign(replica, &members));
    }
    UNREACHABLE();
}

/* False when an entry cannot be read, or a configuration is not alone. */
static bool measure(struct replica *replica, size_t room, struct load *ret_load)
{
    const struct peer_message *inbound = &replica->inbound;
    *ret_load = (struct load){.count = raft_runs_entries(&inbound->message.append_entries.entries)};
    for (uint32_t i = 0; i < ret_load->count; i++) {
        const struct peer_entry *entry = &inbound->entry[i];
        size_t log_bytes = wal_entry_bytes(entry->payload.len);
        replica->sizes[i] = (uint32_t)entry->payload.len;
        if (ret_load->fitting == i && log_bytes <= room) {
            room -= log_bytes;
            ret_load->bytes += entry->payload.len;
            ret_load->fitting++;
        }
        if (!replica_can_read(replica, entry->kind, entry->payload))
            return false;
        if (entry->kind != RAFT_CONFIGURATION)
            continue;
        ret_load->is_configuration = true;
        if (ret_load->count != 1 || members_decode(entry->payload, &replica->inbound_members) != 0)
            return false;
        ret_load->configuration = members_configuration(&replica->inbound_members);
    }
    return true;
}

static bool gives_vote(enum raft_message_kind kind)
{
    return kind == RAFT_REQUEST_VOTE_RESPONSE || kind == RAFT_REQUEST_PRE_VOTE_RESPONSE ||
           kind == RAFT_TIMEOUT_NOW;
}

static int receive_message(struct replica *replica, raft_node_id from, struct frame frame)
{
    struct peer_message *inbound = &replica->inbound;
    struct raft_received received = {.message = &inbound->message,
                                     .no_vote = !lives_may_vote(replica)};
    struct load load;
    if (peer_message_decode(frame, inbound) != 0 || !node_id_equal(inbound->message.from, from) ||
        inbound->message.to.n != replica->options.node)
        return -EBADMSG;
    size_t room = replica_room(replica);
    if (inbound->message.kind == RAFT_APPEND_ENTRIES) {
        if (!measure(replica, room, &load))
            return -EBADMSG;
        if (load.is_configuration && !cluster_id_known(replica_identity(replica).cluster))
            return 0; /* as if it were lost: whose it is cannot be told yet */
        bool whole = load.fitting == load.count;
        if (!whole && wal_flushing(replica->wal))
            return -EAGAIN;
        if (!whole) /* its head: whole it might never fit, and come for ever */
            shorten(&inbound->message.append_entries.entries, load.fitting);
        if (load.count > 0 &&
            (load.fitting == 0 || !replica_make_room(replica, load.fitting, load.bytes)))
            return wal_flushing(replica->wal) ? -EAGAIN : 0; /* else as if it were lost */
        received.bytes = replica->sizes;
        received.cut = !whole;
        received.configuration = load.is_configuration ? &load.configuration : NULL;
    } else if (room == 0 && gives_vote(inbound->message.kind)) {
        return 0; /* a leader opens its term with an entry */
    }
    replica_step(replica, &(struct raft_event){.kind = RAFT_RECEIVED, .received = received});
    if (replica->output.impossible)
        return -EBADMSG;
    if (inbound->message.kind == RAFT_APPEND_ENTRIES_RESPONSE &&
        !inbound->message.append_entries_response.recovering)
        lives_acknowledged(replica, from);
    return 0;
}

int replica_receive(struct replica *replica, raft_node_id from, struct frame frame)
{
    if (replica->users == NULL)
        return 0; /* not started yet */
    if (peer_is_note(frame.kind))
        return receive_note(replica, from, frame);
    return receive_message(replica, from, frame);
}

void replica_peer_up(struct replica *replica, raft_node_id peer)
{
    if (replica->users == NULL)
        return;
    writes_unsend(replica, true, peer); /* what went over the connection before is lost */
    lives_peer_up(replica, peer);
    rejoin_peer_up(replica, peer);
}

void replica_peer_lost(struct replica *replica, raft_node_id peer)
{
    if (replica->users != NULL)
        replica_step(replica,
                     &(struct raft_event){.kind = RAFT_PEER_LOST, .peer_lost = {.peer = peer}});
}
