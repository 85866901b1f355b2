/* The text of pages, as a person reads them with redis-cli; see snapshots.h. */
#include "raft/node/snapshots_state.h"

#include <errno.h>

struct bytes snapshots_decimal(struct writer *scratch, uint64_t value)
{
    uint8_t *at = scratch->at;
    put_decimal(scratch, value);
    return bytes_of(at, (size_t)(scratch->at - at));
}

void snapshots_put_indexes(struct writer *out, const struct users_page *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        if (i > 0)
            put_text(out, " ");
        put_decimal(out, page->at[i].id);
        put_text(out, ":");
        put_decimal(out, page->at[i].index);
    }
}

int snapshots_get_indexes(struct bytes text, uint64_t page, uint64_t ret_index[USERS_PAGE])
{
    struct reader in = reader_of(text);
    for (uint32_t i = 0; i < USERS_PAGE; i++)
        ret_index[i] = 0;
    while (!in.bad && reader_left(&in) > 0) {
        uint64_t id = json_get_u64(&in);
        json_get_literal(&in, ":");
        uint64_t index = json_get_u64(&in);
        if (reader_left(&in) > 0)
            json_get_literal(&in, " ");
        if (in.bad || id / USERS_PAGE != page)
            return -EBADMSG;
        ret_index[id % USERS_PAGE] = index;
    }
    return in.bad ? -EBADMSG : 0;
}

static void put_nodes(struct writer *out, const char *before, const raft_node_id *nodes,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        put_text(out, i == 0 ? before : ",");
        put_decimal(out, nodes[i].n);
    }
}

void snapshots_put_configuration(struct writer *out, const struct raft_configuration *value)
{
    put_nodes(out, "", value->voter, value->voters);
    put_nodes(out, "/", value->outgoing_voter, value->outgoing);
    put_nodes(out, "+", value->learner, value->learners);
}

static bool next_is(const struct reader *in, char c)
{
    return reader_left(in) > 0 && *in->at == (uint8_t)c;
}

static uint32_t get_nodes(struct reader *in, raft_node_id nodes[RAFT_MEMBERS_MAX])
{
    uint32_t count = 0;
    do {
        if (count > 0)
            (void)get_u8(in);
        if (count == RAFT_MEMBERS_MAX)
            in->bad = true;
        uint64_t id = json_get_u64(in);
        if (!in->bad)
            nodes[count++].n = id;
    } while (!in->bad && next_is(in, ','));
    return count;
}

int snapshots_get_configuration(struct bytes text, struct raft_configuration *ret_value)
{
    struct reader in = reader_of(text);
    struct raft_configuration value = {.voters = 0};
    value.voters = get_nodes(&in, value.voter);
    if (next_is(&in, '/')) {
        (void)get_u8(&in);
        value.outgoing = get_nodes(&in, value.outgoing_voter);
    }
    if (next_is(&in, '+')) {
        (void)get_u8(&in);
        value.learners = get_nodes(&in, value.learner);
    }
    if (!reader_done(&in))
        return -EBADMSG;
    *ret_value = value;
    return 0;
}

static void put_id(struct writer *out, const struct request_id *id)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(id->at); i++) {
        put_u8(out, (uint8_t)digits[id->at[i] >> 4]);
        put_u8(out, (uint8_t)digits[id->at[i] & 15]);
    }
}

static uint8_t get_digit(struct reader *in)
{
    uint8_t c = get_u8(in);
    if (c >= '0' && c <= '9')
        return (uint8_t)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (uint8_t)(c - 'a' + 10);
    in->bad = true;
    return 0;
}

static struct request_id get_id(struct reader *in)
{
    struct request_id id;
    for (size_t i = 0; i < sizeof(id.at); i++) {
        uint8_t high = get_digit(in);
        id.at[i] = (uint8_t)(high << 4 | get_digit(in));
    }
    return id;
}

static void put_answer(struct writer *out, const struct users_answer *answer)
{
    switch (answer->kind) {
    case USERS_CREATED:
        put_text(out, " created ");
        put_decimal(out, answer->created.id);
        put_text(out, " ");
        put_decimal(out, answer->created.index);
        return;
    case USERS_REJECTED:
        put_text(out, " rejected ");
        put_decimal(out, answer->rejected.index);
        return;
    }
    UNREACHABLE();
}

static struct users_answer get_answer(struct reader *in)
{
    struct users_answer answer = {.kind = USERS_CREATED};
    struct reader ahead = *in;
    json_get_literal(&ahead, " created ");
    if (!ahead.bad) {
        *in = ahead;
        answer.created.id = json_get_u64(in);
        json_get_literal(in, " ");
        answer.created.index = json_get_u64(in);
        return answer;
    }
    json_get_literal(in, " rejected ");
    answer.kind = USERS_REJECTED;
    answer.rejected.index = json_get_u64(in);
    return answer;
}

void snapshots_put_answers(struct writer *out, const struct users_past_page *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        put_decimal(out, page->at[i].sequence);
        put_text(out, " ");
        put_id(out, &page->at[i].id);
        put_answer(out, &page->at[i].answer);
        put_text(out, "\n");
    }
}

int snapshots_load_answers(struct bytes text, struct users *users)
{
    struct reader in = reader_of(text);
    while (!in.bad && reader_left(&in) > 0) {
        struct users_past past;
        past.sequence = json_get_u64(&in);
        json_get_literal(&in, " ");
        past.id = get_id(&in);
        past.answer = get_answer(&in);
        json_get_literal(&in, "\n");
        if (in.bad)
            return -EBADMSG;
        int result = users_load_answer(users, &past);
        if (result != 0)
            return result;
    }
    return in.bad ? -EBADMSG : 0;
}
