/* A whole run: what is drawn for it, its faults, and the liveness phase at its end. */
#include "tests/sim/world.h"

#include <string.h>

/* Enough for one run; and all their answers are remembered. */
#define ANSWERS_MAX (1u << 14)

/* --- drawing ---------------------------------------------------------------------------------- */

static uint64_t one_of(struct world *world, const uint64_t *values, size_t count)
{
    return values[world_below(world, count)];
}
#define ONE_OF(world, ...) \
    one_of((world), (const uint64_t[]){__VA_ARGS__}, ARRAY_LEN(((const uint64_t[]){__VA_ARGS__})))

static void draw_net(struct world *world)
{
    struct net *net = &world->net;
    net->delay_us = (uint32_t)ONE_OF(world, 50, 200, 1000, 5000);
    net->spread_us = (uint32_t)ONE_OF(world, 0, 100, 2000, 20000);
    net->reliable = world_below(world, 3) == 0;
    if (net->reliable)
        return;
    net->lose = (uint32_t)ONE_OF(world, 0, 0, 1000, 20000, 150000);
    net->twice = (uint32_t)ONE_OF(world, 0, 0, 10000, 100000);
    net->late = (uint32_t)ONE_OF(world, 0, 0, 5000, 50000);
    net->late_us = (uint32_t)ONE_OF(world, 50000, 500000, 3000000);
}

static void draw_faults(struct world *world)
{
    struct faults *faults = &world->faults;
    if (world_below(world, 20) == 0)
        return; /* a day when nothing happens */
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        if (world_below(world, 2) == 0)
            faults->weight[kind] = (uint32_t)ONE_OF(world, 1, 3, 10);
    }
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++)
        faults->weights += faults->weight[kind];
    faults->every_us = ONE_OF(world, 50000, 300000, 1000000);
    faults->long_us = ONE_OF(world, 100000, 500000, 2000000);
    faults->down_us = ONE_OF(world, 50000, 500000, 2000000);
    faults->with_wipes = FAULTS_WITH_WIPES;
    world->lies = world->seed % 4 == 3;
    world->rollbacks.wanted = world->net.reliable;
    world->folders.wanted = world->seed % 8 == 5 && !world->net.reliable;
    faults->forgetful = FAULTS_FORGETFUL && world_below(world, 2) == 0;
}

static void draw_machine(struct world *world, uint32_t id, const struct machine_settings *settings)
{
    struct machine *machine = &world->machine[id];
    machine_init(machine, world, id, settings);
    machine->clock.drift = (int64_t)world_below(world, 20000) - 10000;
    machine->disk_us = (uint32_t)ONE_OF(world, 50, 200, 2000, 10000);
    machine->store_us = (uint32_t)ONE_OF(world, 20, 200);
    uint64_t kind = world_below(world, 4);
    machine->store.append = kind == 0 ? FAKE_APPEND_NO : FAKE_APPEND_ALWAYS;
    machine->store.dump_polls = (uint32_t)world_below(world, 3);
    if (kind == 1) {
        machine->store.append = FAKE_APPEND_EVERYSEC;
        machine->store.knows_waitaof = true;
    }
}

static void draw_clients(struct world *world)
{
    struct clients *clients = &world->clients;
    clients->count = 1 + (uint32_t)world_below(world, SIM_CLIENTS);
    clients->think_us = ONE_OF(world, 2000, 10000, 50000);
    clients->patience_us = ONE_OF(world, 300000, 2000000, 6000000);
    clients->reads = (uint32_t)ONE_OF(world, 100000, 400000);
    clients->stale = 200000;
    clients->twice = (uint32_t)ONE_OF(world, 0, 50000);
}

