/*
 * One connection to a node's workers' socket (raft/wire/call.h), for the programs of the bench:
 * calls are gathered and sent together, answers are taken one by one as they come.
 */
#ifndef ROLLCALL_BENCH_NODE_CLIENT_H
#define ROLLCALL_BENCH_NODE_CLIENT_H

#include "raft/users/command.h"
#include "raft/wire/call.h"

/* How a client waits for bytes: asleep in the kernel, or asking again and again. */
enum node_wait { NODE_WAIT_BLOCK, NODE_WAIT_POLL };

struct node_client {
    int fd;
    enum node_wait wait;
    struct writer out;
    uint8_t *in_at;
    size_t in_begin;
    size_t in_end;
    uint64_t received_bytes;
    uint64_t received_ns; /* when the bytes of the last answer were read */
    struct {
        uint64_t at[4];
    } random; /* xoshiro256**, seeded by the kernel */
};

/* Connects and says HELLO; ends the program when there is no node of this version. */
void node_connect(struct node_client *client, const char *socket_path, enum node_wait wait);
void node_close(struct node_client *client);

/* Gathers a call; node_flush sends all gathered. */
void node_put(struct node_client *client, const struct call *call);
void node_flush(struct node_client *client);

/*
 * The next answer; waits for it. Its bytes are borrowed until the next call. Ends the program when
 * the connection ends or brings nonsense.
 */
struct call node_take(struct node_client *client);
/* True when node_take would not wait. */
bool node_ready(const struct node_client *client);

/* A write that creates a user with a random name of `name_bytes` under a random request id. */
void node_put_create(struct node_client *client, uint64_t call, size_t name_bytes);

uint64_t node_random(struct node_client *client);

#endif
