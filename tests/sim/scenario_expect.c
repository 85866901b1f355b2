#include "tests/sim/scenario_state.h"

#include "raft/core/state.h"

#include <stdio.h>
#include <string.h>

static const struct raft *raft_of(const struct scenario *scenario, uint32_t id)
{
    const struct machine *machine = &scenario->world->machine[id];
    return machine_up(machine) ? replica_raft(machine->replica) : NULL;
}

uint64_t scenario_top_term(const struct scenario *scenario)
{
    uint64_t term = 0;
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct raft *raft = raft_of(scenario, id);
        if (raft != NULL && term < raft->term.n)
            term = raft->term.n;
    }
    return term;
}

uint32_t scenario_leader(const struct scenario *scenario)
{
    uint32_t leader = 0;
    uint64_t term = 0;
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct raft *raft = raft_of(scenario, id);
        if (raft != NULL && raft->role == RAFT_LEADER && raft->term.n > term) {
            leader = id;
            term = raft->term.n;
        }
    }
    return leader;
}

static bool one_state(const struct scenario *scenario, uint32_t nodes)
{
    struct users_meta first = {.index = 0};
    bool any = false;
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        struct machine *machine = &scenario->world->machine[id];
        if (!HAS_NODE(nodes, id))
            continue;
        if (!machine_up(machine))
            return false;
        struct users_meta meta = users_meta(replica_users(machine->replica));
        if (any && (meta.index != first.index || meta.digest != first.digest))
            return false;
        first = meta;
        any = true;
    }
    return any;
}

bool scenario_settled(const struct scenario *scenario)
{
    uint32_t up = 0;
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct machine *machine = &scenario->world->machine[id];
        if (machine->phase == MACHINE_DOWN || machine->phase == MACHINE_REFUSED ||
            machine->paused_until_us > scenario->world->now_us || machine->not_own != 0)
            continue;
        if (!machine_up(machine) ||
            users_meta(replica_users(machine->replica)).index < scenario->world->rules.committed ||
            raft_status(raft_of(scenario, id)).recovering)
            return false;
        up |= 1u << id;
    }
    uint32_t leader = scenario_leader(scenario);
    return leader != 0 && raft_status(raft_of(scenario, leader)).settled && one_state(scenario, up);
}

/* --- what is expected ------------------------------------------------------------------------- */

static bool leader_is(struct scenario *scenario, struct words *words)
{
    uint32_t leader = scenario_leader(scenario);
    if (words_take(words, "none"))
        return leader == 0;
    if (words_take(words, "some"))
        return leader != 0;
    if (words_take(words, "not"))
        return leader != scenario_node(scenario, words);
    return leader == scenario_node(scenario, words);
}

static bool term_is(struct scenario *scenario, struct words *words)
{
    uint64_t term = scenario_top_term(scenario);
    if (words_take(words, "same"))
        return term == scenario->noted_term;
    if (words_take(words, "higher"))
        return term > scenario->noted_term;
    return term == scenario_number(scenario, words);
}

static bool all_follow(struct scenario *scenario, uint32_t nodes, uint32_t leader)
{
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct raft *raft = raft_of(scenario, id);
        if (!HAS_NODE(nodes, id))
            continue;
        struct raft_status status = {.leader_known = false};
        if (raft != NULL)
            status = raft_status(raft);
        if (!status.leader_known || status.leader.n != leader ||
            status.term.n != scenario_top_term(scenario))
            return false;
    }
    return true;
}

static bool all_have(struct scenario *scenario, uint32_t nodes, uint64_t op, bool wanted)
{
    struct request_id request = clients_request_id(op);
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        struct machine *machine = &scenario->world->machine[id];
        struct users_answer answer;
        if (!HAS_NODE(nodes, id))
            continue;
        if (!machine_up(machine) ||
            users_answered(replica_users(machine->replica), &request, NULL, &answer) != wanted)
            return false;
    }
    return true;
}

