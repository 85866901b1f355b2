#include "app/preconditions.h"

#include <errno.h>

static void skip_blanks(struct reader *in)
{
    while (reader_left(in) > 0 && (*in->at == ' ' || *in->at == '\t'))
        in->at++;
}

/* After the blanks: is this byte next? Then it is taken. */
static bool take(struct reader *in, uint8_t byte)
{
    skip_blanks(in);
    if (reader_left(in) == 0 || *in->at != byte)
        return false;
    in->at++;
    return true;
}

/* What stands between the quotes; anything but a quote, a blank or a control character. */
static struct bytes get_opaque(struct reader *in)
{
    const uint8_t *start = in->at;
    while (reader_left(in) > 0 && *in->at > ' ' && *in->at != '"' && *in->at != 0x7f)
        in->at++;
    struct bytes opaque = bytes_of(start, (size_t)(in->at - start));
    if (get_u8(in) != '"')
        in->bad = true;
    return opaque;
}

/* An index in decimal, as it is written in ETag. */
static bool is_ours(struct bytes opaque, uint64_t *ret_index)
{
    uint64_t index = 0;
    if (opaque.len == 0 || opaque.len > 20 || (opaque.len > 1 && opaque.at[0] == '0'))
        return false;
    for (size_t i = 0; i < opaque.len; i++) {
        uint8_t digit = (uint8_t)(opaque.at[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(index, 10, &index) ||
            __builtin_add_overflow(index, digit, &index))
            return false;
    }
    *ret_index = index;
    return true;
}

/* One tag of the list. */
static void get_tag(struct reader *in, bool weakly, struct writer *tags)
{
    bool weak = false;
    uint64_t index;
    if (reader_left(in) >= 2 && in->at[0] == 'W' && in->at[1] == '/') {
        weak = true;
        in->at += 2;
    }
    if (get_u8(in) != '"')
        in->bad = true;
    struct bytes opaque = get_opaque(in);
    if (!in->bad && (weakly || !weak) && is_ours(opaque, &index))
        put_u64(tags, index);
}

/* A line of a list; empty elements are allowed (RFC 9110 §5.6.1.2). */
static void get_line(struct reader *in, bool weakly, struct writer *tags)
{
    for (;;) {
        while (take(in, ','))
            ;
        if (reader_left(in) == 0)
            return;
        get_tag(in, weakly, tags);
        skip_blanks(in);
        if (in->bad || (reader_left(in) > 0 && *in->at != ',')) {
            in->bad = true;
            return;
        }
    }
}

static bool is_any(const struct request_lines *lines)
{
    struct reader in = reader_of(bytes_of_text(lines->line[0]));
    bool star = take(&in, '*');
    skip_blanks(&in);
    return lines->count == 1 && star && reader_left(&in) == 0;
}

/* -EBADMSG: no list of tags; -E2BIG: too many. */
static int read_condition(const struct request_lines *lines, bool weakly, uint8_t *store,
                          struct condition *ret_condition)
{
    *ret_condition = (struct condition){.kind = CONDITION_NONE};
    if (lines->count == 0)
        return 0;
    if (is_any(lines)) {
        ret_condition->kind = CONDITION_ANY;
        return 0;
    }
    struct writer tags = writer_of(store, CONDITION_BYTES_MAX);
    for (uint32_t i = 0; i < lines->count; i++) {
        struct reader in = reader_of(bytes_of_text(lines->line[i]));
        get_line(&in, weakly, &tags);
        if (in.bad)
            return -EBADMSG;
    }
    *ret_condition = (struct condition){.kind = CONDITION_LIST, .tags = writer_bytes(&tags)};
    return tags.bad ? -E2BIG : 0;
}

const char *preconditions_read(const struct request *request,
                               uint8_t store[static PRECONDITIONS_BYTES],
                               struct preconditions *ret_conditions)
{
    int match = read_condition(&request->if_match, false, store, &ret_conditions->if_match);
    int none_match = read_condition(&request->if_none_match, true, store + CONDITION_BYTES_MAX,
                                    &ret_conditions->if_none_match);
    if (match == -EBADMSG)
        return "`If-Match` must be `*` or a list of entity tags in double quotes";
    if (none_match == -EBADMSG)
        return "`If-None-Match` must be `*` or a list of entity tags in double quotes";
    if (match != 0 || none_match != 0)
        return "`If-Match` and `If-None-Match` may have at most 64 entity tags each";
    return NULL;
}
