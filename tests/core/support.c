#include "tests/core/support.h"

#include "raft/core/quorum.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct node node_start(const struct raft_saved *saved, const uint64_t *entry_term, size_t entries)
{
    return node_start_as(1, saved, entry_term, entries);
}

struct node node_start_as(uint64_t id, const struct raft_saved *saved, const uint64_t *entry_term,
                          size_t entries)
{
    struct raft_options options = {
        .self = {id}, .election_ms = ELECTION_MS, .heartbeat_ms = HEARTBEAT_MS, .seed = 7};
    struct node node = {.now_ms = 1000};
    void *memory = malloc(raft_size());
    must(memory != NULL);
    memset(memory, 0xa5, raft_size()); /* the node may not lean on zeros */
    must(raft_init(memory, &options, saved, &node.raft) == 0);
    for (size_t i = 0; i < entries; i++)
        must(raft_restore_entry(node.raft, (raft_term){entry_term[i]}, 10, NULL) == 0);
    return node;
}

struct node node_fresh(void)
{
    struct raft_saved saved = saved_nothing();
    return node_start(&saved, NULL, 0);
}

void node_free(struct node *node)
{
    free(node->raft);
    node->raft = NULL;
}

void node_step(struct node *node, struct raft_event event)
{
    event.now_ms = node->now_ms;
    memset(&node->out.persist, 0xa5, sizeof(node->out.persist)); /* it is written whole */
    node->out.sends.count = node->out.results.count = UINT32_MAX;
    node->out.deadline_ms = 0;
    raft_step(node->raft, &event, &node->out);
    raft_check(node->raft);
    must(node->out.results.count <= RAFT_RESULTS_MAX);
    must(node->out.sends.count <= RAFT_SENDS_MAX);
    must(node->out.apply.last.n + 1 >= node->out.apply.first.n);
    must(node->out.apply.last.n == raft_status(node->raft).commit.n);
}

void node_tick(struct node *node)
{
    node_step(node, (struct raft_event){.kind = RAFT_TICKED});
}

void node_propose(struct node *node, uint32_t count, uint64_t bytes)
{
    static uint32_t sizes[RAFT_APPEND_ENTRIES_MAX];
    must(count > 0 && count <= RAFT_APPEND_ENTRIES_MAX);
    for (uint32_t i = 0; i < count; i++)
        sizes[i] = (uint32_t)(bytes / count + (i < bytes % count ? 1 : 0));
    node_step(node, (struct raft_event){.kind = RAFT_PROPOSED,
                                        .proposed = {.count = count, .bytes = sizes}});
}

void node_read(struct node *node, uint64_t token)
{
    node_step(node, (struct raft_event){.kind = RAFT_READ_ASKED, .read_asked = {.token = token}});
}

void node_persisted(struct node *node, struct raft_mark mark)
{
    node_step(node, (struct raft_event){.kind = RAFT_PERSISTED, .persisted = {.mark = mark}});
}

void node_compacted(struct node *node, uint64_t index)
{
    node_step(node, (struct raft_event){.kind = RAFT_COMPACTED, .compacted = {.index = {index}}});
}

void node_all_durable(struct node *node)
{
    node_persisted(node, (struct raft_mark){
                             .epoch = node->raft->epoch,
                             .last = node->raft->log.last,
                             .term = node->raft->term,
                             .voted = node->raft->voted,
                         });
}

struct node node_leader(void)
{
    struct node node = node_fresh();
    node_tick(&node);
    node_all_durable(&node); /* the vote: leader, no-op appended */
    node_all_durable(&node); /* the no-op */
    must(raft_status(node.raft).settled);
    return node;
}

const struct raft_result *node_result(const struct node *node)
{
    must(node->out.results.count == 1);
    return &node->out.results.at[0];
}

/* --- one node among several ------------------------------------------------------------------- */

struct node node_among(uint32_t count, uint64_t term, const uint64_t *terms, size_t entries)
{
    struct raft_saved saved = {.hard.term = {term}, .configuration = {.voters = count}};
    for (uint32_t i = 0; i < count; i++)
        saved.configuration.voter[i].n = i + 1;
    return node_start(&saved, terms, entries);
}

struct node node_elected(uint32_t count, uint64_t term, const uint64_t *terms, size_t entries)
{
    struct node node = node_among(count, term, terms, entries);
    node_wait(&node);
    for (uint32_t id = 2; id <= quorum_size(count); id++)
        node_hear(&node, request_pre_vote_response(id, term, term + 1, true));
    must(raft_status(node.raft).role == RAFT_CANDIDATE);
    node_all_durable(&node);
    for (uint32_t id = 2; id <= quorum_size(count); id++)
        node_hear(&node, request_vote_response(id, term + 1, true));
    must(raft_status(node.raft).role == RAFT_LEADER);
    return node;
}

struct node node_settled(uint32_t count, uint64_t term, const uint64_t *terms, size_t entries)
{
    struct node node = node_elected(count, term, terms, entries);
    node_all_durable(&node);
    for (uint32_t id = 2; id <= count; id++)
        node_hear(&node, accepted(id, term + 1, entries + 1, 0));
    must(raft_status(node.raft).settled);
    return node;
}

void node_wait(struct node *node)
{
    uint64_t deadline = node->raft->role == RAFT_LEADER ? raft_leader_deadline_ms(node->raft)
                                                        : node->raft->deadline_ms;
    if (node->now_ms < deadline)
        node->now_ms = deadline;
    node_tick(node);
}

void node_pass(struct node *node, uint64_t ms)
{
    node->now_ms += ms;
    node_tick(node);
}

