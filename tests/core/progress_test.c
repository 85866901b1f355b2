/* What the leader sends to one peer: probing, streaming within a window, and snapshots. */
#include "tests/core/support.h"

#include <stdlib.h>

static const struct raft_append_entries *sent(const struct node *node, uint64_t to)
{
    const struct raft_message *m = node_sent(node, RAFT_APPEND_ENTRIES, to);
    return m == NULL ? NULL : &m->append_entries;
}

static bool asks_for_snapshot(const struct node *node, uint64_t to)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->out.results.count; i++)
        count += node->out.results.at[i].kind == RAFT_SEND_SNAPSHOT &&
                 node->out.results.at[i].send_snapshot.to.n == to;
    must(count <= 1);
    return count == 1;
}

static void snapshot_was_sent(struct node *node, uint64_t to, bool installed, uint64_t index)
{
    node_step(node, (struct raft_event){.kind = RAFT_SNAPSHOT_SENT,
                                        .snapshot_sent = {{to}, installed, {index}}});
}

/* A leader of ten entries, compacted up to the eighth; 3 has the first two. */
static struct node compacted(void)
{
    struct node node = node_elected(3, 1, TERMS(1, 1, 1, 1, 1, 1, 1, 1, 1));
    node_all_durable(&node);
    node_hear(&node, accepted(2, 2, 10, 0));
    must(raft_status(node.raft).commit.n == 10);
    node_compacted(&node, 8);
    return node;
}

Test(progress, of_a_probed_peer_is_one_append_at_a_time)
{
    struct node node = node_elected(3, 1, TERMS(1, 1, 1));
    cr_assert(eq(u64, sent(&node, 3)->prev.n, 3));
    node_propose(&node, 5, 50);
    cr_assert(eq(u32, node.out.sends.count, 0), "the answer to the probe is awaited");
    node_wait(&node);
    cr_assert(eq(u32, sent(&node, 3)->entries.runs, 0), "but it is heard");
    node_hear(&node, accepted(3, 2, 4, 0));
    cr_assert(eq(u64, sent(&node, 3)->prev.n, 4));
    cr_assert(eq(u32, raft_runs_entries(&sent(&node, 3)->entries), 5));
    cr_assert(eq(int, node_progress(&node, 3)->kind, RAFT_REPLICATE));
    node_free(&node);
}

Test(progress, goes_back_to_where_a_refusal_says_and_by_whole_terms)
{
    static const struct {
        uint64_t hint, hint_term, next;
    } row[] = {{6, 1, 4}, {6, 4, 6}, {6, 5, 7}, {2, 1, 3}, {5, 3, 4}, {0, 0, 1}, {90, 7, 7}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct node node = node_elected(3, 6, TERMS(1, 1, 1, 4, 4, 5, 6));
        node_hear(&node, rejected(3, 7, 7, row[i].hint, row[i].hint_term));
        cr_assert(eq(u64, sent(&node, 3)->prev.n, row[i].next - 1), "row %zu", i);
        cr_assert(gt(u32, sent(&node, 3)->entries.runs, 0));
        uint64_t next = node_progress(&node, 3)->next.n;
        node_hear(&node, rejected(3, 7, 7, 0, 0));
        cr_assert(eq(u64, node_progress(&node, 3)->next.n, next), "doubled: another was sent");
        cr_assert(eq(u32, node.out.sends.count, 0));
        node_free(&node);
    }
}

Test(progress, of_a_refused_stream_is_probed_from_what_it_acknowledged)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 3, 30);
    node_propose(&node, 3, 30);
    cr_assert(eq(u64, node_progress(&node, 3)->next.n, 9));
    node_hear(&node, rejected(3, 2, 5, 0, 0)); /* the first was lost */
    cr_assert(eq(u64, sent(&node, 3)->prev.n, 2), "never below what it has");
    cr_assert(eq(int, node_progress(&node, 3)->kind, RAFT_PROBE));
    node_hear(&node, accepted(3, 2, 8, 0));
    cr_assert(eq(int, node_progress(&node, 3)->kind, RAFT_REPLICATE));
    node_free(&node);
}

