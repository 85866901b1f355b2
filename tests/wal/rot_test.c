/*
 * What rot makes of a log. One log is written, and everything in it called durable; then its files
 * are damaged in every way, one at a time, and it is opened by a node that is alone and by a member
 * of a cluster. Whatever comes of it, nothing is less than it was without being said.
 */
#include "tests/wal/rot_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- segments --------------------------------------------------------------------------------- */

static void each_bit_of_headers(struct rot *rot, bool alone)
{
    for (size_t f = 0; f < rot->files; f++) {
        const struct rot_file *file = &rot->file[f];
        struct record record;
        uint64_t n = 0;
        for (uint64_t at = 0; at + RECORD_HEADER_BYTES <= file->size; at += 8) {
            if (!rot_is_segment(file) ||
                record_head_get(bytes_of(file->bytes + at, RECORD_HEADER_BYTES), &record) !=
                    RECORD_OK)
                continue;
            uint64_t step = n++ % 96 == 0 ? 1 : 211; /* copies are among them */
            for (uint64_t bit = n % step; bit < RECORD_HEADER_BYTES * 8; bit += step) {
                rot_begin(rot);
                rot_bytes(rot, f)[at + bit / 8] ^= (uint8_t)(1 << bit % 8);
                rot_judge(rot, alone, "bit of a header", at * 8 + bit);
            }
        }
    }
}

Test(wal_rot, in_a_header_is_repaired_from_its_copy, .timeout = 240)
{
    for (int alone = 0; alone < 2; alone++) {
        struct rot *rot = rot_new();
        each_bit_of_headers(rot, alone);
        rot_say(rot, alone ? "header bits, alone" : "header bits, member");
        cr_assert_gt(rot->count[ROT_REPAIRED], 1500);
        cr_assert_eq(rot->count[ROT_REPAIRED], rot->tried);
        rot_free(rot);
    }
}

Test(wal_rot, in_a_payload_is_a_hole_of_a_member_and_refused_alone, .timeout = 120)
{
    for (int alone = 0; alone < 2; alone++) {
        struct rot *rot = rot_new();
        for (uint64_t index = 1; index <= rot->last; index++) {
            const struct rot_entry *entry = &rot->entry[index];
            uint64_t step = index % 32 == 0 ? 1 : 211;
            for (uint64_t bit = index % step; bit < entry->payload.len * 8; bit += step) {
                rot_begin(rot);
                rot_bytes(rot, entry->file)[entry->offset + RECORD_HEADER_BYTES + bit / 8] ^=
                    (uint8_t)(1 << bit % 8);
                rot_judge(rot, alone, "bit of a payload", index);
            }
        }
        rot_say(rot, alone ? "payload bits, alone" : "payload bits, member");
        cr_assert_gt(rot->count[alone ? ROT_REFUSED : ROT_HOLES], 1000);
        cr_assert_gt(rot->count[ROT_CUT], 0, "of the last batch");
        cr_assert_eq(rot->count[alone ? ROT_REFUSED : ROT_HOLES] + rot->count[ROT_CUT], rot->tried);
        rot_free(rot);
    }
}

/* Every stretch of so many bytes: zeros, bytes, random, and what stands elsewhere. */
static void each_stretch(struct rot *rot, bool alone, uint64_t bytes)
{
    uint64_t random = 1;
    for (size_t f = 0; f < rot->files; f++) {
        const struct rot_file *file = &rot->file[f];
        for (uint64_t at = 0; rot_is_segment(file) && at < file->size; at += bytes) {
            for (int kind = 0; kind < 5; kind++) {
                rot_begin(rot);
                uint8_t *now = rot_bytes(rot, f);
                const struct rot_file *other = &rot->file[(f + 1) % rot->files];
                if (kind < 2)
                    memset(now + at, kind == 0 ? 0 : 0xa5, bytes);
                for (uint64_t i = 0; kind == 2 && i < bytes; i++)
                    now[at + i] = (uint8_t)fake_random(&random);
                if (kind == 3)
                    memcpy(now + at, file->bytes + (at + 3 * bytes) % file->size, bytes);
                if (kind == 4 && rot_is_segment(other))
                    memcpy(now + at, other->bytes + at, bytes);
                rot_judge(rot, alone, bytes == 512 ? "sector" : "block", at);
            }
        }
    }
}

