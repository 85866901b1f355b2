#include "tests/core/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 4096
#define FLUSHES  512
#define READS    256

#define REQUIRE(what)                                                                            \
    do {                                                                                         \
        if (!(what)) {                                                                           \
            fprintf(stderr, "seed %llu, ms %llu: broken: %s (%s:%d)\n",                          \
                    (unsigned long long)c->seed, (unsigned long long)c->now_ms, #what, __FILE__, \
                    __LINE__);                                                                   \
            abort();                                                                             \
        }                                                                                        \
    } while (0)

/* An entry as a disk has it. `value` says which proposal it is. */
struct cell {
    uint64_t term;
    uint64_t value;
    bool is_configuration;
    struct raft_configuration configuration;
};

struct disk_state {
    uint64_t term;
    bool voted;
    uint64_t vote;
    uint64_t start, start_term, last;
    struct raft_configuration start_configuration;
    struct cell cell[CLUSTER_ENTRIES];
};

struct flush {
    uint64_t due_ms;
    struct raft_persist persist;
    uint64_t values[RAFT_APPEND_ENTRIES_MAX];
    struct raft_configuration configuration;
    bool is_configuration;
};

struct node {
    uint32_t id;
    bool up;
    void *memory;
    struct raft *raft;
    uint64_t deadline_ms;
    struct disk_state *durable; /* what a crash leaves */
    struct disk_state *now;     /* with what is being flushed */
    uint32_t flushes;
    struct flush flush[FLUSHES];
    uint64_t applied;
    uint64_t snapshot;
    uint64_t snapshot_term;
    struct raft_configuration snapshot_configuration;
    uint64_t vote_in_term[4096]; /* by term: every vote it ever had on disk */
};

struct flying {
    uint64_t due_ms;
    struct raft_message message;
    uint64_t values[RAFT_APPEND_ENTRIES_MAX];
    struct raft_configuration configuration;
    bool is_configuration;
    bool is_snapshot; /* not a message of the core's: the driver's transfer */
    uint64_t index, term;
};

struct asked {
    uint64_t token;
    uint32_t node;
    uint64_t floor; /* committed when it was asked */
};

struct cluster {
    uint64_t seed, random, now_ms;
    uint32_t nodes;
    struct node node[CLUSTER_NODES + 1]; /* by id */
    bool cut[CLUSTER_NODES + 1][CLUSTER_NODES + 1];
    uint32_t messages;
    struct flying *flying;
    struct cluster_faults faults;
    uint64_t values; /* proposals made */
    uint64_t committed;
    struct cell history[CLUSTER_ENTRIES]; /* what was applied first at each index */
    uint64_t leader_of[4096];             /* by term */
    uint64_t steps, reads_done, elections;
    uint64_t tokens;
    uint32_t asked;
    struct asked ask[READS];
};

