/*
 * Rot: what becomes of acknowledged users when the files of a log are damaged in every way that
 * damage.h lists, one damage at a time.
 *
 *     rot [--stride N] [--nodes 1 | 3] [--verbose]     of single bits every Nth
 *     rot test                                         what `make test` runs: of bits every 607th
 *
 * A hundred users are written one by one, so each is acknowledged in a batch of its own; the node
 * loses power; one damage; it starts again. One node must have all hundred or refuse to start (a
 * torn last batch it may cut, saying so). In a cluster of three the damaged node must be ready
 * within five seconds, with the state of the others, and no damaged entry left.
 *
 * The nodes are those of the simulator: the code that runs in production on a disk, a network and a
 * Redis of the simulator's. Each damage is tried in a process of its own that begins where the
 * power was lost.
 */
#include "tests/rot/damage.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define USERS    100u
#define READY_US (5 * SECOND_US)

enum outcome {
    WHOLE,    /* all users are there, nothing else happened */
    REPAIRED, /* all are there, and it said what it found */
    CUT,      /* alone: the last batch is gone, and it said so */
    REFUSED,  /* it did not start, and said why */
    LATE,     /* among three: not ready, or not the same, within the time */
    SILENT,   /* users are gone */
    BROKEN,   /* a rule of the simulator is broken, or the process died */
    OUTCOMES,
};
static const char *const outcome_names[OUTCOMES] = {"whole", "repaired", "cut",   "refused",
                                                    "late",  "SILENT",   "BROKEN"};

struct tally {
    uint64_t count[DAMAGE_KINDS][OUTCOMES];
    uint64_t slowest_us;
};

static void fail(const char *what)
{
    fprintf(stderr, "rot: %s\n", what);
    exit(2);
}

static uint64_t users_at(struct world *world, uint32_t node)
{
    return users_meta(replica_users(world->machine[node].replica)).users;
}

static bool all_have(struct world *world, uint64_t users)
{
    for (uint32_t id = 1; id <= world->nodes; id++) {
        if (!machine_up(&world->machine[id]) || users_at(world, id) != users)
            return false;
    }
    return true;
}

/* A cluster whose last node has lost power, and whose every node has all users. */
static struct world *prepare(uint32_t nodes)
{
    struct machine_settings settings = {
        .election_ms = 100,
        .heartbeat_ms = 10,
        .snapshot_entries = UINT32_MAX,
        .answers_max = 1u << 14,
        .segment_bytes = 16384,
    };
    struct world *world = world_new(1, nodes);
    world_now = world;
    world->net.delay_us = 1000;
    world->net.reliable = true;
    for (uint32_t id = 1; id <= nodes; id++)
        machine_init(&world->machine[id], world, id, &settings);
    for (uint32_t id = 1; id <= nodes; id++)
        machine_start(&world->machine[id]);
    world_run(world, world->now_us + 2 * SECOND_US);
    for (uint64_t user = 1; user <= USERS; user++) {
        uint64_t op = clients_op(world, 0, OP_WRITE);
        uint64_t until_us = world->now_us + 10 * SECOND_US;
        clients_ask(world, op, 1);
        while (!all_have(world, user) && world->now_us < until_us && !world->broken)
            world_run(world, world->now_us + 1000);
    }
    if (world->broken || !all_have(world, USERS))
        fail(world->broken ? world->why : "the cluster does not get to work");
    machine_die(&world->machine[nodes], MACHINE_POWER_LOST);
    return world;
}

static bool same_as_others(struct world *world, uint32_t node)
{
    struct machine *machine = &world->machine[node];
    if (!machine_up(machine) || !replica_status(machine->replica).ready ||
        replica_status(machine->replica).raft.recovering ||
        replica_status(machine->replica).damaged_entries > 0)
        return false;
    struct users_meta mine = users_meta(replica_users(machine->replica));
    for (uint32_t id = 1; id < node; id++) {
        struct users_meta other = users_meta(replica_users(world->machine[id].replica));
        if (other.index != mine.index || other.digest != mine.digest || other.users != mine.users)
            return false;
    }
    return mine.users == USERS;
}

static enum outcome judge_alone(struct world *world, uint32_t node)
{
    const struct machine *machine = &world->machine[node];
    bool said = machine->recovered.text[0] != '\0';
    if (!machine_up(machine))
        return world->counts.refused_to_start > 0 ? REFUSED : BROKEN;
    uint64_t users = users_at(world, node);
    if (world->broken && machine->recovered.cut_bytes == 0)
        return BROKEN; /* else the place of what was cut is taken by another entry */
    if (users == USERS)
        return said ? REPAIRED : WHOLE;
    /* The batch of the last user, or of the leader's opening entry after it. */
    return said && machine->recovered.cut_bytes > 0 && users + 1 >= USERS ? CUT : SILENT;
}

/* In the child: damage, start, judge. */
static enum outcome try(struct world *world, const struct damage *damage, uint64_t *ret_us)
{
    uint32_t node = world->nodes;
    struct machine *machine = &world->machine[node];
    damage_do(&machine->disk, damage);
    machine->disk_damaged = machine->disk_unsound = true;
    uint64_t began_us = world->now_us;
    machine_start(machine);
    if (world->nodes == 1)
        world_run(world, began_us + 2 * SECOND_US);
    while (world->nodes > 1 && !world->broken && world->now_us - began_us < READY_US &&
           !same_as_others(world, node))
        world_run(world, world->now_us + 1000);
    *ret_us = world->now_us - began_us;
    if (world->nodes == 1)
        return judge_alone(world, node);
    if (world->broken)
        return BROKEN;
    if (!same_as_others(world, node))
        return machine->phase == MACHINE_REFUSED ? REFUSED : LATE;
    return machine->recovered.text[0] != '\0' ? REPAIRED : WHOLE;
}

