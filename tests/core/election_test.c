/* §5.1, §5.2 for a cluster of one: terms, and the vote that counts when storage has it. */
#include "tests/core/support.h"

#include <stdlib.h>

Test(election, a_node_starts_as_follower_and_knows_no_leader)
{
    struct node node = node_fresh();
    struct raft_status status = raft_status(node.raft);
    cr_assert(eq(int, status.role, RAFT_FOLLOWER));
    cr_assert(not(status.leader_known));
    cr_assert(not(status.settled));
    cr_assert(eq(u64, status.term.n, 0));
    node_free(&node);
}

Test(election, the_only_voter_campaigns_at_its_first_tick)
{
    struct node node = node_fresh();
    node_tick(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 1));
    cr_assert(node.out.persist.wanted);
    cr_assert(node.out.persist.hard_state);
    cr_assert(eq(u64, node.out.persist.hard.term.n, 1));
    cr_assert(node.out.persist.hard.voted);
    cr_assert(eq(u64, node.out.persist.hard.vote.n, 1));
    cr_assert(eq(u32, raft_runs_entries(&node.out.persist.entries), 0));
    cr_assert(eq(u64, node.out.persist.mark.term.n, 1));
    cr_assert(node.out.persist.mark.voted);
    node_free(&node);
}

Test(election, the_own_vote_counts_only_when_it_is_durable)
{
    struct node node = node_fresh();
    node_tick(&node);
    struct raft_mark vote = node.out.persist.mark;
    for (int i = 0; i < 50; i++) {
        node.now_ms += ELECTION_MS;
        node_tick(&node);
        cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
        cr_assert(eq(u64, raft_status(node.raft).term.n, 1), "it waits: nobody else can win");
    }
    node_persisted(&node, vote);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    cr_assert(eq(u64, raft_status(node.raft).leader.n, 1));
    node_free(&node);
}

Test(election, durable_marks_without_the_vote_make_no_leader)
{
    struct node node = node_fresh();
    node_tick(&node);
    struct raft_mark old_term = {.epoch = 0};
    struct raft_mark no_vote = {.epoch = 0, .term = {1}};
    node_persisted(&node, old_term);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    node_persisted(&node, no_vote);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    node_free(&node);
}

Test(election, a_durable_vote_of_an_older_term_is_no_vote_of_this_one)
{
    struct raft_saved saved = saved_nothing();
    saved.hard.term.n = 4;
    saved.hard.voted = true;
    saved.hard.vote.n = 1;
    struct node node = node_start(&saved, NULL, 0);
    node_tick(&node);
    cr_assert(eq(u64, raft_status(node.raft).term.n, 5));
    node_persisted(&node, (struct raft_mark){.term = {4}, .voted = true});
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    node_persisted(&node, (struct raft_mark){.term = {5}, .voted = true});
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    node_free(&node);
}

Test(election, a_leader_opens_its_term_with_a_no_op)
{
    static const uint64_t terms[] = {1, 1, 3};
    struct raft_saved saved = saved_nothing();
    saved.hard.term.n = 3;
    struct node node = node_start(&saved, terms, ARRAY_LEN(terms));
    node_tick(&node);
    node_all_durable(&node);
    const struct raft_persist *persist = &node.out.persist;
    cr_assert(persist->wanted);
    cr_assert(not(persist->hard_state), "term and vote are there already");
    cr_assert(eq(u32, raft_runs_entries(&persist->entries), 1));
    cr_assert(eq(int, persist->from, RAFT_FROM_CORE));
    cr_assert(eq(int, persist->kind, RAFT_NOOP));
    cr_assert(eq(u64, persist->first.n, 4));
    cr_assert(eq(u64, persist->entries.at[0].term.n, 4));
    cr_assert(eq(u64, persist->mark.last.n, 4));
    cr_assert(eq(u64, persist->mark.term.n, 4));
    node_free(&node);
}

/* raft.h, FOUNDING: from the first entry on the log says who votes. */
Test(election, the_first_leader_of_a_cluster_opens_its_term_with_the_members)
{
    struct raft_saved saved = saved_nothing();
    saved.implied = true;
    struct node node = node_start(&saved, NULL, 0);
    node_tick(&node);
    node_all_durable(&node);
    const struct raft_persist *persist = &node.out.persist;
    cr_assert(persist->wanted);
    cr_assert(eq(u64, persist->first.n, 1));
    cr_assert(eq(int, persist->from, RAFT_FROM_CORE));
    cr_assert(eq(int, persist->kind, RAFT_CONFIGURATION));
    cr_assert(eq(u32, persist->configuration.voters, 1));
    cr_assert(eq(u64, persist->configuration.voter[0].n, 1));
    node_all_durable(&node);
    cr_assert(raft_status(node.raft).settled, "it does what a no-op does");
    node_free(&node);

    /* Whose log says it already does not say it again. */
    saved.hard.term.n = 1;
    node = node_start(&saved, NULL, 0);
    must(raft_restore_entry(node.raft, (raft_term){1}, 20, &saved.configuration) == 0);
    node_tick(&node);
    node_all_durable(&node);
    cr_assert(eq(int, node.out.persist.kind, RAFT_NOOP));
    cr_assert(eq(u64, node.out.persist.first.n, 2));
    node_free(&node);
}

/* A restart, again and again, at any moment of an election: the term only moves forward. */
Test(election, a_restart_continues_in_a_higher_term)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct chance chance = {seed};
        struct raft_saved saved = saved_nothing();
        uint64_t campaigned = 0, terms[64] = {0}, entries = 0;
        for (int life = 0; life < 30; life++) {
            struct node node = node_start(&saved, terms, entries);
            node_tick(&node);
            uint64_t term = raft_status(node.raft).term.n;
            must(term == saved.hard.term.n + 1 && (term > campaigned || term == campaigned));
            campaigned = term;
            if (chance_below(&chance, 3) > 0) { /* else it crashes before its vote is durable */
                saved.hard.term.n = term;
                saved.hard.voted = true;
                saved.hard.vote.n = 1;
                node_all_durable(&node);
                must(raft_status(node.raft).role == RAFT_LEADER);
                if (chance_below(&chance, 2) == 0)
                    terms[entries++] = term;
            }
            node_free(&node);
        }
    }
}

Test(election, over_the_limit_of_terms_nobody_campaigns_until_the_log_is_compacted)
{
    struct raft_saved saved = saved_nothing();
    uint64_t *terms = calloc(RAFT_TERM_RUNS_MAX, sizeof(*terms));
    for (uint64_t i = 0; i < RAFT_TERM_RUNS_MAX; i++)
        terms[i] = i + 1;
    saved.hard.term.n = RAFT_TERM_RUNS_MAX;
    saved.snapshot_index.n = 10;
    struct node node = node_start(&saved, terms, RAFT_TERM_RUNS_MAX);
    node_tick(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    cr_assert(not(node.out.persist.wanted));
    cr_assert(node.out.deadline_ms > node.now_ms, "it looks again later, not at once for ever");
    node_compacted(&node, 10);
    node.now_ms = node.out.deadline_ms;
    node_tick(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    node_free(&node);
    free(terms);
}

Test(election, a_leader_needs_no_more_ticks)
{
    struct node node = node_leader();
    cr_assert(eq(u64, node.out.deadline_ms, UINT64_MAX));
    node.now_ms += 1000000;
    node_tick(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 1));
    cr_assert(not(node.out.persist.wanted));
    node_free(&node);
}
