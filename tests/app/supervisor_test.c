/* The parent of the workers, and workers behind the real nginx while they are stopped and killed.
 */
#include "tests/app/stage.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define ALICE "{\"name\":\"Alice\"}"

TestSuite(supervisor, .timeout = 90);

static bool lives(pid_t pid)
{
    return kill(pid, 0) == 0;
}

static bool has(const pid_t *pids, unsigned count, pid_t pid)
{
    for (unsigned i = 0; i < count; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* Two workers stand in the pid file, all of them alive, and `gone` is not among them. */
static bool is_whole_without(const struct stage *stage, pid_t gone)
{
    pid_t pids[8];
    unsigned count = stage_pids(stage, pids, 8);
    return count == 2 && !has(pids, count, gone) && lives(pids[0]) && lives(pids[1]);
}

static int post_status(const struct stage *stage)
{
    struct reply *reply = fcgi_post(stage, ALICE);
    int status = reply->status;
    free(reply);
    return status;
}

Test(supervisor, starts_a_killed_worker_again_and_keeps_the_pid_file_true)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2});
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    for (int round = 0; round < 3; round++) {
        pid_t before[2], after[2];
        cr_assert(eq(uint, stage_pids(stage, before, 2), 2));
        cr_assert(eq(int, kill(before[round % 2], SIGKILL), 0));
        WAIT_UNTIL(is_whole_without(stage, before[round % 2]), 5000);
        cr_assert(eq(uint, stage_pids(stage, after, 2), 2));
        cr_assert(has(after, 2, before[1 - round % 2])); /* the other was left alone */
        cr_assert(eq(int, post_status(stage), 201));
    }
    stage_stop(stage);
}

/* The listening socket is the parent's: with no worker alive requests wait, and are not refused. */
Test(supervisor, lets_requests_wait_while_no_worker_lives)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2});
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    pid_t pids[2];
    stage_pids(stage, pids, 2);
    kill(pids[0], SIGKILL);
    kill(pids[1], SIGKILL);
    for (int i = 0; i < 20; i++)
        cr_expect(eq(int, post_status(stage), 201));
    stage_stop(stage);
}

Test(supervisor, pauses_when_workers_keep_dying_young)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 1});
    unsigned deaths = 0;
    pid_t last = 0;
    long until = ms_now() + 3000;
    while (ms_now() < until) {
        pid_t pid = last;
        if (stage_pids(stage, &pid, 1) == 1 && pid != last && kill(pid, SIGKILL) == 0) {
            deaths++;
            last = pid;
        }
        ms_sleep(5);
    }
    /* 0, 50, 100, 200, … 1600 ms: about seven; without pauses there would be hundreds. */
    cr_assert(deaths >= 4 && deaths < 12, "%u", deaths);
    cr_assert(eq(int, post_status(stage), 201)); /* and in the end it stands again */
    stage_stop(stage);
}

Test(supervisor, takes_its_workers_with_it_however_it_dies)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2});
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    pid_t pids[2];
    stage_pids(stage, pids, 2);
    kill(stage->app, SIGKILL);
    waitpid(stage->app, NULL, 0);
    stage->app = 0;
    WAIT_UNTIL(!lives(pids[0]) && !lives(pids[1]), 5000);
    stage_stop(stage);
}

Test(supervisor, told_to_stop_stops_all_and_removes_the_pid_file)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2});
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    pid_t pids[2];
    stage_pids(stage, pids, 2);
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    int fd = fcgi_connect(stage);
    fcgi_send(fd, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    WAIT_UNTIL(fake_node_record(&stage->node).writes == 1, 2000);
    kill(stage->app, SIGTERM);
    struct reply *reply = fcgi_receive(fd, 5000); /* answered before anything ends */
    cr_expect(eq(int, reply->status, 504));
    free(reply);
    cr_expect(eq(int, stage_app_stop(stage), 0));
    cr_expect(not(lives(pids[0]) || lives(pids[1])));
    char path[96];
    snprintf(path, sizeof(path), "%s/app.pid", stage->dir);
    cr_expect(eq(int, access(path, F_OK), -1));
    close(fd);
    stage_stop(stage);
}

Test(supervisor, kills_a_worker_that_does_not_stop)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2, .deadline_ms = 200});
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    pid_t pids[2];
    stage_pids(stage, pids, 2);
    kill(pids[0], SIGSTOP);
    cr_expect(eq(int, stage_app_stop(stage), 0));
    cr_expect(not(lives(pids[0]) || lives(pids[1])));
    stage_stop(stage);
}

