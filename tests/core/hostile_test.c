/* What no node that follows the rules says: nothing of it ends a process, or uses numbers up. */
#include "tests/core/support.h"

/* --- one message after the other -------------------------------------------------------------- */

Test(hostile, appends_of_a_leaders_own_term_are_impossible)
{
    struct node node = node_settled(3, 5, TERMS(1, 1));
    uint64_t term = raft_status(node.raft).term.n;
    node_hear(&node, append_after(2, term, 2, 1, 2, TERMS(5)));
    cr_assert(node.out.impossible);
    cr_assert(eq(u32, node.out.sends.count, 0));
    cr_assert(not(node.out.persist.wanted));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_LEADER));
    node_tick(&node);
    cr_assert(not(node.out.impossible));
    node_free(&node);
}

Test(hostile, appends_of_a_second_leader_of_a_term_are_impossible)
{
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, append_after(2, 6, 2, 1, 0, TERMS(6)));
    node_hear(&node, append_after(3, 6, 2, 1, 3, TERMS(6, 6)));
    cr_assert(node.out.impossible);
    cr_assert(node_log_is(&node, TERMS(1, 1, 6)));
    cr_assert(eq(u64, raft_status(node.raft).commit.n, 0));
    node_hear(&node, append_after(3, 7, 2, 1, 2, TERMS(7)));
    cr_assert(not(node.out.impossible), "in another term it may lead");
    cr_assert(node_log_is(&node, TERMS(1, 1, 7)));
    node_free(&node);
}

Test(hostile, leaders_take_nothing_back_in_their_term)
{
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, append_after(2, 6, 2, 1, 0, TERMS(4, 5, 6)));
    node_hear(&node, append_after(2, 6, 3, 4, 9, TERMS(6)));
    cr_assert(node.out.impossible);
    cr_assert(node_log_is(&node, TERMS(1, 1, 4, 5, 6)));
    node_hear(&node, append_after(2, 6, 3, 4, 2, TERMS(5)));
    cr_assert(not(node.out.impossible), "said again");
    node_all_durable(&node);
    node_free(&node);
}

Test(hostile, configurations_that_nobody_votes_in_are_impossible)
{
    struct raft_configuration none = {.voters = 0};
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear_configuration(&node, append_after(2, 6, 2, 1, 0, TERMS(6)), none);
    cr_assert(node.out.impossible);
    cr_assert(node_log_is(&node, TERMS(1, 1)));
    node_free(&node);
}

Test(hostile, entries_below_the_term_of_what_is_committed_are_not_taken)
{
    struct node node = node_among(3, 6, TERMS(1, 5));
    node_hear(&node, append_after(2, 6, 2, 5, 2, NO_TERMS));
    must(raft_status(node.raft).commit.n == 2);
    node_hear(&node, append_after(2, 6, 1, 1, 2, TERMS(1, 1)));
    cr_assert(node_log_is(&node, TERMS(1, 5)));
    node_free(&node);
}

Test(hostile, terms_are_not_used_up_by_a_vote)
{
    static const uint64_t terms[] = {UINT64_MAX, RAFT_TERM_MAX + 1, RAFT_TERM_MAX,
                                     7 + RAFT_TERM_LEAP};
    for (size_t i = 0; i < ARRAY_LEN(terms); i++) {
        struct node node = node_among(3, 6, TERMS(1, 1));
        node_hear(&node, request_vote(2, terms[i], 9, 1));
        cr_assert(node.out.impossible, "row %zu", i);
        cr_assert(eq(u64, raft_status(node.raft).term.n, 6), "row %zu", i);
        node_free(&node);
    }
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, request_vote(2, 6 + RAFT_TERM_LEAP, 9, 1));
    cr_assert(not(node.out.impossible));
    cr_assert(eq(u64, raft_status(node.raft).term.n, 6 + RAFT_TERM_LEAP));
    node_free(&node);
}

