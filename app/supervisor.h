/*
 * The parent of the workers. spawn-fcgi starts and forgets: without this, a worker that dies stays
 * dead. The parent holds the listening socket all the time, so that while a worker is being
 * replaced connections wait in its backlog and none is refused.
 *
 *   - A dead worker is replaced at once; one that keeps dying young, after a pause that doubles up
 *     to two seconds.
 *   - SIGTERM, SIGINT or SIGQUIT: the workers are asked to stop, and killed when they have not by a
 *     second and a half after their own deadline.
 *   - SIGHUP: the parent reads again what its workers have from it, and tells them to do likewise.
 *   - Any other signal that would end it means nothing to it, and it says so.
 *   - The workers die with their parent, however it dies.
 */
#ifndef ROLLCALL_APP_SUPERVISOR_H
#define ROLLCALL_APP_SUPERVISOR_H

#include "app/counts.h"
#include "app/options.h"

#include <signal.h>

/*
 * What a process of them does: `run` as a worker, from its start to its end, which gives the
 * process's status; it counts in the slot at `place`, where the one before it did. `reload` on
 * SIGHUP, as the parent: 0 when the workers shall be told to, too.
 */
struct supervised {
    int (*run)(const struct options *options, struct counts *counts, unsigned place);
    int (*reload)(void);
};

/*
 * Runs `worker` in options->workers processes, or in this one when that is 0, and returns the
 * process's status: also in each child, which returns from here when it is done. The pid file
 * names the workers; it is replaced in one piece and removed at the end. A worker begins with the
 * signals of supervisor_signals blocked, and unblocks them when it is ready for them.
 */
int supervisor_run(const struct options *options, const struct supervised *worker);

/* All signals that would end a process which does not expect them. */
void supervisor_signals(sigset_t *ret_signals);
/* Says that this one means nothing. */
void supervisor_ignored(int signal);

#endif
