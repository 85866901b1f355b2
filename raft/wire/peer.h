/*
 * What nodes send each other: the core's messages (core/message.h) with the payloads of the entries
 * that they carry, and the greeting that comes before them. Frames (frame.h) over one connection
 * from each node to each other; who calls sends, the answers go over the other's own connection.
 *
 * The greeting says which protocol, cluster and node this is, and whom it takes the other for:
 * a stranger, or a node of another cluster, is told nothing. `cluster_high` and `cluster_low` are
 * the cluster's id, zeros while the node does not know it; `disk` is the directory's id;
 * `format_least` to `format_most` the formats of entries that the node reads and writes.
 */
#ifndef ROLLCALL_WIRE_PEER_H
#define ROLLCALL_WIRE_PEER_H

#include "raft/core/message.h"
#include "raft/users/command.h"
#include "raft/wire/frame.h"
#include "raft/wire/members.h"

#define PEER_VERSION 6u

/*
 * What is said before anything else, on a connection that a node opened; only the caller's frames
 * go on after it.
 *
 *   HELLO      caller --> callee   who calls, and whom it takes the other for: the first frame
 *   WELCOME    caller <-- callee   it is accepted; before that the caller sends nothing else
 *   REFUSED    caller <-- callee   it is not, or what came later breaks a rule; the callee closes
 *   PROBE      caller <-- callee   somebody else calls in your name: are you there?
 *   PRESENT    caller --> callee   the answer to PROBE
 */
#define PEER_PRESENT 60u
#define PEER_PROBE   61u
#define PEER_WELCOME 62u
#define PEER_REFUSED 63u

/*
 * What drivers say to one another beside the core's messages. Tags share the frame's kind with
 * those of the core's messages (core/message.h), and begin above them.
 *
 *   STANDING   the sender's term, and where its log ends: for a node that forgot
 *   FORWARD    a write for the leader: a users_request. Its answer is its application at the sender
 *   ENTRIES_REQUEST   entries that are damaged at the sender, by index; ENTRY one of them, if the
 *              receiver has it: nothing is said of others
 *   DIGEST     of the sender's state after that entry (users_digest), to be compared
 *   LIFE       which start of which disk the sender is, and what it has seen of the receiver's
 *   FORWARD_REFUSED  this sending of it is in no log: try again, or somewhere else
 *
 * A snapshot is the state as of an entry, sent in pieces that the receiver asks for, so that it can
 * go on after a broken connection:
 *
 *   holder                  receiver
 *                      <--  SNAPSHOT_REQUEST         its store lost what the log builds on
 *   SNAPSHOT_OFFER     -->
 *                      <--  SNAPSHOT_CHUNK_REQUEST   from a position; again and again, until END
 *   SNAPSHOT_CHUNK     -->                           from that position to the next
 *                      <--  SNAPSHOT_END             installed durably, or never will be
 *
 * A position is a user id (users above it) and a number of an answer (from there on; packed.h).
 */
#define PEER_HELLO  64u
#define PEER_FORMAT 1u /* of entries: the only one there is */
/* clang-format off */
#define PEER_HELLO_FIELDS(F) F(u32, version) F(u64, from) F(u64, to) F(bytes, cluster) \
    F(u64, cluster_high) F(u64, cluster_low) F(u64, disk) \
    F(u32, format_least) F(u32, format_most)

#define PEER_NOTES(M) \
    M(PEER_LOG_POSITION,        peer_log_position,        log_position,        65) \
    M(PEER_FORWARD,         peer_forward,         forward,         66) \
    M(PEER_FORWARD_REFUSED, peer_forward_refused, forward_refused, 67) \
    M(PEER_SNAPSHOT_REQUEST, peer_snapshot_request, snapshot_request, 68) \
    M(PEER_SNAPSHOT_OFFER,  peer_snapshot_offer,  snapshot_offer,  69) \
    M(PEER_SNAPSHOT_CHUNK_REQUEST,   peer_snapshot_chunk_request,   snapshot_chunk_request,   70) \
    M(PEER_SNAPSHOT_CHUNK,  peer_snapshot_chunk,  snapshot_chunk,  71) \
    M(PEER_SNAPSHOT_END,    peer_snapshot_end,    snapshot_end,    72) \
    M(PEER_ENTRIES_REQUEST,  peer_entries_request,  entries_request,  73) \
    M(PEER_ENTRY,           peer_entry_here,      entry,           74) \
    M(PEER_DIGEST,          peer_digest,          digest,          75) \
    M(PEER_LIFE,            peer_life,            life,            76)

