/*
 * Scenarios: text files that a person can read, each a story of a few nodes and what must come of
 * it. A line is a command; what follows '#' is for the reader. NODES is a list of numbers, NAME a
 * word of the scenario's own.
 *
 *     nodes N                       how many; comes first. Then `set` if any, then the rest
 *     set election MS | heartbeat MS | snapshots ENTRIES | segment BYTES | pieces BYTES
 *     set redis no | everysec
 *
 *     elect N                       nobody else campaigns, until N leads
 *     run MS                        time passes
 *     settle                        until all that run follow a leader, and have one state
 *
 *     cut NODES from NODES          nothing goes between them, in either way
 *     deafen NODES to NODES         the first do not hear the second
 *     heal                          the network is whole
 *     drop KIND NODES to NODES      such frames are lost (raft/core/message.h, raft/wire/peer.h)
 *     allow COUNT KIND N to N       so many such frames, and no more
 *     hold NODES to NODES           frames wait, until
 *     release                       they go on, all at once
 *     break N to N                  the connection ends; it is made again
 *
 *     crash NODES                   power is lost
 *     kill NODES                    the process dies
 *     start NODES
 *     stop NODES                    in good order
 *     pause NODES
 *     resume NODES
 *     wipe NODES                    a node that is down has an empty disk, and store
 *     disk N ok | slow MS | stall MS | fail | full | crash K      (at its Kth write from now)
 *     disk N copy                   what its disk and its store hold is kept, and
 *     disk N back                   put back, while it is down
 *     rot N                         a sector of its log is not what it was
 *     rot N INDEX                   this entry's payload is not
 *     clock N jump MS | drift PERCENT
 *     options N true | alone | fewer | more | reversed    what they say of the members, from the
 *                                   next start on, where the directory knows them already
 *     folder N strange              while it is down, its disk and its store are those of node N
 *                                   of another cluster; `strange disk`, `strange redis`: one is
 *     folder N of M                 are those of node M of this cluster; one of them, likewise
 *     folder N own                  are its own again
 *     memory N flips                its state is not what the log made of it
 *     snapshot NODES                a snapshot is asked for
 *
 *     redis N down | up | crash | slow MS
 *     redis N empty                 FLUSHALL
 *     redis N torn K                loses power, K commands into its next transaction
 *     redis N refuses | answers     it answers errors to everything; no more
 *     redis N copy                  what it holds is kept, and
 *     redis N back                  brought back
 *     redis N edit ID               the name of a user in it is changed by hand
 *     redis N full | evicting | unkept | ok      maxmemory is reached; may evict; keeps no file
 *
 *     write NAME at N               asked; its answer is looked at by `expect`, and
 *     again NAME at N               asks once more under the same id
 *     writes COUNT NAME at N        NAME-1 … NAME-COUNT
 *     read NAME at N
 *     stale NAME at N
 *
 *     note term                     for `expect term same | higher`
 *     expect leader N | none | some | not N
 *     expect term N | same | higher
 *     expect NODES follow N         they know it as leader, in its term
 *     expect written NAME | refused NAME | unknown NAME | waiting NAME | answered NAME
 *     expect read NAME
 *     expect users N at NODES       so many users there
 *     expect has NAME at NODES
 *     expect lacks NAME at NODES
 *     expect same NODES             one state
 *     expect rolled-back NODES      they have seen a node that forgot, itself or another
 *     expect diverged NODES         they have seen two that differ
 *     expect differing NODES        they have seen another state than theirs at an equal index
 *     expect commit NODES >= N | < N
 *     expect log NODES >= N | < N          the last entry of the log
 *     expect start NODES >= N | < N        the entry that it begins after
 *     expect snapshot NODES >= N | < N     the entry of the last snapshot that counts
 *     expect strange NODES          they run, know another cluster, and were turned away
 *     expect down NODES
 *     expect up NODES
 *     expect whole NODES            nothing is missing in their logs, the members neither, and
 *                                   they know it
 *     expect gone NODES             no member has the state that the logs build on, and they say so
 *
 * An `expect` waits until what it says is so, for two seconds and twenty elections at most, and
 * fails then; `expect now …` does not wait. The rules (rules.h, clients.h) hold in scenarios too.
 */
#ifndef ROLLCALL_TESTS_SIM_SCENARIO_H
#define ROLLCALL_TESTS_SIM_SCENARIO_H

#include "raft/base/attr.h"

/* Prints what went wrong, or that it passed. */
bool scenario_run(const char *path, bool story);

#endif