Test(wal_rot, of_a_sector_or_a_block_takes_nothing_silently, .timeout = 240)
{
    for (int alone = 0; alone < 2; alone++) {
        for (uint64_t bytes = 512; bytes <= 4096; bytes *= 2) {
            struct rot *rot = rot_new();
            char what[64];
            each_stretch(rot, alone, bytes);
            snprintf(what, sizeof(what), "%lu bytes, %s", (unsigned long)bytes,
                     alone ? "alone" : "member");
            rot_say(rot, what);
            if (!alone)
                cr_assert_eq(rot->count[ROT_REFUSED], 0);
            if (bytes == 512) /* one sector never holds an entry and all that is known of it */
                cr_assert_leq(rot->count[ROT_CUT], 30);
            rot_free(rot);
        }
    }
}

Test(wal_rot, of_a_files_length_takes_nothing_silently, .timeout = 240)
{
    for (int alone = 0; alone < 2; alone++) {
        struct rot *rot = rot_new();
        for (size_t f = 0; f < rot->files; f++) {
            uint64_t step = rot_is_segment(&rot->file[f]) ? 173 : 1021;
            for (uint64_t size = 0; size < rot->file[f].size; size += step) {
                rot_begin(rot);
                rot_resize(rot, f, size);
                rot_judge(rot, alone, "cut short", size);
            }
            rot_begin(rot);
            rot_resize(rot, f, rot->file[f].size + 777);
            rot_judge(rot, alone, "grown", 0);
        }
        rot_say(rot, alone ? "lengths, alone" : "lengths, member");
        if (!alone)
            cr_assert_eq(rot->count[ROT_REFUSED], 0);
        rot_free(rot);
    }
}

static void rename_file(struct rot *rot, size_t f, const char *to)
{
    struct disk *disk = &rot->disk.disk;
    cr_assert_eq(disk->ops->rename(disk, rot->file[f].name, to), 0);
}

Test(wal_rot, of_names_takes_nothing_silently, .timeout = 120)
{
    for (int alone = 0; alone < 2; alone++) {
        struct rot *rot = rot_new();
        for (size_t f = 0; f < rot->files; f++) {
            rot_begin(rot);
            rot->oldest_gone = f == rot->oldest;
            struct disk *disk = &rot->disk.disk;
            cr_assert_eq(disk->ops->remove(disk, rot->file[f].name), 0);
            rot_judge(rot, alone, "gone", f);
            for (size_t g = 0; g < f; g++) {
                if (!rot_is_segment(&rot->file[f]) || !rot_is_segment(&rot->file[g]))
                    continue;
                rot_begin(rot);
                rename_file(rot, f, "swap");
                rename_file(rot, g, rot->file[f].name);
                cr_assert_eq(disk->ops->rename(disk, "swap", rot->file[g].name), 0);
                rot_judge(rot, alone, "swapped", f * 100 + g);
            }
            rot_begin(rot);
            rot->oldest_gone = f == rot->oldest;
            rename_file(rot, f, "00000000000000aa.wal");
            rot_judge(rot, alone, "renamed", f);
        }
        rot_say(rot, alone ? "names, alone" : "names, member");
        if (!alone)
            cr_assert_eq(rot->count[ROT_REFUSED], 0);
        rot_free(rot);
    }
}

/* --- term and vote ---------------------------------------------------------------------------- */

