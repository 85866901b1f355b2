/* The whole state of one version, for rollcallctl backup: asked for piece by piece, like a list. */
#include "raft/node/workers_state.h"

#include "raft/users/packed.h"

#include <string.h>

void workers_send_version(struct worker_connection *connection, struct list *list)
{
    const struct workers_options *options = &connection->workers->options;
    struct users_meta meta = users_view_meta(list->view);
    uint8_t at[MEMBERS_BYTES_MAX];
    struct writer members = writer_of(at, sizeof(at));
    members_put(&members, replica_members_at(options->replica, (raft_index){meta.index}));
    struct call call = {
        .kind = CALL_VERSION_RESPONSE,
        .version_response =
            {.call = list->call,
             .cluster = bytes_of_text(options->cluster),
             .node = options->node,
             .index = meta.index,
             .term = raft_entry_term(replica_raft(options->replica), (raft_index){meta.index}).n,
             .members = writer_bytes(&members),
             USERS_META_FIELDS(USERS_META_FROM_meta)},
    };
    workers_send(connection, &call, strlen(options->cluster) + writer_len(&members));
}

void workers_send_piece(struct worker_connection *connection, struct list *list)
{
    uint8_t chunk[CALL_CHUNK_BYTES_MAX];
    struct writer out = writer_of(chunk, sizeof(chunk));
    struct call call = {.kind = CALL_PIECE, .piece = {.call = list->call}};
    bool last = false;
    if (!list->users_sent) {
        list->after = users_view_list(list->view, list->after, 0, &out, &list->users_sent);
        call.piece.users = writer_bytes(&out);
    } else {
        list->answers_from = packed_put_answers(list->view, list->answers_from, &out, &last);
        call.piece.answers = writer_bytes(&out);
    }
    call.piece.last = last;
    workers_send(connection, &call, writer_len(&out));
    if (last)
        workers_close_list(list);
}
