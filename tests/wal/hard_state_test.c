/* Term and vote: what was called written is what is read, or it is said that it may be lost. */
#include "raft/wal/hard_state.h"

#include "tests/users/support.h"
#include "tests/wal/fake_disk.h"

#include <errno.h>
#include <stdlib.h>

struct bench {
    struct fake_disk disk;
    struct hard_state_file file;
    uint64_t written, tried; /* terms: the last that was called written, and that was begun */
};

static struct raft_node_id vote_of(uint64_t term)
{
    return (raft_node_id){term % 3};
}

static struct record_hard_state state_of(uint64_t term)
{
    return (struct record_hard_state){
        .node = 1,
        .hard = {.term = {term},
                 .voted = term % 3 != 0,
                 .vote = vote_of(term),
                 .recovering = term % 5 == 4,
                 .floor = {.known = term % 2 == 0, .index = {term * 7}, .term = {term / 2}}},
        .segment = term / 3,
        .cut = term * 11,
    };
}

/* As the log does it: what was read is written again before it counts. */
static enum hard_state_health reopen(struct bench *b)
{
    must(hard_state_open(&b->disk.disk, 1, &b->file) == 0);
    if (!hard_state_is_open(&b->file))
        return b->file.health;
    struct record_hard_state state = b->file.now;
    must(hard_state_write(&b->file, &state) == 0);
    if (b->file.damaged > 0)
        must(hard_state_refresh(&b->file) == 0);
    return b->file.health;
}

static int write_term(struct bench *b, uint64_t term)
{
    struct record_hard_state state = state_of(term);
    b->tried = term;
    int result = hard_state_write(&b->file, &state);
    if (result == 0)
        b->written = term;
    return result;
}

static struct bench *bench_with(uint64_t terms)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct record_hard_state state = state_of(0);
    fake_disk_init(&b->disk);
    must(reopen(b) == HARD_STATE_NONE);
    must(hard_state_make(&b->disk.disk, &state, &b->file) == 0);
    for (uint64_t term = 1; term <= terms; term++)
        must(write_term(b, term) == 0);
    return b;
}

static void free_bench(struct bench *b)
{
    fake_disk_done(&b->disk);
    free(b);
}

static void check_read(const struct bench *b)
{
    const struct record_hard_state *now = &b->file.now;
    struct record_hard_state right = state_of(now->hard.term.n);
    must(now->hard.term.n == b->written || now->hard.term.n == b->tried);
    must(now->hard.voted == right.hard.voted && now->hard.vote.n == right.hard.vote.n);
    must(now->hard.recovering == right.hard.recovering);
    must(now->hard.floor.known == right.hard.floor.known &&
         now->hard.floor.index.n == right.hard.floor.index.n &&
         now->hard.floor.term.n == right.hard.floor.term.n);
    must(now->segment == right.segment && now->cut == right.cut);
}

static uint8_t *block(struct bench *b, uint32_t i)
{
    uint64_t size;
    uint8_t *bytes = fake_disk_bytes(&b->disk, HARD_STATE_FILE, &size);
    must(bytes != NULL && size == HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES);
    return bytes + i * HARD_STATE_BLOCK_BYTES;
}

Test(hard_state, is_what_it_was_made_with_and_then_what_was_written)
{
    struct bench *b = bench_with(0);
    check_read(b);
    for (uint64_t term = 1; term <= 20; term++) {
        must(write_term(b, term) == 0 && reopen(b) == HARD_STATE_KNOWN && b->file.damaged == 0);
        check_read(b);
    }
    free_bench(b);
}

Test(hard_state, of_another_node_is_refused)
{
    struct bench *b = bench_with(3);
    cr_assert(eq(int, hard_state_open(&b->disk.disk, 2, &b->file), -EBADMSG));
    free_bench(b);
}

Test(hard_state, survives_every_single_rotten_block)
{
    for (uint64_t terms = 0; terms <= 5; terms++) {
        for (uint32_t rotten = 0; rotten < HARD_STATE_BLOCKS; rotten++) {
            for (uint32_t bit = 0; bit < RECORD_HARD_STATE_BYTES * 8 + 1; bit++) {
                struct bench *b = bench_with(terms);
                uint8_t *at = block(b, rotten);
                if (bit < RECORD_HARD_STATE_BYTES * 8)
                    at[bit / 8] ^= (uint8_t)(1 << bit % 8);
                else
                    memset(at, 0, HARD_STATE_BLOCK_BYTES);
                must(reopen(b) == HARD_STATE_KNOWN && b->file.now.hard.term.n == terms);
                check_read(b);
                must(b->file.damaged == 1);
                must(write_term(b, terms + 1) == 0 && reopen(b) == HARD_STATE_KNOWN);
                must(b->file.now.hard.term.n == terms + 1 && b->file.damaged == 0);
                free_bench(b);
            }
        }
    }
}

/* The newest generation, or the one before: who can tell? */
Test(hard_state, is_doubted_when_both_copies_of_a_generation_are_lost)
{
    for (uint64_t terms = 0; terms <= 5; terms++) {
        for (uint32_t first = 0; first < HARD_STATE_BLOCKS; first += 2) {
            for (int zeros = 0; zeros < 2; zeros++) {
                struct bench *b = bench_with(terms);
                for (uint32_t i = first; i < first + 2; i++) {
                    if (zeros)
                        memset(block(b, i), 0, HARD_STATE_BLOCK_BYTES);
                    else
                        block(b, i)[20] ^= 1;
                }
                must(reopen(b) == HARD_STATE_DOUBTED);
                must(b->file.now.hard.term.n + 1 >= terms && b->file.now.hard.term.n <= terms);
                must(write_term(b, terms + 1) == 0 && reopen(b) == HARD_STATE_KNOWN);
                check_read(b);
                free_bench(b);
            }
        }
    }
}

