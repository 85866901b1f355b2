/*
 * What the lies of a hostile peer are made of (hostile.h); for hostile_*.c only. There is one at a
 * time: it is said, or forgotten, before the next is made up.
 */
#ifndef ROLLCALL_TESTS_SIM_HOSTILE_LIE_H
#define ROLLCALL_TESTS_SIM_HOSTILE_LIE_H

#include "raft/core/state.h"
#include "raft/replica/state.h"
#include "tests/sim/world.h"

#define LIE_BYTES_MAX (PEER_MESSAGE_BYTES_MAX + (1u << 17))

struct lie_parts {
    struct machine *victim;
    struct world *world;
    const struct raft *raft;
    struct raft_status status;
    struct raft_message m;
    struct peer_entry entry[4];
    struct peer_note note;
    uint8_t text[2 * RAFT_ENTRY_BYTES_MAX]; /* that notes and entries point to */
    uint8_t bytes[LIE_BYTES_MAX];
    struct writer out;
    struct lie *lie;
};
extern struct lie_parts l;

/* Makes up one; false when it makes no sense to the victim now. */
typedef bool lie_maker(void);

/* By what a node has to do with them: hostile_refused.c, hostile_harmless.c, hostile_wild.c. */
lie_maker *lie_to_be_refused(void);
lie_maker *lie_of_no_consequence(void);
lie_maker *lie_of_any_kind(void);

uint64_t lie_below(uint64_t limit);
uint64_t lie_any(void);
/* Near a number, or at an edge. */
uint64_t lie_near(uint64_t number);
uint64_t lie_term(void);
bool lie_leader_is_known(void);

/* A message of this kind and of the current term, all zeros. */
void lie_begin(uint16_t kind);
/* An append after all that the node has, of so many entries in the current term. */
void lie_begin_append(uint32_t entries);

bool lie_message(bool must_be_refused);
bool lie_note(bool must_be_refused);
/* Another frame: of these bytes, which are copied to where the rest may be changed. */
bool lie_frame(uint16_t kind, struct bytes payload, bool must_be_refused);

struct bytes lie_text(size_t len);
/* A write that nobody asked for; one that can be applied, or not. */
struct bytes lie_command(uint8_t at[USERS_REQUEST_BYTES_MAX]);
struct bytes lie_configuration(struct raft_configuration configuration,
                               uint8_t at[MEMBERS_BYTES_MAX]);
/* A frame of this run; NULL: none at hand, or none to this node. */
const struct packet *lie_kept(bool to_victim);

#endif
