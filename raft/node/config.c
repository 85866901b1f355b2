#include "raft/node/config.h"

#include "raft/node/peers.h"

#include "raft/node/diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

enum setting_kind { TEXT, NUMBER, NUMBER_32 };

struct setting {
    const char *option;
    const char *environment;
    const char *argument;
    const char *standard; /* the default */
    const char *help;
    enum setting_kind kind;
    size_t place; /* in struct config */
    uint64_t min, max;
};

#define PLACE(member) offsetof(struct config, member)

static const struct setting settings[] = {
    {"id", "ROLLCALL_ID", "N", "1", "number of this node in its cluster", NUMBER, PLACE(id), 1,
     UINT32_MAX},
    {"dir", "ROLLCALL_DIR", "DIR", "/var/lib/rollcall/wal", "directory of the log; made if need be",
     TEXT, PLACE(dir), 1, 4000},
    {"socket", "ROLLCALL_SOCKET", "PATH", "/run/rollcall/raft.sock", "where workers call", TEXT,
     PLACE(socket), 1, sizeof(((struct sockaddr_un *)0)->sun_path) - 1},
    {"redis", "ROLLCALL_REDIS", "PATH", "/run/rollcall/redis.sock", "unix socket of Redis", TEXT,
     PLACE(redis), 1, sizeof(((struct sockaddr_un *)0)->sun_path) - 1},
    {"cluster", "ROLLCALL_CLUSTER", "NAME", "rollcall", "name of the cluster", TEXT, PLACE(cluster),
     1, CONFIG_CLUSTER_BYTES_MAX},
    {"raft", "ROLLCALL_RAFT", "ADDR:PORT", "", "where other nodes call; empty: as in --members",
     TEXT, PLACE(raft), 0, 255},
    {"open-raft", "ROLLCALL_OPEN_RAFT", "yes|no", "no",
     "whether others than this machine may reach --raft", TEXT, PLACE(open_raft), 1, 3},
    {"members", "ROLLCALL_MEMBERS", "1=ADDR:PORT,…", "",
     "all nodes of the cluster; empty: this one", TEXT, PLACE(members), 0, 4000},
    {"pid-file", "ROLLCALL_PID_FILE", "PATH", "", "written at start, removed at stop", TEXT,
     PLACE(pid_file), 0, 4000},
    {"snapshot-entries", "ROLLCALL_SNAPSHOT_ENTRIES", "N", "100000",
     "log entries between snapshots", NUMBER, PLACE(snapshot_entries), 1, UINT32_MAX},
    {"scrub-kib-per-s", "ROLLCALL_SCRUB_KIB_PER_S", "N", "2048",
     "of the log, read through for damage; 0: not", NUMBER_32, PLACE(scrub_kib_per_s), 0, 1 << 20},
    {"election-ms", "ROLLCALL_ELECTION_MS", "MS", "300", "silence of a leader before an election",
     NUMBER_32, PLACE(election_ms), 10, 60000},
    {"heartbeat-ms", "ROLLCALL_HEARTBEAT_MS", "MS", "30", "a leader is heard at least so often",
     NUMBER_32, PLACE(heartbeat_ms), 1, 6000},
};

static void show_help(void)
{
    printf("rollcall-node: one node of a replicated user directory\n\n"
           "usage: rollcall-node [OPTION]…\n\n");
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        char left[64];
        snprintf(left, sizeof(left), "--%s %s", s->option, s->argument);
        printf("  %-28s %s\n  %-28s   (%s, default \"%s\")\n", left, s->help, "", s->environment,
               s->standard);
    }
    printf("  %-28s %s\n  %-28s %s\n\n"
           "Runs in the foreground until SIGTERM, SIGINT or SIGQUIT. SIGUSR1 asks for a snapshot\n"
           "now; other signals that would end it are ignored, each with a line.\n"
           "Diagnostics go to stderr, one fact a line.\n",
           "--help", "show this", "--version", "show the version");
}

