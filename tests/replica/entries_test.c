#include "raft/replica/entries.h"

#include "tests/users/support.h"

#include <stdlib.h>

/* The ring beside a plain array of what it should hold. */
#define PUSHES 100000u

struct model {
    struct entries entries;
    uint64_t first, last; /* held: first … last */
    uint32_t stamp[PUSHES];
};

/* Payloads differ by length and bytes; every so often there is none, or a large one. */
static struct bytes payload_of(uint32_t stamp, uint8_t buffer[512])
{
    size_t len = stamp % 11 == 0 ? 0 : stamp % 13 == 0 ? 300 + stamp % 200 : stamp % 90;
    memset(buffer, (int)(stamp % 251), len);
    if (len >= 4)
        memcpy(buffer, &stamp, 4);
    return bytes_of(buffer, len);
}

static void compare(const struct model *model)
{
    enum raft_entry_kind kind;
    struct bytes payload;
    uint8_t buffer[512];
    must(model->entries.count == model->last + 1 - model->first);
    for (uint64_t i = model->first; i <= model->last; i++) {
        must(entries_get(&model->entries, (raft_index){i}, &kind, &payload));
        must(kind == (model->stamp[i] % 11 == 0 ? RAFT_NOOP : RAFT_COMMAND));
        must(bytes_equal(payload, payload_of(model->stamp[i], buffer)));
    }
    must(!entries_get(&model->entries, (raft_index){model->first - 1}, &kind, &payload));
    must(!entries_get(&model->entries, (raft_index){model->last + 1}, &kind, &payload));
}

static void play(struct model *model, struct chance *chance, uint32_t *stamp)
{
    uint64_t dice = chance_below(chance, 20);
    uint8_t buffer[512];
    if (dice < 14) {
        struct bytes payload = payload_of(*stamp, buffer);
        if (!entries_room(&model->entries, 1, payload.len))
            return;
        enum raft_entry_kind kind = *stamp % 11 == 0 ? RAFT_NOOP : RAFT_COMMAND;
        raft_index index = entries_push(&model->entries, kind, payload);
        must(index.n == ++model->last);
        model->stamp[index.n] = (*stamp)++;
    } else if (dice < 17 && model->last >= model->first) {
        uint64_t to = model->first + chance_below(chance, model->last + 1 - model->first);
        entries_drop_to(&model->entries, (raft_index){to});
        model->first = to + 1;
    } else if (dice == 17 && model->last >= model->first) {
        uint64_t from = model->last - chance_below(chance, model->last + 1 - model->first);
        entries_drop_from(&model->entries, (raft_index){from});
        model->last = from - 1;
    } else if (dice == 18) {
        entries_drop_to(&model->entries, (raft_index){model->first - 1}); /* nothing */
        entries_drop_from(&model->entries, (raft_index){model->last + 1});
    }
}

Test(entries, hold_what_was_pushed_and_not_dropped)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct model *model = calloc(1, sizeof(*model));
        struct chance chance = {seed};
        uint32_t stamp = 1;
        must(entries_init(&model->entries, 16u << seed % 4, 600 + 97 * seed) == 0);
        model->first = 1 + seed * 1000;
        model->last = model->first - 1;
        entries_reset(&model->entries, (raft_index){model->first});
        for (int i = 0; i < 4000; i++) {
            play(model, &chance, &stamp);
            if (i % 8 == 0)
                compare(model);
        }
        must(stamp > 500);
        entries_done(&model->entries);
        free(model);
    }
}

Test(entries, refuse_one_more_than_so_many)
{
    struct entries entries;
    must(entries_init(&entries, 8, 1000) == 0);
    for (int i = 0; i < 8; i++) {
        must(entries_room(&entries, 1, 0));
        (void)entries_push(&entries, RAFT_NOOP, bytes_of(NULL, 0));
    }
    cr_assert(not(entries_room(&entries, 1, 0)));
    entries_drop_to(&entries, (raft_index){1});
    cr_assert(entries_room(&entries, 1, 0));
    entries_done(&entries);
}

Test(entries, refuse_more_bytes_than_there_are)
{
    static const uint8_t bytes[128];
    struct entries entries;
    must(entries_init(&entries, 8, 100) == 0);
    cr_assert(not(entries_room(&entries, 1, 101)));
    cr_assert(entries_room(&entries, 1, 100));
    (void)entries_push(&entries, RAFT_COMMAND, bytes_of(bytes, 60));
    cr_assert(entries_room(&entries, 1, 40));
    cr_assert(not(entries_room(&entries, 1, 41)), "an entry is not split over the end");
    (void)entries_push(&entries, RAFT_COMMAND, bytes_of(bytes, 30));
    entries_drop_to(&entries, (raft_index){1});
    cr_assert(entries_room(&entries, 1, 60), "at the beginning again");
    cr_assert(not(entries_room(&entries, 1, 61)));
    (void)entries_push(&entries, RAFT_COMMAND, bytes_of(bytes, 60));
    cr_assert(not(entries_room(&entries, 1, 11)));
    entries_done(&entries);
}

Test(entries, begin_anew_after_a_reset)
{
    struct entries entries;
    enum raft_entry_kind kind;
    struct bytes payload;
    must(entries_init(&entries, 8, 100) == 0);
    (void)entries_push(&entries, RAFT_COMMAND, bytes_of_text("one"));
    entries_reset(&entries, (raft_index){50});
    cr_assert(not(entries_get(&entries, (raft_index){1}, &kind, &payload)));
    cr_assert(eq(u64, entries_push(&entries, RAFT_COMMAND, bytes_of_text("fifty")).n, 50));
    must(entries_get(&entries, (raft_index){50}, &kind, &payload));
    must(bytes_equal(payload, bytes_of_text("fifty")));
    entries_done(&entries);
}
