#include "tests/crash/states.h"

#include "tests/wal/fake_disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct states *states_new(uint32_t all, uint32_t samples, struct set *images)
{
    struct states *states = calloc(1, sizeof(*states));
    assert(states != NULL && all < 32);
    states->all = all;
    states->samples = samples;
    states->images = images;
    return states;
}

void states_free(struct states *states)
{
    set_done(&states->checks);
    free(states);
}

/* --- one crash: what is durable, and the units of the rest ------------------------------------ */

static bool is_name(const struct unit *unit)
{
    return unit->kind == UNIT_NAME || unit->kind == UNIT_NO_NAME;
}

static void apply(const struct unit *unit, enum unit_there there, struct image *image)
{
    size_t half = unit->len / 2, from = there == LAST_HALF ? half : 0;
    switch (unit->kind) {
    case UNIT_SECTOR:
        image_write(image, unit->file, unit->offset + from, unit->bytes + from,
                    there == KEPT ? unit->len : half);
        return;
    case UNIT_SIZE:
        image_grow(image, unit->file, unit->len);
        return;
    case UNIT_NAME:
        image_name(image, unit->name, unit->file);
        return;
    case UNIT_NO_NAME:
        image_name(image, unit->name, -1);
        return;
    }
    UNREACHABLE();
}

static void add(struct states *states, struct unit unit)
{
    assert(states->units < STATES_UNITS);
    states->unit[states->units++] = unit;
}

/* Makes durable what a sync of this file is for; of names when file is -1. */
static void sync_units(struct states *states, int file)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *unit = &states->unit[i];
        if (is_name(unit) ? file < 0 : unit->file == file)
            apply(unit, KEPT, &states->durable);
        else
            states->unit[left++] = *unit;
    }
    states->units = left;
}

static uint64_t size_now(const struct states *states, int file)
{
    uint64_t size = states->durable.file[file].size;
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *unit = &states->unit[i];
        if (!is_name(unit) && unit->file == file && unit->offset + unit->len > size)
            size = unit->offset + unit->len;
    }
    return size;
}

/* These bytes are there, whatever else of what is pending is. */
static bool is_there_anyway(const struct states *states, const struct unit *unit)
{
    const struct image_file *file = &states->durable.file[unit->file];
    if (unit->offset + unit->len > file->size ||
        memcmp(file->bytes + unit->offset, unit->bytes, unit->len) != 0)
        return false;
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *other = &states->unit[i];
        if (other->kind == UNIT_SECTOR && other->file == unit->file &&
            other->offset < unit->offset + unit->len && unit->offset < other->offset + other->len)
            return false;
    }
    return true;
}

static void add_write(struct states *states, const struct operation *operation, uint32_t number)
{
    uint64_t end = operation->offset + operation->len;
    uint64_t size = size_now(states, operation->file);
    struct unit unit = {
        .kind = UNIT_SIZE, .operation = number, .file = operation->file, .name = operation->name};
    if (end > size) {
        unit.len = end;
        add(states, unit);
    }
    /* Where nothing was, by the quarter: who makes a file has time, and names it when it is whole.
     */
    uint64_t step = DISK_SECTOR_BYTES;
    if (operation->offset >= size && operation->len > 4 * step)
        step = operation->len / 4;
    unit.kind = UNIT_SECTOR;
    for (uint64_t at = operation->offset; at < end; at += unit.len) {
        uint64_t next = (at / step + 1) * step;
        unit.offset = at;
        unit.len = (next < end ? next : end) - at;
        unit.bytes = operation->bytes + (at - operation->offset);
        if (!is_there_anyway(states, &unit))
            add(states, unit);
    }
}

