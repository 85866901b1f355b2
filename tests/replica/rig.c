#include "tests/replica/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- hooks ------------------------------------------------------------------------------------ */

static uint64_t hook_now_ms(void *context)
{
    return ((struct rig *)context)->now_ms;
}

static uint64_t hook_wall_ms(void *context)
{
    const struct rig *rig = context;
    return 1700000000000 + rig->now_ms + rig->wall_ahead_ms;
}

static void hook_written(void *context, struct replica_client client, uint64_t index,
                         const struct users_answer *answer)
{
    struct rig *rig = context;
    must(client.connection == 1 && client.call < RIG_REQUESTS_MAX && !rig->failed);
    struct rig_request *request = &rig->request[client.call];
    if (answer->kind == USERS_ID_REUSED) {
        request->reused++;
        return;
    }
    must(answer->kind == USERS_CREATED && answer->index <= index);
    if (request->written) /* one answer, whoever gives it, before or after a crash */
        must(request->id == answer->created.id && request->index == answer->index);
    request->written = true;
    request->id = answer->created.id;
    request->index = answer->index;
    request->times++;
}

static void hook_refused(void *context, struct replica_client client, enum call_reason reason)
{
    struct rig *rig = context;
    if (client.connection == 1) {
        rig->request[client.call].refused++;
        rig->request[client.call].reason = reason;
    } else {
        rig->read_refused++;
        rig->read_reason = reason;
    }
}

static void hook_readable(void *context, struct replica_client client)
{
    must(client.connection == 2);
    ((struct rig *)context)->readable++;
}

static void hook_unknown(void *context, struct replica_client client)
{
    struct rig *rig = context;
    must(client.connection == 1);
    rig->request[client.call].unknown++;
}

static void hook_note(void *context, const char *fact, const char *text)
{
    (void)context, (void)fact, (void)text;
}

static void hook_save(void *context, struct users_view *take_view, raft_term term,
                      const struct members *members)
{
    struct rig *rig = context;
    rig->saves++;
    rig->view_term = term.n;
    if (rig->snapshots != NULL)
        snapshots_save(rig->snapshots, take_view, term, members);
    else
        rig->view = take_view;
}

static void hook_ready(void *context)
{
    struct rig *rig = context;
    must(!rig->ready);
    rig->ready = true;
}

static void hook_failed(void *context, const char *what, int error)
{
    struct rig *rig = context;
    rig->failed = true;
    rig->failures++;
    rig->failed_what = what;
    rig->failed_error = error;
}

static const struct replica_hooks hooks = {
    .now_ms = hook_now_ms,
    .wall_ms = hook_wall_ms,
    .written = hook_written,
    .refused = hook_refused,
    .unknown = hook_unknown,
    .readable = hook_readable,
    .note = hook_note,
    .save = hook_save,
    .ready = hook_ready,
    .failed = hook_failed,
};

static void hook_loaded(void *context, enum snapshots_found found, const char *text)
{
    struct rig *rig = context;
    rig->found = found;
    snprintf(rig->found_text, sizeof(rig->found_text), "%s", text);
}

static void hook_saved(void *context, const struct snapshots_saved *saved)
{
    struct rig *rig = context;
    rig->saved_durable += saved->durable;
    replica_saved(rig->replica, saved->durable, saved->index);
}

static void hook_lost(void *context, const char *text)
{
    struct rig *rig = context;
    (void)text;
    replica_store_lost(rig->replica);
}

static const struct snapshots_hooks snapshots_hooks = {
    .loaded = hook_loaded,
    .saved = hook_saved,
    .lost = hook_lost,
};

/* --- life ------------------------------------------------------------------------------------- */

struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    must(rig != NULL);
    fake_disk_init(&rig->disk);
    fake_store_init(&rig->store);
    rig->now_ms = 1000;
    rig->snapshot_entries = UINT32_MAX;
    rig->random = 4711;
    return rig;
}

