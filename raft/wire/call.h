/*
 * What workers ask of their node, and what it answers, over its unix socket.
 *
 * One connection carries any number of calls at once; `call` is the worker's number for each, not
 * used twice while the first is open. Every call ends with exactly one of WRITTEN, REFUSED,
 * UNKNOWN, STATUS_RESPONSE, METRICS_RESPONSE, a USERS or a PIECE whose `last` is 1; or with the
 * connection.
 *
 *   worker                             node
 *   HELLO version            -->
 *                            <--       WELCOME version, node, applied   or it closes: other version
 *   WRITE call, id, command  -->
 *                            <--       WRITTEN call, index, answer    durable, applied
 *                                      REFUSED call, reason           certainly not executed
 *                                      UNKNOWN call                   may have been executed
 *   LIST call, consistency   -->
 *                            <--       USERS call, index, last, ...     first chunk of one version
 *   MORE call                -->                                      only while last is 0: the
 *                            <--       USERS call, index, last, ...     node sends nothing unasked
 *   DROP call                -->                                      no answer: forget this LIST
 *                                                                     or BACKUP, or nothing
 *   STATUS call              -->
 *                            <--       STATUS_RESPONSE call, ...
 *   METRICS call             -->
 *                            <--       METRICS_RESPONSE call, text    as Prometheus reads it
 *   BACKUP call              -->                                      rollcallctl: all of the state
 *                            <--       VERSION_RESPONSE call, ...     of one version: what it is
 *   MORE call                -->                                      and as long as last is 0
 *                            <--       PIECE call, last, ...            what is in it
 *
 * A DROP gives back all that a list holds here, at once, whether its users are being sent or it
 * waits for its index or its `min_index`. What was answered before the DROP came may cross it.
 *
 * A write sent twice under one request id happens once and is answered twice with one answer, so a
 * worker whose connection broke sends its open writes again on the next one.
 */
#ifndef ROLLCALL_WIRE_CALL_H
#define ROLLCALL_WIRE_CALL_H

#include "raft/users/command.h"
#include "raft/wire/frame.h"

#define CALL_VERSION 5u

/* The packed users of one USERS frame (see user_put) take at most so many bytes. */
#define CALL_CHUNK_BYTES_MAX (64u << 10)

/* The text of a METRICS_RESPONSE. */
#define CALL_METRICS_BYTES_MAX (48u << 10)

/* Members in a STATUS_RESPONSE, the bytes of an address ("host:port"), and of all members packed.
 */
#define CALL_MEMBERS_MAX       16u
#define CALL_ADDRESS_BYTES_MAX 255u
#define CALL_MEMBERS_BYTES_MAX (CALL_MEMBERS_MAX * (23u + CALL_ADDRESS_BYTES_MAX))

/* clang-format off */
#define CALLS(M) \
    M(CALL_HELLO,     call_hello,     hello,      1) \
    M(CALL_WELCOME,   call_welcome,   welcome,    2) \
    M(CALL_WRITE,     call_write,     write,      3) \
    M(CALL_WRITTEN,   call_written,   written,    4) \
    M(CALL_REFUSED,   call_refused,   refused,    5) \
    M(CALL_UNKNOWN,   call_unknown,   unknown,    6) \
    M(CALL_LIST,      call_list,      list,       7) \
    M(CALL_USERS,     call_users,     users,      8) \
    M(CALL_MORE,      call_more,      more,       9) \
    M(CALL_DROP,      call_drop,      drop,      10) \
    M(CALL_STATUS,    call_status,    status,    11) \
    M(CALL_STATUS_RESPONSE, call_status_response, status_response, 12) \
    M(CALL_METRICS,   call_metrics,   metrics,   13) \
    M(CALL_METRICS_RESPONSE, call_metrics_response, metrics_response, 14) \
    M(CALL_BACKUP,    call_backup,    backup,    20) \
    M(CALL_VERSION_RESPONSE, call_version_response, version_response, 21) \
    M(CALL_PIECE,     call_piece,     piece,     22)

#define CALL_HELLO_FIELDS(F)   F(u32, version)
/* `applied`: the state that any answer to come is of, or of a later one. */
#define CALL_WELCOME_FIELDS(F) F(u32, version) F(u64, node) F(u64, applied)
#define CALL_WRITE_FIELDS(F)   F(u64, call) F(request_id, request) F(bytes, command)
#define CALL_WRITTEN_FIELDS(F) F(u64, call) F(u64, index) F(bytes, answer)
#define CALL_REFUSED_FIELDS(F) F(u64, call) F(u8, reason)
#define CALL_UNKNOWN_FIELDS(F) F(u64, call)
/*
 * `after`: only ids above it. `limit`: at most so many users, 0 for all. `by`: enum call_by; only
 * those who have `text` there. `min_index`: of a state in which this entry is applied, whenever
 * that is.
 */
#define CALL_LIST_FIELDS(F) \
    F(u64, call) F(u8, consistency) F(u64, min_index) F(u64, after) F(u32, limit) F(u8, by) \
    F(bytes, text)
/* `index`: the state the list was read from; `changed`: the last before it that changed a user.
 * `users`: see user_put. */