static uint64_t draw_random(struct cluster *c)
{
    uint64_t z = (c->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t below(struct cluster *c, uint32_t limit)
{
    return limit == 0 ? 0 : (uint32_t)(draw_random(c) % limit);
}

static bool chance(struct cluster *c, uint32_t of_10000)
{
    return below(c, 10000) < of_10000;
}

/* --- disks
 * ----------------------------------------------------------------------------------------*/

static void disk_apply(struct cluster *c, struct disk_state *disk, const struct flush *f)
{
    const struct raft_persist *p = &f->persist;
    if (p->hard_state) {
        disk->term = p->term.n;
        disk->voted = p->voted;
        disk->vote = p->vote.n;
    }
    if (p->reset) {
        disk->start = disk->last = p->reset_index.n;
        disk->start_term = p->reset_term.n;
        disk->start_configuration = f->configuration;
    }
    if (p->truncate)
        disk->last = p->first_gone.n - 1;
    uint64_t index = p->first.n;
    uint32_t place = 0;
    for (uint32_t i = 0; i < p->entries.runs; i++) {
        for (uint32_t j = 0; j < p->entries.at[i].count; j++, index++, place++) {
            REQUIRE(index == disk->last + 1 && index < CLUSTER_ENTRIES);
            disk->cell[index] = (struct cell){
                .term = p->entries.at[i].term.n,
                .value = f->values[place],
                .is_configuration = f->is_configuration,
                .configuration = f->configuration,
            };
            disk->last = index;
        }
    }
}

static void note_vote(struct cluster *c, struct node *n)
{
    const struct disk_state *d = n->durable;
    if (!d->voted)
        return;
    REQUIRE(d->term < 4096);
    REQUIRE(n->vote_in_term[d->term] == 0 || n->vote_in_term[d->term] == d->vote);
    n->vote_in_term[d->term] = d->vote;
}

/* --- network
 * --------------------------------------------------------------------------------------*/

static struct flying *new_flying(struct cluster *c)
{
    if (c->messages == MESSAGES)
        return NULL; /* lost: a network has its limits */
    struct flying *f = &c->flying[c->messages++];
    f->due_ms = c->now_ms + below(c, c->faults.delay_ms + 1);
    f->is_configuration = f->is_snapshot = false;
    return f;
}

static void send_one(struct cluster *c, struct node *from, const struct raft_message *m)
{
    if (c->cut[from->id][m->to.n] || below(c, 100) < c->faults.lose)
        return;
    struct flying *f = new_flying(c);
    if (f == NULL)
        return;
    f->message = *m;
    if (m->kind != RAFT_APPEND)
        return;
    uint32_t count = raft_runs_entries(&m->append.entries);
    for (uint32_t i = 0; i < count; i++) {
        const struct cell *cell = &from->now->cell[m->append.prev.n + 1 + i];
        REQUIRE(m->append.prev.n + 1 + i <= from->now->last);
        f->values[i] = cell->value;
        if (cell->is_configuration) {
            REQUIRE(count == 1);
            f->is_configuration = true;
            f->configuration = cell->configuration;
        }
    }
}

/* --- invariants
 * -----------------------------------------------------------------------------------*/

static void apply(struct cluster *c, struct node *n, uint64_t index)
{
    const struct cell *cell = &n->now->cell[index];
    REQUIRE(index == n->applied + 1 && index <= n->now->last);
    n->applied = index;
    if (index <= c->committed) {
        REQUIRE(c->history[index].term == cell->term && c->history[index].value == cell->value);
        return;
    }
    REQUIRE(index == c->committed + 1);
    c->history[index] = *cell;
    c->committed = index;
    if (!cell->is_configuration && c->nodes == 1)
        REQUIRE(n->durable->last >= index);
}

static void check_leader_of(struct cluster *c, struct node *n)
{
    struct raft_status status = raft_status(n->raft);
    if (status.role != RAFT_LEADER)
        return;
    REQUIRE(status.term.n < 4096);
    if (c->leader_of[status.term.n] == n->id)
        return;
    REQUIRE(c->leader_of[status.term.n] == 0);
    c->leader_of[status.term.n] = n->id;
    c->elections++;
    for (uint64_t i = n->now->start + 1; i <= c->committed; i++) {
        REQUIRE(i <= n->now->last);
        REQUIRE(n->now->cell[i].term == c->history[i].term &&
                n->now->cell[i].value == c->history[i].value);
    }
}

static bool majority_has(const struct cluster *c, const raft_node_id *voter, uint32_t voters,
                         uint64_t index)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < voters; i++) {
        const struct disk_state *d = c->node[voter[i].n].durable;
        have += d->last >= index &&
                (index <= d->start || d->cell[index].term == c->history[index].term);
    }
    return have > voters / 2;
}

/* The step moved the commit index of a leader: a majority of who decides now has it on disk. */
static void check_durable(struct cluster *c, struct node *n, uint64_t commit_before,
                          const struct raft_configuration *who)
{
    struct raft_status status = raft_status(n->raft);
    if (status.role != RAFT_LEADER || status.commit.n == commit_before)
        return;
    REQUIRE(majority_has(c, who->voter, who->voters, status.commit.n));
    REQUIRE(who->outgoing == 0 ||
            majority_has(c, who->outgoing_voter, who->outgoing, status.commit.n));
}

/* --- steps
 * ----------------------------------------------------------------------------------------*/

static void start_snapshot(struct cluster *c, struct node *n, uint64_t to)
{
    struct flying *f = new_flying(c);
    REQUIRE(f != NULL && n->snapshot > 0);
    f->is_snapshot = true;
    f->message.from.n = n->id;
    f->message.to.n = to;
    f->index = n->snapshot;
    f->term = n->snapshot_term;
    f->configuration = n->snapshot_configuration;
}