static bool ignored(const struct stage *stage, pid_t pid, int number)
{
    char line[96];
    snprintf(line, sizeof(line), " pid=%d event=signal-ignored number=%d ", (int)pid, number);
    return stage_said(stage, line);
}

Test(supervisor, takes_each_signal_on_purpose_and_so_do_its_workers)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2});
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    pid_t before[2], after[2];
    stage_pids(stage, before, 2);
    /* Of which these two turn into the error of a call. */
    const int meaningless[] = {SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2,   SIGALRM,  SIGVTALRM, SIGPROF,
                               SIGIO,   SIGPWR,  SIGXCPU, SIGSTKFLT, SIGRTMIN, SIGRTMAX};
    const pid_t pids[] = {stage->app, before[0]};
    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        cr_assert(eq(int, kill(pids[i], SIGHUP), 0));
        for (size_t j = 0; j < ARRAY_LEN(meaningless); j++)
            cr_assert(eq(int, kill(pids[i], meaningless[j]), 0));
        for (size_t j = 2; j < ARRAY_LEN(meaningless); j++)
            WAIT_UNTIL(ignored(stage, pids[i], meaningless[j]), 5000);
    }
    cr_assert(eq(uint, stage_pids(stage, after, 2), 2));
    cr_assert(has(after, 2, before[0]) && has(after, 2, before[1]), "none has ended");
    cr_assert(eq(int, post_status(stage), 201));
    static const int stops[] = {SIGINT, SIGQUIT, SIGTERM};
    for (size_t i = 0; i < ARRAY_LEN(stops); i++) {
        char line[96];
        stage_pids(stage, before, 2);
        cr_assert(eq(int, kill(before[0], stops[i]), 0));
        WAIT_UNTIL(is_whole_without(stage, before[0]), 5000);
        snprintf(line, sizeof(line), " event=worker-ended worker=%d status=0", (int)before[0]);
        cr_assert(stage_said(stage, line), "%s", line);
    }
    cr_assert(eq(int, kill(stage->app, SIGQUIT), 0));
    cr_assert(eq(int, stage_app_stop(stage), 0));
    cr_assert(stage_said(stage, "event=stopping signal=3 "));
    stage_stop(stage);
}

/* What a file of /proc says of a process behind this name. */
static bool has_line(pid_t pid, const char *file, const char *name, const char *value)
{
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    FILE *lines = fopen(path, "re");
    cr_assert(lines != NULL);
    bool found = false;
    while (!found && fgets(line, sizeof(line), lines) != NULL) {
        size_t len = strlen(name);
        found = strncmp(line, name, len) == 0 &&
                strncmp(line + len + strspn(line + len, " \t"), value, strlen(value)) == 0;
    }
    fclose(lines);
    return found;
}

/* A core would hold users and tokens, a file is for its user alone, a connection is a descriptor.
 */
Test(supervisor, leaves_no_core_and_no_open_file_and_has_room_for_connections)
{
    struct rlimit limit;
    char wanted[32];
    cr_assert(eq(int, getrlimit(RLIMIT_CORE, &limit), 0));
    limit.rlim_cur = limit.rlim_max; /* as whoever starts it might have it */
    cr_assert(eq(int, setrlimit(RLIMIT_CORE, &limit), 0));
    (void)umask(0);
    struct stage *stage = stage_start((struct stage_options){.workers = 1});
    const pid_t pids[] = {stage->app, stage_worker(stage)};
    cr_assert(eq(int, getrlimit(RLIMIT_NOFILE, &limit), 0));
    snprintf(wanted, sizeof(wanted), "%llu ",
             (unsigned long long)(limit.rlim_max < 65536 ? limit.rlim_max : 65536));
    for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
        cr_expect(has_line(pids[i], "limits", "Max core file size", "0  "));
        cr_expect(has_line(pids[i], "limits", "Max open files", wanted) || limit.rlim_cur > 65536);
        cr_expect(has_line(pids[i], "status", "Umask:", "0077"));
    }
    stage_stop(stage);
}