void rig_free(struct rig *rig)
{
    rig_close(rig);
    fake_disk_done(&rig->disk);
    fake_store_done(&rig->store);
    free(rig);
}

/* The state that the store holds, or a new one: as main.c decides. NULL: it cannot start. */
static struct users *load(struct rig *rig)
{
    struct users *users = users_new(RIG_ANSWERS_MAX);
    if (rig->without_store)
        return users;
    rig->snapshots = snapshots_new(&rig->store.store, "test", 1, &snapshots_hooks, rig);
    do {
        fake_store_connect(&rig->store);
        snapshots_load(rig->snapshots, users);
        fake_store_drain(&rig->store);
        if (rig->found == SNAPSHOTS_AWAY || rig->found == SNAPSHOTS_DAMAGED) {
            users_free(users);
            users = users_new(RIG_ANSWERS_MAX);
        }
    } while (rig->found == SNAPSHOTS_AWAY);
    if (rig->found == SNAPSHOTS_DAMAGED && rig->recovered.start.n > 0) {
        snprintf(rig->text, sizeof(rig->text), "%s", rig->found_text);
        users_free(users);
        return NULL;
    }
    return users;
}

int rig_start(struct rig *rig)
{
    struct replica_options options = {
        .node = 1,
        .cluster = "test",
        .election_ms = 100,
        .heartbeat_ms = 10,
        .snapshot_entries = rig->snapshot_entries,
        .answers_max = RIG_ANSWERS_MAX,
        .random = ++rig->random,
        .segment_bytes = RIG_SEGMENT,
        .disk = &rig->disk.disk,
        .runner = &rig->runner.runner,
        .hooks = &hooks,
        .context = rig,
    };
    must(rig->replica == NULL);
    fake_runner_init(&rig->runner);
    rig->ready = rig->failed = false;
    rig->failures = 0;
    int result = replica_open(&options, &rig->replica, &rig->recovered);
    if (result != 0) {
        snprintf(rig->text, sizeof(rig->text), "%s", rig->recovered.text);
        rig->replica = NULL;
        return result;
    }
    struct users *users = load(rig);
    if (users == NULL)
        return -EBADMSG;
    struct replica_state state = {.users = users};
    if (users_meta(users).index > 0) {
        state.term = snapshots_loaded_term(rig->snapshots);
        state.members = *snapshots_loaded_members(rig->snapshots);
        state.restored = rig->restore && rig->recovered.last.n == 0 &&
                         rig->recovered.start.n == 0 && rig->recovered.hard.vote.n == 0 &&
                         rig->recovered.hard.term.n <= state.term.n;
    }
    result = replica_start(rig->replica, &state, rig->text, sizeof(rig->text));
    if (result != 0)
        users_free(users);
    return result;
}

void rig_close(struct rig *rig)
{
    if (rig->replica == NULL)
        return;
    fake_runner_drain(&rig->runner);
    rig->store.later_call = NULL;
    fake_store_lose(&rig->store); /* ends a save */
    rig->store.later_call = NULL;
    users_unpin(rig->view);
    rig->view = NULL;
    replica_close(rig->replica);
    rig->replica = NULL;
    snapshots_free(rig->snapshots);
    rig->snapshots = NULL;
}

/* What was under way does not happen. */
static void die(struct rig *rig)
{
    rig->disk.crashed = true;
    rig_close(rig);
}

void rig_kill(struct rig *rig)
{
    die(rig);
    rig->disk.crashed = false;
    rig->disk.crash_at = rig->disk.fail_at = 0;
}

void rig_power_loss(struct rig *rig, uint64_t *random)
{
    die(rig);
    fake_disk_crash(&rig->disk, random);
}

/* --- what clients do -------------------------------------------------------------------------- */

struct bytes rig_name(uint64_t number, char text[64])
{
    int len = snprintf(text, 64, "user %llu %.*s", (unsigned long long)number, (int)(number % 40),
                       "0123456789012345678901234567890123456789");
    return bytes_of(text, (size_t)len);
}

