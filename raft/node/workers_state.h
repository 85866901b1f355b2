/* struct workers, for workers*.c only. */
#ifndef ROLLCALL_NODE_WORKERS_STATE_H
#define ROLLCALL_NODE_WORKERS_STATE_H

#include "raft/node/outbox.h"
#include "raft/node/workers.h"

#include <sys/un.h>

#define WORKERS_IN_BYTES 262144u

/* A LIST, or a BACKUP, that is not answered to the end. */
struct list {
    bool open;
    bool backup;
    uint64_t call;
    uint64_t after;
    enum call_by by;
    struct bytes text;       /* what is looked for; owned */
    uint32_t left;           /* users that the limit still allows; 0: no limit */
    struct users_view *view; /* NULL until readable */
    bool users_sent;         /* BACKUP: all of them; answers from this page on are to come */
    uint64_t answers_from;
};

struct worker_connection {
    struct workers *workers;
    uint32_t place;
    uint32_t generation; /* of this place: a client of an earlier one is nobody */
    bool open, greeted, paused, closing;
    uv_pipe_t pipe;
    struct outbox outbox;
    uint8_t *in; /* WORKERS_IN_BYTES */
    size_t in_len;
    uint32_t lists; /* places in use are below this */
    struct list list[WORKERS_LISTS_MAX];
};

struct workers {
    struct workers_options options;
    uv_pipe_t listener;
    bool listening;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct worker_connection *connection[WORKERS_MAX];
};

/* workers.c: gathers one frame, `variable_bytes` of it in its variable part. */
void workers_send(struct worker_connection *connection, const struct call *call,
                  size_t variable_bytes);

/* workers_calls.c */
/* False when the worker broke the protocol: a call that only the node sends, or one out of turn. */
NODISCARD bool workers_on_call(struct worker_connection *connection, const struct call *call);
void workers_close_lists(struct worker_connection *connection);
void workers_close_list(struct list *list);
/* The connection is gone, with those of its lists that still waited: not from within a hook. */
void workers_forget_reads(const struct worker_connection *connection);

/* workers_backup.c: the first answer to a BACKUP that is readable, and each later one. */
void workers_send_version(struct worker_connection *connection, struct list *list);
void workers_send_piece(struct worker_connection *connection, struct list *list);

#endif
