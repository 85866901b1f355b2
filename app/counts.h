/*
 * Requests, counted: by route, method and status, and how long they took. Workers are processes;
 * what each has counted stands in memory that all of them share, made before they are forked, in a
 * slot of its own. So whichever is asked for the metrics can add all of them up, and who comes
 * after a worker that died goes on where it was.
 *
 * A slot has one writer, its worker: nothing is locked, readers may be a request behind.
 */
#ifndef ROLLCALL_APP_COUNTS_H
#define ROLLCALL_APP_COUNTS_H

#include "raft/base/metric.h"

/* Places: of a route (route.h) and of a method (enum method), both below these. */
#define COUNTS_ROUTES  12u
#define COUNTS_METHODS 8u

/* What became of a request whose answer was not completed: its client, or its list, has gone. */
#define COUNTS_CUT 0u

/* Statuses that are told apart; all others are one. */
#define COUNTS_STATUSES 24u
/* COUNTS_CUT, then 1xx to 5xx. */
#define COUNTS_CLASSES 6u

struct counts;
struct counts_slot;

/* For so many workers, for the life of the process and of those that it forks. −errno. */
NODISCARD int counts_new(unsigned slots, struct counts **ret_counts);
/* Nobody needs them any more: for tests. */
void counts_free(struct counts *counts);

/* --- the parent's ---------------------------------------------------------------------------- */

/* A worker is about to be started in this slot, and so counted however early it dies; or was not.
 */
void counts_starting(struct counts *counts, unsigned place);
void counts_not_started(struct counts *counts, unsigned place);

/* --- a worker's ------------------------------------------------------------------------------- */

/* A worker begins to count in this slot: nothing that the one before it had begun runs any more. */
struct counts_slot *counts_start(struct counts *counts, unsigned place);
void counts_begin(struct counts_slot *slot);

struct counts_request {
    unsigned route, method;
    unsigned status; /* or COUNTS_CUT */
    uint64_t took_ns;
};
void counts_end(struct counts_slot *slot, const struct counts_request *request);

/* Whoever read the file of tokens last could not use it: what it said before holds. */
void counts_tokens_refused(struct counts *counts, bool refused);

/* --- of all workers --------------------------------------------------------------------------- */

unsigned counts_slots(const struct counts *counts);
/* Workers started, ever; requests that run now. */
uint64_t counts_starts(const struct counts *counts);
uint64_t counts_running(const struct counts *counts);
bool counts_are_tokens_refused(const struct counts *counts);
/* `place`: below COUNTS_STATUSES. */
uint64_t counts_requests(const struct counts *counts, unsigned route, unsigned method,
                         unsigned place);
/* Its status as text: "200", "cut", "other". NULL: none has this place. */
const char *counts_status_text(unsigned place);
/* `place`: below COUNTS_CLASSES. False when there was no request. */
NODISCARD bool counts_durations(const struct counts *counts, unsigned route, unsigned method,
                                unsigned place, struct histogram *ret_durations);
const char *counts_class_text(unsigned place);

#endif
