/* Thesis §4: who decides, from when on, and how it changes without two majorities apart. */
#include "tests/core/support.h"

static bool changed(const struct node *node)
{
    return node_result(node)->kind == RAFT_ACCEPTED;
}

static bool not_allowed(const struct node *node)
{
    return node_result(node)->kind == RAFT_PROPOSAL_REFUSED &&
           node_result(node)->refused.why == RAFT_NOT_ALLOWED;
}

static uint64_t commit(const struct node *node)
{
    return raft_status(node->raft).commit.n;
}

static struct raft_configuration joint(struct raft_configuration next,
                                       struct raft_configuration before)
{
    next.outgoing = before.voters;
    for (uint32_t i = 0; i < before.voters; i++)
        next.outgoing_voter[i] = before.voter[i];
    return next;
}

static struct raft_configuration with_learner(struct raft_configuration c, uint64_t id)
{
    c.learner[c.learners++].n = id;
    return c;
}

/* --- what is allowed -------------------------------------------------------------------------- */

Test(membership, changes_only_when_an_entry_of_the_own_term_is_committed)
{
    struct node node = node_elected(4, 1, TERMS(1, 1)); /* Ongaro, raft-dev 2015 */
    node_change(&node, voters(3, 1, 2, 3));
    cr_assert(not_allowed(&node));
    for (uint64_t id = 2; id <= 4; id++)
        node_hear(&node, accepted(id, 2, 2, 0));
    node_change(&node, voters(3, 1, 2, 3));
    cr_assert(not_allowed(&node), "everything older is everywhere: that is not enough");
    for (uint64_t id = 2; id <= 4; id++)
        node_hear(&node, accepted(id, 2, 3, 0));
    node_change(&node, voters(3, 1, 2, 3));
    cr_assert(changed(&node));
    node_free(&node);
}

Test(membership, changes_once_at_a_time)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_change(&node, voters(4, 1, 2, 3, 4));
    cr_assert(changed(&node));
    cr_assert(eq(u64, node_result(&node)->accepted.first.n, 3));
    node_change(&node, voters(5, 1, 2, 3, 4, 5));
    cr_assert(not_allowed(&node));
    cr_assert(not(node.out.persist.wanted));
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 3, 0));
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 3));
    node_change(&node, voters(5, 1, 2, 3, 4, 5));
    cr_assert(changed(&node));
    node_free(&node);
}

Test(membership, changes_by_one_voter_or_through_a_joint_configuration)
{
    const struct raft_configuration now = voters(3, 1, 2, 3);
    const struct {
        struct raft_configuration next;
        bool legal;
    } row[] = {
        {voters(3, 1, 2, 3), true},
        {voters(4, 1, 2, 3, 4), true},
        {voters(2, 2, 3), true},
        {voters(3, 1, 2, 4), false},
        {voters(5, 1, 2, 3, 4, 5), false},
        {voters(1, 1), false},
        {voters(0), false},
        {voters(4, 1, 2, 3, 3), false},
        {with_learner(voters(3, 1, 2, 3), 4), true},
        {with_learner(voters(2, 1, 2), 3), true},
        {with_learner(voters(3, 1, 2, 3), 3), false},
        {joint(voters(3, 4, 5, 6), now), true},
        {joint(voters(3, 1, 2, 4), now), true},
        {joint(voters(3, 1, 2, 4), voters(2, 1, 2)), false},
        {joint(voters(3, 1, 2, 4), voters(3, 1, 2, 4)), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct node node = node_settled(3, 1, TERMS(1));
        node_change(&node, row[i].next);
        cr_assert(eq(int, changed(&node), row[i].legal), "row %zu", i);
        node_free(&node);
    }
    struct node node = node_among(3, 1, TERMS(1));
    node_change(&node, voters(2, 1, 2));
    cr_assert(eq(int, node_result(&node)->refused.why, RAFT_NOT_LEADER));
    node_free(&node);
}

/* --- from when on ----------------------------------------------------------------------------- */

Test(membership, is_in_effect_when_it_is_in_the_log_and_sent_at_once)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_all_durable(&node);
    node_change(&node, voters(4, 1, 2, 3, 4));
    cr_assert(eq(u32, raft_configuration(node.raft)->voters, 4));
    cr_assert(node_sent(&node, RAFT_APPEND_ENTRIES, 2) != NULL);
    cr_assert(
        eq(u32, node_sent(&node, RAFT_APPEND_ENTRIES, 2)->append_entries.entries.at[0].count, 1));
    cr_assert(node_sent(&node, RAFT_APPEND_ENTRIES, 4) != NULL, "the newcomer too");
    node_hear(&node, accepted(2, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2), "two of four: the old majority decides nothing any more");
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 3));
    node_free(&node);
}

