#include "raft/wal/hard_state.h"
#include "tests/fuzz/driver_steps.h"
#include "tests/sim/machine_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER "sim"

/* --- hooks ------------------------------------------------------------------------------------ */

static uint64_t hook_now_ms(void *context)
{
    return machine_now_us(context) / 1000;
}

static uint64_t hook_wall_ms(void *context)
{
    struct machine *machine = context;
    return (uint64_t)(1700000000000 + machine->clock.wall_ms) + machine_now_us(machine) / 1000;
}

static void hook_written(void *context, struct replica_client client, uint64_t index,
                         const struct users_answer *answer)
{
    struct machine *machine = context;
    if (!machine->dying)
        clients_written(machine->world, machine->id, client.call, index, answer);
}

static void hook_refused(void *context, struct replica_client client, enum call_reason reason)
{
    struct machine *machine = context;
    if (!machine->dying)
        clients_refused(machine->world, machine->id, client.call, reason);
}

static void hook_unknown(void *context, struct replica_client client)
{
    struct machine *machine = context;
    if (!machine->dying)
        clients_unknown(machine->world, machine->id, client.call);
}

static void hook_readable(void *context, struct replica_client client)
{
    struct machine *machine = context;
    if (!machine->dying)
        clients_readable(machine->world, machine->id, client.call);
}

static void hook_save(void *context, struct users_view *take_view, raft_term term,
                      const struct members *members)
{
    struct machine *machine = context;
    TELL(machine->world, machine->id, "saves the state at %", users_view_meta(take_view).index);
    snapshots_identify(machine->snapshots, replica_identity(machine->replica).cluster);
    snapshots_save(machine->snapshots, take_view, term, members);
}

static void hook_ready(void *context)
{
    struct machine *machine = context;
    RULE(machine->world, !machine->ready, "node %u is ready twice", machine->id);
    machine->ready = true;
    TELL(machine->world, machine->id, "is ready");
}

static void hook_note(void *context, const char *fact, const char *text)
{
    struct machine *machine = context;
    TELL(machine->world, machine->id, fact);
    if (strcmp(fact, "log_rolled_back") == 0)
        rollbacks_told(machine->world, machine->id, text);
    RULE(machine->world,
         strcmp(fact, "state_diverged") != 0 || machine->world->may_diverge ||
             machine->world->hostile.lied,
         "node %u has another state than a node that applied the same: %s", machine->id, text);
    machine->world->counts.installs += strcmp(fact, "snapshot_installed") == 0;
}

static void hook_failed(void *context, const char *what, int error)
{
    struct machine *machine = context;
    if (!machine->failed && !machine->dying)
        TELL(machine->world, machine->id, what);
    if (!machine->failed && !machine->dying)
        TELL(machine->world, machine->id, "  failed with error %", (uint64_t)-error);
    hostile_process_ends(machine, what);
    machine->failed = true;
}

static const struct replica_hooks hooks = {
    .now_ms = hook_now_ms,
    .wall_ms = hook_wall_ms,
    .written = hook_written,
    .refused = hook_refused,
    .unknown = hook_unknown,
    .readable = hook_readable,
    .save = hook_save,
    .ready = hook_ready,
    .note = hook_note,
    .failed = hook_failed,
};

/* --- start ------------------------------------------------------------------------------------ */

static void new_state(struct machine *machine)
{
    if (machine->loading != NULL)
        users_free(machine->loading);
    machine->loading = users_new(machine->settings.answers_max);
}

static void refuse_start(struct machine *machine, const char *text)
{
    machine->world->counts.refused_to_start++;
    TELL(machine->world, machine->id, "refuses to start");
    hostile_process_ends(machine, text);
    RULE(machine->world,
         machine->disk_damaged || machine->store_damaged || machine->not_own != 0 ||
             machine->disk.room < machine->settings.segment_bytes * 4,
         "node %u refuses to start, and nothing it had was lost: %s", machine->id, text);
    machine->failed = true;
}

static void start_replica(struct machine *machine)
{
    char text[600] = "";
    struct replica_state state = {.users = machine->loading};
    if (users_meta(state.users).index > 0) {
        state.term = snapshots_loaded_term(machine->snapshots);
        state.members = *snapshots_loaded_members(machine->snapshots);
    }
    rules_state(machine->world, machine->id, users_meta(state.users));
    int result = replica_start(machine->replica, &state, text, sizeof(text));
    if (result != 0) {
        if (!machine->disk.crashed)
            refuse_start(machine, text);
        return;
    }
    machine->loading = NULL;
    machine->phase = MACHINE_RUNNING;
    machine->undisturbed_us = machine->world->now_us;
    TELL(machine->world, machine->id, "runs, state at %", users_meta(state.users).index);
    net_machine_up(machine->world, machine->id);
}

