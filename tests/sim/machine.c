#include "tests/sim/machine_state.h"

#include <stdlib.h>

/* --- clock ------------------------------------------------------------------------------------ */

static uint64_t local_us(const struct machine *machine, uint64_t world_us)
{
    const struct machine_clock *clock = &machine->clock;
    uint64_t passed = world_us - clock->since_us;
    return clock->base_us + passed * (uint64_t)(1000000 + clock->drift) / 1000000;
}

/* Calls take no time but what the disk takes on the loop. */
uint64_t machine_spent_us(const struct machine *machine)
{
    if (!machine->calling || machine->disk.syncs == machine->disk_syncs)
        return 0;
    uint64_t now_us = machine->world->now_us, us = 0;
    if (machine->disk_stall_us > now_us)
        us = machine->disk_stall_us - now_us;
    return us + (machine->disk.syncs - machine->disk_syncs) * machine->disk_us;
}

uint64_t machine_now_us(const struct machine *machine)
{
    return local_us(machine, machine->world->now_us + machine_spent_us(machine));
}

/* When the local clock will show this. */
static uint64_t world_us_at(const struct machine *machine, uint64_t clock_ms)
{
    const struct machine_clock *clock = &machine->clock;
    uint64_t wanted_us = clock_ms > UINT64_MAX / 4000000 ? UINT64_MAX / 4000 : clock_ms * 1000;
    if (wanted_us <= clock->base_us)
        return clock->since_us;
    uint64_t rate = (uint64_t)(1000000 + clock->drift);
    uint64_t wait_us = wanted_us - clock->base_us;
    if (wait_us > 1000 * SECOND_US)
        wait_us = 1000 * SECOND_US; /* it is looked again then */
    return clock->since_us + (wait_us * 1000000 + rate - 1) / rate;
}

static void rebase(struct machine *machine)
{
    machine->clock.base_us = local_us(machine, machine->world->now_us);
    machine->clock.since_us = machine->world->now_us;
}

void machine_drift(struct machine *machine, int64_t of_million)
{
    rebase(machine);
    machine->clock.drift = of_million;
    if (machine_up(machine))
        machine_set_turn(machine, machine->world->now_us);
}

void machine_jump(struct machine *machine, uint64_t us)
{
    rebase(machine);
    machine->clock.base_us += us;
    if (machine_up(machine))
        machine_set_turn(machine, machine->world->now_us);
}

/* --- events ----------------------------------------------------------------------------------- */

bool machine_up(const struct machine *machine)
{
    return machine->phase == MACHINE_RUNNING && !machine->dying;
}

bool machine_frozen(const struct machine *machine)
{
    uint64_t now_us = machine->world->now_us;
    return machine->paused_until_us > now_us || machine->busy_until_us > now_us;
}

void machine_push(struct machine *machine, uint64_t at_us, enum sim_event_kind kind,
                  uint64_t number)
{
    world_push(
        machine->world, at_us,
        (struct sim_event){
            .kind = kind, .node = (uint8_t)machine->id, .life = machine->life, .number = number});
}

void machine_set_turn(struct machine *machine, uint64_t at_us)
{
    if (at_us < machine->world->now_us)
        at_us = machine->world->now_us;
    if (machine->turn_at_us <= at_us)
        return;
    machine->turn_at_us = at_us;
    machine_push(machine, at_us, SIM_TURN, at_us);
}

static uint64_t about(struct world *world, uint64_t us)
{
    return us / 2 + world_below(world, us + 1);
}

/* --- runner ----------------------------------------------------------------------------------- */

static void work_on(struct machine *machine, enum runner_lane lane)
{
    struct sim_runner *runner = &machine->runner;
    struct job *job = runner->first[lane];
    if (job == NULL || runner->at_work[lane] != NULL || runner->ran[lane] != NULL)
        return;
    runner->first[lane] = job->next;
    runner->at_work[lane] = job;
    machine_push(machine, machine->world->now_us + about(machine->world, machine->disk_us),
                 SIM_JOB_RUN, lane);
}

