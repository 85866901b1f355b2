/*
 * All that a loss of power may leave of what a trace tells.
 *
 * A crash comes before any of the trace's operations. What was synced by then is there. What was
 * not falls into units, and each of them is there or not, whatever its neighbours are:
 *
 *   - of a write, each sector; several writes to one sector in their order, so any of them may be
 *     the last; a file that grows may also be long already and hold zeros, and what it grows by
 *     falls into four. A sector may be torn: one half of what was written, the other of what was
 *     there;
 *   - of names, each creation, removal, and both halves of a rename, of which the new name is there
 *     when the old one is gone. A name may be there without the bytes that were not synced.
 *
 * A job that is under way then (trace.h) may have come less far than the trace has it, each of the
 * two lanes for itself.
 *
 * Up to states.all units every subset is built. Of more: none, all, each one alone, all but each
 * one, all first parts, all last parts, every subset of the names with and without the bytes, and
 * states.samples subsets drawn by a fixed seed. With each sector torn: none of the others, all of
 * them, all before it, all after it; and all of them torn.
 *
 * A torn sector can look like rot (promise.may_doubt): one of the log, when no other sector says
 * that what it was written for is not there; both copies of a hard state.
 */
#ifndef ROLLCALL_TESTS_CRASH_STATES_H
#define ROLLCALL_TESTS_CRASH_STATES_H

#include "tests/crash/set.h"
#include "tests/crash/trace.h"

#define STATES_UNITS 256u

enum unit_kind { UNIT_SECTOR, UNIT_SIZE, UNIT_NAME, UNIT_NO_NAME };

enum unit_there { LOST, KEPT, FIRST_HALF, LAST_HALF };

struct unit {
    enum unit_kind kind;
    uint32_t operation; /* its number in the trace */
    int file;
    uint64_t offset; /* of SIZE: 0 */
    size_t len;
    const uint8_t *bytes;
    const char *name;
};

/* Judges a state that was not seen yet with this promise; false ends it all. */
typedef bool states_visit(void *context, const struct image *state, const struct promise *promise);

struct states {
    uint32_t all, samples;
    struct set *images;      /* that were ever built, for whoever counts them */
    uint64_t built, checked; /* counted up */
    states_visit *visit;
    void *context;

    /* What is being built. */
    struct set checks; /* images and promises that were visited */
    const struct trace *trace;
    uint32_t point;             /* the first operation that does not happen any more */
    uint32_t ran[RUNNER_LANES]; /* so many operations of jobs under way have happened */
    struct image durable, state;
    struct image_hashes hashes; /* of what is durable */
    uint32_t units;
    struct unit unit[STATES_UNITS];
    enum unit_there there[STATES_UNITS];
};

struct states *states_new(uint32_t all, uint32_t samples, struct set *images);
void states_free(struct states *states);

/* Builds and visits the states of all crashes from this operation on; false when a visit said so.
 */
bool states_each(struct states *states, const struct trace *trace, uint32_t from,
                 states_visit *visit, void *context);

/* How the state under way came about, to stderr. */
void states_tell(const struct states *states);

#endif
