/* The contract of raft.h as a whole: start, determinism, and a driver that does anything. */
#include "tests/core/support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int start(struct raft_options options, struct raft_saved saved)
{
    struct raft *raft;
    void *memory = malloc(raft_size());
    int result = raft_init(memory, &options, &saved, &raft);
    free(memory);
    return result;
}

Test(raft, refuses_to_start_from_what_cannot_be)
{
    const struct raft_options good = {.self = {1}, .election_ms = 100, .heartbeat_ms = 20};
    struct raft_options options = good;
    struct raft_saved saved = saved_nothing();
    cr_assert(eq(int, start(options, saved), 0));
    options.self.n = 0;
    cr_assert(eq(int, start(options, saved), -EINVAL), "node 0");
    options.self.n = 2;
    cr_assert(eq(int, start(options, saved), 0), "whoever is no voter waits to become one");
    options = good;
    options.heartbeat_ms = 0;
    cr_assert(eq(int, start(options, saved), -EINVAL), "a leader that is never heard");
    options.heartbeat_ms = 21;
    cr_assert(eq(int, start(options, saved), -EINVAL), "one lost heartbeat is an election");
    options = good;
    options.election_ms = 0;
    cr_assert(eq(int, start(options, saved), -EINVAL), "no timeout");
    saved.configuration.voters = 0;
    cr_assert(eq(int, start(good, saved), -EINVAL), "nobody votes");
    saved.configuration.voters = RAFT_MEMBERS_MAX + 1;
    cr_assert(eq(int, start(good, saved), -EINVAL), "too many");
    saved.configuration = (struct raft_configuration){.voters = 2, .voter = {{1}, {1}}};
    cr_assert(eq(int, start(good, saved), -EINVAL), "one node twice");
    saved.configuration = (struct raft_configuration){.voters = 2, .voter = {{1}, {0}}};
    cr_assert(eq(int, start(good, saved), -EINVAL), "node 0 votes");
    saved.configuration =
        (struct raft_configuration){.voters = 1, .voter = {{1}}, .learners = 1, .learner = {{1}}};
    cr_assert(eq(int, start(good, saved), -EINVAL), "voter and learner at once");
    saved.configuration = (struct raft_configuration){
        .voters = 1, .voter = {{1}}, .outgoing = 2, .outgoing_voter = {{2}, {2}}};
    cr_assert(eq(int, start(good, saved), -EINVAL), "one outgoing voter twice");
    saved.configuration = (struct raft_configuration){.voters = 3, .voter = {{1}, {2}, {3}}};
    cr_assert(eq(int, start(good, saved), 0));
    saved = saved_nothing();
    saved.log_start.n = 5;
    saved.snapshot_index.n = 4;
    cr_assert(eq(int, start(good, saved), -EINVAL), "the log begins after the snapshot");
    saved.snapshot_index.n = 5;
    saved.log_start_term.n = 3;
    saved.hard.term.n = 2;
    cr_assert(eq(int, start(good, saved), -EINVAL), "a term above the current one");
    saved.hard.term.n = 3;
    cr_assert(eq(int, start(good, saved), 0));
}

Test(raft, refuses_entries_whose_terms_go_back_or_ahead)
{
    struct raft_saved saved = saved_nothing();
    saved.hard.term.n = 5;
    saved.log_start_term.n = 2;
    struct node node = node_start(&saved, NULL, 0);
    cr_assert(eq(int, raft_restore_entry(node.raft, (raft_term){1}, 10, NULL), -EINVAL));
    cr_assert(eq(int, raft_restore_entry(node.raft, (raft_term){3}, 10, NULL), 0));
    cr_assert(eq(int, raft_restore_entry(node.raft, (raft_term){2}, 10, NULL), -EINVAL));
    cr_assert(eq(int, raft_restore_entry(node.raft, (raft_term){6}, 10, NULL), -EINVAL));
    cr_assert(eq(int, raft_restore_entry(node.raft, (raft_term){5}, 10, NULL), 0));
    raft_check(node.raft);
    cr_assert(eq(u64, raft_status(node.raft).last.n, 2));
    node_free(&node);
}

