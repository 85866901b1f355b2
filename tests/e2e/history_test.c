/*
 * The judge of histories is judged first: what it must let pass, and each thing it must not.
 */
#include "tests/e2e/history.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ENROLLED(from, to, number)                                                            \
    {                                                                                         \
        .kind = OPERATION_ENROL, .outcome = OUTCOME_DONE, .begin_ns = (from), .end_ns = (to), \
        .id = (number)                                                                        \
    }
#define REFUSED(from, to)                                                                       \
    {                                                                                           \
        .kind = OPERATION_ENROL, .outcome = OUTCOME_REFUSED, .begin_ns = (from), .end_ns = (to) \
    }
#define UNKNOWN(from)                                                           \
    {                                                                           \
        .kind = OPERATION_ENROL, .outcome = OUTCOME_UNKNOWN, .begin_ns = (from) \
    }
/* The users of a list: {id, enrolment}, … */
#define LIST(from, to, ...)                                                                  \
    {                                                                                        \
        .kind = OPERATION_LIST, .outcome = OUTCOME_DONE, .begin_ns = (from), .end_ns = (to), \
        .list = {                                                                            \
            (const struct listed[]){__VA_ARGS__},                                            \
            sizeof((struct listed[]){__VA_ARGS__}) / sizeof(struct listed)                   \
        }                                                                                    \
    }
#define EMPTY_LIST(from, to)                                                                \
    {                                                                                       \
        .kind = OPERATION_LIST, .outcome = OUTCOME_DONE, .begin_ns = (from), .end_ns = (to) \
    }

#define EXPECT_SOUND(...)                                                                    \
    do {                                                                                     \
        const struct operation history[] = {__VA_ARGS__};                                    \
        char text[2048];                                                                     \
        cr_expect_eq(history_judge(history, ARRAY_LEN(history), text, sizeof text), 0, "%s", \
                     text);                                                                  \
    } while (0)

#define EXPECT_BREACH(what, ...)                                                        \
    do {                                                                                \
        const struct operation history[] = {__VA_ARGS__};                               \
        char text[2048];                                                                \
        cr_expect_gt(history_judge(history, ARRAY_LEN(history), text, sizeof text), 0); \
        cr_expect_not_null(strstr(text, what), "says\n%sand not: %s", text, what);      \
    } while (0)

Test(history, one_after_the_other_is_sound)
{
    EXPECT_SOUND(EMPTY_LIST(0, 9));
    EXPECT_SOUND(ENROLLED(0, 10, 1), LIST(11, 12, {1, 0}), ENROLLED(20, 30, 2),
                 LIST(90, 99, {1, 0}, {2, 2}));
}

Test(history, what_overlaps_may_take_effect_in_either_order)
{
    EXPECT_SOUND(ENROLLED(0, 10, 2), ENROLLED(5, 15, 1), LIST(90, 99, {1, 1}, {2, 0}));
    EXPECT_SOUND(ENROLLED(0, 10, 1), EMPTY_LIST(1, 11), LIST(2, 9, {1, 0}), LIST(90, 99, {1, 0}));
    /* The list of one was answered first, and the empty one asked before that. */
    EXPECT_SOUND(ENROLLED(0, 50, 1), LIST(20, 30, {1, 0}), EMPTY_LIST(25, 40),
                 LIST(90, 99, {1, 0}));
}

Test(history, an_unknown_outcome_may_show_or_not_and_late)
{
    EXPECT_SOUND(UNKNOWN(0), ENROLLED(10, 20, 1), LIST(90, 99, {1, 1}));
    EXPECT_SOUND(UNKNOWN(0), ENROLLED(10, 20, 1), LIST(30, 31, {1, 1}),
                 LIST(90, 99, {1, 1}, {2, 0}));
    EXPECT_SOUND(UNKNOWN(0), ENROLLED(10, 20, 2), LIST(90, 99, {1, 0}, {2, 1}));
}

Test(history, a_refused_enrolment_leaves_no_trace)
{
    EXPECT_SOUND(REFUSED(0, 10), LIST(90, 99));
    EXPECT_BREACH("refused with 503, and yet done", REFUSED(0, 10), LIST(90, 99, {1, 0}));
}

Test(history, a_lost_user_is_noticed)
{
    EXPECT_BREACH("lost: enrolment 0", ENROLLED(0, 10, 1), EMPTY_LIST(90, 99));
    EXPECT_BREACH("lost: enrolment 0", ENROLLED(0, 10, 1), ENROLLED(20, 30, 1),
                  LIST(90, 99, {1, 1}));
}

Test(history, what_was_done_twice_is_noticed)
{
    EXPECT_BREACH("done twice", ENROLLED(0, 10, 1), LIST(90, 99, {1, 0}, {2, 0}));
    EXPECT_BREACH("done twice", UNKNOWN(0), LIST(90, 99, {1, 0}, {2, 0}));
}

Test(history, an_id_given_twice_or_another_than_said_is_noticed)
{
    EXPECT_BREACH("acknowledged as user 1 and is user 2", ENROLLED(0, 10, 1), ENROLLED(5, 15, 1),
                  LIST(90, 99, {1, 1}, {2, 0}));
}