Test(membership, travels_alone_in_its_append)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 2, 20);
    node_change(&node, with_learner(voters(3, 1, 2, 3), 4));
    node_propose(&node, 2, 20);
    node_hear(&node, rejected(3, 2, 4, 2, 2));
    node_hear(&node, accepted(3, 2, 2, 0)); /* everything from 3 on, in one step */
    static const uint32_t count[] = {2, 1, 2};
    uint64_t prev = 2;
    uint32_t appends = 0;
    for (uint32_t i = 0; i < node.out.sends.count; i++) {
        const struct raft_message *m = &node.out.sends.at[i];
        cr_assert(eq(u64, m->append_entries.prev.n, prev));
        cr_assert(eq(u32, raft_runs_entries(&m->append_entries.entries), count[appends]));
        prev += count[appends++];
    }
    cr_assert(eq(u32, appends, 3));
    node_free(&node);
}

Test(membership, goes_with_its_entry_when_that_is_truncated)
{
    struct node node = node_among(3, 5, TERMS(1));
    node_hear_configuration(&node, append_after(2, 5, 1, 1, 1, TERMS(5)), voters(2, 1, 2));
    cr_assert(eq(u32, raft_configuration(node.raft)->voters, 2), "uncommitted, and in effect");
    node_hear_configuration(&node, append_after(2, 5, 2, 5, 1, TERMS(5)), voters(1, 1));
    cr_assert(eq(u32, raft_configuration(node.raft)->voters, 1));
    cr_assert(eq(u32, raft_configuration_at(node.raft, (raft_index){1})->voters, 3));
    node_hear(&node, append_after(3, 6, 2, 5, 1, TERMS(6)));
    cr_assert(eq(u32, raft_configuration(node.raft)->voters, 2));
    node_hear(&node, append_after(2, 7, 1, 1, 1, TERMS(7, 7)));
    cr_assert(eq(u32, raft_configuration(node.raft)->voters, 3));
    node_free(&node);
}

Test(membership, as_of_an_entry_is_what_a_snapshot_carries_and_compaction_keeps)
{
    struct node node = node_among(3, 5, TERMS(1));
    node_hear_configuration(&node, append_after(2, 5, 1, 1, 2, TERMS(5)), voters(4, 1, 2, 3, 4));
    node_hear_configuration(&node, append_after(2, 5, 2, 5, 3, TERMS(5)), voters(2, 1, 2));
    node_hear(&node, append_after(2, 5, 3, 5, 4, TERMS(5)));
    static const uint32_t count[] = {3, 3, 4, 2, 2};
    for (uint64_t index = 0; index <= 4; index++)
        cr_assert(
            eq(u32, raft_configuration_at(node.raft, (raft_index){index})->voters, count[index]));
    for (uint64_t index = 1; index <= 4; index++) {
        node_compacted(&node, index);
        cr_assert(
            eq(u32, raft_configuration_at(node.raft, (raft_index){index})->voters, count[index]));
        cr_assert(eq(u32, raft_configuration(node.raft)->voters, 2));
    }
    node_free(&node);
}

/* --- joint ------------------------------------------------------------------------------------ */

Test(membership, that_is_joint_needs_both_majorities_and_is_left_by_itself)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_change(&node, joint(voters(3, 1, 4, 5), voters(3, 1, 2, 3)));
    cr_assert(changed(&node));
    node_all_durable(&node);
    node_hear(&node, accepted(4, 2, 3, 0));
    node_hear(&node, accepted(5, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2), "only the incoming half");
    node_hear(&node, accepted(2, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 3));
    const struct raft_persist *persist = &node.out.persist;
    cr_assert(eq(int, persist->kind, RAFT_CONFIGURATION));
    cr_assert(eq(int, persist->from, RAFT_FROM_CORE));
    cr_assert(eq(u64, persist->first.n, 4));
    cr_assert(eq(u32, persist->configuration.outgoing, 0));
    cr_assert(eq(u32, raft_configuration(node.raft)->outgoing, 0));
    node_all_durable(&node);
    cr_assert(eq(u64, commit(&node), 3));
    node_hear(&node, accepted(5, 2, 4, 0));
    cr_assert(eq(u64, commit(&node), 4), "the outgoing half decides nothing any more");
    node_free(&node);

    node = node_settled(3, 1, TERMS(1));
    node_change(&node, joint(voters(3, 1, 4, 5), voters(3, 1, 2, 3)));
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 3, 0));
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2), "only the outgoing half");
    node_read(&node, 1);
    node_hear(&node, accepted(2, 2, 3, 1));
    node_hear(&node, accepted(3, 2, 3, 1));
    cr_assert(eq(u32, node.out.results.count, 0), "nor may it confirm a read");
    node_free(&node);
}

