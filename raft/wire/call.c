#include "raft/wire/call.h"

#include <errno.h>

CALLS(SCHEMA_FAMILY_CODEC)
SCHEMA_CODEC(call_member, CALL_MEMBER_FIELDS)

#define CASE_TEXT(name, number, text) \
    case number:                      \
        return text;

const char *call_reason_text(uint8_t reason)
{
    switch (reason) {
        CALL_REASONS(CASE_TEXT)
    default:
        return NULL;
    }
}

const char *call_role_text(uint8_t role)
{
    switch (role) {
        CALL_ROLES(CASE_TEXT)
    default:
        return NULL;
    }
}

const char *call_snapshot_text(uint8_t state)
{
    switch (state) {
        CALL_SNAPSHOTS(CASE_TEXT)
    default:
        return NULL;
    }
}

static void put_fields(struct writer *out, const struct call *value)
{
    switch (value->kind) {
        CALLS(SCHEMA_CASE_PUT)
    }
    UNREACHABLE();
}

void call_put(struct writer *out, const struct call *value)
{
    size_t begin = frame_begin(out);
    put_fields(out, value);
    frame_end(out, begin, (uint16_t)value->kind);
}

static void get_fields(struct reader *in, uint16_t kind, struct call *value)
{
    switch (kind) {
        CALLS(SCHEMA_CASE_GET)
    default:
        in->bad = true;
    }
}

int call_decode(struct frame frame, struct call *ret_call)
{
    struct reader in = reader_of(frame.payload);
    struct call call;
    get_fields(&in, frame.kind, &call);
    if (!reader_done(&in))
        return -EBADMSG;
    *ret_call = call;
    return 0;
}

void member_put(struct writer *out, const struct call_member *member)
{
    call_member_put(out, member);
}

struct call_member member_get(struct reader *in)
{
    struct call_member member;
    call_member_get(in, &member);
    return member;
}

void call_print(struct writer *out, const struct call *value)
{
    switch (value->kind) {
        CALLS(SCHEMA_CASE_PRINT)
    }
    UNREACHABLE();
}