Test(raft, refuses_more_terms_than_it_has_room_for)
{
    struct raft_saved saved = saved_nothing();
    saved.hard.term.n = RAFT_TERM_RUNS_MAX + 1;
    struct node node = node_start(&saved, NULL, 0);
    for (uint64_t term = 1; term <= RAFT_TERM_RUNS_MAX; term++)
        must(raft_restore_entry(node.raft, (raft_term){term}, 10, NULL) == 0);
    cr_assert(eq(int, raft_restore_entry(node.raft, (raft_term){RAFT_TERM_RUNS_MAX + 1}, 10, NULL),
                 -ENOBUFS));
    node_free(&node);
}

Test(raft, does_not_take_a_mark_of_a_term_that_is_not_yet, .signal = SIGABRT)
{
    struct node node = node_leader();
    node_persisted(&node, (struct raft_mark){.term = {2}});
}

Test(raft, does_not_take_time_that_goes_back, .signal = SIGABRT)
{
    struct node node = node_leader();
    node.now_ms--;
    node_tick(&node);
}

/* --- a driver that does anything -------------------------------------------------------------- */

#define LIVES   8
#define STEPS   120
#define ENTRIES 4096u
#define PENDING 512u

/* What storage has, what is on its way there, and what the world was told. */
struct world {
    struct chance chance;
    struct node node;
    struct raft_saved saved;   /* the hard state that is durable, the beginning of the log */
    uint64_t term[ENTRIES];    /* of every entry up to `written` */
    uint64_t durable, written; /* entries; raft was told of `durable` */
    uint64_t applied;          /* handed out in this life */
    uint64_t applied_ever;     /* in any: these may never change */
    uint64_t fixed[ENTRIES];   /* their terms */
    struct raft_persist persist[PENDING]; /* not durable yet, in order */
    uint32_t persists;
    uint64_t reads_asked, reads_done;
    uint64_t led; /* the last term led */
};

static void note_persist(struct world *world)
{
    const struct raft_persist *persist = &world->node.out.persist;
    if (!persist->wanted)
        return;
    must(world->persists < PENDING);
    world->persist[world->persists++] = *persist;
    uint32_t count = raft_runs_entries(&persist->entries);
    must(!persist->reset && !persist->truncate);
    must(persist->mark.last.n == world->written + count);
    must(persist->hard_state || persist->hard.term.n == raft_status(world->node.raft).term.n);
    if (count == 0)
        return;
    uint64_t term = persist->entries.at[0].term.n;
    must(persist->entries.runs == 1);
    must(persist->first.n == world->written + 1);
    must(persist->kind == RAFT_NOOP || persist->kind == RAFT_COMMAND);
    if (persist->kind == RAFT_NOOP) {
        must(term > world->led); /* one leader a term */
        world->led = term;
    }
    must(term == world->led);
    must(persist->from == (persist->kind == RAFT_NOOP ? RAFT_FROM_CORE : RAFT_FROM_PROPOSAL));
    for (uint32_t i = 0; i < count; i++)
        world->term[++world->written] = term;
}

static void note_apply(struct world *world)
{
    uint64_t first = world->node.out.apply.first.n, last = world->node.out.apply.last.n;
    must(first == world->applied + 1);
    must(last + 1 >= first && last <= world->durable); /* never before it is durable */
    for (uint64_t i = first; i <= last; i++) {
        if (i <= world->applied_ever)
            must(world->fixed[i] == world->term[i]); /* a committed entry never changes */
        world->fixed[i] = world->term[i];
    }
    must(last < first || world->term[last] == raft_status(world->node.raft).term.n);
    world->applied = last;
    if (world->applied_ever < last)
        world->applied_ever = last;
}

static void note_verdicts(struct world *world)
{
    for (uint32_t i = 0; i < world->node.out.results.count; i++) {
        const struct raft_result *result = &world->node.out.results.at[i];
        if (result->kind == RAFT_ACCEPTED) {
            must(result->accepted.first.n + result->accepted.count - 1 == world->written);
        } else if (result->kind == RAFT_READ_READY) {
            must(result->read_ready.token == ++world->reads_done);
            must(result->read_ready.index.n >= world->applied_ever); /* nothing told is unseen */
            must(result->read_ready.index.n <= world->applied);
            must(raft_status(world->node.raft).settled);
        } else if (result->kind == RAFT_READ_REFUSED) {
            must(result->read_refused.token == ++world->reads_done);
        }
    }
}

