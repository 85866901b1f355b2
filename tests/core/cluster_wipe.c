/*
 * A node that lost its disk, and the driver's rule for when it may vote again (raft.h, UNSURE
 * NODES). The others say their terms in a message of the drivers' own, as they do when a connection
 * is made; one that was sent before the node started proves nothing, and is not counted.
 */
#include "tests/core/cluster_state.h"

#include <string.h>

#define HELLO_MS 20
#define RETRY_MS 100

/* Tokens of the driver's own reads. */
#define ADMISSION (UINT64_C(1) << 63)

bool cluster_is_unsure(const struct node *n)
{
    return n->durable->voted && n->durable->vote == 0;
}

void cluster_wipe(struct cluster *c, uint32_t id)
{
    struct node *n = &c->node[id];
    REQUIRE(!n->up);
    memset(n->durable, 0, sizeof(*n->durable) - sizeof(n->durable->cell));
    for (uint32_t i = 1; i <= c->nodes; i++)
        n->durable->start_configuration.voter[n->durable->start_configuration.voters++].n = i;
    n->durable->voted = true; /* for nobody: unsure */
    n->snapshot = n->snapshot_term = 0;
    c->wipes++;
}

void cluster_wipe_one(struct cluster *c, uint32_t id)
{
    uint32_t unsure = 1;
    for (uint32_t i = 1; i <= c->nodes; i++)
        unsure += i != id && cluster_is_unsure(&c->node[i]);
    if (unsure > (c->nodes - 1) / 2)
        return;
    bool at_once = c->node[id].up; /* a disk is replaced by an empty one, and the leader dies too */
    cluster_crash(c, id);
    cluster_wipe(c, id);
    if (!at_once)
        return;
    cluster_start(c, id);
    if (cluster_leader(c) != 0)
        cluster_crash(c, cluster_leader(c));
}

void cluster_started_unsure(struct cluster *c, struct node *n)
{
    memset(&n->admission, 0, sizeof(n->admission));
    n->admission.started = c->steps;
}

void cluster_heard(struct node *n, uint64_t sent, uint64_t from, uint64_t term)
{
    if (sent <= n->admission.started)
        return;
    n->admission.heard[from] = true;
    if (term > n->admission.term)
        n->admission.term = term;
}

static bool heard_everybody(const struct node *n)
{
    const struct raft_configuration *who = raft_configuration(n->raft);
    for (uint32_t i = 0; i < who->voters; i++) {
        if (who->voter[i].n != n->id && !n->admission.heard[who->voter[i].n])
            return false;
    }
    for (uint32_t i = 0; i < who->outgoing; i++) {
        if (who->outgoing_voter[i].n != n->id && !n->admission.heard[who->outgoing_voter[i].n])
            return false;
    }
    return true;
}

bool cluster_admission_read(struct cluster *c, struct node *n, uint64_t token, bool granted,
                            uint64_t index)
{
    struct admission *a = &n->admission;
    if ((token & ADMISSION) == 0)
        return false;
    if (token != a->token)
        return true; /* given up */
    a->token = 0;
    if (!granted)
        return true;
    REQUIRE(index >= a->floor);
    if (raft_status(n->raft).term.n >= a->term)
        a->index = index;
    return true;
}

static void ask_read(struct cluster *c, struct node *n)
{
    struct admission *a = &n->admission;
    a->token = ADMISSION | ++c->tokens;
    a->floor = c->committed;
    a->retry_ms = c->now_ms + RETRY_MS;
    struct raft_event event = {.kind = RAFT_READ_ASKED, .read_asked = {.token = a->token}};
    cluster_step(c, n, &event, NULL, NULL);
}

void cluster_admit_turn(struct cluster *c, struct node *n)
{
    struct admission *a = &n->admission;
    struct raft_status status = raft_status(n->raft);
    if (!status.unsure)
        return;
    if (c->now_ms >= a->hello_ms) {
        a->hello_ms = c->now_ms + HELLO_MS;
        for (uint32_t from = 1; from <= c->nodes; from++) {
            if (from != n->id && c->node[from].up)
                cluster_say_hello(c, &c->node[from], n);
        }
    }
    if (!heard_everybody(n))
        return;
    if (a->index == 0) {
        if (a->token == 0 || c->now_ms >= a->retry_ms)
            ask_read(c, n);
        return;
    }
    if (n->applied < a->index || status.durable.n < a->index)
        return;
    n->admitted_term = status.term.n;
    struct raft_event event = {.kind = RAFT_ADMITTED, .admitted = {.term = status.term}};
    cluster_step(c, n, &event, NULL, NULL);
    c->admissions++;
}