static void carry_out(struct states *states, const struct operation *operation, uint32_t number)
{
    struct unit unit = {.operation = number, .file = operation->file, .name = operation->name};
    switch (operation->kind) {
    case OPERATION_CREATE:
        unit.kind = UNIT_NAME;
        add(states, unit);
        return;
    case OPERATION_WRITE:
        add_write(states, operation, number);
        return;
    case OPERATION_SYNC:
        sync_units(states, operation->file);
        return;
    case OPERATION_RENAME:
        unit.kind = UNIT_NAME;
        unit.name = operation->to;
        add(states, unit);
        unit.kind = UNIT_NO_NAME;
        unit.name = operation->name;
        add(states, unit);
        return;
    case OPERATION_REMOVE:
        unit.kind = UNIT_NO_NAME;
        add(states, unit);
        return;
    case OPERATION_SYNC_DIRECTORY:
        sync_units(states, -1);
        return;
    case OPERATION_DONE:
        return;
    }
    UNREACHABLE();
}

/* The lane of the job under way at this crash that the operation belongs to; -1: none. */
static int lane_of(const struct states *states, uint32_t number)
{
    uint32_t job = states->trace->operation[number].job;
    if (job == 0 || states->trace->job[job].done_at < states->point)
        return -1;
    return (int)states->trace->job[job].lane;
}

/* Whether the operation, which comes before the crash in the trace, happens. */
static bool happens(const struct states *states, uint32_t number, uint32_t seen[RUNNER_LANES])
{
    int lane = lane_of(states, number);
    return lane < 0 || seen[lane]++ < states->ran[lane];
}

/* What happens is a first part of the trace: it was built for an earlier crash. */
static bool was_built_before(const struct states *states)
{
    uint32_t seen[RUNNER_LANES] = {0};
    bool missing = false;
    for (uint32_t i = 0; i < states->point; i++) {
        bool there = happens(states, i, seen);
        if (there && missing)
            return false;
        missing = missing || !there;
    }
    return missing;
}

static void replay(struct states *states)
{
    uint32_t seen[RUNNER_LANES] = {0};
    const struct trace *trace = states->trace;
    image_copy(&states->durable, &trace->base);
    states->durable.files = trace->now.files;
    for (int i = trace->base.files; i < trace->now.files; i++)
        states->durable.file[i].size = 0;
    states->units = 0;
    for (uint32_t i = 0; i < states->point; i++) {
        if (happens(states, i, seen))
            carry_out(states, &trace->operation[i], i);
    }
    memset(&states->hashes, 0, sizeof(states->hashes));
    (void)image_hash(&states->durable, &states->hashes);
    image_copy(&states->state, &states->durable);
}

/* --- one state -------------------------------------------------------------------------------- */

/* The old name is gone, and the new one is not there. */
static bool is_half_a_rename(const struct states *states, uint32_t number)
{
    const struct unit *unit = &states->unit[number];
    if (unit->kind != UNIT_NO_NAME ||
        states->trace->operation[unit->operation].kind != OPERATION_RENAME)
        return false;
    for (uint32_t i = 0; i < number; i++) {
        if (states->unit[i].operation == unit->operation)
            return states->there[i] == LOST;
    }
    UNREACHABLE();
}

static void restore(struct states *states)
{
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *unit = &states->unit[i];
        if (is_name(unit) || states->there[i] == LOST)
            continue;
        const struct image_file *from = &states->durable.file[unit->file];
        struct image_file *to = &states->state.file[unit->file];
        to->size = from->size;
        if (unit->kind == UNIT_SECTOR && unit->offset < from->size)
            memcpy(to->bytes + unit->offset, from->bytes + unit->offset, unit->len);
    }
    states->state.names = states->durable.names;
    memcpy(states->state.name, states->durable.name, sizeof(states->state.name));
}

/* --- what can be told from rot -----------------------------------------------------------------
 */

static bool is_sector_of(const struct unit *unit, const char *name)
{
    return unit->kind == UNIT_SECTOR && strstr(unit->name, name) != NULL;
}

static bool covers(const struct unit *unit, const struct unit *other)
{
    return other->kind == UNIT_SECTOR && other->file == unit->file &&
           other->offset == unit->offset && other->len == unit->len;
}

