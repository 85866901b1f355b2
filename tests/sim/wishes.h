/*
 * What a client's write asks for: all commands, with conditions and without, for the users that
 * there are, with emails that others may have, and under keys; at times what was asked under a key
 * before, once more under another request id.
 *
 * It is drawn from the number of the request and the run's seed, not from the world's generator:
 * what is asked has no say in what goes wrong.
 */
#ifndef ROLLCALL_TESTS_SIM_WISHES_H
#define ROLLCALL_TESTS_SIM_WISHES_H

#include "raft/users/command.h"

struct world;

/* The encoded command of write `number`, to be freed; a plain one is a new user without email. */
struct bytes wishes_command(struct world *world, uint64_t number, bool plain);

bool wishes_answers_equal(const struct users_answer *a, const struct users_answer *b);

#endif
