#include "tests/core/cluster_state.h"

#include <string.h>

uint64_t cluster_random(struct cluster *c)
{
    uint64_t z = (c->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t cluster_below(struct cluster *c, uint32_t limit)
{
    return limit == 0 ? 0 : (uint32_t)(cluster_random(c) % limit);
}

bool cluster_chance(struct cluster *c, uint32_t of_10000)
{
    return cluster_below(c, 10000) < of_10000;
}

/* --- disks ------------------------------------------------------------------------------------ */

static void disk_apply(struct cluster *c, struct disk_state *disk, const struct flush *f)
{
    const struct raft_persist *p = &f->persist;
    if (p->hard_state) {
        disk->term = p->hard.term.n;
        disk->voted = p->hard.voted;
        disk->vote = p->hard.vote.n;
        disk->recovering = p->hard.recovering;
        disk->floor = p->hard.floor;
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

static bool has_entry(const struct disk_state *disk, uint64_t index, uint64_t term)
{
    return index == disk->start
               ? term == disk->start_term
               : index > disk->start && index <= disk->last && disk->cell[index].term == term;
}

/* The log begins after the node's snapshot: it keeps what follows, if it has its last entry. */
void cluster_begin_at_snapshot(struct disk_state *disk, const struct node *n)
{
    if (!has_entry(disk, n->snapshot, n->snapshot_term))
        disk->last = n->snapshot;
    disk->start = n->snapshot;
    disk->start_term = n->snapshot_term;
    disk->start_configuration = n->snapshot_configuration;
}

static void note_vote(struct cluster *c, struct node *n)
{
    const struct disk_state *d = n->durable;
    if (!d->voted)
        return;
    if (d->term == n->admitted_term && d->vote == n->id)
        return; /* not a vote: it gives none in this term, perhaps it gave one before the wipe */
    REQUIRE(d->term < 4096);
    REQUIRE(n->vote_in_term[d->term] == 0 || n->vote_in_term[d->term] == d->vote);
    n->vote_in_term[d->term] = d->vote;
}

/* --- network ---------------------------------------------------------------------------------- */

static struct flying *new_flying(struct cluster *c)
{
    if (c->messages == MESSAGES)
        return NULL; /* lost: a network has its limits */
    struct flying *f = &c->flying[c->messages++];
    f->due_ms = c->now_ms + cluster_below(c, c->faults.delay_ms + 1);
    f->sent = c->steps;
    f->is_configuration = f->is_snapshot = f->is_hello = false;
    return f;
}

void cluster_say_hello(struct cluster *c, struct node *from, const struct node *to)
{
    if (c->cut[from->id][to->id] || cluster_below(c, 100) < c->faults.lose)
        return;
    struct flying *f = new_flying(c);
    if (f == NULL)
        return;
    f->is_hello = true;
    struct raft_status status = raft_status(from->raft);
    f->message = (struct raft_message){.from = {from->id}, .to = {to->id}, .term = status.term};
    f->index = status.last.n;
    f->term = raft_entry_term(from->raft, status.last).n;
}

static void send_one(struct cluster *c, struct node *from, const struct raft_message *m)
{
    if (c->cut[from->id][m->to.n] || cluster_below(c, 100) < c->faults.lose)
        return;
    struct flying *f = new_flying(c);
    if (f == NULL)
        return;
    f->message = *m;
    if (m->kind != RAFT_APPEND_ENTRIES)
        return;
    uint32_t count = raft_runs_entries(&m->append_entries.entries);
    for (uint32_t i = 0; i < count; i++) {
        const struct cell *cell = &from->now->cell[m->append_entries.prev.n + 1 + i];
        REQUIRE(m->append_entries.prev.n + 1 + i <= from->now->last);
        f->values[i] = cell->value;
        if (cell->is_configuration) {
            REQUIRE(count == 1);
            f->is_configuration = true;
            f->configuration = cell->configuration;
        }
    }
}

/* --- invariants ------------------------------------------------------------------------------- */

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
        /* Who is recovering elects only who has it, and has it when it is sure. */
        have += cluster_is_recovering(&c->node[voter[i].n]) ||
                c->node[voter[i].n].snapshot >= index ||
                (d->last >= index &&
                 (index <= d->start || d->cell[index].term == c->history[index].term));
    }
    return have > voters / 2;
}

/* What a message promises of its sender's storage is there, whatever happens to the sender next. */
static void check_promise(struct cluster *c, const struct node *n, const struct raft_message *m)
{
    const struct disk_state *d = n->durable;
    if (m->kind == RAFT_REQUEST_PRE_VOTE)
        return; /* it speaks of a term that nobody is in */
    REQUIRE(m->term.n <= d->term);
    if (m->kind == RAFT_REQUEST_VOTE)
        REQUIRE(d->term > m->term.n || (d->voted && d->vote == n->id));
    if (m->kind == RAFT_REQUEST_VOTE_RESPONSE && m->request_vote_response.granted)
        REQUIRE(d->term == m->term.n && d->voted && d->vote == m->to.n);
    if (m->kind != RAFT_APPEND_ENTRIES_RESPONSE || !m->append_entries_response.accepted)
        return;
    uint64_t match = m->append_entries_response.match.n;
    REQUIRE(match <= d->last || match <= n->snapshot);
    const struct node *leader = &c->node[m->to.n];
    if (!leader->up || raft_status(leader->raft).role != RAFT_LEADER ||
        raft_status(leader->raft).term.n != m->term.n)
        return;
    REQUIRE(match <= leader->now->last);
    if (match > d->start && match > n->snapshot && match > leader->now->start)
        REQUIRE(d->cell[match].term == leader->now->cell[match].term &&
                d->cell[match].value == leader->now->cell[match].value);
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

/* --- steps ------------------------------------------------------------------------------------ */

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

static void flush_later(struct cluster *c, struct node *n, const struct raft_event *event,
                        const struct raft_persist *persist, const uint64_t *values,
                        const struct raft_configuration *configuration)
{
    REQUIRE(n->flushes < FLUSHES);
    struct flush *f = &n->flush[n->flushes++];
    f->due_ms = c->now_ms + cluster_below(c, c->faults.disk_ms + 1);
    f->persist = *persist;
    f->is_configuration = configuration != NULL && !persist->reset;
    uint32_t count = raft_runs_entries(&persist->entries);
    uint32_t skip = 0;
    if (persist->from == RAFT_FROM_MESSAGE)
        skip = raft_runs_entries(&event->received.message->append_entries.entries) - count;
    for (uint32_t i = 0; i < count; i++)
        f->values[i] = persist->from == RAFT_FROM_CORE ? 0 : values[skip + i];
    if (configuration != NULL)
        f->configuration = *configuration;
    if (persist->from == RAFT_FROM_CORE && persist->kind == RAFT_CONFIGURATION) {
        f->is_configuration = true;
        f->configuration = persist->configuration;
    } else if (persist->from == RAFT_FROM_CORE && count > 0) {
        f->is_configuration = false;
    }
    disk_apply(c, n->now, f);
    if (f->due_ms < (n->flushes > 1 ? n->flush[n->flushes - 2].due_ms : 0))
        f->due_ms = n->flush[n->flushes - 2].due_ms; /* a disk keeps the order */
}

void cluster_step(struct cluster *c, struct node *n, const struct raft_event *event,
                  const uint64_t *values, const struct raft_configuration *configuration)
{
    static struct raft_output out;
    struct raft_event stamped = *event;
    stamped.now_ms = c->now_ms;
    c->steps++;
    REQUIRE(c->steps - c->steps_before < STEPS_MS);
    if (c->steps_too != NULL)
        ++*c->steps_too;
    uint64_t commit_before = raft_status(n->raft).commit.n;
    const struct raft_configuration who = *raft_configuration(n->raft);
    raft_step(n->raft, &stamped, &out);
    if (c->trace != NULL)
        cluster_tell(c, n, &stamped, &out);
    raft_check(n->raft);
    n->deadline_ms = out.deadline_ms;
    if (out.persist.wanted)
        flush_later(c, n, event, &out.persist, values, configuration);
    if (out.persist.reset)
        n->applied = out.persist.reset_index.n;
    for (uint32_t i = 0; i < out.sends.count; i++) {
        check_promise(c, n, &out.sends.at[i]);
        send_one(c, n, &out.sends.at[i]);
        if (cluster_below(c, 100) < c->faults.twice)
            send_one(c, n, &out.sends.at[i]);
    }
    for (uint64_t i = out.apply.first.n; i <= out.apply.last.n; i++)
        apply(c, n, i);
    for (uint32_t i = 0; i < out.results.count; i++) {
        const struct raft_result *v = &out.results.at[i];
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
        case RAFT_ROLLED_BACK: /* no disk is put back here: whoever says so is wrong */
        case RAFT_DIVERGED:
            assert(false);
            break;
        }
    }
    check_leader_of(c, n);
    check_durable(c, n, commit_before, &who);
}

void cluster_tick(struct cluster *c, struct node *n)
{
    cluster_step(c, n, &(struct raft_event){.kind = RAFT_TICKED}, NULL, NULL);
}

void cluster_start(struct cluster *c, uint32_t id)
{
    struct node *n = &c->node[id];
    REQUIRE(!n->up);
    if (n->snapshot > n->durable->start && !has_entry(n->durable, n->snapshot, n->snapshot_term))
        cluster_begin_at_snapshot(n->durable,
                                  n); /* a crash came before the log that belongs to it */
    memcpy(n->now, n->durable, sizeof(*n->now) - sizeof(n->now->cell));
    memcpy(n->now->cell, n->durable->cell, (n->durable->last + 1) * sizeof(n->now->cell[0]));
    const struct disk_state *d = n->durable;
    struct raft_options options = {
        .self = {id}, .election_ms = 150, .heartbeat_ms = 20, .seed = cluster_random(c)};
    uint64_t state = n->snapshot > d->start ? n->snapshot : d->start;
    REQUIRE(state <= d->last);
    struct raft_saved saved = {
        .hard = {.term = {d->term},
                 .voted = d->voted,
                 .vote = {d->vote},
                 .recovering = d->recovering,
                 .floor = d->floor},
        .snapshot_index = {state},
        .log_start = {d->start},
        .log_start_term = {d->start_term},
        .configuration = d->start_configuration,
        .implied = d->start == 0,
    };
    REQUIRE(raft_init(n->memory, &options, &saved, &n->raft) == 0);
    for (uint64_t i = d->start + 1; i <= d->last; i++)
        REQUIRE(raft_restore_entry(n->raft, (raft_term){d->cell[i].term}, 10,
                                   d->cell[i].is_configuration ? &d->cell[i].configuration
                                                               : NULL) == 0);
    n->applied = state;
    cluster_started_recovering(c, n);
    n->up = true;
    n->flushes = 0;
    cluster_tick(c, n);
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

void cluster_flush_due(struct cluster *c, struct node *n)
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
    cluster_step(c, n, &event, NULL, NULL);
}

/* The driver's duty: the sender hears how a snapshot ended, also when it never arrived. */
static void snapshot_ended(struct cluster *c, const struct flying *f, bool installed)
{
    struct node *from = &c->node[f->message.from.n];
    struct raft_event sent = {
        .kind = RAFT_SNAPSHOT_SENT,
        .snapshot_sent = {.to = f->message.to, .installed = installed, .index = {f->index}}};
    if (from->up)
        cluster_step(c, from, &sent, NULL, NULL);
}

/* The own store has the snapshot before the core hears of it. */
static void install(struct cluster *c, struct node *n, const struct flying *f)
{
    n->snapshot = f->index;
    n->snapshot_term = f->term;
    n->snapshot_configuration = f->configuration;
    n->applied = f->index;
    if (has_entry(n->now, f->index, f->term)) {
        cluster_begin_at_snapshot(n->now, n);
        return;
    }
    n->flushes = 0; /* the reset is flushed with all before it */
    n->durable->last = 0;
    cluster_begin_at_snapshot(n->durable, n);
    n->durable->term = n->now->term;
    n->durable->voted = n->now->voted;
    n->durable->vote = n->now->vote;
    n->durable->recovering = n->now->recovering;
    n->durable->floor = n->now->floor;
    note_vote(c, n);
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
        if (f->index > raft_status(n->raft).commit.n && f->term <= raft_status(n->raft).term.n &&
            raft_status(n->raft).role != RAFT_LEADER)
            install(c, n, f);
        cluster_step(c, n, &event, NULL, &f->configuration);
        snapshot_ended(c, f, true);
        return;
    }
    if (f->is_hello) {
        cluster_heard(c, n, f);
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
    cluster_step(c, n, &event, f->values, f->is_configuration ? &f->configuration : NULL);
}

void cluster_deliver_due(struct cluster *c)
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
