/*
 * A node that lost its disk, and the driver's rule for how far its log must reach (raft.h,
 * RECOVERING NODES). The others say their terms and where their logs end in a message of the
 * drivers' own; one that was sent before the round of asking began proves nothing, and is not
 * counted.
 */
#include "tests/core/cluster_state.h"

#include <string.h>

#define HELLO_MS 20
#define ROUNDS   2u

bool cluster_is_recovering(const struct node *n)
{
    return n->durable->recovering;
}

void cluster_wipe(struct cluster *c, uint32_t id)
{
    struct node *n = &c->node[id];
    REQUIRE(!n->up);
    memset(n->durable, 0, sizeof(*n->durable) - sizeof(n->durable->cell));
    for (uint32_t i = 1; i <= c->nodes; i++)
        n->durable->start_configuration.voter[n->durable->start_configuration.voters++].n = i;
    n->durable->recovering = true;
    n->snapshot = n->snapshot_term = 0;
    for (uint32_t term = 0; term < ARRAY_LEN(n->vote_in_term); term++) {
        if (n->vote_in_term[term] == id) /* its candidacy died with it, nobody counts that vote */
            n->vote_in_term[term] = 0;
    }
    c->wipes++;
}

/* Rot takes the end of its log, and perhaps what told where that was. */
static void lose_end(struct cluster *c, uint32_t id)
{
    struct disk_state *d = c->node[id].durable;
    uint64_t least = d->start > c->node[id].snapshot ? d->start : c->node[id].snapshot;
    if (d->last < least || d->recovering)
        return;
    d->recovering = true;
    d->floor = (struct raft_floor){.known = cluster_below(c, 2) == 0, .index = {d->last}};
    d->floor.term.n = d->last == d->start ? d->start_term : d->cell[d->last].term;
    if (!d->floor.known)
        d->floor = (struct raft_floor){.known = false};
    d->last -= cluster_below(c, (uint32_t)(d->last - least) + 1);
    c->wipes++;
}

/* The power fails everywhere, and no log shows whether its last batch was whole. */
static void doubt_all(struct cluster *c)
{
    for (uint32_t i = 1; i <= c->nodes; i++) {
        cluster_crash(c, i);
        c->node[i].durable->recovering = true;
        c->node[i].durable->floor = (struct raft_floor){.known = false};
    }
}

void cluster_wipe_one(struct cluster *c, uint32_t id)
{
    uint32_t recovering = 1;
    for (uint32_t i = 1; i <= c->nodes; i++)
        recovering += i != id && cluster_is_recovering(&c->node[i]);
    if (recovering > (c->nodes - 1) / 2)
        return;
    if (cluster_below(c, 8) == 0) {
        doubt_all(c);
        return;
    }
    bool at_once = c->node[id].up; /* a disk is replaced by an empty one, and the leader dies too */
    cluster_crash(c, id);
    if (cluster_below(c, 2) == 0)
        cluster_wipe(c, id);
    else
        lose_end(c, id);
    if (!at_once)
        return;
    cluster_start(c, id);
    if (cluster_leader(c) != 0)
        cluster_crash(c, cluster_leader(c));
}

void cluster_started_recovering(struct cluster *c, struct node *n)
{
    memset(&n->admission, 0, sizeof(n->admission));
    n->admission.began = c->steps;
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

void cluster_heard(struct cluster *c, struct node *n, const struct flying *hello)
{
    struct admission *a = &n->admission;
    if (hello->sent <= a->began || a->round == ROUNDS)
        return;
    a->heard[hello->message.from.n] = true;
    if (hello->message.term.n > a->term)
        a->term = hello->message.term.n;
    if (hello->term > a->last_term || (hello->term == a->last_term && hello->index > a->last)) {
        a->last_term = hello->term;
        a->last = hello->index;
    }
    if (!heard_everybody(n))
        return;
    a->round++;
    a->began = c->steps;
    memset(a->heard, 0, sizeof(a->heard));
    if (a->round < ROUNDS || !raft_status(n->raft).recovering)
        return;
    n->admitted_term =
        a->term > raft_status(n->raft).term.n ? a->term : raft_status(n->raft).term.n;
    struct raft_event event = {
        .kind = RAFT_FLOOR_KNOWN,
        .floor_known = {.term = {a->term}, .last = {a->last}, .last_term = {a->last_term}},
    };
    cluster_step(c, n, &event, NULL, NULL);
}

void cluster_admit_turn(struct cluster *c, struct node *n)
{
    struct admission *a = &n->admission;
    if (!raft_status(n->raft).recovering) {
        c->admissions += a->round == ROUNDS && !a->counted;
        a->counted = true;
        return;
    }
    if (a->round == ROUNDS || c->now_ms < a->hello_ms)
        return;
    a->hello_ms = c->now_ms + HELLO_MS;
    for (uint32_t from = 1; from <= c->nodes; from++) {
        if (from != n->id && c->node[from].up)
            cluster_say_hello(c, &c->node[from], n);
    }
}
