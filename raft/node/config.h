/*
 * The settings of rollcall-node: options, else environment, else defaults; judged here once.
 * `rollcall-node --help` prints them all.
 */
#ifndef ROLLCALL_NODE_CONFIG_H
#define ROLLCALL_NODE_CONFIG_H

#include "raft/base/attr.h"

#define CONFIG_CLUSTER_BYTES_MAX 63u
#define CONFIG_MEMBERS_MAX       7u
#define CONFIG_ADDRESS_BYTES     256u

struct config {
    uint64_t id;
    const char *dir;       /* of the log */
    const char *socket;    /* where workers call */
    const char *redis;     /* Redis' unix socket */
    const char *cluster;   /* its name: letters, digits, '-', '_' and '.' */
    const char *raft;      /* address for peers; empty: as in `members`, see config_raft */
    const char *open_raft; /* "yes": others than this machine may reach that address */
    const char *members;   /* "1=ADDR:PORT,2=…"; empty: this node alone */
    uint32_t member_count; /* as read from `members`; 0: none */
    struct config_member {
        uint64_t id;
        char address[CONFIG_ADDRESS_BYTES];
    } member[CONFIG_MEMBERS_MAX];
    const char *pid_file; /* empty: none */
    uint64_t snapshot_entries;
    uint32_t scrub_kib_per_s; /* 0: the log is not scrubbed */
    uint32_t election_ms;
    uint32_t heartbeat_ms;
};

enum config_result {
    CONFIG_RUN,
    CONFIG_SHOWN,   /* --help or --version was printed: exit 0 */
    CONFIG_REFUSED, /* a message was printed on stderr: exit 2 */
};

/* Texts point into argv and the environment. */
/* The members are these, whatever was read: the list is borrowed for good. False: it is no good,
 * which was printed. */
NODISCARD bool config_take_members(struct config *config, const char *members);

NODISCARD enum config_result config_read(int argc, char **argv, struct config *ret_config);

/* The address for peers, borrowed from the configuration: --raft, else this node's own among the
 * members. Empty: none. */
const char *config_raft(const struct config *config);

/* Whether only this machine can reach what listens on this host, without asking for any name but
 * localhost. */
bool config_is_loopback(const char *host);

#endif
