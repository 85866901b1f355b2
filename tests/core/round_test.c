/* Thesis §6.4 among several: a read waits for a round of asking that began after it came in. */
#include "tests/core/support.h"

static bool ready(const struct node *node, uint64_t token, uint64_t index)
{
    for (uint32_t i = 0; i < node->out.results.count; i++) {
        const struct raft_result *v = &node->out.results.at[i];
        if (v->kind == RAFT_READ_READY && v->read_ready.token == token)
            return v->read_ready.index.n == index;
    }
    return false;
}

static bool refused(const struct node *node, uint64_t token, enum raft_refusal why)
{
    for (uint32_t i = 0; i < node->out.results.count; i++) {
        const struct raft_result *v = &node->out.results.at[i];
        if (v->kind == RAFT_READ_REFUSED && v->read_refused.token == token)
            return v->read_refused.why == why;
    }
    return false;
}

static struct raft_message read_index(uint64_t from, uint64_t term, uint64_t token)
{
    struct raft_message m = message(RAFT_READ_INDEX, from, term);
    m.read_index.token = token;
    return m;
}

static struct raft_message read_index_response(uint64_t from, uint64_t term, uint64_t token,
                                               bool granted, uint64_t index)
{
    struct raft_message m = message(RAFT_READ_INDEX_RESPONSE, from, term);
    m.read_index_response = (struct raft_read_index_response){token, granted, {index}};
    return m;
}

Test(round, is_asked_of_everybody_and_confirmed_by_a_majority)
{
    struct node node = node_settled(5, 1, TERMS(1));
    node_read(&node, 7);
    cr_assert(eq(u32, node_sends(&node, RAFT_APPEND_ENTRIES), 4));
    cr_assert(eq(u64, node_sent(&node, RAFT_APPEND_ENTRIES, 4)->append_entries.round, 1));
    for (int i = 0; i < 5; i++)
        node_hear(&node, accepted(2, 2, 2, 1));
    node_hear(&node, accepted(9, 2, 2, 1));
    node_hear(&node, accepted(3, 2, 2, 0));
    node_hear(&node, accepted(3, 1, 2, 1));
    cr_assert(eq(u32, node.out.results.count, 0));
    node_hear(&node, rejected(3, 2, 2, 0, 0));
    cr_assert(eq(u32, node.out.results.count, 0), "a refusal of an earlier round");
    struct raft_message refusal = rejected(3, 2, 2, 0, 0);
    refusal.append_entries_response.round = 1;
    node_hear(&node, refusal);
    cr_assert(ready(&node, 7, 2), "whoever refuses an append follows this leader all the same");
    node_free(&node);
}

/* etcd-io/raft#397: what was sent before the read came in cannot confirm it. */
Test(round, is_never_confirmed_by_answers_to_an_earlier_one)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_read(&node, 1);
    node_read(&node, 2);
    cr_assert(eq(u32, node.out.sends.count, 0), "one round is under way at a time");
    node_hear(&node, accepted(2, 2, 2, 1));
    cr_assert(ready(&node, 1, 2));
    cr_assert(eq(u32, node.out.results.count, 1));
    cr_assert(eq(u64, node_sent(&node, RAFT_APPEND_ENTRIES, 3)->append_entries.round, 2),
              "now the second begins");
    for (int i = 0; i < 3; i++) {
        node_hear(&node, accepted(2, 2, 2, 1));
        node_hear(&node, accepted(3, 2, 2, 1));
        node_hear(&node, accepted(3, 2, 2, 0));
        cr_assert(eq(u32, node.out.results.count, 0), "late and doubled");
    }
    node_hear(&node, accepted(3, 2, 2, 3));
    cr_assert(eq(u32, node.out.results.count, 0), "one that nobody asked for");
    node_hear(&node, accepted(3, 2, 2, 2));
    cr_assert(ready(&node, 2, 2));
    node_hear(&node, accepted(2, 2, 2, 2));
    cr_assert(eq(u32, node.out.results.count, 0), "answered once");
    node_free(&node);
}

