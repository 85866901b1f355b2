#include "tests/sim/world.h"

#include "raft/wire/peer.h"
#include "tests/fuzz/driver_steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How long a kernel takes to say that the other end is gone, and how often one calls again. */
#define RESET_US   2000u
#define CONNECT_US 50000u
/* A kernel that hears nothing sends again after this, at first. */
#define RESEND_US 200000u
/* A frame for which there is no room yet is handed in again. */
#define AGAIN_US 500u
/* So many frames no run needs: some ten thousand are usual. */
#define FRAMES_MAX 2000000u
/* Frames of one kind that a seed of the fuzzer's has. */
#define HEARD_OF_A_KIND                    16u

#define KIND_NAME(tag, type, name, number) {#name, number},
static const struct {
    const char *name;
    uint16_t kind;
} kinds[] = {RAFT_MESSAGES(KIND_NAME) PEER_NOTES(KIND_NAME)};

const char *net_kind_name(uint16_t kind)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].kind == kind)
            return kinds[i].name;
    }
    return "?";
}

uint16_t net_kind_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].kind;
    }
    return 0;
}

/* Messages of the core's are below 32, notes of the drivers' begin at 64. */
uint64_t net_kind_bit(uint16_t kind)
{
    return UINT64_C(1) << (kind < 32 ? kind : 32 + (kind - PEER_HELLO) % 32);
}

void net_done(struct net *net)
{
    for (size_t i = 0; i < net->held; i++)
        free(net->hold[i]);
    net->held = 0;
}

/* --- frames ----------------------------------------------------------------------------------- */

static void push_packet(struct world *world, struct packet *packet)
{
    struct net *net = &world->net;
    uint64_t at_us = machine_spent_us(&world->machine[packet->from]) + world->now_us +
                     net->delay_us + world_below(world, net->spread_us + 1);
    if (world_chance(world, net->late))
        at_us += world_below(world, net->late_us);
    uint64_t *last_us = &net->last_us[packet->from][packet->to];
    if (net->reliable && at_us < *last_us)
        at_us = *last_us;
    *last_us = at_us;
    world_push(world, at_us,
               (struct sim_event){.kind = SIM_PACKET,
                                  .node = packet->to,
                                  .other = packet->from,
                                  .number = packet->kind,
                                  .packet = packet});
}

static struct packet *copy_packet(const struct packet *packet)
{
    struct packet *copy = malloc(sizeof(*copy) + packet->len);
    assert(copy != NULL);
    memcpy(copy, packet, sizeof(*copy) + packet->len);
    return copy;
}

/* What a scenario does not let through, so that one node and no other is elected. */
static bool seeks_leadership(uint16_t kind)
{
    return kind == RAFT_REQUEST_PRE_VOTE || kind == RAFT_REQUEST_VOTE ||
           kind == RAFT_APPEND_ENTRIES || kind == RAFT_TIMEOUT_NOW;
}

static bool gets_lost(struct world *world, uint32_t from, uint32_t to, uint16_t kind)
{
    struct net *net = &world->net;
    if (net->cut[from][to] || !net->up[from][to])
        return true;
    if (net->only_candidate != 0 && net->only_candidate != from && seeks_leadership(kind))
        return true;
    if ((net->dropping[from][to] & net_kind_bit(kind)) != 0)
        return true;
    if (net->counted[from][to] == kind && kind != 0) {
        if (net->allowed[from][to] == 0)
            return true;
        net->allowed[from][to]--;
    }
    return world_chance(world, net->lose);
}

static void send_frame(struct world *world, uint32_t from, uint32_t to, struct frame frame)
{
    struct net *net = &world->net;
    world->counts.frames++;
    RULE(world, world->counts.frames < FRAMES_MAX, "nodes answer one another without end");
    if (gets_lost(world, from, to, frame.kind)) {
        world->counts.frames_lost++;
        return;
    }
    struct packet *packet = malloc(sizeof(*packet) + frame.payload.len);
    assert(packet != NULL);
    packet->from = (uint8_t)from;
    packet->to = (uint8_t)to;
    packet->kind = frame.kind;
    packet->len = (uint32_t)frame.payload.len;
    if (packet->len > 0)
        memcpy(packet->bytes, frame.payload.at, packet->len);
    if (net->holding[from][to] && net->held < NET_HELD_MAX) {
        net->hold[net->held++] = packet;
        return;
    }
    if (world_chance(world, net->twice))
        push_packet(world, copy_packet(packet));
    push_packet(world, packet);
}

