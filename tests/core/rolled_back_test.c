/* A disk that was put back to an earlier copy (raft.h, ROLLED BACK and DIVERGED NODES). */
#include "tests/core/support.h"

static uint32_t said(const struct node *node, enum raft_result_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->out.results.count; i++)
        count += node->out.results.at[i].kind == kind;
    return count;
}

static struct raft_message in_round(struct raft_message m, uint64_t round)
{
    m.append_entries_response.round = round;
    return m;
}

static struct raft_message forgot(uint64_t term, uint64_t index, uint64_t index_term)
{
    struct raft_message m = message(RAFT_FORGOT, 2, term);
    m.forgot.index.n = index;
    m.forgot.index_term.n = index_term;
    return m;
}

static uint64_t round_now(const struct node *node)
{
    return node->raft->leader.round;
}

/* A leader of three to which 2 has acknowledged all of `entries` + 2, 3 has died. */
static struct node leader_of(uint32_t entries)
{
    struct node node = node_settled(3, 1, TERMS(1));
    if (entries > 0)
        node_propose(&node, entries, 10 * entries);
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 2 + entries, 0));
    must(raft_status(node.raft).commit.n == 2 + entries);
    return node;
}

/* The same, after 2 proved that it has only the first entry. */
static struct node leader_with_proof(uint32_t entries)
{
    struct node node = leader_of(entries);
    node_hear(&node, rejected(2, 2, 2 + entries, 1, 1));
    must(said(&node, RAFT_ROLLED_BACK) == 0);
    node_hear(&node, in_round(rejected(2, 2, 2 + entries, 1, 1), round_now(&node)));
    return node;
}

Test(rolled_back, refusal_in_a_newer_round_is_proof_and_the_log_is_sent_again)
{
    struct node node = leader_with_proof(3);
    const struct raft_result *result = node_result(&node);
    cr_assert(eq(int, result->kind, RAFT_ROLLED_BACK));
    cr_assert(eq(u64, result->rolled_back.node.n, 2));
    cr_assert(eq(u64, result->rolled_back.floor.n, 5));
    const struct raft_message *told = node_sent(&node, RAFT_FORGOT, 2);
    cr_assert(eq(u64, told->forgot.index.n, 5));
    cr_assert(eq(u64, told->forgot.index_term.n, 2));
    const struct raft_message *append = node_sent(&node, RAFT_APPEND_ENTRIES, 2);
    cr_assert(eq(u64, append->append_entries.prev.n, 1));
    cr_assert(eq(u64, append->append_entries.round, round_now(&node)));
    node_free(&node);
}

Test(rolled_back, refusal_that_is_late_doubled_or_reordered_is_no_proof)
{
    for (int reads = 0; reads < 4; reads++) {
        struct node node = node_settled(3, 1, TERMS(1));
        for (int i = 0; i < reads; i++) { /* rounds go on before it acknowledges more */
            node_read(&node, (uint64_t)i + 1);
            node_hear(&node, accepted(2, 2, 2, round_now(&node)));
        }
        uint64_t round = round_now(&node); /* it refused in this one, and then got the entries */
        node_propose(&node, 3, 30);
        node_all_durable(&node);
        node_hear(&node, accepted(2, 2, 5, round));
        for (int i = 0; i < 5; i++) {
            node_hear(&node, in_round(rejected(2, 2, 3 + (uint64_t)i % 3, 2, 2), round));
            cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 0));
        }
        cr_assert(eq(u64, node_progress(&node, 2)->match.n, 5));
        cr_assert(eq(u64, round_now(&node), round + 1), "one round is enough to know");
        node_hear(&node, accepted(2, 2, 5, round + 1));
        cr_assert(eq(u64, node_progress(&node, 2)->round, round + 1));
        node_free(&node);
    }
}

Test(rolled_back, node_is_not_counted_until_it_has_its_floor_again)
{
    struct node node = leader_with_proof(3);
    uint64_t round = round_now(&node), commit = raft_status(node.raft).commit.n;
    node_propose(&node, 1, 10);
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 6, round - 1)); /* from before it forgot */
    cr_assert(eq(u64, raft_status(node.raft).commit.n, commit));
    cr_assert(eq(u64, node_progress(&node, 2)->match.n, 0));
    node_hear(&node, accepted(2, 2, 4, round)); /* below its floor, and it was not told yet */
    cr_assert(node_sent(&node, RAFT_FORGOT, 2) != NULL, "it is told again");
    cr_assert(eq(u64, node_progress(&node, 2)->counted.n, 0));
    struct raft_message recovering = accepted(2, 2, 6, round);
    recovering.append_entries_response.recovering = true;
    node_hear(&node, recovering);
    cr_assert(eq(u64, raft_status(node.raft).commit.n, commit));
    cr_assert(node_sent(&node, RAFT_FORGOT, 2) == NULL);
    node_hear(&node, accepted(2, 2, 6, round));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 6), "leader and 2 are a majority again");
    node_free(&node);
}