Test(progress, that_stalls_or_loses_its_connection_is_probed_again)
{
    struct node node = node_settled(3, 1, TERMS(1));
    node_propose(&node, 1, 10);
    node_step(&node, (struct raft_event){.kind = RAFT_PEER_LOST, .peer_lost = {{3}}});
    cr_assert(eq(int, node_progress(&node, 3)->kind, RAFT_PROBE));
    cr_assert(eq(int, node_progress(&node, 2)->kind, RAFT_REPLICATE));
    uint64_t begin = node.now_ms;
    bool again = false;
    while (!again && node.now_ms < begin + 2 * ELECTION_MS) {
        node_hear(&node, accepted(2, 2, 2, 0)); /* it is there, and got nothing */
        node_wait(&node);
        again = sent(&node, 2)->prev.n == 2 && sent(&node, 2)->entries.runs > 0;
    }
    cr_assert(again, "what was lost without a word is sent again");
    node_free(&node);
}

/* --- the window ------------------------------------------------------------------------------- */

Test(progress, keeps_the_entries_under_way_within_the_window)
{
    struct node node = node_settled(3, 1, TERMS(1));
    uint64_t under_way = 0;
    for (int i = 0; i < 14; i++) { /* sizes are remembered of no more */
        node_propose(&node, RAFT_APPEND_ENTRIES_MAX, 0);
        under_way = node_progress(&node, 3)->next.n - 1 - 2;
        must(under_way < RAFT_WINDOW_ENTRIES_MAX + RAFT_APPEND_ENTRIES_MAX);
    }
    cr_assert(ge(u64, under_way, RAFT_WINDOW_ENTRIES_MAX));
    cr_assert(eq(u32, node_sends(&node, RAFT_APPEND_ENTRIES), 0));
    node_wait(&node);
    cr_assert(eq(u32, sent(&node, 3)->entries.runs, 0), "heartbeats go on");
    node_hear(&node, accepted(3, 2, 2 + 3 * RAFT_APPEND_ENTRIES_MAX, 0));
    cr_assert(eq(u32, node_sends(&node, RAFT_APPEND_ENTRIES), 3));
    node_free(&node);
}

Test(progress, keeps_the_bytes_under_way_within_the_window_and_within_an_append)
{
    struct node node = node_settled(3, 1, TERMS(1));
    const uint64_t bytes = RAFT_APPEND_BYTES_MAX + RAFT_ENTRY_BYTES_MAX;
    uint64_t proposed = 0;
    while (proposed + bytes <= RAFT_UNCOMMITTED_BYTES_MAX) {
        node_propose(&node, 5, bytes);
        proposed += bytes;
        for (uint32_t i = 0; i < node.out.sends.count; i++)
            must(raft_runs_entries(&node.out.sends.at[i].append_entries.entries) <= 4);
        const struct raft_progress *peer = node_progress(&node, 3);
        must((peer->next.n - 3) * RAFT_ENTRY_BYTES_MAX <
             RAFT_WINDOW_BYTES_MAX + RAFT_APPEND_BYTES_MAX);
    }
    cr_assert(ge(u64, (node_progress(&node, 3)->next.n - 3) * RAFT_ENTRY_BYTES_MAX,
                 RAFT_WINDOW_BYTES_MAX));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_hear(&node, accepted(3, 2, 10, 0));
    cr_assert(gt(u32, node_sends(&node, RAFT_APPEND_ENTRIES), 0));
    node_free(&node);
}

/* A peer that answers late, twice, out of order, or not: in the end it has everything, once. */
Test(progress, loses_nothing_and_leaves_nothing_under_way)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct chance chance = {seed};
        struct node node = node_settled(3, 1, TERMS(1));
        uint64_t has = 2, answers[64], late = 0, last = 2;
        for (int i = 0; i < 400 || has < last; i++) {
            must(i < 5000);
            if (i < 300 && chance_below(&chance, 3) == 0) {
                node_propose(&node, 1 + (uint32_t)chance_below(&chance, 900), 1000);
                last = raft_status(node.raft).last.n;
            } else if (late > 0 && chance_below(&chance, 3) == 0) {
                node_hear(&node, accepted(3, 2, answers[chance_below(&chance, late)], 0));
            } else {
                node_hear(&node, accepted(2, 2, last, 0));
                node_all_durable(&node);
                node_pass(&node, chance_below(&chance, HEARTBEAT_MS));
            }
            struct raft_output out = node.out; /* the peer hears what was just sent */
            for (uint32_t j = 0; j < out.sends.count; j++) {
                const struct raft_message *m = &out.sends.at[j];
                if (m->to.n != 3 || m->kind != RAFT_APPEND_ENTRIES ||
                    chance_below(&chance, 10) == 0)
                    continue;
                uint32_t count = raft_runs_entries(&m->append_entries.entries);
                must(count <= RAFT_APPEND_ENTRIES_MAX);
                if (m->append_entries.prev.n > has) {
                    node_hear(&node,
                              rejected(3, 2, m->append_entries.prev.n, has, has > 1 ? 2 : 1));
                    continue;
                }
                if (m->append_entries.prev.n + count > has)
                    has = m->append_entries.prev.n + count;
                answers[late < 64 ? late++ : chance_below(&chance, 64)] =
                    m->append_entries.prev.n + count;
            }
        }
        node_hear(&node, accepted(3, 2, has, 0));
        must(node_progress(&node, 3)->match.n == last);
        must(node_progress(&node, 3)->next.n == last + 1);
        node_free(&node);
    }
}

