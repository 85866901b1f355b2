/* §5.2, §5.4.1 among several: who gets a vote, and when it may be said. */
#include "tests/core/support.h"

static bool gave_vote(const struct node *node, uint64_t to)
{
    const struct raft_message *m = node_sent(node, RAFT_REQUEST_VOTE_RESPONSE, to);
    return m != NULL && m->request_vote_response.granted;
}

static bool refused_vote(const struct node *node, uint64_t to)
{
    const struct raft_message *m = node_sent(node, RAFT_REQUEST_VOTE_RESPONSE, to);
    return m != NULL && !m->request_vote_response.granted;
}

/* A candidate in term 3 of five voters that has asked the others. */
static struct node candidate(void)
{
    struct node node = node_among(5, 2, TERMS(1, 2));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(2, 2, 3, true));
    node_hear(&node, request_pre_vote_response(3, 2, 3, true));
    must(raft_status(node.raft).role == RAFT_CANDIDATE);
    node_all_durable(&node);
    return node;
}

Test(vote, is_given_once_a_term_to_who_comes_first)
{
    struct node node = node_among(3, 1, TERMS(1));
    node_hear(&node, request_vote(3, 2, 1, 1));
    node_all_durable(&node);
    cr_assert(gave_vote(&node, 3));
    node_hear(&node, request_vote(2, 2, 9, 2));
    cr_assert(refused_vote(&node, 2), "however much better its log is");
    cr_assert(not(node.out.persist.wanted));
    node_hear(&node, request_vote(2, 3, 9, 2));
    node_all_durable(&node);
    cr_assert(gave_vote(&node, 2), "another term, another vote");
    node_free(&node);
}

Test(vote, leaves_only_when_storage_has_it)
{
    struct node node = node_among(3, 1, TERMS(1));
    node_hear(&node, request_vote(3, 2, 1, 1));
    cr_assert(eq(u32, node.out.sends.count, 0));
    cr_assert(node.out.persist.wanted);
    cr_assert(node.out.persist.hard_state);
    cr_assert(node.out.persist.hard.voted);
    cr_assert(eq(u64, node.out.persist.hard.term.n, 2));
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 3));
    struct raft_mark mark = node.out.persist.mark;
    node_persisted(&node, (struct raft_mark){.last = {1}, .term = {1}, .voted = true});
    cr_assert(eq(u32, node.out.sends.count, 0), "an older mark says nothing of it");
    node_persisted(&node, (struct raft_mark){.last = {1}, .term = {2}});
    cr_assert(eq(u32, node.out.sends.count, 0), "the term alone is no vote");
    node_persisted(&node, mark);
    cr_assert(gave_vote(&node, 3));
    cr_assert(eq(u64, node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 3)->term.n, 2));
    node_persisted(&node, mark);
    cr_assert(eq(u32, node.out.sends.count, 0), "said once");
    node_free(&node);
}

Test(vote, asked_for_again_is_said_again_to_the_same_only)
{
    struct node node = node_among(3, 1, TERMS(1));
    node_hear(&node, request_vote(3, 2, 1, 1));
    struct raft_mark mark = node.out.persist.mark;
    node_hear(&node, request_vote(3, 2, 1, 1));
    cr_assert(eq(u32, node.out.sends.count, 0), "still not durable");
    node_persisted(&node, mark);
    node_hear(&node, request_vote(3, 2, 1, 1));
    cr_assert(gave_vote(&node, 3));
    cr_assert(not(node.out.persist.wanted));
    node_hear(&node, request_vote(2, 2, 1, 1));
    cr_assert(refused_vote(&node, 2));
    node_free(&node);
}

Test(vote, of_the_stored_term_outlives_a_restart)
{
    struct raft_saved saved = {.hard.term = {5},
                               .hard.voted = true,
                               .hard.vote = {3},
                               .configuration = voters(3, 1, 2, 3)};
    struct node node = node_start(&saved, NO_TERMS);
    node_hear(&node, request_vote(2, 5, 9, 4));
    cr_assert(refused_vote(&node, 2));
    node_hear(&node, request_vote(3, 5, 0, 0));
    cr_assert(gave_vote(&node, 3));
    node_free(&node);
}

