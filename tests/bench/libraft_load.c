/*
 * The peer: Debian's libraft 0.15, its own libuv disk and TCP backends, a state machine that does
 * nothing, and so many applies in flight at the leader; each answer starts the next apply.
 *
 *     libraft_load --dir DIR [--servers 1|3] [--port 7000] [--in-flight 1] [--ms 1000] [--bytes 64]
 *
 * Three servers are three processes, on so many ports of the loopback from --port; this one is the
 * leader, because the others would wait ten times as long before they stood for election.
 *
 * DIR must exist and be empty. Snapshots are put off beyond the end of the run, so that libraft
 * shows its best side.
 */
#include "tests/bench/samples.h"

#include <errno.h>
#include <getopt.h>
#include <raft.h>
#include <raft/uv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVERS_MAX      3u
#define WARM_NS          UINT64_C(300000000)

#define ELECTION_SOON_MS 300u
#define ELECTION_LATE_MS 3000u
#define CONNECT_AGAIN_MS 20u

struct load {
    struct raft raft;
    struct raft_uv_transport transport;
    struct raft_io io;
    struct raft_fsm fsm;
    uv_loop_t loop;
    const char *dir;
    unsigned servers;
    unsigned port;
    pid_t follower[SERVERS_MAX];
    struct samples samples;
    size_t entry_bytes;
    uint64_t begin_ns; /* samples count from here */
    uint64_t end_ns;
    uint64_t in_flight;
};

struct slot {
    struct raft_apply apply;
    struct load *load;
    uint64_t sent_ns;
};

static void check(struct load *load, int result, const char *what)
{
    if (result == 0)
        return;
    fprintf(stderr, "libraft_load: %s: %s (%s)\n", what, raft_strerror(result),
            raft_errmsg(&load->raft));
    exit(1);
}

static void send_next(struct slot *slot);

static void applied(struct raft_apply *apply, int status, void *result)
{
    (void)result;
    struct slot *slot = apply->data;
    struct load *load = slot->load;
    check(load, status, "apply");
    uint64_t now = now_ns();
    load->in_flight--;
    if (slot->sent_ns >= load->begin_ns)
        samples_add(&load->samples, now - slot->sent_ns);
    if (now < load->end_ns)
        send_next(slot);
    else if (load->in_flight == 0)
        uv_stop(&load->loop);
}

static void send_next(struct slot *slot)
{
    struct load *load = slot->load;
    struct raft_buffer entry = {.base = raft_malloc(load->entry_bytes), .len = load->entry_bytes};
    if (entry.base == NULL)
        die("raft_malloc");
    memset(entry.base, 0x5a, entry.len);
    slot->apply.data = slot;
    slot->sent_ns = now_ns();
    load->in_flight++;
    check(load, raft_apply(&load->raft, &slot->apply, &entry, 1, applied), "raft_apply");
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *entry, void **result)
{
    (void)fsm;
    (void)entry;
    *result = NULL;
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count)
{
    (void)fsm;
    (void)buffers;
    (void)count;
    return RAFT_BUSY;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    (void)fsm;
    (void)buffer;
    return RAFT_MALFORMED;
}

/* --- servers ---------------------------------------------------------------------------------- */

static void address_of(const struct load *load, unsigned server, char *ret_text, size_t size)
{
    /* libraft listens in any case; a cluster of one has nobody to hear. */
    unsigned port = load->servers > 1 ? load->port + server - 1 : 0;
    snprintf(ret_text, size, "127.0.0.1:%u", port);
}

static void bootstrap(struct load *load)
{
    struct raft_configuration members;
    raft_configuration_init(&members);
    for (unsigned server = 1; server <= load->servers; server++) {
        char address[32];
        address_of(load, server, address, sizeof(address));
        check(load, raft_configuration_add(&members, server, address, RAFT_VOTER), "configuration");
    }
    check(load, raft_bootstrap(&load->raft, &members), "raft_bootstrap");
    raft_configuration_close(&members);
}

