#include "raft/node/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <getopt.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>

#define ARGUMENTS_MAX 8

static char long_text[5000]; /* 4,999 times x */

/* What it complains of is of no interest in tables of complaints. */
static void be_silent(void)
{
    cr_assert(freopen("/dev/null", "w", stderr) != NULL);
}

static void setup(void)
{
    memset(long_text, 'x', sizeof(long_text) - 1);
}

TestSuite(config, .init = setup);

static enum config_result read_all(const char *const *arguments, struct config *ret_config)
{
    static char copy[ARGUMENTS_MAX][5100];
    char *argv[ARGUMENTS_MAX + 2] = {(char *)"rollcall-node"};
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++) {
        snprintf(copy[argc], sizeof(copy[argc]), "%s", arguments[argc - 1]);
        argv[argc] = copy[argc];
    }
    optind = 0; /* getopt begins anew */
    return config_read(argc, argv, ret_config);
}

static enum config_result read_one(const char *option, const char *value, struct config *ret_config)
{
    const char *const arguments[] = {option, value, NULL};
    return read_all(arguments, ret_config);
}

Test(config, has_defaults_for_everything)
{
    struct config config;
    cr_assert(eq(int, read_one(NULL, NULL, &config), CONFIG_RUN));
    cr_assert(eq(u64, config.id, 1));
    cr_assert(eq(str, (char *)config.cluster, "rollcall"));
    cr_assert(eq(u64, config.snapshot_entries, 100000));
    cr_assert(eq(u32, config.election_ms, 300));
    cr_assert(eq(u32, config.heartbeat_ms, 30));
    cr_assert(eq(str, (char *)config.pid_file, ""));
}

Test(config, takes_an_option_before_the_environment_before_the_default)
{
    struct config config;
    setenv("ROLLCALL_ID", "7", 1);
    setenv("ROLLCALL_DIR", "/somewhere", 1);
    cr_assert(eq(int, read_one(NULL, NULL, &config), CONFIG_RUN));
    cr_assert(eq(u64, config.id, 7));
    cr_assert(eq(str, (char *)config.dir, "/somewhere"));
    cr_assert(eq(int, read_one("--id", "9", &config), CONFIG_RUN));
    cr_assert(eq(u64, config.id, 9));
    cr_assert(eq(int, read_one("--id=10", NULL, &config), CONFIG_RUN));
    cr_assert(eq(u64, config.id, 10));
}

Test(config, takes_every_option_with_its_limits)
{
    static const struct {
        const char *option, *good, *least, *most;
    } rows[] = {
        {"--id", "3", "1", "4294967295"},
        {"--snapshot-entries", "5", "1", "4294967295"},
        {"--scrub-kib-per-s", "7", "0", "1048576"},
        {"--election-ms", "1000", "150", "60000"},
        {"--heartbeat-ms", "20", "1", "60"},
        {"--dir", "/x", "x", NULL},
        {"--socket", "/x", "x", NULL},
        {"--redis", "/x", "x", NULL},
        {"--cluster", "a-B_9.z", "a", NULL},
        {"--raft", "127.0.0.1:7001", "", NULL},
        {"--members", "1=127.0.0.1:7001", "", NULL},
        {"--members", "2=[::1]:7001,1=host.example:7001", "", NULL},
        {"--pid-file", "/x", "", NULL},
        {"--open-raft", "yes", "no", NULL},
    };
    struct config config;
    setenv("ROLLCALL_OPEN_RAFT", "yes", 1); /* "a:1" may be anywhere */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert(eq(int, read_one(rows[i].option, rows[i].good, &config), CONFIG_RUN), "%s",
                  rows[i].option);
        cr_assert(eq(int, read_one(rows[i].option, rows[i].least, &config), CONFIG_RUN), "%s",
                  rows[i].option);
        if (rows[i].most != NULL)
            cr_assert(eq(int, read_one(rows[i].option, rows[i].most, &config), CONFIG_RUN), "%s",
                      rows[i].option);
    }
}