Test(membership, that_is_joint_is_won_and_kept_with_both_majorities)
{
    struct raft_saved saved = {.hard.term = {3},
                               .configuration = joint(voters(3, 1, 4, 5), voters(3, 1, 2, 3))};
    struct node node = node_start(&saved, TERMS(1));
    node_wait(&node);
    cr_assert(eq(u32, node_sends(&node, RAFT_REQUEST_PRE_VOTE), 4));
    node_hear(&node, request_pre_vote_response(4, 3, 4, true));
    node_hear(&node, request_pre_vote_response(5, 3, 4, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_PRE_CANDIDATE));
    node_hear(&node, request_pre_vote_response(2, 3, 4, true));
    node_all_durable(&node);
    node_hear(&node, request_vote_response(2, 4, true));
    node_hear(&node, request_vote_response(3, 4, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    node_hear(&node, request_vote_response(5, 4, true));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    node_all_durable(&node);
    node_hear(&node, accepted(2, 4, 2, 0));
    cr_assert(eq(u64, commit(&node), 0));
    node_hear(&node, accepted(4, 4, 2, 0));
    cr_assert(eq(u64, commit(&node), 2));
    cr_assert(eq(u32, raft_configuration(node.raft)->outgoing, 0),
              "a successor leaves what its predecessor entered");
    node_free(&node);
}

/* --- coming and going ------------------------------------------------------------------------- */

Test(membership, of_learners_decides_nothing)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_change(&node, with_learner(voters(2, 1, 2), 3));
    node_all_durable(&node);
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2));
    node_hear(&node, accepted(2, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 3));
    node_read(&node, 1);
    node_hear(&node, accepted(3, 2, 3, 1));
    cr_assert(eq(u32, node.out.results.count, 0));
    node_transfer(&node, 3);
    cr_assert(eq(u32, node_sends(&node, RAFT_TIMEOUT_NOW), 0));
    node_free(&node);

    struct raft_saved saved = {.hard.term = {3}, .configuration = with_learner(voters(2, 2, 3), 1)};
    node = node_start(&saved, TERMS(1));
    for (int i = 0; i < 10; i++) {
        node_wait(&node);
        must(raft_status(node.raft).role == RAFT_FOLLOWER && node.out.sends.count == 0);
    }
    node_hear(&node, message(RAFT_TIMEOUT_NOW, 2, 3));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    node_hear(&node, request_vote(2, 4, 1, 1));
    node_all_durable(&node);
    cr_assert(node_sent(&node, RAFT_REQUEST_VOTE_RESPONSE, 2)->request_vote_response.granted,
              "it may be a voter already, and not know it");
    node_free(&node);
}

Test(membership, without_the_leader_is_committed_by_the_others_and_then_it_follows)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_change(&node, voters(2, 2, 3));
    cr_assert(changed(&node));
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2), "its own copy does not count");
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    node_propose(&node, 1, 10);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED), "it leads on until then");
    node_hear(&node, accepted(3, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 3));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    for (int i = 0; i < 10; i++) {
        node_wait(&node);
        must(raft_status(node.raft).role == RAFT_FOLLOWER && node.out.sends.count == 0);
    }
    node_free(&node);
}

/* Thesis §4.2.2: perhaps nobody else has the entry, and then nobody else can win. */
Test(membership, without_a_node_lets_it_campaign_until_that_is_committed)
{
    for (uint64_t committed = 1; committed <= 2; committed++) {
        struct node node = node_among(2, 5, TERMS(1));
        node_hear_configuration(&node, append_after(2, 5, 1, 1, committed, TERMS(5)), voters(1, 2));
        node_all_durable(&node);
        node_wait(&node);
        cr_assert(eq(int, raft_status(node.raft).role,
                     committed == 1 ? RAFT_PRE_CANDIDATE : RAFT_FOLLOWER));
        node_free(&node);
    }
}

Test(membership, that_shrinks_lets_what_was_waiting_commit)
{
    struct node node = node_settled(4, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 3, 0));
    cr_assert(eq(u64, commit(&node), 2), "two of four");
    node_change(&node, voters(3, 1, 2, 3));
    node_all_durable(&node);
    cr_assert(eq(u64, commit(&node), 3), "two of three");
    node_hear(&node, accepted(2, 2, 4, 0));
    cr_assert(eq(u64, commit(&node), 4));
    node_free(&node);
}

Test(membership, without_who_was_to_lead_ends_the_transfer)
{
    struct node node = node_settled(2, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_change(&node, voters(1, 1));
    node_transfer(&node, 2);
    cr_assert(not(node.raft->leader.transferring), "it is no voter any more");
    node_free(&node);
    node = node_settled(2, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_transfer(&node, 2);
    node_change(&node, voters(1, 1));
    node_all_durable(&node);
    node_propose(&node, 1, 10);
    cr_assert(eq(int, node_result(&node)->kind, RAFT_ACCEPTED), "nobody is left to wait for");
    node_free(&node);
}
