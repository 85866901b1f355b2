/* A node whose storage forgot what it said, or is damaged (raft.h, RECOVERING NODES), and its
 * leader.
 */
#include "tests/core/support.h"

/* Node 1 of three voters, in `term`, of a log of these terms, recovering. */
static struct node recovering(uint64_t term, const uint64_t *terms, size_t entries)
{
    struct raft_saved saved = {.hard = {.term = {term}, .recovering = true},
                               .configuration = voters(3, 1, 2, 3)};
    struct node node = node_start(&saved, terms, entries);
    node_tick(&node);
    must(raft_status(node.raft).recovering);
    return node;
}

/* Its log must reach (last, last_term); `term` is the highest that was heard of. */
static void node_floor(struct node *node, uint64_t term, uint64_t last, uint64_t last_term)
{
    node_step(node, (struct raft_event){
                        .kind = RAFT_FLOOR_KNOWN,
                        .floor_known = {.term = {term}, .last = {last}, .last_term = {last_term}}});
}

static bool gave_vote(const struct node *node, uint64_t to)
{
    const struct raft_message *m = node_sent(node, RAFT_REQUEST_VOTE_RESPONSE, to);
    return m != NULL && m->request_vote_response.granted;
}

static struct raft_message recoveringly(struct raft_message give)
{
    give.append_entries_response.recovering = true;
    return give;
}

Test(recovering, node_gives_no_vote_in_any_term)
{
    struct node node = recovering(0, NO_TERMS);
    for (uint64_t term = 1; term < 5; term++) {
        node_hear(&node, request_vote(2, term, 9, term));
        cr_assert(not(gave_vote(&node, 2)));
        cr_assert(eq(u64, node.out.persist.hard.term.n, term), "it follows the term");
        cr_assert(node.out.persist.hard_state);
        cr_assert(not(node.out.persist.hard.voted));
        cr_assert(node.out.persist.hard.recovering, "and stays recovering on disk");
        node_all_durable(&node);
        node_hear(&node, request_vote(2, term, 9, term));
        cr_assert(not(gave_vote(&node, 2)));
        cr_assert(raft_status(node.raft).recovering);
    }
    node_free(&node);
}

Test(recovering, node_grants_no_pre_vote)
{
    struct node node = recovering(1, TERMS(1));
    node_hear(&node, request_pre_vote(2, 1, 9, 1));
    const struct raft_message *m = node_sent(&node, RAFT_REQUEST_PRE_VOTE_RESPONSE, 2);
    cr_assert(m == NULL || !m->request_pre_vote_response.granted);
    node_free(&node);
}

Test(recovering, node_never_campaigns_however_long_it_waits_and_whoever_wants_it)
{
    struct node node = recovering(1, TERMS(1));
    for (int i = 0; i < 10; i++) {
        node_wait(&node);
        cr_assert(eq(u32, node.out.sends.count, 0));
        cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    }
    struct raft_message now = message(RAFT_TIMEOUT_NOW, 2, 2);
    now.timeout_now.transfer = true;
    node_hear(&node, now);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    node_free(&node);
}

Test(recovering, node_stores_and_acknowledges_what_it_is_sent_and_says_that_it_is_recovering)
{
    struct node node = recovering(0, NO_TERMS);
    node_hear(&node, append_after(2, 3, 5, 3, 0, NO_TERMS));
    node_all_durable(&node);
    node_hear(&node, append_after(2, 3, 5, 3, 0, NO_TERMS));
    const struct raft_message *m = node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 2);
    cr_assert(not(m->append_entries_response.accepted));
    cr_assert(m->append_entries_response.recovering);
    node_hear(&node, append_after(2, 3, 0, 0, 1, TERMS(1, 2)));
    cr_assert(eq(u64, node.out.apply.last.n, 1));
    node_all_durable(&node);
    m = node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 2);
    cr_assert(m->append_entries_response.accepted);
    cr_assert(eq(u64, m->append_entries_response.match.n, 2));
    cr_assert(m->append_entries_response.recovering);
    node_free(&node);
}

