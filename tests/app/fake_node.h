/*
 * A node of the tests' own: listens on a unix socket, speaks wire/call from a thread, keeps users
 * in memory, and misbehaves on request. Like the real one it executes a request id once.
 */
#ifndef ROLLCALL_TESTS_APP_FAKE_NODE_H
#define ROLLCALL_TESTS_APP_FAKE_NODE_H

#include "raft/wire/call.h"

#include <pthread.h>

#define FAKE_WRITES_MAX 1000000u
/* What it answers to METRICS. */
#define FAKE_METRICS "# HELP fake Of the node.\n# TYPE fake gauge\nfake 1\n"

/* What is to happen; set and read under `lock`, or before fake_node_start. */
struct fake_script {
    bool mute;                  /* takes everything in, answers no call */
    bool hold_writes;           /* … no write */
    bool hold_ahead;            /* … no list of a `min_index` */
    unsigned break_writes;      /* so many writes are executed, then answered by closing */
    unsigned lose_writes;       /* so many writes close the connection before they are executed */
    uint8_t refuse;             /* enum call_reason: refuse every write and list so */
    bool unknown;               /* answer every write with UNKNOWN */
    bool garbage;               /* answer the next call with bytes that are no frame */
    bool bad_users;             /* answer the next list with users that are none */
    bool no_limit;              /* lists are longer than they were asked for */
    bool wrong_version;         /* in WELCOME */
    unsigned break_lists_after; /* chunks: then the connection closes; 0 never */
    uint64_t users_made_up;     /* lists hold so many users, made up, instead of those written */
    unsigned made_up_name_bytes;
    uint64_t changed; /* of lists */
    bool answers;     /* writes are not executed, but have this answer: */
    struct users_answer answer;
    struct call_status_response status; /* its `call` is filled in */
};

/* What has happened. */
struct fake_record {
    unsigned connections; /* ever */
    unsigned open;        /* now */
    unsigned frames;      /* calls received */
    unsigned writes;      /* WRITE frames, again ones too */
    unsigned created;     /* users made: request ids seen for the first time */
    unsigned drops, lists, mores;
    struct request_id last_write;
    uint8_t command[USERS_COMMAND_BYTES_MAX]; /* of the last write */
    size_t command_len;
    struct call_list last_list; /* its text is in: */
    uint8_t text[USER_NAME_BYTES_MAX];
};

struct fake_node {
    char path[108];
    pthread_mutex_t lock;
    struct fake_script script;
    struct fake_record record;
    /* The thread's. */
    pthread_t thread;
    int listen_fd, stop_pipe[2];
    struct request_id *ids; /* of every user, in order of creation */
    struct bytes *names;
    uint32_t *table; /* request id → user's id */
};

/* Neither listens nor runs yet. */
void fake_node_init(struct fake_node *node, const char *path);
void fake_node_done(struct fake_node *node);
void fake_node_start(struct fake_node *node);
/* Closes its socket and all connections; users and record stay for the next start. */
void fake_node_stop(struct fake_node *node);

struct fake_script fake_node_script(struct fake_node *node);
void fake_node_play(struct fake_node *node, struct fake_script script);
struct fake_record fake_node_record(struct fake_node *node);

#endif