static void end_read(struct cluster *c, uint64_t token, bool granted, uint64_t index)
{
    for (uint32_t i = 0; i < c->asked; i++) {
        if (c->ask[i].token != token)
            continue;
        if (granted) {
            REQUIRE(index >= c->ask[i].floor);
            c->reads_done++;
        }
        c->ask[i] = c->ask[--c->asked];
        return;
    }
    REQUIRE(!"a read was answered twice, or never asked");
}

static void step(struct cluster *c, struct node *n, const struct raft_event *event,
                 const uint64_t *values, const struct raft_configuration *configuration)
{
    static struct raft_output out;
    struct raft_event stamped = *event;
    stamped.now_ms = c->now_ms;
    c->steps++;
    uint64_t commit_before = raft_status(n->raft).commit.n;
    const struct raft_configuration who = *raft_configuration(n->raft);
    raft_step(n->raft, &stamped, &out);
    raft_check(n->raft);
    n->deadline_ms = out.deadline_ms;
    if (out.persist.wanted) {
        REQUIRE(n->flushes < FLUSHES);
        struct flush *f = &n->flush[n->flushes++];
        f->due_ms = c->now_ms + below(c, c->faults.disk_ms + 1);
        f->persist = out.persist;
        f->is_configuration = configuration != NULL && !out.persist.reset;
        uint32_t count = raft_runs_entries(&out.persist.entries);
        uint32_t skip = 0;
        if (out.persist.from == RAFT_FROM_MESSAGE)
            skip = raft_runs_entries(&event->received.message->append.entries) - count;
        for (uint32_t i = 0; i < count; i++)
            f->values[i] = out.persist.from == RAFT_FROM_CORE ? 0 : values[skip + i];
        if (configuration != NULL)
            f->configuration = *configuration;
        if (out.persist.from == RAFT_FROM_CORE && out.persist.kind == RAFT_CONFIGURATION) {
            f->is_configuration = true;
            f->configuration = out.persist.configuration;
        } else if (out.persist.from == RAFT_FROM_CORE && count > 0) {
            f->is_configuration = false;
        }
        disk_apply(c, n->now, f);
        if (f->due_ms < (n->flushes > 1 ? n->flush[n->flushes - 2].due_ms : 0))
            f->due_ms = n->flush[n->flushes - 2].due_ms; /* a disk keeps the order */
    }
    if (out.persist.reset)
        n->applied = out.persist.reset_index.n;
    for (uint32_t i = 0; i < out.sends.count; i++) {
        send_one(c, n, &out.sends.at[i]);
        if (below(c, 100) < c->faults.twice)
            send_one(c, n, &out.sends.at[i]);
    }
    for (uint64_t i = out.apply.first.n; i <= out.apply.last.n; i++)
        apply(c, n, i);
    for (uint32_t i = 0; i < out.verdicts.count; i++) {
        const struct raft_verdict *v = &out.verdicts.at[i];
        switch (v->kind) {
        case RAFT_ACCEPTED:
        case RAFT_PROPOSAL_REFUSED:
            break;
        case RAFT_READ_READY:
            end_read(c, v->read_ready.token, true, v->read_ready.index.n);
            break;
        case RAFT_READ_REFUSED:
            end_read(c, v->read_refused.token, false, 0);
            break;
        case RAFT_SEND_SNAPSHOT:
            start_snapshot(c, n, v->send_snapshot.to.n);
            break;
        }
    }
    check_leader_of(c, n);
    check_durable(c, n, commit_before, &who);
}

static void tick(struct cluster *c, struct node *n)
{
    step(c, n, &(struct raft_event){.kind = RAFT_TICKED}, NULL, NULL);
}

