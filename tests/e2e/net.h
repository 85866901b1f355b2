/*
 * A network of a test's own: a network namespace a node, each with its loopback and one interface,
 * and between them a switch that can cut, delay, lose, double and reorder packets, each direction
 * of each pair by itself. The switch is a thread of the test: the interfaces are TUN devices, what
 * they send is read here and written where it belongs. No kernel module for it (netem) is needed,
 * no program (ip, tc), nothing that stays: when the test's process ends, however it does, the
 * devices are gone, and with the last process in them the namespaces.
 *
 * Needs /dev/net/tun, and root; or `unshare -Un --map-current-user --keep-caps` around the tests,
 * where the kernel lets users have that.
 */
#ifndef ROLLCALL_TESTS_E2E_NET_H
#define ROLLCALL_TESTS_E2E_NET_H

#include "raft/base/attr.h"

#define NET_NODES_MAX 3

struct net;

/* The way from one node to another; all zero is a good one. */
struct way {
    bool cut; /* swallows all, silently */
    int delay_ms, jitter_ms;
    int lost_permille, doubled_permille;
};

struct net_counts {
    long carried, cut, lost, doubled;
};

/* NULL, and why, where this machine does not permit it. Nodes are 1…NET_NODES_MAX. */
struct net *net_open(const char **ret_why);
void net_close(struct net *net);

/* The address of a node on its interface; good for ever. */
const char *net_address(int node);
/* The calling thread, and what it starts from now on, lives at that node; 0: where the test does.
 */
void net_enter(const struct net *net, int node);

void net_set(struct net *net, int from, int to, struct way way);
/* Both directions, to everyone. */
void net_set_all(struct net *net, int node, struct way way);
/* All ways are good again. */
void net_heal(struct net *net);
struct net_counts net_counts(struct net *net);

#endif
