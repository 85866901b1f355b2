/*
 * Clients that enrol users as fast as they can, each under a name that no other request has, and
 * remember what they were told; and the judgement over it.
 */
#ifndef ROLLCALL_TESTS_E2E_LOAD_H
#define ROLLCALL_TESTS_E2E_LOAD_H

#include "raft/base/attr.h"

struct load;

struct load_counts {
    long created, refused /* 503 */, unknown /* 504 */, other;
};

/*
 * With `keep`, clients keep their connections. Without, every request has its own: where the front
 * is killed, libcurl would send a request again by itself that it saw no answer to on a kept one.
 */
struct load *load_start(int port, int clients, bool keep);
struct load_counts load_counts(struct load *load);
/* Ends the clients; the load can still be judged. */
struct load_counts load_stop(struct load *load);

/*
 * Compares with GET /users: every acknowledged user is there, once, under its id and name; what was
 * refused is not there; nothing is there twice; ids are dense. Fails the test otherwise.
 */
void load_judge(struct load *load, int port);
void load_free(struct load *load);

#endif
