#include "raft/replica/entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int entries_init(struct entries *entries, uint32_t count_max, uint64_t bytes_max)
{
    assert(count_max > 0 && (count_max & (count_max - 1)) == 0);
    struct entry *entry = calloc(count_max, sizeof(*entry));
    uint8_t *bytes = malloc(bytes_max);
    if (entry == NULL || bytes == NULL) {
        free(entry);
        free(bytes);
        return -ENOMEM;
    }
    *entries = (struct entries){
        .first = {1},
        .count_max = count_max,
        .entry = entry,
        .bytes = bytes,
        .bytes_max = bytes_max,
    };
    return 0;
}

void entries_done(struct entries *entries)
{
    free(entries->entry);
    free(entries->bytes);
    *entries = (struct entries){.count = 0};
}

void entries_reset(struct entries *entries, raft_index first)
{
    entries->first = first;
    entries->count = 0;
    entries->begin = entries->end = 0;
}

static struct entry *slot(const struct entries *entries, raft_index index)
{
    return &entries->entry[index.n & (entries->count_max - 1)];
}

/* Where `len` unsplit bytes begin: at the end, or at the ring's start when they reach over its end.
 */
static uint64_t place(const struct entries *entries, size_t len)
{
    uint64_t offset = entries->end % entries->bytes_max;
    if (offset + len <= entries->bytes_max)
        return entries->end;
    return entries->end + (entries->bytes_max - offset);
}

bool entries_room(const struct entries *entries, uint32_t count, size_t bytes)
{
    if (count > entries->count_max - entries->count)
        return false;
    if (entries->count == 0)
        return bytes <= entries->bytes_max;
    uint64_t used = place(entries, count == 1 ? bytes : 0) - entries->begin;
    /* Of several, one may not fit the ring's end, and begin at its start. */
    uint64_t wasted = count > 1 && bytes > 0 ? RAFT_ENTRY_BYTES_MAX : 0;
    return used + bytes + wasted <= entries->bytes_max;
}

raft_index entries_push(struct entries *entries, enum raft_entry_kind kind, struct bytes payload)
{
    assert(entries_room(entries, 1, payload.len));
    if (entries->count == 0)
        entries->begin = entries->end = 0; /* a log at rest uses the same few pages */
    raft_index index = {entries->first.n + entries->count};
    uint64_t at = place(entries, payload.len);
    if (payload.len > 0)
        memcpy(entries->bytes + at % entries->bytes_max, payload.at, payload.len);
    *slot(entries, index) = (struct entry){.kind = kind, .len = (uint32_t)payload.len, .at = at};
    entries->end = at + payload.len;
    entries->count++;
    return index;
}

bool entries_get(const struct entries *entries, raft_index index, enum raft_entry_kind *ret_kind,
                 struct bytes *ret_payload)
{
    if (index_less(index, entries->first) || index.n - entries->first.n >= entries->count)
        return false;
    const struct entry *entry = slot(entries, index);
    *ret_kind = entry->kind;
    *ret_payload = bytes_of(entries->bytes + entry->at % entries->bytes_max, entry->len);
    return true;
}

void entries_drop_to(struct entries *entries, raft_index index)
{
    while (entries->count > 0 && !index_less(index, entries->first)) {
        const struct entry *entry = slot(entries, entries->first);
        entries->begin = entry->at + entry->len;
        entries->first = index_next(entries->first);
        entries->count--;
    }
}

void entries_drop_from(struct entries *entries, raft_index index)
{
    while (entries->count > 0 &&
           !index_less((raft_index){entries->first.n + entries->count - 1}, index)) {
        entries->count--;
        entries->end = slot(entries, (raft_index){entries->first.n + entries->count})->at;
    }
}