static bool refuse(const struct setting *setting, const char *from, const char *value,
                   const char *wanted)
{
    fprintf(stderr, "rollcall-node: %s%s \"%s\" is no good: %s; see --help\n",
            from == setting->option ? "--" : "", from, value, wanted);
    return false;
}

static bool set_number(const struct setting *setting, const char *from, const char *value,
                       struct config *config)
{
    char wanted[96];
    char *end;
    snprintf(wanted, sizeof(wanted), "wanted is a number from %" PRIu64 " to %" PRIu64,
             setting->min, setting->max);
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    bool digits = value[0] >= '0' && value[0] <= '9' && *end == '\0';
    if (!digits || errno != 0 || number < setting->min || number > setting->max)
        return refuse(setting, from, value, wanted);
    char *place = (char *)config + setting->place;
    if (setting->kind == NUMBER) {
        uint64_t wide = number;
        memcpy(place, &wide, sizeof(wide));
    } else {
        uint32_t narrow = (uint32_t)number;
        memcpy(place, &narrow, sizeof(narrow));
    }
    return true;
}

static bool set(const struct setting *setting, const char *from, const char *value,
                struct config *config)
{
    if (setting->kind != TEXT)
        return set_number(setting, from, value, config);
    char wanted[96];
    snprintf(wanted, sizeof(wanted), "wanted are %" PRIu64 " to %" PRIu64 " bytes", setting->min,
             setting->max);
    size_t len = strlen(value);
    if (len < setting->min || len > setting->max)
        return refuse(setting, from, value, wanted);
    memcpy((char *)config + setting->place, &value, sizeof(value));
    return true;
}

static bool refuse_members(const struct config *config, const char *why)
{
    fprintf(stderr,
            "rollcall-node: --members \"%s\" is no good: %s; wanted is 1=ADDR:PORT,2=ADDR:PORT …\n",
            config->members, why);
    return false;
}

/* One "ID=ADDR:PORT" of `len` bytes. */
static const char *read_member(struct config *config, const char *text, size_t len)
{
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    char *end;
    if (config->member_count == CONFIG_MEMBERS_MAX)
        return "at most 7 nodes make a cluster";
    struct config_member *member = &config->member[config->member_count];
    unsigned long long id = strtoull(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end != '=' || id > UINT32_MAX)
        return "an id is missing, or is not a number from 1 to 4294967295";
    size_t address_len = len - (size_t)(end + 1 - text);
    if (address_len >= sizeof(member->address))
        return "an address is too long";
    memcpy(member->address, end + 1, address_len);
    member->address[address_len] = '\0';
    member->id = id;
    if (peers_address(member->address, host, &port) != 0)
        return "an address is missing, or is not ADDR:PORT";
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (config->member[i].id == id)
            return "an id is there twice";
        if (strcmp(config->member[i].address, member->address) == 0)
            return "an address is there twice";
    }
    config->member_count++;
    return NULL;
}

static bool read_members(struct config *config)
{
    const char *text = config->members;
    bool self = text[0] == '\0';
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        const char *why = read_member(config, text, len);
        if (why != NULL)
            return refuse_members(config, why);
        self = self || config->member[config->member_count - 1].id == config->id;
        text += len;
        if (*text == ',' && *++text == '\0')
            return refuse_members(config, "it ends with a comma");
    }
    if (!self)
        return refuse_members(config, "it does not name this node (--id)");
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    if (config->raft[0] != '\0' && peers_address(config->raft, host, &port) != 0) {
        fprintf(stderr, "rollcall-node: --raft \"%s\" is no good: wanted is ADDR:PORT\n",
                config->raft);
        return false;
    }
    return true;
}

const char *config_raft(const struct config *config)
{
    if (config->raft[0] != '\0')
        return config->raft;
    for (uint32_t i = 0; i < config->member_count; i++) {
        if (config->member[i].id == config->id)
            return config->member[i].address;
    }
    return "";
}

