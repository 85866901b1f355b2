#include "raft/wire/members.h"

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#define must(what) cr_assert((what), "%s", #what)

/* Joint: 3 goes, 4 comes, 5 learns; 6 was there once. */
static struct members some_members(void)
{
    return (struct members){
        .cluster = {0x0123456789abcdefu, 42},
        .format = 1,
        .count = 4,
        .member = {{{1}, MEMBER_VOTER | MEMBER_OUTGOING, 11, "10.0.0.1:7000"},
                   {{3}, MEMBER_OUTGOING, 33, "[fe80::3]:7000"},
                   {{4}, MEMBER_VOTER, UINT64_MAX, ""},
                   {{5}, MEMBER_LEARNER, 0, "host.example:1"}},
        .retired = 1,
        .retired_id = {6},
    };
}

static void must_be_same(const struct members *a, const struct members *b)
{
    uint8_t of_a[MEMBERS_BYTES_MAX], of_b[MEMBERS_BYTES_MAX];
    struct writer out_a = writer_of(of_a, sizeof(of_a)), out_b = writer_of(of_b, sizeof(of_b));
    members_put(&out_a, a);
    members_put(&out_b, b);
    must(!out_a.bad && bytes_equal(writer_bytes(&out_a), writer_bytes(&out_b)));
}

Test(members, come_back_from_bytes_and_from_text)
{
    struct members members = some_members(), back;
    uint8_t at[MEMBERS_BYTES_MAX], text[MEMBERS_TEXT_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at)), line = writer_of(text, sizeof(text));
    members_put(&out, &members);
    must(members_decode(writer_bytes(&out), &back) == 0);
    must_be_same(&members, &back);
    members_print(&line, &members);
    must(members_read(writer_bytes(&line), &back) == 0);
    must_be_same(&members, &back);
    must(bytes_equal(writer_bytes(&line),
                     bytes_of_text("cluster=0123456789abcdef000000000000002a format=1 "
                                   "1:voter+outgoing:000000000000000b@10.0.0.1:7000 "
                                   "3:outgoing:0000000000000021@[fe80::3]:7000 "
                                   "4:voter:ffffffffffffffff@ "
                                   "5:learner:0000000000000000@host.example:1 retired=6")));
}

/* Whatever is cut off, or follows: no prefix of one is another. */
Test(members, are_whole_or_none)
{
    struct members members = some_members(), back;
    uint8_t at[MEMBERS_BYTES_MAX + 1], text[MEMBERS_TEXT_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at)), line = writer_of(text, sizeof(text));
    members_put(&out, &members);
    put_u8(&out, 0);
    for (size_t len = 0; len <= writer_len(&out); len++)
        must(members_decode(bytes_of(at, len), &back) ==
             (len + 1 == writer_len(&out) ? 0 : -EBADMSG));
    members_print(&line, &members);
    for (size_t len = 0; len < strlen("cluster=0123456789abcdef000000000000002a format=1"); len++)
        must(members_read(bytes_of(text, len), &back) == -EBADMSG);
    put_text(&line, ",");
    must(members_read(writer_bytes(&line), &back) == -EBADMSG);
}

Test(members, as_many_as_there_may_be_fit)
{
    struct members members = {.cluster = {UINT64_MAX, UINT64_MAX}, .format = UINT32_MAX}, back;
    uint8_t at[MEMBERS_BYTES_MAX], text[MEMBERS_TEXT_BYTES_MAX];
    struct writer out = writer_of(at, sizeof(at)), line = writer_of(text, sizeof(text));
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        struct member *member = &members.member[members.count++];
        member->id.n = UINT64_MAX - i;
        member->disk = UINT64_MAX;
        memset(member->address, 'a', MEMBER_ADDRESS_BYTES_MAX);
        member->roles = i < 7 ? MEMBER_VOTER : i < 14 ? MEMBER_OUTGOING : MEMBER_LEARNER;
    }
    for (; members.retired < MEMBERS_RETIRED_MAX; members.retired++)
        members.retired_id[members.retired] = UINT64_MAX / 2 - members.retired;
    members_put(&out, &members);
    must(!out.bad && members_decode(writer_bytes(&out), &back) == 0);
    must_be_same(&members, &back);
    members_print(&line, &members);
    must(!line.bad && members_read(writer_bytes(&line), &back) == 0);
    must_be_same(&members, &back);
}

Test(members, that_cannot_be_in_effect_are_refused)
{
    const struct members rows[] = {
        {.count = 0},
        {.count = 1, .member = {{.id = {0}, .roles = MEMBER_VOTER}}},
        {.count = 1, .member = {{.id = {1}, .roles = MEMBER_LEARNER}}},
        {.count = 2, .member = {{.id = {1}, .roles = MEMBER_VOTER}, {.id = {2}, .roles = 0}}},
        {.count = 2, .member = {{.id = {1}, .roles = MEMBER_VOTER}, {.id = {2}, .roles = 8}}},
        {.count = 2,
         .member = {{.id = {1}, .roles = MEMBER_VOTER}, {.id = {1}, .roles = MEMBER_VOTER}}},
        {.count = 2,
         .member = {{.id = {1}, .roles = MEMBER_VOTER}, {.id = {1}, .roles = MEMBER_OUTGOING}}},
        {.count = 1, .member = {{.id = {1}, .roles = MEMBER_VOTER | MEMBER_LEARNER}}},
        {.count = 1, .member = {{.id = {1}, .roles = MEMBER_VOTER, .address = "a b"}}},
        {.count = 1, .member = {{.id = {1}, .roles = MEMBER_VOTER, .address = "a\n"}}},
        {.count = 1,
         .member = {{.id = {1}, .roles = MEMBER_VOTER}},
         .retired = 1,
         .retired_id = {1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t at[MEMBERS_BYTES_MAX];
        struct writer out = writer_of(at, sizeof(at));
        struct members back;
        members_put(&out, &rows[i]);
        cr_assert_eq(members_decode(writer_bytes(&out), &back), -EBADMSG, "row %zu", i);
    }
}

Test(members, change_with_the_configuration_and_remember_who_left)
{
    struct members members = some_members();
    const struct raft_configuration next = {
        .voters = 2, .voter = {{1}, {4}}, .learners = 2, .learner = {{5}, {7}}};
    members_change(&members, &next);
    struct raft_configuration seen = members_configuration(&members);
    must(seen.voters == 2 && seen.outgoing == 0 && seen.learners == 2);
    must(members_find(&members, (raft_node_id){3}) == NULL);
    must(members.retired == 2 && members.retired_id[1] == 3);
    must(strcmp(members_find(&members, (raft_node_id){1})->address, "10.0.0.1:7000") == 0);
    must(members_find(&members, (raft_node_id){7})->roles == MEMBER_LEARNER);
}
