/* What members say that they saw of a node, and what it makes of it. */
#include "tests/replica/member_rig.h"

#include <errno.h>

static const struct peer_entry noop = {.kind = RAFT_NOOP};

static uint64_t disk_of(const struct member_rig *member)
{
    return replica_identity(member->replica).disk;
}

/* Of a member that has seen this node as it is. */
static struct peer_note life(const struct member_rig *member)
{
    return (struct peer_note){.kind = PEER_LIFE,
                              .life = {.disk = 7,
                                       .start = 1,
                                       .number = 9,
                                       .seen_disk = disk_of(member),
                                       .seen_start = wal_start(member->replica->wal),
                                       .seen_number = member->random}};
}

/* Node 3 asks for its vote in term 2; true: it has an answer. */
static bool answers(struct member_rig *member)
{
    uint32_t before = member->said[RAFT_REQUEST_PRE_VOTE_RESPONSE];
    struct raft_message m = {.from = {3}, .term = {1}, .kind = RAFT_REQUEST_PRE_VOTE};
    m.request_pre_vote.next_term.n = 2;
    must(member_hear(member, m) == 0);
    return member->said[RAFT_REQUEST_PRE_VOTE_RESPONSE] > before;
}

static struct raft_status status_of(const struct member_rig *member)
{
    return raft_status(member->replica->raft);
}

Test(replica_lives, counts_the_starts_of_a_directory)
{
    struct member_rig *member = member_new();
    for (uint64_t start = 1; start <= 3; start++) {
        cr_assert(eq(u64, wal_start(member->replica->wal), start));
        replica_peer_up(member->replica, (raft_node_id){2});
        cr_assert(eq(u64, member->life.start, start));
        cr_assert(eq(u64, member->life.number, member->random));
        member_close(member);
        member_start(member);
    }
    member_free(member);
}

/* A member that has term 1, an entry, and is sure. */
static struct member_rig *member_sure(void)
{
    struct member_rig *member = member_new();
    must(member_hear_append(member, 0, 1, noop) == 0);
    member_close(member);
    member_start(member);
    if (status_of(member).recovering) { /* it was new: it waits for a floor */
        replica_step(member->replica,
                     &(struct raft_event){.kind = RAFT_FLOOR_KNOWN, .floor_known = {.term = {1}}});
        member_turns(member);
    }
    must(!status_of(member).recovering);
    return member;
}

Test(replica_lives, gives_no_vote_until_all_have_said_what_they_saw)
{
    struct member_rig *member = member_sure();
    cr_assert(not(answers(member)));
    must(member_hear_note(member, 2, life(member)) == 0);
    cr_assert(not(answers(member)));
    must(member_hear_note(member, 3, life(member)) == 0);
    cr_assert(answers(member));
    cr_assert(not(status_of(member).recovering));
    member_free(member);
}

Test(replica_lives, does_not_wait_for_the_dead_for_ever)
{
    struct member_rig *member = member_sure();
    must(member_hear_note(member, 2, life(member)) == 0);
    member->now_ms += member->replica->options.election_ms - 1;
    cr_assert(not(answers(member)));
    member->now_ms += 1;
    cr_assert(answers(member));
    member_free(member);
}

Test(replica_lives, does_not_stand_for_election_either)
{
    struct member_rig *member = member_sure();
    struct raft_message now = {.from = {2}, .term = {1}, .kind = RAFT_TIMEOUT_NOW};
    now.timeout_now.transfer = 1;
    must(member_hear(member, now) == 0);
    cr_assert(eq(int, status_of(member).role, RAFT_FOLLOWER));
    must(member_hear_note(member, 2, life(member)) == 0);
    must(member_hear_note(member, 3, life(member)) == 0);
    must(member_hear(member, now) == 0);
    cr_assert(eq(int, status_of(member).role, RAFT_CANDIDATE));
    member_free(member);
}

/* As a copy of the disk that was made while this start ran makes it. */
Test(replica_lives, knows_that_its_log_is_an_earlier_one)
{
    struct member_rig *member = member_sure();
    struct peer_note note = life(member);
    note.life.seen_start--;
    note.life.seen_number--;
    note.life.seen_term = note.life.seen_last_term = 1;
    note.life.seen_last = 1;
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(not(status_of(member).recovering), "it has that");
    note.life.seen_last = 2;
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(status_of(member).rolled_back);
    cr_assert(eq(u64, status_of(member).floor.index.n, 2));
    must(member_hear_append(member, 1, 1, noop) == 0);
    cr_assert(not(status_of(member).recovering));
    cr_assert_str_eq(member->fact, "admitted");
    member_free(member);
}

Test(replica_lives, says_it_once_whoever_says_it_how_often)
{
    struct member_rig *member = member_new(); /* recovering, without a floor */
    uint32_t notes = member->notes;
    for (int kind = 0; kind < 2; kind++) {
        for (int i = 0; i < 100; i++) {
            struct peer_note note = life(member);
            note.life.seen_number = 77;
            if (kind == 1)
                note.life.seen_term = note.life.seen_last = note.life.seen_last_term = 1;
            must(member_hear_note(member, 2, note) == 0);
            member_turns(member);
        }
        cr_assert_leq(member->notes - notes, kind == 0 ? 0 : 102, "%u", member->notes - notes);
        notes = member->notes;
        member_free(member);
        member = member_sure();
        notes = member->notes;
    }
    member_free(member);
}