static void submit(struct runner *base, enum runner_lane lane, struct job *job)
{
    struct machine *machine =
        CONTAINER_OF(CONTAINER_OF(base, struct sim_runner, runner), struct machine, runner);
    struct sim_runner *runner = &machine->runner;
    job->next = NULL;
    if (runner->first[lane] == NULL)
        runner->first[lane] = job;
    else
        runner->last[lane]->next = job;
    runner->last[lane] = job;
    work_on(machine, lane);
}

struct runner machine_runner(void)
{
    return (struct runner){.submit = submit};
}

static void job_run(struct machine *machine, enum runner_lane lane)
{
    struct sim_runner *runner = &machine->runner;
    struct job *job = runner->at_work[lane];
    if (machine->disk_stall_us > machine->world->now_us) {
        machine_push(machine, machine->disk_stall_us, SIM_JOB_RUN, lane);
        return;
    }
    runner->at_work[lane] = NULL;
    runner->ran[lane] = job;
    job->run(job);
    if (machine->disk.crashed)
        machine_die(machine, MACHINE_POWER_LOST);
    else
        machine_push(machine, machine->world->now_us + 20, SIM_JOB_DONE, lane);
}

static void job_done(struct machine *machine, enum runner_lane lane)
{
    struct job *job = machine->runner.ran[lane];
    machine->runner.ran[lane] = NULL;
    job->done(job);
    work_on(machine, lane);
}

/* What the thread was at comes to nothing, but the loop hears of it. */
void machine_drain_jobs(struct machine *machine)
{
    bool any = true;
    while (any) {
        any = false;
        for (uint32_t lane = 0; lane < RUNNER_LANES; lane++) {
            struct sim_runner *runner = &machine->runner;
            struct job *job = runner->ran[lane];
            bool did_run = job != NULL;
            if (job == NULL)
                job = runner->at_work[lane];
            if (job == NULL && runner->first[lane] != NULL) {
                job = runner->first[lane];
                runner->first[lane] = job->next;
            }
            runner->ran[lane] = runner->at_work[lane] = NULL;
            if (job == NULL)
                continue;
            any = true;
            if (!did_run)
                job->run(job);
            job->done(job);
        }
    }
}

bool machine_jobs_left(const struct machine *machine)
{
    for (uint32_t lane = 0; lane < RUNNER_LANES; lane++) {
        if (machine->runner.first[lane] != NULL || machine->runner.at_work[lane] != NULL ||
            machine->runner.ran[lane] != NULL)
            return true;
    }
    return false;
}

void machine_drop_waiting(struct machine *machine)
{
    for (size_t i = 0; i < machine->waiting; i++)
        free(machine->waiting_event[i].packet);
    machine->waiting = 0;
}

/* --- calls ------------------------------------------------------------------------------------ */

void machine_enter(struct machine *machine)
{
    machine->world->counts.steps++;
    machine->calling = true;
    machine->disk_syncs = machine->disk.syncs;
}

static void schedule_store(struct machine *machine)
{
    struct world *world = machine->world;
    if (machine->store.waiting > 0 && !machine->store_busy) {
        machine->store_busy = true;
        machine_push(machine, world->now_us + about(world, machine->store_us), SIM_STORE, 0);
    }
    if (machine->store.later_call != NULL && !machine->later_set) {
        machine->later_set = true;
        machine_push(machine, world->now_us + machine->store.later_ms * UINT64_C(1000), SIM_LATER,
                     0);
    }
}

