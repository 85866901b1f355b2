#include "tests/sim/queue.h"

#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void queue_done(struct queue *queue)
{
    free(queue->at);
    *queue = (struct queue){.count = 0};
}

void queue_push(struct queue *queue, struct sim_event event)
{
    if (queue->count == queue->room) {
        queue->room = queue->room == 0 ? 1024 : 2 * queue->room;
        queue->at = realloc(queue->at, queue->room * sizeof(*queue->at));
        assert(queue->at != NULL);
    }
    event.order = queue->orders++;
    size_t i = queue->count++;
    for (; i > 0 && before(&event, &queue->at[(i - 1) / 2]); i = (i - 1) / 2)
        queue->at[i] = queue->at[(i - 1) / 2];
    queue->at[i] = event;
}

const struct sim_event *queue_first(const struct queue *queue)
{
    return queue->count > 0 ? &queue->at[0] : NULL;
}

struct sim_event queue_pop(struct queue *queue)
{
    assert(queue->count > 0);
    struct sim_event first = queue->at[0], last = queue->at[--queue->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= queue->count)
            break;
        if (child + 1 < queue->count && before(&queue->at[child + 1], &queue->at[child]))
            child++;
        if (!before(&queue->at[child], &last))
            break;
        queue->at[i] = queue->at[child];
        i = child;
    }
    if (queue->count > 0)
        queue->at[i] = last;
    return first;
}
