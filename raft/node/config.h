/*
 * The settings of rollcall-node: options, else environment, else defaults; judged here once.
 * `rollcall-node --help` prints them all.
 */
#ifndef ROLLCALL_NODE_CONFIG_H
#define ROLLCALL_NODE_CONFIG_H

#include "raft/base/attr.h"

#define CONFIG_CLUSTER_BYTES_MAX 63u

struct config {
    uint64_t id;
    const char *dir;      /* of the log */
    const char *socket;   /* where workers call */
    const char *redis;    /* Redis' unix socket */
    const char *cluster;  /* its name: letters, digits, '-', '_' and '.' */
    const char *raft;     /* address for peers; empty: none */
    const char *members;  /* "1=ADDR:PORT,2=…"; empty: this node alone */
    const char *pid_file; /* empty: none */
    uint64_t snapshot_entries;
    uint32_t election_ms;
    uint32_t heartbeat_ms;
};

enum config_result {
    CONFIG_RUN,
    CONFIG_SHOWN,   /* --help or --version was printed: exit 0 */
    CONFIG_REFUSED, /* a message was printed on stderr: exit 2 */
};

/* Texts point into argv and the environment. */
NODISCARD enum config_result config_read(int argc, char **argv, struct config *ret_config);

#endif
