/* What is packed, users and answers, loads into the same state; what is damaged is refused. */
#include "raft/users/packed.h"

#include "tests/users/support.h"

#include <errno.h>
#include <stdlib.h>

#define ANSWERS_MAX 4096u

static struct users *some_users(uint64_t count)
{
    struct users *users = users_new(ANSWERS_MAX);
    for (uint64_t i = 1; i <= count; i++)
        must(create(users, i, i, i % 2 == 0 ? "Ann" : "").created.id == i);
    return users;
}

/* Packs into pieces of so many bytes, and loads each. */
static struct users *repacked(const struct users_view *view, size_t piece)
{
    struct users *users = users_new(ANSWERS_MAX);
    uint8_t *at = malloc(piece);
    uint64_t after = 0, from = 0;
    for (bool last = false; !last;) {
        struct writer out = writer_of(at, piece);
        after = users_view_list(view, after, 0, &out, &last);
        must(packed_load_users(users, writer_bytes(&out)) == 0);
    }
    for (bool last = false; !last;) {
        struct writer out = writer_of(at, piece);
        from = packed_put_answers(view, from, &out, &last);
        must(!out.bad && packed_load_answers(users, writer_bytes(&out)) == 0);
    }
    struct users_meta meta = users_view_meta(view);
    must(users_load_done(users, &meta) == 0);
    free(at);
    return users;
}

Test(packed, comes_back_the_same_in_pieces_of_any_size)
{
    static const uint64_t counts[] = {0, 1, 63, 64, 65, 1000};
    static const size_t pieces[] = {PACKED_ANSWER_BYTES_MAX, 10000, 1u << 20};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct users *users = some_users(counts[i]);
        struct users_view *view = users_pin(users);
        for (size_t j = 0; j < ARRAY_LEN(pieces); j++) {
            struct users *back = repacked(view, pieces[j]);
            struct users_answer answer;
            struct request_id id = request_id_of(counts[i]);
            users_check(back);
            must(users_meta(back).digest == users_meta(users).digest);
            must(counts[i] == 0 ||
                 (users_answered(back, &id, NULL, &answer) && answer.created.id == counts[i]));
            users_free(back);
        }
        users_unpin(view);
        users_free(users);
    }
}

Test(packed, cut_anywhere_but_between_two_is_refused)
{
    static uint8_t at[8192];
    struct users *users = some_users(3);
    struct users_view *view = users_pin(users);
    struct writer out = writer_of(at, sizeof(at));
    bool last;
    (void)users_view_list(view, 0, 0, &out, &last);
    size_t refused = 0, len = writer_len(&out);
    for (size_t cut = 1; cut < len; cut++) {
        struct users *back = users_new(ANSWERS_MAX);
        refused += packed_load_users(back, bytes_of(at, cut)) == -EBADMSG;
        users_free(back);
    }
    must(refused == len - 3); /* after the first, and after the second */
    struct writer answers = writer_of(at, sizeof(at));
    (void)packed_put_answers(view, 0, &answers, &last);
    for (refused = 0, len = writer_len(&answers); len > 1; len--) {
        struct users *back = users_new(ANSWERS_MAX);
        refused += packed_load_answers(back, bytes_of(at, len - 1)) == -EBADMSG;
        users_free(back);
    }
    must(refused == writer_len(&answers) - 3);
    users_unpin(view);
    users_free(users);
}
