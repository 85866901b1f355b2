#include "raft/core/log.h"

#include <string.h>

raft_term log_last_term(const struct raft_log *log)
{
    return log->runs > 0 ? log->run[log->runs - 1].term : log->start_term;
}

bool log_has_room(const struct raft_log *log, raft_term term)
{
    bool same_run = log->runs > 0 && term_equal(log_last_term(log), term);
    return same_run || log->runs < RAFT_TERM_RUNS_MAX;
}

static uint64_t *bytes_slot(struct raft_log *log, raft_index index)
{
    return &log->bytes_to[index.n & (RAFT_SIZES_MAX - 1)];
}

void log_append(struct raft_log *log, raft_term term, uint32_t bytes)
{
    assert(!term_less(term, log_last_term(log)));
    assert(log_has_room(log, term));
    if (log->runs == 0 || !term_equal(log_last_term(log), term))
        log->run[log->runs++] = (struct raft_log_run){.first = index_next(log->last), .term = term};
    uint64_t before = *bytes_slot(log, log->last);
    log->last.n++;
    *bytes_slot(log, log->last) = before + bytes;
}

uint64_t log_bytes(const struct raft_log *log, raft_index from, raft_index to)
{
    assert(!index_less(to, from) && !index_less(log->last, to));
    if (log->last.n - from.n >= RAFT_SIZES_MAX)
        return (to.n - from.n) * RAFT_SIZE_UNKNOWN_BYTES;
    return log->bytes_to[to.n & (RAFT_SIZES_MAX - 1)] -
           log->bytes_to[from.n & (RAFT_SIZES_MAX - 1)];
}

void log_truncate(struct raft_log *log, raft_index index)
{
    assert(index_less(log->start, index) && !index_less(log->last, index));
    log->last.n = index.n - 1;
    if (index_equal(log->last, log->start))
        log->runs = 0; /* also one that began before the start */
    while (log->runs > 0 && index_less(log->last, log->run[log->runs - 1].first))
        log->runs--;
}

void log_reset(struct raft_log *log, raft_index start, raft_term start_term)
{
    log->start = start;
    log->start_term = start_term;
    log->last = start;
    log->runs = 0;
    *bytes_slot(log, start) = 0;
}

raft_index log_find_term(const struct raft_log *log, raft_index index, raft_term term)
{
    raft_index at = index_min(index, log->last);
    for (uint32_t i = log->runs; i-- > 0 && index_less(log->start, at);) {
        if (index_less(at, log->run[i].first))
            continue;
        if (!term_less(term, log->run[i].term))
            return at;
        at.n = log->run[i].first.n - 1;
    }
    return index_max(at, log->start);
}

bool log_is_up_to_date(const struct raft_log *log, raft_index index, raft_term term)
{
    return !log_end_less(index, term, log->last, log_last_term(log));
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

void log_runs(const struct raft_log *log, raft_index first, uint32_t count,
              struct raft_runs *ret_runs)
{
    ret_runs->runs = 0;
    while (count > 0 && ret_runs->runs < RAFT_APPEND_RUNS_MAX) {
        uint32_t i = find_run(log, first);
        bool is_last = i + 1 == log->runs;
        uint64_t end = is_last ? log->last.n + 1 : log->run[i + 1].first.n;
        uint64_t here = end - first.n;
        if (here > count)
            here = count;
        ret_runs->at[ret_runs->runs].term = log->run[i].term;
        ret_runs->at[ret_runs->runs++].count = (uint32_t)here;
        count -= (uint32_t)here;
        first.n += here;
    }
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