Test(hostile, nobody_campaigns_beyond_the_last_term)
{
    struct raft_saved saved = {.hard = {.term = {RAFT_TERM_MAX}},
                               .configuration = {.voters = 1, .voter = {{1}}}};
    struct node node = node_start(&saved, NO_TERMS);
    for (int i = 0; i < 5; i++)
        node_wait(&node);
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    cr_assert(eq(u64, raft_status(node.raft).term.n, RAFT_TERM_MAX));
    node_free(&node);
}

Test(hostile, a_read_is_answered_by_the_leader_only)
{
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, append_after(2, 6, 2, 1, 2, NO_TERMS));
    node_read(&node, 4);
    struct raft_message lie = message(RAFT_READ_INDEX_RESPONSE, 3, 6);
    lie.read_index_response.token = 4;
    lie.read_index_response.granted = true;
    node_hear(&node, lie);
    cr_assert(eq(u32, node.out.results.count, 0));
    lie.from.n = 2;
    node_hear(&node, lie);
    cr_assert(eq(u32, node.out.results.count, 1));
    node_free(&node);
}

Test(hostile, only_the_leader_hands_leadership_over)
{
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, append_after(2, 6, 2, 1, 2, NO_TERMS));
    node_hear(&node, message(RAFT_TIMEOUT_NOW, 3, 6));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_FOLLOWER));
    node_hear(&node, message(RAFT_TIMEOUT_NOW, 2, 6));
    cr_assert(eq(int, raft_status(node.raft).role, RAFT_CANDIDATE));
    node_free(&node);
}

Test(hostile, only_the_leader_says_that_a_node_forgot)
{
    struct node node = node_among(3, 6, TERMS(1, 1));
    node_hear(&node, append_after(2, 6, 2, 1, 2, NO_TERMS));
    struct raft_message lie = message(RAFT_FORGOT, 3, 6);
    lie.forgot = (struct raft_forgot){{RAFT_INDEX_MAX}, {6}};
    node_hear(&node, lie);
    cr_assert(not(raft_status(node.raft).recovering));
    lie.from.n = 2;
    node_hear(&node, lie);
    cr_assert(raft_status(node.raft).recovering);
    node_free(&node);
}

/* --- any message in any state ----------------------------------------------------------------- */

/* Near what the node has, or at an edge. */
static uint64_t number(struct chance *chance, uint64_t near)
{
    static const uint64_t edge[] = {
        0, 1, RAFT_TERM_MAX - 1, RAFT_TERM_MAX, RAFT_TERM_MAX + 1, UINT64_MAX, UINT32_MAX};
    if (chance_below(chance, 8) == 0)
        return edge[chance_below(chance, ARRAY_LEN(edge))];
    uint64_t off = chance_below(chance, 4);
    return chance_below(chance, 2) == 0 || near < off ? near + off : near - off;
}