Test(recovering, node_with_a_floor_votes_for_logs_that_reach_it)
{
    struct node node = recovering(3, TERMS(1));
    node_floor(&node, 3, 7, 2);
    cr_assert(node.out.persist.hard.recovering);
    cr_assert(node.out.persist.hard.floor.known, "which the disk remembers");
    node_all_durable(&node);
    node_hear(&node, request_vote(2, 4, 6, 2));
    node_all_durable(&node);
    cr_assert(not(gave_vote(&node, 2)), "what it forgot may be missing there");
    node_hear(&node, request_pre_vote(3, 4, 6, 2));
    cr_assert(not(
        node_sent(&node, RAFT_REQUEST_PRE_VOTE_RESPONSE, 3)->request_pre_vote_response.granted));
    node_hear(&node, request_pre_vote(3, 4, 7, 2));
    cr_assert(
        node_sent(&node, RAFT_REQUEST_PRE_VOTE_RESPONSE, 3)->request_pre_vote_response.granted);
    node_hear(&node, request_vote(3, 4, 7, 2));
    cr_assert(not(gave_vote(&node, 3)), "not before it is durable");
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 3));
    cr_assert(node.out.persist.hard.recovering);
    node_all_durable(&node);
    cr_assert(gave_vote(&node, 3));
    cr_assert(raft_status(node.raft).recovering);
    node_free(&node);
}

Test(recovering, node_votes_no_second_time_in_a_term_that_it_may_have_voted_in)
{
    struct node node = recovering(3, TERMS(1));
    node_floor(&node, 5, 7, 2);
    cr_assert(eq(u64, node.out.persist.hard.term.n, 5));
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 1));
    node_all_durable(&node);
    node_hear(&node, request_vote(2, 5, 9, 5));
    cr_assert(not(gave_vote(&node, 2)));
    node_hear(&node, request_vote(2, 6, 9, 5));
    node_all_durable(&node);
    cr_assert(gave_vote(&node, 2));
    node_free(&node);
}

Test(recovering, node_is_sure_when_its_durable_log_reaches_the_floor)
{
    struct node node = recovering(3, TERMS(1));
    node_floor(&node, 3, 3, 2);
    node_all_durable(&node);
    node_hear(&node, append_after(2, 3, 1, 1, 0, TERMS(2, 2)));
    cr_assert(raft_status(node.raft).recovering, "not durable yet");
    node_all_durable(&node);
    cr_assert(not(raft_status(node.raft).recovering));
    cr_assert(node.out.persist.hard_state);
    cr_assert(not(node.out.persist.hard.recovering));
    cr_assert(not(node.out.persist.hard.floor.known));
    node_hear(&node, append_after(2, 3, 3, 2, 0, NO_TERMS));
    cr_assert(
        not(node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 2)->append_entries_response.recovering));
    node_free(&node);
}

Test(recovering, a_log_of_a_later_term_reaches_the_floor_however_short)
{
    struct node node = recovering(3, TERMS(1));
    node_floor(&node, 3, 9, 2);
    node_hear(&node, append_after(2, 3, 1, 1, 0, TERMS(3)));
    node_all_durable(&node);
    cr_assert(not(raft_status(node.raft).recovering));
    node_free(&node);
}

Test(recovering, node_that_reaches_its_floor_already_goes_on_at_once)
{
    struct node node = recovering(3, TERMS(1));
    node_hear(&node, append_after(2, 3, 1, 1, 0, NO_TERMS));
    node_floor(&node, 2, 1, 1);
    cr_assert(eq(u64, raft_status(node.raft).term.n, 3), "terms do not go back");
    cr_assert(raft_status(node.raft).leader_known);
    cr_assert(not(raft_status(node.raft).recovering));
    cr_assert(not(node.out.persist.hard.recovering));
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 1));
    node_free(&node);
}

