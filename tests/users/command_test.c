#include "raft/users/command.h"

#include <errno.h>

#include "tests/users/support.h"

static struct users_request request(void)
{
    return create_request(7, bytes_of_text("Alice"));
}

Test(command, a_request_comes_back_from_its_bytes)
{
    uint8_t at[USERS_REQUEST_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at));
    struct users_request written = request(), read;
    users_request_put(&out, &written);
    cr_assert(zero(int, users_request_decode(writer_bytes(&out), &read)));
    cr_assert(request_id_equal(&read.id, &written.id));
    cr_assert(eq(u64, read.time_ms, written.time_ms));
    cr_assert(bytes_equal(read.command.create.name, bytes_of_text("Alice")));
}

Test(command, its_bytes_never_change)
{
    static const uint8_t create[] = {2, 0, 5, 0, 0, 0, 'A', 'l', 'i', 'c', 'e', 0, 0, 0, 0};
    static const uint8_t delete[] = {5, 1 | 4 | 8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
                                     9, 9,         9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 8, 0,
                                     0, 0,         6, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t six[] = {6, 0, 0, 0, 0, 0, 0, 0};
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    struct users_request written = request();
    users_command_put(&out, &written.command);
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of(create, sizeof(create))));
    struct users_command command = {
        .keyed = true,
        .if_match = {.kind = CONDITION_ANY},
        .if_none_match = {.kind = CONDITION_LIST, .tags = bytes_of(six, sizeof(six))},
        .kind = USERS_DELETE,
        .delete = {.id = 3},
    };
    memset(&command.key.id, 7, sizeof(command.key.id));
    memset(&command.key.fingerprint, 9, sizeof(command.key.fingerprint));
    out = writer_of(at, sizeof(at));
    users_command_put(&out, &command);
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of(delete, sizeof(delete))));
}

Test(command, the_largest_fits_and_so_does_its_request)
{
    uint8_t text[USER_NAME_BYTES_MAX] = {0}, at[USERS_REQUEST_BYTES_MAX];
    struct condition most = {CONDITION_LIST, bytes_of(text, CONDITION_BYTES_MAX)};
    struct users_request written = {
        .command = {.keyed = true,
                    .if_match = most,
                    .if_none_match = most,
                    .kind = USERS_PATCH,
                    .patch = {.name = bytes_of(text, sizeof(text)),
                              .email = bytes_of(text, USER_EMAIL_BYTES_MAX)}},
    };
    struct writer out = writer_of(at, USERS_COMMAND_BYTES_MAX);
    users_command_put(&out, &written.command);
    cr_assert(not(out.bad));
    out = writer_of(at, sizeof(at));
    users_request_put(&out, &written);
    cr_assert(not(out.bad));
}

Test(command, prefixes_and_suffixes_are_refused_and_the_output_is_left_alone)
{
    uint8_t at[64] = {0};
    struct writer out = writer_of(at, sizeof(at));
    struct users_request written = request(), read = {.time_ms = 42};
    users_request_put(&out, &written);
    size_t whole = writer_len(&out);
    for (size_t len = 0; len <= whole + 1; len++)
        if (len != whole)
            cr_assert(eq(int, users_request_decode(bytes_of(at, len), &read), -EBADMSG));
    cr_assert(eq(u64, read.time_ms, 42));
}

Test(command, a_head_that_cannot_be_is_refused)
{
    struct users_command command;
    uint8_t at[64] = {USERS_DELETE};
    for (unsigned bits = 0; bits < 256; bits++) {
        bool key = (bits & 1) != 0, match = (bits & 2) != 0, none_match = (bits & 8) != 0;
        bool good = bits < 32 && (bits & 6) != 6 && (bits & 24) != 24;
        size_t len = 10 + (key ? 32u : 0) + (match ? 4u : 0) + (none_match ? 4u : 0);
        at[1] = (uint8_t)bits;
        cr_assert(eq(int, users_command_decode(bytes_of(at, len), &command), good ? 0 : -EBADMSG),
                  "%u", bits);
    }
    memset(at, 0, sizeof(at));
    at[0] = USERS_DELETE;
    at[1] = 2;
    at[2] = 7; /* no row of 64-bit numbers */
    cr_assert(eq(int, users_command_decode(bytes_of(at, 21), &command), -EBADMSG));
    at[2] = 8;
    cr_assert(zero(int, users_command_decode(bytes_of(at, 22), &command)));
}