struct raft_message message(enum raft_message_kind kind, uint64_t from, uint64_t term)
{
    return (struct raft_message){.kind = kind, .from = {from}, .to = {1}, .term = {term}};
}

struct raft_message request_pre_vote(uint64_t from, uint64_t term, uint64_t last,
                                     uint64_t last_term)
{
    struct raft_message m = message(RAFT_REQUEST_PRE_VOTE, from, term);
    m.request_pre_vote = (struct raft_request_pre_vote){{term + 1}, {last}, {last_term}};
    return m;
}

struct raft_message request_pre_vote_response(uint64_t from, uint64_t term, uint64_t next_term,
                                              bool granted)
{
    struct raft_message m = message(RAFT_REQUEST_PRE_VOTE_RESPONSE, from, term);
    m.request_pre_vote_response = (struct raft_request_pre_vote_response){{next_term}, granted};
    return m;
}

struct raft_message request_vote(uint64_t from, uint64_t term, uint64_t last, uint64_t last_term)
{
    struct raft_message m = message(RAFT_REQUEST_VOTE, from, term);
    m.request_vote = (struct raft_request_vote){{last}, {last_term}, false};
    return m;
}

struct raft_message request_vote_response(uint64_t from, uint64_t term, bool granted)
{
    struct raft_message m = message(RAFT_REQUEST_VOTE_RESPONSE, from, term);
    m.request_vote_response.granted = granted;
    return m;
}

struct raft_message append_after(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
                                 uint64_t commit, const uint64_t *terms, size_t entries)
{
    struct raft_message m = message(RAFT_APPEND_ENTRIES, from, term);
    m.append_entries.prev.n = prev;
    m.append_entries.prev_term.n = prev_term;
    m.append_entries.commit.n = commit;
    struct raft_runs *runs = &m.append_entries.entries;
    for (size_t i = 0; i < entries; i++) {
        if (i == 0 || terms[i] != terms[i - 1])
            runs->at[runs->runs++].term.n = terms[i];
        runs->at[runs->runs - 1].count++;
    }
    return m;
}

struct raft_message accepted(uint64_t from, uint64_t term, uint64_t match, uint64_t round)
{
    struct raft_message m = message(RAFT_APPEND_ENTRIES_RESPONSE, from, term);
    m.append_entries_response.accepted = true;
    m.append_entries_response.match.n = match;
    m.append_entries_response.round = round;
    return m;
}

struct raft_message rejected(uint64_t from, uint64_t term, uint64_t prev, uint64_t hint,
                             uint64_t hint_term)
{
    struct raft_message m = message(RAFT_APPEND_ENTRIES_RESPONSE, from, term);
    m.append_entries_response.prev.n = prev;
    m.append_entries_response.hint.n = hint;
    m.append_entries_response.hint_term.n = hint_term;
    return m;
}

static void hear(struct node *node, const struct raft_message *m,
                 const struct raft_configuration *configuration)
{
    static uint32_t sizes[RAFT_APPEND_ENTRIES_MAX];
    for (uint32_t i = 0; i < ARRAY_LEN(sizes); i++)
        sizes[i] = 10;
    node_step(node,
              (struct raft_event){
                  .kind = RAFT_RECEIVED,
                  .received = {.message = m, .bytes = sizes, .configuration = configuration}});
}

void node_hear(struct node *node, struct raft_message m)
{
    hear(node, &m, NULL);
}

void node_hear_configuration(struct node *node, struct raft_message m,
                             struct raft_configuration configuration)
{
    hear(node, &m, &configuration);
}

void node_install(struct node *node, uint64_t index, uint64_t term,
                  struct raft_configuration configuration)
{
    node_step(node, (struct raft_event){.kind = RAFT_SNAPSHOT_INSTALLED,
                                        .snapshot_installed = {.index = {index},
                                                               .term = {term},
                                                               .configuration = &configuration}});
}

void node_change(struct node *node, struct raft_configuration configuration)
{
    node_step(node, (struct raft_event){
                        .kind = RAFT_CHANGE_PROPOSED,
                        .change_proposed = {.configuration = &configuration, .bytes = 10}});
}

void node_transfer(struct node *node, uint64_t to)
{
    node_step(node, (struct raft_event){.kind = RAFT_TRANSFER_ASKED,
                                        .transfer_asked = {.to_known = to != 0, .to = {to}}});
}

struct raft_configuration voters(uint32_t count, ...)
{
    struct raft_configuration configuration = {.voters = count};
    va_list ids;
    va_start(ids, count);
    for (uint32_t i = 0; i < count; i++)
        configuration.voter[i].n = (uint64_t)va_arg(ids, int);
    va_end(ids);
    return configuration;
}

uint32_t node_sends(const struct node *node, enum raft_message_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->out.sends.count; i++)
        count += node->out.sends.at[i].kind == kind;
    return count;
}

const struct raft_message *node_sent(const struct node *node, enum raft_message_kind kind,
                                     uint64_t to)
{
    const struct raft_message *found = NULL;
    for (uint32_t i = 0; i < node->out.sends.count; i++) {
        const struct raft_message *m = &node->out.sends.at[i];
        if (m->kind != kind || m->to.n != to)
            continue;
        must(found == NULL);
        found = m;
    }
    return found;
}

const struct raft_progress *node_progress(const struct node *node, uint64_t id)
{
    return raft_find_progress(raft_as_leader(node->raft), (raft_node_id){id});
}

bool node_log_is(const struct node *node, const uint64_t *terms, size_t entries)
{
    if (node->raft->log.last.n != entries)
        return false;
    for (size_t i = 0; i < entries; i++) {
        if (raft_entry_term(node->raft, (raft_index){i + 1}).n != terms[i])
            return false;
    }
    return true;
}