static void note_output(struct world *world)
{
    note_persist(world);
    note_apply(world);
    note_verdicts(world);
}

/* `count` persists reach storage; raft hears of the last. */
static struct raft_mark make_durable(struct world *world, uint32_t count)
{
    struct raft_persist last = world->persist[count - 1];
    for (uint32_t i = 0; i < count; i++) {
        const struct raft_persist *persist = &world->persist[i];
        if (persist->hard_state) {
            must(persist->hard.term.n > world->saved.hard.term.n); /* forward, one vote a term */
            world->saved.hard.term = persist->hard.term;
            world->saved.hard.voted = persist->hard.voted;
            world->saved.hard.vote = persist->hard.vote;
        }
        world->durable += raft_runs_entries(&persist->entries);
    }
    world->persists -= count;
    memmove(world->persist, world->persist + count, world->persists * sizeof(last));
    return last.mark;
}

static void restart(struct world *world)
{
    if (world->persists > 0 && chance_below(&world->chance, 2) == 0)
        (void)make_durable(world, 1 + (uint32_t)chance_below(&world->chance, world->persists));
    world->persists = 0;
    world->written = world->durable;
    if (world->node.raft != NULL)
        node_free(&world->node);
    uint64_t start = world->saved.log_start.n;
    world->saved.log_start_term.n = start > 0 ? world->term[start] : 0;
    world->saved.snapshot_index.n = start;
    if (world->applied_ever > start)
        world->saved.snapshot_index.n +=
            chance_below(&world->chance, world->applied_ever - start + 1);
    world->applied = world->saved.snapshot_index.n;
    world->reads_asked = world->reads_done = 0;
    world->node = node_start(&world->saved, world->term + start + 1, world->durable - start);
    raft_check(world->node.raft);
}

static void do_anything(struct world *world)
{
    struct chance *chance = &world->chance;
    uint64_t dice = chance_below(chance, 12);
    world->node.now_ms += chance_below(chance, 30);
    if (dice < 3 && world->persists > 0) {
        uint32_t count = 1 + (uint32_t)chance_below(chance, world->persists);
        node_persisted(&world->node, make_durable(world, count));
    } else if (dice < 5) {
        node_read(&world->node, ++world->reads_asked);
    } else if (dice < 7) {
        node_tick(&world->node);
    } else if (dice == 7 && world->applied > world->saved.log_start.n) {
        uint64_t held = world->applied - world->saved.log_start.n;
        world->saved.log_start.n += 1 + chance_below(chance, held);
        node_compacted(&world->node, world->saved.log_start.n);
    } else {
        uint32_t count = 1 + (uint32_t)chance_below(chance, 4);
        if (world->written + 8 > ENTRIES || world->persists + 2 > PENDING)
            return;
        node_propose(&world->node, count, chance_below(chance, RAFT_UNCOMMITTED_BYTES_MAX / 16));
    }
    note_output(world);
}

Test(raft, keeps_its_promises_under_any_driver_and_any_crash)
{
    uint64_t applied = 0, led = 0;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct world *world = calloc(1, sizeof(*world));
        world->chance.state = seed;
        world->saved = saved_nothing();
        for (int life = 0; life < LIVES; life++) {
            restart(world);
            for (int i = 0; i < STEPS; i++)
                do_anything(world);
        }
        applied += world->applied_ever;
        led += world->led;
        node_free(&world->node);
        free(world);
    }
    cr_assert(gt(u64, applied, 100000), "the driver must get somewhere");
    cr_assert(gt(u64, led, 10000));
}

/* --- determinism ------------------------------------------------------------------------------ */

static bool verdicts_equal(const struct raft_result *a, const struct raft_result *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case RAFT_ACCEPTED:
        return index_equal(a->accepted.first, b->accepted.first) &&
               term_equal(a->accepted.term, b->accepted.term) &&
               a->accepted.count == b->accepted.count;
    case RAFT_PROPOSAL_REFUSED:
        return a->refused.why == b->refused.why;
    case RAFT_READ_READY:
        return a->read_ready.token == b->read_ready.token &&
               index_equal(a->read_ready.index, b->read_ready.index);
    case RAFT_READ_REFUSED:
        return a->read_refused.token == b->read_refused.token &&
               a->read_refused.why == b->read_refused.why;
    case RAFT_SEND_SNAPSHOT:
        return node_id_equal(a->send_snapshot.to, b->send_snapshot.to);
    case RAFT_ROLLED_BACK:
        return node_id_equal(a->rolled_back.node, b->rolled_back.node);
    case RAFT_DIVERGED:
        return node_id_equal(a->diverged.node, b->diverged.node);
    }
    return false;
}

