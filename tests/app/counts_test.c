#include "app/counts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct counts *counts_of(unsigned slots)
{
    struct counts *counts = NULL;
    cr_assert(eq(int, counts_new(slots, &counts), 0));
    return counts;
}

static void request(struct counts_slot *slot, unsigned route, unsigned status, uint64_t took_ns)
{
    counts_begin(slot);
    counts_end(slot, &(struct counts_request){
                         .route = route, .method = 1, .status = status, .took_ns = took_ns});
}

/* Of route and method 1. */
static uint64_t requests_of(const struct counts *counts, unsigned route, const char *status)
{
    for (unsigned i = 0; counts_status_text(i) != NULL; i++)
        if (strcmp(counts_status_text(i), status) == 0)
            return counts_requests(counts, route, 1, i);
    return UINT64_MAX;
}

/* By the parent: a worker that dies before it counts anything has started, too. */
Test(counts, of_starts_do_not_wait_for_the_worker)
{
    struct counts *counts = counts_of(3);
    counts_starting(counts, 0);
    counts_starting(counts, 2);
    counts_starting(counts, 2);
    cr_expect(eq(u64, counts_starts(counts), 3));
    (void)counts_start(counts, 2);
    cr_expect(eq(u64, counts_starts(counts), 3));
    counts_not_started(counts, 2);
    cr_expect(eq(u64, counts_starts(counts), 2));
    counts_free(counts);
}

Test(counts, are_added_up_over_all_slots)
{
    struct counts *counts = counts_of(3);
    struct counts_slot *first = counts_start(counts, 0), *last = counts_start(counts, 2);
    request(first, 2, 200, 1000);
    request(first, 2, 503, 1000);
    request(last, 2, 200, 3000000);
    request(last, 3, 200, 1000);
    counts_begin(last);
    cr_expect(eq(u64, requests_of(counts, 2, "200"), 2));
    cr_expect(eq(u64, requests_of(counts, 2, "503"), 1));
    cr_expect(eq(u64, requests_of(counts, 3, "200"), 1));
    cr_expect(eq(u64, requests_of(counts, 3, "404"), 0));
    cr_expect(eq(u64, counts_running(counts), 1));
    struct histogram durations;
    cr_assert(counts_durations(counts, 2, 1, 2, &durations));
    cr_expect(eq(u64, durations.sum_ns, 3001000));
    cr_expect(eq(u64, durations.count[0], 1));
    cr_expect(eq(u64, durations.count[histogram_place(3000000)], 1));
    cr_assert(counts_durations(counts, 2, 1, 5, &durations));
    cr_expect(eq(u64, durations.sum_ns, 1000));
    cr_expect(not(counts_durations(counts, 2, 1, 4, &durations)));
    cr_expect(not(counts_durations(counts, 2, 0, 2, &durations)));
    counts_free(counts);
}

Test(counts, of_a_worker_that_died_go_on_and_what_it_had_begun_does_not)
{
    struct counts *counts = counts_of(1);
    for (int life = 1; life <= 3; life++) {
        counts_starting(counts, 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct counts_slot *slot = counts_start(counts, 0);
            for (int i = 0; i < 100; i++)
                request(slot, 1, 201, 1000);
            counts_begin(slot);
            _exit(0);
        }
        int status;
        cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
        cr_expect(eq(u64, requests_of(counts, 1, "201"), 100 * (uint64_t)life));
        cr_expect(eq(u64, counts_starts(counts), (uint64_t)life));
        cr_expect(eq(u64, counts_running(counts), 1)); /* of the last */
    }
    counts_free(counts);
}

Test(counts, have_a_place_for_whatever_status_there_is)
{
    struct counts *counts = counts_of(1);
    struct counts_slot *slot = counts_start(counts, 0);
    for (unsigned status = 100; status < 600; status++)
        request(slot, 1, status, 1000);
    request(slot, 1, COUNTS_CUT, 1000);
    cr_expect(eq(u64, requests_of(counts, 1, "cut"), 1));
    uint64_t all = 0;
    unsigned places = 0;
    for (; counts_status_text(places) != NULL; places++)
        all += counts_requests(counts, 1, 1, places);
    cr_expect(eq(u64, all, 501));
    cr_expect(eq(u64, requests_of(counts, 1, "other"), 501 - (places - 1)));
    static const char *const classes[] = {"cut", "1xx", "2xx", "3xx", "4xx", "5xx"};
    for (unsigned i = 0; i < COUNTS_CLASSES; i++) {
        struct histogram durations;
        cr_expect(eq(str, (char *)counts_class_text(i), (char *)classes[i]));
        cr_assert(counts_durations(counts, 1, 1, i, &durations));
        cr_expect(eq(u64, durations.count[0], i == 0 ? 1 : 100));
    }
    counts_free(counts);
}