/* The frame decoded, for the rules; its text for the story is made when it arrives. */
static void judge(struct world *world, uint32_t node, struct frame frame)
{
    static struct peer_message message; /* large, and of no use after this call */
    if (peer_is_note(frame.kind)) {
        struct peer_note note;
        RULE(world, peer_note_decode(frame, &note) == 0, "node %u sends a note that is none", node);
        return;
    }
    if (peer_message_decode(frame, &message) != 0) {
        world_break(world, "node %u sends a message that is none, kind %u", node, frame.kind);
        return;
    }
    rules_sent(world, node, &message.message);
}

static void net_send(struct network *network, raft_node_id to, struct bytes frames)
{
    struct machine *machine = CONTAINER_OF(network, struct machine, network);
    struct world *world = machine->world;
    bool known = to.n >= 1 && to.n <= world->nodes && to.n != machine->id;
    RULE(world, known, "node %u sends to node %llu", machine->id, (unsigned long long)to.n);
    if (machine->dying || world->broken || !known)
        return;
    while (frames.len > 0) {
        struct frame frame;
        int64_t len = frame_decode(frames, &frame);
        if (len <= 0) {
            world_break(world, "node %u sends what is no frame", machine->id);
            return;
        }
        judge(world, machine->id, frame);
        hostile_overhear(world, machine->id, (uint32_t)to.n, frame);
        send_frame(world, machine->id, (uint32_t)to.n, frame);
        frames = bytes_of(frames.at + len, frames.len - (size_t)len);
    }
}

static void net_flush(struct network *network)
{
    (void)network; /* each frame is on its way already */
}

struct network net_of(void)
{
    return (struct network){.send = net_send, .flush = net_flush};
}

static void tell_arrival(struct world *world, const struct packet *packet)
{
    static struct peer_message decoded;
    struct frame frame = {.kind = packet->kind, .payload = bytes_of(packet->bytes, packet->len)};
    static char lines[STORY_EVENTS][160]; /* as long-lived as the story's ring */
    static size_t next;
    if (peer_is_note(packet->kind)) {
        TELL(world, packet->to, net_kind_name(packet->kind));
        TELL(world, packet->to, "  from node %", packet->from);
        return;
    }
    char *line = lines[next++ % STORY_EVENTS];
    struct writer out = writer_of(line, 159);
    if (peer_message_decode(frame, &decoded) == 0)
        peer_message_print(&out, &decoded.message);
    line[writer_len(&out)] = '\0';
    TELL(world, packet->to, line);
}

/* As a step of the fuzzer's, and that the disk is quiet then. */
static void write_down(struct net *net, const struct packet *packet)
{
    uint8_t head[] = {(uint8_t)packet->kind, (uint8_t)(packet->from - 2), (uint8_t)packet->len,
                      (uint8_t)(packet->len >> 8)};
    static const uint8_t turns[] = {DRIVER_TURNS, 0};
    bool fits = packet->kind < DRIVER_STEPS && packet->len < 2048 && packet->to == 1 &&
                (packet->from == 2 || packet->from == 3);
    if (!fits || net->heard_of[packet->kind] == HEARD_OF_A_KIND)
        return;
    net->heard_of[packet->kind]++;
    (void)fwrite(head, 1, sizeof(head), net->heard);
    (void)fwrite(packet->bytes, 1, packet->len, net->heard);
    (void)fwrite(turns, 1, sizeof(turns), net->heard);
}

void net_arrived(struct world *world, const struct sim_event *event)
{
    struct packet *packet = event->packet;
    if (world->net.heard != NULL)
        write_down(&world->net, packet);
    struct machine *machine = &world->machine[packet->to];
    if (world->story.aloud)
        tell_arrival(world, packet);
    struct frame frame = {.kind = packet->kind, .payload = bytes_of(packet->bytes, packet->len)};
    int result = replica_receive(machine->replica, (raft_node_id){packet->from}, frame);
    if (result == -EAGAIN) {
        struct sim_event again = *event;
        again.packet = copy_packet(packet);
        world_push(world, world->now_us + AGAIN_US, again);
        return;
    }
    RULE(world, result == 0, "node %u cannot read a %s of node %u", packet->to,
         net_kind_name(packet->kind), packet->from);
}

