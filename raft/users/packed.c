#include "raft/users/packed.h"

#include <errno.h>

enum { OF_KEY = 1, FORGOTTEN_KEY = 2, OF_REQUEST = 3 };

static void put_answer(struct writer *out, const struct users_past *past)
{
    uint8_t encoded[USERS_ANSWER_BYTES_MAX];
    struct writer answer = writer_of(encoded, sizeof(encoded));
    if (!past->forgotten)
        users_answer_put(&answer, &past->answer);
    assert(!answer.bad);
    put_u8(out, past->forgotten ? FORGOTTEN_KEY : past->keyed ? OF_KEY : OF_REQUEST);
    put_u64(out, past->sequence);
    put_request_id(out, past->id);
    if (past->keyed) {
        put_request_id(out, past->fingerprint);
        put_u64(out, past->time_ms);
    } else {
        put_u64(out, past->command);
    }
    put_bytes(out, writer_bytes(&answer));
}

static int get_answer(struct reader *in, struct users_past *ret_past)
{
    uint8_t of = get_u8(in);
    struct users_past past = {
        .keyed = of != OF_REQUEST,
        .forgotten = of == FORGOTTEN_KEY,
        .sequence = get_u64(in),
        .id = get_request_id(in),
    };
    if (past.keyed) {
        past.fingerprint = get_request_id(in);
        past.time_ms = get_u64(in);
    } else {
        past.command = get_u64(in);
    }
    struct bytes answer = get_bytes(in);
    if (in->bad || of < OF_KEY || of > OF_REQUEST || (past.forgotten && answer.len > 0))
        return -EBADMSG;
    int result = past.forgotten ? 0 : users_answer_decode(answer, &past.answer);
    if (result == 0)
        *ret_past = past;
    return result;
}

uint64_t packed_put_answers(const struct users_view *view, uint64_t from, struct writer *out,
                            bool *ret_last)
{
    struct users_past_page page;
    uint64_t table = from & USERS_KEYED, sequence = from - table;
    *ret_last = false;
    while (users_diff_answers(NULL, view, table + sequence / USERS_PAGE, &page)) {
        if ((page.number & USERS_KEYED) != table)
            sequence = 0;
        table = page.number & USERS_KEYED;
        for (uint32_t i = 0; i < page.count; i++) {
            if (page.at[i].sequence < sequence)
                continue;
            if (writer_room(out) < PACKED_ANSWER_BYTES_MAX)
                return table + page.at[i].sequence;
            put_answer(out, &page.at[i]);
        }
        sequence = (page.number - table + 1) * USERS_PAGE;
    }
    assert(!out->bad);
    *ret_last = true;
    return table + sequence;
}

int packed_load_users(struct users *users, struct bytes packed)
{
    struct reader in = reader_of(packed);
    int result = 0;
    while (result == 0 && reader_left(&in) > 0) {
        struct user user = user_get(&in);
        result = in.bad ? -EBADMSG : users_load_user(users, &user);
    }
    return result;
}

int packed_load_answers(struct users *users, struct bytes packed)
{
    struct reader in = reader_of(packed);
    int result = 0;
    while (result == 0 && reader_left(&in) > 0) {
        struct users_past past;
        result = get_answer(&in, &past);
        if (result == 0)
            result = users_load_answer(users, &past);
    }
    return result;
}
