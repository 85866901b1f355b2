/* rollcallctl: reads what was asked, and has it done. */
#include "raft/ctl/ctl.h"

#include "raft/wire/backup.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct command {
    const char *words[2]; /* as they are typed */
    const char *argument; /* NULL: it takes none */
    const char *options;  /* the first letters of those that it takes; capital: it must have it */
    enum ctl_exit (*run)(const struct ctl_arguments *arguments);
};

static const struct command commands[] = {
    {{"backup"}, "FILE", "s", ctl_backup},
    {{"check"}, "FILE", "", ctl_check},
    {{"restore"}, "FILE", "DC", ctl_restore},
    {{"recover"}, "FILE", "Draw", ctl_recover},
    {{"wal", "verify"}, "DIR", "", ctl_wal_verify},
    {{"wal", "dump"}, "DIR", "", ctl_wal_dump},
    {{"status"}, NULL, "s", ctl_status},
    {{"token"}, "NAME", "O", ctl_token},
};

static void show_help(void)
{
    printf(
        "rollcallctl: what a node of a replicated user directory says, backups, and a look at its "
        "disks\n"
        "\n"
        "usage: rollcallctl COMMAND [OPTION]…\n"
        "\n"
        "  status [--socket PATH]               what a node that runs says of itself, and a line\n"
        "                                       for each member of its cluster\n"
        "  backup FILE [--socket PATH]          all that was acknowledged up to now, from a node\n"
        "                                       that runs and has a leader; an older FILE is\n"
        "                                       replaced when the new one is whole; - is standard\n"
        "                                       output\n"
        "  check FILE                           reads all of a backup and says what it holds\n"
        "  restore FILE --dir DIR --cluster NAME\n"
        "                                       makes DIR, the log of a node of a new cluster,\n"
        "                                       begin with the backup; once for each of its nodes\n"
        "  recover FILE --dir DIR [--redis PATH] [--without-log] [--accept-loss]\n"
        "                                       what the disk of a node that does not run holds,\n"
        "                                       known to be committed or not, as a backup: for\n"
        "                                       when a majority is lost for good\n"
        "  wal verify DIR                       would this log open? if not: where, and what to "
        "do\n"
        "  wal dump DIR                         what stands in it, one line a record\n"
        "  token NAME --role ROLE               draws a token: on stdout first what its owner\n"
        "                                       shows, once and kept nowhere, then the line for\n"
        "                                       the file that rollcall-app --tokens reads\n"
        "\n"
        "  --socket PATH    where the node's workers call (ROLLCALL_SOCKET, default\n"
        "                   \"/run/rollcall/raft.sock\")\n"
        "  --dir DIR        directory of the log: rollcall-node's --dir, D/wal of deploy/node\n"
        "  --cluster NAME   name of the new cluster: not the old one's\n"
        "  --redis PATH     unix socket of that node's Redis\n"
        "  --accept-loss    write FILE; without, recover only says what it would take\n"
        "  --without-log    recover takes the snapshot in Redis alone: for a log that is damaged\n"
        "  --role ROLE      read, write (and read), or admin (all, and /cluster and /metrics)\n"
        "  --help           show this\n"
        "  --version        show the version\n"
        "\n"
        "Exit code: 0 done; 1 it could not be done, and nothing was changed; 2 it makes no sense;\n"
        "3 what was looked at is damaged, or would not open. What was done and what went wrong\n"
        "goes to stderr, one fact a line.\n");
}

static enum ctl_exit refuse(const char *what, const char *text)
{
    fprintf(stderr, "rollcallctl: %s%s%s; see --help\n", what, what[0] != '\0' ? " " : "", text);
    return CTL_USAGE;
}

/* How many words name the command: 0 where they do not. */
static int named(const struct command *command, int count, char **words)
{
    int len = command->words[1] != NULL ? 2 : 1;
    for (int i = 0; i < len; i++) {
        if (i >= count || strcmp(words[i], command->words[i]) != 0)
            return 0;
    }
    return len;
}

static const char *letters(const char *text)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(text);
    return len > 0 && len <= BACKUP_CLUSTER_BYTES_MAX && strspn(text, good) == len ? text : NULL;
}

/* An option that the command does not take, or misses. */
static enum ctl_exit judge(const struct command *command, const struct ctl_arguments *arguments,
                           const char *given)
{
    static const struct {
        char letter;
        const char *name;
    } all[] = {{'s', "--socket"},      {'d', "--dir"},         {'c', "--cluster"}, {'r', "--redis"},
               {'a', "--accept-loss"}, {'w', "--without-log"}, {'o', "--role"}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        bool wanted = strchr(command->options, all[i].letter - 'a' + 'A') != NULL;
        bool takes = wanted || strchr(command->options, all[i].letter) != NULL;
        bool has = strchr(given, all[i].letter) != NULL;
        if (has && !takes)
            return refuse(all[i].name, "is no option of this command");
        if (wanted && !has)
            return refuse(all[i].name, "is missing");
    }
    if (arguments->cluster != NULL && letters(arguments->cluster) == NULL)
        return refuse("--cluster", "is no name: wanted are 1 to 63 letters, digits, '-', '_', '.'");
    return CTL_DONE;
}

static enum ctl_exit run(int count, char **words, struct ctl_arguments *arguments,
                         const char *given)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *command = &commands[i];
        int len = named(command, count, words);
        if (len == 0)
            continue;
        int most = command->argument != NULL ? len + 1 : len;
        if (count < most)
            return refuse(command->argument, "is missing");
        if (count > most)
            return refuse(words[most], "is too much");
        arguments->path = command->argument != NULL ? words[len] : NULL;
        enum ctl_exit code = judge(command, arguments, given);
        return code == CTL_DONE ? command->run(arguments) : code;
    }
    return refuse(count > 0 ? words[0] : "", count > 0 ? "is no command" : "say what to do");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},  {"dir", required_argument, NULL, 'd'},
        {"cluster", required_argument, NULL, 'c'}, {"redis", required_argument, NULL, 'r'},
        {"accept-loss", no_argument, NULL, 'a'},   {"without-log", no_argument, NULL, 'w'},
        {"role", required_argument, NULL, 'o'},    {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},       {0},
    };
    umask(077);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* it would hold the directory */
    const char *socket = getenv("ROLLCALL_SOCKET");
    struct ctl_arguments arguments = {
        .socket = socket != NULL ? socket : "/run/rollcall/raft.sock",
    };
    char given[16] = "";
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'h')
            show_help();
        else if (option == 'v')
            printf("rollcallctl %s\n", ROLLCALL_VERSION);
        if (option == 'h' || option == 'v')
            return CTL_DONE;
        if (option == '?' || strlen(given) + 1 == sizeof(given))
            return CTL_USAGE; /* getopt_long said what is wrong */
        given[strlen(given)] = (char)option;
        arguments.accept_loss = arguments.accept_loss || option == 'a';
        arguments.without_log = arguments.without_log || option == 'w';
        const char **place = option == 's'   ? &arguments.socket
                             : option == 'd' ? &arguments.dir
                             : option == 'c' ? &arguments.cluster
                             : option == 'r' ? &arguments.redis
                             : option == 'o' ? &arguments.role
                                             : NULL;
        if (place != NULL)
            *place = optarg;
    }
    return (int)run(argc - optind, argv + optind, &arguments, given);
}
