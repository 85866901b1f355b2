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
    cr_assert(bytes_equal(read.command.create.texts.name, bytes_of_text("Alice")));
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
                    .patch = {.texts = {.name = bytes_of(text, sizeof(text)),
                                        .email = bytes_of(text, USER_EMAIL_BYTES_MAX)}}},
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

static const char *const emails[] = {
    "a@b",
    "Alice+x@example.org",
    "!#$%&'*+-/=?^_`{|}~.@b-c.d",
    "\xc3\xa4@b",                                         /* ä */
    "\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b.\xe5\xad\x90", /* Chinese */
    "e\xcc\x81@b",                                        /* a combining accent */
    "a@\xd8\xa7\xd8\xae.org",                             /* Arabic */
    "a@\xf0\x90\x90\x80",                                 /* Deseret, four bytes */
};

static const char *const no_emails[] = {
    "",
    "@",
    "a@",
    "@b",
    "ab",
    "abc",
    "a@b@c",
    "a@@b",
    "@b@",
    "a b@c",
    "a\tb@c",
    "a@b c",
    "a@b\n",
    "a@b\r\nBcc:x",
    " a@b",
    "a@b ",
    "a\x7f@b",
    "a\x01@b",
    "a,b@c",
    "<a@b>",
    "a@b>",
    "\"a\"@b",
    "a(b)@c",
    "a@[1.2.3.4]",
    "a:b@c",
    "a;b@c",
    "a\\b@c",
    "a@.b",
    "a@b.",
    "a@b..c",
    "a@-b",
    "a@b-",
    "a@b-.c",
    "a@b_c",
    "a@b+c",
    "a@123456789012345678901234567890123456789012345678901234567890abcd.e",
    "12345678901234567890123456789012345678901234567890123456789012345@b",
    "a\xc2\xa0@b",        /* no-break space */
    "a\xc2\x85@b",        /* next line */
    "a\xc2\xad@b",        /* soft hyphen */
    "a\xe2\x80\x8b@b",    /* zero width space */
    "a\xe2\x80\x8d@b",    /* zero width joiner */
    "a@b\xe2\x80\xaeorg", /* right-to-left override */
    "a\xe2\x81\xa6@b",    /* isolate */
    "a\xe2\x81\xa0@b",    /* word joiner */
    "\xef\xbb\xbf"
    "a@b",                 /* byte order mark */
    "a\xe3\x80\x80@b",     /* ideographic space */
    "a\xe2\x80\xa8@b",     /* line separator */
    "a\xe3\x85\xa4@b",     /* Hangul filler */
    "a\xef\xb8\x8f@b",     /* variation selector */
    "a\xf3\xa0\x81\x81@b", /* tag */
    "a\xee\x80\x80@b",     /* private use */
    "a\xef\xbf\xbf@b",     /* no character */
    "a\xef\xbc\xa0"
    "b@c", /* wide at */
    "a@b\xe3\x80\x82"
    "c", /* ideographic full stop */
    "a\xff@b",
    "a\xc3@b",
    "a\xc0\x80@b",
    "a\xed\xa0\x80@b", /* no UTF-8 */
};

Test(command, an_email_is_what_html_takes_for_one_and_letters_beyond_ascii)
{
    uint8_t at[USER_EMAIL_BYTES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(emails); i++)
        cr_assert(user_email_valid(bytes_of_text(emails[i])), "%s", emails[i]);
    for (size_t i = 0; i < ARRAY_LEN(no_emails); i++)
        cr_assert(not(user_email_valid(bytes_of_text(no_emails[i]))), "%s", no_emails[i]);
    cr_assert(not(user_email_valid(bytes_of("a\0@b", 4))));
    memset(at, 'a', sizeof(at));
    at[64] = '@';
    for (size_t i = 120; i < 250; i += 50)
        at[i] = '.';
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
        bool none = tag == 0 || tag > USERS_ID_REUSED || two || tag == USERS_PATCHED;
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
                     .texts = {.name = {(const uint8_t *)"Bob", 3},
                               .email = {(const uint8_t *)"b@c", 3}}}},
        {.kind = USERS_DELETED, .index = 12, .deleted = {.id = 1}},
        {.kind = USERS_NOT_FOUND, .index = 12, .not_found = {.id = 99}},
        {.kind = USERS_CONDITION_FAILED, .index = 12, .condition_failed = {.id = 1, .etag = 3}},
        {.kind = USERS_EMAIL_TAKEN, .index = 12, .email_taken = {.id = 1}},
        {.kind = USERS_KEY_REUSED, .index = 12, .key_reused = {.first = 2}},
        {.kind = USERS_ID_REUSED, .index = 12, .id_reused = {.first = 2}},
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

Test(command, what_no_user_can_be_is_not_proposed)
{
    static uint8_t name[USER_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof(name));
    const struct bytes good = bytes_of_text("Zo\xc3\xab"), none = bytes_of(NULL, 0);
    const struct bytes bad_names[] = {bytes_of_text("\xff"), bytes_of_text("a\xc3"),
                                      bytes_of(name, sizeof(name))};
    const struct bytes bad_emails[] = {bytes_of_text("a"), bytes_of_text("a\xff@b")};
    struct users_command command = {.kind = USERS_CREATE, .create = {{.name = good}}};
    cr_assert(users_command_valid(&command));
    for (size_t i = 0; i < ARRAY_LEN(bad_names) + ARRAY_LEN(bad_emails); i++) {
        bool by_name = i < ARRAY_LEN(bad_names);
        struct bytes n = by_name ? bad_names[i] : good;
        struct bytes e = by_name ? none : bad_emails[i - ARRAY_LEN(bad_names)];
        command = (struct users_command){.kind = USERS_CREATE, .create = {{.name = n, .email = e}}};
        cr_expect(not(users_command_valid(&command)), "create %zu", i);
        command =
            (struct users_command){.kind = USERS_REPLACE, .replace = {1, {.name = n, .email = e}}};
        cr_expect(not(users_command_valid(&command)), "replace %zu", i);
        command =
            (struct users_command){.kind = USERS_PATCH, .patch = {1, 3, {.name = n, .email = e}}};
        cr_expect(not(users_command_valid(&command)), "patch %zu", i);
    }
    command = (struct users_command){.kind = USERS_PATCH,
                                     .patch = {1, USERS_SETS_ALL + 1, {.name = none}}};
    cr_expect(not(users_command_valid(&command)));
    for (uint64_t id = 0; id <= USER_ID_MAX + 1; id += USER_ID_MAX + 1) {
        command = (struct users_command){.kind = USERS_DELETE, .delete = {id}};
        cr_expect(not(users_command_valid(&command)));
        command = (struct users_command){.kind = USERS_REPLACE, .replace = {id, {.name = good}}};
        cr_expect(not(users_command_valid(&command)));
    }
}