void cluster_start(struct cluster *c, uint32_t id)
{
    struct node *n = &c->node[id];
    REQUIRE(!n->up);
    *n->now = *n->durable;
    const struct disk_state *d = n->durable;
    struct raft_options options = {
        .self = {id}, .election_ms = 150, .heartbeat_ms = 20, .seed = draw_random(c)};
    uint64_t state = n->snapshot > d->start ? n->snapshot : d->start;
    REQUIRE(state <= d->last);
    struct raft_saved saved = {
        .term = {d->term},
        .voted = d->voted,
        .vote = {d->vote},
        .snapshot_index = {state},
        .log_start = {d->start},
        .log_start_term = {d->start_term},
        .configuration = d->start_configuration,
    };
    REQUIRE(raft_init(n->memory, &options, &saved, &n->raft) == 0);
    for (uint64_t i = d->start + 1; i <= d->last; i++)
        REQUIRE(raft_restore_entry(n->raft, (raft_term){d->cell[i].term}, 10,
                                   d->cell[i].is_configuration ? &d->cell[i].configuration
                                                               : NULL) == 0);
    n->applied = state;
    n->up = true;
    n->flushes = 0;
    tick(c, n);
}

void cluster_crash(struct cluster *c, uint32_t id)
{
    struct node *n = &c->node[id];
    if (!n->up)
        return;
    n->up = false;
    n->flushes = 0;
    uint32_t kept = 0; /* whoever asked there never hears */
    for (uint32_t i = 0; i < c->asked; i++) {
        if (c->ask[i].node != id)
            c->ask[kept++] = c->ask[i];
    }
    c->asked = kept;
}

static void flush_due(struct cluster *c, struct node *n)
{
    uint32_t done = 0;
    struct raft_mark mark;
    while (done < n->flushes && n->flush[done].due_ms <= c->now_ms) {
        disk_apply(c, n->durable, &n->flush[done]);
        note_vote(c, n);
        mark = n->flush[done].persist.mark;
        done++;
    }
    if (done == 0)
        return;
    n->flushes -= done;
    memmove(n->flush, n->flush + done, n->flushes * sizeof(n->flush[0]));
    struct raft_event event = {.kind = RAFT_PERSISTED, .persisted = {.mark = mark}};
    step(c, n, &event, NULL, NULL);
}

/* The driver's duty: the sender hears how a snapshot ended, also when it never arrived. */
static void snapshot_ended(struct cluster *c, const struct flying *f, bool installed)
{
    struct node *from = &c->node[f->message.from.n];
    struct raft_event sent = {
        .kind = RAFT_SNAPSHOT_SENT,
        .snapshot_sent = {.to = f->message.to, .installed = installed, .index = {f->index}}};
    if (from->up)
        step(c, from, &sent, NULL, NULL);
}

static void receive(struct cluster *c, struct flying *f)
{
    struct node *n = &c->node[f->message.to.n];
    if (!n->up || c->cut[f->message.from.n][f->message.to.n]) {
        if (f->is_snapshot)
            snapshot_ended(c, f, false);
        return;
    }
    if (f->is_snapshot) {
        struct raft_event event = {
            .kind = RAFT_SNAPSHOT_INSTALLED,
            .snapshot_installed = {.index = {f->index},
                                   .term = {f->term},
                                   .configuration = &f->configuration},
        };
        if (f->index > raft_status(n->raft).commit.n && f->term <= raft_status(n->raft).term.n) {
            n->snapshot = f->index; /* its own store has it first */
            n->snapshot_term = f->term;
            n->snapshot_configuration = f->configuration;
            /* A crash before the RESET is durable: the log then starts from the snapshot. */
            n->durable->start = n->durable->last = f->index;
            n->durable->start_term = f->term;
            n->durable->start_configuration = f->configuration;
            n->flushes = 0;
            uint64_t term = n->now->term, vote = n->now->vote;
            bool voted = n->now->voted;
            n->durable->term = term;
            n->durable->voted = voted;
            n->durable->vote = vote;
            note_vote(c, n);
        }
        step(c, n, &event, NULL, &f->configuration);
        snapshot_ended(c, f, true);
        return;
    }
    uint32_t bytes[RAFT_APPEND_ENTRIES_MAX];
    for (uint32_t i = 0; i < RAFT_APPEND_ENTRIES_MAX; i++)
        bytes[i] = 10;
    struct raft_event event = {
        .kind = RAFT_RECEIVED,
        .received = {.message = &f->message,
                     .bytes = bytes,
                     .configuration = f->is_configuration ? &f->configuration : NULL},
    };
    step(c, n, &event, f->values, f->is_configuration ? &f->configuration : NULL);
}

