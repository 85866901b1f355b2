#include "tests/sim/world.h"

#include "raft/wal/hard_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- the atlas -------------------------------------------------------------------------------- */

static bool is_damaged(const struct machine *machine)
{
    return machine->disk_damaged || machine->store_damaged;
}

/* Its disk says so: it was admitted, if ever it was recovering, and remembers that. */
static bool may_vote(struct machine *machine)
{
    struct raft_hard_state hard = machine_hard_state(machine).hard;
    return hard.term.n > 0 && !hard.recovering;
}

/* A node that lost something has it again: it runs, has caught up, and saved all of it. */
static void look_for_recovered(struct world *world)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        struct machine *machine = &world->machine[id];
        if (!is_damaged(machine) || !machine_up(machine) || machine->store_down)
            continue;
        if (!may_vote(machine))
            continue;
        /* What a start finds is repaired, or known to be forgotten. */
        if (machine->life != machine->rotten_life &&
            replica_status(machine->replica).damaged_entries == 0)
            machine->disk_unsound = false;
        bool caught_up = users_meta(replica_users(machine->replica)).index >= machine->damaged_at;
        bool saved = machine->saved_index >= machine->damaged_at && machine->saved_after_damage;
        if (caught_up && saved && !machine->disk_damaged)
            machine->store_damaged = false;
        if (caught_up && saved && machine->disk_damaged && !machine->disk_unsound)
            machine->disk_damaged = machine->store_damaged = false;
    }
}

void faults_look(struct world *world)
{
    look_for_recovered(world);
}

/* Whether one more node may lose what it said was durable. */
static bool may_damage(struct world *world, struct machine *machine)
{
    look_for_recovered(world);
    uint32_t others = 0;
    for (uint32_t id = 1; id <= world->nodes; id++)
        others += id != machine->id && is_damaged(&world->machine[id]);
    return others + 1 <= (world->nodes - 1) / 2;
}

static void note_damage(struct world *world, struct machine *machine)
{
    world->counts.damages++;
    machine->damaged_at = world->rules.committed;
    machine->saved_after_damage = false;
}

/* --- faults ----------------------------------------------------------------------------------- */

static uint64_t long_time(struct world *world)
{
    return world_below(world, 2 * world->faults.long_us) + 1000;
}

void faults_restart_later(struct world *world, uint32_t node)
{
    struct faults *faults = &world->faults;
    bool cared_for = (faults->core >> node & 1) != 0;
    if ((faults->over && !cared_for) || (!faults->over && faults->down_us == 0))
        return;
    uint64_t down_us = faults->over ? SECOND_US / 4 : faults->down_us;
    world_push(world, world->now_us + 1000 + world_below(world, 2 * down_us),
               (struct sim_event){.kind = SIM_START, .node = (uint8_t)node});
}

static void cut_randomly(struct world *world)
{
    uint32_t n = world->nodes;
    uint32_t one = 1 + (uint32_t)world_below(world, n);
    uint32_t half = (uint32_t)world_below(world, UINT64_C(1) << n) << 1;
    uint64_t way = world_below(world, 6);
    bool one_way = world_below(world, 3) == 0;
    TELL(world, 0, "the network is cut, way %, node %, half %", way, one, half);
    world->counts.cuts++;
    for (uint32_t from = 1; from <= n; from++) {
        for (uint32_t to = 1; to <= n; to++) {
            bool cut = false;
            if (way == 0) /* one is alone, or is not heard, or does not hear */
                cut = from == one || (to == one && !one_way);
            else if (way == 1)
                cut = to == one || (from == one && !one_way);
            else if (way == 2) /* two halves */
                cut = (half >> from & 1) != (half >> to & 1) && (!one_way || (half >> from & 1));
            else if (way == 3) /* a bridge: both halves hear one node */
                cut = (half >> from & 1) != (half >> to & 1) && from != one && to != one;
            else if (way == 4) /* this and that pair */
                cut = world_chance(world, 300000);
            else /* a ring */
                cut = to % n + 1 != from && from % n + 1 != to;
            if (cut)
                net_cut(world, from, to);
        }
    }
    world_push(world, world->now_us + long_time(world), (struct sim_event){.kind = SIM_HEAL});
}

/*
 * A sector of an old batch of the log, which later ones prove to have been durable, rots; or it was
 * written to the place of another, and is still what it was before.
 */