/* §5.4.1: the later last term, and at the same the longer log. */
Test(vote, is_given_only_to_a_log_that_is_at_least_as_up_to_date)
{
    static const struct {
        uint64_t last, last_term;
        bool granted;
    } ask[] = {
        {3, 4, true},  {4, 4, true},  {1, 5, true},  {2, 4, false},
        {9, 3, false}, {0, 0, false}, {3, 3, false}, {2, 5, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(ask); i++) {
        struct node node = node_among(3, 5, TERMS(1, 4, 4));
        node_hear(&node, request_vote(2, 6, ask[i].last, ask[i].last_term));
        cr_assert(eq(u64, raft_status(node.raft).term.n, 6), "the term is followed in any case");
        node_all_durable(&node);
        cr_assert(eq(int, gave_vote(&node, 2), ask[i].granted), "row %zu", i);
        node_hear(&node, request_vote(3, 6, 3, 4));
        node_all_durable(&node);
        cr_assert(eq(int, node.raft->vote.n == 3, !ask[i].granted), "row %zu", i);
        node_free(&node);
    }
}

Test(vote, of_an_older_term_is_refused_with_the_own_term)
{
    struct node node = node_among(3, 5, TERMS(1));
    node_hear(&node, request_vote(2, 4, 9, 4));
    cr_assert(refused_vote(&node, 2));
    cr_assert(eq(u64, node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 2)->term.n, 5));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 5));
    node_free(&node);
}

Test(vote, refusals_say_no_term_that_is_not_durable)
{
    struct node node = node_among(3, 1, TERMS(1, 1));
    node_hear(&node, request_vote(2, 7, 0, 0));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 7));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_hear(&node, request_vote(3, 6, 0, 0));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_hear(&node, append_after(3, 6, 0, 0, 0, NO_TERMS));
    cr_assert(eq(u32, node.out.sends.count, 0), "nor to a stale leader");
    node_hear(&node, request_pre_vote(3, 9, 2, 1));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_all_durable(&node);
    node_hear(&node, append_after(3, 6, 0, 0, 0, NO_TERMS));
    cr_assert(eq(u64, node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 3)->term.n, 7));
    node_free(&node);
}

Test(vote, of_others_is_asked_for_when_the_own_is_durable_and_once)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(2, 2, 3, true));
    struct raft_mark mark = node.out.persist.mark;
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_hear(&node, request_vote_response(2, 3, true));
    node_hear(&node, request_vote_response(3, 3, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE), "never asked, never counted");
    node_persisted(&node, (struct raft_mark){.last = {2}, .term = {3}});
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_persisted(&node, mark);
    cr_assert(eq(u32, node_sends(&node, RAFT_REQUEST_VOTE), 2));
    const struct raft_message *ask = node_sent(&node, RAFT_REQUEST_VOTE, 3);
    cr_assert(eq(u64, ask->term.n, 3));
    cr_assert(eq(u64, ask->request_vote.last.n, 2));
    cr_assert(eq(u64, ask->request_vote.last_term.n, 2));
    cr_assert(not(ask->request_vote.transfer));
    node_persisted(&node, mark);
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_free(&node);
}