Test(round, takes_the_commit_index_when_it_begins_and_not_before)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_read(&node, 1);
    node_propose(&node, 1, 10);
    node_read(&node, 2);
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 3, 0));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 3));
    node_read(&node, 3);
    node_hear(&node, accepted(2, 2, 3, 1));
    cr_assert(ready(&node, 1, 2), "read 1 was asked when 2 was the last committed");
    node_hear(&node, accepted(3, 2, 3, 2));
    cr_assert(ready(&node, 2, 3));
    cr_assert(ready(&node, 3, 3));
    node_free(&node);
}

Test(round, does_not_begin_before_the_first_commit_of_the_term)
{
    struct node node = node_elected(3, 1, TERMS(1, 1));
    node_read(&node, 1);
    node_hear(&node, read_index(3, 2, 2));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_hear(&node, accepted(2, 2, 2, 0));
    node_hear(&node, accepted(3, 2, 2, 0));
    cr_assert(eq(u64, node.raft->leader.round, 0));
    cr_assert(eq(u32, node.out.results.count, 0));
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 3, 0));
    cr_assert(eq(u64, node.raft->leader.round, 1));
    cr_assert(eq(u32, node.out.results.count, 0), "nor is it confirmed by that commit");
    node_hear(&node, accepted(2, 2, 3, 1));
    cr_assert(ready(&node, 1, 3));
    cr_assert(
        eq(u64, node_sent(&node, RAFT_READ_INDEX_RESPONSE, 3)->read_index_response.index.n, 3));
    node_free(&node);
}

Test(round, is_asked_again_with_each_heartbeat)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_read(&node, 1);
    node_wait(&node);
    cr_assert(eq(u64, node_sent(&node, RAFT_APPEND_ENTRIES, 2)->append_entries.round, 1),
              "if it was lost");
    node_hear(&node, accepted(2, 2, 2, 1));
    cr_assert(ready(&node, 1, 2));
    node_free(&node);
}

Test(round, is_refused_when_the_leader_follows)
{
    for (int how = 0; how < 2; how++) {
        struct node node = node_settled(3, 1, TERMS(1));
        node_read(&node, 1);
        node_read(&node, 2);
        node_hear(&node, read_index(3, 2, 3));
        if (how == 0)
            node_hear(&node, accepted(2, 3, 0, 1));
        else
            node_pass(&node, 2 * ELECTION_MS);
        cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
        cr_assert(eq(u32, node.out.results.count, 2));
        cr_assert(refused(&node, 1, RAFT_NOT_LEADER));
        cr_assert(refused(&node, 2, RAFT_NOT_LEADER));
        node_hear(&node, accepted(2, 2, 2, 1));
        cr_assert(eq(u32, node.out.results.count, 0));
        node_free(&node);
    }
}

Test(round, has_room_for_so_many_reads_and_says_when_not)
{
    struct node node = node_settled(3, 1, TERMS(1));
    for (uint64_t i = 1; i <= RAFT_READ_ROUNDS_MAX; i++)
        node_read(&node, i);
    node_read(&node, 999);
    cr_assert(refused(&node, 999, RAFT_BUSY));
    node_hear(&node, read_index(2, 2, 5));
    cr_assert(not(node_sent(&node, RAFT_READ_INDEX_RESPONSE, 2)->read_index_response.granted));
    node_hear(&node, accepted(2, 2, 2, 1));
    cr_assert(ready(&node, 1, 2));
    node_hear(&node, accepted(2, 2, 2, 2));
    cr_assert(eq(u32, node.out.results.count, RAFT_READ_ROUNDS_MAX - 1), "all in one round");
    node_free(&node);
}

/* --- forwarded -------------------------------------------------------------------------------- */

static struct node following(void)
{
    struct node node = node_among(3, 2, TERMS(1));
    node_hear(&node, append_after(2, 2, 1, 1, 1, NO_TERMS));
    return node;
}

