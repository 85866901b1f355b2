/* §5.3, §5.4.2 from the leader's side among several: what it counts, and when it leads no more. */
#include "tests/core/support.h"

static uint64_t commit(const struct node *node)
{
    return raft_status(node->raft).commit.n;
}

/* --- commit ----------------------------------------------------------------------------------- */

Test(leader, sends_what_it_appends_without_waiting_for_its_own_disk)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 2, 20);
    for (uint64_t to = 2; to <= 3; to++) {
        const struct raft_append_entries *a =
            &node_sent(&node, RAFT_APPEND_ENTRIES, to)->append_entries;
        cr_assert(eq(u64, a->prev.n, 2));
        cr_assert(eq(u64, a->prev_term.n, 2));
        cr_assert(eq(u32, a->entries.runs, 1));
        cr_assert(eq(u64, a->entries.at[0].term.n, 2));
        cr_assert(eq(u32, a->entries.at[0].count, 2));
        cr_assert(eq(u64, a->commit.n, 2));
    }
    node_free(&node);
}

Test(leader, counts_its_own_copy_only_when_storage_has_it)
{
    struct node node = node_settled(5, 1, TERMS(1));
    node_propose(&node, 1, 10);
    struct raft_mark mark = node.out.persist.mark;
    node_hear(&node, accepted(2, 2, 3, 0));
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2), "two of five, and an own that is not durable");
    node_persisted(&node, mark);
    cr_assert(eq(u64, commit(&node), 3));
    node_propose(&node, 1, 10);
    for (uint64_t id = 2; id <= 4; id++)
        node_hear(&node, accepted(id, 2, 4, 0));
    cr_assert(eq(u64, commit(&node), 4), "three others are enough without it");
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 3));
    node_free(&node);
}

Test(leader, counts_each_node_once_and_only_voters)
{
    struct node node = node_settled(5, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_all_durable(&node);
    for (int i = 0; i < 5; i++)
        node_hear(&node, accepted(2, 2, 3, 0));
    node_hear(&node, accepted(9, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2));
    node_hear(&node, accepted(5, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 3));
    node_free(&node);
}

/* Figure 8, (c) and (e): entry 2 of term 2 is on a majority, and may still be overwritten. */
Test(leader, commits_entries_of_older_terms_only_behind_one_of_its_own)
{
    struct node node = node_elected(5, 3, TERMS(1, 2));
    node_persisted(&node, (struct raft_mark){.last = {2}, .term = {4}, .voted = true});
    for (uint64_t id = 2; id <= 5; id++)
        node_hear(&node, accepted(id, 4, 2, 0));
    cr_assert(eq(u64, commit(&node), 0), "everybody has it, and it does not count");
    cr_assert(not(raft_status(node.raft).settled));
    node_hear(&node, accepted(2, 4, 3, 0));
    node_hear(&node, accepted(3, 4, 3, 0));
    cr_assert(eq(u64, commit(&node), 0));
    node_hear(&node, accepted(4, 4, 3, 0));
    cr_assert(eq(u64, commit(&node), 3));
    cr_assert(eq(u64, node.out.apply.first.n, 1));
    cr_assert(raft_status(node.raft).settled);
    node_free(&node);
}

Test(leader, tells_idle_followers_at_once_what_is_committed)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 3, 0));
    const struct raft_message *told = node_sent(&node, RAFT_APPEND_ENTRIES, 2);
    cr_assert(told != NULL);
    cr_assert(eq(u64, told->append_entries.commit.n, 3));
    cr_assert(eq(u32, told->append_entries.entries.runs, 0));
    cr_assert(eq(u64, node_sent(&node, RAFT_APPEND_ENTRIES, 3)->append_entries.commit.n, 3));
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(eq(u32, node.out.sends.count, 0), "once");
    node_free(&node);
}

/* --- answers that are late, doubled or of another time ---------------------------------------- */