void net_release(struct world *world)
{
    struct net *net = &world->net;
    size_t held = net->held;
    net->held = 0;
    memset(net->holding, 0, sizeof(net->holding));
    for (size_t i = 0; i < held; i++)
        push_packet(world, net->hold[i]);
}

/* --- connections ------------------------------------------------------------------------------ */

static void call_later(struct world *world, uint32_t from, uint32_t to, uint64_t us)
{
    world_push(world, world->now_us + us,
               (struct sim_event){.kind = SIM_CONNECT,
                                  .node = (uint8_t)from,
                                  .other = (uint8_t)to,
                                  .life = world->machine[from].life});
}

/* What the greeting compares (peers.c). */
static bool is_of_one_cluster(const struct machine *caller, const struct machine *called)
{
    bool differ = cluster_id_differ(replica_identity(caller->replica).cluster,
                                    replica_identity(called->replica).cluster);
    caller->world->folders.turned_away += differ;
    return !differ;
}

void net_connect(struct world *world, const struct sim_event *event)
{
    struct net *net = &world->net;
    uint32_t from = event->node, to = event->other;
    struct machine *caller = &world->machine[from];
    if (caller->life != event->life || net->up[from][to] || !machine_up(caller))
        return;
    bool answers = machine_up(&world->machine[to]) &&
                   is_of_one_cluster(caller, &world->machine[to]) && !net->cut[from][to] &&
                   !net->cut[to][from];
    if (!answers || machine_frozen(caller)) {
        call_later(world, from, to, CONNECT_US + world_below(world, CONNECT_US));
        return;
    }
    net->up[from][to] = true;
    machine_enter(caller);
    replica_peer_up(caller->replica, (raft_node_id){to});
    machine_leave(caller);
}

void net_lost(struct world *world, const struct sim_event *event)
{
    uint32_t from = event->node, to = event->other;
    if (world->net.losing[from][to] != event->number)
        return;
    world->net.losing[from][to] = 0;
    replica_peer_lost(world->machine[from].replica, (raft_node_id){to});
    call_later(world, from, to, CONNECT_US + world_below(world, CONNECT_US));
}

static void hear_of_loss(struct world *world, uint32_t from, uint32_t to, uint64_t us)
{
    struct net *net = &world->net;
    net->losing[from][to] = ++net->losses;
    world_push(world, world->now_us + us,
               (struct sim_event){.kind = SIM_LOST,
                                  .node = (uint8_t)from,
                                  .other = (uint8_t)to,
                                  .number = net->losing[from][to],
                                  .life = world->machine[from].life});
}

/* The caller learns that its connection is gone. */
static void lose(struct world *world, uint32_t from, uint32_t to, uint64_t us)
{
    if (!world->net.up[from][to])
        return;
    world->net.up[from][to] = false;
    hear_of_loss(world, from, to, us);
}

/* A kernel resets at once what its dead process held; of a dead machine nothing is heard. */
void net_machine_down(struct world *world, uint32_t node, bool reset)
{
    for (uint32_t other = 1; other <= world->nodes; other++) {
        world->net.up[node][other] = false;
        world->net.losing[node][other] = 0;
        bool heard = reset && !world->net.cut[node][other];
        lose(world, other, node, heard ? RESET_US : SECOND_US + world_below(world, 10 * SECOND_US));
    }
}

void net_machine_up(struct world *world, uint32_t node)
{
    for (uint32_t to = 1; to <= world->nodes; to++) {
        if (to == node)
            continue;
        call_later(world, node, to, world_below(world, RESET_US));
        if (world->net.losing[to][node] != 0) /* its new kernel knows nothing of the connection */
            hear_of_loss(world, to, node, RESET_US + world_below(world, RESEND_US));
    }
}

void net_cut(struct world *world, uint32_t from, uint32_t to)
{
    if (from != to)
        world->net.cut[from][to] = true;
}

void net_heal(struct world *world)
{
    TELL(world, 0, "the network is whole");
    memset(world->net.cut, 0, sizeof(world->net.cut));
}

void net_break(struct world *world, uint32_t from, uint32_t to)
{
    lose(world, from, to, RESET_US);
}