static void rot_log(struct world *world, struct machine *machine, bool misdirected)
{
    char name[32], other[32];
    uint64_t offset, other_offset;
    if (!may_damage(world, machine) || is_damaged(machine) ||
        !fake_disk_old_sector(&machine->disk, world_random(world), name, &offset) ||
        !fake_disk_old_sector(&machine->disk, world_random(world), other, &other_offset))
        return;
    note_damage(world, machine);
    machine->disk_damaged = machine->disk_unsound = true;
    machine->rotten_life = machine->life;
    if (misdirected)
        fake_disk_misdirect(&machine->disk, name, offset, other, other_offset);
    else
        fake_disk_rot(&machine->disk, name, offset + world_below(world, 256),
                      1 + world_below(world, 16), &world->random);
    TELL(world, machine->id,
         misdirected ? "a sector of its log, at %, went to %" : "a sector of its log rots, at %",
         offset, other_offset);
}

/* One copy of term and vote: the other is enough. */
static void rot_hard_state(struct world *world, struct machine *machine)
{
    if (world->faults.rotten_block)
        return;
    uint64_t block = world_below(world, HARD_STATE_BLOCKS), size = 0;
    const uint8_t *at = fake_disk_bytes(&machine->disk, HARD_STATE_FILE, &size);
    if (at == NULL || size < HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES ||
        memcmp(at + block * HARD_STATE_BLOCK_BYTES, at + (block ^ 1) * HARD_STATE_BLOCK_BYTES,
               64) != 0 ||
        at[block * HARD_STATE_BLOCK_BYTES] == 0)
        return; /* there is one copy only */
    world->faults.rotten_block = true;
    TELL(world, machine->id, "block % of its hard state rots", block);
    world->counts.damages++;
    fake_disk_rot(&machine->disk, HARD_STATE_FILE, block * HARD_STATE_BLOCK_BYTES,
                  1 + world_below(world, 64), &world->random);
}

static void fail_disk(struct world *world, struct machine *machine)
{
    machine->disk.fail_at = machine->disk.operations + 1 + world_below(world, 8);
    machine->disk.fail_error = -EIO;
    machine->disk.fail_forgets = world->faults.forgetful;
    TELL(world, machine->id, "its disk will fail at operation %", machine->disk.fail_at);
}

static void disk_fault(struct world *world, struct machine *machine, enum fault_kind kind)
{
    if (kind == FAULT_DISK_SLOW) {
        machine->disk_us = (uint32_t)(world_below(world, 2) == 0 ? 200 : long_time(world) / 50);
        TELL(world, machine->id, "its disk takes % us", machine->disk_us);
    } else if (kind == FAULT_DISK_STALL) {
        machine->disk_stall_us = world->now_us + long_time(world);
        TELL(world, machine->id, "its disk stands still until %", machine->disk_stall_us);
    } else if (kind == FAULT_DISK_FAIL) {
        fail_disk(world, machine);
    } else if (kind == FAULT_DISK_FULL) {
        machine->disk.room = world_below(world, 3 * machine->settings.segment_bytes);
        TELL(world, machine->id, "its disk has room for % bytes", machine->disk.room);
        world_push(world, world->now_us + long_time(world),
                   (struct sim_event){.kind = SIM_DISK_ROOM, .node = (uint8_t)machine->id});
    } else if (kind == FAULT_MISDIRECT) {
        rot_log(world, machine, true);
    } else if (world_below(world, 2) == 0) {
        rot_log(world, machine, false);
    } else {
        rot_hard_state(world, machine);
    }
}

static void damage_store(struct world *world, struct machine *machine, enum fault_kind kind)
{
    if (!may_damage(world, machine))
        return;
    if (kind == FAULT_STORE_BACK && !machine->has_past)
        return;
    note_damage(world, machine);
    machine->store_damaged = true;
    machine->saved_index = 0;
    if (kind == FAULT_STORE_BACK)
        fake_store_restore(&machine->store, &machine->store_past);
    else
        fake_store_empty(&machine->store);
    TELL(world, machine->id,
         kind == FAULT_STORE_BACK ? "its store holds what it held once" : "its store is emptied");
}

static const char *const refusals[] = {
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions to run this command",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
    "ERR unknown command",
};

static void store_fault(struct world *world, struct machine *machine, enum fault_kind kind)
{
    if (kind == FAULT_STORE_SLOW) {
        machine->store_us = (uint32_t)(world_below(world, 2) == 0 ? 200 : long_time(world) / 50);
        return;
    }
    if (kind == FAULT_STORE_TEAR) {
        machine->store.tear = 1 + (int)world_below(world, 12);
        return;
    }
    if (kind == FAULT_STORE_REFUSE) {
        machine->store.refuses = refusals[world_below(world, ARRAY_LEN(refusals))];
        machine->store_refuses_until_us = world->now_us + long_time(world);
        TELL(world, machine->id, "its store refuses");
        return;
    }
    if (kind == FAULT_STORE_EMPTY || kind == FAULT_STORE_BACK) {
        damage_store(world, machine, kind);
        return;
    }
    if (machine->store_down)
        return;
    machine_store_down(machine);
    if (kind == FAULT_STORE_CRASH)
        fake_store_crash(&machine->store);
    world_push(world, world->now_us + long_time(world),
               (struct sim_event){.kind = SIM_STORE_UP, .node = (uint8_t)machine->id});
}