/* `asks`: the receiver is to say its own, with the same `question`. */
#define PEER_LOG_POSITION_FIELDS(F)        F(u8, asks) F(u64, question) F(u64, term) F(u64, last) \
    F(u64, last_term) F(u64, cluster_high) F(u64, cluster_low) F(u64, disk)
#define PEER_FORWARD_FIELDS(F)         F(bytes, request)
/* `reason`: enum call_reason, or 0 when the receiver does not lead. */
#define PEER_FORWARD_REFUSED_FIELDS(F) F(request_id, request) F(u8, reason)
/* Wanted is a state at least as new as `least`. */
#define PEER_SNAPSHOT_REQUEST_FIELDS(F) F(u64, least)
#define PEER_SNAPSHOT_OFFER_FIELDS(F) \
    F(u64, index) F(u64, term) USERS_META_FIELDS(F) F(bytes, members)
#define PEER_SNAPSHOT_CHUNK_REQUEST_FIELDS(F)   F(u64, index) F(u64, after) F(u64, answers_from)
/* `users`, `answers`: see users/packed.h. */
#define PEER_SNAPSHOT_CHUNK_FIELDS(F) \
    F(u64, index) F(u64, after) F(u64, answers_from) F(u64, next_after) \
    F(u64, next_answers_from) F(u8, last) F(bytes, users) F(bytes, answers)
#define PEER_SNAPSHOT_END_FIELDS(F)    F(u64, index) F(u8, installed)
/* u64 indexes, one after another. */
#define PEER_ENTRIES_REQUEST_FIELDS(F)  F(bytes, indexes)
#define PEER_DIGEST_FIELDS(F)          F(u64, index) F(u64, digest)
/*
 * `asks`: the receiver is to say its own. `number` is drawn by each process: two of one start are
 * not one. `term` is durable. `rolled_back`: the sender was put back, and has not yet again what it
 * forgot. `seen_…`: the latest of the receiver that the sender saw, the term in which, and the last
 * entry that it acknowledged to the sender; disk 0: none.
 */
#define PEER_START_MAX (UINT64_C(1) << 62)
#define PEER_LIFE_FIELDS(F) \
    F(u8, asks) F(u64, disk) F(u64, start) F(u64, number) F(u64, term) F(u8, rolled_back) \
    F(u64, seen_disk) F(u64, seen_start) F(u64, seen_number) F(u64, seen_term) \
    F(u64, seen_last) F(u64, seen_last_term)
#define PEER_ENTRY_FIELDS(F)           F(u64, index) F(u64, term) F(u8, kind) F(bytes, payload)
/* clang-format on */

/*
 * Why a node is refused: R(NAME, number, what the callee says, what the caller says). Numbers are
 * on the wire: never reused. A number that a node does not know is OTHER to it.
 */
#define PEER_REFUSALS(R)                                                                       \
    R(OTHER, 1, "it is refused",                                                               \
      "it refuses this node for a reason that this version does not know")                     \
    R(NO_GREETING, 2, "what it said first is no greeting of a node, or nothing came in time",  \
      "it says that what this node said first is no greeting of a node")                       \
    R(VERSION, 3, "it speaks another version of the protocol between nodes",                   \
      "it speaks another version of the protocol between nodes")                               \
    R(OTHER_CLUSTER, 4, "it is a node of another cluster (--cluster)",                         \
      "it is a node of another cluster (--cluster)")                                           \
    R(OTHER_CLUSTER_ID, 5, "it is a node of another cluster of the same name",                 \
      "it is a node of another cluster of the same name")                                      \
    R(OTHER_NODE, 6,                                                                           \
      "it takes this node for another one: its --members are not those of this node",          \
      "it is not the node that --members says is at this address")                             \
    R(UNKNOWN_MEMBER, 7, "it is not among --members", "this node is not among its --members")  \
    R(DUPLICATE_ID, 8, "another process has the same id: does a copy of its folder run?",      \
      "another process has this node's id: does a copy of this folder run?")                   \
    R(REMOVED, 9, "it was removed from the cluster", "this node was removed from the cluster") \
    R(BROKE_RULES, 10, "what it sent breaks a rule of the protocol, or is no frame",           \
      "what this node sent breaks a rule of the protocol, it says")