Test(history, holes_and_strangers_are_noticed)
{
    EXPECT_BREACH("not dense", ENROLLED(0, 10, 2), LIST(90, 99, {2, 0}));
    EXPECT_BREACH("never asked for", ENROLLED(0, 10, 1),
                  LIST(90, 99, {1, 0}, {2, HISTORY_STRANGER}));
    EXPECT_BREACH("never asked for", ENROLLED(0, 10, 1), EMPTY_LIST(0, 1),
                  LIST(90, 99, {1, 0}, {2, 1}));
}

Test(history, a_list_that_is_no_beginning_of_the_final_one_is_noticed)
{
    EXPECT_BREACH("list 2 of 1 users is not how the final list begins", ENROLLED(0, 10, 1),
                  ENROLLED(0, 10, 2), LIST(5, 15, {2, 1}), LIST(90, 99, {1, 0}, {2, 1}));
    /* A user who was seen and is gone: an entry that was read and never committed. */
    EXPECT_BREACH("list 1", UNKNOWN(0), LIST(5, 15, {1, 0}), EMPTY_LIST(90, 99));
}

Test(history, a_list_older_than_an_acknowledgement_is_noticed)
{
    EXPECT_BREACH("enrolment 1 (place 1.0) had ended", EMPTY_LIST(90, 95), ENROLLED(0, 10, 1),
                  LIST(96, 99, {1, 1}));
    EXPECT_BREACH("had ended 0.000 ms before list 1", ENROLLED(0, 10, 1), EMPTY_LIST(11, 20),
                  LIST(96, 99, {1, 0}));
}

Test(history, a_list_that_goes_back_is_noticed)
{
    /* The enrolment overlaps both lists, yet the second list may not unsee it. */
    EXPECT_BREACH("list 1 (place 1.5) had ended", ENROLLED(0, 50, 1), LIST(5, 10, {1, 0}),
                  EMPTY_LIST(20, 30), LIST(96, 99, {1, 0}));
    EXPECT_BREACH("list 1 (place 1.5) had ended", UNKNOWN(0), LIST(5, 10, {1, 0}),
                  EMPTY_LIST(20, 30), LIST(96, 99, {1, 0}));
}

Test(history, a_list_that_sees_the_future_is_noticed)
{
    EXPECT_BREACH("list 0 (place 1.5) had ended", LIST(0, 10, {1, 1}), ENROLLED(20, 30, 1),
                  LIST(96, 99, {1, 1}));
}

Test(history, ids_against_the_clock_are_noticed)
{
    EXPECT_BREACH("enrolment 0 (place 2.0) had ended", ENROLLED(0, 10, 2), ENROLLED(20, 30, 1),
                  LIST(96, 99, {1, 1}, {2, 0}));
    EXPECT_BREACH("enrolment 0 (place 2.0) had ended", ENROLLED(0, 10, 2), UNKNOWN(20),
                  LIST(96, 99, {1, 1}, {2, 0}));
}

Test(history, without_a_final_list_nothing_is_sound)
{
    EXPECT_BREACH("no final list", ENROLLED(0, 10, 1));
    EXPECT_BREACH("no final list", ENROLLED(0, 10, 1),
                  {.kind = OPERATION_LIST, .outcome = OUTCOME_UNKNOWN, .begin_ns = 90});
}

/* --- a real order, with clocks around it: always sound; two of its answers exchanged: never
 * -------
 */

enum { OPERATIONS = 200 };

struct made {
    struct operation operations[OPERATIONS + 1];
    struct listed users[OPERATIONS];
    uint32_t users_count;
};

/* Each operation takes effect at 100·(its number), within an interval that may reach far. */
static void make_history(unsigned *seed, struct made *ret_made)
{
    struct made *made = ret_made;

    made->users_count = 0;
    for (uint32_t i = 0; i <= OPERATIONS; i++) {
        struct operation *operation = &made->operations[i];
        bool last = i == OPERATIONS;

        *operation = (struct operation){
            .kind = last || rand_r(seed) % 3 == 0 ? OPERATION_LIST : OPERATION_ENROL,
            .outcome = OUTCOME_DONE,
            .begin_ns = (int64_t)i * 100 - (last ? 0 : rand_r(seed) % 1500),
            .end_ns = (int64_t)i * 100 + rand_r(seed) % 1500,
        };
        if (operation->kind == OPERATION_LIST) {
            operation->list.at = made->users;
            operation->list.count = made->users_count;
            continue;
        }
        if (rand_r(seed) % 10 == 0) {
            operation->outcome = rand_r(seed) % 2 ? OUTCOME_REFUSED : OUTCOME_UNKNOWN;
            if (operation->outcome == OUTCOME_REFUSED || rand_r(seed) % 2)
                continue;
        }
        made->users[made->users_count] = (struct listed){made->users_count + 1, i};
        operation->id = ++made->users_count;
    }
}

Test(history, any_history_with_a_real_order_is_sound_and_a_stale_list_in_it_is_not)
{
    unsigned seed = 1;
    int stale = 0;

    for (int round = 0; round < 500; round++) {
        struct made made;
        char text[2048];
        struct operation *list = &made.operations[OPERATIONS - 1];

        make_history(&seed, &made);
        cr_assert_eq(history_judge(made.operations, OPERATIONS + 1, text, sizeof text), 0,
                     "round %d: %s", round, text);
        if (list->kind != OPERATION_LIST)
            continue;
        /* It began after the first half had ended, and shows less than that. */
        list->list.count = made.users_count / 4;
        cr_assert_gt(history_judge(made.operations, OPERATIONS + 1, text, sizeof text), 0);
        stale++;
    }
    cr_expect_gt(stale, 50);
}
