/*
 * Clients at every node of a cluster, who enrol users and list them, and record what they are told;
 * and the judgement over all of it (tests/e2e/history.h).
 */
#ifndef ROLLCALL_TESTS_E2E_CLIENTS_H
#define ROLLCALL_TESTS_E2E_CLIENTS_H

#include "tests/e2e/cluster.h"

struct clients;

/* What the clients of one node were told. */
struct clients_counts {
    long enrolled, listed;
    long refused, unknown; /* of both kinds */
    long other;            /* no answer that this API gives */
    long slowest_ms;       /* write that was acknowledged */
};

struct clients *clients_start(struct cluster *cluster, int a_node);
/* One more at this node, who lists and lists. */
void clients_add_lister(struct clients *clients, int node);
/* Of a node since the start, or since the last clients_forget; 0: of all. */
struct clients_counts clients_counts(struct clients *clients, int node);
void clients_forget(struct clients *clients);

/* The clients of this node (0: of any) get users enrolled again, within so many seconds. */
void clients_expect_progress(struct clients *clients, int node, int seconds);
/* None of the requests at this node failed. */
void clients_expect_no_failure(struct clients *clients, int node, const char *when);

/*
 * Ends the clients, waits until the nodes agree, asks each for its list and judges the history;
 * fails the test when it is not linearizable, and says in one line what it was made of.
 */
void clients_judge(struct clients *clients, const char *title);
void clients_free(struct clients *clients);

#endif