Test(rolled_back, node_keeps_its_leader_while_it_catches_up_and_confirms_no_read)
{
    struct node node = leader_with_proof(3);
    node_read(&node, 7);
    for (int i = 0; i < 30; i++) {
        node_pass(&node, HEARTBEAT_MS);
        node_hear(&node, accepted(2, 2, 1, round_now(&node)));
        must(said(&node, RAFT_READ_READY) == 0);
    }
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    node_hear(&node, accepted(2, 2, 5, round_now(&node)));
    node_hear(&node, accepted(2, 2, 5, round_now(&node)));
    cr_assert(eq(u32, said(&node, RAFT_READ_READY), 1));
    node_free(&node);
}

Test(rolled_back, second_time_is_noticed_too)
{
    struct node node = leader_with_proof(3);
    node_hear(&node, accepted(2, 2, 5, round_now(&node)));
    node_hear(&node, in_round(rejected(2, 2, 5, 1, 1), round_now(&node)));
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 0));
    node_hear(&node, in_round(rejected(2, 2, 5, 1, 1), round_now(&node)));
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 1));
    node_free(&node);
}

/* --- the node itself -------------------------------------------------------------------------- */

/* In term 2, whose leader it has heard. */
static struct node follower_of_2(const uint64_t *terms, size_t entries)
{
    struct node node = node_among(3, 2, terms, entries);
    node_hear(&node, append_after(2, 2, 0, 0, 0, NO_TERMS));
    return node;
}

Test(rolled_back, node_that_is_told_becomes_recovering_up_to_its_floor_and_durably)
{
    struct node node = follower_of_2(TERMS(1, 2));
    node_hear(&node, forgot(2, 4, 2));
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 1));
    cr_assert(node.out.persist.hard_state && node.out.persist.hard.recovering);
    cr_assert(eq(u64, node.out.persist.hard.floor.index.n, 4));
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 1), "it votes no more in this term");
    node_hear(&node, forgot(2, 4, 2));
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 0));
    cr_assert(not(node.out.persist.wanted), "told twice");
    struct raft_message ask = request_vote(3, 3, 3, 2);
    ask.request_vote.transfer = 1; /* that it hears a leader is no reason to refuse */
    node_hear(&node, ask);
    node_all_durable(&node);
    const struct raft_message *vote = node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 3);
    cr_assert(vote == NULL || !vote->request_vote_response.granted, "that log is below its floor");
    node_hear(&node, append_after(2, 3, 2, 2, 0, TERMS(2, 2)));
    node_all_durable(&node);
    cr_assert(not(raft_status(node.raft).recovering));
    node_free(&node);
}

Test(rolled_back, word_of_it_says_nothing_to_who_has_the_entry)
{
    struct node node = follower_of_2(TERMS(1, 2, 2));
    node_hear(&node, forgot(2, 3, 2));
    node_hear(&node, forgot(1, 9, 1));
    node_hear(&node, forgot(2, 9, 3));
    cr_assert(not(raft_status(node.raft).recovering));
    node_free(&node);
}

Test(rolled_back, floor_is_raised_by_who_knows_more_and_never_lowered)
{
    struct node node = follower_of_2(TERMS(1, 2));
    node_hear(&node, forgot(2, 4, 2));
    node_hear(&node, forgot(2, 7, 2));
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 7));
    node_hear(&node, forgot(2, 5, 2));
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 7));
    node_free(&node);
}

/* --- what the driver knows -------------------------------------------------------------------- */

static void is_told(struct node *node, uint64_t term, uint64_t index, uint64_t index_term)
{
    struct raft_event event = {.kind = RAFT_SELF_ROLLED_BACK};
    event.self_rolled_back.term.n = term;
    event.self_rolled_back.floor = (struct raft_floor){index > 0, {index}, {index_term}};
    node_step(node, event);
}

