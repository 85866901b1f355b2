#include "tests/sim/story.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print(const struct story_event *event)
{
    char node[16] = "";
    if (event->node > 0)
        snprintf(node, sizeof(node), "node %" PRIu32, event->node);
    fprintf(stderr, "%6" PRIu64 ".%06" PRIu64 "  %-7s ", event->at_us / 1000000,
            event->at_us % 1000000, node);
    uint32_t next = 0;
    for (const char *c = event->text; *c != '\0'; c++) {
        if (*c == '%' && next < 4)
            fprintf(stderr, "%" PRIu64, event->number[next++]);
        else
            fputc(*c, stderr);
    }
    fputc('\n', stderr);
}

void story_tell(struct story *story, uint64_t at_us, uint32_t node, const char *text,
                const uint64_t number[4])
{
    struct story_event *event = &story->event[story->told++ % STORY_EVENTS];
    event->at_us = at_us;
    event->node = node;
    event->text = text;
    memcpy(event->number, number, sizeof(event->number));
    if (story->aloud)
        print(event);
}

void story_print(const struct story *story, uint64_t count)
{
    if (count > STORY_EVENTS)
        count = STORY_EVENTS;
    uint64_t from = story->told > count ? story->told - count : 0;
    for (uint64_t i = from; i < story->told; i++)
        print(&story->event[i % STORY_EVENTS]);
}