Test(config, refuses_what_is_no_good_wherever_it_comes_from)
{
    be_silent();
    static const struct {
        const char *option, *environment, *value;
    } rows[] = {
        {"--id", "ROLLCALL_ID", "0"},
        {"--id", "ROLLCALL_ID", "4294967296"},
        {"--id", "ROLLCALL_ID", "99999999999999999999999"},
        {"--id", "ROLLCALL_ID", "-1"},
        {"--id", "ROLLCALL_ID", "+1"},
        {"--id", "ROLLCALL_ID", " 1"},
        {"--id", "ROLLCALL_ID", "1 "},
        {"--id", "ROLLCALL_ID", "1x"},
        {"--id", "ROLLCALL_ID", "0x10"},
        {"--id", "ROLLCALL_ID", "one"},
        {"--id", "ROLLCALL_ID", ""},
        {"--snapshot-entries", "ROLLCALL_SNAPSHOT_ENTRIES", "0"},
        {"--election-ms", "ROLLCALL_ELECTION_MS", "9"},
        {"--election-ms", "ROLLCALL_ELECTION_MS", "60001"},
        {"--election-ms", "ROLLCALL_ELECTION_MS", "149"},
        {"--heartbeat-ms", "ROLLCALL_HEARTBEAT_MS", "61"},
        {"--heartbeat-ms", "ROLLCALL_HEARTBEAT_MS", "6001"},
        {"--heartbeat-ms", "ROLLCALL_HEARTBEAT_MS", "0"},
        {"--dir", "ROLLCALL_DIR", ""},
        {"--dir", "ROLLCALL_DIR", long_text},
        {"--socket", "ROLLCALL_SOCKET", ""},
        {"--socket", "ROLLCALL_SOCKET", long_text},
        {"--redis", "ROLLCALL_REDIS", long_text},
        {"--cluster", "ROLLCALL_CLUSTER", ""},
        {"--cluster", "ROLLCALL_CLUSTER", "a b"},
        {"--cluster", "ROLLCALL_CLUSTER", "a:b"},
        {"--cluster", "ROLLCALL_CLUSTER", "Zo\xc3\xab"},
        {"--cluster", "ROLLCALL_CLUSTER", long_text},
        {"--members", "ROLLCALL_MEMBERS", "2=b:2"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,4711=b:2"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,2=a:1"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,2=b"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,2=b:0"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,2=b:65536"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,2=::1:7"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,2=:7"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,b:2"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,0=b:2"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,"},
        {"--members", "ROLLCALL_MEMBERS", ",4711=a:1"},
        {"--members", "ROLLCALL_MEMBERS", "4711=a:1,1=a:2,2=a:3,3=a:4,4=a:5,5=a:6,6=a:7,7=a:8"},
        {"--raft", "ROLLCALL_RAFT", "127.0.0.1"},
        {"--raft", "ROLLCALL_RAFT", "127.0.0.1:x"},
        {"--raft", "ROLLCALL_RAFT", "10.0.0.1:7000"},
        {"--raft", "ROLLCALL_RAFT", "0.0.0.0:7000"},
        {"--raft", "ROLLCALL_RAFT", "[::]:7000"},
        {"--raft", "ROLLCALL_RAFT", "[::ffff:10.0.0.1]:7000"},
        {"--raft", "ROLLCALL_RAFT", "127.example:7000"},
        {"--raft", "ROLLCALL_RAFT", "localhost.example:7000"},
        {"--open-raft", "ROLLCALL_OPEN_RAFT", "ja"},
        {"--pid-file", "ROLLCALL_PID_FILE", long_text},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config config = {.id = 4711};
        cr_assert(eq(int, read_one(rows[i].option, rows[i].value, &config), CONFIG_REFUSED),
                  "%s %s", rows[i].option, rows[i].value);
        setenv(rows[i].environment, rows[i].value, 1);
        cr_assert(eq(int, read_one(NULL, NULL, &config), CONFIG_REFUSED), "%s=%s",
                  rows[i].environment, rows[i].value);
        unsetenv(rows[i].environment);
        cr_assert(eq(u64, config.id, 4711), "untouched");
    }
}

