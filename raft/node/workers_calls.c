/* What workers call for, and what becomes of it. */
#include "raft/node/workers_state.h"

#include <stdlib.h>
#include <string.h>

/* In a client's connection: its call is not the worker's number but the place of a list. */
#define CLIENT_IS_READ (UINT64_C(1) << 31)
#define PLACE_MASK     (CLIENT_IS_READ - 1)

/* --- lists ------------------------------------------------------------------------------------ */

void workers_close_list(struct list *list)
{
    users_unpin(list->view);
    free((void *)(uintptr_t)list->text.at);
    *list = (struct list){.open = false};
}

void workers_close_lists(struct worker_connection *connection)
{
    for (uint32_t i = 0; i < connection->lists; i++)
        workers_close_list(&connection->list[i]);
    connection->lists = 0;
}

static struct list *find_list(struct worker_connection *connection, uint64_t call)
{
    for (uint32_t i = 0; i < connection->lists; i++) {
        if (connection->list[i].open && connection->list[i].call == call)
            return &connection->list[i];
    }
    return NULL;
}

static struct list *open_list(struct worker_connection *connection, const struct list *asked)
{
    uint32_t place = 0;
    while (place < connection->lists && connection->list[place].open)
        place++;
    if (place == WORKERS_LISTS_MAX)
        return NULL;
    if (place == connection->lists)
        connection->lists++;
    connection->list[place] = *asked;
    return &connection->list[place];
}

static uint64_t next_users(const struct list *list, struct writer *out, bool *ret_last)
{
    switch (list->by) {
    case CALL_BY_ID:
        return users_view_list(list->view, list->after, list->left, out, ret_last);
    case CALL_BY_NAME:
        return users_view_find(list->view, USER_TEXT_name, list->text, list->after, list->left, out,
                               ret_last);
    case CALL_BY_EMAIL:
        return users_view_find(list->view, USER_TEXT_email, list->text, list->after, list->left,
                               out, ret_last);
    }
    UNREACHABLE();
}

static void send_chunk(struct worker_connection *connection, struct list *list)
{
    uint8_t chunk[CALL_CHUNK_BYTES_MAX];
    struct writer out = writer_of(chunk, sizeof(chunk));
    bool last = false;
    struct users_meta meta = users_view_meta(list->view);
    uint64_t after = next_users(list, &out, &last);
    uint32_t packed = 0;
    struct reader in = reader_of(writer_bytes(&out));
    while (list->left > 0 && reader_left(&in) > 0) {
        (void)user_get(&in);
        packed++;
    }
    bool limited = list->left > 0 && packed == list->left;
    list->left -= packed;
    list->after = after;
    struct call call = {
        .kind = CALL_USERS,
        .users = {.call = list->call,
                  .index = meta.index,
                  .changed = meta.changed,
                  .last = last || limited,
                  .users = writer_bytes(&out)},
    };
    workers_send(connection, &call, writer_len(&out));
    if (last || limited)
        workers_close_list(list);
}

/* --- calls ------------------------------------------------------------------------------------ */

static struct replica_client client_of(const struct worker_connection *connection, uint64_t call)
{
    return (struct replica_client){
        .connection = (uint64_t)connection->generation << 32 | connection->place,
        .call = call,
    };
}

/* The read for which the list in this place waits. */
static struct replica_client reader_at(const struct worker_connection *connection, uint64_t place)
{
    struct replica_client client = client_of(connection, place);
    client.connection |= CLIENT_IS_READ;
    return client;
}

void workers_forget_reads(const struct worker_connection *connection)
{
    uint64_t of_reads = reader_at(connection, 0).connection;
    replica_forget_reads(connection->workers->options.replica, of_reads);
}

static struct worker_connection *connection_of(struct workers *workers,
                                               struct replica_client client)
{
    struct worker_connection *connection = workers->connection[client.connection & PLACE_MASK];
    if (connection == NULL || !connection->open || connection->closing ||
        connection->generation != client.connection >> 32)
        return NULL;
    return connection;
}

static void refuse(struct worker_connection *connection, uint64_t call, enum call_reason reason)
{
    struct call answer = {
        .kind = CALL_REFUSED,
        .refused = {.call = call, .reason = (uint8_t)reason},
    };
    workers_send(connection, &answer, 0);
}

static void on_list(struct worker_connection *connection, const struct list *asked, bool stale,
                    uint64_t min_index)
{
    struct list *list = open_list(connection, asked);
    if (list == NULL) {
        free((void *)(uintptr_t)asked->text.at);
        refuse(connection, asked->call, CALL_BUSY);
        return;
    }
    struct replica_client client = reader_at(connection, (uint64_t)(list - connection->list));
    replica_read(connection->workers->options.replica, client, stale, min_index);
}