static struct raft_message lie(struct chance *chance, const struct raft *raft)
{
    struct raft_status status = raft_status(raft);
    struct raft_message m = {.from = {2 + chance_below(chance, 4)}}; /* of no member, too */
    m.to.n = chance_below(chance, 50) == 0 ? 2 : 1;
    m.term.n = chance_below(chance, 3) == 0 ? number(chance, status.term.n) : status.term.n;
    m.kind = (enum raft_message_kind)(1 + chance_below(chance, 10));
    const uint64_t last = status.last.n, term = status.term.n;
    switch (m.kind) {
    case RAFT_REQUEST_PRE_VOTE:
        m.request_pre_vote.next_term.n = number(chance, term + 1);
        m.request_pre_vote.last.n = number(chance, last);
        m.request_pre_vote.last_term.n = number(chance, term);
        break;
    case RAFT_REQUEST_PRE_VOTE_RESPONSE:
        m.request_pre_vote_response.next_term.n = number(chance, term + 1);
        m.request_pre_vote_response.granted = (uint8_t)chance_below(chance, 3);
        break;
    case RAFT_REQUEST_VOTE:
        m.request_vote.last.n = number(chance, last);
        m.request_vote.last_term.n = number(chance, term);
        m.request_vote.transfer = (uint8_t)chance_below(chance, 2);
        break;
    case RAFT_REQUEST_VOTE_RESPONSE:
        m.request_vote_response.granted = (uint8_t)chance_below(chance, 2);
        break;
    case RAFT_APPEND_ENTRIES: {
        uint64_t at = number(chance, last);
        m.append_entries.prev.n = at;
        m.append_entries.prev_term.n =
            at <= last && at >= raft->log.start.n && chance_below(chance, 4) > 0
                ? raft_entry_term(raft, m.append_entries.prev).n
                : number(chance, term);
        m.append_entries.commit.n = number(chance, status.commit.n);
        m.append_entries.round = number(chance, 3);
        m.append_entries.entries.runs = (uint32_t)chance_below(chance, 4);
        uint64_t of = m.append_entries.prev_term.n;
        for (uint32_t i = 0; i < m.append_entries.entries.runs; i++) {
            of += i > 0 || chance_below(chance, 2) == 0;
            m.append_entries.entries.at[i].term.n = of;
            m.append_entries.entries.at[i].count = (uint32_t)chance_below(chance, 4);
        }
        break;
    }
    case RAFT_APPEND_ENTRIES_RESPONSE:
        m.append_entries_response.accepted = (uint8_t)chance_below(chance, 2);
        m.append_entries_response.recovering = (uint8_t)chance_below(chance, 2);
        m.append_entries_response.round = number(chance, 3);
        m.append_entries_response.match.n = number(chance, last);
        m.append_entries_response.prev.n = number(chance, last);
        m.append_entries_response.hint.n = number(chance, last);
        m.append_entries_response.hint_term.n = number(chance, term);
        break;
    case RAFT_READ_INDEX:
        m.read_index.token = chance_below(chance, 5);
        break;
    case RAFT_READ_INDEX_RESPONSE:
        m.read_index_response.token = chance_below(chance, 5);
        m.read_index_response.granted = (uint8_t)chance_below(chance, 2);
        m.read_index_response.index.n = number(chance, last);
        break;
    case RAFT_TIMEOUT_NOW:
        m.timeout_now.transfer = (uint8_t)chance_below(chance, 2);
        break;
    case RAFT_FORGOT:
        m.forgot = (struct raft_forgot){{number(chance, last)}, {number(chance, term)}};
    }
    return m;
}

static void hear_lie(struct node *node, struct chance *chance)
{
    struct raft_message m = lie(chance, node->raft);
    bool lone = m.kind == RAFT_APPEND_ENTRIES && m.append_entries.entries.runs == 1 &&
                m.append_entries.entries.at[0].count == 1;
    if (lone && chance_below(chance, 4) == 0)
        node_hear_configuration(node, m,
                                (struct raft_configuration){
                                    .voters = (uint32_t)chance_below(chance, 4),
                                    .voter = {{1}, {2}, {chance_below(chance, 4)}},
                                });
    else
        node_hear(node, m);
}

Test(hostile, any_message_in_any_state_is_answered_or_ignored)
{
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct chance chance = {seed};
        struct node node = chance_below(&chance, 2) == 0 ? node_settled(3, 5, TERMS(1, 1, 2, 4))
                                                         : node_among(3, 6, TERMS(1, 1, 2, 2, 4));
        for (int i = 0; i < 300; i++) {
            switch (chance_below(&chance, 12)) {
            case 0:
                node_wait(&node);
                break;
            case 1:
                node_read(&node, chance_below(&chance, 5));
                break;
            case 2:
                node_propose(&node, 2, 100);
                break;
            case 3:
            case 4:
                node_all_durable(&node);
                break;
            default:
                hear_lie(&node, &chance);
            }
            must(raft_status(node.raft).term.n <= RAFT_TERM_MAX);
        }
        node_free(&node);
    }
}
