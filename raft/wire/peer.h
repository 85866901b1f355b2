/*
 * What nodes send each other: the core's messages (core/message.h) with the payloads of the entries
 * that they carry, and the greeting that comes before them. Frames (frame.h) over one connection
 * from each node to each other; who calls sends, the answers go over the other's own connection.
 *
 * The greeting says which protocol, cluster and node this is, and whom it takes the other for:
 * a stranger, or a node of another cluster, is told nothing.
 */
#ifndef ROLLCALL_WIRE_PEER_H
#define ROLLCALL_WIRE_PEER_H

#include "raft/core/message.h"
#include "raft/wire/frame.h"

#define PEER_VERSION 1u

/* The frame's kind of a greeting; those of messages are their tags. */
#define PEER_HELLO           64u

#define PEER_HELLO_FIELDS(F) F(u32, version) F(u64, from) F(u64, to) F(bytes, cluster)
SCHEMA_STRUCT(peer_hello, PEER_HELLO_FIELDS)

void peer_hello_frame(struct writer *out, const struct peer_hello *hello);
NODISCARD int peer_hello_decode(struct frame frame, struct peer_hello *ret_hello);

/* An entry as it travels: its kind, and its payload. */
struct peer_entry {
    enum raft_entry_kind kind;
    struct bytes payload;
};

/*
 * Appends the message as one frame. `entry_of` gives entry i of an append, 0 for the first after
 * prev; not called for other messages.
 */
void peer_message_frame(struct writer *out, const struct raft_message *message,
                        struct peer_entry (*entry_of)(const void *context, uint32_t i),
                        const void *context);

/* A decoded message: payloads point into the frame. */
struct peer_message {
    struct raft_message message;
    struct peer_entry entry[RAFT_APPEND_ENTRIES_MAX]; /* of an append */
};

/* -EBADMSG when it is no message, or its entries are not those that its runs announce. */
NODISCARD int peer_message_decode(struct frame frame, struct peer_message *ret_message);

/* One line for people. */
void peer_message_print(struct writer *out, const struct raft_message *message);

/* A configuration as the payload of an entry. */
#define PEER_CONFIGURATION_BYTES_MAX 256u
void peer_configuration_put(struct writer *out, const struct raft_configuration *configuration);
NODISCARD int peer_configuration_decode(struct bytes bytes,
                                        struct raft_configuration *ret_configuration);

#endif
