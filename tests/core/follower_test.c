/* §5.3 from the follower's side: what it takes, what it turns away, and what it says it has. */
#include "tests/core/support.h"

static const struct raft_append_entries_response *gave(const struct node *node, uint64_t to)
{
    const struct raft_message *m = node_sent(node, RAFT_APPEND_ENTRIES_RESPONSE, to);
    return m == NULL ? NULL : &m->append_entries_response;
}

static bool acknowledged(const struct node *node, uint64_t match)
{
    return gave(node, 2) != NULL && gave(node, 2)->accepted && gave(node, 2)->match.n == match;
}

static bool turned_away(const struct node *node)
{
    return gave(node, 2) != NULL && !gave(node, 2)->accepted;
}

/* --- what is turned away ---------------------------------------------------------------------- */

Test(follower, says_where_the_logs_may_agree_and_skips_whole_terms)
{
    static const struct {
        uint64_t prev, prev_term, hint, hint_term;
    } row[] = {{10, 5, 7, 4}, {8, 4, 7, 4}, {7, 5, 6, 4}, {7, 3, 5, 2},
               {6, 2, 5, 2},  {5, 1, 2, 1}, {4, 3, 3, 2}, {2, 2, 1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct node node = node_among(3, 6, TERMS(1, 1, 2, 2, 2, 4, 4));
        node_hear(&node, append_after(2, 6, row[i].prev, row[i].prev_term, 9, TERMS(6)));
        cr_assert(turned_away(&node), "row %zu", i);
        cr_assert(eq(u64, gave(&node, 2)->prev.n, row[i].prev), "row %zu", i);
        cr_assert(eq(u64, gave(&node, 2)->hint.n, row[i].hint), "row %zu", i);
        cr_assert(eq(u64, gave(&node, 2)->hint_term.n, row[i].hint_term), "row %zu", i);
        cr_assert(eq(u64, raft_status(node.raft).commit.n, 0), "nothing was compared");
        cr_assert(not(node.out.persist.wanted));
        cr_assert(eq(u64, raft_status(node.raft).last.n, 7));
        node_free(&node);
    }
}

Test(follower, tells_a_leader_of_the_past_the_term_and_takes_nothing)
{
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, append_after(2, 5, 2, 1, 2, TERMS(5)));
    cr_assert(turned_away(&node));
    cr_assert(eq(u64, node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 2)->term.n, 6));
    cr_assert(not(raft_status(node.raft).leader_known));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 0));
    cr_assert(node_log_is(&node, TERMS(1, 1)));
    node_free(&node);
}

Test(follower, does_not_hear_an_append_that_cannot_be)
{
    struct raft_message bad[6];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = append_after(2, 6, 2, 1, 2, TERMS(3, 4));
    bad[0].append_entries.entries.at[1].term.n = 3; /* one term in two runs */
    bad[1].append_entries.entries.at[0].count = 0;
    bad[2].append_entries.entries.at[1].term.n = 7; /* above the leader's */
    bad[3].append_entries.prev_term.n = 4;          /* terms go back */
    bad[4].append_entries.entries.runs = RAFT_APPEND_RUNS_MAX + 1;
    bad[5].append_entries.entries.at[0].count = RAFT_APPEND_ENTRIES_MAX;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct node node = node_among(3, 6, TERMS(1, 1));
        node_hear(&node, bad[i]);
        cr_assert(eq(u32, node.out.sends.count, 0), "row %zu", i);
        cr_assert(node_log_is(&node, TERMS(1, 1)), "row %zu", i);
        node_free(&node);
    }
}

/* --- what is taken ---------------------------------------------------------------------------- */

Test(follower, replaces_what_conflicts_and_all_after_it_and_nothing_else)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 2, 3));
    node_hear(&node, append_after(2, 6, 1, 1, 0, TERMS(1, 2, 4, 4)));
    cr_assert(node_log_is(&node, TERMS(1, 1, 2, 4, 4)));
    const struct raft_persist *persist = &node.out.persist;
    cr_assert(persist->truncate);
    cr_assert(eq(u64, persist->first_gone.n, 4));
    cr_assert(eq(u64, persist->term_before.n, 2));
    cr_assert(eq(u64, persist->first.n, 4));
    cr_assert(eq(u32, raft_runs_entries(&persist->entries), 2), "only what was not there");
    cr_assert(eq(int, persist->from, RAFT_FROM_MESSAGE));
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 3));
    node_free(&node);
}