bool config_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return strcasecmp(host, "localhost") == 0;
}

/* Whoever reaches the address for peers can be one: nothing proves yet who calls. */
static bool judge_raft(const struct config *config)
{
    char host[PEERS_HOST_BYTES];
    uint16_t port;
    bool open = strcmp(config->open_raft, "yes") == 0;
    if (!open && strcmp(config->open_raft, "no") != 0) {
        fprintf(stderr, "rollcall-node: ROLLCALL_OPEN_RAFT must be yes or no, not \"%s\"\n",
                config->open_raft);
        return false;
    }
    const char *raft = config_raft(config);
    if (open || raft[0] == '\0' || peers_address(raft, host, &port) != 0 ||
        config_is_loopback(host))
        return true;
    diag("refused",
         "raft=%s text=\"other machines can reach this address, and whoever does can "
         "read and change everything: put it on a network of the nodes' own and set "
         "ROLLCALL_OPEN_RAFT=yes, or choose a loopback address\"",
         raft);
    fprintf(stderr,
            "rollcall-node: --raft %s can be reached by other machines, and whoever reaches it can "
            "read and change everything: put it on a network of the nodes' own and set "
            "ROLLCALL_OPEN_RAFT=yes, or choose a loopback address\n",
            raft);
    return false;
}

bool config_take_members(struct config *config, const char *members)
{
    config->members = members;
    config->member_count = 0;
    return read_members(config) && judge_raft(config);
}

/* What no single setting can say of itself. */
static bool judge(struct config *config)
{
    if (strspn(config->cluster,
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
        strlen(config->cluster)) {
        fprintf(stderr,
                "rollcall-node: --cluster \"%s\" is no good: wanted are letters, digits, "
                "'-', '_' and '.'\n",
                config->cluster);
        return false;
    }
    if (config->election_ms < 5 * config->heartbeat_ms) {
        fprintf(stderr,
                "rollcall-node: --election-ms %" PRIu32 " is no good: wanted is at least 5 "
                "times --heartbeat-ms (%" PRIu32 ")\n",
                config->election_ms, config->heartbeat_ms);
        return false;
    }
    return read_members(config) && judge_raft(config);
}

static bool set_all(int argc, char **argv, struct config *config, bool *ret_shown)
{
    struct option options[ARRAY_LEN(settings) + 3] = {{0}};
    size_t help = ARRAY_LEN(settings), version = help + 1;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        const char *value = getenv(s->environment);
        options[i] = (struct option){.name = s->option, .has_arg = required_argument};
        if (!set(s, s->option, s->standard, config) ||
            (value != NULL && !set(s, s->environment, value, config)))
            return false;
    }
    options[help] = (struct option){.name = "help"};
    options[version] = (struct option){.name = "version"};
    for (;;) {
        int i = -1;
        int got = getopt_long(argc, argv, "", options, &i);
        if (got == -1)
            break;
        if (got != 0 || i < 0)
            return false; /* getopt_long said what is wrong */
        *ret_shown = (size_t)i >= help;
        if ((size_t)i == help)
            show_help();
        else if ((size_t)i == version)
            printf("rollcall-node %s\n", ROLLCALL_VERSION);
        if (*ret_shown)
            return true;
        if (!set(&settings[i], settings[i].option, optarg, config))
            return false;
    }
    if (optind < argc) {
        fprintf(stderr, "rollcall-node: \"%s\" is no option; see --help\n", argv[optind]);
        return false;
    }
    return judge(config);
}

enum config_result config_read(int argc, char **argv, struct config *ret_config)
{
    struct config config = {.id = 0};
    bool shown = false;
    if (!set_all(argc, argv, &config, &shown))
        return CONFIG_REFUSED;
    if (shown)
        return CONFIG_SHOWN;
    *ret_config = config;
    return CONFIG_RUN;
}