/* Neither what was there, nor what anybody wrote. */
static bool is_damaged(const struct states *states, const struct unit *unit)
{
    const uint8_t *now = states->state.file[unit->file].bytes + unit->offset;
    const struct image_file *before = &states->durable.file[unit->file];
    if (unit->offset + unit->len > states->state.file[unit->file].size ||
        (unit->offset + unit->len <= before->size &&
         memcmp(now, before->bytes + unit->offset, unit->len) == 0))
        return false;
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *other = &states->unit[i];
        if (covers(unit, other) && memcmp(now, other->bytes, unit->len) == 0)
            return false;
    }
    return true;
}

/* A sector of this file was written to, and says that it is still unused. */
static bool shows_a_torn_write(const struct states *states, int file)
{
    static const char unused[8] = "not used";
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *unit = &states->unit[i];
        if (unit->kind == UNIT_SECTOR && unit->file == file && unit->len >= sizeof(unused) &&
            memcmp(unit->bytes, unused, sizeof(unused)) != 0 &&
            memcmp(states->state.file[file].bytes + unit->offset, unused, sizeof(unused)) == 0)
            return true;
    }
    return false;
}

static bool may_doubt(const struct states *states)
{
    uint32_t copies = 0;
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *unit = &states->unit[i];
        if (is_sector_of(unit, "hardstate") && is_damaged(states, unit))
            copies++;
        if (is_sector_of(unit, ".wal") && is_damaged(states, unit) &&
            !shows_a_torn_write(states, unit->file))
            return true;
    }
    return copies >= 2;
}

/* --- building it -------------------------------------------------------------------------------
 */

/* Builds what is kept; visits it when it is new. */
static bool build(struct states *states)
{
    struct image_hashes hashes = states->hashes;
    for (uint32_t i = 0; i < states->units; i++) {
        if (is_half_a_rename(states, i))
            states->there[i] = LOST;
        if (states->there[i] == LOST)
            continue;
        apply(&states->unit[i], states->there[i], &states->state);
        if (!is_name(&states->unit[i]))
            hashes.known[states->unit[i].file] = false;
    }
    states->built++;
    const struct trace *trace = states->trace;
    struct promise promise = states->point < trace->operations
                                 ? trace->operation[states->point].promise
                                 : trace->promise;
    promise.may_doubt = may_doubt(states);
    uint64_t hash = image_hash(&states->state, &hashes);
    (void)set_add(states->images, hash);
    uint64_t promised = promise.facts + (uint64_t)promise.votes * 0x10001u +
                        promise.compacted * 0x100000001u + (uint64_t)(uintptr_t)promise.history +
                        promise.may_doubt * 0x1000000000001u;
    bool going = true;
    if (set_add(&states->checks, hash ^ (promised * 0x9e3779b97f4a7c15u))) {
        states->checked++;
        going = states->visit(states->context, &states->state, &promise);
    }
    restore(states);
    return going;
}

/* --- subsets ---------------------------------------------------------------------------------- */

static bool build_all(struct states *states)
{
    for (uint32_t subset = 0; subset < 1u << states->units; subset++) {
        for (uint32_t i = 0; i < states->units; i++)
            states->there[i] = (subset >> i & 1) != 0 ? KEPT : LOST;
        if (!build(states))
            return false;
    }
    return true;
}

/* Units first … end - 1 are there, or all others. */
static bool build_run(struct states *states, uint32_t first, uint32_t end, bool there)
{
    for (uint32_t i = 0; i < states->units; i++)
        states->there[i] = (i >= first && i < end) == there ? KEPT : LOST;
    return build(states);
}

static bool build_runs(struct states *states)
{
    for (uint32_t i = 0; i <= states->units; i++) {
        if (!build_run(states, 0, i, true) || !build_run(states, 0, i, false) ||
            !build_run(states, i, i + 1, true) || !build_run(states, i, i + 1, false))
            return false;
    }
    return true;
}

static bool build_names(struct states *states)
{
    uint32_t names = 0;
    for (uint32_t i = 0; i < states->units; i++)
        names += is_name(&states->unit[i]);
    if (names > states->all)
        names = states->all;
    for (uint32_t subset = 0; subset < 2u << names; subset++) {
        uint32_t name = 0;
        for (uint32_t i = 0; i < states->units; i++)
            states->there[i] =
                (subset >> (is_name(&states->unit[i]) ? ++name : 0) & 1) != 0 ? KEPT : LOST;
        if (!build(states))
            return false;
    }
    return true;
}