/* The form in which deploy/ starts it: detached, with a pid file of spawn-fcgi's own. */
Test(supervisor, runs_under_a_spawn_fcgi_that_leaves)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2});
    cr_assert(eq(int, stage_app_stop(stage), 0));
    char command[2048], program[512] = "", master[128];
    const char *given = getenv("ROLLCALL_BIN");
    cr_assert(given != NULL || readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    if (given == NULL)
        *strrchr(program, '/') = '\0';
    snprintf(master, sizeof(master), "%s/app-master.pid", stage->dir);
    snprintf(command, sizeof(command),
             "rm -f %s; spawn-fcgi -s %s -F 1 -P %s -- %s/rollcall-app --workers 2 "
             "--pid-file %s/app.pid --node %s/raft.sock >/dev/null 2>%s/app.log </dev/null",
             stage->app_sock, stage->app_sock, master, given != NULL ? given : program, stage->dir,
             stage->dir, stage->dir);
    FILE *shell = popen(command, "r");
    cr_assert(shell != NULL && pclose(shell) == 0);
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    cr_expect(eq(int, post_status(stage), 201));
    int pid = 0;
    FILE *file = fopen(master, "r");
    cr_assert(file != NULL && fscanf(file, "%d", &pid) == 1);
    fclose(file);
    kill(pid, SIGTERM);
    WAIT_UNTIL(!lives(pid), 10000);
    stage_stop(stage);
}

/* --- under load, through nginx ---------------------------------------------------------------- */

#define CLIENTS 8

struct load {
    const struct stage *stage;
    atomic_bool stop;
    atomic_uint created, failed;
    pthread_t threads[CLIENTS];
};

static void *client_main(void *argument)
{
    struct load *load = argument;
    while (!atomic_load(&load->stop)) {
        struct reply *reply = http_ask(load->stage, "POST", "/users", ALICE);
        if (reply != NULL && reply->status == 201 && reply->ended)
            atomic_fetch_add(&load->created, 1);
        else
            atomic_fetch_add(&load->failed, 1);
        free(reply);
    }
    return NULL;
}

static void load_start(struct load *load, const struct stage *stage)
{
    load->stage = stage;
    atomic_init(&load->stop, false);
    atomic_init(&load->created, 0);
    atomic_init(&load->failed, 0);
    for (int i = 0; i < CLIENTS; i++)
        cr_assert(eq(int, pthread_create(&load->threads[i], NULL, client_main, load), 0));
}

static void load_stop(struct load *load)
{
    atomic_store(&load->stop, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(load->threads[i], NULL);
}

/* Workers end by `signal`, again and again, under load. */
static void replace_under_load(struct stage *stage, struct load *load, int signal)
{
    WAIT_UNTIL(is_whole_without(stage, 0), 5000);
    load_start(load, stage);
    for (int round = 0; round < 8; round++) {
        pid_t pids[2];
        ms_sleep(200);
        stage_pids(stage, pids, 2);
        kill(pids[round % 2], signal);
        WAIT_UNTIL(is_whole_without(stage, pids[round % 2]), 8000);
    }
    ms_sleep(200);
    load_stop(load);
    cr_expect(load->created > 500, "%u", load->created);
}

Test(supervisor, loses_nothing_when_workers_are_told_to_stop_under_load)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2, .nginx = true});
    struct load load;
    replace_under_load(stage, &load, SIGTERM);
    cr_expect(eq(uint, load.failed, 0));
    cr_expect(eq(uint, fake_node_record(&stage->node).created, load.created));
    stage_stop(stage);
}

/* nginx tries again, on a connection of its own, under the same request id. */
Test(supervisor, loses_nothing_and_doubles_nothing_when_workers_are_killed_under_load)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2, .nginx = true});
    struct load load;
    replace_under_load(stage, &load, SIGKILL);
    cr_expect(eq(uint, load.failed, 0));
    cr_expect(eq(uint, fake_node_record(&stage->node).created, load.created));
    stage_stop(stage);
}

/* Kept connections must not starve those beyond them: 120 that wait, and others get through. */
Test(supervisor, lets_no_request_starve_behind_those_that_wait)
{
    struct stage *stage = stage_start((struct stage_options){.workers = 2, .nginx = true});
    fake_node_play(&stage->node, (struct fake_script){.hold_writes = true});
    static int fds[120]; /* a worker takes them all (NODE_BUSY), however they fall */
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = fcgi_connect(stage);
        fcgi_send(fds[i], &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(ALICE)});
    }
    free(http_ask(stage, "GET", "/users", NULL)); /* nginx's processes are there */
    for (int i = 0; i < 50; i++) {
        struct reply *reply = http_ask(stage, "GET", "/users", NULL);
        cr_assert(reply != NULL && reply->status == 200);
        free(reply);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    stage_stop(stage);
}