static void on_loaded(void *context, enum snapshots_found found, const char *text)
{
    struct machine *machine = context;
    machine->load_asked = false;
    if (machine->dying)
        return;
    switch (found) {
    case SNAPSHOTS_DAMAGED:
        RULE(machine->world, machine->store_edited || machine->not_own != 0,
             "node %u finds its snapshot damaged: %s", machine->id, text);
        new_state(machine);
        start_replica(machine);
        return;
    case SNAPSHOTS_NONE:
    case SNAPSHOTS_LOADED:
        start_replica(machine);
        return;
    case SNAPSHOTS_AWAY:
        new_state(machine);
        return;
    case SNAPSHOTS_REFUSED: /* asked again a little later, as in boot.c */
        new_state(machine);
        machine->load_after_us = machine->world->now_us + REDIS_AGAIN_US;
        machine_push(machine, machine->load_after_us, SIM_TURN, 0);
        return;
    }
    UNREACHABLE();
}

static void on_saved(void *context, const struct snapshots_saved *saved)
{
    struct machine *machine = context;
    struct world *world = machine->world;
    if (machine->dying)
        return;
    TELL(world, machine->id, saved->durable ? "has saved the state at %" : "could not save at %",
         saved->index);
    if (saved->durable && machine->not_own == 0) {
        world->counts.snapshots++;
        machine->saved_index = saved->index;
        machine->saved_after_damage = true;
        if (world_below(world, 4) == 0) {
            fake_db_copy(&machine->store_past, &machine->store.db);
            machine->has_past = true;
        }
    }
    replica_saved(machine->replica, saved->durable, saved->index);
}

static void on_lost(void *context, const char *text)
{
    struct machine *machine = context;
    (void)text;
    if (machine->dying)
        return;
    TELL(machine->world, machine->id, "notices that its store lost the snapshot");
    replica_store_lost(machine->replica);
}

static const struct snapshots_hooks snapshots_hooks = {
    .loaded = on_loaded,
    .saved = on_saved,
    .lost = on_lost,
};

void machine_load(struct machine *machine)
{
    machine->load_asked = true;
    snapshots_load(machine->snapshots, machine->loading);
}

/* While Redis is away at start: on without it, if the log or the others allow. */
void machine_consider_start(struct machine *machine)
{
    uint64_t waited_us = machine->world->now_us - machine->started_us;
    bool whole = machine->recovered.start.n == 0;
    if (machine->load_asked)
        return;
    bool refused = !machine->store_down && machine->world->now_us >= machine->load_after_us;
    if (waited_us < REDIS_WAIT_WHOLE_US) {
        if (refused)
            machine_load(machine);
        return;
    }
    if (whole || (waited_us >= REDIS_WAIT_US && machine->world->nodes > 1))
        start_replica(machine);
    else if (refused)
        machine_load(machine); /* alone it waits, whatever Redis says */
}

static void add_member(struct replica_options *options, uint32_t id)
{
    options->member[options->members++].n = id;
}

static void fill_members(const struct machine *machine, struct replica_options *options)
{
    uint32_t nodes = machine->world->nodes;
    enum machine_options said = machine->founded ? machine->options : OPTIONS_TRUE;
    for (uint32_t id = 1; id <= nodes && nodes > 1 && said != OPTIONS_ALONE; id++) {
        if (said == OPTIONS_REVERSED)
            add_member(options, nodes + 1 - id);
        else if (said != OPTIONS_FEWER || id == machine->id || id == machine->id % nodes + 1)
            add_member(options, id);
    }
    if (said == OPTIONS_MORE && nodes < RAFT_MEMBERS_MAX)
        add_member(options, nodes + 1);
}

