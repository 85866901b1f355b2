/* Thesis §9.6 and §6: an election is asked about first, and who hears a leader is content with it.
 */
#include "tests/core/support.h"

static const struct raft_request_pre_vote_response *answer(const struct node *node, uint64_t to)
{
    const struct raft_message *m = node_sent(node, RAFT_REQUEST_PRE_VOTE_RESPONSE, to);
    return m == NULL ? NULL : &m->request_pre_vote_response;
}

Test(pre_vote, comes_before_the_campaign_and_moves_no_term)
{
    struct node node = node_among(5, 2, TERMS(1, 2));
    node_wait(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE));
    cr_assert(not(node.out.persist.wanted));
    cr_assert(eq(u32, node_sends(&node, RAFT_REQUEST_PRE_VOTE), 4));
    const struct raft_message *ask = node_sent(&node, RAFT_REQUEST_PRE_VOTE, 4);
    cr_assert(eq(u64, ask->term.n, 2));
    cr_assert(eq(u64, ask->request_pre_vote.next_term.n, 3));
    cr_assert(eq(u64, ask->request_pre_vote.last.n, 2));
    cr_assert(eq(u64, ask->request_pre_vote.last_term.n, 2));
    for (int i = 0; i < 5; i++)
        node_hear(&node, request_pre_vote_response(2, 2, 3, true));
    node_hear(&node, request_pre_vote_response(3, 2, 3, false));
    node_hear(&node, request_pre_vote_response(3, 2, 2, true));
    node_hear(&node, request_pre_vote_response(3, 2, 4, true));
    node_hear(&node, request_vote_response(3, 2, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE));
    node_hear(&node, request_pre_vote_response(3, 2, 3, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 3));
    node_free(&node);
}

Test(pre_vote, that_nobody_answers_is_asked_again_in_the_same_term)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    for (int i = 0; i < 100; i++) {
        node_wait(&node);
        must(node_sends(&node, RAFT_REQUEST_PRE_VOTE) == 2);
        must(raft_status(node.raft).term.n == 2);
    }
    node_free(&node);
}

Test(pre_vote, of_an_earlier_round_of_asking_is_not_counted_later)
{
    struct node node = node_among(5, 2, TERMS(1, 2));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(2, 2, 3, true));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(3, 2, 3, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE),
              "what was promised an election timeout ago may have changed");
    node_free(&node);
}

Test(pre_vote, is_promised_to_many_and_binds_nobody)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    for (uint64_t from = 2; from <= 3; from++) {
        node_hear(&node, request_pre_vote(from, 2, 2, 2));
        cr_assert(answer(&node, from)->granted);
        cr_assert(eq(u64, answer(&node, from)->next_term.n, 3));
        cr_assert(not(node.out.persist.wanted));
        cr_assert(eq(u64, raft_status(node.raft).term.n, 2));
    }
    uint64_t deadline = node.out.deadline_ms;
    node_hear(&node, request_pre_vote(2, 8, 2, 2));
    cr_assert(eq(u64, node.out.deadline_ms, deadline), "nor does it put off the own deadline");
    cr_assert(eq(u64, raft_status(node.raft).term.n, 2));
    node_free(&node);
}

Test(pre_vote, is_refused_to_a_log_that_could_not_win)
{
    static const struct {
        uint64_t last, last_term;
        bool granted;
    } ask[] = {{3, 4, true}, {2, 4, false}, {9, 3, false}, {1, 5, true}, {0, 0, false}};
    for (size_t i = 0; i < ARRAY_LEN(ask); i++) {
        struct node node = node_among(3, 5, TERMS(1, 4, 4));
        node_hear(&node, request_pre_vote(2, 9, ask[i].last, ask[i].last_term));
        cr_assert(eq(int, answer(&node, 2)->granted, ask[i].granted), "row %zu", i);
        cr_assert(eq(u64, raft_status(node.raft).term.n, 5));
        node_free(&node);
    }
}

Test(pre_vote, is_refused_for_a_term_that_is_not_above_the_own)
{
    struct node node = node_among(3, 5, TERMS(1));
    node_hear(&node, request_pre_vote(2, 4, 9, 4));
    cr_assert(not(answer(&node, 2)->granted));
    cr_assert(eq(u64, node_sent(&node, RAFT_REQUEST_PRE_VOTE_RESPONSE, 2)->term.n, 5),
              "so that it learns");
    node_free(&node);
}

