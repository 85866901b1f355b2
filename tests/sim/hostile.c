#include "tests/sim/hostile.h"

#include "raft/replica/state.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Frames at one visit. */
#define FRAMES_MAX 6u

uint64_t hostile_below(struct world *world, uint64_t limit)
{
    return limit == 0 ? 0 : fake_random(&world->hostile.random) % limit;
}

/* --- when ------------------------------------------------------------------------------------- */

void hostile_draw(struct world *world, enum hostile_kind kind)
{
    static const uint64_t every_us[] = {1000, 5000, 20000, 100000};
    struct hostile *hostile = &world->hostile;
    struct faults *faults = &world->faults;
    hostile->kind = world->nodes > 1 ? kind : HOSTILE_NONE; /* who is alone hears nobody */
    hostile->random = world->seed ^ UINT64_C(0x6f68737469656c65);
    if (hostile->kind == HOSTILE_NONE)
        return;
    hostile->every_us = every_us[hostile_below(world, ARRAY_LEN(every_us))];
    if (kind != HOSTILE_LIES)
        return;
    static const enum fault_kind ending[] = {FAULT_DISK_FAIL, FAULT_DISK_FULL, FAULT_ROT,
                                             FAULT_MISDIRECT};
    for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
        faults->weights -= faults->weight[ending[i]];
        faults->weight[ending[i]] = 0;
    }
}

void hostile_done(struct hostile *hostile)
{
    for (uint32_t i = 0; i < HOSTILE_KEPT; i++)
        free(hostile->kept[i]);
}

static void come_later(struct world *world)
{
    struct hostile *hostile = &world->hostile;
    world_push(world, world->now_us + 1 + hostile_below(world, 2 * hostile->every_us),
               (struct sim_event){.kind = SIM_HOSTILE,
                                  .node = (uint8_t)(1 + hostile_below(world, world->nodes))});
}

void hostile_begin(struct world *world)
{
    if (world->hostile.kind != HOSTILE_NONE)
        come_later(world);
}

void hostile_event(struct world *world, const struct sim_event *event)
{
    struct sim_event visit = *event;
    if (world->hostile.over)
        return;
    if (visit.number == 0) /* else it had to wait for the node */
        come_later(world);
    visit.number = 1;
    machine_event(&world->machine[visit.node], &visit);
}

void hostile_overhear(struct world *world, uint32_t from, uint32_t to, struct frame frame)
{
    struct hostile *hostile = &world->hostile;
    if (hostile->kind == HOSTILE_NONE || hostile->over || hostile_below(world, 8) != 0)
        return;
    struct packet **place = &hostile->kept[hostile_below(world, HOSTILE_KEPT)];
    free(*place);
    *place = malloc(sizeof(**place) + frame.payload.len);
    assert(*place != NULL);
    **place = (struct packet){.from = (uint8_t)from,
                              .to = (uint8_t)to,
                              .kind = frame.kind,
                              .len = (uint32_t)frame.payload.len};
    if (frame.payload.len > 0)
        memcpy((*place)->bytes, frame.payload.at, frame.payload.len);
}

void hostile_limit_memory(void)
{
#ifndef __SANITIZE_ADDRESS__ /* which asks for as much as there may ever be */
    const struct rlimit limit = {HOSTILE_MEMORY_BYTES, HOSTILE_MEMORY_BYTES};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        abort();
#endif
}

/* --- what is asked ---------------------------------------------------------------------------- */

/* A rule that is asked whatever was said. The others are asked no more for that. */
#define ASK(world, condition, ...)             \
    do {                                       \
        if (!(condition)) {                    \
            bool lied = (world)->hostile.lied; \
            (world)->hostile.lied = false;     \
            world_break((world), __VA_ARGS__); \
            (world)->hostile.lied = lied;      \
        }                                      \
    } while (0)

void hostile_must_run(struct machine *machine)
{
    ASK(machine->world, machine_up(machine), "node %u does not run after lies", machine->id);
}

void hostile_process_ends(struct machine *machine, const char *text)
{
    struct world *world = machine->world;
    ASK(world, !world->hostile.lied || machine->dying || machine->disk.crashed,
        "node %u: a lie ends its process: %s", machine->id, text);
}

void hostile_look(struct machine *machine)
{
    struct world *world = machine->world;
    const struct replica *replica = machine->replica;
    const struct snapshot_receive *receive = &replica->receive;
    if (world->hostile.kind == HOSTILE_NONE)
        return;
    ASK(world, raft_status(replica->raft).term.n <= RAFT_TERM_MAX,
        "node %u: a term beyond the last", machine->id);
    ASK(world,
        replica->writes.forwarded <= REPLICA_WAITING_MAX &&
            replica->writes.forwarded_bytes <= REPLICA_WAITING_BYTES_MAX,
        "node %u keeps too many writes of others", machine->id);
    if (receive->users == NULL || receive->phase != RECEIVE_FETCHING)
        return;
    struct users_meta loaded = users_meta(receive->users), announced = receive->meta;
    ASK(world,
        loaded.users <= announced.users && loaded.answers_next <= announced.answers_next &&
            loaded.keys_next <= announced.keys_next && loaded.next_id <= announced.next_id,
        "node %u fetches more than was announced", machine->id);
}

struct position {
    struct raft_status raft;
    uint64_t applied;
};

static struct position position_of(const struct machine *machine)
{
    struct replica_status status = replica_status(machine->replica);
    return (struct position){status.raft, status.applied};
}

static bool same_position(const struct position *a, const struct position *b)
{
    return a->raft.role == b->raft.role && term_equal(a->raft.term, b->raft.term) &&
           index_equal(a->raft.commit, b->raft.commit) && index_equal(a->raft.last, b->raft.last) &&
           a->raft.recovering == b->raft.recovering && a->applied == b->applied;
}

void hostile_speak(struct machine *machine)
{
    struct world *world = machine->world;
    struct hostile *hostile = &world->hostile;
    uint64_t frames = 1 + hostile_below(world, FRAMES_MAX);
    for (uint64_t i = 0; i < frames && !machine->failed && !machine->disk.crashed; i++) {
        struct lie lie;
        hostile->lied = hostile->lied || hostile->kind == HOSTILE_LIES;
        if (!hostile_lie(machine, &lie))
            continue;
        struct position before = position_of(machine);
        TELL(world, machine->id, "hears a lie");
        TELL(world, machine->id, lie.name);
        int result = replica_receive(machine->replica, lie.from, lie.frame);
        struct position after = position_of(machine);
        world->counts.lies++;
        world->counts.lies_refused += result < 0;
        ASK(world, !lie.must_be_refused || (result == -EBADMSG && same_position(&before, &after)),
            "node %u does not refuse: %s", machine->id, lie.name);
        hostile_look(machine);
        raft_check(replica_raft(machine->replica));
        /* What its caller does with who is refused: the connection in that name ends. */
        if (result == -EBADMSG && lie.from.n >= 1 && lie.from.n <= world->nodes &&
            hostile_below(world, 4) == 0)
            replica_peer_lost(machine->replica, lie.from);
    }
}