Test(command, an_email_has_one_at_with_something_on_either_side)
{
    static const char *const good[] = {"a@b", "Alice+x@example.org", "\xc3\xa4@b", "a b@c"};
    static const char *const bad[] = {"", "@", "a@", "@b", "ab", "abc", "a@b@c", "a@@b", "@b@"};
    uint8_t at[USER_EMAIL_BYTES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        cr_assert(user_email_valid(bytes_of_text(good[i])), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert(not(user_email_valid(bytes_of_text(bad[i]))), "%s", bad[i]);
    memset(at, 'a', sizeof(at));
    at[100] = '@';
    cr_assert(user_email_valid(bytes_of(at, USER_EMAIL_BYTES_MAX)));
    cr_assert(not(user_email_valid(bytes_of(at, USER_EMAIL_BYTES_MAX + 1))));
}

Test(command, an_unknown_tag_is_refused)
{
    struct users_command command;
    struct users_answer answer;
    uint8_t at[34] = {0};
    for (unsigned tag = 0; tag < 256; tag++) {
        at[0] = (uint8_t)tag;
        int error = tag == USERS_CREATE || tag == USERS_DELETE ? 0 : -EBADMSG; /* all is empty */
        cr_assert(eq(int, users_command_decode(bytes_of(at, 10), &command), error));
        error = tag == USERS_REPLACE ? 0 : -EBADMSG;
        cr_assert(eq(int, users_command_decode(bytes_of(at, 18), &command), error));
        error = tag == USERS_PATCH ? 0 : -EBADMSG;
        cr_assert(eq(int, users_command_decode(bytes_of(at, 19), &command), error));
    }
    at[0] = 0;
    for (unsigned tag = 0; tag < 256; tag++) {
        at[9] = (uint8_t)tag;
        bool two = tag == USERS_CREATED || tag == USERS_REPLACED || tag == USERS_CONDITION_FAILED;
        bool none = tag == 0 || tag > USERS_KEY_REUSED || two || tag == USERS_PATCHED;
        cr_assert(eq(int, users_answer_decode(bytes_of(at, 26), &answer), two ? 0 : -EBADMSG));
        cr_assert(eq(int, users_answer_decode(bytes_of(at, 18), &answer), none ? -EBADMSG : 0));
        cr_assert(eq(int, users_answer_decode(bytes_of(at, 34), &answer),
                     tag == USERS_PATCHED ? 0 : -EBADMSG));
    }
}

Test(command, answers_come_back_from_their_bytes)
{
    static const struct users_answer answers[] = {
        {.kind = USERS_CREATED,
         .index = UINT64_MAX,
         .created = {.id = USER_ID_MAX, .etag = UINT64_MAX}},
        {.kind = USERS_REJECTED, .index = 12},
        {.kind = USERS_REPLACED, .index = 12, .replayed = true, .replaced = {.id = 1, .etag = 3}},
        {.kind = USERS_PATCHED,
         .index = 13,
         .patched = {.id = 1,
                     .etag = 13,
                     .name = {(const uint8_t *)"Bob", 3},
                     .email = {(const uint8_t *)"b@c", 3}}},
        {.kind = USERS_DELETED, .index = 12, .deleted = {.id = 1}},
        {.kind = USERS_NOT_FOUND, .index = 12, .not_found = {.id = 99}},
        {.kind = USERS_CONDITION_FAILED, .index = 12, .condition_failed = {.id = 1, .etag = 3}},
        {.kind = USERS_EMAIL_TAKEN, .index = 12, .email_taken = {.id = 1}},
        {.kind = USERS_KEY_REUSED, .index = 12, .key_reused = {.first = 2}},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        uint8_t at[USERS_ANSWER_BYTES_MAX];
        struct writer out = writer_of(at, sizeof(at));
        struct users_answer read;
        users_answer_put(&out, &answers[i]);
        cr_assert(zero(int, users_answer_decode(writer_bytes(&out), &read)));
        cr_assert(answers_equal(&read, &answers[i]));
    }
}

Test(command, users_follow_one_another_in_a_list)
{
    static const struct user users[] = {
        {.id = 1, .index = 5, .name = {(const uint8_t *)"Alice", 5}},
        {.id = USER_ID_MAX, .index = 6, .name = {NULL, 0}, .email = {(const uint8_t *)"a@b", 3}},
    };
    uint8_t at[128];
    struct writer out = writer_of(at, sizeof(at));
    user_put(&out, &users[0]);
    user_put(&out, &users[1]);
    struct reader in = reader_of(writer_bytes(&out));
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        struct user user = user_get(&in);
        cr_assert(eq(u64, user.id, users[i].id));
        cr_assert(eq(u64, user.index, users[i].index));
        cr_assert(bytes_equal(user.name, users[i].name));
        cr_assert(bytes_equal(user.email, users[i].email));
    }
    cr_assert(reader_done(&in));
}

Test(command, prints_for_people)
{
    char at[128];
    struct users_request written = request();
    struct writer out = writer_of(at, sizeof(at));
    users_command_print(&out, &written.command);
    cr_assert(
        bytes_equal(writer_bytes(&out), bytes_of_text("USERS_CREATE name=\"Alice\" email=\"\"")));
    struct users_answer answer = {
        .kind = USERS_CREATED, .index = 2, .created = {.id = 1, .etag = 2}};
    out = writer_of(at, sizeof(at));
    users_answer_print(&out, &answer);
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of_text("USERS_CREATED id=1 etag=2 index=2")));
}