Test(wal_rot, of_term_and_vote_makes_a_member_recovering_or_nothing, .timeout = 120)
{
    for (int alone = 0; alone < 2; alone++) {
        struct rot *rot = rot_new();
        size_t f = rot_hard_state(rot);
        for (uint32_t which = 1; which < 1u << HARD_STATE_BLOCKS; which++) {
            for (uint32_t kind = 0; kind < 3; kind++) {
                rot_begin(rot);
                uint8_t *now = rot_bytes(rot, f);
                for (uint32_t i = 0; i < HARD_STATE_BLOCKS; i++) {
                    if ((which >> i & 1) == 0)
                        continue;
                    if (kind == 0)
                        now[i * HARD_STATE_BLOCK_BYTES + 5 * which] ^= 4;
                    else
                        memset(now + (size_t)i * HARD_STATE_BLOCK_BYTES, kind == 1 ? 0 : 0x5a,
                               HARD_STATE_BLOCK_BYTES);
                }
                bool readable = (which & 3) != 3 && (which & 12) != 12;
                rot->vote_doubted = !readable;
                enum rot_outcome outcome = rot_judge(rot, alone, "hard state", which);
                if (readable)
                    cr_assert_lt(outcome, ROT_HOLES);
                else if (!alone)
                    cr_assert(rot->recovered.hard.recovering && !rot->recovered.hard.floor.known);
                else
                    cr_assert_eq(outcome == ROT_REFUSED, which == 15);
            }
        }
        rot_say(rot, alone ? "hard state, alone" : "hard state, member");
        rot_free(rot);
    }
}

/* --- two at once, and the repair of what is found --------------------------------------------- */

Test(wal_rot, in_two_places_takes_nothing_silently, .timeout = 240)
{
    struct rot *rot = rot_new();
    for (uint64_t seed = 1; seed <= 6000; seed++) {
        uint64_t random = seed;
        rot_begin(rot);
        for (int i = 0; i < 2; i++) {
            size_t f = fake_random(&random) % rot->files;
            uint64_t bytes = fake_random(&random) % 3 == 0 ? 4096 : 512;
            uint64_t at = fake_random(&random) % (rot->file[f].size / bytes) * bytes;
            rot->vote_doubted = rot->vote_doubted || !rot_is_segment(&rot->file[f]);
            memset(rot_bytes(rot, f) + at, (int)(fake_random(&random) % 2 * 0xa5), bytes);
        }
        rot_judge(rot, seed % 2 == 0, "two places", seed);
    }
    rot_say(rot, "two places, both");
    rot_free(rot);
}

/* Power goes while the log is opened, at every operation, each sector written or not. */
Test(wal_rot, is_found_again_when_opening_crashes, .timeout = 240)
{
    struct rot *rot = rot_new();
    uint64_t random = 1, crashes = 0;
    for (size_t f = 0; f < rot->files; f++) {
        for (uint64_t at = 0; at < rot->file[f].size; at += 3584) {
            for (int alone = 0; alone < 2; alone++) {
                bool crashed = true;
                for (uint64_t n = 1; crashed; n++) {
                    rot_begin(rot);
                    rot->vote_doubted = !rot_is_segment(&rot->file[f]);
                    uint64_t left = rot->file[f].size - at, bytes = 512 * (1 + n % 9);
                    memset(rot_bytes(rot, f) + at, 0x77, bytes < left ? bytes : left);
                    rot_make_durable(rot);
                    rot->disk.crash_at = rot->disk.operations + n;
                    (void)rot_try(rot, alone);
                    rot->said = rot->recovered.text[0] != '\0';
                    if (rot->wal != NULL)
                        rot_close(rot);
                    crashed = rot->disk.crashed;
                    fake_disk_crash(&rot->disk, &random);
                    crashes += crashed;
                    rot_judge(rot, alone, "crash", n);
                }
            }
        }
    }
    rot_say(rot, "crashes while opening");
    cr_assert_gt(crashes, 500);
    rot_free(rot);
}