static bool marks_equal(struct raft_mark a, struct raft_mark b)
{
    return a.epoch == b.epoch && index_equal(a.last, b.last) && term_equal(a.term, b.term) &&
           a.voted == b.voted;
}

static bool runs_equal(const struct raft_runs *a, const struct raft_runs *b)
{
    if (a->runs != b->runs)
        return false;
    for (uint32_t i = 0; i < a->runs; i++) {
        if (!term_equal(a->at[i].term, b->at[i].term) || a->at[i].count != b->at[i].count)
            return false;
    }
    return true;
}

static bool persists_equal(const struct raft_persist *a, const struct raft_persist *b)
{
    if (a->wanted != b->wanted || a->hard_state != b->hard_state ||
        !runs_equal(&a->entries, &b->entries))
        return false;
    if (!a->wanted)
        return true;
    bool entries = a->entries.runs == 0 ||
                   (a->kind == b->kind && a->from == b->from && index_equal(a->first, b->first));
    return entries && a->reset == b->reset && a->truncate == b->truncate &&
           term_equal(a->hard.term, b->hard.term) && a->hard.voted == b->hard.voted &&
           node_id_equal(a->hard.vote, b->hard.vote) && marks_equal(a->mark, b->mark);
}

static bool outputs_equal(const struct raft_output *a, const struct raft_output *b)
{
    if (!persists_equal(&a->persist, &b->persist) || a->results.count != b->results.count ||
        a->sends.count != b->sends.count)
        return false;
    for (uint32_t i = 0; i < a->results.count; i++) {
        if (!verdicts_equal(&a->results.at[i], &b->results.at[i]))
            return false;
    }
    return index_equal(a->apply.first, b->apply.first) &&
           index_equal(a->apply.last, b->apply.last) && a->deadline_ms == b->deadline_ms;
}

Test(raft, answers_the_same_events_with_the_same_outputs)
{
    struct world *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
    for (uint64_t seed = 1; seed <= 200; seed++) {
        memset(a, 0, sizeof(*a));
        memset(b, 0, sizeof(*b));
        a->chance.state = b->chance.state = seed;
        a->saved = b->saved = saved_nothing();
        for (int life = 0; life < LIVES; life++) {
            restart(a);
            restart(b);
            for (int i = 0; i < STEPS; i++) {
                do_anything(a);
                do_anything(b);
                must(outputs_equal(&a->node.out, &b->node.out));
            }
        }
        node_free(&a->node);
        node_free(&b->node);
    }
    free(a);
    free(b);
}

/* A node that was started so often without a snapshot: every start is a term. */
static struct raft_status started_often(void *memory, uint32_t times)
{
    struct raft_options options = {.self = {1}, .election_ms = 100, .heartbeat_ms = 10, .seed = 1};
    struct raft_saved saved = {.hard.term = {times},
                               .configuration = {.voters = 1, .voter = {{1}}}};
    struct raft *raft;
    cr_assert_eq(raft_init(memory, &options, &saved, &raft), 0);
    for (uint32_t i = 1; i <= times; i++)
        cr_assert_eq(raft_restore_entry(raft, (raft_term){i}, 10, NULL), 0);
    raft_check(raft);
    return raft_status(raft);
}

Test(raft, says_when_its_log_is_crowded_with_terms_and_when_it_is_stuck)
{
    void *memory = calloc(1, raft_size());
    cr_assert_not(started_often(memory, RAFT_TERM_RUNS_MAX / 2).log_nearly_full);
    cr_assert(started_often(memory, RAFT_TERM_RUNS_MAX / 2 + 1).log_nearly_full);
    cr_assert_not(started_often(memory, RAFT_TERM_RUNS_MAX - 1).log_full);
    cr_assert(started_often(memory, RAFT_TERM_RUNS_MAX).log_full);
    free(memory);
}