Test(recovering, the_lower_of_two_floors_counts)
{
    struct raft_saved saved = {
        .hard = {.term = {3}, .recovering = true, .floor = {true, .index = {5}, .term = {2}}},
        .configuration = voters(3, 1, 2, 3)};
    struct node node = node_start(&saved, TERMS(1, 2));
    node_floor(&node, 3, 9, 2);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 5));
    node_floor(&node, 3, 4, 2);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 4));
    node_free(&node);
}

Test(recovering, node_that_is_sure_again_campaigns_in_a_later_term_only)
{
    struct node node = recovering(3, TERMS(1));
    node_floor(&node, 4, 1, 1);
    node_all_durable(&node);
    node_wait(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE));
    node_hear(&node, request_vote_response(2, 4, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE), "a vote of a time forgot");
    node_hear(&node, request_pre_vote_response(2, 4, 5, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 5));
    node_free(&node);
}

Test(recovering, node_of_a_new_cluster_begins_like_any_other)
{
    struct node node = recovering(0, NO_TERMS);
    node_floor(&node, 0, 0, 0);
    cr_assert(node.out.persist.hard_state);
    cr_assert(not(node.out.persist.hard.voted));
    cr_assert(not(node.out.persist.hard.recovering));
    node_all_durable(&node);
    node_hear(&node, request_vote(2, 1, 0, 0));
    node_all_durable(&node);
    cr_assert(gave_vote(&node, 2), "in the first term already");
    node_free(&node);
}

Test(recovering, nothing_happens_to_a_sure_node_that_hears_of_a_floor)
{
    struct node node = node_among(3, 1, TERMS(1));
    node_floor(&node, 7, 9, 7);
    cr_assert(not(node.out.persist.wanted));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 1));
    node_free(&node);
}

/* --- damaged ---------------------------------------------------------------------------------- */

static void node_is_damaged(struct node *node, bool damaged)
{
    node_step(node, (struct raft_event){.kind = damaged ? RAFT_DAMAGED : RAFT_REPAIRED});
}

Test(recovering, damaged_leader_leads_no_more)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_is_damaged(&node, true);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    for (int i = 0; i < 5; i++) {
        node_wait(&node);
        cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    }
    node_is_damaged(&node, false);
    node_wait(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE));
    node_free(&node);
}

Test(recovering, damaged_node_votes_by_the_log_that_it_knows_and_decides_nothing_else)
{
    struct raft_saved saved = {
        .hard = {.term = {2}}, .damaged = true, .configuration = voters(3, 1, 2, 3)};
    struct node node = node_start(&saved, TERMS(1, 2));
    node_tick(&node);
    node_hear(&node, request_vote(2, 3, 1, 1));
    cr_assert(not(gave_vote(&node, 2)));
    node_hear(&node, request_vote(3, 3, 2, 2));
    node_all_durable(&node);
    cr_assert(gave_vote(&node, 3));
    node_hear(&node, append_after(3, 3, 2, 2, 0, TERMS(3)));
    node_all_durable(&node);
    cr_assert(
        node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 3)->append_entries_response.recovering);
    node_is_damaged(&node, false);
    node_hear(&node, append_after(3, 3, 3, 3, 0, NO_TERMS));
    cr_assert(
        not(node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 3)->append_entries_response.recovering));
    node_free(&node);
}

