/*
 * Folders that were swapped: a node that is down gets the disk or the store of another node, of
 * this cluster or of another one of as many nodes, and later its own back. Whatever it does
 * meanwhile, it is a node that is down to its cluster: it neither leads nor commits there, and is
 * told nothing.
 *
 * Some seeds have them, one node at a time; nothing is drawn, so that a seed stays what it is
 * without them.
 */
#ifndef ROLLCALL_TESTS_SIM_FOLDERS_H
#define ROLLCALL_TESTS_SIM_FOLDERS_H

#include "raft/base/attr.h"

struct world;
struct machine;

#define FOLDERS_DISK  1u
#define FOLDERS_STORE 2u

struct folders {
    bool wanted;             /* in this world */
    struct world *strangers; /* the other cluster, made at the first need */
    uint64_t turned_away;    /* connections between two clusters */
};

/* Only while it is down. These parts are from now on a copy of that node's. */
void folders_swap(struct machine *machine, const struct machine *from, unsigned parts);
/* The same of the node of this number in another cluster. */
void folders_swap_strange(struct machine *machine, unsigned parts);
void folders_own(struct machine *machine);

/* It has just died: it gets another one's, or its own back. */
void folders_down(struct world *world, uint32_t node);
/* Its disk is another node's. With another one's store alone it is a member that lost its own. */
bool folders_strange(const struct machine *machine);
/* A strange one runs: what must hold. */
void folders_step(struct machine *machine);

void folders_done(struct folders *folders);

#endif