Test(leader, is_not_moved_by_answers_that_are_late_or_cannot_be)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 2, 20);
    node_all_durable(&node);
    node_hear(&node, accepted(2, 1, 4, 0));
    node_hear(&node, accepted(2, 2, 5, 0));
    node_hear(&node, accepted(2, 2, 4, 1));
    cr_assert(eq(u64, commit(&node), 2),
              "an older term, entries it has not, a round it never held");
    node_hear(&node, accepted(2, 2, 4, 0));
    cr_assert(eq(u64, commit(&node), 4));
    for (uint64_t match = 0; match <= 4; match++) {
        node_hear(&node, accepted(2, 2, match, 0));
        cr_assert(eq(u64, node_progress(&node, 2)->match.n, 4));
        cr_assert(eq(u64, node_progress(&node, 2)->next.n, 5));
        node_hear(&node, rejected(2, 2, match, 0, 0));
        cr_assert(eq(u64, node_progress(&node, 2)->next.n, 5), "what it once had it has");
        cr_assert(eq(int, node_progress(&node, 2)->kind, RAFT_REPLICATE));
    }
    node_free(&node);
}

/* etcd's TestLeaderMsgAppSelfAckAfterTermChange, and the ABA of the same indexes. */
Test(leader, counts_no_flush_of_entries_that_it_lost_in_between)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 3, 30);
    struct raft_mark stale = node.out.persist.mark;
    node_hear(&node, append_after(3, 3, 2, 2, 2, TERMS(3)));
    node_wait(&node);
    node_hear(&node, request_pre_vote_response(2, 3, 4, true));
    node_persisted(&node, (struct raft_mark){
                              .epoch = node.raft->epoch, .last = {2}, .term = {4}, .voted = true});
    node_hear(&node, request_vote_response(2, 4, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    node_propose(&node, 1, 10);
    cr_assert(node_log_is(&node, TERMS(1, 2, 3, 4, 4)));
    node_hear(&node, accepted(2, 4, 5, 0));
    node_persisted(&node, stale);
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 2));
    cr_assert(eq(u64, commit(&node), 2));
    node_all_durable(&node);
    cr_assert(eq(u64, commit(&node), 5));
    node_free(&node);
}

Test(leader, that_compacts_what_its_log_has_not_flushed_knows_it_durable)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 4, 40);
    node_hear(&node, accepted(2, 2, 6, 0));
    node_hear(&node, accepted(3, 2, 6, 0));
    cr_assert(eq(u64, commit(&node), 6));
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 2), "a slow disk");
    node_compacted(&node, 5); /* a snapshot is durable */
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 5));
    node_free(&node);
}

/* --- staying leader --------------------------------------------------------------------------- */

Test(leader, is_heard_every_heartbeat)
{
    struct node node = node_settled(3, 1, TERMS(1));
    for (int i = 0; i < 20; i++) {
        uint64_t before = node.now_ms;
        node_wait(&node);
        must(node.now_ms <= before + HEARTBEAT_MS);
        for (uint64_t to = 2; to <= 3; to++)
            node_hear(&node, accepted(to, 2, 2, 0));
        node_pass(&node, 0);
        must(node.out.sends.count == 0);
    }
    node_wait(&node);
    cr_assert(eq(u32, node_sends(&node, RAFT_APPEND_ENTRIES), 2));
    node_free(&node);
}

Test(leader, that_no_majority_answers_follows_in_its_own_term)
{
    struct node node = node_settled(5, 1, TERMS(1));
    uint64_t begin = node.now_ms;
    while (node.now_ms < begin + 10 * ELECTION_MS) {
        node_wait(&node);
        node_hear(&node, accepted(2, 2, 2, 0));
        node_hear(&node, rejected(3, 2, 0, 0, 0));
        must(raft_status(node.raft).role == RAFT_LEADER); /* two and itself are three of five */
    }
    begin = node.now_ms;
    while (raft_status(node.raft).role == RAFT_LEADER) {
        node_wait(&node);
        if (raft_status(node.raft).role == RAFT_LEADER)
            node_hear(&node, accepted(2, 2, 2, 0));
        must(node.now_ms <= begin + 2 * ELECTION_MS);
    }
    cr_assert(eq(u64, raft_status(node.raft).term.n, 2));
    cr_assert(not(node.out.persist.wanted));
    cr_assert(not(raft_status(node.raft).leader_known));
    node_propose(&node, 1, 10);
    cr_assert(eq(int, node_result(&node)->refused.why, RAFT_NOT_LEADER));
    node_free(&node);
}