/* The entry that says who votes is rotten: restored as the one before, and set right. */
Test(recovering, damaged_configuration_is_what_its_repair_says)
{
    const struct raft_configuration before = voters(1, 1), is = voters(3, 1, 2, 3);
    struct raft_saved saved = {.hard = {.term = {1}}, .damaged = true, .configuration = before};
    struct node node = node_start(&saved, NO_TERMS);
    must(raft_restore_entry(node.raft, (raft_term){1}, 20, &before) == 0);
    node_tick(&node);
    for (uint64_t index = 2; index > 0; index--) { /* at 2 there is none */
        cr_assert(eq(u32, raft_configuration(node.raft)->voters, 1));
        node_step(&node, (struct raft_event){.kind = RAFT_CONFIGURATION_REPAIRED,
                                             .configuration_repaired = {{index}, &is}});
    }
    cr_assert(eq(u32, raft_configuration(node.raft)->voters, 3));
    node_is_damaged(&node, false);
    node_wait(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE), "one of three, not alone");
    node_free(&node);
}

/* --- what its leader makes of it -------------------------------------------------------------- */

Test(recovering, acknowledgements_commit_nothing)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_all_durable(&node);
    uint64_t last = raft_status(node.raft).last.n;
    node_hear(&node, recoveringly(accepted(2, 2, last, 0)));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, last - 1));
    node_hear(&node, accepted(2, 2, last - 1, 0)); /* one of before the wipe, overtaken */
    cr_assert(eq(u64, raft_status(node.raft).commit.n, last - 1));
    node_hear(&node, accepted(2, 2, last, 0));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, last), "it was admitted");
    node_free(&node);
}

Test(recovering, answers_confirm_no_round)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_read(&node, 5);
    uint64_t round = node.raft->leader.round;
    node_hear(&node, recoveringly(accepted(2, 2, 2, round)));
    cr_assert(eq(u32, node.out.results.count, 0));
    node_hear(&node, accepted(2, 2, 2, round));
    cr_assert(eq(int, node_result(&node)->kind, RAFT_READ_READY));
    node_free(&node);
}

Test(recovering, followers_alone_do_not_keep_a_leader)
{
    struct node node = node_settled(3, 1, TERMS(1));
    for (int i = 0; i < 30 && raft_status(node.raft).role == RAFT_LEADER; i++) {
        node_pass(&node, HEARTBEAT_MS);
        if (raft_status(node.raft).role == RAFT_LEADER)
            node_hear(&node, recoveringly(accepted(2, 2, 2, 0)));
    }
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    node_free(&node);
}

Test(recovering, node_that_forgot_what_it_acknowledged_is_sent_it_again)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_hear(&node, rejected(2, 2, 2, 0, 0));
    cr_assert(eq(u64, node_progress(&node, 2)->match.n, 2), "an old refusal says nothing");
    node_hear(&node, recoveringly(rejected(2, 2, 2, 0, 0)));
    const struct raft_message *m = node_sent(&node, RAFT_APPEND_ENTRIES, 2);
    cr_assert(eq(u64, m->append_entries.prev.n, 0));
    cr_assert(eq(u32, raft_runs_entries(&m->append_entries.entries), 2));
    node_free(&node);
}

Test(recovering, node_that_forgot_what_is_compacted_is_sent_a_snapshot)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_compacted(&node, 2);
    node_hear(&node, recoveringly(rejected(2, 2, 2, 0, 0)));
    for (int i = 0; i < 4 && node.out.results.count == 0; i++) {
        const struct raft_message *m = node_sent(&node, RAFT_APPEND_ENTRIES, 2);
        must(m != NULL);
        node_hear(&node, recoveringly(rejected(2, 2, m->append_entries.prev.n, 0, 0)));
    }
    cr_assert(eq(int, node_result(&node)->kind, RAFT_SEND_SNAPSHOT));
    node_free(&node);
}

Test(recovering, node_is_handed_no_leadership)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_hear(&node, recoveringly(accepted(2, 2, 2, 0)));
    node_transfer(&node, 2);
    cr_assert(eq(u32, node_sends(&node, RAFT_TIMEOUT_NOW), 0));
    node_transfer(&node, 0);
    cr_assert(node_sent(&node, RAFT_TIMEOUT_NOW, 3) != NULL);
    node_free(&node);
}