/* And while holes are filled. */
Test(wal_rot, is_repaired_again_when_a_repair_crashes, .timeout = 120)
{
    struct rot *rot = rot_new();
    uint64_t random = 1;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        rot_begin(rot);
        for (int i = 0; i < 6; i++) {
            uint64_t index = 1 + fake_random(&random) % (rot->last - 10);
            const struct rot_entry *entry = &rot->entry[index];
            rot_bytes(rot, entry->file)[entry->offset + RECORD_HEADER_BYTES] ^= 1;
        }
        rot_make_durable(rot);
        cr_assert_eq(rot_try(rot, false), 0);
        fake_runner_drain(&rot->runner);
        rot->disk.crash_at = rot->disk.operations + 1 + seed % 12;
        (void)rot_repair_all(rot);
        rot_close(rot);
        fake_disk_crash(&rot->disk, &random);
        enum rot_outcome outcome = rot_judge(rot, false, "repair", seed);
        cr_assert(outcome == ROT_HOLES || outcome == ROT_WHOLE);
    }
    rot_free(rot);
}

/* --- while it runs ---------------------------------------------------------------------------- */

static void open_whole(struct rot *rot)
{
    rot_begin(rot);
    cr_assert_eq(rot_try(rot, false), 0);
    fake_runner_drain(&rot->runner);
}

/* Once over all of the log. */
static struct wal_scrubbed scrub_all(struct rot *rot, size_t bytes)
{
    struct wal_scrubbed sum = {.bytes = 0};
    uint64_t in_use = 0;
    for (size_t f = 0; f < rot->files; f++)
        in_use += rot_is_segment(&rot->file[f]) ? rot->file[f].size : 0;
    for (uint64_t n = 0; n < 2 * (in_use / bytes + rot->files); n++) {
        rot->scrubs = 0;
        wal_scrub(rot->wal, bytes);
        wal_scrub(rot->wal, bytes); /* one at a time */
        fake_runner_drain(&rot->runner);
        cr_assert(rot->scrubs == 1 && rot->scrubbed.error == 0 && !wal_scrubbing(rot->wal));
        sum.bytes += rot->scrubbed.bytes;
        sum.damaged += rot->scrubbed.damaged;
        sum.repaired += rot->scrubbed.repaired;
        sum.holes += rot->scrubbed.holes;
        sum.unknown += rot->scrubbed.unknown;
    }
    cr_assert_gt(sum.bytes, in_use / 2);
    return sum;
}

Test(wal_rot, is_found_by_scrubbing_what_runs, .timeout = 120)
{
    struct rot *rot = rot_new();
    for (size_t bytes = 512; bytes < 20000; bytes *= 3) {
        open_whole(rot);
        struct wal_scrubbed clean = scrub_all(rot, bytes);
        cr_assert_eq(clean.damaged + clean.unknown, 0);
        const struct rot_entry *entry = &rot->entry[20], *other = &rot->entry[60];
        rot_bytes(rot, entry->file)[entry->offset + RECORD_HEADER_BYTES + 3] ^= 8;
        rot_bytes(rot, other->file)[other->offset + 20] ^= 8;
        struct wal_scrubbed found = scrub_all(rot, bytes);
        cr_assert(found.repaired == 1 && found.unknown == 0, "%u %u", found.repaired,
                  found.unknown);
        cr_assert_geq(found.holes, 1);
        cr_assert_eq(wal_holes(rot->wal), 1);
        struct wal_hole hole;
        cr_assert(wal_hole(rot->wal, 0, &hole) && hole.index.n == 20);
        cr_assert_eq(rot_repair_all(rot), 0);
        cr_assert_eq(wal_holes(rot->wal), 0);
        rot_close(rot);
        cr_assert_eq(rot_judge(rot, true, "scrubbed", 0), ROT_WHOLE);
    }
    rot_free(rot);
}

