#include "tests/crash/stage.h"

#include <stdio.h>
#include <string.h>

static void on_durable(void *context, struct raft_mark mark)
{
    struct stage *stage = context;
    const struct promise *kept = &stage->mark[mark.epoch];
    struct promise *now = &stage->trace->promise;
    assert(kept->facts >= now->facts && kept->votes >= now->votes);
    now->facts = kept->facts;
    now->votes = kept->votes;
}

static void on_failed(void *context, const char *what, int error)
{
    struct stage *stage = context;
    stage->died = stage->trace->operations >= stage->trace->dies_at;
    stage->failed = !stage->died;
    if (stage->failed)
        fprintf(stderr, "%s: %s\n", what, strerror(-error));
}

int stage_open(struct stage *stage, struct trace *trace, struct history *history,
               uint32_t segment_bytes, bool alone)
{
    memset(stage, 0, offsetof(struct stage, mark));
    stage->trace = trace;
    stage->history = history;
    stage->segment_bytes = segment_bytes;
    stage->alone = alone;
    struct wal_options options = {
        .disk = &trace->disk,
        .runner = &trace->runner,
        .node = 1,
        .cluster = "crash",
        .alone = alone,
        .generation = 77,
        .segment_bytes = segment_bytes,
        .on_durable = on_durable,
        .on_failed = on_failed,
        .context = stage,
    };
    int result = wal_open(&options, &stage->wal, &stage->recovered);
    if (result != 0)
        return result;
    stage->last = stage->recovered.last.n;
    stage->term = stage->recovered.hard.term.n;
    stage->recovering = stage->recovered.hard.recovering;
    stage->floor = stage->recovered.hard.floor;
    stage->committed = trace->promise.compacted;
    if (stage->committed < stage->recovered.start.n)
        stage->committed = stage->recovered.start.n;
    return 0;
}

void stage_close(struct stage *stage)
{
    trace_finish_all(stage->trace);
    if (stage->wal != NULL)
        wal_close(stage->wal);
    stage->wal = NULL;
}

/* --- gathering -------------------------------------------------------------------------------- */

/* What was gathered may be on disk from now on, and will be promised when it is durable. */
static void mark(struct stage *stage)
{
    struct promise *now = &stage->trace->promise;
    now->facts_most = stage->history->facts;
    now->votes_most = stage->history->votes - 1;
    assert(stage->marks < STAGE_MARKS);
    stage->mark[stage->marks] =
        (struct promise){.facts = now->facts_most, .votes = now->votes_most};
    wal_mark(stage->wal, (struct raft_mark){
                             .epoch = stage->marks++,
                             .last = {stage->last},
                             .term = {stage->term},
                         });
}

static void add_fact(struct stage *stage, struct fact fact)
{
    history_add(stage->history, fact);
    mark(stage);
}

/* False when the process is gone. */
static bool make_room(struct stage *stage, uint32_t len)
{
    if (!stage->died && wal_room(stage->wal) < wal_entry_bytes(len))
        stage_flush(stage);
    if (stage->died)
        return false;
    assert(wal_room(stage->wal) >= wal_entry_bytes(len));
    return true;
}

void stage_vote(struct stage *stage, uint64_t term, bool voted, uint64_t node)
{
    if (stage->died)
        return;
    stage->term = term;
    history_vote(stage->history, (struct vote){.term = term, .voted = voted, .node = node});
    wal_hard_state(stage->wal, &(struct raft_hard_state){.term = {term},
                                                         .voted = voted,
                                                         .vote = {node},
                                                         .recovering = stage->recovering,
                                                         .floor = stage->floor});
    mark(stage);
}

void stage_append(struct stage *stage, uint32_t count, uint32_t len)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t buffer[HISTORY_ENTRY];
        if (!make_room(stage, len))
            return;
        struct fact fact = {
            .kind = FACT_APPEND,
            .index = ++stage->last,
            .term = stage->term,
            .stamp = ++stage->stamps,
            .len = len,
        };
        wal_append(stage->wal, (raft_index){fact.index}, (raft_term){fact.term}, RAFT_COMMAND,
                   history_payload(fact.stamp, len, buffer));
        add_fact(stage, fact);
    }
}

