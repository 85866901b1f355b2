/*
 * What clients asked, when, and what they were told; and whether one directory, on which each
 * operation took effect at one moment between its question and its answer, could have told them so.
 *
 * Every enrolment has a name that no other has, so a user says which enrolment made it. An answered
 * enrolment has the place that its id is, a list of k users stands behind the k-th. That order of
 * places is the only one that explains what was seen; the history is linearizable when it
 * contradicts no clock: nothing ended before something began that has an earlier place. (Lists of
 * one length commute.) So the judgement is exact, and needs no search.
 */
#ifndef ROLLCALL_TESTS_E2E_HISTORY_H
#define ROLLCALL_TESTS_E2E_HISTORY_H

#include "raft/base/attr.h"

enum operation_kind { OPERATION_ENROL, OPERATION_LIST };

enum outcome {
    OUTCOME_UNKNOWN, /* 504, or no answer: perhaps done, perhaps not, perhaps later */
    OUTCOME_DONE,
    OUTCOME_REFUSED, /* 503: not done, ever */
};

/* A user in a list. */
struct listed {
    uint32_t id;
    uint32_t enrolment; /* the operation that asked for the name; none: HISTORY_STRANGER */
};

#define HISTORY_STRANGER UINT32_MAX

struct operation {
    enum operation_kind kind;
    enum outcome outcome;
    int64_t begin_ns, end_ns; /* sent; answered (nothing is read from end_ns when UNKNOWN) */
    union {
        uint64_t id; /* ENROL, DONE */
        struct {     /* LIST, DONE */
            const struct listed *at;
            uint32_t count;
        } list;
    };
};

/*
 * The last operation is the final list: DONE, and begun when every other had ended or been given up
 * for good. Returns how many breaches there are, and the first of them as text, a line each.
 */
NODISCARD long history_judge(const struct operation *operations, uint32_t count, char *ret_text,
                             size_t size);

#endif
