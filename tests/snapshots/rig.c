#include "tests/snapshots/rig.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWERS_MAX 1024u

const struct setting settings[] = {
    {"appendfsync always", FAKE_APPEND_ALWAYS, true, false, true},
    {"appendfsync always, no CONFIG, WAITAOF", FAKE_APPEND_ALWAYS, true, true, true},
    {"appendfsync everysec, WAITAOF", FAKE_APPEND_EVERYSEC, true, false, true},
    {"appendfsync everysec, WAITAOF, no CONFIG", FAKE_APPEND_EVERYSEC, true, true, true},
    {"appendfsync everysec, no WAITAOF", FAKE_APPEND_EVERYSEC, false, false, false},
    {"appendfsync everysec, no WAITAOF, no CONFIG", FAKE_APPEND_EVERYSEC, false, true, false},
    {"dumps", FAKE_APPEND_NO, false, false, true},
    {"dumps, WAITAOF that is of no use", FAKE_APPEND_NO, true, false, true},
    {"dumps, no CONFIG", FAKE_APPEND_NO, false, true, true},
};
const size_t settings_count = ARRAY_LEN(settings);

static void on_loaded(void *context, enum snapshots_found found, const char *text)
{
    struct snapshots_rig *rig = context;
    must(!rig->ended);
    rig->ended = true;
    rig->found = found;
    snprintf(rig->text, sizeof(rig->text), "%s", text);
}

static void on_saved(void *context, const struct snapshots_saved *saved)
{
    struct snapshots_rig *rig = context;
    must(!rig->ended);
    rig->ended = true;
    rig->durable = saved->durable;
    rig->full = saved->full;
    rig->saved_index = saved->index;
    rig->users_written = saved->users;
    snprintf(rig->text, sizeof(rig->text), "%s", saved->text);
}

static void on_lost(void *context, const char *text)
{
    struct snapshots_rig *rig = context;
    rig->lost++;
    snprintf(rig->lost_text, sizeof(rig->lost_text), "%s", text);
}

static const struct snapshots_hooks hooks = {
    .loaded = on_loaded,
    .saved = on_saved,
    .lost = on_lost,
};

struct snapshots *snapshots_rig_of(struct snapshots_rig *rig, const char *cluster, uint64_t node)
{
    struct snapshots *snapshots = snapshots_new(&rig->store.store, cluster, node, &hooks, rig);
    must(snapshots != NULL);
    return snapshots;
}

static struct snapshots *new_snapshots(struct snapshots_rig *rig)
{
    return snapshots_rig_of(rig, "test", 1);
}

struct snapshots_rig *snapshots_rig_new(const struct setting *setting)
{
    struct snapshots_rig *rig = calloc(1, sizeof(*rig));
    fake_store_init(&rig->store);
    rig->store.append = setting->append;
    rig->store.knows_waitaof = setting->knows_waitaof;
    rig->store.config_forbidden = setting->config_forbidden;
    rig->users = users_new(ANSWERS_MAX);
    rig->snapshots = new_snapshots(rig);
    return rig;
}

void snapshots_rig_free(struct snapshots_rig *rig)
{
    rig->ended = false;
    fake_store_done(&rig->store);
    snapshots_free(rig->snapshots);
    users_free(rig->users);
    free(rig);
}

void snapshots_rig_create(struct snapshots_rig *rig, uint64_t count)
{
    static const char *const odd[] = {"", "\"quoted\" \\ and \n", "Zo\xc3\xab \xf0\x9f\x99\x82",
                                      "\x01\x1f\x7f", "Alice"};
    char text[USER_NAME_BYTES_MAX];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = ++rig->index;
        struct bytes name = bytes_of_text(odd[number % ARRAY_LEN(odd)]);
        if (number % 7 == 0) {
            memset(text, 'a' + (int)(number % 26), sizeof(text));
            name = bytes_of(text, number % 3 == 0 ? sizeof(text) : number % 200);
        }
        struct users_request request = create_request(number, name);
        must(users_apply(rig->users, rig->index, &request).kind == USERS_CREATED);
    }
}