Test(pre_vote, refused_for_a_term_that_was_missed_teaches_it)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(2, 9, 3, false));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 9));
    cr_assert(node.out.persist.hard_state);
    node_free(&node);

    node = node_among(3, 2, TERMS(1, 2));
    node_hear(&node, append_after(2, 2, 2, 2, 0, NO_TERMS));
    node_hear(&node, request_pre_vote_response(3, 9, 3, false));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 2), "not while a leader is heard");
    node_free(&node);

    node = node_settled(3, 2, TERMS(1, 2));
    node_hear(&node, request_pre_vote_response(3, 9, 3, false));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER), "nor by a leader");
    node_free(&node);
}

Test(pre_vote, and_vote_are_refused_while_a_leader_is_heard)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    node_hear(&node, append_after(2, 2, 2, 2, 0, NO_TERMS));
    node.now_ms += ELECTION_MS - 1;
    node_hear(&node, request_pre_vote(3, 7, 9, 6));
    cr_assert(not(answer(&node, 3)->granted));
    node_hear(&node, request_vote(3, 8, 9, 7));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 2),
              "the term of whoever disturbs is not heard");
    cr_assert(eq(u32, node.out.sends.count, 0));
    node.now_ms += 1;
    node_hear(&node, request_pre_vote(3, 7, 9, 6));
    cr_assert(answer(&node, 3)->granted, "it was silent for an election timeout");
    node_hear(&node, request_vote(3, 8, 9, 7));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 8));
    node_all_durable(&node);
    cr_assert(node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 3)->request_vote_response.granted);
    node_free(&node);
}

Test(pre_vote, and_vote_are_refused_by_a_leader)
{
    struct node node = node_settled(3, 2, TERMS(1, 2));
    node_hear(&node, request_pre_vote(3, 7, 9, 6));
    cr_assert(not(answer(&node, 3)->granted));
    node_hear(&node, request_vote(3, 8, 9, 7));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 3));
    node_free(&node);
}

Test(pre_vote, is_granted_at_once_when_the_connection_to_the_leader_broke)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    node_hear(&node, append_after(2, 2, 2, 2, 0, NO_TERMS));
    node_step(&node, (struct raft_event){.kind = RAFT_PEER_LOST, .peer_lost = {{3}}});
    node_hear(&node, request_pre_vote(3, 2, 2, 2));
    cr_assert(not(answer(&node, 3)->granted), "another's connection says nothing");
    node_step(&node, (struct raft_event){.kind = RAFT_PEER_LOST, .peer_lost = {{2}}});
    cr_assert(le(u64, node.out.deadline_ms, node.now_ms + 1 + HEARTBEAT_MS));
    cr_assert(gt(u64, node.out.deadline_ms, node.now_ms));
    node_hear(&node, request_pre_vote(3, 2, 2, 2));
    cr_assert(answer(&node, 3)->granted);
    node_free(&node);
}

Test(pre_vote, is_passed_by_whom_the_leader_itself_tells_to_campaign)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    node_hear(&node, append_after(2, 2, 2, 2, 0, NO_TERMS));
    node_hear(&node, message(RAFT_TIMEOUT_NOW, 2, 1));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER), "a leader of the past is none");
    node_hear(&node, message(RAFT_TIMEOUT_NOW, 2, 2));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 3));
    cr_assert(eq(u32, node.out.sends.count, 0), "its vote is not durable");
    node_all_durable(&node);
    cr_assert(eq(u32, node_sends(&node, RAFT_REQUEST_VOTE), 2));
    cr_assert(node_sent(&node, RAFT_REQUEST_VOTE, 2)->request_vote.transfer);
    node_free(&node);

    node = node_among(3, 2, TERMS(1, 2));
    node_hear(&node, append_after(2, 2, 2, 2, 0, NO_TERMS));
    struct raft_message ask = request_vote(3, 3, 2, 2);
    ask.request_vote.transfer = true;
    node_hear(&node, ask);
    node_all_durable(&node);
    cr_assert(node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 3)->request_vote_response.granted,
              "the leader wanted it");
    node_free(&node);
}

/* What was cut off, or removed, asks for ever and disturbs nobody. */
Test(pre_vote, of_a_node_that_asks_a_hundred_times_moves_no_term)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    for (uint64_t i = 0; i < 100; i++) {
        node.now_ms += HEARTBEAT_MS;
        node_hear(&node, append_after(2, 2, 2, 2, 0, NO_TERMS));
        node_hear(&node, request_pre_vote(3, 2 + i, 9 + i, 2 + i));
        must(!answer(&node, 3)->granted && raft_status(node.raft).term.n == 2);
        node_hear(&node, request_vote(3, 3 + i, 9 + i, 2 + i));
        must(raft_status(node.raft).term.n == 2);
    }
    node_free(&node);
}
