#include "tests/sim/wishes.h"
#include "tests/sim/world.h"

#include "raft/core/state.h"

#include <stdlib.h>
#include <string.h>

#define LLU(number) ((unsigned long long)(number))

void rules_done(struct rules *rules)
{
    model_done(&rules->model);
    free(rules->leader);
    free(rules->entry);
    for (uint32_t i = 0; i <= SIM_NODES; i++)
        free(rules->node[i].vote);
}

/* --- tables that grow ------------------------------------------------------------------------- */

static uint8_t *by_term(uint8_t **table, uint32_t *room, uint64_t term)
{
    assert(term < UINT32_MAX / 2);
    if (term >= *room) {
        uint32_t more = 2 * (uint32_t)term + 64;
        *table = realloc(*table, more);
        assert(*table != NULL);
        memset(*table + *room, 0, more - *room);
        *room = more;
    }
    return &(*table)[term];
}

static struct rules_entry *entry_at(struct rules *rules, uint64_t index)
{
    if (index >= rules->room) {
        uint64_t more = 2 * index + 1024;
        rules->entry = realloc(rules->entry, more * sizeof(*rules->entry));
        assert(rules->entry != NULL);
        memset(rules->entry + rules->room, 0, (more - rules->room) * sizeof(*rules->entry));
        rules->room = more;
    }
    return &rules->entry[index];
}

/* --- votes and acknowledgements --------------------------------------------------------------- */

static void note_vote(struct world *world, uint32_t node, uint64_t term, uint64_t vote)
{
    struct rules_node *known = &world->rules.node[node];
    uint8_t *place = by_term(&known->vote, &known->votes_room, term);
    RULE(world, *place == 0 || *place == vote,
         "node %u votes for %llu in term %llu, and did for %u", node, LLU(vote), LLU(term), *place);
    *place = (uint8_t)vote;
}

void rules_sent(struct world *world, uint32_t node, const struct raft_message *message)
{
    struct rules_node *known = &world->rules.node[node];
    if (world->hostile.lied)
        return;
    if (message->kind == RAFT_REQUEST_VOTE)
        note_vote(world, node, message->term.n, node);
    if (message->kind == RAFT_REQUEST_VOTE_RESPONSE && message->request_vote_response.granted)
        note_vote(world, node, message->term.n, message->to.n);
    if (message->kind != RAFT_APPEND_ENTRIES_RESPONSE || !message->append_entries_response.accepted)
        return;
    if (known->acked_term != message->term.n) {
        known->acked_term = message->term.n;
        known->acked = 0;
    }
    if (known->acked < message->append_entries_response.match.n)
        known->acked = message->append_entries_response.match.n;
}

/* --- lives ------------------------------------------------------------------------------------ */

void rules_opened(struct world *world, uint32_t node, const struct wal_recovered *recovered)
{
    struct rules_node *known = &world->rules.node[node];
    const struct machine *machine = &world->machine[node];
    if (world->hostile.lied || folders_strange(machine))
        return;
    uint64_t last = recovered->last.n; /* or in a durable snapshot, which the log then follows */
    if (last < machine->saved_index)
        last = machine->saved_index;
    if (machine->store_damaged)
        last = UINT64_MAX; /* what it had may have been in its store */
    /* It knows that it forgot, or is alone and says so. */
    if (machine->disk_damaged &&
        (recovered->hard.recovering || (world->nodes == 1 && recovered->cut_bytes > 0))) {
        last = UINT64_MAX;
        known->term_ever = known->acked_term = known->acked = 0;
    }
    RULE(world, recovered->hard.term.n >= known->term_ever,
         "node %u finds term %llu on its disk, and was in term %llu", node,
         LLU(recovered->hard.term.n), LLU(known->term_ever));
    RULE(world, last >= machine->durable, "node %u finds entries up to %llu, and its disk had %llu",
         node, LLU(last), LLU(machine->durable));
    RULE(world, recovered->hard.term.n != known->acked_term || last >= known->acked,
         "node %u finds entries up to %llu, and has acknowledged %llu in the same term", node,
         LLU(last), LLU(known->acked));
    /* Its own name may stand for no vote at all: see FLOOR_KNOWN in core/raft.h. */
    if (recovered->hard.voted && recovered->hard.vote.n != node)
        note_vote(world, node, recovered->hard.term.n, recovered->hard.vote.n);
    known->term = recovered->hard.term.n;
    known->commit = known->applied = 0;
    known->leads = false;
}

