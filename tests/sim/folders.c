#include "tests/sim/folders.h"

#include "tests/sim/world.h"

#include <stdlib.h>

#define STRANGERS   UINT64_C(0x5eed0f07e4c1057e)
#define USERS       40u
#define WORKS_IN_US (10 * SECOND_US)
/* One death in so many of a node. */
#define SWAPS_EVERY 3u

/* --- the other cluster ------------------------------------------------------------------------ */

static bool all_have(const struct world *world, uint64_t users)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        const struct machine *machine = &world->machine[id];
        if (!machine_up(machine) || users_meta(replica_users(machine->replica)).users < users)
            return false;
    }
    return true;
}

static bool all_saved(const struct world *world)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        if (world->machine[id].saved_index == 0)
            return false;
    }
    return true;
}

/* With users, snapshots and a few terms, so that its logs would win elections here. */
static struct world *found_strangers(const struct world *of)
{
    struct world *world = world_new(of->seed ^ STRANGERS, of->nodes);
    struct machine_settings settings = of->machine[1].settings;
    settings.snapshot_entries = USERS / 2;
    world_now = world;
    world->net.delay_us = 1000;
    world->net.reliable = true;
    for (uint32_t id = 1; id <= world->nodes; id++)
        machine_init(&world->machine[id], world, id, &settings);
    for (uint32_t id = 1; id <= world->nodes; id++)
        machine_start(&world->machine[id]);
    world_run(world, 2 * SECOND_US + settings.election_ms * UINT64_C(10000));
    for (uint32_t life = 1; life <= world->nodes; life++) {
        machine_die(&world->machine[life], MACHINE_KILLED);
        machine_start(&world->machine[life]);
        world_run(world, world->now_us + settings.election_ms * UINT64_C(10000));
    }
    while (world->clients.ops < 2 * OPS_MAX) /* no request of theirs has the id of one here */
        (void)clients_op(world, 0, OP_READ);
    uint64_t until_us = world->now_us + WORKS_IN_US + settings.election_ms * UINT64_C(20000);
    for (uint64_t user = 1; user <= USERS; user++) {
        uint64_t op = clients_op(world, 0, OP_WRITE);
        clients_ask(world, op, 1 + (uint32_t)(user % world->nodes));
        world_run(world, world->now_us + SECOND_US / 20);
    }
    while (!world->broken && world->now_us < until_us && (!all_saved(world) || !all_have(world, 1)))
        world_run(world, world->now_us + SECOND_US / 20);
    assert(!world->broken && all_saved(world));
    for (uint32_t id = 1; id <= world->nodes; id++)
        machine_die(&world->machine[id], MACHINE_KILLED);
    return world;
}

void folders_done(struct folders *folders)
{
    if (folders->strangers != NULL)
        world_free(folders->strangers);
    folders->strangers = NULL;
}

/* --- swapping --------------------------------------------------------------------------------- */

void folders_swap(struct machine *machine, const struct machine *from, unsigned parts)
{
    assert(machine->phase == MACHINE_DOWN && machine->not_own == 0 && parts != 0);
    TELL(machine->world, machine->id, "gets another node's folder, parts %", parts);
    machine->not_own = parts;
    if ((parts & FOLDERS_DISK) != 0) {
        machine->own_disk = malloc(sizeof(*machine->own_disk));
        assert(machine->own_disk != NULL);
        *machine->own_disk = machine->disk;
        fake_disk_copy(&machine->disk, &from->disk);
    }
    if ((parts & FOLDERS_STORE) != 0) {
        fake_db_copy(&machine->own_store, &machine->store.db);
        fake_store_restore(&machine->store, &from->store.db);
        machine->store_damaged = machine->store_damaged || parts == FOLDERS_STORE;
    }
}

void folders_swap_strange(struct machine *machine, unsigned parts)
{
    struct world *world = machine->world;
    if (world->folders.strangers == NULL)
        world->folders.strangers = found_strangers(world);
    world_now = world;
    folders_swap(machine, &world->folders.strangers->machine[machine->id], parts);
}

void folders_own(struct machine *machine)
{
    assert(machine->phase == MACHINE_DOWN && machine->not_own != 0);
    TELL(machine->world, machine->id, "has its own folder again");
    if ((machine->not_own & FOLDERS_DISK) != 0) {
        fake_disk_done(&machine->disk);
        machine->disk = *machine->own_disk;
        free(machine->own_disk);
        machine->own_disk = NULL;
    }
    if ((machine->not_own & FOLDERS_STORE) != 0) {
        fake_store_restore(&machine->store, &machine->own_store);
        fake_db_clear(&machine->own_store);
    }
    machine->not_own = 0;
    machine->founded = false;
}

void folders_down(struct world *world, uint32_t node)
{
    struct machine *machine = &world->machine[node];
    if (world->folders.wanted && machine->not_own != 0) {
        folders_own(machine);
        return;
    }
    if (!world->folders.wanted || world->hostile.kind != HOSTILE_NONE || world->faults.over ||
        machine->phase != MACHINE_DOWN || machine->life / 2 % SWAPS_EVERY != 1 || world->nodes == 1)
        return;
    for (uint32_t id = 1; id <= world->nodes; id++) {
        if (world->machine[id].not_own != 0)
            return;
    }
    folders_swap_strange(machine, FOLDERS_DISK | FOLDERS_STORE);
}

bool folders_strange(const struct machine *machine)
{
    return (machine->not_own & FOLDERS_DISK) != 0;
}

void folders_step(struct machine *machine)
{
    struct raft_status status = replica_status(machine->replica).raft;
    RULE(machine->world, status.role != RAFT_LEADER && !status.leader_known,
         "node %u has the folder of another cluster, and leads or follows", machine->id);
    RULE(machine->world, !replica_status(machine->replica).ready,
         "node %u has the folder of another cluster, and is ready", machine->id);
}