static bool build_samples(struct states *states)
{
    uint64_t random = states->point;
    for (uint32_t sample = 0; sample < states->samples; sample++) {
        for (uint32_t i = 0; i < states->units; i++) /* of eight, one to seven */
            states->there[i] = fake_random(&random) % 8 <= sample % 7 ? KEPT : LOST;
        if (!build(states))
            return false;
    }
    return true;
}

/* Around a torn sector: the units before it are there or not, and so are those after it. */
static bool build_torn(struct states *states)
{
    for (uint32_t torn = 0; torn < states->units; torn++) {
        if (states->unit[torn].kind != UNIT_SECTOR)
            continue;
        for (uint32_t form = 0; form < 8; form++) {
            for (uint32_t i = 0; i < states->units; i++)
                states->there[i] = (form >> (i < torn) & 1) != 0 ? KEPT : LOST;
            states->there[torn] = form < 4 ? FIRST_HALF : LAST_HALF;
            if (!build(states))
                return false;
        }
    }
    return true;
}

static bool build_all_torn(struct states *states, enum unit_there half)
{
    for (uint32_t i = 0; i < states->units; i++)
        states->there[i] = states->unit[i].kind == UNIT_SECTOR ? half : KEPT;
    return build(states);
}

static bool build_crash(struct states *states)
{
    if (was_built_before(states))
        return true;
    replay(states);
    if (!build_torn(states) || !build_all_torn(states, FIRST_HALF) ||
        !build_all_torn(states, LAST_HALF))
        return false;
    if (states->units <= states->all)
        return build_all(states);
    return build_runs(states) && build_names(states) && build_samples(states);
}

bool states_each(struct states *states, const struct trace *trace, uint32_t from,
                 states_visit *visit, void *context)
{
    states->trace = trace;
    states->visit = visit;
    states->context = context;
    set_empty(&states->checks);
    for (uint32_t point = from; point <= trace->operations; point++) {
        uint32_t under_way[RUNNER_LANES] = {0};
        states->point = point;
        for (uint32_t i = 0; i < point; i++) {
            int lane = lane_of(states, i);
            if (lane >= 0)
                under_way[lane]++;
        }
        for (uint32_t a = 0; a <= under_way[0]; a++) {
            for (uint32_t b = 0; b <= under_way[1]; b++) {
                states->ran[0] = a;
                states->ran[1] = b;
                if (!build_crash(states))
                    return false;
            }
        }
    }
    return true;
}

/* --- for people ------------------------------------------------------------------------------- */

#define TOLD 40u

void states_tell(const struct states *states)
{
    static const char *const kinds[] = {[UNIT_SECTOR] = "sector",
                                        [UNIT_SIZE] = "size",
                                        [UNIT_NAME] = "name",
                                        [UNIT_NO_NAME] = "no name"};
    static const char *const words[] = {[LOST] = "lost",
                                        [KEPT] = "kept",
                                        [FIRST_HALF] = "first half of",
                                        [LAST_HALF] = "last half of"};
    uint32_t seen[RUNNER_LANES] = {0};
    fprintf(stderr, "a crash before operation %" PRIu32 "; before it:\n", states->point);
    for (uint32_t i = 0; i < states->point; i++) {
        char line[TRACE_LINE_BYTES];
        bool happened = happens(states, i, seen);
        trace_line(&states->trace->operation[i], line);
        if (i + TOLD >= states->point)
            fprintf(stderr, "%6" PRIu32 " %s%s\n", i, line, happened ? "" : ": did not happen yet");
    }
    for (uint32_t i = 0; i < states->units; i++) {
        const struct unit *unit = &states->unit[i];
        fprintf(stderr, "  %s: %s %s %" PRIu64 "+%zu, of %" PRIu32 "\n", words[states->there[i]],
                kinds[unit->kind], unit->name, unit->offset, unit->len, unit->operation);
    }
}
