#include "tests/sim/wishes.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A node answers every ask within REPLICA_WAIT_MS and a little, if it is let. */
#define ANSWER_US (REPLICA_WAIT_MS * UINT64_C(1000) + 3 * SECOND_US)

void clients_init(struct world *world)
{
    struct clients *clients = &world->clients;
    clients->ops = clients->asks = 1; /* nothing has number 0 */
    clients->ops_room = clients->asks_room = 1024;
    clients->op = calloc(clients->ops_room, sizeof(*clients->op));
    clients->ask = calloc(clients->asks_room, sizeof(*clients->ask));
    assert(clients->op != NULL && clients->ask != NULL);
}

void clients_done(struct clients *clients)
{
    for (uint64_t i = 1; i < clients->ops; i++)
        free((void *)clients->op[i].command.at);
    free(clients->op);
    free(clients->ask);
}

/* --- numbers ---------------------------------------------------------------------------------- */

struct request_id clients_request_id(uint64_t number)
{
    struct request_id id;
    uint64_t random = number, words[2] = {number, fake_random(&random)};
    memcpy(id.at, words, sizeof(id.at));
    return id;
}

uint64_t clients_number(const struct request_id *id)
{
    uint64_t number;
    memcpy(&number, id->at, sizeof(number));
    struct request_id made = clients_request_id(number);
    return request_id_equal(&made, id) ? number : 0;
}

/* --- asking ----------------------------------------------------------------------------------- */

uint64_t clients_op(struct world *world, uint32_t client, enum op_kind kind)
{
    struct clients *clients = &world->clients;
    if (clients->ops == clients->ops_room) {
        clients->ops_room *= 2;
        clients->op = realloc(clients->op, clients->ops_room * sizeof(*clients->op));
        assert(clients->op != NULL);
    }
    clients->op[clients->ops] =
        (struct op){.kind = kind, .client = client, .floor = clients->ended};
    if (kind == OP_WRITE)
        clients->op[clients->ops].command = wishes_command(world, clients->ops, client == 0);
    return clients->ops++;
}

static void send_op(struct world *world, struct machine *machine, uint64_t number, uint64_t call)
{
    struct op *op = &world->clients.op[number];
    struct replica_client client = {.connection = op->client, .call = call};
    if (op->kind != OP_WRITE) {
        replica_read(machine->replica, client, op->kind == OP_READ_STALE, 0);
        return;
    }
    struct request_id id = clients_request_id(number);
    replica_write(machine->replica, client, &id, op->command);
}

uint64_t clients_ask(struct world *world, uint64_t number, uint32_t node)
{
    struct clients *clients = &world->clients;
    struct machine *machine = &world->machine[node];
    if (clients->asks == clients->asks_room) {
        clients->asks_room *= 2;
        clients->ask = realloc(clients->ask, clients->asks_room * sizeof(*clients->ask));
        assert(clients->ask != NULL);
    }
    uint64_t call = clients->asks++;
    clients->ask[call] = (struct ask){
        .op = number,
        .node = node,
        .life = machine->life,
        .at_us = world->now_us,
        .floor = clients->ended,
    };
    clients->op[number].asked++;
    clients->op[number].open++;
    world->counts.asked++;
    TELL(world, node, "client % asks for request % (ask %)", clients->op[number].client, number,
         call);
    if (machine_frozen(machine)) { /* it waits in a buffer of the kernel's */
        world_push(
            world, world->now_us,
            (struct sim_event){
                .kind = SIM_ASK, .node = (uint8_t)node, .life = machine->life, .number = call});
        return call;
    }
    machine_enter(machine);
    send_op(world, machine, number, call);
    machine_leave(machine);
    return call;
}

void clients_deliver(struct world *world, uint64_t call)
{
    const struct ask *ask = &world->clients.ask[call];
    send_op(world, &world->machine[ask->node], ask->op, call);
}

/* --- being told ------------------------------------------------------------------------------- */

static void think(struct world *world, uint32_t id);

/* The ask that is answered, NULL when the answer is not one that may come. */
static struct ask *answered(struct world *world, uint32_t node, uint64_t call,
                            enum ask_answer answer)
{
    struct clients *clients = &world->clients;
    if (call == 0 || call >= clients->asks) {
        world_break(world, "node %u answers an ask that nobody made", node);
        return NULL;
    }
    struct ask *ask = &clients->ask[call];
    if (ask->node != node || ask->life != world->machine[node].life || ask->answer != ASK_OPEN) {
        world_break(world,
                    "node %u answers ask %llu of request %llu, which is not its own or was "
                    "answered before",
                    node, (unsigned long long)call, (unsigned long long)ask->op);
        return NULL;
    }
    ask->answer = answer;
    clients->op[ask->op].open--;
    return ask;
}