static void deliver_due(struct cluster *c)
{
    static struct flying f;
    for (uint32_t i = 0; i < c->messages;) {
        uint32_t at = i;
        if (c->flying[at].due_ms > c->now_ms) {
            i++;
            continue;
        }
        f = c->flying[at];
        c->flying[at] = c->flying[--c->messages];
        receive(c, &f);
    }
}

static void propose_somewhere(struct cluster *c)
{
    struct node *n = &c->node[1 + below(c, c->nodes)];
    if (!n->up || n->now->last + 64 > CLUSTER_ENTRIES)
        return;
    uint32_t count = 1 + below(c, 4);
    uint32_t bytes[4] = {10, 10, 10, 10};
    uint64_t values[4];
    for (uint32_t i = 0; i < count; i++)
        values[i] = ++c->values;
    struct raft_event event = {.kind = RAFT_PROPOSED, .proposed = {.count = count, .bytes = bytes}};
    step(c, n, &event, values, NULL);
}

static void read_somewhere(struct cluster *c)
{
    struct node *n = &c->node[1 + below(c, c->nodes)];
    if (!n->up || c->asked == READS)
        return;
    c->ask[c->asked++] = (struct asked){.token = ++c->tokens, .node = n->id, .floor = c->committed};
    struct raft_event event = {.kind = RAFT_READ_ASKED, .read_asked = {.token = c->tokens}};
    step(c, n, &event, NULL, NULL);
}

static void compact_somewhere(struct cluster *c)
{
    struct node *n = &c->node[1 + below(c, c->nodes)];
    if (!n->up || n->applied == 0 || n->applied <= n->durable->start || n->flushes > 0)
        return;
    uint64_t index = n->durable->start + 1 + below(c, (uint32_t)(n->applied - n->durable->start));
    if (index > n->durable->last || raft_status(n->raft).durable.n < index)
        return;
    n->snapshot = index;
    n->snapshot_term = n->now->cell[index].term;
    n->snapshot_configuration = *raft_configuration_at(n->raft, (raft_index){index});
    struct disk_state *states[2] = {n->durable, n->now};
    for (int i = 0; i < 2; i++) {
        states[i]->start = index;
        states[i]->start_term = n->snapshot_term;
        states[i]->start_configuration = n->snapshot_configuration;
    }
    struct raft_event event = {.kind = RAFT_COMPACTED, .compacted = {.index = {index}}};
    step(c, n, &event, NULL, NULL);
}

static void change_somewhere(struct cluster *c)
{
    uint32_t leader = cluster_leader(c);
    if (leader == 0)
        return;
    struct node *n = &c->node[leader];
    struct raft_configuration next = *raft_configuration(n->raft);
    if (next.outgoing > 0 || n->now->last + 64 > CLUSTER_ENTRIES)
        return;
    bool joint = below(c, 2) == 0;
    if (joint) {
        memcpy(next.outgoing_voter, next.voter, sizeof(next.voter));
        next.outgoing = next.voters;
    }
    uint32_t wanted = 1 + below(c, c->nodes);
    if (joint) {
        next.voters = 0;
        for (uint32_t i = 1; i <= c->nodes; i++) {
            if (i == wanted || below(c, 3) > 0)
                next.voter[next.voters++].n = i;
        }
    } else {
        uint32_t place = 0;
        while (place < next.voters && next.voter[place].n != wanted)
            place++;
        if (place == next.voters)
            next.voter[next.voters++].n = wanted;
        else if (next.voters > 1)
            next.voter[place] = next.voter[--next.voters];
    }
    uint64_t value = ++c->values;
    struct raft_event event = {.kind = RAFT_CHANGE_PROPOSED,
                               .change_proposed = {.configuration = &next, .bytes = 10}};
    step(c, n, &event, &value, &next);
}

