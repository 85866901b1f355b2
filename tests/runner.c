/*
 * Linked into every test binary. Criterion's own process, which only starts the tests' processes
 * and counts, leaks a few bytes when tests run side by side; under AddressSanitizer that would fail
 * a run in which all tests passed. The tests' processes are looked at as ever.
 */
#include <errno.h>
#include <string.h>

int __lsan_is_turned_off(void);

/* Asked by LeakSanitizer at exit. Criterion starts a test's process under this name. */
int __lsan_is_turned_off(void)
{
    return strcmp(program_invocation_short_name, "boxfort-worker") != 0;
}