/* A start that nobody heard makes the count of an earlier copy as high as what others saw. */
Test(replica_lives, knows_the_numbers_of_its_last_starts)
{
    struct member_rig *member = member_sure();
    uint64_t start = wal_start(member->replica->wal), number = member->random;
    for (int i = 0; i < 3; i++) {
        member_close(member);
        member_start(member);
    }
    struct peer_note note = life(member);
    note.life.seen_start = start;
    note.life.seen_number = number;
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(not(status_of(member).recovering), "its own");
    note.life.seen_start = 0;
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(not(status_of(member).recovering), "nothing");
    note.life.seen_start = start;
    note.life.seen_number = number + 2;
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(status_of(member).rolled_back);
    member_free(member);
    member = member_sure();
    note = life(member);
    note.life.seen_start = start;
    note.life.seen_number = 99; /* so long ago that it is forgotten */
    for (uint32_t i = 0; i < RECORD_STARTS; i++) {
        member_close(member);
        member_start(member);
    }
    note.life.seen_disk = disk_of(member);
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(not(status_of(member).recovering));
    member_free(member);
}

static void must_be_rolled_back(struct member_rig *member, struct peer_note note, const char *what)
{
    uint64_t start = wal_start(member->replica->wal);
    must(member_hear_note(member, 2, note) == 0);
    member_turns(member);
    cr_assert(status_of(member).rolled_back, "%s", what);
    cr_assert(not(status_of(member).floor.known), "%s", what);
    cr_assert(eq(u64, member->replica->measures.rolled_back, 1), "%s", what);
    cr_assert_str_eq(member->fact, "log_rolled_back");
    cr_assert_gt(wal_start(member->replica->wal), note.life.seen_start, "%s", what);
    cr_assert_gt(wal_start(member->replica->wal), start, "%s", what);
    cr_assert(eq(u8, member->life.rolled_back, 1), "%s: others are told", what);
    uint64_t now = wal_start(member->replica->wal);
    member_close(member);
    member_start(member);
    cr_assert(status_of(member).rolled_back, "%s: it knows after a restart", what);
    cr_assert(eq(u64, wal_start(member->replica->wal), now + 1), "%s", what);
    member_free(member);
}

Test(replica_lives, knows_that_its_disk_was_put_back)
{
    struct member_rig *member = member_sure();
    struct peer_note note = life(member);
    note.life.seen_start += 3;
    note.life.seen_number++;
    must_be_rolled_back(member, note, "a later start");
    member = member_sure();
    note = life(member);
    note.life.seen_number++;
    must_be_rolled_back(member, note, "this start, of another process");
    member = member_sure();
    note = life(member);
    note.life.seen_term = 5;
    must_be_rolled_back(member, note, "a later term");
}

Test(replica_lives, is_in_the_term_in_which_it_was_seen_and_has_voted_there)
{
    struct member_rig *member = member_sure();
    struct peer_note note = life(member);
    note.life.seen_term = 5;
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(eq(u64, status_of(member).term.n, 5));
    cr_assert(member->replica->output.persist.hard.voted);
    cr_assert(eq(u64, member->replica->output.persist.hard.vote.n, 1));
    member_free(member);
}

Test(replica_lives, earlier_lives_and_other_disks_say_nothing)
{
    struct member_rig *member = member_sure();
    struct peer_note earlier = life(member), other = life(member), none = life(member);
    earlier.life.seen_start--;
    other.life.seen_disk++;
    other.life.seen_start += 5;
    none.life.seen_disk = none.life.seen_start = none.life.seen_number = 0;
    must(member_hear_note(member, 2, earlier) == 0);
    must(member_hear_note(member, 2, other) == 0);
    must(member_hear_note(member, 2, none) == 0);
    cr_assert(not(status_of(member).recovering));
    cr_assert(not(answers(member)), "nor that the member has seen it");
    member_free(member);
}

Test(replica_lives, refuses_what_cannot_be)
{
    struct member_rig *member = member_sure();
    struct peer_note far = life(member), leap = life(member);
    far.life.seen_start += (UINT64_C(1) << 32) + 1;
    leap.life.seen_term = RAFT_TERM_LEAP + 2;
    cr_assert(eq(int, member_hear_note(member, 2, far), -EBADMSG));
    cr_assert(eq(int, member_hear_note(member, 2, leap), -EBADMSG));
    cr_assert(not(status_of(member).recovering));
    member_free(member);
}