static void fault_somewhere(struct cluster *c)
{
    uint32_t id = 1 + below(c, c->nodes), other = 1 + below(c, c->nodes);
    if (chance(c, c->faults.crash))
        cluster_crash(c, id);
    if (!c->node[id].up && chance(c, 300))
        cluster_start(c, id);
    if (id != other && chance(c, c->faults.cut))
        c->cut[id][other] = true;
    if (chance(c, c->faults.cut))
        memset(c->cut, 0, sizeof(c->cut));
    if (chance(c, c->faults.compact))
        compact_somewhere(c);
    if (chance(c, c->faults.change))
        change_somewhere(c);
    if (chance(c, c->faults.transfer) && c->node[id].up)
        step(c, &c->node[id], &(struct raft_event){.kind = RAFT_TRANSFER_ASKED}, NULL, NULL);
    if (chance(c, c->faults.transfer) && c->node[id].up && id != other) {
        struct raft_event event = {.kind = RAFT_PEER_LOST, .peer_lost = {.peer = {other}}};
        step(c, &c->node[id], &event, NULL, NULL);
    }
}

static void turn(struct cluster *c)
{
    c->now_ms += below(c, 2);
    deliver_due(c);
    for (uint32_t id = 1; id <= c->nodes; id++) {
        struct node *n = &c->node[id];
        if (n->up)
            flush_due(c, n);
        if (n->up && c->now_ms >= n->deadline_ms)
            tick(c, n);
    }
    if (below(c, 4) == 0)
        propose_somewhere(c);
    if (below(c, 8) == 0)
        read_somewhere(c);
}

void cluster_run(struct cluster *c, uint32_t turns, const struct cluster_faults *faults)
{
    c->faults = *faults;
    for (uint32_t i = 0; i < turns; i++) {
        fault_somewhere(c);
        turn(c);
    }
}

void cluster_must_settle(struct cluster *c, uint32_t ms)
{
    c->faults = (struct cluster_faults){.delay_ms = 1, .disk_ms = 1};
    memset(c->cut, 0, sizeof(c->cut));
    for (uint32_t id = 1; id <= c->nodes; id++) {
        if (!c->node[id].up)
            cluster_start(c, id);
    }
    uint64_t until = c->now_ms + ms;
    uint64_t before = c->committed;
    while (c->now_ms < until && c->committed < before + 8)
        turn(c);
    REQUIRE(c->committed >= before + 8 || c->committed + 80 > CLUSTER_ENTRIES);
}

struct cluster *cluster_new(uint32_t nodes, uint64_t seed)
{
    struct cluster *c = calloc(1, sizeof(*c));
    c->seed = c->random = seed;
    c->nodes = nodes;
    c->flying = calloc(MESSAGES, sizeof(*c->flying));
    REQUIRE(nodes <= CLUSTER_NODES);
    for (uint32_t id = 1; id <= nodes; id++) {
        struct node *n = &c->node[id];
        n->id = id;
        n->memory = calloc(1, raft_size());
        n->durable = calloc(1, sizeof(*n->durable));
        n->now = calloc(1, sizeof(*n->now));
        for (uint32_t i = 1; i <= nodes; i++)
            n->durable->start_configuration.voter[n->durable->start_configuration.voters++].n = i;
        cluster_start(c, id);
    }
    return c;
}

void cluster_free(struct cluster *c)
{
    for (uint32_t id = 1; id <= c->nodes; id++) {
        free(c->node[id].memory);
        free(c->node[id].durable);
        free(c->node[id].now);
    }
    free(c->flying);
    free(c);
}

void cluster_cut(struct cluster *c, uint32_t from, uint32_t to, bool is_cut)
{
    c->cut[from][to] = is_cut;
}

uint32_t cluster_leader(const struct cluster *c)
{
    uint32_t leader = 0;
    uint64_t term = 0;
    for (uint32_t id = 1; id <= c->nodes; id++) {
        if (!c->node[id].up)
            continue;
        struct raft_status status = raft_status(c->node[id].raft);
        if (status.role == RAFT_LEADER && status.term.n > term) {
            leader = id;
            term = status.term.n;
        }
    }
    return leader;
}

struct raft_status cluster_status(const struct cluster *c, uint32_t id)
{
    return raft_status(c->node[id].raft);
}

uint64_t cluster_commits(const struct cluster *c)
{
    return c->committed;
}

uint64_t cluster_steps(const struct cluster *c)
{
    return c->steps;
}

uint64_t cluster_reads(const struct cluster *c)
{
    return c->reads_done;
}

uint64_t cluster_elections(const struct cluster *c)
{
    return c->elections;
}
