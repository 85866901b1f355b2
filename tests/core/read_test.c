/* Thesis §6.4: no read before the term's first commit, and none at an index that is behind. */
#include "tests/core/support.h"

static struct node leader_of_an_old_log(struct raft_mark *ret_noop)
{
    static const uint64_t terms[] = {1, 1, 2};
    struct raft_saved saved = saved_nothing();
    saved.hard.term.n = 2;
    saved.snapshot_index.n = 2;
    struct node node = node_start(&saved, terms, ARRAY_LEN(terms));
    node_tick(&node);
    node_all_durable(&node);
    must(raft_status(node.raft).role == RAFT_LEADER);
    *ret_noop = node.out.persist.mark;
    return node;
}

Test(read, waits_for_the_first_commit_of_the_term)
{
    struct raft_mark noop;
    struct node node = leader_of_an_old_log(&noop);
    node_read(&node, 11);
    cr_assert(eq(u32, node.out.results.count, 0), "index 2 would be stale: entry 3 may be known");
    node_read(&node, 12);
    cr_assert(eq(u32, node.out.results.count, 0));
    node_persisted(&node, (struct raft_mark){.last = {3}, .term = {3}, .voted = true});
    cr_assert(eq(u32, node.out.results.count, 0));
    node_persisted(&node, noop);
    cr_assert(eq(u32, node.out.results.count, 2));
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert(eq(int, node.out.results.at[i].kind, RAFT_READ_READY));
        cr_assert(eq(u64, node.out.results.at[i].read_ready.token, 11 + i));
        cr_assert(eq(u64, node.out.results.at[i].read_ready.index.n, 4));
    }
    node_tick(&node);
    cr_assert(eq(u32, node.out.results.count, 0), "answered once");
    node_free(&node);
}

Test(read, of_a_settled_leader_is_ready_at_the_commit_index)
{
    struct node node = node_leader();
    node_propose(&node, 3, 10);
    node_read(&node, 5);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_READ_READY));
    cr_assert(eq(u64, node_result(&node)->read_ready.index.n, 1));
    node_all_durable(&node);
    node_read(&node, 6);
    cr_assert(eq(u64, node_result(&node)->read_ready.index.n, 4));
    cr_assert(eq(u64, node_result(&node)->read_ready.token, 6));
    node_free(&node);
}

Test(read, of_a_follower_or_candidate_is_refused)
{
    struct node node = node_fresh();
    for (int round = 0; round < 2; round++) {
        node_read(&node, 9);
        cr_assert(eq(int, node_result(&node)->kind, RAFT_READ_REFUSED));
        cr_assert(eq(u64, node_result(&node)->read_refused.token, 9));
        cr_assert(eq(int, node_result(&node)->read_refused.why, RAFT_NOT_LEADER));
        node_tick(&node);
    }
    node_free(&node);
}

Test(read, rounds_over_the_limit_are_refused_and_the_others_answered)
{
    struct raft_mark noop;
    struct node node = leader_of_an_old_log(&noop);
    for (uint64_t i = 0; i < RAFT_READ_ROUNDS_MAX; i++) {
        node_read(&node, i);
        must(node.out.results.count == 0);
    }
    node_read(&node, 999);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_READ_REFUSED));
    cr_assert(eq(int, node_result(&node)->read_refused.why, RAFT_BUSY));
    node_persisted(&node, noop);
    cr_assert(eq(u32, node.out.results.count, RAFT_READ_ROUNDS_MAX));
    for (uint64_t i = 0; i < RAFT_READ_ROUNDS_MAX; i++)
        must(node.out.results.at[i].read_ready.token == i);
    node_free(&node);
}
