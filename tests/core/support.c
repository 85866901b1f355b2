#include "tests/core/support.h"

#include <stdlib.h>
#include <string.h>

struct node node_start(const struct raft_saved *saved, const uint64_t *entry_term, size_t entries)
{
    struct raft_options options = {.self = {1}, .election_ms = ELECTION_MS, .seed = 7};
    struct node node = {.now_ms = 1000};
    void *memory = malloc(raft_size());
    must(memory != NULL);
    memset(memory, 0xa5, raft_size()); /* the node may not lean on zeros */
    must(raft_init(memory, &options, saved, &node.raft) == 0);
    for (size_t i = 0; i < entries; i++)
        must(raft_restore_entry(node.raft, (raft_term){entry_term[i]}) == 0);
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
    memset(&node->out, 0xa5, sizeof(node->out)); /* it is written whole */
    raft_step(node->raft, &event, &node->out);
    raft_check(node->raft);
    must(node->out.verdicts.count <= RAFT_VERDICTS_MAX);
    must(node->out.apply.last.n + 1 >= node->out.apply.first.n);
    must(node->out.apply.last.n == raft_status(node->raft).commit.n);
}

void node_tick(struct node *node)
{
    node_step(node, (struct raft_event){.kind = RAFT_TICKED});
}

void node_propose(struct node *node, uint32_t count, uint64_t bytes)
{
    node_step(node, (struct raft_event){.kind = RAFT_PROPOSED,
                                        .proposed = {.count = count, .bytes = bytes}});
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

const struct raft_verdict *node_verdict(const struct node *node)
{
    must(node->out.verdicts.count == 1);
    return &node->out.verdicts.at[0];
}