static void server_start(struct load *load, unsigned server)
{
    char dir[4096];
    snprintf(dir, sizeof(dir), "%s/%u", load->dir, server);
    if (mkdir(dir, 0700) != 0)
        die(dir);
    if (uv_loop_init(&load->loop) != 0)
        die("uv_loop_init");
    load->fsm = (struct raft_fsm){
        .version = 1, .apply = fsm_apply, .snapshot = fsm_snapshot, .restore = fsm_restore};
    char address[32];
    address_of(load, server, address, sizeof(address));
    check(load, raft_uv_tcp_init(&load->transport, &load->loop), "raft_uv_tcp_init");
    check(load, raft_uv_init(&load->io, &load->loop, dir, &load->transport), "raft_uv_init");
    raft_uv_set_connect_retry_delay(&load->io, CONNECT_AGAIN_MS);
    check(load, raft_init(&load->raft, &load->io, &load->fsm, server, address), "raft_init");
    raft_set_election_timeout(&load->raft, server == 1 ? ELECTION_SOON_MS : ELECTION_LATE_MS);
    raft_set_snapshot_threshold(&load->raft, 1u << 30);
    bootstrap(load);
    check(load, raft_start(&load->raft), "raft_start");
}

_Noreturn static void follow(struct load *load, unsigned server, int started)
{
    server_start(load, server);
    if (write(started, "", 1) != 1)
        die("pipe");
    uv_run(&load->loop, UV_RUN_DEFAULT);
    die("a follower ended");
}

/* Returns when all of them listen. */
static void followers_start(struct load *load)
{
    int started[2];
    if (pipe(started) != 0)
        die("pipe");
    for (unsigned server = 2; server <= load->servers; server++) {
        pid_t parent = getpid();
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (child == 0) {
            /* Ends with its parent, whose id is the one that others know. */
            if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
                exit(1);
            follow(load, server, started[1]);
        }
        load->follower[server - 1] = child;
    }
    close(started[1]);
    for (unsigned server = 2; server <= load->servers; server++) {
        char byte;
        if (read(started[0], &byte, 1) != 1)
            die("a follower");
    }
    close(started[0]);
}

static void followers_stop(struct load *load)
{
    for (unsigned server = 2; server <= load->servers; server++) {
        kill(load->follower[server - 1], SIGKILL);
        waitpid(load->follower[server - 1], NULL, 0);
    }
}

static void become_leader(struct load *load)
{
    while (raft_state(&load->raft) != RAFT_LEADER)
        uv_run(&load->loop, UV_RUN_ONCE);
    /* A leader gives up when it has not heard from a majority for so long. */
    raft_set_election_timeout(&load->raft, ELECTION_LATE_MS);
}

static void drive(struct load *load, uint64_t slots, uint64_t run_ms)
{
    struct slot *slot = calloc(slots, sizeof(*slot));
    if (slot == NULL)
        die("calloc");
    load->begin_ns = now_ns() + WARM_NS;
    load->end_ns = load->begin_ns + run_ms * 1000000u;
    for (uint64_t i = 0; i < slots; i++) {
        slot[i].load = load;
        send_next(&slot[i]);
    }
    uv_run(&load->loop, UV_RUN_DEFAULT);
    double seconds = (double)(now_ns() - load->begin_ns) / 1e9;

    printf("servers=%u in_flight=%llu rate=%.0f", load->servers, (unsigned long long)slots,
           (double)load->samples.len / seconds);
    samples_print(&load->samples, "");
    putchar('\n');
    fflush(stdout);
    samples_done(&load->samples);
    free(slot);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"servers", required_argument, NULL, 's'},
        {"port", required_argument, NULL, 'p'},
        {"in-flight", required_argument, NULL, 'n'},
        {"ms", required_argument, NULL, 'm'},
        {"bytes", required_argument, NULL, 'b'},
        {0},
    };
    static struct load load = {.entry_bytes = 64, .servers = 1, .port = 7000};
    uint64_t slots = 1;
    uint64_t run_ms = 1000;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'd')
            load.dir = optarg;
        else if (option == 's')
            load.servers = (unsigned)number_option("servers", optarg, 1, SERVERS_MAX);
        else if (option == 'p')
            load.port = (unsigned)number_option("port", optarg, 1, 65535 - SERVERS_MAX);
        else if (option == 'n')
            slots = number_option("in-flight", optarg, 1, 4096);
        else if (option == 'm')
            run_ms = number_option("ms", optarg, 1, 600000);
        else if (option == 'b')
            load.entry_bytes = (size_t)number_option("bytes", optarg, 8, 65536);
        else
            return 2;
    }
    if (load.dir == NULL) {
        fputs("libraft_load: --dir is missing\n", stderr);
        return 2;
    }
    followers_start(&load);
    server_start(&load, 1);
    become_leader(&load);
    drive(&load, slots, run_ms);
    followers_stop(&load);
    /* The process ends here and the kernel takes loop, raft and files back. */
    return 0;
}