/* A snapshot came between: the file went before the scrub could read it. That is no error. */
Test(wal_rot, is_not_looked_for_in_a_segment_that_is_removed_while_it_is_scrubbed)
{
    struct rot *rot = rot_new();
    open_whole(rot);
    rot->scrubs = 0;
    wal_scrub(rot->wal, 4096);
    struct job *scrub = rot->runner.first[RUNNER_HOUSEKEEPING];
    rot->runner.first[RUNNER_HOUSEKEEPING] = NULL;
    wal_compact(rot->wal, (raft_index){rot->last});
    cr_assert(fake_runner_step(&rot->runner, RUNNER_HOUSEKEEPING), "nothing was removed");
    scrub->run(scrub);
    scrub->done(scrub);
    cr_assert(rot->scrubs == 1 && rot->scrubbed.error == 0 && !rot->failed, "%d",
              rot->scrubbed.error);
    cr_assert_eq(rot->scrubbed.damaged + rot->scrubbed.unknown, 0);
    wal_scrub(rot->wal, 4096); /* goes on with what is left */
    fake_runner_drain(&rot->runner);
    cr_assert(rot->scrubs == 2 && rot->scrubbed.error == 0 && rot->scrubbed.bytes > 0);
    rot_close(rot);
    rot_free(rot);
}

Test(wal_rot, whose_identity_is_lost_is_reported_by_scrubbing)
{
    struct rot *rot = rot_new();
    open_whole(rot);
    memset(rot_bytes(rot, rot->entry[20].file), 0, 4096);
    struct wal_scrubbed found = scrub_all(rot, 4096);
    cr_assert_gt(found.unknown, 0);
    cr_assert_eq(wal_holes(rot->wal), 0);
    rot_close(rot);
    rot_free(rot);
}

static int count_entry(void *context, raft_index index, raft_term term, enum raft_entry_kind kind,
                       struct bytes payload)
{
    (void)index, (void)term, (void)kind, (void)payload;
    ++*(uint64_t *)context;
    return 0;
}

Test(wal_rot, is_found_by_reading_what_runs)
{
    struct rot *rot = rot_new();
    raft_index first = {1}, last = {rot->last}, hole;
    uint64_t read = 0;
    open_whole(rot);
    const struct rot_entry *entry = &rot->entry[20], *other = &rot->entry[30];
    rot_bytes(rot, entry->file)[entry->offset + 40] ^= 8;
    rot_bytes(rot, other->file)[other->offset + RECORD_HEADER_BYTES + 3] ^= 8;
    cr_assert_eq(wal_read(rot->wal, first, (raft_index){29}, count_entry, &read), 0);
    cr_assert_eq(read, 29, "the header was repaired on the way");
    cr_assert_eq(wal_read(rot->wal, first, last, count_entry, &read), -EBADMSG);
    cr_assert(wal_has_hole(rot->wal, first, last, &hole) && hole.n == 30);
    cr_assert(!wal_has_hole(rot->wal, first, (raft_index){29}, &hole));
    cr_assert(!wal_has_hole(rot->wal, (raft_index){31}, last, &hole));
    cr_assert_eq(rot_repair_all(rot), 0);
    cr_assert_eq(wal_read(rot->wal, first, last, count_entry, &read), 0);
    cr_assert_eq(
        wal_repair(rot->wal, (raft_index){30}, (raft_term){1}, RAFT_COMMAND, other->payload),
        -ENOENT);
    rot_close(rot);
    rot_free(rot);
}

Test(wal_rot, that_is_truncated_or_removed_is_no_hole)
{
    struct rot *rot = rot_new();
    rot_begin(rot);
    const uint64_t damaged[] = {10, 60};
    for (int i = 0; i < 2; i++)
        rot_bytes(rot, rot->entry[damaged[i]].file)[rot->entry[damaged[i]].offset + 70] ^= 1;
    cr_assert_eq(rot_try(rot, false), 0);
    fake_runner_drain(&rot->runner);
    cr_assert_eq(wal_holes(rot->wal), 2);
    wal_compact(rot->wal, (raft_index){40});
    fake_runner_drain(&rot->runner);
    cr_assert_eq(wal_holes(rot->wal), 1);
    wal_truncate(rot->wal, (raft_index){55}, (raft_term){rot->entry[54].term});
    cr_assert_eq(wal_holes(rot->wal), 0);
    rot_close(rot);
    rot_free(rot);
}