Test(leader, knows_who_is_reachable)
{
    struct node node = node_settled(3, 1, TERMS(1));
    struct raft_peer_status status;
    node.now_ms += ELECTION_MS - 1;
    node_hear(&node, accepted(2, 2, 2, 0));
    node.now_ms += 1;
    node_hear(&node, accepted(2, 2, 2, 0));
    cr_assert(raft_peer_status(node.raft, (raft_node_id){2}, &status) && status.reachable);
    cr_assert(eq(u64, status.match.n, 2));
    cr_assert(raft_peer_status(node.raft, (raft_node_id){3}, &status) && !status.reachable);
    cr_assert(raft_peer_status(node.raft, (raft_node_id){1}, &status) && status.reachable);
    cr_assert(not(raft_peer_status(node.raft, (raft_node_id){4}, &status)));
    node_free(&node);
}

Test(leader, refuses_another_leader_of_its_term_and_goes_on)
{
    struct node node = node_settled(3, 1, TERMS(1));
    uint64_t term = raft_status(node.raft).term.n;
    node_hear(&node, append_after(2, term, 0, 0, 0, NO_TERMS));
    cr_assert(node.out.impossible);
    cr_assert(not(node.out.persist.wanted));
    cr_assert(eq(u32, node.out.sends.count, 0));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    cr_assert(eq(u64, raft_status(node.raft).term.n, term));
    node_free(&node);
}

/* --- handing over, thesis §3.10 --------------------------------------------------------------- */

static const struct raft_message *timeout_now(const struct node *node, uint64_t to)
{
    return node_sent(node, RAFT_TIMEOUT_NOW, to);
}

Test(leader, hands_over_at_once_to_who_has_everything)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_transfer(&node, 3);
    cr_assert(timeout_now(&node, 3) != NULL);
    cr_assert(eq(u64, timeout_now(&node, 3)->term.n, 2));
    node_propose(&node, 1, 10);
    cr_assert(eq(int, node_result(&node)->refused.why, RAFT_BUSY), "else it would be behind again");
    node_hear(&node, accepted(3, 2, 2, 0));
    cr_assert(timeout_now(&node, 3) == NULL, "told once");
    struct raft_message ask = request_vote(3, 3, 2, 2);
    ask.request_vote.transfer = true;
    node_hear(&node, ask);
    node_all_durable(&node);
    cr_assert(node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 3)->request_vote_response.granted);
    node_free(&node);
}

Test(leader, hands_over_to_who_is_behind_when_it_is_not_any_more)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 2, 20);
    node_transfer(&node, 3);
    cr_assert(timeout_now(&node, 3) == NULL);
    node_hear(&node, accepted(2, 2, 4, 0));
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(timeout_now(&node, 3) == NULL && timeout_now(&node, 2) == NULL);
    node_hear(&node, accepted(3, 2, 4, 0));
    cr_assert(timeout_now(&node, 3) != NULL);
    node_free(&node);
}

Test(leader, takes_proposals_again_when_the_transfer_came_to_nothing)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_transfer(&node, 3);
    uint64_t begin = node.now_ms;
    while (node.now_ms < begin + ELECTION_MS - 1) {
        node_pass(&node, 1);
        node_hear(&node, accepted(2, 2, 2, 0));
        must(node.raft->leader.transferring);
    }
    node_pass(&node, 1);
    node_propose(&node, 1, 10);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED));
    node_free(&node);
}

Test(leader, hands_over_to_the_furthest_voter_that_is_heard_and_to_nobody_else)
{
    struct node node = node_settled(5, 1, TERMS(1));
    node_propose(&node, 2, 20);
    node_hear(&node, accepted(5, 2, 4, 0));
    node.now_ms += ELECTION_MS - 1;
    for (uint64_t id = 2; id <= 4; id++)
        node_hear(&node, accepted(id, 2, id == 3 ? 3 : 2, 0));
    node.now_ms += 1;
    node_transfer(&node, 0);
    cr_assert(eq(u64, node.raft->leader.transfer_to.n, 3), "5 is further, and silent");
    node_free(&node);

    for (uint64_t to = 1; to <= 9; to += 8) { /* itself, a stranger */
        node = node_settled(3, 1, TERMS(1));
        node_transfer(&node, to);
        cr_assert(eq(u32, node.out.sends.count, 0));
        node_propose(&node, 1, 10);
        cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED));
        node_free(&node);
    }
    node = node_among(3, 1, TERMS(1));
    node_transfer(&node, 2);
    cr_assert(eq(u32, node.out.sends.count, 0), "who does not lead has nothing to hand over");
    node_free(&node);
}
