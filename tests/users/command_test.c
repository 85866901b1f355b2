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
    static const uint8_t expected[] = {1, 5, 0, 0, 0, 'A', 'l', 'i', 'c', 'e'};
    uint8_t at[64];
    struct writer out = writer_of(at, sizeof(at));
    struct users_request written = request();
    users_command_put(&out, &written.command);
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of(expected, sizeof(expected))));
}

Test(command, the_longest_name_fits_and_so_does_its_request)
{
    uint8_t name[USER_NAME_BYTES_MAX] = {0}, at[USERS_REQUEST_BYTES_MAX];
    struct users_request written = create_request(1, bytes_of(name, sizeof(name)));
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

Test(command, an_unknown_tag_is_refused)
{
    struct users_command command;
    struct users_answer answer;
    uint8_t at[17] = {0};
    for (unsigned tag = 0; tag < 256; tag++) {
        at[0] = (uint8_t)tag;
        int error = tag == USERS_CREATE ? 0 : -EBADMSG; /* its name is empty */
        cr_assert(eq(int, users_command_decode(bytes_of(at, 5), &command), error));
        error = tag == USERS_CREATED ? 0 : -EBADMSG;
        cr_assert(eq(int, users_answer_decode(bytes_of(at, 17), &answer), error));
        error = tag == USERS_REJECTED ? 0 : -EBADMSG;
        cr_assert(eq(int, users_answer_decode(bytes_of(at, 9), &answer), error));
    }
}

Test(command, answers_come_back_from_their_bytes)
{
    static const struct users_answer answers[] = {
        {.kind = USERS_CREATED, .created = {.id = USER_ID_MAX, .index = UINT64_MAX}},
        {.kind = USERS_REJECTED, .rejected = {.index = 12}},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        uint8_t at[64];
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
        {.id = USER_ID_MAX, .index = 6, .name = {NULL, 0}},
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
    }
    cr_assert(reader_done(&in));
}

Test(command, prints_for_people)
{
    char at[128];
    struct users_request written = request();
    struct writer out = writer_of(at, sizeof(at));
    users_command_print(&out, &written.command);
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of_text("USERS_CREATE name=\"Alice\"")));
    struct users_answer answer = {.kind = USERS_CREATED, .created = {.id = 1, .index = 2}};
    out = writer_of(at, sizeof(at));
    users_answer_print(&out, &answer);
    cr_assert(bytes_equal(writer_bytes(&out), bytes_of_text("USERS_CREATED id=1 index=2")));
}