void rules_died(struct world *world, uint32_t node)
{
    world->rules.node[node].leads = false;
}

void rules_wiped(struct world *world, uint32_t node)
{
    struct rules_node *known = &world->rules.node[node];
    known->term_ever = known->acked_term = known->acked = 0;
    for (uint32_t term = 0; term < known->votes_room; term++) {
        if (known->vote[term] == node) /* its candidacy died with it, nobody counts that vote */
            known->vote[term] = 0;
    }
    world->machine[node].durable = 0;
}

/* --- states ----------------------------------------------------------------------------------- */

static void executed(struct world *world, struct op *op, uint64_t number, uint64_t index)
{
    RULE(world, op->applied == 0, "request %llu is executed by entry %llu, and was by %llu",
         LLU(number), LLU(index), LLU(op->applied));
    RULE(world, op->refused < op->asked || op->asked == 0,
         "request %llu is executed by entry %llu, and was refused wherever it was asked",
         LLU(number), LLU(index));
    op->applied = index;
}

/* The model applies it too. The request's texts are those of the client, who keeps them. */
static void apply_to_model(struct world *world, struct users *users, uint64_t index,
                           uint64_t number, const struct users_request *request,
                           const struct users_answer *answer)
{
    struct model *model = &world->rules.model;
    if (model->room == 0)
        model_init(model, world->machine[1].settings.answers_max);
    if (request == NULL) {
        model_skip(model, index);
    } else {
        struct op *op = &world->clients.op[number];
        struct users_request wish = {.id = request->id, .time_ms = request->time_ms};
        int bad = users_command_decode(op->command, &wish.command);
        assert(bad == 0);
        struct users_answer expected = model_apply(model, index, &wish);
        RULE(world, wishes_answers_equal(answer, &expected),
             "entry %llu is answered with kind %u, and should be with %u", LLU(index), answer->kind,
             expected.kind);
        if (expected.index == index)
            op->answer = expected;
    }
    struct users_meta meta = users_meta(users);
    RULE(world,
         meta.users == model->count && meta.next_id == model->next_id &&
             meta.changed == model->changed && meta.time_ms == model->time_ms &&
             meta.keys_first == model->keys.first && meta.keys_next == model->keys.next &&
             meta.answers_first == model->recent.first && meta.answers_next == model->recent.next,
         "the state after entry %llu counts other things than the model does", LLU(index));
}

void rules_applied(struct world *world, struct users *users, uint64_t index,
                   const struct users_request *request, const struct users_answer *answer)
{
    struct rules_entry *entry = entry_at(&world->rules, index);
    uint64_t number = request != NULL ? clients_number(&request->id) : 0;
    uint64_t digest = users_meta(users).digest;
    world->rules.checks++;
    RULE(world, request == NULL || (number != 0 && number < world->clients.ops),
         "entry %llu is a request that nobody made", LLU(index));
    if (world->broken)
        return;
    if (entry->applied) {
        RULE(world, entry->op == number, "entry %llu is request %llu here, and elsewhere %llu",
             LLU(index), LLU(number), LLU(entry->op));
        RULE(world, entry->digest == digest || world->may_diverge,
             "the state after entry %llu is not what it is elsewhere", LLU(index));
        return;
    }
    *entry =
        (struct rules_entry){.applied = true, .op = number, .digest = digest, .term = entry->term};
    apply_to_model(world, users, index, number, request, answer);
    /* A second entry of a request changes nothing: then its answer speaks of the first. */
    if (request != NULL && answer->index == index)
        executed(world, &world->clients.op[number], number, index);
}

