/*
 * The peer: Debian's libraft 0.15, one node, its own libuv disk backend, a state machine that does
 * nothing, and so many applies in flight; each answer starts the next apply.
 *
 *     libraft_load --dir DIR [--in-flight 1] [--ms 1000] [--bytes 64]
 *
 * DIR must exist and be empty. Snapshots are put off beyond the end of the run, so that libraft
 * shows its best side.
 */
#include "tests/bench/samples.h"

#include <errno.h>
#include <getopt.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS "127.0.0.1:0" /* libraft listens; a cluster of one has nobody to hear */
#define WARM_NS UINT64_C(100000000)

struct load {
    struct raft raft;
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
        uv_stop(load->raft.data);
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

static void run(struct load *load, const char *dir, uint64_t slots, uint64_t run_ms)
{
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0)
        die("uv_loop_init");
    struct raft_uv_transport transport = {0};
    struct raft_io io = {0};
    struct raft_fsm fsm = {
        .version = 1, .apply = fsm_apply, .snapshot = fsm_snapshot, .restore = fsm_restore};
    check(load, raft_uv_tcp_init(&transport, &loop), "raft_uv_tcp_init");
    check(load, raft_uv_init(&io, &loop, dir, &transport), "raft_uv_init");
    check(load, raft_init(&load->raft, &io, &fsm, 1, ADDRESS), "raft_init");
    load->raft.data = &loop;
    raft_set_snapshot_threshold(&load->raft, 1u << 30);
    struct raft_configuration members;
    raft_configuration_init(&members);
    check(load, raft_configuration_add(&members, 1, ADDRESS, RAFT_VOTER), "configuration");
    check(load, raft_bootstrap(&load->raft, &members), "raft_bootstrap");
    raft_configuration_close(&members);
    check(load, raft_start(&load->raft), "raft_start");
    while (raft_state(&load->raft) != RAFT_LEADER)
        uv_run(&loop, UV_RUN_ONCE);

    struct slot *slot = calloc(slots, sizeof(*slot));
    if (slot == NULL)
        die("calloc");
    load->begin_ns = now_ns() + WARM_NS;
    load->end_ns = load->begin_ns + run_ms * 1000000u;
    for (uint64_t i = 0; i < slots; i++) {
        slot[i].load = load;
        send_next(&slot[i]);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    double seconds = (double)(now_ns() - load->begin_ns) / 1e9;

    printf("in_flight=%llu rate=%.0f", (unsigned long long)slots,
           (double)load->samples.len / seconds);
    samples_print(&load->samples, "");
    putchar('\n');
    fflush(stdout);
    /* The process ends here and the kernel takes loop, raft and files back. */
    samples_done(&load->samples);
    free(slot);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"in-flight", required_argument, NULL, 'n'},
        {"ms", required_argument, NULL, 'm'},
        {"bytes", required_argument, NULL, 'b'},
        {0},
    };
    static struct load load = {.entry_bytes = 64};
    const char *dir = NULL;
    uint64_t slots = 1;
    uint64_t run_ms = 1000;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'd')
            dir = optarg;
        else if (option == 'n')
            slots = number_option("in-flight", optarg, 1, 4096);
        else if (option == 'm')
            run_ms = number_option("ms", optarg, 1, 600000);
        else if (option == 'b')
            load.entry_bytes = (size_t)number_option("bytes", optarg, 8, 65536);
        else
            return 2;
    }
    if (dir == NULL) {
        fputs("libraft_load: --dir is missing\n", stderr);
        return 2;
    }
    run(&load, dir, slots, run_ms);
    return 0;
}
