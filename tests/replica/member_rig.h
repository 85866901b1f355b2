/*
 * Node 1 of a cluster of three whose others are the test: it hears what the test says in their
 * names, and what it says is counted. It knows its cluster, has no entry, and never campaigns.
 */
#ifndef ROLLCALL_TESTS_REPLICA_MEMBER_RIG_H
#define ROLLCALL_TESTS_REPLICA_MEMBER_RIG_H

#include "raft/replica/state.h"
#include "tests/replica/rig.h"

struct member_rig {
    struct network network;
    struct fake_disk disk;
    struct fake_runner runner;
    struct replica *replica;
    struct wal_recovered recovered;
    uint64_t now_ms;
    uint64_t random;       /* of the last start */
    uint32_t said[256];    /* frames, by kind */
    struct peer_life life; /* the last that it said */
    uint32_t notes;
    uint32_t readable; /* reads that may be answered; why the last was not: */
    enum call_reason refused;
    const char *fact; /* the last of them */
    uint8_t bytes[PEER_MESSAGE_BYTES_MAX];
    struct peer_entry entry;
};

struct member_rig *member_new(void);
void member_free(struct member_rig *member);
/* Its process ends in good order; begins again on the disk that is there. */
void member_close(struct member_rig *member);
void member_start(struct member_rig *member);

/* Turns and jobs, until nothing is left to do. */
void member_turns(struct member_rig *member);

struct members member_list(void);

/* Says it in the name of `from`: what replica_receive returns. */
int member_hear_note(struct member_rig *member, uint64_t from, struct peer_note note);
int member_hear(struct member_rig *member, struct raft_message message);
/* An append of node 2, which leads in term 1, after the first `prev` entries, of `count` such. */
int member_hear_append(struct member_rig *member, uint64_t prev, uint32_t count,
                       struct peer_entry entry);

#endif