/* The configuration was copied since: what it says must not lie in the copy's source. */
Test(config, finds_its_own_address_among_the_members_wherever_it_is_copied_to)
{
    struct config config, copy;
    cr_assert(eq(int, read_one("--members", "2=127.0.0.1:2,1=127.0.0.1:1", &config), CONFIG_RUN));
    copy = config;
    memset(&config, 'x', sizeof(config));
    cr_assert(eq(str, (char *)config_raft(&copy), "127.0.0.1:1"));
    cr_assert(config_raft(&copy) >= (char *)&copy && config_raft(&copy) < (char *)(&copy + 1));
}

Test(config, lets_a_loopback_address_be_and_any_other_when_it_is_told_to)
{
    static const char *const here[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1",
                                       "localhost:1", "LOCALHOST:1", "[::ffff:127.0.0.1]:1"};
    struct config config;
    for (size_t i = 0; i < ARRAY_LEN(here); i++)
        cr_assert(eq(int, read_one("--raft", here[i], &config), CONFIG_RUN), "%s", here[i]);
    setenv("ROLLCALL_OPEN_RAFT", "yes", 1);
    cr_assert(eq(int, read_one("--raft", "10.0.0.1:7000", &config), CONFIG_RUN));
}

Test(config, refuses_what_is_no_option)
{
    be_silent();
    static const char *const rows[] = {"--nonsense", "--id", "word", "-x", "--", "--version=1"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config config;
        bool fine = strcmp(rows[i], "--") == 0;
        cr_assert(eq(int, read_one(rows[i], NULL, &config), fine ? CONFIG_RUN : CONFIG_REFUSED),
                  "%s", rows[i]);
    }
}

Test(config, names_the_setting_its_value_and_what_is_wanted)
{
    cr_redirect_stderr();
    struct config config;
    cr_assert(eq(int, read_one("--election-ms", "5", &config), CONFIG_REFUSED));
    fflush(stderr);
    cr_assert_stderr_eq_str(
        "rollcall-node: --election-ms \"5\" is no good: wanted is a number from "
        "10 to 60000; see --help\n");
}

Test(config, names_the_variable_when_it_came_from_the_environment)
{
    cr_redirect_stderr();
    struct config config;
    setenv("ROLLCALL_ID", "x", 1);
    cr_assert(eq(int, read_one(NULL, NULL, &config), CONFIG_REFUSED));
    fflush(stderr);
    cr_assert_stderr_eq_str(
        "rollcall-node: ROLLCALL_ID \"x\" is no good: wanted is a number from 1 "
        "to 4294967295; see --help\n");
}

Test(config, shows_its_version_and_runs_nothing)
{
    cr_redirect_stdout();
    struct config config;
    cr_assert(eq(int, read_one("--version", NULL, &config), CONFIG_SHOWN));
    fflush(stdout);
    cr_assert_stdout_eq_str("rollcall-node " ROLLCALL_VERSION "\n");
}

/* More text than Criterion's redirection takes: it goes to a file. */
Test(config, shows_every_setting_in_its_help)
{
    static const char *const wanted[] = {
        "--id N",         "--dir DIR",      "--socket PATH",      "--redis PATH",
        "--cluster NAME", "--raft ADDR",    "--members",          "--pid-file PATH",
        "--election-ms",  "--heartbeat-ms", "--snapshot-entries", "ROLLCALL_SNAPSHOT_ENTRIES",
        "--help",         "--version",
    };
    struct config config;
    static char help[16384];
    FILE *file = tmpfile();
    cr_assert(file != NULL);
    int before = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    enum config_result result = read_one("--help", NULL, &config);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    cr_assert(eq(int, result, CONFIG_SHOWN));
    rewind(file);
    help[fread(help, 1, sizeof(help) - 1, file)] = '\0';
    fclose(file);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        cr_assert(strstr(help, wanted[i]) != NULL, "%s", wanted[i]);
}