/* An append that was overtaken by a longer one says less, not something else. */
Test(follower, keeps_what_comes_after_entries_that_it_has)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 6, 6));
    node_hear(&node, append_after(2, 6, 1, 1, 0, TERMS(1, 2)));
    cr_assert(node_log_is(&node, TERMS(1, 1, 2, 6, 6)));
    cr_assert(not(node.out.persist.wanted));
    cr_assert(acknowledged(&node, 3), "and says that it has what was compared");
    node_hear(&node, append_after(2, 6, 2, 1, 0, TERMS(2, 6, 6, 6)));
    cr_assert(not(node.out.persist.truncate));
    cr_assert(eq(u64, node.out.persist.first.n, 6));
    node_all_durable(&node);
    cr_assert(acknowledged(&node, 6));
    node_hear(&node, append_after(2, 6, 1, 1, 0, TERMS(1, 2)));
    cr_assert(acknowledged(&node, 6), "twice and late");
    cr_assert(node_log_is(&node, TERMS(1, 1, 2, 6, 6, 6)));
    node_free(&node);
}

Test(follower, never_touches_what_is_committed_whatever_an_append_says)
{
    for (uint64_t prev = 0; prev <= 3; prev++) {
        struct node node = node_among(3, 6, TERMS(1, 1, 2, 2, 2));
        node_hear(&node, append_after(2, 6, 3, 2, 3, NO_TERMS));
        cr_assert(eq(u64, raft_status(node.raft).commit.n, 3));
        node_hear(&node, append_after(2, 6, prev, 0, 3, TERMS(5, 5, 5, 5, 5, 5)));
        for (uint64_t i = 1; i <= 3; i++)
            cr_assert(eq(u64, raft_entry_term(node.raft, (raft_index){i}).n, i < 3 ? 1 : 2));
        cr_assert(eq(u64, raft_status(node.raft).last.n, 5));
        cr_assert(not(node.out.persist.wanted));
        cr_assert(raft_status(node.raft).diverged, "its leader has something else there");
        node_free(&node);
    }
}

Test(follower, takes_no_more_stretches_of_terms_than_it_has_room_for)
{
    static uint64_t terms[RAFT_TERM_RUNS_MAX - 1];
    for (uint64_t i = 0; i < ARRAY_LEN(terms); i++)
        terms[i] = i + 1;
    struct node node = node_among(3, 9000, terms, ARRAY_LEN(terms));
    uint64_t last = ARRAY_LEN(terms);
    node_hear(&node, append_after(2, 9000, last, last, 0, TERMS(8000, 8000, 8001, 8002)));
    cr_assert(eq(u64, raft_status(node.raft).last.n, last + 2), "what came before it stands");
    node_all_durable(&node);
    cr_assert(acknowledged(&node, last + 2));
    node_hear(&node, append_after(2, 9000, last + 2, 8000, last + 2, TERMS(8001)));
    cr_assert(eq(u32, node.out.sends.count, 0), "or the leader would send the same at once");
    node_hear(&node, append_after(2, 9000, last + 2, 8000, last + 2, NO_TERMS));
    cr_assert(acknowledged(&node, last + 2), "it asks with its heartbeat");
    node_compacted(&node, 10);
    node_hear(&node, append_after(2, 9000, last + 2, 8000, last + 2, TERMS(8001)));
    node_all_durable(&node);
    cr_assert(acknowledged(&node, last + 3));
    node_free(&node);
}

/* --- what is committed ------------------------------------------------------------------------ */

Test(follower, commits_no_further_than_what_was_compared_with_the_leader)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 2, 2));
    node_hear(&node, append_after(2, 6, 2, 1, 5, NO_TERMS));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 2), "an empty append, a longer own log");
    node_hear(&node, append_after(2, 6, 2, 1, 5, TERMS(2)));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 3), "a short one");
    cr_assert(eq(u64, node.out.apply.first.n, 3));
    node_hear(&node, append_after(2, 6, 9, 6, 9, TERMS(6)));
    cr_assert(turned_away(&node));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 3), "one turned away");
    node_hear(&node, append_after(2, 6, 0, 0, 9, NO_TERMS));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 3));
    node_hear(&node, append_after(2, 6, 3, 2, 4, TERMS(4, 6)));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 4), "no further than the leader");
    node_hear(&node, append_after(2, 6, 3, 2, 2, TERMS(4, 6)));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 4), "never back");
    node_free(&node);
}

