#include "raft/users/packed.h"

#include <errno.h>

static void put_answer(struct writer *out, const struct users_past *past)
{
    uint8_t encoded[64];
    struct writer answer = writer_of(encoded, sizeof(encoded));
    users_answer_put(&answer, &past->answer);
    assert(!answer.bad);
    put_u64(out, past->sequence);
    put_request_id(out, past->id);
    put_bytes(out, writer_bytes(&answer));
}

uint64_t packed_put_answers(const struct users_view *view, uint64_t from, struct writer *out,
                            bool *ret_last)
{
    struct users_past_page page;
    *ret_last = false;
    while (writer_room(out) >= PACKED_ANSWERS_PAGE_BYTES) {
        if (!users_diff_answers(NULL, view, from, &page)) {
            *ret_last = true;
            break;
        }
        for (uint32_t i = 0; i < page.count; i++)
            put_answer(out, &page.at[i]);
        from = page.number + 1;
    }
    assert(!out->bad);
    return from;
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
        struct users_past past = {.sequence = get_u64(&in), .id = get_request_id(&in)};
        result = users_answer_decode(get_bytes(&in), &past.answer);
        if (result == 0)
            result = in.bad ? -EBADMSG : users_load_answer(users, &past);
    }
    return result;
}