void stage_truncate(struct stage *stage, uint64_t first_gone)
{
    if (!make_room(stage, 0))
        return;
    uint64_t before = history_term(stage->history, first_gone - 1);
    stage->last = first_gone - 1;
    wal_truncate(stage->wal, (raft_index){first_gone}, (raft_term){before});
    add_fact(stage, (struct fact){.kind = FACT_TRUNCATE, .index = first_gone});
}

void stage_reset(struct stage *stage, uint64_t start, uint64_t term)
{
    if (!make_room(stage, 0))
        return;
    stage->last = stage->committed = start;
    wal_reset(stage->wal, (raft_index){start}, (raft_term){term});
    add_fact(stage, (struct fact){.kind = FACT_RESET, .index = start, .term = term});
}

void stage_compact(struct stage *stage, uint64_t index)
{
    if (stage->died)
        return;
    stage->trace->promise.compacted = stage->committed = index;
    wal_compact(stage->wal, (raft_index){index});
}

void stage_start_flush(struct stage *stage)
{
    wal_flush(stage->wal, false);
}

void stage_flush(struct stage *stage)
{
    trace_finish_all(stage->trace); /* one flush at a time */
    wal_flush(stage->wal, false);
    trace_finish_all(stage->trace);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
    const struct history *history;
    struct found *found;
    char *why;
};

static int take(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                struct bytes payload)
{
    struct reading *reading = context;
    struct found *found = reading->found;
    if (index.n != found->recovered.start.n + found->count + 1 || kind != RAFT_COMMAND ||
        !history_stamp(reading->history, payload, &found->stamp[found->count])) {
        snprintf(reading->why, HISTORY_WHY_BYTES, "nobody ever appended what is read as entry %lu",
                 (unsigned long)index.n);
        return 1;
    }
    found->term[found->count++] = term.n;
    return 0;
}

static bool read_all(struct stage *stage)
{
    struct found *found = &stage->found;
    found->recovered = stage->recovered;
    found->count = 0;
    struct reading reading = {
        .history = stage->trace->promise.history, .found = found, .why = stage->why};
    raft_index first = {stage->recovered.start.n + 1};
    if (index_less(stage->recovered.last, first))
        return true;
    int result = wal_read(stage->wal, first, stage->recovered.last, take, &reading);
    if (result < 0)
        snprintf(stage->why, sizeof(stage->why), "what was recovered cannot be read: %s",
                 strerror(-result));
    return result == 0;
}

/* --- starting again --------------------------------------------------------------------------- */

bool stage_recover(struct stage *stage, struct trace *trace, struct history *history,
                   uint32_t segment_bytes, bool alone)
{
    uint32_t facts, vote;
    const struct raft_hard_state *hard = &stage->recovered.hard;
    int result = stage_open(stage, trace, history, segment_bytes, alone);
    if (result != 0) {
        snprintf(stage->why, sizeof(stage->why), "refused: %s: %s", strerror(-result),
                 stage->recovered.text);
        return false;
    }
    if (!read_all(stage) ||
        !history_judge(&trace->promise, &stage->found, &facts, &vote, stage->why)) {
        stage_close(stage);
        return false;
    }
    /* What is found is what a start builds on: from now on no crash may take it back. */
    history_cut(history, trace->promise.history, facts, vote);
    if (hard->term.n != history->vote[vote].term || hard->voted != history->vote[vote].voted)
        history_vote(history, (struct vote){hard->term.n, hard->voted, hard->vote.n});
    trace->promise = (struct promise){
        .history = history,
        .facts = facts,
        .facts_most = facts,
        .votes = history->votes - 1,
        .votes_most = history->votes - 1,
        .compacted = trace->promise.compacted,
        .recovering = stage->recovering,
        .floor = stage->floor,
    };
    return true;
}

void stage_die_after(struct stage *stage, uint32_t operations)
{
    stage->trace->dies_at = stage->trace->operations + operations;
}

void stage_restart(struct stage *stage)
{
    assert(stage->lives < STAGE_LIVES);
    stage_die_after(stage, 0);
    stage_close(stage);
    stage->trace->dies_at = TRACE_LATE;
    if (!stage_recover(stage, stage->trace, &stage->life[stage->lives++], stage->segment_bytes,
                       stage->alone)) {
        fprintf(stderr, "%s\n", stage->why);
        stage->failed = stage->died = true;
    }
}