Test(hard_state, is_lost_when_nothing_of_it_can_be_read)
{
    struct bench *b = bench_with(4);
    for (uint32_t i = 0; i < HARD_STATE_BLOCKS; i++)
        block(b, i)[20] ^= 1;
    cr_assert(eq(int, reopen(b), HARD_STATE_LOST));
    struct record_hard_state state = state_of(9);
    b->written = b->tried = 9;
    must(hard_state_make(&b->disk.disk, &state, &b->file) == 0 && reopen(b) == HARD_STATE_KNOWN);
    check_read(b);
    free_bench(b);
}

Test(hard_state, is_lost_when_its_file_is_cut_short)
{
    for (uint64_t size = 0; size < HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES; size += 1021) {
        struct bench *b = bench_with(4);
        for (int i = 0; i < FAKE_FILES; i++) {
            if (b->disk.file[i].used && b->disk.file[i].now_size > size)
                b->disk.file[i].now_size = size;
        }
        enum hard_state_health health = reopen(b);
        must(health == HARD_STATE_LOST ||
             (health == HARD_STATE_KNOWN && b->file.now.hard.term.n == 4));
        free_bench(b);
    }
}

/* Power goes at any operation of any write, each sector written or not. */
Test(hard_state, keeps_what_was_written_through_a_crash_at_any_operation)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct bench *b = bench_with(seed % 4);
        uint64_t random = seed;
        for (int life = 0; life < 4; life++) {
            b->disk.crash_at = b->disk.operations + 1 + seed / 4 % 7;
            while (write_term(b, b->tried + 1) == 0)
                ;
            fake_disk_crash(&b->disk, &random);
            must(reopen(b) == HARD_STATE_KNOWN && b->file.now.hard.term.n >= b->written);
            check_read(b);
            b->written = b->tried = b->file.now.hard.term.n;
        }
        free_bench(b);
    }
}

Test(hard_state, is_made_whole_or_not_at_all)
{
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct bench *b = calloc(1, sizeof(*b));
        struct record_hard_state state = state_of(8);
        uint64_t random = seed;
        fake_disk_init(&b->disk);
        b->disk.crash_at = 1 + seed % 10;
        bool made = hard_state_make(&b->disk.disk, &state, &b->file) == 0;
        fake_disk_crash(&b->disk, &random);
        enum hard_state_health health = reopen(b);
        must(health == HARD_STATE_KNOWN || (health == HARD_STATE_NONE && !made));
        if (health == HARD_STATE_NONE)
            must(hard_state_make(&b->disk.disk, &state, &b->file) == 0);
        b->written = b->tried = 8;
        must(reopen(b) == HARD_STATE_KNOWN);
        check_read(b);
        free_bench(b);
    }
}

/*
 * A process that is killed, or whose sync failed, leaves what it wrote in the kernel's memory: not
 * durable, and read.
 */
static void overwrites_nothing(bool forgets)
{
    struct bench *b = bench_with(4);
    b->disk.fail_at = b->disk.operations + 3; /* the sync */
    b->disk.fail_error = -EIO;
    b->disk.fail_forgets = forgets;
    must(write_term(b, 5) == -EIO);
    must(hard_state_open(&b->disk.disk, 1, &b->file) == 0 && b->file.now.hard.term.n == 5);
    b->disk.crash_at = b->disk.operations + 4; /* the first write over what is durable */
    must(write_term(b, 6) == -EIO);
    uint64_t size;
    const uint8_t *durable = fake_disk_durable(&b->disk, HARD_STATE_FILE, &size);
    struct record_hard_state state;
    durable += HARD_STATE_BLOCKS / 2 * HARD_STATE_BLOCK_BYTES;
    must(record_hard_state_decode(bytes_of(durable, RECORD_HARD_STATE_BYTES), &state) == 0);
    cr_assert(eq(u64, state.hard.term.n, 5));
    free_bench(b);
}

Test(hard_state, overwrites_nothing_before_what_was_read_is_durable)
{
    overwrites_nothing(false);
    overwrites_nothing(true);
}

Test(hard_state, tells_of_a_write_or_sync_that_failed)
{
    for (uint64_t n = 1; n <= 3; n++) {
        struct bench *b = bench_with(2);
        b->disk.fail_at = b->disk.operations + n;
        b->disk.fail_error = -EIO;
        cr_assert(eq(int, write_term(b, 3), -EIO));
        cr_assert(eq(u64, b->file.now.hard.term.n, 2));
        free_bench(b);
    }
}

/* A power loss between the two copies leaves one. It must not be the only one for long. */
Test(hard_state, survives_a_rotten_block_after_a_torn_write)
{
    for (uint64_t seed = 1; seed <= 400; seed++) {
        for (uint32_t rotten = 0; rotten < HARD_STATE_BLOCKS; rotten++) {
            struct bench *b = bench_with(3);
            uint64_t random = seed;
            b->disk.crash_at = b->disk.operations + 1 + seed % 3;
            (void)write_term(b, 4);
            fake_disk_crash(&b->disk, &random);
            must(reopen(b) == HARD_STATE_KNOWN);
            uint64_t seen = b->file.now.hard.term.n; /* acted upon from here on */
            block(b, rotten)[8] ^= 1;
            must(reopen(b) == HARD_STATE_KNOWN);
            if (b->file.now.hard.term.n < seen)
                cr_fatal("seed %lu: term %lu was seen, and %lu after block %u rotted",
                         (unsigned long)seed, (unsigned long)seen,
                         (unsigned long)b->file.now.hard.term.n, rotten);
            free_bench(b);
        }
    }
}
