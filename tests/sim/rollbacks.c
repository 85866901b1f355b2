#include "tests/sim/rollbacks.h"

#include "raft/replica/state.h"
#include "tests/sim/world.h"

/* So long it may take until somebody has connected to it and told it. */
#define TOLD_US (30 * SECOND_US)
/* One death in so many leaves a copy that is newer. */
#define COPIES_ANEW 4u

static bool is_well(const struct machine *machine)
{
    return machine_up(machine) && !machine_frozen(machine) && !machine->stopping &&
           !machine->failed && !machine->disk_damaged && !machine->store_damaged &&
           machine->disk.crash_at == 0 && machine->disk.fail_at == 0 &&
           machine->disk.room > UINT64_MAX / 4 && machine->disk_stall_us <= machine->world->now_us;
}

/* What this process remembers of the node is later than the copy: a start, or an acknowledgement.
 */
static bool remembers_later(const struct machine *witness, const struct machine *machine)
{
    const struct replica *replica = witness->replica;
    for (uint32_t i = 0; i < replica->options.members; i++) {
        const struct life_seen *seen = &replica->lives.seen[i];
        if (replica->options.member[i].n == machine->id)
            return seen->start > machine->disk_past_start ||
                   (seen->last.term.n == machine->disk_past_term &&
                    seen->last.index.n > machine->disk_past_last);
    }
    return false;
}

static bool is_possible(const struct world *world, const struct machine *machine)
{
    if (!world->rollbacks.wanted || world->faults.over || world->nodes < 3 ||
        machine->disk_past == NULL || !is_well(machine) || machine->store_down)
        return false;
    bool remembered = false;
    for (uint32_t id = 1; id <= world->nodes; id++) {
        const struct machine *witness = &world->machine[id];
        if (id != machine->id && !is_well(witness))
            return false;
        remembered = remembered || (id != machine->id && remembers_later(witness, machine));
        for (uint32_t to = 1; to <= world->nodes; to++) {
            if (world->net.cut[id][to])
                return false;
        }
    }
    return remembered;
}

void rollbacks_down(struct world *world, uint32_t node)
{
    struct machine *machine = &world->machine[node];
    if (!world->rollbacks.wanted || machine->phase != MACHINE_DOWN || machine->disk_damaged ||
        machine->store_damaged)
        return;
    if (machine->disk_past == NULL || machine->life / 2 % COPIES_ANEW == 0)
        machine_copy(machine);
}

/* Whose turn it is: each node's comes. */
static struct machine *candidate(struct world *world)
{
    return &world->machine[1 + world->now_us / 1000 % world->nodes];
}

static void begin(struct world *world, struct machine *machine)
{
    machine_die(machine, MACHINE_KILLED);
    machine->damaged_at = world->rules.committed;
    machine->saved_after_damage = false;
    machine_roll_back(machine);
    world->rollbacks.node = machine->id;
    world->rollbacks.since_us = world->now_us;
    world->rollbacks.told = false;
}

void rollbacks_told(struct world *world, uint32_t node, const char *text)
{
    /* A frame of an earlier disk that overtakes a connection may say so; TCP has none. */
    RULE(world, world->counts.rolled_back > 0 || world->hostile.lied || !world->net.reliable,
         "node %u says that a disk was put back, and none was: %s", node, text);
    if (world->rollbacks.node == node)
        world->rollbacks.told = true;
}

/* Durably: it goes on as a later start than the one that follows the copy. */
static bool knows(struct machine *machine)
{
    return machine_hard_state(machine).starts.count > machine->disk_past_start + 1;
}

bool rollbacks_hold(struct world *world)
{
    struct rollbacks *rollbacks = &world->rollbacks;
    struct machine *machine = candidate(world);
    bool possible = rollbacks->node == 0 && is_possible(world, machine);
    if (rollbacks->node == 0 && !possible && rollbacks->wanted && is_well(machine) &&
        world->now_us / 7 % COPIES_ANEW == 0)
        machine_copy(machine); /* of a disk in use */
    if (rollbacks->node == 0 && !possible)
        return false;
    if (rollbacks->node == 0)
        begin(world, machine);
    if (rollbacks->told && knows(&world->machine[rollbacks->node]))
        rollbacks->node = 0;
    RULE(world, rollbacks->node == 0 || world->now_us - rollbacks->since_us < TOLD_US,
         "node %u was put back, and nobody tells it", rollbacks->node);
    return rollbacks->node != 0;
}
