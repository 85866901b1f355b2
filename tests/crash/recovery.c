#include "tests/crash/recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct recovery *recovery_new(void)
{
    struct recovery *recovery = calloc(1, sizeof(*recovery));
    assert(recovery != NULL);
    recovery->trace = calloc(1, sizeof(*recovery->trace));
    assert(recovery->trace != NULL);
    return recovery;
}

void recovery_free(struct recovery *recovery)
{
    trace_free(recovery->trace);
    free(recovery);
}

static bool complain(struct recovery *recovery, const char *what)
{
    snprintf(recovery->stage.why, sizeof(recovery->stage.why), "%s", what);
    return false;
}

bool recovery_try(struct recovery *recovery, const struct image *state,
                  const struct promise *promise, uint32_t segment_bytes, bool alone, bool recording)
{
    struct stage *stage = &recovery->stage;
    struct trace *trace = recovery->trace;
    trace_start(trace, state, recording);
    trace->promise = *promise;
    stage->stamps = 1u << 20; /* not those of any entry before */
    if (!stage_recover(stage, trace, &recovery->history, segment_bytes, alone))
        return false;
    trace_finish_all(trace);
    stage_vote(stage, stage->term + 1, true, 1);
    stage_append(stage, 1, segment_bytes / 2 - 200); /* where little is left: in the next segment */
    stage_flush(stage);
    stage_append(stage, 1, 100);
    stage_flush(stage);
    if (stage->failed)
        return complain(recovery, "writing to it failed");
    if (trace->promise.facts != recovery->history.facts)
        return complain(recovery, "what was written to it was never called durable");
    stage_close(stage);

    /* The trace ends here, with what was promised here. */
    trace->recording = false;
    if (!stage_recover(stage, trace, &recovery->history, segment_bytes, alone))
        return false;
    stage_close(stage);
    return true;
}