Test(rolled_back, node_that_others_saw_later_is_recovering_without_a_floor)
{
    struct node node = follower_of_2(TERMS(1, 2));
    is_told(&node, 2, 0, 0);
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 1));
    cr_assert(node.out.persist.hard_state && node.out.persist.hard.recovering);
    cr_assert(node.out.persist.hard.rolled_back && !node.out.persist.hard.floor.known);
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 1), "it votes no more in this term");
    cr_assert(raft_status(node.raft).leader_known, "it follows whom it followed");
    is_told(&node, 4, 0, 0);
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 0), "once is enough");
    cr_assert(eq(u64, raft_status(node.raft).term.n, 4));
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 1));
    struct raft_message ask = request_vote(3, 5, 9, 4);
    node_hear(&node, ask);
    node_all_durable(&node);
    const struct raft_message *vote = node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 3);
    cr_assert(vote == NULL || !vote->request_vote_response.granted,
              "it does not know which logs suffice");
    node_free(&node);
}

Test(rolled_back, leader_that_others_saw_later_leads_no_more)
{
    struct node node = leader_of(3);
    is_told(&node, 2, 0, 0);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    cr_assert(raft_status(node.raft).recovering);
    node_free(&node);
}

Test(rolled_back, floor_comes_from_the_leader_to_who_was_put_back_and_not_to_who_lost_all)
{
    struct node node = follower_of_2(TERMS(1, 2));
    is_told(&node, 2, 0, 0);
    node_hear(&node, forgot(2, 4, 2));
    cr_assert(raft_status(node.raft).floor.known);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 4));
    node_free(&node);
    node = follower_of_2(TERMS(1, 2));
    is_told(&node, 2, 0, 0);
    node_hear(&node, forgot(2, 2, 2));
    cr_assert(not(raft_status(node.raft).recovering), "it has all of it");
    cr_assert(not(raft_status(node.raft).rolled_back));
    node_free(&node);
    node = follower_of_2(TERMS(1, 2));
    node.raft->recovering = true; /* its storage lost something, in another way */
    node_hear(&node, forgot(2, 4, 2));
    cr_assert(not(raft_status(node.raft).floor.known));
    node_free(&node);
}

Test(rolled_back, floor_is_what_it_acknowledged_to_those_who_remember)
{
    struct node node = follower_of_2(TERMS(1, 2));
    is_told(&node, 2, 5, 2);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 5));
    cr_assert(eq(u64, node_result(&node)->rolled_back.floor.n, 5));
    is_told(&node, 2, 4, 2);
    is_told(&node, 2, 0, 0);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 5), "the most counts");
    is_told(&node, 3, 4, 3);
    cr_assert(eq(u64, raft_status(node.raft).floor.term.n, 3), "of the later term");
    node_free(&node);
    node = follower_of_2(TERMS(1, 2));
    is_told(&node, 2, 0, 0);
    is_told(&node, 2, 5, 2);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 5), "in whatever order");
    node_free(&node);
    node = follower_of_2(TERMS(1, 2));
    node.raft->recovering = true; /* its storage lost something, in another way */
    is_told(&node, 2, 5, 2);
    cr_assert(not(raft_status(node.raft).floor.known), "it asks all others");
    node_free(&node);
    node = follower_of_2(TERMS(1, 2));
    node_hear(&node, forgot(2, 4, 2));
    is_told(&node, 2, 6, 2);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 6));
    node_free(&node);
}

Test(rolled_back, memory_of_an_earlier_term_is_no_floor)
{
    struct node node = follower_of_2(TERMS(1, 2));
    is_told(&node, 6, 100, 5); /* in term 6 it may have acknowledged more, to somebody else */
    cr_assert(raft_status(node.raft).rolled_back && !raft_status(node.raft).floor.known);
    is_told(&node, 5, 100, 5);
    cr_assert(not(raft_status(node.raft).floor.known));
    is_told(&node, 6, 90, 6);
    cr_assert(eq(u64, raft_status(node.raft).floor.index.n, 90));
    is_told(&node, 7, 0, 0);
    cr_assert(not(raft_status(node.raft).floor.known), "it was seen later");
    is_told(&node, 7, 0, 0);
    cr_assert(not(node.out.persist.wanted), "no news");
    node_free(&node);
    node = follower_of_2(TERMS(1, 2));
    is_told(&node, 2, 50, 0);
    cr_assert(not(raft_status(node.raft).floor.known), "an entry of no term");
    node_free(&node);
}

