#include "raft/core/log.h"

#include <string.h>

void log_init(struct raft_log *log, raft_index start, raft_term start_term)
{
    log->start = start;
    log->start_term = start_term;
    log->last = start;
    log->runs = 0;
}

raft_term log_last_term(const struct raft_log *log)
{
    return log->runs > 0 ? log->run[log->runs - 1].term : log->start_term;
}

bool log_has_room(const struct raft_log *log, raft_term term)
{
    bool same_run = log->runs > 0 && term_equal(log_last_term(log), term);
    return same_run || log->runs < RAFT_TERM_RUNS_MAX;
}

void log_append(struct raft_log *log, raft_term term, uint32_t count)
{
    assert(count > 0);
    assert(!term_less(term, log_last_term(log)));
    assert(log_has_room(log, term));
    if (log->runs == 0 || !term_equal(log_last_term(log), term))
        log->run[log->runs++] = (struct raft_log_run){.first = index_next(log->last), .term = term};
    log->last.n += count;
}

/* The run that holds `index`: the last that begins at or before it. */
static uint32_t find_run(const struct raft_log *log, raft_index index)
{
    assert(log->runs > 0 && !index_less(index, log->run[0].first));
    uint32_t low = 0, high = log->runs; /* run[low].first ≤ index < run[high].first */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (index_less(index, log->run[middle].first))
            high = middle;
        else
            low = middle;
    }
    return low;
}

raft_term log_term(const struct raft_log *log, raft_index index)
{
    assert(!index_less(index, log->start) && !index_less(log->last, index));
    if (index_equal(index, log->start))
        return log->start_term;
    return log->run[find_run(log, index)].term;
}

void log_compact(struct raft_log *log, raft_index index)
{
    raft_term term = log_term(log, index);
    uint32_t gone = 0;
    if (index_equal(index, log->last)) {
        gone = log->runs;
    } else if (log->runs > 0) {
        gone = find_run(log, index_next(index));
    }
    memmove(log->run, log->run + gone, (log->runs - gone) * sizeof(log->run[0]));
    log->runs -= gone;
    log->start = index;
    log->start_term = term;
}

void log_check(const struct raft_log *log)
{
    assert(!index_less(log->last, log->start));
    assert((log->runs == 0) == index_equal(log->last, log->start));
    assert(log->runs == 0 || log->run[0].first.n <= log->start.n + 1);
    for (uint32_t i = 1; i < log->runs; i++) {
        assert(index_less(log->run[i - 1].first, log->run[i].first));
        assert(term_less(log->run[i - 1].term, log->run[i].term));
        assert(log->run[i].first.n > log->start.n + 1);
    }
    assert(log->runs == 0 || !index_less(log->last, log->run[log->runs - 1].first));
}
