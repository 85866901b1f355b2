#include "tests/e2e/history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SHOWN_MAX 10
#define NOWHERE   0u

struct judge {
    const struct operation *operations;
    uint32_t count;
    const struct operation *final;
    uint32_t *place; /* of each enrolment in the final list, from 1; or NOWHERE */
    long breaches;
    char *text;
    size_t size, len;
};

PRINTF_LIKE(2, 3) static void breach(struct judge *judge, const char *format, ...)
{
    va_list arguments;
    int len;

    if (judge->breaches++ >= SHOWN_MAX)
        return;
    va_start(arguments, format);
    len = vsnprintf(judge->text + judge->len, judge->size - judge->len, format, arguments);
    va_end(arguments);
    judge->len += (size_t)len < judge->size - judge->len ? (size_t)len : 0;
}

/* --- the final list: dense, each user asked for, none refused, none twice --------------------- */

static void judge_final(struct judge *judge)
{
    for (uint32_t i = 0; i < judge->final->list.count; i++) {
        struct listed user = judge->final->list.at[i];

        if (user.id != i + 1)
            breach(judge, "ids are not dense: %" PRIu32 " stands at place %" PRIu32 "\n", user.id,
                   i + 1);
        if (user.enrolment >= judge->count ||
            judge->operations[user.enrolment].kind != OPERATION_ENROL) {
            breach(judge, "user %" PRIu32 " was never asked for\n", user.id);
            continue;
        }
        if (judge->place[user.enrolment] != NOWHERE)
            breach(judge,
                   "done twice: enrolment %" PRIu32 " made users %" PRIu32 " and %" PRIu32 "\n",
                   user.enrolment, judge->place[user.enrolment], user.id);
        else
            judge->place[user.enrolment] = i + 1;
    }
}

static void judge_enrolments(struct judge *judge)
{
    for (uint32_t i = 0; i < judge->count; i++) {
        const struct operation *enrolment = &judge->operations[i];

        if (enrolment->kind != OPERATION_ENROL)
            continue;
        if (enrolment->outcome == OUTCOME_REFUSED && judge->place[i] != NOWHERE)
            breach(judge,
                   "refused with 503, and yet done: enrolment %" PRIu32 " is user %" PRIu32 "\n", i,
                   judge->place[i]);
        if (enrolment->outcome != OUTCOME_DONE)
            continue;
        if (judge->place[i] == NOWHERE)
            breach(judge, "lost: enrolment %" PRIu32 ", acknowledged as user %" PRIu64 "\n", i,
                   enrolment->id);
        else if (judge->place[i] != enrolment->id)
            breach(judge,
                   "enrolment %" PRIu32 " was acknowledged as user %" PRIu64 " and is user %" PRIu32
                   "\n",
                   i, enrolment->id, judge->place[i]);
    }
}

/* Users are only ever added, and at the end: what any list showed is how the final one begins. */
static void judge_lists(struct judge *judge)
{
    for (uint32_t i = 0; i < judge->count; i++) {
        const struct operation *list = &judge->operations[i];

        if (list->kind != OPERATION_LIST || list->outcome != OUTCOME_DONE)
            continue;
        for (uint32_t k = 0; k < list->list.count; k++) {
            struct listed seen = list->list.at[k];

            if (k < judge->final->list.count && judge->final->list.at[k].id == seen.id &&
                judge->final->list.at[k].enrolment == seen.enrolment)
                continue;
            breach(judge,
                   "list %" PRIu32 " of %" PRIu32
                   " users is not how the final list begins: at place %" PRIu32
                   " it shows user %" PRIu32 " of enrolment %" PRIu32 "\n",
                   i, list->list.count, k + 1, seen.id, seen.enrolment);
            break;
        }
    }
}

/* --- the order of places against the clock ---------------------------------------------------- */

struct placed {
    uint64_t place; /* 2·id of an enrolment; of a list, 2·length + 1 */
    uint32_t operation;
    int64_t begin_ns, end_ns;
};

static int by_place(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;

    return (a->place > b->place) - (a->place < b->place);
}

static size_t give_places(const struct judge *judge, struct placed *ret_placed)
{
    size_t count = 0;

    for (uint32_t i = 0; i < judge->count; i++) {
        const struct operation *operation = &judge->operations[i];
        struct placed placed = {.operation = i, .begin_ns = operation->begin_ns};

        placed.end_ns = operation->outcome == OUTCOME_DONE ? operation->end_ns : INT64_MAX;
        if (operation->kind == OPERATION_ENROL && judge->place[i] != NOWHERE)
            placed.place = 2 * (uint64_t)judge->place[i];
        else if (operation->kind == OPERATION_LIST && operation->outcome == OUTCOME_DONE)
            placed.place = 2 * (uint64_t)operation->list.count + 1;
        else
            continue;
        ret_placed[count++] = placed;
    }
    return count;
}

static const char *name_of(const struct judge *judge, uint32_t operation)
{
    return judge->operations[operation].kind == OPERATION_ENROL ? "enrolment" : "list";
}

static void judge_order(struct judge *judge)
{
    struct placed *placed = calloc(judge->count, sizeof *placed);
    const struct placed *latest = NULL; /* of all earlier places, what began last */
    size_t count;

    assert(placed != NULL);
    count = give_places(judge, placed);
    qsort(placed, count, sizeof *placed, by_place);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first; end < count && placed[end].place == placed[first].place; end++) {
            if (latest != NULL && placed[end].end_ns < latest->begin_ns)
                breach(judge,
                       "%s %" PRIu32 " (place %.1f) had ended %.3f ms before %s %" PRIu32
                       " (place %.1f) began\n",
                       name_of(judge, placed[end].operation), placed[end].operation,
                       (double)placed[end].place / 2,
                       (double)(latest->begin_ns - placed[end].end_ns) / 1e6,
                       name_of(judge, latest->operation), latest->operation,
                       (double)latest->place / 2);
        }
        for (size_t i = first; i < end; i++)
            if (latest == NULL || placed[i].begin_ns > latest->begin_ns)
                latest = &placed[i];
    }
    free(placed);
}

long history_judge(const struct operation *operations, uint32_t count, char *ret_text, size_t size)
{
    struct judge judge = {.operations = operations, .count = count, .text = ret_text, .size = size};

    ret_text[0] = '\0';
    if (count == 0 || operations[count - 1].kind != OPERATION_LIST ||
        operations[count - 1].outcome != OUTCOME_DONE) {
        breach(&judge, "there is no final list\n");
        return judge.breaches;
    }
    judge.final = &operations[count - 1];
    judge.place = calloc(count, sizeof *judge.place);
    assert(judge.place != NULL);
    judge_final(&judge);
    judge_enrolments(&judge);
    judge_lists(&judge);
    judge_order(&judge);
    free(judge.place);
    return judge.breaches;
}