void machine_leave(struct machine *machine)
{
    struct world *world = machine->world;
    uint64_t us = machine_spent_us(machine);
    machine->calling = false;
    if (machine->disk.crashed || machine->failed) {
        machine_die(machine, machine->disk.crashed ? MACHINE_POWER_LOST : MACHINE_KILLED);
        return;
    }
    if (us > 0) {
        machine->busy_until_us = world->now_us + us;
        if (us > SECOND_US / 10)
            machine->undisturbed_us = machine->busy_until_us;
        machine_push(machine, machine->busy_until_us, SIM_WAKE, 0);
    }
    schedule_store(machine);
    if (machine->phase != MACHINE_RUNNING || world->broken)
        return;
    rules_step(world, machine->id);
    if (machine->stopping && !replica_busy(machine->replica) && !machine_jobs_left(machine))
        machine_die(machine, MACHINE_STOPPED);
    else
        machine_set_turn(machine, world_us_at(machine, replica_deadline_ms(machine->replica)));
}

static void wait(struct machine *machine, const struct sim_event *event)
{
    if (machine->waiting == machine->waiting_room) {
        machine->waiting_room = machine->waiting_room == 0 ? 64 : 2 * machine->waiting_room;
        machine->waiting_event =
            realloc(machine->waiting_event, machine->waiting_room * sizeof(struct sim_event));
        assert(machine->waiting_event != NULL);
    }
    machine->waiting_event[machine->waiting++] = *event;
}

static void wake(struct machine *machine)
{
    if (machine_frozen(machine))
        return;
    for (size_t i = 0; i < machine->waiting; i++)
        world_push(machine->world, machine->world->now_us, machine->waiting_event[i]);
    machine->waiting = 0;
}

void machine_pause(struct machine *machine, uint64_t us)
{
    struct world *world = machine->world;
    if (!machine_up(machine))
        return;
    world->counts.pauses++;
    machine->paused_until_us = us == UINT64_MAX ? us : world->now_us + us;
    machine->undisturbed_us = machine->paused_until_us;
    TELL(world, machine->id, "stands still for % us", us);
    if (us != UINT64_MAX)
        machine_push(machine, machine->paused_until_us, SIM_WAKE, 0);
}

void machine_resume(struct machine *machine)
{
    machine->paused_until_us = machine->busy_until_us = 0;
    machine->undisturbed_us = machine->world->now_us;
    wake(machine);
}

/* --- store ------------------------------------------------------------------------------------ */

void machine_store_down(struct machine *machine)
{
    machine->store_down = true;
    TELL(machine->world, machine->id, "its store is away");
    bool alive = machine->phase != MACHINE_DOWN && machine->phase != MACHINE_REFUSED;
    if (alive)
        machine_enter(machine);
    fake_store_lose(&machine->store);
    if (alive)
        machine_leave(machine);
    if (machine->phase == MACHINE_LOADING) {
        machine_push(machine, machine->world->now_us + REDIS_WAIT_WHOLE_US, SIM_TURN, 0);
        machine_push(machine, machine->started_us + REDIS_WAIT_US, SIM_TURN, 0);
    }
}

void machine_store_up(struct machine *machine)
{
    if (!machine->store_down)
        return;
    machine->store_down = false;
    TELL(machine->world, machine->id, "its store is back");
    fake_store_connect(&machine->store);
    if (machine->phase != MACHINE_LOADING && machine->phase != MACHINE_RUNNING)
        return;
    machine_enter(machine);
    if (machine->phase == MACHINE_RUNNING)
        replica_store_lost(machine->replica);
    else if (!machine->load_asked)
        machine_load(machine);
    machine_leave(machine);
}

static void store_step(struct machine *machine)
{
    machine->store_busy = false;
    if (machine->store.refuses != NULL && machine->store_refuses_until_us != 0 &&
        machine->world->now_us >= machine->store_refuses_until_us) {
        machine->store.refuses = NULL;
        TELL(machine->world, machine->id, "its store answers again");
    }
    if (machine->store.waiting > 0)
        (void)fake_store_step(&machine->store);
    if (!machine->store.connected && !machine->store_down) { /* it lost power in a transaction */
        TELL(machine->world, machine->id, "its store lost power in the midst of a transaction");
        machine->store_down = true;
        machine_push(machine, machine->world->now_us + SECOND_US, SIM_STORE_UP, 0);
    }
}