Test(replica_lives, floor_is_what_it_acknowledged_to_those_who_remember)
{
    struct member_rig *member = member_sure();
    struct peer_note first = life(member), second = life(member);
    first.life.seen_start += 2;
    first.life.seen_term = 1;
    second.life.seen_start += 1; /* earlier, and as new to this process */
    second.life.seen_number = first.life.seen_number = 99;
    second.life.seen_term = second.life.seen_last_term = 1;
    second.life.seen_last = 8;
    must(member_hear_note(member, 2, first) == 0);
    cr_assert(not(status_of(member).floor.known));
    must(member_hear_note(member, 3, second) == 0);
    cr_assert(eq(u64, status_of(member).floor.index.n, 8));
    cr_assert(eq(u64, wal_start(member->replica->wal), first.life.seen_start + 1));
    struct peer_note again = life(member);
    again.life.seen_number = member->random;
    must(member_hear_note(member, 3, again) == 0);
    cr_assert(eq(u64, member->replica->measures.rolled_back, 1));
    member_free(member);
}

/* What this node says that it saw of node 2, which says this. */
static struct peer_life seen_after(struct member_rig *member, uint64_t start, uint64_t number)
{
    struct peer_note note = life(member);
    note.life.asks = 1;
    note.life.start = start;
    note.life.number = number;
    note.life.term = start == 4 && number == 40 ? 3 : 1;
    must(member_hear_note(member, 2, note) == 0);
    return member->life;
}

Test(replica_lives, remembers_the_latest_of_a_member)
{
    struct member_rig *member = member_sure();
    struct peer_life seen = seen_after(member, 4, 40);
    cr_assert(seen.seen_disk == 7 && seen.seen_start == 4 && seen.seen_number == 40);
    seen = seen_after(member, 3, 30);
    cr_assert(seen.seen_start == 4 && seen.seen_number == 40, "an earlier start is told");
    seen = seen_after(member, 4, 41);
    cr_assert(seen.seen_number == 40, "and another process of the same one");
    cr_assert(eq(u64, seen.seen_term, 3), "a term is never forgotten");
    seen = seen_after(member, 5, 50);
    cr_assert(seen.seen_start == 5 && seen.seen_number == 50 && seen.seen_term == 3);
    struct peer_note other = life(member);
    other.life.disk = 8;
    other.life.asks = 1;
    must(member_hear_note(member, 2, other) == 0);
    cr_assert(member->life.seen_disk == 8 && member->life.seen_start == 1);
    cr_assert(eq(u64, member->life.seen_term, 0), "a new disk promised nothing");
    member_free(member);
}

Test(replica_lives, tells_a_disk_that_comes_back_after_another)
{
    struct member_rig *member = member_sure();
    struct peer_note note = life(member);
    must(seen_after(member, 4, 40).seen_term == 3);
    note.life.disk = 8;
    note.life.asks = 1;
    must(member_hear_note(member, 2, note) == 0);
    cr_assert(member->life.seen_disk == 8 && member->life.seen_term == 0);
    struct peer_life told = seen_after(member, 9, 90);
    cr_assert(told.seen_disk == 7 && told.seen_start == 9 && told.seen_number != 90);
    cr_assert(eq(u64, told.seen_term, 3));
    told = seen_after(member, 10, 100);
    cr_assert(told.seen_start == 10 && told.seen_number == 100, "once: it is told, and no loop");
    member_free(member);
}

/* Each word that it takes is told to all others, at a pace: they answer. */
Test(replica_lives, says_little_however_often_it_is_told)
{
    struct member_rig *member = member_sure();
    uint32_t said = member->said[PEER_LIFE];
    for (int i = 0; i < 100; i++) {
        struct peer_note note = life(member);
        note.life.seen_number = 77;
        note.life.seen_term = note.life.seen_last = note.life.seen_last_term = 1;
        must(member_hear_note(member, 2, note) == 0);
        member_turns(member);
    }
    cr_assert_leq(member->said[PEER_LIFE] - said, 8, "%u", member->said[PEER_LIFE] - said);
    member_free(member);
}

/* --- histories that differ -------------------------------------------------------------------- */

Test(replica_lives, diverged_node_answers_no_stale_read)
{
    const struct replica_client client = {.call = 1};
    struct member_rig *member = member_sure();
    must(member_hear_append(member, 1, 3, noop) == 0);
    struct raft_message give = {.from = {2}, .term = {1}, .kind = RAFT_READ_INDEX_RESPONSE};
    give.read_index_response =
        (struct raft_read_index_response){member->replica->reads.token, 1, {4}};
    must(member_hear(member, give) == 0);
    must(replica_status(member->replica).ready);
    replica_read(member->replica, client, true, 0);
    cr_assert(eq(u32, member->readable, 1));
    struct raft_message m = {.from = {3}, .term = {2}, .kind = RAFT_APPEND_ENTRIES};
    m.append_entries.prev.n = 3;
    m.append_entries.prev_term.n = 2; /* the entry is committed here, in term 1 */
    must(member_hear(member, m) == 0);
    must(status_of(member).diverged);
    replica_read(member->replica, client, true, 0);
    for (int i = 0; i < 200; i++) {
        member->now_ms += 100;
        member_turns(member);
    }
    cr_assert(eq(u32, member->readable, 1));
    cr_assert(eq(int, member->refused, CALL_NO_LEADER));
    member_free(member);
}
