/* What happens to a cluster, and for how long. */
#include "tests/core/cluster_state.h"

#include <string.h>

static void propose_somewhere(struct cluster *c)
{
    struct node *n = &c->node[1 + cluster_below(c, c->nodes)];
    if (!n->up || n->now->last + 64 > CLUSTER_ENTRIES)
        return;
    uint32_t count = 1 + cluster_below(c, 4);
    uint32_t bytes[4] = {10, 10, 10, 10};
    uint64_t values[4];
    for (uint32_t i = 0; i < count; i++)
        values[i] = ++c->values;
    struct raft_event event = {.kind = RAFT_PROPOSED, .proposed = {.count = count, .bytes = bytes}};
    cluster_step(c, n, &event, values, NULL);
}

static void read_somewhere(struct cluster *c)
{
    struct node *n = &c->node[1 + cluster_below(c, c->nodes)];
    if (!n->up || c->asked == READS)
        return;
    c->ask[c->asked++] = (struct asked){.token = ++c->tokens, .node = n->id, .floor = c->committed};
    struct raft_event event = {.kind = RAFT_READ_ASKED, .read_asked = {.token = c->tokens}};
    cluster_step(c, n, &event, NULL, NULL);
}

static void compact(struct cluster *c, struct node *n)
{
    uint64_t start = n->now->start;
    if (!n->up || n->applied <= start || n->flushes > 0)
        return;
    uint64_t index = start + 1 + cluster_below(c, (uint32_t)(n->applied - start));
    if (index > n->durable->last || raft_status(n->raft).durable.n < index)
        return;
    n->snapshot = index;
    n->snapshot_term = n->now->cell[index].term;
    n->snapshot_configuration = *raft_configuration_at(n->raft, (raft_index){index});
    cluster_begin_at_snapshot(n->durable, n);
    cluster_begin_at_snapshot(n->now, n);
    struct raft_event event = {.kind = RAFT_COMPACTED, .compacted = {.index = {index}}};
    cluster_step(c, n, &event, NULL, NULL);
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
    bool joint = cluster_below(c, 2) == 0;
    if (joint) {
        memcpy(next.outgoing_voter, next.voter, sizeof(next.voter));
        next.outgoing = next.voters;
    }
    uint32_t wanted = 1 + cluster_below(c, c->nodes);
    if (joint) {
        next.voters = 0;
        for (uint32_t i = 1; i <= c->nodes; i++) {
            if (i == wanted || cluster_below(c, 3) > 0)
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
    cluster_step(c, n, &event, &value, &next);
}

static void fault_somewhere(struct cluster *c)
{
    uint32_t id = 1 + cluster_below(c, c->nodes), other = 1 + cluster_below(c, c->nodes);
    if (cluster_chance(c, c->faults.crash))
        cluster_crash(c, id);
    if (c->faults.wipe > 0 && cluster_chance(c, c->faults.wipe))
        cluster_wipe_one(c, id);
    if (!c->node[id].up && cluster_chance(c, 300))
        cluster_start(c, id);
    if (id != other && cluster_chance(c, c->faults.cut))
        c->cut[id][other] = true;
    if (cluster_chance(c, c->faults.cut))
        memset(c->cut, 0, sizeof(c->cut));
    if (cluster_chance(c, c->faults.compact))
        compact(c, &c->node[1 + cluster_below(c, c->nodes)]);
    if (cluster_chance(c, c->faults.change))
        change_somewhere(c);
    if (cluster_chance(c, c->faults.transfer) && c->node[id].up)
        cluster_step(c, &c->node[id], &(struct raft_event){.kind = RAFT_TRANSFER_ASKED}, NULL,
                     NULL);
    if (cluster_chance(c, c->faults.transfer) && c->node[id].up && id != other) {
        struct raft_event event = {.kind = RAFT_PEER_LOST, .peer_lost = {.peer = {other}}};
        cluster_step(c, &c->node[id], &event, NULL, NULL);
    }
}

static void turn(struct cluster *c)
{
    uint32_t pass_ms = cluster_below(c, 2);
    c->now_ms += pass_ms;
    if (pass_ms > 0)
        c->steps_before = c->steps;
    cluster_deliver_due(c);
    for (uint32_t id = 1; id <= c->nodes; id++) {
        struct node *n = &c->node[id];
        if (n->up)
            cluster_flush_due(c, n);
        if (n->up && c->now_ms >= n->deadline_ms)
            cluster_tick(c, n);
        if (n->up)
            cluster_admit_turn(c, n);
        if (n->up && raft_status(n->raft).log_nearly_full)
            compact(c, n); /* the driver's duty: a full log takes no entries */
    }
    if (cluster_below(c, 4) == 0)
        propose_somewhere(c);
    if (cluster_below(c, 8) == 0)
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

static bool somebody_is_recovering(const struct cluster *c)
{
    for (uint32_t id = 1; id <= c->nodes; id++) {
        if (raft_status(c->node[id].raft).recovering)
            return true;
    }
    return false;
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
    while (c->now_ms < until && (c->committed < before + 8 || somebody_is_recovering(c)))
        turn(c);
    REQUIRE(c->committed >= before + 8 || c->committed + 80 > CLUSTER_ENTRIES);
    REQUIRE(!somebody_is_recovering(c));
}

uint32_t cluster_nodes_of(uint64_t seed)
{
    return 1 + (uint32_t)(seed % CLUSTER_NODES);
}

struct cluster_faults cluster_faults_of(uint64_t seed, uint32_t harder)
{
    return (struct cluster_faults){
        .lose = (uint32_t)(seed % 5) * 5,
        .twice = (uint32_t)(seed % 3) * 5,
        .delay_ms = (uint32_t)(seed % 4) * 8,
        .disk_ms = (uint32_t)(seed % 6) * 4,
        .crash = seed % 7 != 0 ? 20 * harder : 0,
        .cut = seed % 2 != 0 ? 30 * harder : 0,
        .compact = seed % 3 != 0 ? 30 * harder : 0,
        .transfer = seed % 5 != 0 ? 10 * harder : 0,
        .change = seed % 11 == 0 ? 20 * harder : 0,
        .wipe = seed % 13 < 4 && seed % 11 != 0 ? 10 * harder : 0,
    };
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

void cluster_trace(struct cluster *c, FILE *to)
{
    c->trace = to;
}

void cluster_count_steps(struct cluster *c, uint64_t *steps)
{
    c->steps_too = steps;
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

uint64_t cluster_wipes(const struct cluster *c)
{
    return c->wipes;
}

uint64_t cluster_admissions(const struct cluster *c)
{
    return c->admissions;
}
