/*
 * Three whole stacks by deploy/node, each in a namespace of tests/e2e/net.h: nginx of every node
 * listens on 127.0.0.1:8080 of its own, raft nodes talk over the network that can be broken.
 *
 * As with stack.h a guardian cleans up whatever happens, and functions here fail the test
 * themselves when they cannot do what they say.
 */
#ifndef ROLLCALL_TESTS_E2E_CLUSTER_H
#define ROLLCALL_TESTS_E2E_CLUSTER_H

#include "tests/e2e/net.h"
#include "tests/e2e/stack.h"

#define CLUSTER_NODES NET_NODES_MAX
#define CLUSTER_PORT  8080 /* of nginx, in each node's namespace */

struct cluster {
    struct stack stack;
    struct net *net;
    bool stopped[CLUSTER_NODES + 1]; /* by cluster_pause */
};

/* What GET /cluster of a node says. */
struct view {
    bool leads;
    int leader; /* 0: none */
    uint64_t term, commit, applied, last;
};

/*
 * All three run and agree on a leader. Skips the test, with a word, where this machine does not
 * permit such networks. Settings are put into the environment before.
 */
struct cluster cluster_start(void);
void cluster_stop(struct cluster *cluster);

/* deploy/node up: brings back what is missing of a node's stack, or of all three at once. */
void cluster_up(struct cluster *cluster, int node);
void cluster_up_all(struct cluster *cluster);
/* The whole stack of a node stops in good order. */
void cluster_down(struct cluster *cluster, int node);

/* The pid in a pid file of a node. */
pid_t cluster_pid(const struct cluster *cluster, int node, const char *file);
/* kill -9 of one part of a node, "raft.pid" or another; returns when it is gone. */
void cluster_kill(struct cluster *cluster, int node, const char *file);
/* SIGTERM to the raft node; returns when it has ended. */
void cluster_terminate(struct cluster *cluster, int node);
/* SIGSTOP and SIGCONT of the raft node. */
void cluster_pause(struct cluster *cluster, int node);
void cluster_resume(struct cluster *cluster, int node);

/* False when it gives no such answer. */
NODISCARD bool cluster_view(const struct cluster *cluster, int node, struct view *ret_view);
/* Who leads, in the highest term that a running node knows; waits until there is one. */
int cluster_leader(struct cluster *cluster);
/* Waits until a leader of a later term leads than this one. */
int cluster_leader_after(struct cluster *cluster, uint64_t term);
uint64_t cluster_term(struct cluster *cluster);
/* Waits until all nodes are ready, follow one leader and have applied what it has committed. */
void cluster_settle(struct cluster *cluster, int seconds);

#endif
