#include "app/options.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>

static enum options_verdict read_from(char *const *arguments, struct options *ret_options)
{
    char *argv[16] = {"rollcall-app"};
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = arguments[argc - 1];
    return options_read(argc, argv, ret_options);
}

#define ARGUMENTS(...) ((char *[]){__VA_ARGS__, NULL})

static void clear_environment(void)
{
    unsetenv("ROLLCALL_NODE");
    unsetenv("ROLLCALL_DEADLINE_MS");
    unsetenv("ROLLCALL_WORKERS");
    unsetenv("ROLLCALL_PID_FILE");
    unsetenv("ROLLCALL_TOKENS");
    unsetenv("ROLLCALL_OPEN_ACCESS");
    cr_redirect_stderr();
    cr_redirect_stdout();
}

TestSuite(options, .init = clear_environment);

Test(options, have_the_defaults_that_help_tells)
{
    struct options options;
    cr_assert(eq(int, read_from(ARGUMENTS(NULL), &options), OPTIONS_RUN));
    cr_assert(eq(str, (char *)options.node, "/run/rollcall/raft.sock"));
    cr_assert(eq(uint, options.deadline_ms, 5000));
    cr_assert(eq(uint, options.workers, 0));
    cr_assert(options.pid_file == NULL);
    cr_assert(options.tokens == NULL);
    cr_assert(not(options.open_access));
}

Test(options, win_over_the_environment)
{
    setenv("ROLLCALL_NODE", "/from/environment", 1);
    setenv("ROLLCALL_DEADLINE_MS", "100", 1);
    setenv("ROLLCALL_WORKERS", "3", 1);
    setenv("ROLLCALL_PID_FILE", "/pids", 1);
    struct options options;
    char *const *arguments = ARGUMENTS("--node", "/from/option", "--workers=2");
    cr_assert(eq(int, read_from(arguments, &options), OPTIONS_RUN));
    cr_assert(eq(str, (char *)options.node, "/from/option"));
    cr_assert(eq(uint, options.workers, 2));
    cr_assert(eq(uint, options.deadline_ms, 100));
    cr_assert(eq(str, (char *)options.pid_file, "/pids"));
}

Test(options, that_are_bad_are_refused)
{
    static char *const rows[][2] = {
        {"--deadline-ms", "0"},
        {"--deadline-ms", "600001"},
        {"--deadline-ms", "-1"},
        {"--deadline-ms", " 1"},
        {"--deadline-ms", "1s"},
        {"--deadline-ms", ""},
        {"--deadline-ms", "99999999999999999999"},
        {"--workers", "65"},
        {"--workers", "two"},
        {"--node", ""},
        {"--pid-file", ""},
        {"--tokens", ""},
        {"--tokens=/tokens", "--open-access"},
        {"--open-access=no", NULL},
        {"--nonsense", "1"},
        {"extra", NULL},
        {"--node", NULL},
        {"-w", "1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct options options = {.node = "untouched"};
        cr_expect(eq(int, read_from(ARGUMENTS(rows[i][0], rows[i][1]), &options), OPTIONS_EXIT_2),
                  "%s %s", rows[i][0], rows[i][1]);
        cr_expect(eq(str, (char *)options.node, "untouched"));
    }
    char path[200];
    memset(path, 'x', sizeof(path));
    path[108] = '\0'; /* one more than a socket's path can have, with its NUL */
    struct options options;
    cr_assert(eq(int, read_from(ARGUMENTS("--node", path), &options), OPTIONS_EXIT_2));
    path[107] = '\0';
    cr_assert(eq(int, read_from(ARGUMENTS("--node", path), &options), OPTIONS_RUN));
}

Test(options, that_are_bad_in_the_environment_are_refused)
{
    struct options options;
    setenv("ROLLCALL_WORKERS", "many", 1);
    cr_assert(eq(int, read_from(ARGUMENTS(NULL), &options), OPTIONS_EXIT_2));
    fflush(stderr);
    cr_assert_stderr_eq_str(
        "rollcall-app: ROLLCALL_WORKERS must be a number from 0 to 64, not \"many\"\n");
}

Test(options, say_who_may_ask)
{
    struct options options;
    setenv("ROLLCALL_TOKENS", "/tokens", 1);
    setenv("ROLLCALL_OPEN_ACCESS", "no", 1);
    cr_assert(eq(int, read_from(ARGUMENTS(NULL), &options), OPTIONS_RUN));
    cr_assert(eq(str, (char *)options.tokens, "/tokens"));
    cr_assert(not(options.open_access));
    unsetenv("ROLLCALL_TOKENS");
    cr_assert(eq(int, read_from(ARGUMENTS("--open-access"), &options), OPTIONS_RUN));
    cr_assert(options.open_access);
    setenv("ROLLCALL_OPEN_ACCESS", "yes", 1);
    cr_assert(eq(int, read_from(ARGUMENTS(NULL), &options), OPTIONS_RUN));
    cr_assert(options.open_access);
    static const char *const words[] = {"", "1", "true", "YES"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        setenv("ROLLCALL_OPEN_ACCESS", words[i], 1);
        cr_expect(eq(int, read_from(ARGUMENTS(NULL), &options), OPTIONS_EXIT_2));
    }
}

Test(options, help_and_version_end_well)
{
    struct options options;
    cr_assert(eq(int, read_from(ARGUMENTS("--help"), &options), OPTIONS_EXIT_0));
    cr_assert(eq(int, read_from(ARGUMENTS("--version"), &options), OPTIONS_EXIT_0));
}
