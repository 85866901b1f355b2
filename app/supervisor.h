/*
 * The parent of the workers. spawn-fcgi starts and forgets: without this, a worker that dies stays
 * dead. The parent holds the listening socket all the time, so that while a worker is being
 * replaced connections wait in its backlog and none is refused.
 *
 *   - A dead worker is replaced at once; one that keeps dying young, after a pause that doubles up
 *     to two seconds.
 *   - SIGTERM or SIGINT: the workers are asked to stop, and killed when they have not by a second
 *     and a half after their own deadline.
 *   - The workers die with their parent, however it dies.
 */
#ifndef ROLLCALL_APP_SUPERVISOR_H
#define ROLLCALL_APP_SUPERVISOR_H

#include "app/counts.h"
#include "app/options.h"

/* One worker, from its start to its end: the process's status. It counts in the slot at `place`,
 * where the one before it did. */
typedef int supervised_worker(const struct options *options, struct counts *counts, unsigned place);

/*
 * Runs `worker` in options->workers processes, or in this one when that is 0, and returns the
 * process's status: also in each child, which returns from here when it is done. The pid file
 * names the workers; it is replaced in one piece and removed at the end.
 */
int supervisor_run(const struct options *options, supervised_worker *worker);

#endif