static const struct members members = {
    .cluster = {.high = 1}, .count = 1, .member = {{.id = {1}, .roles = MEMBER_VOTER}}};

void snapshots_rig_begin_save(struct snapshots_rig *rig)
{
    rig->ended = false;
    snapshots_save(rig->snapshots, users_pin(rig->users), (raft_term){3}, &members);
}

bool snapshots_rig_save_view(struct snapshots_rig *rig, struct users_view *take_view)
{
    rig->ended = false;
    snapshots_save(rig->snapshots, take_view, (raft_term){3}, &members);
    fake_store_drain(&rig->store);
    must(rig->ended);
    return rig->durable;
}

bool snapshots_rig_save(struct snapshots_rig *rig)
{
    return snapshots_rig_save_view(rig, users_pin(rig->users));
}

void snapshots_rig_look(struct snapshots_rig *rig)
{
    snapshots_look(rig->snapshots);
    fake_store_drain(&rig->store);
}

struct users *snapshots_rig_load(struct snapshots_rig *rig)
{
    struct users *users = users_new(ANSWERS_MAX);
    struct snapshots *reader = new_snapshots(rig);
    rig->ended = false;
    fake_store_connect(&rig->store);
    snapshots_load(reader, users);
    for (int i = 0; i < 100000 && fake_store_step(&rig->store); i++)
        ;
    must(rig->ended); /* it comes to an end, whatever the store says */
    snapshots_free(reader);
    if (rig->found != SNAPSHOTS_LOADED) {
        users_free(users);
        return NULL;
    }
    users_check(users);
    return users;
}

bool snapshots_rig_holds(struct snapshots_rig *rig, struct users_meta meta)
{
    struct users *users = snapshots_rig_load(rig);
    if (users == NULL)
        return false;
    bool same = metas_equal(users_meta(users), meta);
    users_free(users);
    return same;
}

bool snapshots_rig_load_emptied(struct snapshots_rig *rig, int steps)
{
    struct users *users = users_new(ANSWERS_MAX);
    struct snapshots *reader = new_snapshots(rig);
    rig->ended = false;
    snapshots_load(reader, users);
    while (steps-- > 0 && fake_store_step(&rig->store))
        ;
    bool reached = !rig->ended;
    fake_store_empty(&rig->store);
    fake_store_drain(&rig->store);
    must(rig->ended);
    snapshots_free(reader);
    users_free(users);
    return reached;
}

struct other {
    enum snapshots_found found;
    bool ended;
};

static void on_other_loaded(void *context, enum snapshots_found found, const char *text)
{
    (void)text;
    *(struct other *)context = (struct other){.found = found, .ended = true};
}

enum snapshots_found snapshots_rig_next_process(struct snapshots_rig *rig)
{
    static const struct snapshots_hooks other_hooks = {.loaded = on_other_loaded};
    struct other other = {.ended = false};
    struct fake_store *store = calloc(1, sizeof(*store));
    fake_store_init(store);
    fake_db_copy(&store->db, &rig->store.db);
    struct users *users = users_new(ANSWERS_MAX);
    struct snapshots *reader = snapshots_new(&store->store, "test", 1, &other_hooks, &other);
    snapshots_load(reader, users);
    fake_store_drain(store);
    must(other.ended);
    fake_store_done(store);
    snapshots_free(reader);
    users_free(users);
    free(store);
    return other.found;
}

void snapshots_rig_restart(struct snapshots_rig *rig)
{
    rig->ended = false;
    rig->store.later_call = NULL;
    fake_store_lose(&rig->store);
    snapshots_free(rig->snapshots);
    rig->store.later_call = NULL;
    fake_store_connect(&rig->store);
    rig->snapshots = new_snapshots(rig);
}