static int open_log(struct machine *machine)
{
    struct world *world = machine->world;
    struct replica_options options = {
        .node = machine->id,
        .cluster = CLUSTER,
        .election_ms = machine->settings.election_ms,
        .heartbeat_ms = machine->settings.heartbeat_ms,
        .snapshot_entries = machine->settings.snapshot_entries,
        .answers_max = machine->settings.answers_max,
        .random = world_random(world),
        .drawn = {.low = world->net.heard != NULL ? DRIVER_CLUSTER : 0},
        .segment_bytes = machine->settings.segment_bytes,
        .scrub_bytes_per_s = 1u << 20,
        .own_flush_after_ms = machine->settings.own_flush_after_ms,
        .piece_bytes = machine->settings.piece_bytes,
        .disk = &machine->disk.disk,
        .runner = &machine->runner.runner,
        .network = world->nodes > 1 ? &machine->network : NULL,
        .hooks = &hooks,
        .context = machine,
    };
    fill_members(machine, &options);
    int result = replica_open(&options, &machine->replica, &machine->recovered);
    machine->founded = result == 0 && cluster_id_known(replica_identity(machine->replica).cluster);
    if (machine->world->lies) /* at its next start; no draw, so that a seed stays what it is */
        machine->options =
            (machine->world->seed ^ machine->life * 7u ^ machine->id) % OPTIONS_KINDS;
    return result;
}

void machine_start(struct machine *machine)
{
    struct world *world = machine->world;
    if (machine->phase != MACHINE_DOWN)
        return;
    world->counts.starts++;
    machine->life++;
    machine->phase = MACHINE_LOADING;
    machine->failed = machine->ready = machine->stopping = machine->load_asked = false;
    machine->turn_at_us = UINT64_MAX;
    machine->look_ms = 0;
    machine->paused_until_us = machine->busy_until_us = 0;
    machine->runner = (struct sim_runner){.runner = machine_runner()};
    machine->started_us = world->now_us;
    machine_enter(machine);
    int result = open_log(machine);
    if (result != 0) {
        machine->replica = NULL;
        machine->runner = (struct sim_runner){.runner = machine_runner()}; /* it ends at once */
        if (result == -EBADMSG)
            refuse_start(machine, machine->recovered.text);
        if (result == -EBADMSG && machine->disk_damaged)
            machine->phase = MACHINE_REFUSED;
        machine->failed = true; /* no room, or a write that failed: it is tried again */
        machine_leave(machine);
        return;
    }
    TELL(world, machine->id, "starts: term %, log % to %", machine->recovered.hard.term.n,
         machine->recovered.start.n, machine->recovered.last.n);
    rules_opened(world, machine->id, &machine->recovered);
    new_state(machine);
    machine->snapshots =
        snapshots_new(&machine->store.store, CLUSTER, machine->id, &snapshots_hooks, machine);
    snapshots_identify(machine->snapshots, replica_identity(machine->replica).cluster);
    if (!machine->store_down) {
        fake_store_connect(&machine->store);
        machine_load(machine);
    } else {
        machine_push(machine, world->now_us + REDIS_WAIT_WHOLE_US, SIM_TURN, 0);
        machine_push(machine, world->now_us + REDIS_WAIT_US, SIM_TURN, 0);
    }
    machine_leave(machine);
}

/* --- end -------------------------------------------------------------------------------------- */

void machine_die(struct machine *machine, enum machine_death death)
{
    struct world *world = machine->world;
    if (machine->phase == MACHINE_DOWN || machine->dying)
        return;
    enum machine_phase after = machine->phase == MACHINE_REFUSED ? MACHINE_REFUSED : MACHINE_DOWN;
    TELL(world, machine->id,
         death == MACHINE_KILLED    ? "its process ends"
         : death == MACHINE_STOPPED ? "has stopped"
                                    : "loses power");
    world->counts.crashes++;
    machine->dying = true;
    if (death != MACHINE_STOPPED)
        machine->disk.crashed = true;
    machine_drain_jobs(machine);
    machine->store.later_call = NULL;
    fake_store_lose(&machine->store);
    machine->store.later_call = NULL;
    replica_close(machine->replica);
    machine->replica = NULL;
    snapshots_free(machine->snapshots);
    machine->snapshots = NULL;
    if (machine->loading != NULL)
        users_free(machine->loading);
    machine->loading = NULL;
    machine_drop_waiting(machine);
    machine->life++;
    machine->phase = after;
    machine->dying = machine->calling = machine->failed = false;
    machine->store_busy = machine->later_set = false;
    machine->disk.crashed = false;
    machine->disk.crash_at = machine->disk.fail_at = 0;
    if (death == MACHINE_POWER_LOST) {
        fake_disk_crash(&machine->disk, &world->random);
        machine->disk_stall_us = 0;
    }
    rules_died(world, machine->id);
    net_machine_down(world, machine->id, death != MACHINE_POWER_LOST);
    clients_node_gone(world, machine->id);
    rollbacks_down(world, machine->id);
    folders_down(world, machine->id);
    faults_restart_later(world, machine->id);
}