static void end_op(struct world *world, struct ask *ask, uint64_t place)
{
    struct clients *clients = &world->clients;
    struct op *op = &clients->op[ask->op];
    if (clients->ended < place)
        clients->ended = place;
    struct client *client = &clients->client[op->client];
    if (op->ended)
        return;
    op->ended = true;
    if (op->client != 0 && client->op == ask->op)
        think(world, op->client);
}

void clients_written(struct world *world, uint32_t node, uint64_t call, uint64_t index,
                     const struct users_answer *answer)
{
    struct ask *ask = answered(world, node, call, ASK_WRITTEN);
    if (ask == NULL)
        return;
    struct op *op = &world->clients.op[ask->op];
    unsigned long long number = ask->op;
    if (op->kind != OP_WRITE) {
        world_break(world, "request %llu has an answer of another kind", number);
        return;
    }
    uint64_t at = answer->index;
    TELL(world, node, "request % is written: kind %, entry %, told at %", number, answer->kind, at,
         index);
    RULE(world, at <= index, "request %llu is told at %llu, before its entry %llu", number,
         (unsigned long long)index, (unsigned long long)at);
    RULE(world, at > op->floor,
         "request %llu has entry %llu, before %llu which had ended when it was first asked", number,
         (unsigned long long)at, (unsigned long long)op->floor);
    RULE(world, op->applied == at,
         "request %llu is told to be entry %llu, and was executed by %llu", number,
         (unsigned long long)at, (unsigned long long)op->applied);
    RULE(world, op->applied != at || wishes_answers_equal(answer, &op->answer),
         "request %llu is told another answer than entry %llu gave", number,
         (unsigned long long)at);
    op->told = true;
    op->index = at;
    world->counts.written++;
    rules_acknowledged(world, at);
    end_op(world, ask, at);
}

static void ask_again(struct world *world, struct ask *ask)
{
    struct op *op = &world->clients.op[ask->op];
    struct client *client = &world->clients.client[op->client];
    if (op->client == 0 || client->op != ask->op || op->ended)
        return;
    world_push(world, world->now_us + 1000 + world_below(world, 50000),
               (struct sim_event){
                   .kind = SIM_CLIENT, .other = (uint8_t)op->client, .number = ++client->timer});
}

void clients_refused(struct world *world, uint32_t node, uint64_t call, enum call_reason reason)
{
    struct ask *ask = answered(world, node, call, ASK_REFUSED);
    if (ask == NULL)
        return;
    struct op *op = &world->clients.op[ask->op];
    ask->reason = reason;
    op->refused++;
    world->counts.refused++;
    TELL(world, node, "request % is refused, reason %", ask->op, reason);
    RULE(world, op->kind != OP_WRITE || op->applied == 0 || op->refused < op->asked,
         "request %llu is refused wherever it was asked, and was executed by entry %llu",
         (unsigned long long)ask->op, (unsigned long long)op->applied);
    ask_again(world, ask);
}

void clients_unknown(struct world *world, uint32_t node, uint64_t call)
{
    struct ask *ask = answered(world, node, call, ASK_UNKNOWN);
    if (ask == NULL)
        return;
    world->counts.unknown++;
    TELL(world, node, "nobody knows what became of request %", ask->op);
    ask_again(world, ask);
}

void clients_readable(struct world *world, uint32_t node, uint64_t call)
{
    struct ask *ask = answered(world, node, call, ASK_READ);
    if (ask == NULL)
        return;
    struct users_meta meta = users_meta(replica_users(world->machine[node].replica));
    struct op *op = &world->clients.op[ask->op];
    TELL(world, node, "request % reads the state at %", ask->op, meta.index);
    rules_state(world, node, meta);
    world->counts.reads++;
    if (op->kind == OP_READ_STALE) {
        end_op(world, ask, 0);
        return;
    }
    RULE(world, meta.index >= ask->floor,
         "request %llu reads at %llu on node %u, and %llu had ended when it was asked",
         (unsigned long long)ask->op, (unsigned long long)meta.index, node,
         (unsigned long long)ask->floor);
    op->told = true;
    op->index = meta.index;
    end_op(world, ask, rules_last_change(world, meta.index));
}

/* --- clients that go on by themselves --------------------------------------------------------- */

static void timer(struct world *world, uint32_t id, uint64_t us)
{
    world_push(world, world->now_us + us,
               (struct sim_event){.kind = SIM_CLIENT,
                                  .other = (uint8_t)id,
                                  .number = ++world->clients.client[id].timer});
}

