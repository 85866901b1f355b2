#include "tests/crash/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void history_start(struct history *history)
{
    history->facts = 0;
    history->votes = 1;
    history->vote[0] = (struct vote){.term = 0};
}

void history_cut(struct history *to, const struct history *from, uint32_t facts, uint32_t vote)
{
    to->facts = facts;
    to->votes = vote + 1;
    if (to == from)
        return;
    memcpy(to->fact, from->fact, facts * sizeof(from->fact[0]));
    memcpy(to->vote, from->vote, to->votes * sizeof(from->vote[0]));
}

void history_add(struct history *history, struct fact fact)
{
    assert(history->facts < HISTORY_FACTS && fact.index < HISTORY_INDEXES);
    history->fact[history->facts++] = fact;
}

void history_vote(struct history *history, struct vote vote)
{
    assert(history->votes < HISTORY_VOTES);
    history->vote[history->votes++] = vote;
}

/* --- payloads --------------------------------------------------------------------------------- */

struct bytes history_payload(uint32_t stamp, uint32_t len, uint8_t buffer[HISTORY_ENTRY])
{
    assert(len >= sizeof(stamp) && len <= HISTORY_ENTRY);
    memcpy(buffer, &stamp, sizeof(stamp));
    for (uint32_t i = sizeof(stamp); i < len; i++) /* whole sectors of zeros, in every third */
        buffer[i] = stamp % 3 == 0 ? 0 : (uint8_t)((stamp * 31 + i * 7) % 251);
    return bytes_of(buffer, len);
}

bool history_stamp(const struct history *history, struct bytes payload, uint32_t *ret_stamp)
{
    uint8_t buffer[HISTORY_ENTRY];
    uint32_t stamp;
    if (payload.len < sizeof(stamp))
        return false;
    memcpy(&stamp, payload.at, sizeof(stamp));
    for (uint32_t i = 0; i < history->facts; i++) {
        const struct fact *fact = &history->fact[i];
        if (fact->kind != FACT_APPEND || fact->stamp != stamp)
            continue;
        *ret_stamp = stamp;
        return bytes_equal(payload, history_payload(stamp, fact->len, buffer));
    }
    return false;
}

/* --- shapes ----------------------------------------------------------------------------------- */

static void take(struct shape *shape, const struct history *history, uint32_t number)
{
    const struct fact *fact = &history->fact[number];
    switch (fact->kind) {
    case FACT_APPEND:
        assert(fact->index == shape->last + 1);
        shape->last = fact->index;
        shape->fact[fact->index] = number;
        return;
    case FACT_TRUNCATE:
        shape->last = fact->index - 1;
        return;
    case FACT_RESET:
        shape->start = shape->last = fact->index;
        shape->start_term = fact->term;
        return;
    }
    UNREACHABLE();
}

static uint64_t term_at(const struct shape *shape, const struct history *history, uint64_t index)
{
    if (index == shape->start)
        return shape->start_term;
    assert(index > shape->start && index <= shape->last);
    return history->fact[shape->fact[index]].term;
}

uint64_t history_term(const struct history *history, uint64_t index)
{
    struct shape shape = {.last = 0};
    for (uint32_t i = 0; i < history->facts; i++)
        take(&shape, history, i);
    return term_at(&shape, history, index);
}

/* --- judging ---------------------------------------------------------------------------------- */

/* The log is this shape, save for what may be gone at its start. */
static bool is_of_shape(const struct found *found, const struct shape *shape,
                        const struct promise *promise)
{
    const struct wal_recovered *recovered = &found->recovered;
    uint64_t start = recovered->start.n;
    if (recovered->last.n != shape->last || start < shape->start || start > shape->last)
        return false;
    if (start > shape->start && start > promise->compacted)
        return false;
    if (recovered->start_term.n != term_at(shape, promise->history, start))
        return false;
    for (uint64_t index = start + 1; index <= shape->last; index++) {
        const struct fact *fact = &promise->history->fact[shape->fact[index]];
        if (found->stamp[index - start - 1] != fact->stamp ||
            found->term[index - start - 1] != fact->term)
            return false;
    }
    return true;
}