Test(rolled_back, vote_that_is_being_written_is_not_given_after_it_is_told)
{
    struct node node = node_among(3, 2, TERMS(1, 2));
    node_hear(&node, request_vote(3, 3, 2, 2));
    struct raft_mark mark = node.out.persist.mark;
    must(node.out.persist.hard.vote.n == 3);
    is_told(&node, 3, 5, 3);
    must(raft_status(node.raft).recovering);
    node_persisted(&node, mark);
    cr_assert(node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 3) == NULL);
    node_free(&node);
}

static void peer_is_told(struct node *node, uint64_t peer)
{
    node_step(node, (struct raft_event){.kind = RAFT_PEER_ROLLED_BACK,
                                        .peer_rolled_back = {.peer = {peer}}});
}

Test(rolled_back, leader_tells_what_it_was_elected_with_and_what_was_acknowledged_to_it)
{
    struct node node = leader_of(3);
    node_propose(&node, 2, 20); /* on their way to 2 */
    node_all_durable(&node);
    peer_is_told(&node, 2);
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 1));
    cr_assert(eq(u64, node_sent(&node, RAFT_FORGOT, 2)->forgot.index.n, 5));
    uint64_t round = round_now(&node);
    node_hear(&node, accepted(2, 2, 7, round - 1)); /* from before */
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 5));
    peer_is_told(&node, 2);
    cr_assert(eq(u32, said(&node, RAFT_ROLLED_BACK), 0));
    cr_assert(eq(u64, node_sent(&node, RAFT_FORGOT, 2)->forgot.index.n, 5), "told again");
    node_hear(&node, accepted(2, 2, 4, round));
    cr_assert(eq(u64, node_progress(&node, 2)->counted.n, 0), "below its floor");
    node_hear(&node, accepted(2, 2, 7, round));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 7));
    node_free(&node);
    node = node_elected(3, 1, TERMS(1, 1, 1)); /* it has counted nothing of 3 */
    peer_is_told(&node, 3);
    cr_assert(eq(u64, node_sent(&node, RAFT_FORGOT, 3)->forgot.index.n, 3));
    node_free(&node);
}

Test(rolled_back, who_does_not_lead_tells_nobody)
{
    struct node node = follower_of_2(TERMS(1, 2));
    peer_is_told(&node, 3);
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_free(&node);
    node = leader_of(1);
    peer_is_told(&node, 1);
    peer_is_told(&node, 9);
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_free(&node);
}

/* --- histories that differ -------------------------------------------------------------------- */

static struct node committed_two(void)
{
    struct node node = node_among(3, 2, TERMS(1, 2, 2));
    node_hear(&node, append_after(2, 2, 3, 2, 2, NO_TERMS));
    must(raft_status(node.raft).commit.n == 2);
    return node;
}

static void must_have_diverged(struct node *node, uint64_t index)
{
    must(node_result(node)->kind == RAFT_DIVERGED);
    must(node_result(node)->diverged.index.n == index);
    cr_assert(raft_status(node->raft).diverged);
    cr_assert(eq(u32, node->out.sends.count, 0));
    cr_assert(not(node->out.persist.truncate));
}

Test(rolled_back, conflict_at_or_below_the_commit_index_is_divergence)
{
    struct node node = committed_two();
    node_hear(&node, append_after(3, 4, 2, 3, 0, TERMS(4)));
    must_have_diverged(&node, 2);
    node_hear(&node, append_after(3, 4, 1, 1, 0, TERMS(3, 4)));
    cr_assert(eq(u32, node.out.sends.count, 0), "and for good");
    node_read(&node, 1);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_READ_REFUSED));
    node_free(&node);
    node = committed_two();
    node_hear(&node, append_after(3, 4, 1, 1, 0, TERMS(3, 4)));
    must_have_diverged(&node, 2);
    node_free(&node);
    node = committed_two();
    node_hear(&node, append_after(3, 4, 2, 2, 0, TERMS(4)));
    cr_assert(not(raft_status(node.raft).diverged), "above it a conflict is an election's");
    node_free(&node);
}

Test(rolled_back, follower_that_committed_more_than_its_leader_has_is_said_once_and_not_counted)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 9, 0));
    cr_assert(eq(int, node_result(&node)->kind, RAFT_DIVERGED));
    cr_assert(eq(u64, node_result(&node)->diverged.node.n, 2));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 2));
    node_hear(&node, accepted(2, 2, 9, 0));
    cr_assert(eq(u32, said(&node, RAFT_DIVERGED), 0));
    node_free(&node);
}