static void think(struct world *world, uint32_t id)
{
    world->clients.client[id].op = 0;
    timer(world, id, world_below(world, 2 * world->clients.think_us + 1));
}

/* A stale read of what is another node's says what that one has. */
static bool is_strange(const struct world *world, uint64_t op, uint32_t node)
{
    return world->clients.op[op].kind == OP_READ_STALE && folders_strange(&world->machine[node]);
}

/* A node that takes requests, the one it talks to if it may be; 0: there is none. */
static uint32_t pick_node(struct world *world, struct client *client)
{
    if (client->node != 0 && machine_up(&world->machine[client->node]) &&
        !world_chance(world, 100000))
        return client->node;
    uint32_t first = (uint32_t)world_below(world, world->nodes);
    for (uint32_t i = 0; i < world->nodes; i++) {
        uint32_t node = 1 + (first + i) % world->nodes;
        if (machine_up(&world->machine[node]))
            return client->node = node;
    }
    return 0;
}

static void begin_op(struct world *world, uint32_t id)
{
    struct clients *clients = &world->clients;
    enum op_kind kind = OP_WRITE;
    if (world_chance(world, clients->reads))
        kind = world_chance(world, clients->stale) ? OP_READ_STALE : OP_READ;
    clients->client[id].op = clients_op(world, id, kind);
    clients->client[id].until_us = world->now_us + 20 * SECOND_US;
}

/* An ask that its node had all the time for, and did not answer. */
static void check_answered(struct world *world, uint32_t id)
{
    struct clients *clients = &world->clients;
    uint64_t from = clients->asks > 256 ? clients->asks - 256 : 1;
    for (uint64_t i = from; i < clients->asks; i++) {
        struct ask *ask = &clients->ask[i];
        struct machine *machine = &world->machine[ask->node];
        if (ask->op != clients->client[id].op || ask->answer != ASK_OPEN ||
            ask->life != machine->life)
            continue;
        RULE(world,
             world->now_us < ask->at_us + ANSWER_US || machine->undisturbed_us > ask->at_us ||
                 machine_frozen(machine),
             "node %u has not answered ask %llu of request %llu", ask->node, (unsigned long long)i,
             (unsigned long long)ask->op);
    }
}

void clients_event(struct world *world, const struct sim_event *event)
{
    struct clients *clients = &world->clients;
    uint32_t id = event->other;
    struct client *client = &clients->client[id];
    if (client->timer != event->number)
        return;
    if (client->op != 0) {
        check_answered(world, id);
        if (world->now_us >= client->until_us) {
            clients->op[client->op].ended = true; /* it may happen yet */
            client->op = 0;
        }
    }
    if (client->op == 0) {
        if (clients->quiet)
            return;
        begin_op(world, id);
    } else if (world_chance(world, 300000)) {
        client->node = 0;
    }
    uint64_t op = client->op;
    timer(world, id, clients->patience_us);
    uint32_t node = pick_node(world, client);
    if (node == 0 || is_strange(world, op, node))
        return;
    (void)clients_ask(world, op, node);
    if (world_chance(world, clients->twice)) {
        uint32_t also = 1 + (uint32_t)world_below(world, world->nodes);
        if (machine_up(&world->machine[also]) && !is_strange(world, op, also))
            (void)clients_ask(world, op, also);
    }
}

void clients_start(struct world *world)
{
    for (uint32_t id = 1; id <= world->clients.count; id++)
        think(world, id);
}

void clients_node_gone(struct world *world, uint32_t node)
{
    struct clients *clients = &world->clients;
    for (uint32_t id = 1; id <= clients->count; id++) {
        struct client *client = &clients->client[id];
        if (client->node != node)
            continue;
        client->node = 0;
        if (client->op != 0) /* the connection broke: it asks somewhere else */
            timer(world, id, 1000 + world_below(world, 20000));
    }
}

/* --- the whole state -------------------------------------------------------------------------- */

void clients_check_state(struct world *world, uint32_t node)
{
    struct clients *clients = &world->clients;
    struct users *users = replica_users(world->machine[node].replica);
    users_check(users);
    struct users_view *view = users_pin_indexed(users);
    struct users_meta meta = users_view_meta(view);
    rules_model(world, node, view);
    for (uint64_t i = 1; i < clients->ops; i++) {
        const struct op *op = &clients->op[i];
        RULE(world, op->kind != OP_WRITE || !op->told || op->index <= meta.index,
             "request %llu was acknowledged at %llu, and node %u ends at %llu",
             (unsigned long long)i, (unsigned long long)op->index, node,
             (unsigned long long)meta.index);
    }
    users_unpin(view);
}
