/* §5.3, §5.4.2: what a leader may call committed, and what it may not take. */
#include "tests/core/support.h"

#include <stdlib.h>

Test(replication, an_own_entry_counts_only_when_it_is_durable)
{
    struct node node = node_leader();
    node_propose(&node, 1, 100);
    struct raft_mark mark = node.out.persist.mark;
    cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 1), "appended is not committed");
    for (int i = 0; i < 5; i++) {
        node_tick(&node);
        node_read(&node, (uint64_t)i);
        node_propose(&node, 1, 100);
        cr_assert(eq(u64, raft_status(node.raft).commit.n, 1));
    }
    node_persisted(&node, mark);
    cr_assert(eq(u64, node.out.apply.first.n, 2));
    cr_assert(eq(u64, node.out.apply.last.n, 2), "only what the mark speaks of");
    node_free(&node);
}

Test(replication, an_accepted_proposal_is_told_its_place_and_handed_to_storage)
{
    struct node node = node_leader();
    node_propose(&node, 3, 300);
    const struct raft_result *result = node_result(&node);
    cr_assert(eq(u64, result->accepted.first.n, 2));
    cr_assert(eq(u32, result->accepted.count, 3));
    cr_assert(eq(u64, result->accepted.term.n, 1));
    const struct raft_persist *persist = &node.out.persist;
    cr_assert(persist->wanted);
    cr_assert(not(persist->hard_state));
    cr_assert(eq(int, persist->kind, RAFT_COMMAND));
    cr_assert(eq(u64, persist->first.n, 2));
    cr_assert(eq(u32, raft_runs_entries(&persist->entries), 3));
    cr_assert(eq(u64, persist->entries.at[0].term.n, 1));
    cr_assert(eq(int, persist->from, RAFT_FROM_PROPOSAL));
    cr_assert(eq(u64, persist->mark.last.n, 4));
    node_free(&node);
}

Test(replication, a_commit_takes_all_entries_before_it)
{
    struct node node = node_leader();
    for (int i = 0; i < 5; i++)
        node_propose(&node, 2, 10);
    node_persisted(&node, node.out.persist.mark);
    cr_assert(eq(u64, node.out.apply.first.n, 2));
    cr_assert(eq(u64, node.out.apply.last.n, 11));
    node_free(&node);
}

Test(replication, an_entry_is_handed_out_to_apply_once)
{
    struct node node = node_leader();
    node_propose(&node, 4, 10);
    struct raft_mark mark = node.out.persist.mark;
    node_persisted(&node, mark);
    cr_assert(eq(u64, node.out.apply.last.n, 5));
    node_persisted(&node, mark);
    cr_assert(gt(u64, node.out.apply.first.n, node.out.apply.last.n));
    node_free(&node);
}

/* Figure 8: what older terms left is durable, and is not committed before an own entry is. */
Test(replication, entries_of_older_terms_commit_only_behind_one_of_the_own_term)
{
    static const uint64_t terms[] = {1, 2, 2, 4};
    struct raft_saved saved = saved_nothing();
    saved.hard.term.n = 4;
    struct node node = node_start(&saved, terms, ARRAY_LEN(terms));
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 4));
    node_tick(&node);
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 0));
    node_persisted(&node, node.out.persist.mark);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    struct raft_mark noop = node.out.persist.mark;
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 0));
    node_persisted(&node, (struct raft_mark){.last = {4}, .term = {5}, .voted = true});
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 0), "all four are durable, none is own");
    cr_assert(not(raft_status(node.raft).settled));
    node_persisted(&node, noop);
    cr_assert(eq(u64, node.out.apply.first.n, 1));
    cr_assert(eq(u64, node.out.apply.last.n, 5));
    cr_assert(raft_status(node.raft).settled);
    node_free(&node);
}

Test(replication, a_mark_of_an_older_epoch_counts_no_entry)
{
    struct node node = node_leader();
    node_propose(&node, 5, 10);
    struct raft_mark stale = node.out.persist.mark;
    node.raft->epoch++; /* as a truncation will do */
    node_persisted(&node, stale);
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 1));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 1));
    node_all_durable(&node);
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 6));
    node_free(&node);
}

