/* Linked into every test binary of Criterion's. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <criterion/internal/ordered-set.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A test's own clock is there for a hang, and for nothing else: how fast the machine is, nobody
 * knows. */
#define HANGS_AFTER_SECONDS 600.0

int __lsan_is_turned_off(void);

/*
 * Criterion's own process, which only starts the tests' processes and counts, leaks a few bytes
 * when tests run side by side; under AddressSanitizer that would fail a run in which all tests
 * passed. The tests' processes are looked at as ever. Asked by LeakSanitizer at exit. Criterion
 * starts a test's process under this name.
 */
int __lsan_is_turned_off(void)
{
    return strcmp(program_invocation_short_name, "boxfort-worker") != 0;
}

ReportHook(PRE_ALL)(struct criterion_test_set *all)
{
    FOREACH_SET(struct criterion_suite_set * suite, all->suites)
    {
        FOREACH_SET(struct criterion_test * test, suite->tests)
        {
            if (test->data->timeout < HANGS_AFTER_SECONDS)
                test->data->timeout = HANGS_AFTER_SECONDS;
        }
    }
}

Test(runner, gives_a_test_more_time_than_it_says_it_needs, .timeout = 0.1)
{
    usleep(500 * 1000);
}