static void wipe(struct world *world, struct machine *machine)
{
    bool refused = machine->phase == MACHINE_REFUSED;
    if (!world->faults.with_wipes || (!refused && !may_damage(world, machine)))
        return;
    if (!refused && is_damaged(machine))
        return;
    if (machine->phase != MACHINE_REFUSED && machine->phase != MACHINE_DOWN)
        machine_die(machine, MACHINE_POWER_LOST);
    if (machine->not_own != 0)
        folders_own(machine);
    note_damage(world, machine);
    machine->disk_unsound = false; /* a new one */
    machine_wipe(machine, world_below(world, 2) == 0);
    faults_restart_later(world, machine->id);
}

static void clock_fault(struct world *world, struct machine *machine)
{
    uint64_t what = world_below(world, 3);
    if (what == 0)
        machine_drift(machine, (int64_t)world_below(world, 200000) - 100000);
    else if (what == 1)
        machine_jump(machine, long_time(world));
    else
        machine->clock.wall_ms = (int64_t)world_below(world, 7200000) - 3600000;
    TELL(world, machine->id, "its clock drifts or jumps");
}

static void node_fault(struct world *world, struct machine *machine, enum fault_kind kind)
{
    if (kind == FAULT_KILL && machine->phase != MACHINE_REFUSED) {
        machine_die(machine, MACHINE_KILLED);
    } else if (kind == FAULT_POWER && machine->phase != MACHINE_REFUSED) {
        if (world_below(world, 4) == 0)
            machine_die(machine, MACHINE_POWER_LOST);
        else /* at one of its next writes, in the midst of it */
            machine->disk.crash_at = machine->disk.operations + 1 + world_below(world, 12);
    } else if (kind == FAULT_STOP && !machine_frozen(machine)) {
        machine_stop(machine);
    } else if (kind == FAULT_PAUSE) {
        machine_pause(machine, long_time(world));
    } else if (kind == FAULT_WIPE && machine->not_own == 0) {
        wipe(world, machine);
    } else if (kind == FAULT_SNAPSHOT && machine_up(machine) && !machine_frozen(machine)) {
        replica_want_snapshot(machine->replica);
    }
}

static void happen_to(struct world *world, struct machine *machine, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_CUT:
        if (world->nodes > 1)
            cut_randomly(world);
        return;
    case FAULT_BREAK:
        net_break(world, machine->id, 1 + (uint32_t)world_below(world, world->nodes));
        return;
    case FAULT_DISK_SLOW:
    case FAULT_DISK_STALL:
    case FAULT_DISK_FAIL:
    case FAULT_DISK_FULL:
    case FAULT_ROT:
    case FAULT_MISDIRECT:
        if (machine->not_own == 0)
            disk_fault(world, machine, kind);
        return;
    case FAULT_CLOCK:
        clock_fault(world, machine);
        return;
    case FAULT_STORE_DOWN:
    case FAULT_STORE_SLOW:
    case FAULT_STORE_CRASH:
    case FAULT_STORE_EMPTY:
    case FAULT_STORE_BACK:
    case FAULT_STORE_REFUSE:
    case FAULT_STORE_TEAR:
        if (!machine_frozen(machine) && machine->not_own == 0)
            store_fault(world, machine, kind);
        return;
    case FAULT_POWER:
    case FAULT_KILL:
    case FAULT_STOP:
    case FAULT_PAUSE:
    case FAULT_WIPE:
    case FAULT_SNAPSHOT:
        node_fault(world, machine, kind);
        return;
    }
    UNREACHABLE();
}

void faults_event(struct world *world)
{
    struct faults *faults = &world->faults;
    if (faults->over || faults->weights == 0)
        return;
    if (rollbacks_hold(world)) {
        world_push(world, world->now_us + SECOND_US / 100, (struct sim_event){.kind = SIM_FAULT});
        return;
    }
    uint64_t drawn = world_below(world, faults->weights);
    uint32_t kind = 0;
    while (drawn >= faults->weight[kind])
        drawn -= faults->weight[kind++];
    struct machine *machine = &world->machine[1 + world_below(world, world->nodes)];
    happen_to(world, machine, (enum fault_kind)kind);
    world_push(world, world->now_us + world_below(world, 2 * faults->every_us) + 1,
               (struct sim_event){.kind = SIM_FAULT});
}
