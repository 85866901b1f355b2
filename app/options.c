#include "app/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define NODE_DEFAULT        "/run/rollcall/raft.sock"
#define DEADLINE_MS_DEFAULT 5000u
#define DEADLINE_MS_MAX     600000u
#define WORKERS_MAX         64u

static const char help[] =
    "Usage: rollcall-app [OPTION]...\n"
    "Rollcall's FastCGI worker: answers HTTP requests by asking the local rollcall-node.\n"
    "It is started with its listening socket as standard input, as spawn-fcgi does:\n"
    "\n"
    "    spawn-fcgi -s app.sock -- rollcall-app --workers 2 --node raft.sock\n"
    "\n"
    "  --node PATH         the node's unix socket (ROLLCALL_NODE; " NODE_DEFAULT ")\n"
    "  --deadline-ms N     how long a request may wait for the node, 1 to 600000\n"
    "                      (ROLLCALL_DEADLINE_MS; 5000)\n"
    "  --workers N         supervise N workers, starting again those that die; 0: be the\n"
    "                      worker, unsupervised (ROLLCALL_WORKERS; 0)\n"
    "  --pid-file PATH     keep the workers' process ids in this file, one a line\n"
    "                      (ROLLCALL_PID_FILE; none)\n"
    "  --tokens FILE       who may ask, a line each: SHA-256 of a token, role, name\n"
    "                      (ROLLCALL_TOKENS; none: everybody, on loopback alone)\n"
    "  --open-access       everybody may ask, at any address (ROLLCALL_OPEN_ACCESS=yes)\n"
    "  --help              print this\n"
    "  --version           print the version\n"
    "\n"
    "SIGTERM, SIGINT and SIGQUIT stop it: it accepts no more, answers what runs, and ends.\n"
    "SIGHUP has it read the tokens again; a file that is no good changes nothing. Any other\n"
    "signal is ignored with a line.\n";

static bool read_number(const char *name, const char *text, unsigned min, unsigned max,
                        unsigned *ret_value)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value < min || value > max) {
        fprintf(stderr, "rollcall-app: %s must be a number from %u to %u, not \"%s\"\n", name, min,
                max, text);
        return false;
    }
    *ret_value = (unsigned)value;
    return true;
}

static bool read_node(const char *name, const char *text, struct options *options)
{
    size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (*text == '\0' || strlen(text) > most) {
        fprintf(stderr, "rollcall-app: %s must be a path of 1 to %zu bytes\n", name, most);
        return false;
    }
    options->node = text;
    return true;
}

static bool read_path(const char *name, const char *text, const char **ret_path)
{
    if (*text == '\0') {
        fprintf(stderr, "rollcall-app: %s must be a path\n", name);
        return false;
    }
    *ret_path = text;
    return true;
}

/* Of the variable: the option has no value. */
static bool read_open_access(const char *name, const char *text, struct options *options)
{
    if (text != NULL && strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        fprintf(stderr, "rollcall-app: %s must be yes or no, not \"%s\"\n", name, text);
        return false;
    }
    options->open_access = text == NULL || strcmp(text, "yes") == 0;
    return true;
}

/* One setting by the letter of its option; `name` is what the operator called it. */
static bool read_setting(int letter, const char *name, const char *text, struct options *options)
{
    switch (letter) {
    case 'n':
        return read_node(name, text, options);
    case 'd':
        return read_number(name, text, 1, DEADLINE_MS_MAX, &options->deadline_ms);
    case 'w':
        return read_number(name, text, 0, WORKERS_MAX, &options->workers);
    case 'p':
        return read_path(name, text, &options->pid_file);
    case 't':
        return read_path(name, text, &options->tokens);
    case 'o':
        return read_open_access(name, text, options);
    default:
        UNREACHABLE();
    }
}

static bool read_environment(struct options *options)
{
    static const struct {
        int letter;
        const char *name;
    } variables[] = {
        {'n', "ROLLCALL_NODE"},     {'d', "ROLLCALL_DEADLINE_MS"}, {'w', "ROLLCALL_WORKERS"},
        {'p', "ROLLCALL_PID_FILE"}, {'t', "ROLLCALL_TOKENS"},      {'o', "ROLLCALL_OPEN_ACCESS"},
    };
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const char *text = getenv(variables[i].name);
        if (text != NULL && !read_setting(variables[i].letter, variables[i].name, text, options))
            return false;
    }
    return true;
}

enum options_verdict options_read(int argc, char **argv, struct options *ret_options)
{
    static const struct option known[] = {
        {"node", required_argument, NULL, 'n'},
        {"deadline-ms", required_argument, NULL, 'd'},
        {"workers", required_argument, NULL, 'w'},
        {"pid-file", required_argument, NULL, 'p'},
        {"tokens", required_argument, NULL, 't'},
        {"open-access", no_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.node = NODE_DEFAULT, .deadline_ms = DEADLINE_MS_DEFAULT};
    optind = 0; /* from the start, also when called again by a test */
    int letter, which = 0;
    if (!read_environment(&options))
        return OPTIONS_EXIT_2;
    while ((letter = getopt_long(argc, argv, "", known, &which)) != -1) {
        if (letter == 'h' || letter == 'v') {
            fputs(letter == 'h' ? help : "rollcall-app " ROLLCALL_VERSION "\n", stdout);
            return OPTIONS_EXIT_0;
        }
        char name[32];
        snprintf(name, sizeof(name), "--%s", known[which].name);
        if (letter == '?' || !read_setting(letter, name, optarg, &options))
            return OPTIONS_EXIT_2;
    }
    if (optind < argc) {
        fprintf(stderr, "rollcall-app: \"%s\" is no option; try --help\n", argv[optind]);
        return OPTIONS_EXIT_2;
    }
    if (options.tokens != NULL && options.open_access) {
        fprintf(stderr, "rollcall-app: either --tokens (ROLLCALL_TOKENS) says who may ask, or "
                        "--open-access (ROLLCALL_OPEN_ACCESS) that everybody may: not both\n");
        return OPTIONS_EXIT_2;
    }
    *ret_options = options;
    return OPTIONS_RUN;
}