#define PEER_REFUSAL_ENUM(NAME, number, at_callee, at_caller) PEER_REFUSAL_##NAME = number,
enum peer_refusal { PEER_REFUSALS(PEER_REFUSAL_ENUM) };
#define PEER_REFUSAL_NUMBERS   11u /* all are below */

#define PEER_REFUSED_FIELDS(F) F(u8, reason)
SCHEMA_STRUCT(peer_refused, PEER_REFUSED_FIELDS)

SCHEMA_STRUCT(peer_hello, PEER_HELLO_FIELDS)
PEER_NOTES(SCHEMA_FAMILY_STRUCT)

enum peer_note_kind { PEER_NOTES(SCHEMA_FAMILY_ENUM) };

struct peer_note {
    enum peer_note_kind kind;
    union {
        PEER_NOTES(SCHEMA_FAMILY_ARM)
    };
};

/* Indexes that one ENTRIES_REQUEST asks for. */
#define PEER_ENTRIES_REQUEST_MAX 64u

/* The packed users and the packed answers of a chunk together take at most so many bytes. */
#define PEER_CHUNK_BYTES_MAX (256u << 10)
/* A note but a chunk or an entry takes at most so many bytes as a frame. */
#define PEER_NOTE_BYTES_MAX    (FRAME_HEADER_BYTES + 4096u + MEMBERS_BYTES_MAX)
#define PEER_CHUNK_FRAME_BYTES (PEER_NOTE_BYTES_MAX + PEER_CHUNK_BYTES_MAX)
#define PEER_MESSAGE_BYTES_MAX \
    (FRAME_HEADER_BYTES + 512u + RAFT_APPEND_BYTES_MAX + 5u * RAFT_APPEND_ENTRIES_MAX)
_Static_assert(PEER_CHUNK_FRAME_BYTES <= FRAME_PAYLOAD_BYTES_MAX, "a chunk fits a frame");
_Static_assert(PEER_MESSAGE_BYTES_MAX <= FRAME_PAYLOAD_BYTES_MAX, "a message fits a frame");

void peer_hello_frame(struct writer *out, const struct peer_hello *hello);
NODISCARD int peer_hello_decode(struct frame frame, struct peer_hello *ret_hello);

/* A frame that is only its kind: PRESENT, PROBE, WELCOME. */
#define PEER_SIGNAL_BYTES FRAME_HEADER_BYTES
void peer_signal_frame(struct writer *out, uint16_t kind);
bool peer_is_signal(struct frame frame, uint16_t kind);

#define PEER_REFUSED_BYTES (FRAME_HEADER_BYTES + 1u)
void peer_refused_frame(struct writer *out, enum peer_refusal reason);
/* OTHER for a reason that is not known here; what a later version puts after it is ignored. */
NODISCARD int peer_refused_decode(struct frame frame, enum peer_refusal *ret_reason);
/* For people. */
const char *peer_refusal_at_callee(enum peer_refusal reason);
const char *peer_refusal_at_caller(enum peer_refusal reason);

/* Appends the note as one frame. */
void peer_note_frame(struct writer *out, const struct peer_note *value);
/* -EBADMSG when it is none, or says what no node that follows the rules says, whatever its state.
 * Slices point into the frame. */
NODISCARD int peer_note_decode(struct frame frame, struct peer_note *ret_note);
/* Whether a frame of this kind is a note, else it is a message of the core's (or nothing). */
bool peer_is_note(uint16_t kind);

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

/* -EBADMSG when it is no message, not a valid one (raft_message_valid), or its entries are not
 * those that its runs announce. */
NODISCARD int peer_message_decode(struct frame frame, struct peer_message *ret_message);

/* One line for people. */
void peer_message_print(struct writer *out, const struct raft_message *message);

#endif