void rules_model(struct world *world, uint32_t node, const struct users_view *view)
{
    const struct model *model = &world->rules.model;
    struct users_meta meta = users_view_meta(view);
    RULE(world, meta.index == model->index, "node %u ends at %llu, and others at %llu", node,
         LLU(meta.index), LLU(model->index));
    for (uint64_t id = 1; id < model->next_id && !world->broken; id++) {
        const struct model_user *expected = &model->user[id];
        struct user user;
        bool there = users_view_get(view, id, &user);
        RULE(world,
             there == (expected->index != 0) && (!there || model_same_user(&user, id, expected)),
             "node %u has another user %llu than the model", node, LLU(id));
        uint8_t at[USER_PACKED_BYTES_MAX];
        struct writer out = writer_of(at, sizeof(at));
        bool last;
        if (there && user.email.len > 0)
            RULE(world, users_view_find(view, USER_TEXT_email, user.email, 0, 1, &out, &last) == id,
                 "node %u does not find user %llu by email", node, LLU(id));
    }
}

uint64_t rules_last_change(const struct world *world, uint64_t index)
{
    while (index > 0 && !world->hostile.lied &&
           (index >= world->rules.room || world->rules.entry[index].op == 0))
        index--;
    return index;
}

void rules_state(struct world *world, uint32_t node, struct users_meta meta)
{
    if (meta.index == 0 || world->hostile.lied || folders_strange(&world->machine[node]))
        return;
    struct rules_entry *entry = entry_at(&world->rules, meta.index);
    RULE(world, entry->applied, "node %u has the state after entry %llu, which nobody has applied",
         node, LLU(meta.index));
    RULE(world, !entry->applied || entry->digest == meta.digest || world->may_diverge,
         "node %u has another state after entry %llu than others", node, LLU(meta.index));
}

/* --- leaders ---------------------------------------------------------------------------------- */

/*
 * The last entry that was committed in a term before this one. (An entry of an older term may have
 * been committed by a leader of a later one: then it says nothing about a leader between.)
 */
static uint64_t committed_before(struct rules *rules, uint64_t term)
{
    uint64_t index = rules->committed;
    while (index > 0 &&
           (rules->entry[index].committed_in == 0 || rules->entry[index].committed_in >= term))
        index--;
    return index;
}

static void check_new_leader(struct world *world, uint32_t node, const struct raft *raft)
{
    struct rules *rules = &world->rules;
    uint8_t *leader = by_term(&rules->leader, &rules->terms, raft->term.n);
    RULE(world, *leader == 0 || *leader == node, "nodes %u and %u both lead in term %llu", *leader,
         node, LLU(raft->term.n));
    *leader = (uint8_t)node;
    world->counts.elections++;
    TELL(world, node, "leads in term %", raft->term.n);
    uint64_t index = committed_before(rules, raft->term.n);
    RULE(world, raft->log.last.n >= index,
         "node %u leads in term %llu with a log up to %llu, and %llu was committed before", node,
         LLU(raft->term.n), LLU(raft->log.last.n), LLU(index));
    if (index < raft->log.start.n || index > raft->log.last.n || index == 0)
        return;
    uint64_t term = log_term(&raft->log, (raft_index){index}).n;
    RULE(world, term == rules->entry[index].term,
         "node %u leads in term %llu, its entry %llu is of term %llu, and of %llu where it was "
         "committed",
         node, LLU(raft->term.n), LLU(index), LLU(term), LLU(rules->entry[index].term));
}

/* --- commits ---------------------------------------------------------------------------------- */

static void check_commits(struct world *world, uint32_t node, const struct raft *raft,
                          uint64_t from)
{
    struct rules *rules = &world->rules;
    uint64_t first = from + 1 > raft->log.start.n ? from + 1 : raft->log.start.n;
    for (uint64_t i = first; i <= raft->commit.n && i > 0; i++) {
        struct rules_entry *entry = entry_at(rules, i);
        uint64_t term = log_term(&raft->log, (raft_index){i}).n;
        RULE(world, entry->term == 0 || entry->term == term,
             "node %u commits entry %llu of term %llu, and it was committed with term %llu", node,
             LLU(i), LLU(term), LLU(entry->term));
        if (entry->committed_in == 0)
            entry->committed_in = raft->term.n;
        entry->term = term;
    }
    if (rules->committed < raft->commit.n)
        rules->committed = raft->commit.n;
}