/* --- snapshots -------------------------------------------------------------------------------- */

Test(progress, of_a_peer_that_needs_what_is_gone_is_a_snapshot_asked_for_once)
{
    struct node node = compacted();
    node_hear(&node, rejected(3, 2, 9, 2, 1));
    cr_assert(not(asks_for_snapshot(&node, 3)), "entries 1 to 9 are of one term: 8 may be shared");
    node_hear(&node, rejected(3, 2, 8, 2, 1));
    cr_assert(asks_for_snapshot(&node, 3));
    cr_assert(eq(u32, node_sends(&node, RAFT_APPEND_ENTRIES), 0));
    for (int i = 0; i < 10; i++) {
        node_hear(&node, accepted(2, 2, 10, 0));
        node_wait(&node);
        must(!asks_for_snapshot(&node, 3));
        must(sent(&node, 3)->prev.n == 0 && sent(&node, 3)->entries.runs == 0);
        must(sent(&node, 3)->commit.n == 0); /* it may have another log */
        node_hear(&node, rejected(3, 2, 8, 2, 1));
        must(!asks_for_snapshot(&node, 3) && node.out.sends.count == 0);
    }
    node_free(&node);
}

Test(progress, goes_on_after_the_snapshot_or_asks_for_another)
{
    struct node node = compacted();
    node_hear(&node, rejected(3, 2, 9, 2, 1));
    node_hear(&node, rejected(3, 2, 8, 2, 1));
    snapshot_was_sent(&node, 3, false, 0);
    cr_assert(not(asks_for_snapshot(&node, 3)), "it failed, and would fail again at once");
    node_propose(&node, 1, 10);
    cr_assert(not(asks_for_snapshot(&node, 3)));
    node_wait(&node);
    cr_assert(asks_for_snapshot(&node, 3), "with the next heartbeat");
    snapshot_was_sent(&node, 2, true, 9);
    cr_assert(eq(int, node_progress(&node, 2)->kind, RAFT_REPLICATE), "nobody sent one to 2");
    snapshot_was_sent(&node, 3, true, 5);
    cr_assert(asks_for_snapshot(&node, 3), "it was older than the log by now");
    snapshot_was_sent(&node, 3, true, 8);
    cr_assert(not(asks_for_snapshot(&node, 3)));
    cr_assert(eq(u64, sent(&node, 3)->prev.n, 8));
    cr_assert(eq(u32, raft_runs_entries(&sent(&node, 3)->entries), 3));
    node_hear(&node, accepted(3, 2, 11, 0));
    cr_assert(eq(int, node_progress(&node, 3)->kind, RAFT_REPLICATE));
    node_free(&node);
}

/* etcd: snapshot_succeed_via_app_resp, and one that is older than what was asked for. */
Test(progress, goes_on_when_the_peer_itself_says_that_it_has_the_snapshot)
{
    struct node node = compacted();
    node_hear(&node, rejected(3, 2, 9, 2, 1));
    node_hear(&node, rejected(3, 2, 8, 2, 1));
    node_hear(&node, accepted(3, 2, 2, 0));
    cr_assert(eq(int, node_progress(&node, 3)->kind, RAFT_SNAPSHOT), "2 is not enough");
    node_hear(&node, accepted(3, 2, 8, 0));
    cr_assert(eq(int, node_progress(&node, 3)->kind, RAFT_REPLICATE));
    cr_assert(eq(u64, sent(&node, 3)->prev.n, 8));
    snapshot_was_sent(&node, 3, true, 8);
    cr_assert(eq(u32, node.out.sends.count, 0), "it is known");
    node_free(&node);
}
