/*
 * Runs a command, and fails when something that it started is still running when it has ended:
 *
 *     reap COMMAND ARGUMENTS…
 *
 * Whatever a test starts, a daemon too, is a descendant of this process, and becomes its child when
 * its parents are gone (PR_SET_CHILD_SUBREAPER). Guardians of tests (tests/e2e/stack.h) may still
 * be cleaning up when the command has ended: they have GRACE_SECONDS. What is left then is named,
 * by its command line and the test that started it, and killed; so is everything when this process
 * is told to stop. The exit code is the command's, or LEFT_RUNNING.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_SECONDS 60
#define LEFT_RUNNING  99
#define TEXT_MAX      4096

static pid_t command;
static volatile sig_atomic_t told; /* the signal that told us to stop */

static void on_signal(int number)
{
    told = number;
    kill(command, SIGTERM);
}

/* A file of /proc/PID; its zero bytes become blanks. */
static void read_proc(pid_t pid, const char *name, char ret_text[TEXT_MAX])
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "re");
    size_t len = file != NULL ? fread(ret_text, 1, TEXT_MAX - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    for (size_t i = 0; i < len; i++)
        if (ret_text[i] == '\0')
            ret_text[i] = ' ';
    ret_text[len] = '\0';
}

static bool is_child(pid_t pid)
{
    char stat[TEXT_MAX], state = 'Z';
    int parent = 0;
    read_proc(pid, "stat", stat);
    const char *end = strrchr(stat, ')'); /* a name may hold anything */
    return end != NULL && sscanf(end, ") %c %d", &state, &parent) == 2 && parent == getpid() &&
           state != 'Z';
}

static void say_left(pid_t pid)
{
    static const char mark[] = "ROLLCALL_TEST=";
    char line[TEXT_MAX], environment[TEXT_MAX];
    read_proc(pid, "cmdline", line);
    read_proc(pid, "environ", environment);
    const char *test = strstr(environment, mark);
    test = test != NULL ? test + strlen(mark) : "unknown ";
    fprintf(stderr, "left running by %.*s: pid %d: %.300s\n", (int)strcspn(test, " "), test,
            (int)pid, line);
}

/* Kills our children, those that become so included. */
static void kill_all(bool aloud)
{
    for (bool again = true; again;) {
        again = false;
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc != NULL && (entry = readdir(proc)) != NULL) {
            pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
            if (pid <= 1 || !is_child(pid))
                continue;
            if (aloud)
                say_left(pid);
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            again = true;
        }
        if (proc != NULL)
            closedir(proc);
    }
}

/* Takes what has ended; true when nothing is left. */
static bool all_ended(void)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    return pid < 0 && errno == ECHILD;
}

static bool leaves_nothing(void)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000000L};
    for (int i = 0; i < GRACE_SECONDS * 50; i++) {
        if (all_ended())
            return true;
        nanosleep(&pause, NULL);
    }
    return all_ended();
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: reap COMMAND ARGUMENTS…\n");
        return 2;
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        perror("reap: PR_SET_CHILD_SUBREAPER");
        return 2;
    }
    command = fork();
    if (command == 0) {
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGHUP, on_signal);
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, 0)) != command)
        if (pid < 0 && errno != EINTR)
            break;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (!leaves_nothing()) {
        kill_all(told == 0);
        return told == 0 ? LEFT_RUNNING : code;
    }
    return code;
}