struct world *faults_world(uint64_t seed, uint32_t nodes)
{
    static const uint8_t usual[] = {1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7};
    uint64_t random = seed;
    if (nodes == 0)
        nodes = usual[fake_random(&random) % ARRAY_LEN(usual)];
    struct world *world = world_new(seed, nodes);
    struct machine_settings settings = {
        .election_ms = (uint32_t)ONE_OF(world, 100, 300, 1000),
        .snapshot_entries = ONE_OF(world, 20, 100, 1000, 100000),
        .answers_max = ANSWERS_MAX,
        .segment_bytes = (uint32_t)ONE_OF(world, 8192, 16384, 65536, 262144),
        .own_flush_after_ms = (uint32_t)ONE_OF(world, 0, 3, 20),
    };
    settings.piece_bytes = seed % 2 == 0 ? 0 : 8192; /* a snapshot comes in one, or in many */
    settings.heartbeat_ms = settings.election_ms / (uint32_t)ONE_OF(world, 5, 10);
    for (uint32_t id = 1; id <= nodes; id++)
        draw_machine(world, id, &settings);
    draw_net(world);
    draw_faults(world);
    draw_clients(world);
    return world;
}

/* --- liveness --------------------------------------------------------------------------------- */

#define CORE_HAS(core, id) (((core) >> (id)&1) != 0)

/* A majority of nodes that have all that they ever said they had: bits by id. */
static uint32_t choose_core(struct world *world)
{
    faults_look(world);
    uint32_t core = 0, have = 0, wanted = world->nodes / 2 + 1;
    if (world_below(world, 2) == 0)
        wanted = world->nodes;
    uint32_t first = (uint32_t)world_below(world, world->nodes);
    for (uint32_t i = 0; i < world->nodes && have < wanted; i++) {
        uint32_t id = 1 + (first + i) % world->nodes;
        struct machine *machine = &world->machine[id];
        if (machine->disk_damaged || machine->store_damaged || machine->phase == MACHINE_REFUSED)
            continue;
        core |= 1u << id;
        have++;
    }
    RULE(world, have > world->nodes / 2, "the simulator damaged a majority");
    return core;
}

static void heal_machine(struct world *world, uint32_t id)
{
    struct machine *machine = &world->machine[id];
    if (machine->not_own != 0)
        machine_die(machine, MACHINE_KILLED);
    if (machine->not_own != 0)
        folders_own(machine);
    machine->disk.crash_at = machine->disk.fail_at = 0;
    machine->disk.room = UINT64_MAX / 2;
    machine->disk_us = machine->store_us = 200;
    machine->disk_stall_us = 0;
    machine->store.tear = 0;
    machine->store.refuses = NULL;
    machine_drift(machine, 0);
    machine_resume(machine);
    machine_store_up(machine);
    machine_start(machine);
}

static void heal_core(struct world *world, uint32_t core)
{
    struct net *net = &world->net;
    net->late = net->twice = net->lose = 0;
    if (net->spread_us > 2000)
        net->spread_us = 2000;
    for (uint32_t from = 1; from <= world->nodes; from++) {
        for (uint32_t to = 1; to <= world->nodes; to++) {
            if (CORE_HAS(core, from) && CORE_HAS(core, to))
                net->cut[from][to] = false;
        }
    }
    for (uint32_t id = 1; id <= world->nodes; id++) {
        if (CORE_HAS(core, id))
            heal_machine(world, id);
    }
}

/* All of the core are up and have one state, with all that was committed. */
static bool converged(struct world *world, uint32_t core)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        struct machine *machine = &world->machine[id];
        if (!CORE_HAS(core, id))
            continue;
        if (!machine_up(machine) || machine_frozen(machine))
            return false;
        struct replica_status status = replica_status(machine->replica);
        if (!status.ready || status.applied < world->rules.committed)
            return false;
    }
    return true;
}

/* Asks each node of the core until it has done it. */
static bool served(struct world *world, uint32_t core, enum op_kind kind, uint64_t until_us)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        if (!CORE_HAS(core, id))
            continue;
        uint64_t op = clients_op(world, 0, kind);
        while (!world->broken && !world->clients.op[op].told && world->now_us < until_us) {
            if (world->clients.op[op].open == 0 && machine_up(&world->machine[id]))
                (void)clients_ask(world, op, id);
            world_run(world, world->now_us + 50000);
        }
        if (!world->clients.op[op].told)
            return false;
    }
    return true;
}