static void store_later(struct machine *machine)
{
    machine->later_set = false;
    void (*call)(void *context) = machine->store.later_call;
    machine->store.later_call = NULL;
    if (call != NULL)
        call(machine->store.later_context);
}

/* --- what happens ----------------------------------------------------------------------------- */

/* As in boot.c. */
static void look_after_store(struct machine *machine)
{
    uint64_t now_ms = machine_now_us(machine) / 1000;
    if (now_ms < machine->look_ms || machine->store_down)
        return;
    machine->look_ms = now_ms + SNAPSHOTS_LOOK_MS;
    snapshots_look(machine->snapshots);
}

static void turn(struct machine *machine, const struct sim_event *event)
{
    if (machine->phase == MACHINE_LOADING) {
        machine_consider_start(machine);
    } else if (machine->phase == MACHINE_RUNNING && event->number == machine->turn_at_us) {
        machine->turn_at_us = UINT64_MAX;
        look_after_store(machine);
        replica_turn(machine->replica);
    }
}

/* Something came for the loop: its turn is soon. */
static void turn_soon(struct machine *machine)
{
    if (machine_up(machine))
        machine_set_turn(machine, machine->world->now_us + world_below(machine->world, 100));
}

static void call(struct machine *machine, const struct sim_event *event)
{
    machine_enter(machine);
    if (event->kind == SIM_TURN)
        turn(machine, event);
    else if (event->kind == SIM_PACKET)
        net_arrived(machine->world, event);
    else if (event->kind == SIM_HOSTILE)
        hostile_speak(machine);
    else if (event->kind == SIM_ASK)
        clients_deliver(machine->world, event->number);
    else if (event->kind == SIM_LOST)
        net_lost(machine->world, event);
    else if (event->kind == SIM_JOB_DONE)
        job_done(machine, (enum runner_lane)event->number);
    else if (event->kind == SIM_STORE)
        store_step(machine);
    else if (event->kind == SIM_LATER)
        store_later(machine);
    machine_leave(machine);
    if (event->kind != SIM_TURN)
        turn_soon(machine);
}

static bool is_of_now(const struct machine *machine, const struct sim_event *event)
{
    if (event->kind == SIM_PACKET || event->kind == SIM_HOSTILE)
        return machine_up(machine);
    if (event->kind == SIM_LOST && !machine_up(machine))
        return false;
    if (event->kind == SIM_START || event->kind == SIM_STORE_UP || event->kind == SIM_DISK_ROOM)
        return true;
    if (event->kind == SIM_TURN && machine->phase == MACHINE_RUNNING &&
        event->number != machine->turn_at_us)
        return false;
    return event->life == machine->life;
}

void machine_event(struct machine *machine, const struct sim_event *event)
{
    if (!is_of_now(machine, event)) {
        free(event->packet);
        return;
    }
    bool of_loop =
        event->kind != SIM_WAKE && event->kind != SIM_START && event->kind != SIM_DISK_ROOM;
    bool thread = event->kind == SIM_JOB_RUN;
    uint64_t now_us = machine->world->now_us;
    if (of_loop && (thread ? machine->paused_until_us > now_us : machine_frozen(machine))) {
        wait(machine, event);
        return;
    }
    if (event->kind == SIM_WAKE)
        wake(machine);
    else if (event->kind == SIM_START)
        machine_start(machine);
    else if (event->kind == SIM_DISK_ROOM)
        machine->disk.room = UINT64_MAX / 2;
    else if (event->kind == SIM_STORE_UP)
        machine_store_up(machine);
    else if (event->kind == SIM_JOB_RUN)
        job_run(machine, (enum runner_lane)event->number);
    else
        call(machine, event);
    free(event->packet);
}