struct report {
    enum outcome outcome;
    uint64_t us;
    char text[600];
};

static struct report try_in_child(struct world *world, const struct damage *damage)
{
    struct report report = {.outcome = BROKEN};
    int ends[2];
    if (pipe(ends) != 0)
        fail("no pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        report.outcome = try(world, damage, &report.us);
        snprintf(report.text, sizeof(report.text), "%s",
                 world->broken ? world->why : world->machine[world->nodes].recovered.text);
        (void)!write(ends[1], &report, sizeof(report));
        _exit(0);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &report, sizeof(report)) != (ssize_t)sizeof(report))
        snprintf(report.text, sizeof(report.text), "its process died");
    close(ends[0]);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    return report;
}

static void print_table(const struct tally *tally, uint32_t nodes, uint64_t *sums)
{
    printf("\n%s\n%-38s", nodes == 1 ? "One node" : "Three nodes, one of them damaged", "");
    for (int outcome = 0; outcome < OUTCOMES; outcome++)
        printf("%9s", outcome_names[outcome]);
    printf("\n");
    for (int kind = 0; kind < DAMAGE_KINDS; kind++) {
        printf("%-38s", damage_names[kind]);
        for (int outcome = 0; outcome < OUTCOMES; outcome++) {
            printf("%9" PRIu64, tally->count[kind][outcome]);
            sums[outcome] += tally->count[kind][outcome];
        }
        printf("\n");
    }
    printf("%-38s", "all");
    for (int outcome = 0; outcome < OUTCOMES; outcome++)
        printf("%9" PRIu64, sums[outcome]);
    printf("\n");
}

struct sum {
    uint64_t damages, passed, failed; /* rows of the tables: kinds of damage */
};

static bool is_bad(enum outcome outcome, uint32_t nodes)
{
    return outcome >= LATE || (nodes > 1 && outcome >= CUT);
}

static void add_up(const struct tally *tally, uint32_t nodes, struct sum *sum)
{
    for (int kind = 0; kind < DAMAGE_KINDS; kind++) {
        bool bad = false;
        for (int outcome = 0; outcome < OUTCOMES; outcome++) {
            sum->damages += tally->count[kind][outcome];
            bad = bad || (tally->count[kind][outcome] > 0 && is_bad((enum outcome)outcome, nodes));
        }
        sum->failed += bad;
        sum->passed += !bad;
    }
}

static void rot(uint32_t nodes, uint64_t stride, bool verbose, struct sum *sum)
{
    struct world *world = prepare(nodes);
    struct fake_disk *disk = &world->machine[nodes].disk;
    struct damages list = damage_list(disk, stride);
    struct tally tally = {.slowest_us = 0};
    for (size_t i = 0; i < list.count; i++) {
        const struct damage *damage = &list.at[i];
        struct report report = try_in_child(world, damage);
        tally.count[damage->kind][report.outcome]++;
        if (report.us > tally.slowest_us)
            tally.slowest_us = report.us;
        if (is_bad(report.outcome, nodes) || verbose)
            printf("%s: %s, %s offset %" PRIu64 ": %s\n", outcome_names[report.outcome],
                   damage_names[damage->kind], disk->durable_name[damage->file].name,
                   damage->offset, report.text);
    }
    uint64_t sums[OUTCOMES] = {0};
    print_table(&tally, nodes, sums);
    if (nodes > 1) {
        printf("slowest to be ready: %" PRIu64 " ms (simulated)\n", tally.slowest_us / 1000);
    } else {
        printf("complete %.1f %%, refused %.1f %%, the last batch cut aloud %.1f %%\n",
               100.0 * (double)(sums[WHOLE] + sums[REPAIRED]) / (double)list.count,
               100.0 * (double)sums[REFUSED] / (double)list.count,
               100.0 * (double)sums[CUT] / (double)list.count);
    }
    add_up(&tally, nodes, sum);
    free(list.at);
    world_free(world);
}

int main(int argc, char **argv)
{
    uint64_t stride = 1, nodes = 0;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--stride") == 0 && i + 1 < argc)
            stride = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--nodes") == 0 && i + 1 < argc)
            nodes = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "test") == 0)
            stride = 607;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else
            stride = 0;
    }
    if (stride == 0 || (nodes != 0 && nodes != 1 && nodes != 3)) {
        fprintf(stderr, "usage: rot [test] [--stride N] [--nodes 1 | 3] [--verbose]\n");
        return 2;
    }
    /* Tables come from the kernel, zeroed as they are used: zeroing them took half of the time. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 16);
    struct sum sum = {0};
    if (nodes != 3)
        rot(1, stride, verbose, &sum);
    if (nodes != 1)
        rot(3, stride, verbose, &sum);
    printf("\n%" PRIu64 " damages, by kinds:\n%" PRIu64 " passed, %" PRIu64 " failed\n",
           sum.damages, sum.passed, sum.failed);
    return sum.failed == 0 ? 0 : 1;
}