Test(follower, compares_anew_with_each_leader)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 2, 2));
    node_hear(&node, append_after(2, 6, 5, 2, 0, NO_TERMS));
    cr_assert(acknowledged(&node, 5));
    node_hear(&node, append_after(3, 7, 1, 1, 5, NO_TERMS));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 1), "leader 3 may have another tail");
    node_all_durable(&node);
    cr_assert(eq(u64, gave(&node, 3)->match.n, 1));
    node_free(&node);
}

/* --- the beginning of the log ----------------------------------------------------------------- */

Test(follower, whose_log_begins_later_takes_an_append_from_before_at_and_after_it)
{
    for (uint64_t prev = 0; prev <= 8; prev++) {
        struct raft_saved saved = {.hard.term = {6},
                                   .snapshot_index = {5},
                                   .log_start = {4},
                                   .log_start_term = {2},
                                   .configuration = voters(3, 1, 2, 3)};
        struct node node = node_start(&saved, TERMS(2, 3, 3));
        uint64_t terms[] = {1, 1, 2, 2, 2, 4, 4, 4, 4, 4}; /* the leader's; 5 is committed */
        uint64_t prev_term = prev == 0 ? 0 : terms[prev - 1];
        node_hear(&node, append_after(2, 6, prev, prev_term, 9, terms + prev, 9 - prev));
        if (prev <= 5) {
            cr_assert(eq(u64, raft_status(node.raft).last.n, 9), "prev %lu", (unsigned long)prev);
            cr_assert(eq(u64, node.out.persist.first_gone.n, 6));
            cr_assert(eq(u64, node.out.persist.first.n, 6), "no entry comes twice");
            cr_assert(eq(u32, raft_runs_entries(&node.out.persist.entries), 4));
            cr_assert(eq(u64, node.out.apply.first.n, 6));
            cr_assert(eq(u64, node.out.apply.last.n, 9));
        } else {
            cr_assert(turned_away(&node), "prev %lu", (unsigned long)prev);
            cr_assert(eq(u64, gave(&node, 2)->hint.n, prev == 8 ? 7 : prev - 1));
        }
        node_free(&node);
    }
}

Test(follower, that_compacted_takes_a_bare_heartbeat)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 2));
    node_hear(&node, append_after(2, 6, 4, 2, 4, NO_TERMS));
    node_compacted(&node, 4);
    node_hear(&node, append_after(2, 6, 0, 0, 0, NO_TERMS));
    cr_assert(acknowledged(&node, 4));
    node_hear(&node, append_after(2, 6, 0, 0, 4, TERMS(1, 1, 2)));
    cr_assert(acknowledged(&node, 4));
    cr_assert(not(node.out.persist.wanted));
    node_hear(&node, append_after(2, 6, 4, 2, 4, TERMS(6)));
    cr_assert(eq(u64, raft_status(node.raft).last.n, 5));
    node_free(&node);
}

/* --- what is acknowledged --------------------------------------------------------------------- */

Test(follower, acknowledges_when_storage_has_it_and_as_far_as_it_has)
{
    struct node node = node_among(3, 6, TERMS(1));
    node_hear(&node, append_after(2, 6, 1, 1, 1, TERMS(6, 6)));
    struct raft_mark first = node.out.persist.mark;
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_hear(&node, append_after(2, 6, 3, 6, 3, TERMS(6)));
    struct raft_mark second = node.out.persist.mark;
    cr_assert(eq(u32, node.out.sends.count, 0));
    cr_assert(eq(u64, node.out.apply.last.n, 3), "what a majority has may be applied before");
    node_hear(&node, append_after(2, 6, 4, 6, 3, NO_TERMS));
    cr_assert(acknowledged(&node, 1), "a heartbeat is answered with what there is");
    node_persisted(&node, first);
    cr_assert(acknowledged(&node, 3));
    node_persisted(&node, second);
    cr_assert(acknowledged(&node, 4));
    node_persisted(&node, second);
    cr_assert(eq(u32, node.out.sends.count, 0), "nothing is owed");
    node_free(&node);
}

Test(follower, acknowledges_only_in_a_term_that_is_durable)
{
    struct node node = node_among(3, 5, TERMS(1, 1));
    node_hear(&node, append_after(2, 6, 2, 1, 0, NO_TERMS));
    cr_assert(eq(u32, node.out.sends.count, 0));
    cr_assert(node.out.persist.hard_state);
    node_hear(&node, append_after(2, 6, 9, 1, 0, NO_TERMS));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_all_durable(&node);
    cr_assert(acknowledged(&node, 2));
    node_free(&node);
}