void machine_stop(struct machine *machine)
{
    if (!machine_up(machine) || machine->stopping)
        return;
    TELL(machine->world, machine->id, "is asked to stop");
    machine->stopping = true;
    machine_enter(machine);
    replica_stop(machine->replica);
    machine_leave(machine);
}

void machine_wipe(struct machine *machine, bool store_too)
{
    assert(machine->phase == MACHINE_DOWN || machine->phase == MACHINE_REFUSED);
    machine->world->counts.wipes++;
    TELL(machine->world, machine->id,
         store_too ? "has lost its disk and its store" : "has lost its disk");
    uint64_t room = machine->disk.room;
    fake_disk_done(&machine->disk);
    fake_disk_init(&machine->disk);
    machine->disk.room = room;
    if (store_too)
        fake_store_empty(&machine->store);
    machine->phase = MACHINE_DOWN;
    machine->disk_damaged = true;
    machine->founded = false;
    rules_wiped(machine->world, machine->id);
}

static void drop_copy(struct machine *machine)
{
    if (machine->disk_past == NULL)
        return;
    fake_disk_done(machine->disk_past);
    free(machine->disk_past);
    machine->disk_past = NULL;
}

struct record_hard_state machine_hard_state(struct machine *machine)
{
    uint64_t size = 0;
    struct record_hard_state newest = {.sequence = 0};
    const uint8_t *at = fake_disk_durable(&machine->disk, HARD_STATE_FILE, &size);
    for (uint64_t block = 0; at != NULL && block < HARD_STATE_BLOCKS; block++) {
        struct record_hard_state state;
        uint64_t offset = block * HARD_STATE_BLOCK_BYTES;
        if (offset + RECORD_HARD_STATE_BYTES <= size &&
            record_hard_state_decode(bytes_of(at + offset, RECORD_HARD_STATE_BYTES), &state) == 0 &&
            state.sequence > newest.sequence)
            newest = state;
    }
    return newest;
}

void machine_copy(struct machine *machine)
{
    drop_copy(machine);
    TELL(machine->world, machine->id, "its disk and its store are copied");
    machine->disk_past_start = machine_hard_state(machine).starts.count;
    machine->disk_past_last = machine->disk_past_term = 0;
    if (machine_up(machine)) {
        struct raft_status status = replica_status(machine->replica).raft;
        machine->disk_past_last = status.last.n;
        machine->disk_past_term = raft_entry_term(replica_raft(machine->replica), status.last).n;
    }
    machine->disk_past = malloc(sizeof(*machine->disk_past));
    assert(machine->disk_past != NULL);
    fake_disk_copy(machine->disk_past, &machine->disk);
    fake_db_copy(&machine->disk_past_store, &machine->store.db);
}

void machine_roll_back(struct machine *machine)
{
    assert(machine->phase == MACHINE_DOWN && machine->disk_past != NULL);
    machine->world->counts.rolled_back++;
    TELL(machine->world, machine->id, "its disk and its store are put back to the copy");
    fake_disk_done(&machine->disk);
    fake_disk_copy(&machine->disk, machine->disk_past);
    fake_store_restore(&machine->store, &machine->disk_past_store);
    machine->saved_index = 0;
    machine->founded = false;
    machine->disk_damaged = machine->store_damaged = true;
    rules_wiped(machine->world, machine->id);
}

void machine_init(struct machine *machine, struct world *world, uint32_t id,
                  const struct machine_settings *settings)
{
    machine->world = world;
    machine->id = id;
    machine->settings = *settings;
    machine->clock = (struct machine_clock){.base_us = world_below(world, 1000 * SECOND_US)};
    fake_disk_init(&machine->disk);
    fake_store_init(&machine->store);
    machine->disk_us = machine->store_us = 200;
    machine->network = net_of();
    machine->turn_at_us = UINT64_MAX;
}

void machine_done(struct machine *machine)
{
    if (machine->world == NULL)
        return;
    machine->world->faults.over = true;
    machine_die(machine, MACHINE_KILLED);
    if (machine->not_own != 0)
        folders_own(machine);
    machine_drop_waiting(machine);
    free(machine->waiting_event);
    fake_disk_done(&machine->disk);
    fake_store_done(&machine->store);
    fake_db_clear(&machine->store_past);
    fake_db_clear(&machine->disk_past_store);
    drop_copy(machine);
}