/* Its place is free at once: a client can open and leave lists faster than they are answered. */
static void on_drop(struct worker_connection *connection, uint64_t call)
{
    struct list *list = find_list(connection, call);
    if (list == NULL)
        return; /* its last answer crossed the DROP */
    struct replica_client client = reader_at(connection, (uint64_t)(list - connection->list));
    if (list->view == NULL)
        replica_forget_read(connection->workers->options.replica, client);
    workers_close_list(list);
}

/* False for what no worker asks. */
static bool on_users_asked(struct worker_connection *connection, const struct call_list *call)
{
    struct list asked = {
        .open = true,
        .call = call->call,
        .after = call->after,
        .by = (enum call_by)call->by,
        .left = call->limit,
    };
    if (call->by > CALL_BY_EMAIL || call->text.len > USER_NAME_BYTES_MAX)
        return false;
    if (call->text.len > 0) {
        uint8_t *text = malloc(call->text.len);
        if (text == NULL) {
            refuse(connection, call->call, CALL_BUSY);
            return true;
        }
        memcpy(text, call->text.at, call->text.len);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by workers_close_list */
        asked.text = bytes_of(text, call->text.len);
    }
    on_list(connection, &asked, call->consistency == CALL_STALE, call->min_index);
    return true;
}

static enum call_role role_of(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return CALL_FOLLOWER;
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE:
        return CALL_CANDIDATE;
    case RAFT_LEADER:
        return CALL_LEADER;
    }
    UNREACHABLE();
}

static void put_member(const struct workers_options *options, const struct raft_status *status,
                       raft_node_id id, bool voter, struct writer *out)
{
    const struct raft *raft = replica_raft(options->replica);
    struct raft_peer_status peer = {.match = {0}};
    bool self = id.n == options->node;
    bool known = !self && raft_peer_status(raft, id, &peer);
    struct call_member member = {
        .id = id.n,
        .voter = voter,
        .match = self ? status->durable.n : peer.match.n,
        .match_known = self || known,
        .reachable = known ? peer.reachable : options->connected(options->context, id),
        .address =
            bytes_of_text(self ? options->address : options->address_of(options->context, id)),
    };
    member_put(out, &member);
}

static bool is_among(const raft_node_id *nodes, uint32_t count, raft_node_id id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (node_id_equal(nodes[i], id))
            return true;
    }
    return false;
}

static void put_members(const struct workers_options *options, const struct raft_status *status,
                        struct writer *out)
{
    const struct raft_configuration *now = raft_configuration(replica_raft(options->replica));
    for (uint32_t i = 0; i < now->voters; i++)
        put_member(options, status, now->voter[i], true, out);
    for (uint32_t i = 0; i < now->outgoing; i++) {
        if (!is_among(now->voter, now->voters, now->outgoing_voter[i]))
            put_member(options, status, now->outgoing_voter[i], true, out);
    }
    for (uint32_t i = 0; i < now->learners; i++)
        put_member(options, status, now->learner[i], false, out);
}

static void on_status(struct worker_connection *connection, const struct call_status *asked)
{
    const struct workers_options *options = &connection->workers->options;
    struct replica_status status = replica_status(options->replica);
    struct users_meta meta = users_meta(replica_users(options->replica));
    uint8_t members[CALL_MEMBERS_BYTES_MAX];
    struct writer out = writer_of(members, sizeof(members));
    put_members(options, &status.raft, &out);
    assert(!out.bad);
    struct call call = {
        .kind = CALL_STATUS_RESPONSE,
        .status_response = {.call = asked->call,
                            .node = options->node,
                            .role = (uint8_t)role_of(status.raft.role),
                            .ready = status.ready,
                            .term = status.raft.term.n,
                            .leader = status.raft.leader_known ? status.raft.leader.n : 0,
                            .commit = status.raft.commit.n,
                            .applied = status.applied,
                            .last = status.raft.last.n,
                            .users = meta.users,
                            .wal_full = status.wal_full,
                            .snapshot_state = (uint8_t)options->snapshot_state(options->context),
                            .snapshot_index = status.snapshot_index,
                            .cluster = bytes_of_text(options->cluster),
                            .address = bytes_of_text(options->address),
                            .members = writer_bytes(&out)},
    };
    size_t variable_bytes = strlen(options->cluster) + strlen(options->address) + writer_len(&out);
    workers_send(connection, &call, variable_bytes);
}

