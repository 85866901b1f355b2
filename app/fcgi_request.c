#include "app/fcgi_request.h"

#define FCGI_VERSION       1u
#define FCGI_BEGIN_REQUEST 1u
#define FCGI_PARAMS        4u
#define FCGI_STDIN         5u
#define FCGI_RESPONDER     1u

struct fcgi_record {
    uint8_t type;
    uint16_t id;
    struct bytes content;
};

/* Where in the name-value pairs the parameters stand: records may split them anywhere. */
struct pairs {
    uint8_t header[8]; /* of a pair: the lengths of name and value, in one or four bytes each */
    size_t have;       /* bytes of it */
    size_t left;       /* bytes of name and value still to come */
    size_t total;
    bool bad;
};

static uint16_t u16_big(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* The next record; false when its end is not there yet, or when it is *ret_bad. */
static bool next_record(struct reader *in, struct fcgi_record *ret_record, bool *ret_bad)
{
    struct reader peek = *in;
    struct bytes header = get_raw(&peek, 8); /* version type id:2 length:2 padding reserved */
    if (peek.bad)
        return false;
    struct fcgi_record record = {.type = header.at[1], .id = u16_big(header.at + 2)};
    if (header.at[0] != FCGI_VERSION || record.id == 0) {
        *ret_bad = true;
        return false;
    }
    record.content = get_raw(&peek, u16_big(header.at + 4));
    (void)get_raw(&peek, header.at[6]);
    if (peek.bad)
        return false;
    *in = peek;
    *ret_record = record;
    return true;
}

/* One length of a pair's header; 0 bytes used means that the header is not complete. */
static size_t pair_length(const uint8_t *at, size_t have, size_t *ret_length)
{
    if (have == 0)
        return 0;
    if ((at[0] & 0x80) == 0) {
        *ret_length = at[0];
        return 1;
    }
    if (have < 4)
        return 0;
    *ret_length = (size_t)(at[0] & 0x7f) << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    return 4;
}

static void pairs_header_byte(struct pairs *pairs, uint8_t byte)
{
    pairs->header[pairs->have++] = byte;
    size_t name_len = 0, value_len = 0;
    size_t used = pair_length(pairs->header, pairs->have, &name_len);
    if (used == 0 || pair_length(pairs->header + used, pairs->have - used, &value_len) == 0)
        return;
    pairs->have = 0;
    if (name_len > REQUEST_PARAMS_BYTES_MAX || value_len > REQUEST_PARAMS_BYTES_MAX)
        pairs->bad = true;
    else
        pairs->left = name_len + value_len;
}

static void pairs_feed(struct pairs *pairs, struct bytes content)
{
    pairs->total += content.len;
    if (pairs->total > REQUEST_PARAMS_BYTES_MAX)
        pairs->bad = true;
    struct reader in = reader_of(content);
    while (!pairs->bad && reader_left(&in) > 0) {
        if (pairs->left == 0) {
            pairs_header_byte(pairs, get_u8(&in));
            continue;
        }
        size_t step = pairs->left < reader_left(&in) ? pairs->left : reader_left(&in);
        (void)get_raw(&in, step);
        pairs->left -= step;
    }
}

static bool begins_request(const struct fcgi_record *record)
{
    if (record->type != FCGI_BEGIN_REQUEST || record->content.len != 8)
        return false;
    return u16_big(record->content.at) == FCGI_RESPONDER;
}

/* The records of one stream, up to the empty one. */
static enum fcgi_request_state scan_params(struct reader *in, uint16_t id)
{
    struct pairs pairs = {.have = 0};
    struct fcgi_record record;
    bool bad = false;
    while (next_record(in, &record, &bad)) {
        if (record.id != id || record.type != FCGI_PARAMS)
            return FCGI_REQUEST_BROKEN;
        if (record.content.len == 0)
            return pairs.have == 0 && pairs.left == 0 ? FCGI_REQUEST_WHOLE : FCGI_REQUEST_BROKEN;
        pairs_feed(&pairs, record.content);
        if (pairs.bad)
            return FCGI_REQUEST_BROKEN;
    }
    return bad ? FCGI_REQUEST_BROKEN : FCGI_REQUEST_PARTIAL;
}

static enum fcgi_request_state scan_body(struct reader *in, uint16_t id)
{
    size_t total = 0;
    struct fcgi_record record;
    bool bad = false;
    while (next_record(in, &record, &bad)) {
        if (record.id != id || record.type != FCGI_STDIN)
            return FCGI_REQUEST_BROKEN;
        if (record.content.len == 0)
            return reader_left(in) == 0 ? FCGI_REQUEST_WHOLE : FCGI_REQUEST_BROKEN;
        total += record.content.len;
        if (total > REQUEST_BODY_BYTES_MAX)
            return FCGI_REQUEST_TOO_BIG;
    }
    return bad ? FCGI_REQUEST_BROKEN : FCGI_REQUEST_PARTIAL;
}

enum fcgi_request_state fcgi_request_state(struct bytes bytes)
{
    struct reader in = reader_of(bytes);
    struct fcgi_record begin;
    bool bad = false;
    if (!next_record(&in, &begin, &bad))
        return bad ? FCGI_REQUEST_BROKEN : FCGI_REQUEST_PARTIAL;
    if (!begins_request(&begin))
        return FCGI_REQUEST_BROKEN;
    enum fcgi_request_state params = scan_params(&in, begin.id);
    return params == FCGI_REQUEST_WHOLE ? scan_body(&in, begin.id) : params;
}