#define CALL_USERS_FIELDS(F) \
    F(u64, call) F(u64, index) F(u64, changed) F(u8, last) F(bytes, users)
#define CALL_MORE_FIELDS(F)    F(u64, call)
#define CALL_DROP_FIELDS(F)    F(u64, call)
#define CALL_STATUS_FIELDS(F)  F(u64, call)
/*
 * `leader` is 0 when none is known. `ready`: a leader is known and this node has caught up.
 * `snapshot_index` is what the last snapshot that Redis made durable holds; `snapshot_state` one
 * of enum call_snapshot. `wal_full`: writes are refused until the disk has room. `members`: see
 * call_member; this node is one of them.
 */
#define CALL_STATUS_RESPONSE_FIELDS(F) \
    F(u64, call) F(u64, node) F(u8, role) F(u8, ready) F(u64, term) F(u64, leader) \
    F(u64, commit) F(u64, applied) F(u64, last) F(u64, users) F(u8, wal_full) \
    F(u8, snapshot_state) F(u64, snapshot_index) F(bytes, cluster) F(bytes, address) \
    F(bytes, members)
#define CALL_METRICS_FIELDS(F) F(u64, call)
/* `text`: whole families in Prometheus' text format, of the node and what is beside it. */
#define CALL_METRICS_RESPONSE_FIELDS(F) F(u64, call) F(bytes, text)
/* As fresh as a linearizable LIST. */
#define CALL_BACKUP_FIELDS(F)  F(u64, call)
/* `cluster` to `term`: whose, and as of which entry; `members`: then, see wire/members.h. */
#define CALL_VERSION_RESPONSE_FIELDS(F) \
    F(u64, call) F(bytes, cluster) F(u64, node) F(u64, index) F(u64, term) F(bytes, members) \
    USERS_META_FIELDS(F)
/* Users, then answers: see users/packed.h. One of the two is empty, or both. */
#define CALL_PIECE_FIELDS(F)   F(u64, call) F(u8, last) F(bytes, users) F(bytes, answers)

/*
 * A member of the cluster as this node sees it. `match`: the last entry known to be in its log,
 * where `match_known` is 1; only the leader knows others'. `reachable`: it was heard of lately.
 */
#define CALL_MEMBER_FIELDS(F) \
    F(u64, id) F(u8, voter) F(u64, match) F(u8, reachable) F(u8, match_known) F(bytes, address)

/* Why a call was refused. */
#define CALL_REASONS(R) \
    R(CALL_NO_LEADER, 1, "no leader is known") \
    R(CALL_BUSY,      2, "too many requests are waiting") \
    R(CALL_STOPPING,  3, "the node is shutting down") \
    R(CALL_DISK_FULL, 4, "the disk of the node is full") \
    R(CALL_INVALID,   5, "the node could not read the request") \
    R(CALL_BEHIND,    6, "this node has not applied the entry of `min_index`")

#define CALL_ROLES(R) \
    R(CALL_FOLLOWER, 1, "follower") R(CALL_CANDIDATE, 2, "candidate") R(CALL_LEADER, 3, "leader")

#define CALL_SNAPSHOTS(R) \
    R(CALL_SNAPSHOT_OK,   1, "ok") \
    R(CALL_SNAPSHOT_DOWN, 2, "redis-down") \
    R(CALL_SNAPSHOT_NOT_DURABLE, 3, "not-durable") \
    R(CALL_SNAPSHOT_GONE, 4, "gone-everywhere")
/* clang-format on */

#define CALL_ENUM_VALUE(name, number, text) name = number,
enum call_reason { CALL_REASONS(CALL_ENUM_VALUE) };
enum call_role { CALL_ROLES(CALL_ENUM_VALUE) };
enum call_snapshot { CALL_SNAPSHOTS(CALL_ENUM_VALUE) };
enum call_consistency { CALL_LINEARIZABLE = 1, CALL_STALE = 2 };
enum call_by { CALL_BY_ID = 0, CALL_BY_NAME = 1, CALL_BY_EMAIL = 2 };

CALLS(SCHEMA_FAMILY_STRUCT)
SCHEMA_STRUCT(call_member, CALL_MEMBER_FIELDS)

enum call_kind { CALLS(SCHEMA_FAMILY_ENUM) };

struct call {
    enum call_kind kind;
    union {
        CALLS(SCHEMA_FAMILY_ARM)
    };
};

/* The text of each value; NULL for a number that is none (it came from the other side). */
const char *call_reason_text(uint8_t reason);
const char *call_role_text(uint8_t role);
const char *call_snapshot_text(uint8_t state);

/* Appends the call as one frame. */
void call_put(struct writer *out, const struct call *value);

/* The call in a frame; -EBADMSG when it is none. Slices point into the frame's payload. */
NODISCARD int call_decode(struct frame frame, struct call *ret_call);

/* A member in the packed list that STATUS_RESPONSE carries. */
void member_put(struct writer *out, const struct call_member *member);
struct call_member member_get(struct reader *in);

/* One line for people. */
void call_print(struct writer *out, const struct call *value);

/* Most bytes that a frame with `bytes` in its variable part takes. */
#define CALL_FRAME_BYTES_MAX(bytes) (FRAME_HEADER_BYTES + 256u + (bytes))

#endif