static void on_metrics(struct worker_connection *connection, const struct call_metrics *asked)
{
    const struct workers_options *options = &connection->workers->options;
    uint8_t text[CALL_METRICS_BYTES_MAX];
    struct writer out = writer_of(text, sizeof(text));
    options->put_metrics(options->context, &out);
    assert(!out.bad);
    struct call call = {
        .kind = CALL_METRICS_RESPONSE,
        .metrics_response = {.call = asked->call, .text = writer_bytes(&out)},
    };
    workers_send(connection, &call, writer_len(&out));
}

bool workers_on_call(struct worker_connection *connection, const struct call *call)
{
    struct list *list, asked;
    if (!connection->greeted && call->kind != CALL_HELLO)
        return false;
    switch (call->kind) {
    case CALL_HELLO:
        if (connection->greeted || call->hello.version != CALL_VERSION)
            return false;
        connection->greeted = true;
        struct call welcome = {
            .kind = CALL_WELCOME,
            .welcome = {.version = CALL_VERSION,
                        .node = connection->workers->options.node,
                        .applied =
                            users_meta(replica_users(connection->workers->options.replica)).index},
        };
        workers_send(connection, &welcome, 0);
        return true;
    case CALL_WRITE:
        replica_write(connection->workers->options.replica, client_of(connection, call->write.call),
                      &call->write.request, call->write.command);
        return true;
    case CALL_LIST:
        return on_users_asked(connection, &call->list);
    case CALL_BACKUP:
        asked = (struct list){.open = true, .backup = true, .call = call->backup.call};
        on_list(connection, &asked, false, 0);
        return true;
    case CALL_MORE:
        list = find_list(connection, call->more.call);
        if (list == NULL || list->view == NULL)
            return false;
        if (list->backup)
            workers_send_piece(connection, list);
        else
            send_chunk(connection, list);
        return true;
    case CALL_DROP:
        on_drop(connection, call->drop.call);
        return true;
    case CALL_STATUS:
        on_status(connection, &call->status);
        return true;
    case CALL_METRICS:
        on_metrics(connection, &call->metrics);
        return true;
    case CALL_WELCOME:
    case CALL_WRITTEN:
    case CALL_REFUSED:
    case CALL_UNKNOWN:
    case CALL_USERS:
    case CALL_STATUS_RESPONSE:
    case CALL_METRICS_RESPONSE:
    case CALL_VERSION_RESPONSE:
    case CALL_PIECE:
        return false;
    }
    UNREACHABLE();
}

void workers_written(struct workers *workers, struct replica_client client, uint64_t index,
                     const struct users_answer *answer)
{
    struct worker_connection *connection = connection_of(workers, client);
    if (connection == NULL)
        return; /* the worker is gone; it asks again under the same request id */
    uint8_t encoded[USERS_ANSWER_BYTES_MAX];
    struct writer out = writer_of(encoded, sizeof(encoded));
    users_answer_put(&out, answer);
    assert(!out.bad);
    struct call call = {
        .kind = CALL_WRITTEN,
        .written = {.call = client.call, .index = index, .answer = writer_bytes(&out)},
    };
    workers_send(connection, &call, writer_len(&out));
}

/* The list that waits for this result. */
static struct list *waiting_list(struct worker_connection *connection, struct replica_client client)
{
    assert((client.connection & CLIENT_IS_READ) != 0 && client.call < connection->lists);
    struct list *list = &connection->list[client.call];
    assert(list->open && list->view == NULL); /* only its result or its DROP ends its waiting */
    return list;
}

void workers_refused(struct workers *workers, struct replica_client client, enum call_reason reason)
{
    struct worker_connection *connection = connection_of(workers, client);
    if (connection == NULL)
        return;
    if ((client.connection & CLIENT_IS_READ) == 0) {
        refuse(connection, client.call, reason);
        return;
    }
    struct list *list = waiting_list(connection, client);
    refuse(connection, list->call, reason);
    workers_close_list(list);
}

void workers_unknown(struct workers *workers, struct replica_client client)
{
    struct worker_connection *connection = connection_of(workers, client);
    struct call answer = {.kind = CALL_UNKNOWN, .unknown = {.call = client.call}};
    if (connection != NULL)
        workers_send(connection, &answer, 0);
}

void workers_readable(struct workers *workers, struct replica_client client)
{
    struct worker_connection *connection = connection_of(workers, client);
    if (connection == NULL)
        return;
    struct list *list = waiting_list(connection, client);
    struct users *users = replica_users(workers->options.replica);
    list->view = list->by == CALL_BY_ID ? users_pin(users) : users_pin_indexed(users);
    if (list->backup)
        workers_send_version(connection, list);
    else
        send_chunk(connection, list);
}