static bool judge_log(const struct promise *promise, const struct found *found, uint32_t *ret_facts,
                      char ret_why[HISTORY_WHY_BYTES])
{
    struct shape shape = {.last = 0};
    for (uint32_t facts = 0;; facts++) {
        if (facts >= promise->facts && is_of_shape(found, &shape, promise)) {
            *ret_facts = facts;
            return true;
        }
        if (facts == promise->facts)
            snprintf(ret_why, HISTORY_WHY_BYTES,
                     "the log is %" PRIu64 " to %" PRIu64 ", which it never was since %" PRIu32
                     " of %" PRIu32 " records were acknowledged (then it was %" PRIu64
                     " to %" PRIu64 ", up to %" PRIu64 " compacted)",
                     found->recovered.start.n, found->recovered.last.n, promise->facts,
                     promise->facts_most, shape.start, shape.last, promise->compacted);
        if (facts >= promise->facts_most)
            return false;
        take(&shape, promise->history, facts);
    }
}

/* The newest of both copies of a hard state may be gone: then nothing is said to have been voted.
 */
static bool is_vote(const struct wal_recovered *recovered, const struct vote *vote, bool may_doubt)
{
    const struct raft_hard_state *hard = &recovered->hard;
    bool unbounded = hard->recovering && !hard->floor.known;
    if (may_doubt && recovered->damaged_hard_state_blocks >= 2 && !hard->voted)
        return hard->term.n == vote->term + !unbounded;
    return hard->term.n == vote->term && hard->voted == vote->voted &&
           (!vote->voted || hard->vote.n == vote->node);
}

static bool judge_vote(const struct promise *promise, const struct found *found, uint32_t *ret_vote,
                       char ret_why[HISTORY_WHY_BYTES])
{
    const struct wal_recovered *recovered = &found->recovered;
    for (uint32_t i = promise->votes; i <= promise->votes_most; i++) {
        const struct vote *vote = &promise->history->vote[i];
        if (is_vote(recovered, vote, false) || is_vote(recovered, vote, promise->may_doubt)) {
            *ret_vote = i;
            return true;
        }
    }
    snprintf(ret_why, HISTORY_WHY_BYTES,
             "term %" PRIu64 " and vote %" PRIu64 " are older than acknowledged (%" PRIu64
             ", %" PRIu64 "), or never were",
             recovered->hard.term.n, recovered->hard.voted ? recovered->hard.vote.n : 0,
             promise->history->vote[promise->votes].term,
             promise->history->vote[promise->votes].node);
    return false;
}

/* By §5.4.1's order; one that is not known is above all. */
static bool is_below(struct raft_floor floor, struct raft_floor other)
{
    if (!floor.known || !other.known)
        return floor.known && !other.known;
    return term_less(floor.term, other.term) ||
           (term_equal(floor.term, other.term) && index_less(floor.index, other.index));
}

/*
 * Of what was acknowledged and may count: what a truncation that was gathered takes back was never
 * committed.
 */
static struct raft_floor acknowledged_end(const struct promise *promise)
{
    const struct history *history = promise->history;
    struct shape shape = {.last = 0};
    for (uint32_t i = 0; i < promise->facts; i++)
        take(&shape, history, i);
    uint64_t end = shape.last;
    for (uint32_t i = promise->facts; i < promise->facts_most; i++) {
        if (history->fact[i].kind == FACT_TRUNCATE && history->fact[i].index <= end)
            end = history->fact[i].index - 1;
    }
    return (struct raft_floor){
        .known = true, .index = {end}, .term = {term_at(&shape, history, end)}};
}

static bool judge_doubt(const struct promise *promise, const struct found *found,
                        char ret_why[HISTORY_WHY_BYTES])
{
    const struct raft_hard_state *hard = &found->recovered.hard;
    const char *wrong = NULL;
    if (promise->recovering && !hard->recovering)
        wrong = "the log is sure of itself again";
    else if (promise->recovering && is_below(hard->floor, promise->floor))
        wrong = "the floor is lower than it was";
    else if (!promise->recovering && hard->recovering && !promise->may_doubt)
        wrong = "the log is recovering, of what no rot leaves";
    else if (!promise->recovering && hard->recovering &&
             is_below(hard->floor, acknowledged_end(promise)))
        wrong = "the floor is below what was acknowledged";
    else if (found->recovered.holes > 0)
        wrong = "there are holes";
    if (wrong != NULL)
        snprintf(ret_why, HISTORY_WHY_BYTES, "%s", wrong);
    return wrong == NULL;
}

bool history_judge(const struct promise *promise, const struct found *found, uint32_t *ret_facts,
                   uint32_t *ret_vote, char ret_why[HISTORY_WHY_BYTES])
{
    return judge_log(promise, found, ret_facts, ret_why) &&
           judge_vote(promise, found, ret_vote, ret_why) && judge_doubt(promise, found, ret_why);
}
