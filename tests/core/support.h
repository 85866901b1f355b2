/*
 * What the tests of raft/core share: a node with a pretended storage, stepped event by event and
 * checked after each; and a check for the inside of long loops (Criterion's own assertions report
 * each success to another process).
 */
#ifndef ROLLCALL_TESTS_CORE_SUPPORT_H
#define ROLLCALL_TESTS_CORE_SUPPORT_H

#include "raft/core/raft.h"
#include "raft/core/state.h"

#include <signal.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define must(condition)                                            \
    do {                                                           \
        if (!(condition))                                          \
            cr_fatal("%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)

/* SplitMix64 (G. Steele, D. Lea, C. Flood, 2014). */
struct chance {
    uint64_t state;
};

static inline uint64_t chance_u64(struct chance *chance)
{
    uint64_t z = chance->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In [0, n). */
static inline uint64_t chance_below(struct chance *chance, uint64_t n)
{
    return chance_u64(chance) % n;
}

/* A node, the time, and the output of its last step. */
struct node {
    struct raft *raft;
    uint64_t now_ms;
    struct raft_output out;
};

#define ELECTION_MS  100u
#define HEARTBEAT_MS 20u

static inline struct raft_saved saved_nothing(void)
{
    return (struct raft_saved){.configuration = {.voters = 1, .voter = {{1}}}};
}

/* A node made out of `saved` and `entries` terms of a log; freed with node_free. */
struct node node_start(const struct raft_saved *saved, const uint64_t *entry_term, size_t entries);
struct node node_start_as(uint64_t id, const struct raft_saved *saved, const uint64_t *entry_term,
                          size_t entries);
struct node node_fresh(void);
void node_free(struct node *node);

/* Steps, and asserts every invariant. */
void node_step(struct node *node, struct raft_event event);
void node_tick(struct node *node);
/* So many entries, of so many bytes together. */
void node_propose(struct node *node, uint32_t count, uint64_t bytes);
void node_read(struct node *node, uint64_t token);
void node_persisted(struct node *node, struct raft_mark mark);
void node_compacted(struct node *node, uint64_t index);

/* Everything up to the last persist is durable. */
void node_all_durable(struct node *node);

/* A fresh node that leads term 1, its no-op committed. */
struct node node_leader(void);

/* --- one node among several: the test plays the others ---------------------------------------- */

/* The terms of a log's entries, as two arguments. */
#define TERMS(...) \
    (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)
#define NO_TERMS NULL, 0

/* Node 1 of voters 1 … `voters`, in `term`, with a log of these terms, all of it durable. */
struct node node_among(uint32_t voters, uint64_t term, const uint64_t *terms, size_t entries);
/* The same, after it won the next term: its no-op is appended, and was just sent. */
struct node node_elected(uint32_t voters, uint64_t term, const uint64_t *terms, size_t entries);
/* The same, the no-op durable everywhere and committed; all others are streamed to. */
struct node node_settled(uint32_t voters, uint64_t term, const uint64_t *terms, size_t entries);

/* Waits for the deadline, and ticks. */
void node_wait(struct node *node);
void node_pass(struct node *node, uint64_t ms);

struct raft_message message(enum raft_message_kind kind, uint64_t from, uint64_t term);
struct raft_message request_pre_vote(uint64_t from, uint64_t term, uint64_t last,
                                     uint64_t last_term);
struct raft_message request_pre_vote_response(uint64_t from, uint64_t term, uint64_t next_term,
                                              bool granted);
struct raft_message request_vote(uint64_t from, uint64_t term, uint64_t last, uint64_t last_term);
struct raft_message request_vote_response(uint64_t from, uint64_t term, bool granted);
struct raft_message append_after(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
                                 uint64_t commit, const uint64_t *terms, size_t entries);
struct raft_message accepted(uint64_t from, uint64_t term, uint64_t match, uint64_t round);
struct raft_message rejected(uint64_t from, uint64_t term, uint64_t prev, uint64_t hint,
                             uint64_t hint_term);

void node_hear(struct node *node, struct raft_message m);
/* An append of one entry that is this configuration. */
void node_hear_configuration(struct node *node, struct raft_message m,
                             struct raft_configuration configuration);
void node_install(struct node *node, uint64_t index, uint64_t term,
                  struct raft_configuration configuration);
void node_change(struct node *node, struct raft_configuration configuration);
void node_transfer(struct node *node, uint64_t to);

struct raft_configuration voters(uint32_t count, ...);

/* How many messages of a kind the last step sent. */
uint32_t node_sends(const struct node *node, enum raft_message_kind kind);
/* The message of a kind that it sent to a node, which must be the only one; NULL for none. */
const struct raft_message *node_sent(const struct node *node, enum raft_message_kind kind,
                                     uint64_t to);
/* What the leader knows of a node. */
const struct raft_progress *node_progress(const struct node *node, uint64_t id);
/* The log has these terms, from entry 1 on. */
bool node_log_is(const struct node *node, const uint64_t *terms, size_t entries);

/* The result of the last step, which must be the only one. */
const struct raft_result *node_result(const struct node *node);

#endif