static void must_live(struct world *world, uint32_t core, const char *when)
{
    uint64_t election_us = world->machine[1].settings.election_ms * UINT64_C(1000);
    uint64_t until_us = world->now_us + 30 * SECOND_US + 40 * election_us;
    while (!world->broken && !converged(world, core) && world->now_us < until_us)
        world_run(world, world->now_us + 20000);
    RULE(world, world->broken || converged(world, core), "no convergence %s", when);
    bool writes = !world->broken && served(world, core, OP_WRITE, until_us + 10 * SECOND_US);
    RULE(world, writes, "no service for writes %s", when);
    bool reads = !world->broken && served(world, core, OP_READ, until_us + 20 * SECOND_US);
    RULE(world, reads, "no service for reads %s", when);
    until_us = world->now_us + 10 * SECOND_US;
    while (!world->broken && !converged(world, core) && world->now_us < until_us)
        world_run(world, world->now_us + 20000);
    RULE(world, world->broken || converged(world, core), "no convergence after service %s", when);
    for (uint32_t id = 1; id <= world->nodes && !world->broken; id++) {
        if (CORE_HAS(core, id))
            clients_check_state(world, id);
    }
}

static void power_cycle(struct world *world, uint32_t core)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        if (CORE_HAS(core, id))
            machine_die(&world->machine[id], MACHINE_POWER_LOST);
    }
    world_run(world, world->now_us + SECOND_US);
    for (uint32_t id = 1; id <= world->nodes; id++) {
        if (CORE_HAS(core, id))
            machine_start(&world->machine[id]);
    }
}

/*
 * A cluster is new only while all of its nodes say so: at its first start nothing goes wrong, until
 * each has the first term on its disk.
 */
static bool all_sure(const struct world *world)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        const struct machine *machine = &world->machine[id];
        if (!machine_up(machine) || raft_status(replica_raft(machine->replica)).recovering ||
            world->rules.node[id].term_ever == 0)
            return false;
    }
    return true;
}

static void start_first(struct world *world)
{
    for (uint32_t id = 1; id <= world->nodes; id++)
        machine_start(&world->machine[id]);
    clients_start(world);
    while (!all_sure(world) && world->now_us < 30 * SECOND_US && !world->broken)
        world_run(world, world->now_us + SECOND_US / 100);
    RULE(world, all_sure(world), "a new cluster does not come up");
    world_push(world, world->now_us + world->faults.every_us,
               (struct sim_event){.kind = SIM_FAULT});
    hostile_begin(world);
}

/* After lies nobody owes service: only that each process runs again. */
static void must_start(struct world *world)
{
    for (uint32_t id = 1; id <= world->nodes; id++)
        hostile_must_run(&world->machine[id]);
}

bool faults_run(struct world *world)
{
    world_now = world;
    start_first(world);
    uint64_t until_us = world->now_us + (2 + world_below(world, 10)) * SECOND_US;
    while (world->now_us < until_us && world->clients.ops < OPS_MAX && !world->broken)
        world_run(world, world->now_us + SECOND_US / 10);
    world->faults.over = world->hostile.over = true;
    if (world->broken)
        return false;
    uint32_t core = world->hostile.lied ? UINT32_MAX : choose_core(world);
    TELL(world, 0, "nothing new goes wrong; these nodes are whole again, as bits: %", core);
    world->faults.core = core;
    heal_core(world, core);
    world_run(world, world->now_us + SECOND_US);
    world->clients.quiet = true;
    if (world->hostile.lied) {
        power_cycle(world, core);
        world_run(world, world->now_us + 30 * SECOND_US);
        must_start(world);
        return !world->broken;
    }
    must_live(world, core, "after the faults");
    if (!world->broken) {
        TELL(world, 0, "all of them lose power");
        power_cycle(world, core);
        must_live(world, core, "after a loss of power");
    }
    RULE(world, world->rules.checks > 0, "nobody looked on as entries were applied");
    return !world->broken;
}