Test(vote, wins_with_a_majority_counted_by_node)
{
    struct node node = candidate();
    for (int i = 0; i < 5; i++)
        node_hear(&node, request_vote_response(2, 3, true));
    node_hear(&node, request_vote_response(3, 3, false));
    node_hear(&node, request_vote_response(9, 3, true));
    node_hear(&node, request_vote_response(4, 2, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE),
              "one node twice, a refusal, a stranger and an older term are two votes of five");
    node_hear(&node, request_vote_response(4, 3, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    cr_assert(eq(u32, node_sends(&node, RAFT_APPEND_ENTRIES), 4));
    node_free(&node);
}

Test(vote, granted_before_is_never_counted_as_one_of_this_term)
{
    struct node node = candidate();
    node_hear(&node, request_pre_vote_response(2, 2, 3, true));
    node_hear(&node, request_pre_vote_response(3, 2, 3, true));
    node_hear(&node, request_pre_vote_response(4, 2, 3, true));
    node_hear(&node, request_pre_vote_response(5, 3, 4, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE), "a pre-vote is no vote");
    node_hear(&node, request_vote_response(2, 3, true));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(2, 3, 4, true));
    node_hear(&node, request_pre_vote_response(3, 3, 4, true));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 4));
    node_all_durable(&node);
    node_hear(&node, request_vote_response(4, 4, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    node_free(&node);
}

Test(vote, is_kept_when_its_owner_follows_within_the_term)
{
    struct node node = candidate();
    node_hear(&node, append_after(2, 3, 0, 0, 0, NO_TERMS));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    cr_assert(eq(u64, raft_status(node.raft).leader.n, 2));
    node_hear(&node, request_vote(4, 3, 9, 3));
    cr_assert(refused_vote(&node, 4));
    node_hear(&node, request_vote_response(2, 3, true));
    node_hear(&node, request_vote_response(3, 3, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER), "its own election is over");
    node_free(&node);

    node = node_settled(3, 1, TERMS(1));
    node_pass(&node, 2 * ELECTION_MS);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER), "no majority heard it");
    cr_assert(not(node.out.persist.hard_state));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 2));
    node_hear(&node, request_vote(2, 2, 9, 2));
    cr_assert(refused_vote(&node, 2));
    node_free(&node);
}

/* A vote that the disk got only after the election was lost (etcd's self-vote after term change).
 */
Test(vote, of_an_election_that_is_over_counts_nothing_when_it_becomes_durable)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(2, 2, 3, true));
    struct raft_mark vote = node.out.persist.mark;
    node_hear(&node, append_after(2, 4, 0, 0, 0, NO_TERMS));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    node_persisted(&node, vote);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    cr_assert(eq(u32, node.out.sends.count, 0), "term 4 is not durable: nothing to say");
    node_all_durable(&node);
    cr_assert(node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 2) != NULL);
    node_free(&node);
}

Test(vote, and_candidates_give_way_to_a_higher_term_whoever_says_it)
{
    const struct raft_message says[] = {
        request_vote_response(2, 7, false),
        request_vote_response(2, 7, true),
        accepted(2, 7, 0, 0),
        append_after(2, 7, 0, 0, 0, NO_TERMS),
        message(RAFT_READ_INDEX_RESPONSE, 2, 7),
    };
    for (size_t i = 0; i < ARRAY_LEN(says); i++) {
        struct node node = candidate();
        node_hear(&node, says[i]);
        cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER), "row %zu", i);
        cr_assert(eq(u64, raft_status(node.raft).term.n, 7));
        cr_assert(not(node.raft->voted), "nobody has its vote of term 7 yet");
        cr_assert(node.out.persist.hard_state);
        node_free(&node);

        node = node_settled(3, 1, NO_TERMS);
        node_hear(&node, says[i]);
        cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER), "a leader, row %zu", i);
        node_free(&node);
    }
}

Test(vote, splits_do_not_repeat_for_ever_as_timeouts_are_drawn_anew)
{
    struct node node = node_among(3, 1, TERMS(1));
    uint64_t least = UINT64_MAX, most = 0, different = 0, before = 0;
    for (int i = 0; i < 1000; i++) {
        node_wait(&node);
        uint64_t wait = node.out.deadline_ms - node.now_ms;
        must(wait >= ELECTION_MS && wait < 2 * ELECTION_MS);
        different += wait != before;
        before = wait;
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    cr_assert(gt(u64, different, 950));
    cr_assert(lt(u64, least, ELECTION_MS + 10));
    cr_assert(gt(u64, most, 2 * ELECTION_MS - 10));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 1), "asking moves no term");
    node_free(&node);
}

Test(vote, is_given_once_a_term_also_when_the_leader_wants_another)
{
    struct node node = node_among(3, 1, TERMS(1));
    node_hear(&node, request_vote(3, 2, 1, 1));
    node_all_durable(&node);
    cr_assert(gave_vote(&node, 3));
    struct raft_message ask = request_vote(2, 2, 9, 1);
    ask.request_vote.transfer = true;
    node_hear(&node, ask);
    cr_assert(refused_vote(&node, 2));
    node_free(&node);
}
