#include "raft/core/log.h"

#include "tests/core/support.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES 400u

/* A log beside the plain array that it stands for: term[i] of entry i, from `start` on. */
struct pair {
    struct raft_log log;
    uint64_t term[ENTRIES + 1];
    uint64_t start, last;
};

static struct pair *new_pair(void)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    memset(&pair->log, 0xa5, sizeof(pair->log));
    log_init(&pair->log, (raft_index){0}, (raft_term){0});
    return pair;
}

static void append(struct pair *pair, uint64_t term, uint32_t count)
{
    log_append(&pair->log, (raft_term){term}, count);
    for (uint32_t i = 0; i < count; i++)
        pair->term[++pair->last] = term;
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
}

Test(log, knows_the_term_of_every_entry_whatever_is_appended_and_compacted)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct chance chance = {seed};
        struct pair *pair = new_pair();
        uint64_t term = 0;
        while (pair->last + 8 < ENTRIES) {
            if (chance_below(&chance, 8) == 0)
                compact(pair, pair->start + chance_below(&chance, pair->last - pair->start + 1));
            if (chance_below(&chance, 3) == 0)
                term += 1 + chance_below(&chance, 5);
            append(pair, term, 1 + (uint32_t)chance_below(&chance, 8));
            if (chance_below(&chance, 8) == 0)
                compare(pair);
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

Test(log, is_the_same_appended_one_by_one_or_together)
{
    struct pair *one = new_pair(), *together = new_pair();
    for (int i = 0; i < 10; i++)
        append(one, 4, 1);
    append(together, 4, 10);
    compare(one);
    compare(together);
    must(one->log.runs == 1 && together->log.runs == 1);
    free(one);
    free(together);
}

Test(log, keeps_the_term_of_the_entry_that_it_was_compacted_to)
{
    struct raft_log *log = calloc(1, sizeof(*log));
    log_init(log, (raft_index){50}, (raft_term){7});
    log_check(log);
    cr_assert(eq(u64, log_term(log, (raft_index){50}).n, 7));
    cr_assert(eq(u64, log_last_term(log).n, 7));
    log_append(log, (raft_term){7}, 3);
    log_compact(log, (raft_index){53});
    log_check(log);
    cr_assert(eq(u64, log_term(log, (raft_index){53}).n, 7));
    cr_assert(eq(u32, log->runs, 0));
    free(log);
}

Test(log, has_room_for_so_many_terms_and_says_when_not)
{
    struct raft_log *log = calloc(1, sizeof(*log));
    log_init(log, (raft_index){0}, (raft_term){0});
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