Test(replication, marks_out_of_order_never_take_back_what_is_durable)
{
    struct node node = node_leader();
    struct raft_mark mark[4];
    for (int i = 0; i < 4; i++) {
        node_propose(&node, 1, 10);
        mark[i] = node.out.persist.mark;
    }
    node_persisted(&node, mark[2]);
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 4));
    node_persisted(&node, mark[0]);
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 4));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 4));
    node_persisted(&node, mark[3]);
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 5));
    node_free(&node);
}

Test(replication, who_is_not_leader_refuses_and_writes_nothing)
{
    struct node node = node_fresh();
    for (int round = 0; round < 2; round++) { /* follower, then candidate */
        node_propose(&node, 2, 10);
        cr_assert(eq(int, node_result(&node)->kind, RAFT_PROPOSAL_REFUSED));
        cr_assert(eq(int, node_result(&node)->refused.why, RAFT_NOT_LEADER));
        cr_assert(not(node.out.persist.wanted));
        cr_assert(eq(u64, raft_status(node.raft).last.n, 0));
        node_tick(&node);
    }
    node_free(&node);
}

Test(replication, over_the_limit_of_bytes_a_proposal_is_refused_and_changes_nothing)
{
    struct node node = node_leader();
    node_propose(&node, 129, RAFT_UNCOMMITTED_BYTES_MAX + 1);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_PROPOSAL_REFUSED));
    cr_assert(eq(int, node_result(&node)->refused.why, RAFT_BUSY));
    cr_assert(not(node.out.persist.wanted));
    node_propose(&node, 129, RAFT_UNCOMMITTED_BYTES_MAX - 1);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED), "exactly what fits is taken");
    node_propose(&node, 1, 1);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED));
    node_propose(&node, 1, 1);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_PROPOSAL_REFUSED));
    cr_assert(eq(u64, raft_status(node.raft).last.n, 131));
    node_all_durable(&node);
    node_propose(&node, 128, RAFT_UNCOMMITTED_BYTES_MAX);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED), "committed bytes are given back");
    node_free(&node);
}

/* More batches than are counted apart: the newest takes them in, and none is ever forgotten. */
Test(replication, the_count_of_uncommitted_bytes_is_conserved)
{
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct chance chance = {seed};
        struct node node = node_leader();
        struct raft_mark mark[400];
        uint64_t bytes[400], proposals = 0, done = 0;
        bool apart = true; /* no two batches were counted together since all was committed */
        for (int i = 0; i < 300; i++) {
            if (chance_below(&chance, seed % 2 == 0 ? 40 : 4) == 0 && done < proposals) {
                done += 1 + chance_below(&chance, proposals - done);
                node_persisted(&node, mark[done - 1]);
            } else {
                bytes[proposals] = chance_below(&chance, 5000);
                node_propose(&node, 1 + (uint32_t)chance_below(&chance, 3), bytes[proposals]);
                must(node_result(&node)->kind == RAFT_ACCEPTED);
                mark[proposals++] = node.out.persist.mark;
            }
            uint64_t pending = 0;
            for (uint64_t j = done; j < proposals; j++)
                pending += bytes[j];
            must(node.raft->leader.uncommitted_bytes >= pending);
            apart = done == proposals || (apart && proposals - done <= RAFT_BATCHES_MAX);
            if (apart)
                must(node.raft->leader.uncommitted_bytes == pending);
        }
        node_all_durable(&node);
        must(node.raft->leader.uncommitted_bytes == 0 && node.raft->leader.batches == 0);
        node_free(&node);
    }
}

Test(replication, compaction_moves_the_beginning_of_the_log_and_nothing_else)
{
    for (uint64_t index = 0; index <= 21; index++) {
        struct node node = node_leader();
        node_propose(&node, 20, 10);
        node_all_durable(&node);
        node_propose(&node, 5, 10);
        node_compacted(&node, index);
        cr_assert(not(node.out.persist.wanted));
        cr_assert(eq(u64, node.out.apply.last.n, 21));
        for (uint64_t i = index; i <= 26; i++)
            must(raft_entry_term(node.raft, (raft_index){i}).n == (i > 0));
        node_all_durable(&node);
        cr_assert(eq(u64, raft_status(node.raft).commit.n, 26));
        node_propose(&node, 1, 10);
        cr_assert(eq(u64, node_result(&node)->accepted.first.n, 27));
        node_free(&node);
    }
}

Test(replication, what_is_not_committed_cannot_be_compacted, .signal = SIGABRT)
{
    struct node node = node_leader();
    node_propose(&node, 2, 10);
    node_compacted(&node, 2);
}