Test(round, is_held_by_the_leader_for_a_follower_that_asks)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_hear(&node, read_index(3, 2, 77));
    cr_assert(eq(u32, node_sends(&node, RAFT_READ_INDEX_RESPONSE), 0));
    node_hear(&node, accepted(3, 2, 2, 1));
    const struct raft_read_index_response *give =
        &node_sent(&node, RAFT_READ_INDEX_RESPONSE, 3)->read_index_response;
    cr_assert(eq(u64, give->token, 77));
    cr_assert(give->granted);
    cr_assert(eq(u64, give->index.n, 2));
    cr_assert(eq(u32, node.out.results.count, 0), "it is not this node's read");
    node_free(&node);

    node = following();
    node_hear(&node, read_index(3, 2, 77));
    cr_assert(not(node_sent(&node, RAFT_READ_INDEX_RESPONSE, 3)->read_index_response.granted),
              "who does not lead");
    node_free(&node);
}

Test(round, of_a_follower_is_asked_of_its_leader_and_answered_once)
{
    struct node node = following();
    node_read(&node, 5);
    cr_assert(eq(u64, node_sent(&node, RAFT_READ_INDEX, 2)->read_index.token, 5));
    node_hear(&node, read_index_response(2, 2, 6, true, 9));
    node_hear(&node, read_index_response(2, 1, 5, true, 9));
    cr_assert(eq(u32, node.out.results.count, 0), "another token, another term");
    node_hear(&node, read_index_response(2, 2, 5, true, 9));
    cr_assert(ready(&node, 5, 9));
    node_hear(&node, read_index_response(2, 2, 5, true, 9));
    cr_assert(eq(u32, node.out.results.count, 0), "doubled");
    node_read(&node, 8);
    node_hear(&node, read_index_response(2, 2, 8, false, 0));
    cr_assert(refused(&node, 8, RAFT_BUSY));
    node_free(&node);
}

Test(round, of_a_follower_is_refused_when_it_has_another_leader_or_none)
{
    struct node node = following();
    node_read(&node, 1);
    node_hear(&node, append_after(3, 3, 1, 1, 1, NO_TERMS));
    cr_assert(refused(&node, 1, RAFT_NOT_LEADER));
    node_read(&node, 2);
    cr_assert(refused(&node, 2, RAFT_NOT_LEADER), "its term is not durable: it can ask nobody");
    node_all_durable(&node);
    node_read(&node, 3);
    node_read(&node, 4);
    node_wait(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE));
    cr_assert(refused(&node, 3, RAFT_NOT_LEADER));
    cr_assert(refused(&node, 4, RAFT_NOT_LEADER));
    node_read(&node, 5);
    cr_assert(refused(&node, 5, RAFT_NOT_LEADER));
    node_free(&node);
}

Test(round, of_a_node_that_may_not_vote_is_refused_when_its_leader_is_silent)
{
    struct raft_saved saved = {.hard.term = {2}, .configuration = voters(2, 2, 3)};
    saved.configuration.learners = 1;
    saved.configuration.learner[0].n = 1;
    struct node node = node_start(&saved, TERMS(1));
    node_hear(&node, append_after(2, 2, 1, 1, 1, NO_TERMS));
    node_read(&node, 3);
    cr_assert(node_sent(&node, RAFT_READ_INDEX, 2) != NULL);
    node_wait(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    cr_assert(refused(&node, 3, RAFT_NOT_LEADER));
    node_free(&node);
}

Test(round, of_a_follower_with_too_many_is_the_oldest_that_is_given_up)
{
    struct node node = following();
    for (uint64_t i = 1; i <= RAFT_READ_ROUNDS_MAX; i++)
        node_read(&node, i);
    cr_assert(eq(u32, node.out.results.count, 0));
    node_read(&node, 100);
    cr_assert(refused(&node, 1, RAFT_BUSY));
    cr_assert(eq(u32, node.out.results.count, 1));
    cr_assert(eq(u64, node_sent(&node, RAFT_READ_INDEX, 2)->read_index.token, 100));
    node_hear(&node, read_index_response(2, 2, 1, true, 9));
    cr_assert(eq(u32, node.out.results.count, 0), "its answer is not taken for another's");
    node_hear(&node, read_index_response(2, 2, 2, true, 9));
    cr_assert(ready(&node, 2, 9));
    node_free(&node);
}