Test(follower, acknowledges_nothing_of_a_tail_that_was_not_compared)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 2, 2));
    node_hear(&node, append_after(2, 6, 2, 1, 0, NO_TERMS));
    cr_assert(acknowledged(&node, 2), "however much longer its log is");
    node_hear(&node, append_after(2, 6, 1, 1, 0, TERMS(1, 2)));
    cr_assert(acknowledged(&node, 3));
    node_free(&node);
}

/* The ABA of append threads: the same indexes, other entries, and a flush that was overtaken. */
Test(follower, counts_no_flush_that_a_truncation_overtook)
{
    struct node node = node_among(3, 5, TERMS(1));
    node_hear(&node, append_after(2, 5, 1, 1, 0, TERMS(5, 5, 5)));
    struct raft_mark stale = node.out.persist.mark;
    node_hear(&node, append_after(3, 6, 1, 1, 0, TERMS(6, 6)));
    struct raft_mark fresh = node.out.persist.mark;
    cr_assert(gt(u64, fresh.epoch, stale.epoch));
    node_persisted(&node, stale);
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 1));
    cr_assert(eq(u32, node.out.sends.count, 0));
    node_hear(&node, append_after(2, 7, 1, 1, 0, TERMS(7, 7, 7)));
    node_persisted(&node, fresh);
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 1), "overtaken again");
    node_all_durable(&node);
    cr_assert(acknowledged(&node, 4));
    node_free(&node);
}

/* --- snapshots -------------------------------------------------------------------------------- */

Test(follower, that_installed_a_snapshot_begins_after_it_and_keeps_no_tail)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 2, 2));
    node_hear(&node, append_after(2, 6, 2, 1, 2, NO_TERMS));
    node_hear(&node, append_after(2, 6, 2, 1, 2, TERMS(3, 3)));
    struct raft_mark stale = node.out.persist.mark;
    node_install(&node, 3, 4, voters(3, 1, 2, 4));
    cr_assert(node.out.persist.reset);
    cr_assert(eq(u64, node.out.persist.reset_index.n, 3));
    cr_assert(eq(u64, node.out.persist.reset_term.n, 4));
    cr_assert(eq(u64, raft_status(node.raft).last.n, 3));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 3));
    cr_assert(gt(u64, node.out.apply.first.n, node.out.apply.last.n),
              "the snapshot has applied it");
    cr_assert(eq(u64, raft_configuration(node.raft)->voter[2].n, 4), "it brings its configuration");
    struct raft_mark mark = node.out.persist.mark;
    cr_assert(gt(u64, mark.epoch, stale.epoch));
    node_persisted(&node, stale);
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 0), "that the log begins here is not");
    node_hear(&node, append_after(2, 6, 3, 4, 3, NO_TERMS));
    cr_assert(not(acknowledged(&node, 3)));
    node_persisted(&node, mark);
    cr_assert(acknowledged(&node, 3));
    node_hear(&node, append_after(2, 6, 3, 4, 4, TERMS(6)));
    cr_assert(eq(u64, node.out.persist.first.n, 4));
    node_all_durable(&node);
    cr_assert(acknowledged(&node, 4));
    node_free(&node);
}

/* §7. The leader counts what was acknowledged: the snapshot may be late, and must not take it. */
Test(follower, that_installed_a_snapshot_keeps_what_follows_the_same_entry)
{
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, append_after(2, 6, 2, 1, 2, TERMS(2, 6, 6, 6)));
    node_all_durable(&node);
    cr_assert(acknowledged(&node, 6));
    node_install(&node, 4, 6, voters(3, 1, 2, 3));
    cr_assert(not(node.out.persist.wanted));
    cr_assert(eq(u64, raft_status(node.raft).last.n, 6));
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 6));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 4));
    cr_assert(gt(u64, node.out.apply.first.n, node.out.apply.last.n),
              "the snapshot has applied it");
    cr_assert(acknowledged(&node, 6));
    node_hear(&node, append_after(2, 6, 6, 6, 6, NO_TERMS));
    cr_assert(eq(u64, node.out.apply.first.n, 5));
    cr_assert(eq(u64, node.out.apply.last.n, 6));
    node_free(&node);

    node = node_among(3, 6, TERMS(1, 1)); /* not flushed, and not compared with this leader */
    node_hear(&node, append_after(2, 6, 2, 1, 2, TERMS(2, 6, 6)));
    struct raft_mark mark = node.out.persist.mark;
    node_hear(&node, append_after(3, 7, 2, 1, 2, NO_TERMS));
    node_persisted(&node, (struct raft_mark){.last = {2}, .term = {7}});
    node_install(&node, 4, 6, voters(3, 1, 2, 3));
    cr_assert(eq(u64, raft_status(node.raft).last.n, 5));
    cr_assert(eq(u64, gave(&node, 3)->match.n, 2), "nothing that the log has not durably");
    node_persisted(&node, mark);
    cr_assert(eq(u64, raft_status(node.raft).durable.n, 5));
    node_free(&node);
}

