#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct world *world_now;

/* --- chance ----------------------------------------------------------------------------------- */

uint64_t world_random(struct world *world)
{
    return fake_random(&world->random);
}

uint64_t world_below(struct world *world, uint64_t limit)
{
    return limit == 0 ? 0 : world_random(world) % limit;
}

uint64_t world_between(struct world *world, uint64_t low, uint64_t high)
{
    assert(low <= high);
    return low + world_below(world, high - low + 1);
}

bool world_chance(struct world *world, uint64_t of_million)
{
    return of_million > 0 && world_below(world, 1000000) < of_million;
}

/* --- life ------------------------------------------------------------------------------------- */

struct world *world_new(uint64_t seed, uint32_t nodes)
{
    struct world *world = calloc(1, sizeof(*world));
    assert(world != NULL && nodes >= 1 && nodes <= SIM_NODES);
    world->seed = seed;
    world->random = seed;
    world->nodes = nodes;
    clients_init(world);
    return world;
}

void world_free(struct world *world)
{
    folders_done(&world->folders);
    world_now = NULL;
    for (uint32_t id = 1; id <= world->nodes; id++)
        machine_done(&world->machine[id]);
    for (size_t i = 0; i < world->queue.count; i++)
        free(world->queue.at[i].packet);
    queue_done(&world->queue);
    net_done(&world->net);
    hostile_done(&world->hostile);
    clients_done(&world->clients);
    rules_done(&world->rules);
    free(world);
}

void world_break(struct world *world, const char *format, ...)
{
    if (world->broken || world->hostile.lied)
        return;
    world->broken = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->why, sizeof(world->why), format, arguments);
    va_end(arguments);
}

/* --- time ------------------------------------------------------------------------------------- */

void world_push(struct world *world, uint64_t at_us, struct sim_event event)
{
    event.at_us = at_us < world->now_us ? world->now_us : at_us;
    queue_push(&world->queue, event);
}

static void mix(struct world *world, const struct sim_event *event)
{
    uint64_t words[] = {event->at_us, (uint64_t)event->kind, event->node, event->other,
                        event->number};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        world->hash = (world->hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15) + (world->hash >> 29);
}

static void happen(struct world *world, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_CLIENT:
        clients_event(world, event);
        return;
    case SIM_FAULT:
        faults_event(world);
        return;
    case SIM_HEAL:
        net_heal(world);
        return;
    case SIM_CONNECT:
        net_connect(world, event);
        return;
    case SIM_HOSTILE:
        hostile_event(world, event);
        return;
    case SIM_TURN:
    case SIM_PACKET:
    case SIM_ASK:
    case SIM_LOST:
    case SIM_JOB_RUN:
    case SIM_JOB_DONE:
    case SIM_STORE:
    case SIM_LATER:
    case SIM_STORE_UP:
    case SIM_WAKE:
    case SIM_START:
    case SIM_DISK_ROOM:
        machine_event(&world->machine[event->node], event);
        return;
    }
    UNREACHABLE();
}

bool world_step(struct world *world, uint64_t until_us)
{
    const struct sim_event *first = queue_first(&world->queue);
    if (first == NULL || first->at_us > until_us) {
        world->now_us = until_us;
        return false;
    }
    struct sim_event event = queue_pop(&world->queue);
    assert(event.at_us >= world->now_us);
    world->now_us = event.at_us;
    world->counts.events++;
    mix(world, &event);
    happen(world, &event);
    return true;
}

void world_run(struct world *world, uint64_t until_us)
{
    world_now = world;
    while (!world->broken && world_step(world, until_us))
        ;
}