static bool users_are(struct scenario *scenario, struct words *words)
{
    uint64_t count = scenario_number(scenario, words);
    (void)words_take(words, "at");
    uint32_t nodes = scenario_nodes(scenario, words);
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        struct machine *machine = &scenario->world->machine[id];
        if (HAS_NODE(nodes, id) &&
            (!machine_up(machine) || users_meta(replica_users(machine->replica)).users != count))
            return false;
    }
    return true;
}

enum index_kind { INDEX_COMMIT, INDEX_LAST, INDEX_START, INDEX_SNAPSHOT };

static uint64_t index_of(const struct machine *machine, enum index_kind kind)
{
    const struct raft *raft = replica_raft(machine->replica);
    switch (kind) {
    case INDEX_COMMIT:
        return raft->commit.n;
    case INDEX_LAST:
        return raft->log.last.n;
    case INDEX_START:
        return raft->log.start.n;
    case INDEX_SNAPSHOT:
        return replica_status(machine->replica).snapshot_index;
    }
    UNREACHABLE();
}

/* "NODES >= N" or "NODES < N". */
static bool indexes_are(struct scenario *scenario, struct words *words, enum index_kind kind)
{
    uint32_t nodes = scenario_nodes(scenario, words);
    bool below = words_take(words, "<");
    if (!below && !words_take(words, ">="))
        scenario_fail(scenario, "wanted >= or <");
    uint64_t limit = scenario_number(scenario, words);
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct raft *raft = raft_of(scenario, id);
        if (!HAS_NODE(nodes, id))
            continue;
        if (raft == NULL)
            return false;
        uint64_t index = index_of(&scenario->world->machine[id], kind);
        if (below ? index >= limit : index < limit)
            return false;
    }
    return true;
}

static bool all_whole(const struct scenario *scenario, uint32_t nodes)
{
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct machine *machine = &scenario->world->machine[id];
        if (!HAS_NODE(nodes, id))
            continue;
        if (!machine_up(machine) || raft_status(replica_raft(machine->replica)).recovering ||
            replica_status(machine->replica).damaged_entries > 0 ||
            !cluster_id_known(replica_members(machine->replica)->cluster))
            return false;
    }
    return true;
}

/* They run, know another cluster, and somebody was turned away for it. */
static bool all_strange(const struct scenario *scenario, uint32_t nodes)
{
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct machine *machine = &scenario->world->machine[id];
        if (!HAS_NODE(nodes, id))
            continue;
        if (!machine_up(machine) || machine->not_own == 0 ||
            !cluster_id_known(replica_identity(machine->replica).cluster))
            return false;
        for (uint32_t other = 1; other <= scenario->world->nodes; other++) {
            if (!HAS_NODE(nodes, other) && machine_up(&scenario->world->machine[other]) &&
                !cluster_id_differ(
                    replica_identity(machine->replica).cluster,
                    replica_identity(scenario->world->machine[other].replica).cluster))
                return false;
        }
    }
    return scenario->world->folders.turned_away > 0;
}

enum noticed { NOTICED_ROLLED_BACK, NOTICED_DIVERGED, NOTICED_DIFFERING };

static uint64_t noticed(const struct replica_measures *measures, enum noticed what)
{
    switch (what) {
    case NOTICED_ROLLED_BACK:
        return measures->rolled_back;
    case NOTICED_DIVERGED:
        return measures->diverged;
    case NOTICED_DIFFERING:
        return measures->state_diverged;
    }
    UNREACHABLE();
}

static bool all_noticed(struct scenario *scenario, uint32_t nodes, enum noticed what)
{
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct machine *machine = &scenario->world->machine[id];
        if (!HAS_NODE(nodes, id))
            continue;
        if (!machine_up(machine))
            return false;
        struct replica_measures measures = replica_measures(machine->replica);
        if (noticed(&measures, what) == 0)
            return false;
    }
    return true;
}

/* They say that no member has the state that the logs build on. */
static bool all_gone(struct scenario *scenario, struct words *words)
{
    (void)words_take(words, "at");
    uint32_t nodes = scenario_nodes(scenario, words);
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        const struct machine *machine = &scenario->world->machine[id];
        if (HAS_NODE(nodes, id) &&
            (!machine_up(machine) || !replica_status(machine->replica).state_gone))
            return false;
    }
    return true;
}

