/* Term and vote: what was called written is what is read, or nothing is and it says so. */
#include "raft/node/hard_state.h"

#include "tests/node/fake_disk.h"
#include "tests/users/support.h"

#include <errno.h>
#include <stdlib.h>

struct bench {
    struct fake_disk disk;
    struct hard_state_file file;
    uint32_t damaged;
    uint64_t written, tried; /* terms: the last that was called written, and that was begun */
};

static struct raft_node_id vote_of(uint64_t term)
{
    return (raft_node_id){term % 3};
}

static int reopen(struct bench *b)
{
    return hard_state_open(&b->disk.disk, 1, false, &b->file, &b->damaged);
}

static int write_term(struct bench *b, uint64_t term)
{
    b->tried = term;
    int result = hard_state_write(
        &b->file,
        &(struct raft_hard_state){.term = {term}, .voted = term % 3 != 0, .vote = vote_of(term)});
    if (result == 0)
        b->written = term;
    return result;
}

static struct bench *bench_with(uint64_t terms)
{
    struct bench *b = calloc(1, sizeof(*b));
    fake_disk_init(&b->disk);
    must(hard_state_open(&b->disk.disk, 1, true, &b->file, &b->damaged) == 0);
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
    const struct raft_hard_state *now = &b->file.now.hard;
    must(now->term.n == b->written || now->term.n == b->tried);
    must(now->voted == (now->term.n % 3 != 0) && now->vote.n == vote_of(now->term.n).n);
}

static uint8_t *block(struct bench *b, uint32_t i)
{
    uint64_t size;
    uint8_t *bytes = fake_disk_bytes(&b->disk, HARD_STATE_FILE, &size);
    must(bytes != NULL && size == HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES);
    return bytes + i * HARD_STATE_BLOCK_BYTES;
}

Test(hard_state, is_nothing_at_first_and_then_what_was_written)
{
    struct bench *b = bench_with(0);
    cr_assert(eq(u64, b->file.now.sequence, 0));
    cr_assert(eq(u64, b->file.now.hard.term.n, 0));
    cr_assert(not(b->file.now.hard.voted));
    for (uint64_t term = 1; term <= 10; term++) {
        must(write_term(b, term) == 0 && reopen(b) == 0 && b->damaged == 0);
        must(b->file.now.sequence == 2 * term); /* opening writes it again */
        check_read(b);
    }
    free_bench(b);
}

Test(hard_state, is_not_there_unless_it_is_made)
{
    struct bench *b = calloc(1, sizeof(*b));
    fake_disk_init(&b->disk);
    cr_assert(eq(int, reopen(b), -ENOENT));
    free_bench(b);
}

Test(hard_state, of_another_node_is_refused)
{
    struct bench *b = bench_with(3);
    cr_assert(eq(int, hard_state_open(&b->disk.disk, 2, false, &b->file, &b->damaged), -EBADMSG));
    free_bench(b);
}

Test(hard_state, survives_every_single_rotten_block)
{
    for (uint64_t terms = 1; terms <= 6; terms++) {
        for (uint32_t rotten = 0; rotten < HARD_STATE_BLOCKS; rotten++) {
            for (uint32_t bit = 0; bit < RECORD_HARD_STATE_BYTES * 8 + 1; bit++) {
                struct bench *b = bench_with(terms);
                uint8_t *at = block(b, rotten);
                if (bit < RECORD_HARD_STATE_BYTES * 8)
                    at[bit / 8] ^= (uint8_t)(1 << bit % 8);
                else
                    memset(at, 0, HARD_STATE_BLOCK_BYTES);
                must(reopen(b) == 0 && b->file.now.hard.term.n == terms);
                check_read(b);
                must(b->damaged <= 1);
                must(write_term(b, terms + 1) == 0 && reopen(b) == 0);
                must(b->file.now.hard.term.n == terms + 1);
                free_bench(b);
            }
        }
    }
}

Test(hard_state, is_refused_when_nothing_of_it_can_be_read)
{
    struct bench *b = bench_with(4);
    for (uint32_t i = 0; i < HARD_STATE_BLOCKS; i++)
        block(b, i)[20] ^= 1;
    cr_assert(eq(int, reopen(b), -EBADMSG));
    free_bench(b);
    b = bench_with(1); /* only one generation was ever written */
    block(b, 2)[20] ^= 1;
    block(b, 3)[20] ^= 1;
    cr_assert(eq(int, reopen(b), -EBADMSG));
    free_bench(b);
}

Test(hard_state, is_refused_when_its_file_is_cut_short)
{
    for (uint64_t size = 0; size < HARD_STATE_BLOCKS * HARD_STATE_BLOCK_BYTES; size += 1021) {
        struct bench *b = bench_with(4);
        for (int i = 0; i < FAKE_FILES; i++) {
            if (b->disk.file[i].used && b->disk.file[i].now_size > size)
                b->disk.file[i].now_size = size;
        }
        int result = reopen(b);
        must(result == -EBADMSG || (result == 0 && b->file.now.hard.term.n == 4));
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
            must(reopen(b) == 0 && b->file.now.hard.term.n >= b->written);
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
        uint64_t random = seed;
        fake_disk_init(&b->disk);
        b->disk.crash_at = 1 + seed % 6;
        bool made = hard_state_open(&b->disk.disk, 1, true, &b->file, &b->damaged) == 0;
        fake_disk_crash(&b->disk, &random);
        int result = reopen(b);
        must(result == 0 || (result == -ENOENT && !made));
        must(hard_state_open(&b->disk.disk, 1, true, &b->file, &b->damaged) == 0);
        must(b->file.now.sequence == 0);
        free_bench(b);
    }
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
            must(reopen(b) == 0);
            uint64_t seen = b->file.now.hard.term.n; /* acted upon from here on */
            block(b, rotten)[8] ^= 1;
            must(reopen(b) == 0);
            if (b->file.now.hard.term.n < seen)
                cr_fatal("seed %lu: term %lu was seen, and %lu after block %u rotted",
                         (unsigned long)seed, (unsigned long)seen,
                         (unsigned long)b->file.now.hard.term.n, rotten);
            free_bench(b);
        }
    }
}
