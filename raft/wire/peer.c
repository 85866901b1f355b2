#include "raft/wire/peer.h"

#include <errno.h>
#include <string.h>

static void put_term(struct writer *out, raft_term value)
{
    put_u64(out, value.n);
}

static raft_term get_term(struct reader *in)
{
    return (raft_term){get_u64(in)};
}

static void print_term(struct writer *out, const char *name, raft_term value)
{
    print_u64(out, name, value.n);
}

static void put_index(struct writer *out, raft_index value)
{
    put_u64(out, value.n);
}

static raft_index get_index(struct reader *in)
{
    return (raft_index){get_u64(in)};
}

static void print_index(struct writer *out, const char *name, raft_index value)
{
    print_u64(out, name, value.n);
}

static void put_runs(struct writer *out, struct raft_runs value)
{
    put_u32(out, value.runs);
    for (uint32_t i = 0; i < value.runs && i < RAFT_APPEND_RUNS_MAX; i++) {
        put_u64(out, value.at[i].term.n);
        put_u32(out, value.at[i].count);
    }
}

static struct raft_runs get_runs(struct reader *in)
{
    struct raft_runs runs = {.runs = get_u32(in)};
    uint64_t entries = 0;
    if (runs.runs > RAFT_APPEND_RUNS_MAX) {
        in->bad = true;
        runs.runs = 0;
    }
    for (uint32_t i = 0; i < runs.runs; i++) {
        runs.at[i].term.n = get_u64(in);
        runs.at[i].count = get_u32(in);
        entries += runs.at[i].count;
    }
    if (entries > RAFT_APPEND_ENTRIES_MAX)
        in->bad = true;
    return runs;
}

static void print_runs(struct writer *out, const char *name, struct raft_runs value)
{
    print_u32(out, name, raft_runs_entries(&value));
    for (uint32_t i = 0; i < value.runs; i++) {
        put_text(out, i == 0 ? "@" : ",");
        put_decimal(out, value.at[i].term.n);
    }
}

RAFT_MESSAGES(SCHEMA_FAMILY_CODEC)
SCHEMA_CODEC(peer_hello, PEER_HELLO_FIELDS)
SCHEMA_CODEC(peer_refused, PEER_REFUSED_FIELDS)
PEER_NOTES(SCHEMA_FAMILY_CODEC)

void peer_hello_frame(struct writer *out, const struct peer_hello *hello)
{
    size_t begin = frame_begin(out);
    peer_hello_put(out, hello);
    frame_end(out, begin, PEER_HELLO);
}

int peer_hello_decode(struct frame frame, struct peer_hello *ret_hello)
{
    struct reader in = reader_of(frame.payload);
    struct reader first = in;
    struct peer_hello hello = {.version = get_u32(&first)};
    if (hello.version == PEER_VERSION) {
        peer_hello_get(&in, &hello);
    } else { /* this much is the same in all versions, so that each can tell the other */
        hello.from = get_u64(&first);
        hello.to = get_u64(&first);
        in = first;
    }
    bool whole = hello.version == PEER_VERSION ? reader_done(&in) : !in.bad;
    if (frame.kind != PEER_HELLO || !whole)
        return -EBADMSG;
    *ret_hello = hello;
    return 0;
}

void peer_signal_frame(struct writer *out, uint16_t kind)
{
    size_t begin = frame_begin(out);
    frame_end(out, begin, kind);
}

bool peer_is_signal(struct frame frame, uint16_t kind)
{
    return frame.kind == kind && frame.payload.len == 0;
}

void peer_refused_frame(struct writer *out, enum peer_refusal reason)
{
    struct peer_refused refused = {.reason = (uint8_t)reason};
    size_t begin = frame_begin(out);
    peer_refused_put(out, &refused);
    frame_end(out, begin, PEER_REFUSED);
}

#define REFUSAL_KNOWN(NAME, number, at_callee, at_caller) \
    case number:                                          \
        *ret_reason = PEER_REFUSAL_##NAME;                \
        return 0;
#define REFUSAL_AT_CALLEE(NAME, number, at_callee, at_caller) \
    case PEER_REFUSAL_##NAME:                                 \
        return at_callee;
#define REFUSAL_AT_CALLER(NAME, number, at_callee, at_caller) \
    case PEER_REFUSAL_##NAME:                                 \
        return at_caller;