void rig_write(struct rig *rig, uint64_t number)
{
    rig_write_under(rig, number, number);
}

void rig_write_under(struct rig *rig, uint64_t number, uint64_t id_number)
{
    uint8_t encoded[USERS_COMMAND_BYTES_MAX];
    char text[64];
    struct writer out = writer_of(encoded, sizeof(encoded));
    struct users_command command = {.kind = USERS_CREATE,
                                    .create = {{.name = rig_name(number, text)}}};
    struct request_id id = request_id_of(id_number);
    users_command_put(&out, &command);
    replica_write(rig->replica, (struct replica_client){.connection = 1, .call = number}, &id,
                  writer_bytes(&out));
}

void rig_read(struct rig *rig, bool stale)
{
    rig_read_at(rig, stale, 0);
}

void rig_read_at(struct rig *rig, bool stale, uint64_t min_index)
{
    replica_read(rig->replica, (struct replica_client){.connection = 2}, stale, min_index);
}

void rig_turn(struct rig *rig)
{
    if (!rig->failed)
        replica_turn(rig->replica);
}

void rig_settle(struct rig *rig)
{
    bool more = true;
    while (more && !rig->failed) {
        rig_turn(rig);
        more = fake_runner_step(&rig->runner, RUNNER_LOG) ||
               fake_runner_step(&rig->runner, RUNNER_HOUSEKEEPING) ||
               (rig->snapshots != NULL && fake_store_step(&rig->store));
    }
}

void rig_ready(struct rig *rig)
{
    rig_settle(rig);
    for (int i = 0; i < 20 && !rig->ready && !rig->failed; i++) {
        rig->now_ms += 100;
        rig_settle(rig);
    }
}

void rig_insist(struct rig *rig, uint64_t number)
{
    uint32_t times = rig->request[number].times;
    for (int i = 0; i < 20 && rig->request[number].times == times && !rig->failed; i++) {
        rig_write(rig, number);
        rig_settle(rig);
        rig->now_ms += 50;
    }
}

/* --- what must be true ------------------------------------------------------------------------ */

/* The number in a name that rig_name made. */
static uint64_t number_of(struct bytes name)
{
    unsigned long long number = RIG_REQUESTS_MAX;
    char text[64], again[64];
    must(name.len < sizeof(text));
    memcpy(text, name.at, name.len);
    text[name.len] = '\0';
    must(sscanf(text, "user %llu ", &number) == 1 && number < RIG_REQUESTS_MAX);
    must(bytes_equal(name, rig_name(number, again)));
    return number;
}

void rig_check(struct rig *rig)
{
    struct users *users = replica_users(rig->replica);
    users_check(users);
    uint64_t told = 0, there = 0;
    struct users_view *view = users_pin(users);
    uint64_t count = users_view_meta(view).users;
    uint8_t *seen = calloc(RIG_REQUESTS_MAX, 1);
    for (uint64_t id = 1; id <= count; id++) { /* ids are dense */
        struct user user;
        must(users_view_get(view, id, &user));
        uint64_t number = number_of(user.name);
        const struct rig_request *request = &rig->request[number];
        must(seen[number]++ == 0);
        must(!request->written || (request->id == id && request->index == user.index));
        there += request->written;
    }
    for (uint64_t i = 0; i < RIG_REQUESTS_MAX; i++) {
        struct users_answer answer;
        struct request_id id = request_id_of(i);
        told += rig->request[i].written;
        if (!rig->request[i].written || !users_answered(users, &id, NULL, &answer))
            continue;
        must(answer.kind == USERS_CREATED && answer.created.id == rig->request[i].id &&
             answer.index == rig->request[i].index);
    }
    must(told == there);
    free(seen);
    users_unpin(view);
}

static void send_nowhere(struct network *network, raft_node_id to, struct bytes frames)
{
    (void)network, (void)to, (void)frames;
}

static void flush_nothing(struct network *network)
{
    (void)network;
}

struct network rig_nowhere = {.send = send_nowhere, .flush = flush_nothing};
