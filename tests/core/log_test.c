#include "raft/core/log.h"

#include "tests/core/support.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES 400u

/* A log beside the plain array that it stands for: term[i] of entry i, from `start` on. */
struct pair {
    struct raft_log log;
    uint64_t term[ENTRIES + 1];
    uint64_t bytes[ENTRIES + 1];
    uint64_t start, last;
};

static struct pair *new_pair(void)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    memset(&pair->log, 0xa5, sizeof(pair->log));
    log_reset(&pair->log, (raft_index){0}, (raft_term){0});
    return pair;
}

static void append(struct pair *pair, uint64_t term, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = (uint32_t)(pair->last * 7919 % 1000);
        log_append(&pair->log, (raft_term){term}, bytes);
        pair->term[++pair->last] = term;
        pair->bytes[pair->last] = bytes;
    }
}

static void truncate_pair(struct pair *pair, uint64_t index)
{
    log_truncate(&pair->log, (raft_index){index});
    pair->last = index - 1;
}

static void compact(struct pair *pair, uint64_t index)
{
    log_compact(&pair->log, (raft_index){index});
    pair->start = index;
}

static void compare(const struct pair *pair)
{
    log_check(&pair->log);
    must(pair->log.start.n == pair->start && pair->log.last.n == pair->last);
    must(pair->log.start_term.n == pair->term[pair->start]);
    must(log_last_term(&pair->log).n == pair->term[pair->last]);
    for (uint64_t i = pair->start; i <= pair->last; i++)
        must(log_term(&pair->log, (raft_index){i}).n == pair->term[i]);
    uint64_t bytes = 0;
    for (uint64_t i = pair->last; i > pair->start; i--) {
        must(log_bytes(&pair->log, (raft_index){i}, pair->log.last) == bytes);
        bytes += pair->bytes[i];
    }
}

/* What the plain array answers to log_find_term and log_runs. */
static void compare_searches(const struct pair *pair, struct chance *chance)
{
    uint64_t span = pair->last - pair->start;
    uint64_t from = pair->start + chance_below(chance, span + 1);
    uint64_t term = chance_below(chance, pair->term[pair->last] + 2);
    uint64_t at = from;
    while (at > pair->start && pair->term[at] > term)
        at--;
    must(log_find_term(&pair->log, (raft_index){from}, (raft_term){term}).n == at);
    if (span == 0)
        return;
    uint64_t first = pair->start + 1 + chance_below(chance, span);
    uint32_t count = (uint32_t)chance_below(chance, pair->last + 2 - first);
    struct raft_runs runs;
    log_runs(&pair->log, (raft_index){first}, count, &runs);
    uint64_t index = first;
    for (uint32_t i = 0; i < runs.runs; i++) {
        must(i == 0 || runs.at[i - 1].term.n < runs.at[i].term.n);
        must(runs.at[i].count > 0);
        for (uint32_t j = 0; j < runs.at[i].count; j++)
            must(pair->term[index++] == runs.at[i].term.n);
    }
    must(index <= first + count);
    must(index == first + count || runs.runs == RAFT_APPEND_RUNS_MAX);
}

Test(log, knows_the_term_of_every_entry_whatever_is_appended_truncated_and_compacted)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct chance chance = {seed};
        struct pair *pair = new_pair();
        uint64_t term = 0;
        while (pair->last + 8 < ENTRIES) {
            if (chance_below(&chance, 8) == 0)
                compact(pair, pair->start + chance_below(&chance, pair->last - pair->start + 1));
            if (chance_below(&chance, 16) == 0 && pair->last > pair->start)
                truncate_pair(pair,
                              pair->start + 1 + chance_below(&chance, pair->last - pair->start));
            if (chance_below(&chance, 3) == 0)
                term += 1 + chance_below(&chance, 5);
            append(pair, term, 1 + (uint32_t)chance_below(&chance, 8));
            if (chance_below(&chance, 8) == 0)
                compare(pair);
            compare_searches(pair, &chance);
        }
        compare(pair);
        free(pair);
    }
}

Test(log, is_compacted_at_every_index_and_again_at_every_later_one)
{
    static const uint64_t terms[] = {1, 1, 2, 5, 5, 5, 6, 9, 9};
    enum { N = 9 };
    for (uint64_t first = 0; first <= N; first++) {
        for (uint64_t second = first; second <= N; second++) {
            struct pair *pair = new_pair();
            for (unsigned i = 0; i < N; i++)
                append(pair, terms[i], 1);
            compact(pair, first);
            compare(pair);
            compact(pair, second);
            compare(pair);
            append(pair, 9, 2);
            compare(pair);
            append(pair, 12, 1);
            compare(pair);
            free(pair);
        }
    }
}

Test(log, keeps_one_run_for_entries_of_one_term)
{
    struct pair *pair = new_pair();
    append(pair, 4, 10);
    compare(pair);
    must(pair->log.runs == 1);
    free(pair);
}

Test(log, guesses_the_sizes_that_it_forgot)
{
    struct raft_log *log = calloc(1, sizeof(*log));
    log_reset(log, (raft_index){0}, (raft_term){0});
    for (uint32_t i = 0; i < RAFT_SIZES_MAX + 10; i++)
        log_append(log, (raft_term){1}, 3);
    raft_index last = log->last, oldest = {last.n - RAFT_SIZES_MAX + 1};
    cr_assert(eq(u64, log_bytes(log, oldest, last), 3 * (RAFT_SIZES_MAX - 1)));
    oldest.n--;
    cr_assert(
        eq(u64, log_bytes(log, oldest, (raft_index){oldest.n + 2}), 2 * RAFT_SIZE_UNKNOWN_BYTES));
    free(log);
}

Test(log, keeps_the_term_of_the_entry_that_it_was_compacted_to)
{
    struct raft_log *log = calloc(1, sizeof(*log));
    log_reset(log, (raft_index){50}, (raft_term){7});
    log_check(log);
    cr_assert(eq(u64, log_term(log, (raft_index){50}).n, 7));
    cr_assert(eq(u64, log_last_term(log).n, 7));
    for (int i = 0; i < 3; i++)
        log_append(log, (raft_term){7}, 1);
    log_compact(log, (raft_index){53});
    log_check(log);
    cr_assert(eq(u64, log_term(log, (raft_index){53}).n, 7));
    cr_assert(eq(u32, log->runs, 0));
    free(log);
}

Test(log, has_room_for_so_many_terms_and_says_when_not)
{
    struct raft_log *log = calloc(1, sizeof(*log));
    log_reset(log, (raft_index){0}, (raft_term){0});
    for (uint64_t term = 1; term <= RAFT_TERM_RUNS_MAX; term++) {
        must(log_has_room(log, (raft_term){term}));
        log_append(log, (raft_term){term}, 1);
    }
    log_check(log);
    must(log_has_room(log, (raft_term){RAFT_TERM_RUNS_MAX}));
    must(!log_has_room(log, (raft_term){RAFT_TERM_RUNS_MAX + 1}));
    log_compact(log, (raft_index){1});
    must(log_has_room(log, (raft_term){RAFT_TERM_RUNS_MAX + 1}));
    log_check(log);
    free(log);
}

Test(log, does_not_take_a_term_that_goes_back, .signal = SIGABRT)
{
    struct pair *pair = new_pair();
    append(pair, 5, 1);
    append(pair, 4, 1);
}

Test(log, does_not_tell_the_term_of_an_entry_that_it_has_not, .signal = SIGABRT)
{
    struct pair *pair = new_pair();
    append(pair, 5, 3);
    (void)log_term(&pair->log, (raft_index){4});
}