int peer_refused_decode(struct frame frame, enum peer_refusal *ret_reason)
{
    struct reader in = reader_of(frame.payload);
    struct peer_refused refused;
    peer_refused_get(&in, &refused);
    if (frame.kind != PEER_REFUSED || in.bad)
        return -EBADMSG;
    switch (refused.reason) {
        PEER_REFUSALS(REFUSAL_KNOWN)
    default:
        *ret_reason = PEER_REFUSAL_OTHER;
        return 0;
    }
}

const char *peer_refusal_at_callee(enum peer_refusal reason)
{
    switch (reason) {
        PEER_REFUSALS(REFUSAL_AT_CALLEE)
    }
    UNREACHABLE();
}

const char *peer_refusal_at_caller(enum peer_refusal reason)
{
    switch (reason) {
        PEER_REFUSALS(REFUSAL_AT_CALLER)
    }
    UNREACHABLE();
}

bool peer_is_note(uint16_t kind)
{
    return kind > PEER_HELLO;
}

static void put_note(struct writer *out, const struct peer_note *value)
{
    switch (value->kind) {
        PEER_NOTES(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

void peer_note_frame(struct writer *out, const struct peer_note *value)
{
    size_t begin = frame_begin(out);
    put_note(out, value);
    frame_end(out, begin, (uint16_t)value->kind);
}

static void get_note(struct reader *in, uint16_t kind, struct peer_note *value)
{
    switch (kind) {
        PEER_NOTES(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

static bool is_place(uint64_t index, uint64_t term)
{
    return index <= RAFT_INDEX_MAX && term <= RAFT_TERM_MAX;
}

/*
 * Whether the state is what the counts say is found out when all of it has come. Every id and every
 * answer took an entry of its own (users_load_done).
 */
static bool is_offer(const struct peer_snapshot_offer *offer)
{
    return offer->index > 0 && offer->term > 0 && is_place(offer->index, offer->term) &&
           offer->users < offer->next_id && offer->next_id <= USER_ID_MAX + 1 &&
           offer->next_id - 1 <= offer->index && offer->changed <= offer->index &&
           offer->answers_first <= offer->answers_next && offer->answers_next <= offer->index &&
           offer->keys_first <= offer->keys_next && offer->keys_next <= offer->answers_next;
}

/* It goes on, and holds something: so as many come as the offer announced users and answers. */
static bool is_chunk(const struct peer_snapshot_chunk *chunk)
{
    bool goes_on =
        chunk->next_after > chunk->after ||
        (chunk->next_after == chunk->after && chunk->next_answers_from > chunk->answers_from);
    return chunk->index > 0 && chunk->index <= RAFT_INDEX_MAX && chunk->last <= 1 &&
           (chunk->last == 1 || (goes_on && chunk->users.len + chunk->answers.len > 0)) &&
           chunk->users.len + chunk->answers.len <= PEER_CHUNK_BYTES_MAX;
}

static bool is_life(const struct peer_life *life)
{
    bool saw = life->seen_disk != 0;
    return life->asks <= 1 && life->rolled_back <= 1 && life->term <= RAFT_TERM_MAX &&
           life->disk != 0 && life->start > 0 && life->start <= PEER_START_MAX &&
           life->seen_start <= PEER_START_MAX && life->seen_term <= RAFT_TERM_MAX &&
           is_place(life->seen_last, life->seen_last_term) &&
           life->seen_last_term <= life->seen_term &&
           (saw || (life->seen_start | life->seen_number | life->seen_term) == 0);
}

static bool note_valid(const struct peer_note *note)
{
    switch (note->kind) {
    case PEER_LOG_POSITION:
        return note->log_position.asks <= 1 &&
               is_place(note->log_position.last, note->log_position.term) &&
               note->log_position.last_term <= note->log_position.term;
    case PEER_FORWARD:
    case PEER_FORWARD_REFUSED:
        return true; /* a request is judged by who decodes it; any reason may be a later version's
                      */
    case PEER_SNAPSHOT_REQUEST:
        return note->snapshot_request.least <= RAFT_INDEX_MAX;
    case PEER_SNAPSHOT_OFFER:
        return is_offer(&note->snapshot_offer);
    case PEER_SNAPSHOT_CHUNK_REQUEST:
        return note->snapshot_chunk_request.index <= RAFT_INDEX_MAX;
    case PEER_SNAPSHOT_CHUNK:
        return is_chunk(&note->snapshot_chunk);
    case PEER_SNAPSHOT_END:
        return note->snapshot_end.index <= RAFT_INDEX_MAX && note->snapshot_end.installed <= 1;
    case PEER_ENTRIES_REQUEST:
        return note->entries_request.indexes.len % 8 == 0 &&
               note->entries_request.indexes.len / 8 <= PEER_ENTRIES_REQUEST_MAX;
    case PEER_DIGEST:
        return note->digest.index > 0 && note->digest.index <= RAFT_INDEX_MAX;
    case PEER_LIFE:
        return is_life(&note->life);
    case PEER_ENTRY:
        return is_place(note->entry.index, note->entry.term) && note->entry.kind >= RAFT_NOOP &&
               note->entry.kind <= RAFT_CONFIGURATION &&
               note->entry.payload.len <= RAFT_ENTRY_BYTES_MAX;
    }
    return false;
}

int peer_note_decode(struct frame frame, struct peer_note *ret_note)
{
    struct reader in = reader_of(frame.payload);
    struct peer_note note = {
        .kind = PEER_LOG_POSITION}; /* whole: what is valid is asked before all of it is known */
    get_note(&in, frame.kind, &note);
    if (!reader_done(&in) || !note_valid(&note))
        return -EBADMSG;
    *ret_note = note;
    return 0;
}

static void put_fields(struct writer *out, const struct raft_message *value)
{
    switch (value->kind) {
        RAFT_MESSAGES(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

static void get_fields(struct reader *in, uint16_t kind, struct raft_message *value)
{
    switch (kind) {
        RAFT_MESSAGES(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

static void print_fields(struct writer *out, const struct raft_message *value)
{
    switch (value->kind) {
        RAFT_MESSAGES(SCHEMA_CASE_PRINT)
    }
    UNREACHABLE();
}

void peer_message_print(struct writer *out, const struct raft_message *message)
{
    put_decimal(out, message->from.n);
    put_text(out, "->");
    put_decimal(out, message->to.n);
    print_u64(out, "term", message->term.n);
    put_text(out, " ");
    print_fields(out, message);
}

void peer_message_frame(struct writer *out, const struct raft_message *message,
                        struct peer_entry (*entry_of)(const void *context, uint32_t i),
                        const void *context)
{
    size_t begin = frame_begin(out);
    put_u64(out, message->from.n);
    put_u64(out, message->to.n);
    put_u64(out, message->term.n);
    put_fields(out, message);
    uint32_t entries = 0;
    if (message->kind == RAFT_APPEND_ENTRIES)
        entries = raft_runs_entries(&message->append_entries.entries);
    for (uint32_t i = 0; i < entries; i++) {
        struct peer_entry entry = entry_of(context, i);
        put_u8(out, (uint8_t)entry.kind);
        put_bytes(out, entry.payload);
    }
    frame_end(out, begin, (uint16_t)message->kind);
}

static void get_entry(struct reader *in, struct peer_entry *entry)
{
    uint8_t kind = get_u8(in);
    entry->payload = get_bytes(in);
    if (kind < RAFT_NOOP || kind > RAFT_CONFIGURATION || entry->payload.len > RAFT_ENTRY_BYTES_MAX)
        in->bad = true;
    else
        entry->kind = (enum raft_entry_kind)kind;
}

int peer_message_decode(struct frame frame, struct peer_message *ret_message)
{
    struct reader in = reader_of(frame.payload);
    struct raft_message *message = &ret_message->message;
    memset(message, 0, sizeof(*message));
    message->from.n = get_u64(&in);
    message->to.n = get_u64(&in);
    message->term.n = get_u64(&in);
    get_fields(&in, frame.kind, message);
    uint32_t entries = 0;
    if (in.bad || !raft_message_valid(message))
        return -EBADMSG;
    if (message->kind == RAFT_APPEND_ENTRIES)
        entries = raft_runs_entries(&message->append_entries.entries);
    for (uint32_t i = 0; i < entries && !in.bad; i++)
        get_entry(&in, &ret_message->entry[i]);
    return reader_done(&in) ? 0 : -EBADMSG;
}
