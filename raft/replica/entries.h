/*
 * The newest entries of the log, in memory: from the first that is not applied to the last that was
 * gathered. Everything is allocated by init; what does not fit is refused.
 */
#ifndef ROLLCALL_REPLICA_ENTRIES_H
#define ROLLCALL_REPLICA_ENTRIES_H

#include "raft/base/bytes.h"
#include "raft/core/raft.h"

struct entry {
    enum raft_entry_kind kind;
    uint32_t len;
    uint64_t at; /* monotonic offset of its bytes; in the ring modulo its size */
};

struct entries {
    raft_index first; /* held are first … first + count - 1 */
    uint32_t count, count_max;
    struct entry *entry; /* ring by index */
    uint8_t *bytes;      /* ring; the bytes of an entry are never split */
    uint64_t bytes_max;
    uint64_t begin, end; /* places in use */
};

/* Room for so many entries (a power of two) of together so many bytes. -ENOMEM. */
NODISCARD int entries_init(struct entries *entries, uint32_t count_max, uint64_t bytes_max);
void entries_done(struct entries *entries);

/* Holds nothing; the next push is entry `first`. */
void entries_reset(struct entries *entries, raft_index first);

/* Whether `count` entries of together `bytes` can be pushed; wrong only to the safe side. */
bool entries_room(const struct entries *entries, uint32_t count, size_t bytes);
raft_index entries_push(struct entries *entries, enum raft_entry_kind kind, struct bytes payload);

/* False when the entry is not held. The payload is borrowed until the entry is dropped. */
bool entries_get(const struct entries *entries, raft_index index, enum raft_entry_kind *ret_kind,
                 struct bytes *ret_payload);

/* Forgets entries up to and including `index`; from `index` on. */
void entries_drop_to(struct entries *entries, raft_index index);
void entries_drop_from(struct entries *entries, raft_index index);

#endif