static bool all_up(struct scenario *scenario, struct words *words, bool wanted)
{
    uint32_t nodes = scenario_nodes(scenario, words);
    for (uint32_t id = 1; id <= scenario->world->nodes; id++) {
        if (HAS_NODE(nodes, id) && machine_up(&scenario->world->machine[id]) != wanted)
            return false;
    }
    return true;
}

static bool answer_is(struct scenario *scenario, struct words *words, enum ask_answer answer)
{
    const struct scenario_name *name = scenario_named(scenario, words);
    return name != NULL && scenario->world->clients.ask[name->ask].answer == answer;
}

static bool is_so(struct scenario *scenario, struct words words)
{
    if (words_take(&words, "leader"))
        return leader_is(scenario, &words);
    if (words_take(&words, "term"))
        return term_is(scenario, &words);
    if (words_take(&words, "written"))
        return answer_is(scenario, &words, ASK_WRITTEN);
    if (words_take(&words, "refused"))
        return answer_is(scenario, &words, ASK_REFUSED);
    if (words_take(&words, "unknown"))
        return answer_is(scenario, &words, ASK_UNKNOWN);
    if (words_take(&words, "waiting"))
        return answer_is(scenario, &words, ASK_OPEN);
    if (words_take(&words, "answered"))
        return !answer_is(scenario, &words, ASK_OPEN);
    if (words_take(&words, "read"))
        return answer_is(scenario, &words, ASK_READ);
    if (words_take(&words, "users"))
        return users_are(scenario, &words);
    if (words_take(&words, "commit"))
        return indexes_are(scenario, &words, INDEX_COMMIT);
    if (words_take(&words, "log"))
        return indexes_are(scenario, &words, INDEX_LAST);
    if (words_take(&words, "start"))
        return indexes_are(scenario, &words, INDEX_START);
    if (words_take(&words, "snapshot"))
        return indexes_are(scenario, &words, INDEX_SNAPSHOT);
    if (words_take(&words, "same"))
        return one_state(scenario, scenario_nodes(scenario, &words));
    if (words_take(&words, "rolled-back"))
        return all_noticed(scenario, scenario_nodes(scenario, &words), NOTICED_ROLLED_BACK);
    if (words_take(&words, "differing"))
        return all_noticed(scenario, scenario_nodes(scenario, &words), NOTICED_DIFFERING);
    if (words_take(&words, "diverged"))
        return all_noticed(scenario, scenario_nodes(scenario, &words), NOTICED_DIVERGED);
    if (words_take(&words, "up"))
        return all_up(scenario, &words, true);
    if (words_take(&words, "gone"))
        return all_gone(scenario, &words);
    if (words_take(&words, "strange"))
        return all_strange(scenario, scenario_nodes(scenario, &words));
    if (words_take(&words, "whole"))
        return all_whole(scenario, scenario_nodes(scenario, &words));
    if (words_take(&words, "down"))
        return all_up(scenario, &words, false);
    bool has = words_take(&words, "has");
    if (has || words_take(&words, "lacks")) {
        const struct scenario_name *name = scenario_named(scenario, &words);
        (void)words_take(&words, "at");
        uint32_t nodes = scenario_nodes(scenario, &words);
        return name != NULL && all_have(scenario, nodes, name->op, has);
    }
    uint32_t nodes = scenario_nodes(scenario, &words);
    if (nodes != 0 && words_take(&words, "follow"))
        return all_follow(scenario, nodes, scenario_node(scenario, &words));
    scenario_fail(scenario, "expect what?");
    return false;
}

void scenario_expect(struct scenario *scenario, struct words *words)
{
    struct world *world = scenario->world;
    bool now = words_take(words, "now");
    uint64_t until_us = world->now_us;
    if (!now)
        until_us += 2 * SECOND_US + scenario->settings.election_ms * UINT64_C(20000);
    while (!is_so(scenario, *words)) {
        if (scenario->failed || world->broken)
            return;
        if (world->now_us >= until_us) {
            scenario_fail(scenario, "it is not so");
            return;
        }
        world_run(world, world->now_us + 1000);
    }
    words->next = words->count;
}