Test(follower, ignores_a_snapshot_that_says_nothing_new)
{
    struct node node = node_among(3, 6, TERMS(1, 1, 2, 2));
    node_hear(&node, append_after(2, 6, 3, 2, 3, NO_TERMS));
    for (uint64_t index = 1; index <= 3; index++) {
        node_install(&node, index, 2, voters(1, 2));
        cr_assert(not(node.out.persist.wanted));
        cr_assert(node_log_is(&node, TERMS(1, 1, 2, 2)));
        cr_assert(eq(u32, raft_configuration(node.raft)->voters, 3));
    }
    node_install(&node, 9, 7, voters(1, 2));
    cr_assert(not(node.out.persist.wanted), "nor one of a term to come");
    node_free(&node);
}

/* --- Figure 7 --------------------------------------------------------------------------------- */

/* What `from` sent to `to` arrives, until nobody says anything more; all disks are at once. */
static void talk(struct node *leader, struct node *follower, struct raft_message first)
{
    static struct raft_message queue[256];
    uint32_t head = 0, tail = 0;
    queue[tail++] = first;
    while (head < tail) {
        struct raft_message m = queue[head++];
        struct node *to = m.to.n == 2 ? follower : leader;
        uint64_t id = m.to.n;
        for (int i = 0; i < 2; i++) {
            if (i == 0)
                node_hear(to, m);
            else
                node_all_durable(to);
            for (uint32_t j = 0; j < to->out.sends.count; j++) {
                must(tail < ARRAY_LEN(queue));
                if (to->out.sends.at[j].to.n == (id == 2 ? 1 : 2))
                    queue[tail++] = to->out.sends.at[j];
            }
        }
    }
    must(tail < 16); /* whole terms are skipped: it takes few messages */
}

Test(follower, of_any_of_the_six_kinds_of_figure_7_is_repaired)
{
    static const uint64_t a[] = {1, 1, 1, 4, 4, 5, 5, 6, 6}, b[] = {1, 1, 1, 4},
                          c[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
                          d[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, e[] = {1, 1, 1, 4, 4, 4, 4},
                          f[] = {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3};
    static const struct {
        const uint64_t *terms;
        size_t entries;
    } kind[] = {{a, 9}, {b, 4}, {c, 11}, {d, 12}, {e, 7}, {f, 11}};
    for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
        struct node leader = node_elected(3, 7, TERMS(1, 1, 1, 4, 4, 5, 5, 6, 6, 6));
        struct raft_message first = *node_sent(&leader, RAFT_APPEND_ENTRIES, 2);
        node_all_durable(&leader);
        struct raft_saved saved = {.hard.term = {8}, .configuration = voters(3, 1, 2, 3)};
        struct node follower = node_start_as(2, &saved, kind[i].terms, kind[i].entries);
        talk(&leader, &follower, first);
        cr_assert(node_log_is(&follower, TERMS(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8)), "kind %c",
                  (char)('a' + i));
        cr_assert(eq(u64, raft_status(leader.raft).commit.n, 11));
        cr_assert(eq(u64, raft_status(follower.raft).commit.n, 11));
        node_free(&leader);
        node_free(&follower);
    }
}

/* Else the leader, told of nothing new, sends the same at once, and so on for ever. */
Test(follower, does_not_acknowledge_the_head_of_an_append_that_it_had_already)
{
    struct node node = node_among(3, 1, TERMS(1, 1));
    struct raft_message m = append_after(2, 1, 0, 0, 0, TERMS(1, 1));
    uint32_t bytes[2] = {10, 10};
    struct raft_event event = {.kind = RAFT_RECEIVED,
                               .received = {.message = &m, .bytes = bytes, .cut = true}};
    node_step(&node, event);
    cr_assert(node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 2) == NULL);
    event.received.cut = false;
    node_step(&node, event);
    cr_assert(node_sent(&node, RAFT_APPEND_ENTRIES_RESPONSE, 2)->append_entries_response.accepted);
    node_free(&node);
}
