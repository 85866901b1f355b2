/*
 * Disks that are put back to an earlier copy, with their stores: of one node at a time, which is
 * killed for it, and only where the promise holds (core/raft.h, ROLLED BACK NODES): all others run,
 * hear one another, have lost nothing themselves, and one remembers a later start of the disk, or
 * an acknowledgement that it does not hold. Then the node must be told before anything else goes
 * wrong; from then on everything may. Copies are made of nodes that run, and of nodes that are
 * down.
 *
 * Seeds with a reliable network have them; nothing is drawn, so that a seed stays what it is
 * without them.
 */
#ifndef ROLLCALL_TESTS_SIM_ROLLBACKS_H
#define ROLLCALL_TESTS_SIM_ROLLBACKS_H

#include "raft/base/attr.h"

struct world;

struct rollbacks {
    bool wanted;       /* in this world */
    uint32_t node;     /* was put back, and is not known to be told; 0: none */
    uint64_t since_us; /* then */
    bool told;
};

/* It has just died. */
void rollbacks_down(struct world *world, uint32_t node);
/* It says that it was put back. */
void rollbacks_told(struct world *world, uint32_t node, const char *text);
/* Puts one back, perhaps. True while nothing else may go wrong. */
bool rollbacks_hold(struct world *world);

#endif