void rules_acknowledged(struct world *world, uint64_t index)
{
    if (world->hostile.lied)
        return;
    uint32_t have = 0;
    uint64_t term = entry_at(&world->rules, index)->term;
    for (uint32_t id = 1; id <= world->nodes; id++) {
        const struct machine *machine = &world->machine[id];
        if (machine->disk_damaged) { /* it may have had it */
            have++;
            continue;
        }
        if (!machine_up(machine) || folders_strange(machine)) {
            have += machine->durable >= index || machine->saved_index >= index;
            continue;
        }
        const struct raft *raft = replica_raft(machine->replica);
        have += raft->log.start.n >= index ||
                (raft->durable.n >= index &&
                 (term == 0 || log_term(&raft->log, (raft_index){index}).n == term));
    }
    RULE(world, have > world->nodes / 2,
         "a client is told of entry %llu, which is on the disks of only %u of %u nodes", LLU(index),
         have, world->nodes);
}

/* --- a step ----------------------------------------------------------------------------------- */

void rules_step(struct world *world, uint32_t node)
{
    struct machine *machine = &world->machine[node];
    struct rules_node *known = &world->rules.node[node];
    const struct raft *raft = replica_raft(machine->replica);
    raft_check(raft);
    hostile_look(machine);
    if (world->hostile.lied)
        return;
    if (folders_strange(machine)) {
        folders_step(machine);
        return;
    }
    RULE(world, raft->term.n >= known->term, "node %u goes from term %llu back to %llu", node,
         LLU(known->term), LLU(raft->term.n));
    RULE(world, raft->commit.n >= known->commit, "node %u takes back commits, from %llu to %llu",
         node, LLU(known->commit), LLU(raft->commit.n));
    if (raft->durable_term.n > known->term_ever)
        known->term_ever = raft->durable_term.n;
    if (raft->role == RAFT_LEADER && (!known->leads || raft->term.n != known->term))
        check_new_leader(world, node, raft);
    if (raft->role != RAFT_LEADER && known->leads)
        TELL(world, node, "does not lead any more, in term %", raft->term.n);
    known->leads = raft->role == RAFT_LEADER;
    known->term = raft->term.n;
    if (raft->commit.n > known->commit)
        check_commits(world, node, raft, known->commit);
    known->commit = raft->commit.n;
    machine->durable = raft->durable.n;
    struct users_meta meta = users_meta(replica_users(machine->replica));
    RULE(world, meta.index >= known->applied, "node %u goes from state %llu back to %llu", node,
         LLU(known->applied), LLU(meta.index));
    if (meta.index != known->applied)
        rules_state(world, node, meta);
    known->applied = meta.index;
}

/* --- every state's applies, see the Makefile: --wrap ------------------------------------------ */

struct users_answer __real_users_apply(struct users *users, uint64_t index,
                                       const struct users_request *request);
void __real_users_skip(struct users *users, uint64_t index);
struct users_answer __wrap_users_apply(struct users *users, uint64_t index,
                                       const struct users_request *request);
void __wrap_users_skip(struct users *users, uint64_t index);

struct users_answer __wrap_users_apply(struct users *users, uint64_t index,
                                       const struct users_request *request)
{
    struct users_answer answer = __real_users_apply(users, index, request);
    if (world_now != NULL && !world_now->hostile.lied)
        rules_applied(world_now, users, index, request, &answer);
    return answer;
}

void __wrap_users_skip(struct users *users, uint64_t index)
{
    __real_users_skip(users, index);
    if (world_now != NULL && !world_now->hostile.lied)
        rules_applied(world_now, users, index, NULL, NULL);
}
