#include "app/supervisor.h"

#include "app/note.h"
#include "raft/base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64u
/* A worker that lives no longer than this dies young. */
#define YOUNG_MS     1000
#define PAUSE_MS_MIN 50
#define PAUSE_MS_MAX 2000
/* After the workers' deadline and their own overtime. */
#define KILL_AFTER_MS 1500

enum slot_kind {
    SLOT_RUNNING,
    SLOT_PAUSED, /* to be started at `start_ms` */
    SLOT_DONE,   /* stopped for good */
};

struct slot {
    enum slot_kind kind;
    pid_t pid;        /* SLOT_RUNNING */
    int64_t start_ms; /* when it was, or will be, started */
    int pause_ms;     /* before the next start, should it die young */
};

struct supervisor {
    const struct options *options;
    const struct supervised *worker;
    struct counts *counts; /* shared by all workers */
    sigset_t signals;      /* what the parent waits for */
    bool stopping;
    int64_t kill_ms; /* while stopping */
    unsigned count;
    struct slot slots[WORKERS_MAX];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the pid file ----------------------------------------------------------------------------- */

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, text, len);
        if (wrote < 0)
            return -errno;
        text += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

/* Replaced by rename: who reads it sees the old list or the new one. */
static int replace_file(const char *path, const char *text, size_t len)
{
    char temporary[PATH_MAX];
    int wanted = snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid());
    if (wanted < 0 || (size_t)wanted >= sizeof(temporary))
        return -ENAMETOOLONG;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int error = write_all(fd, text, len);
    close(fd);
    if (error == 0 && rename(temporary, path) != 0)
        error = -errno;
    if (error != 0)
        unlink(temporary);
    return error;
}

static int write_pids(const char *path, const pid_t *pids, unsigned count)
{
    char text[WORKERS_MAX * 16];
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%d\n", (int)pids[i]);
    int error = path != NULL ? replace_file(path, text, len) : 0;
    if (error != 0)
        note("pid-file-failed", "path=%s text=\"%s\"", path, strerror(-error));
    return error;
}

static int tell_pids(const struct supervisor *s)
{
    pid_t pids[WORKERS_MAX];
    unsigned running = 0;
    for (unsigned i = 0; i < s->count; i++)
        if (s->slots[i].kind == SLOT_RUNNING)
            pids[running++] = s->slots[i].pid;
    return write_pids(s->options->pid_file, pids, running);
}

static void remove_pid_file(const struct options *options)
{
    if (options->pid_file != NULL)
        unlink(options->pid_file);
}

/* --- workers ---------------------------------------------------------------------------------- */

/* In the child. */
static int be_worker(struct supervisor *s, const struct slot *slot, pid_t parent)
{
    /* SIGTERM, as from the parent: what runs is answered still. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        return 1; /* it died before that took effect */
    return s->worker->run(s->options, s->counts, (unsigned)(slot - s->slots));
}

/* True in the child, whose work is then done: *ret_status is its status. */
static bool start(struct supervisor *s, struct slot *slot, int *ret_status)
{
    pid_t parent = getpid();
    unsigned place = (unsigned)(slot - s->slots);
    counts_starting(s->counts, place);
    pid_t pid = fork();
    if (pid == 0) {
        *ret_status = be_worker(s, slot, parent);
        return true;
    }
    int64_t now = now_ms();
    if (pid < 0) {
        counts_not_started(s->counts, place);
        note("worker-not-started", "text=\"%s\"", strerror(errno));
        *slot = (struct slot){
            .kind = SLOT_PAUSED, .start_ms = now + PAUSE_MS_MAX, .pause_ms = PAUSE_MS_MAX};
        return false;
    }
    slot->kind = SLOT_RUNNING;
    slot->pid = pid;
    slot->start_ms = now;
    return false;
}

static void note_end(const struct slot *slot, int status)
{
    if (WIFSIGNALED(status))
        note("worker-died", "worker=%d signal=%d", (int)slot->pid, WTERMSIG(status));
    else
        note("worker-ended", "worker=%d status=%d", (int)slot->pid, WEXITSTATUS(status));
}

/* What became of a slot whose process has ended. */
static void ended(struct supervisor *s, struct slot *slot, int status)
{
    int64_t now = now_ms();
    note_end(slot, status);
    if (s->stopping) {
        slot->kind = SLOT_DONE;
        return;
    }
    bool young = now - slot->start_ms < YOUNG_MS;
    int pause_ms = young ? slot->pause_ms : 0;
    slot->pause_ms = pause_ms < PAUSE_MS_MIN ? PAUSE_MS_MIN : 2 * pause_ms;
    if (slot->pause_ms > PAUSE_MS_MAX)
        slot->pause_ms = PAUSE_MS_MAX;
    slot->kind = SLOT_PAUSED;
    slot->start_ms = now + pause_ms;
}

static bool reap(struct supervisor *s)
{
    bool any = false;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < s->count; i++)
            if (s->slots[i].kind == SLOT_RUNNING && s->slots[i].pid == pid) {
                ended(s, &s->slots[i], status);
                any = true;
            }
    return any;
}

static void signal_workers(const struct supervisor *s, int signal)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->slots[i].kind == SLOT_RUNNING)
            kill(s->slots[i].pid, signal);
}

static void begin_stop(struct supervisor *s, int signal)
{
    if (s->stopping)
        return;
    note("stopping", "signal=%d workers=%u", signal, s->count);
    s->stopping = true;
    s->kill_ms = now_ms() + s->options->deadline_ms + 1000 + KILL_AFTER_MS;
    for (unsigned i = 0; i < s->count; i++)
        if (s->slots[i].kind == SLOT_PAUSED)
            s->slots[i].kind = SLOT_DONE;
    signal_workers(s, SIGTERM);
}

static void reload(const struct supervisor *s)
{
    bool refused = s->worker->reload() != 0;
    counts_tokens_refused(s->counts, refused);
    if (!refused)
        signal_workers(s, SIGHUP);
}

static bool all_done(const struct supervisor *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->slots[i].kind != SLOT_DONE)
            return false;
    return true;
}

/* --- signals ---------------------------------------------------------------------------------- */

void supervisor_signals(sigset_t *ret_signals)
{
    sigemptyset(ret_signals);
    for (int number = 1; number < SIGNALS_MAX; number++)
        if (!signal_is_left_alone(number))
            sigaddset(ret_signals, number);
}

void supervisor_ignored(int signal)
{
    note("signal-ignored", "number=%d text=\"%s means nothing here; TERM stops it\"", signal,
         strsignal(signal));
}

static void take_signal(struct supervisor *s, int signal)
{
    switch (signal) {
    case -1: /* it was time for something, or a signal that is not ours was handled */
    case SIGCHLD:
        return;
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
        begin_stop(s, signal);
        return;
    case SIGHUP:
        if (!s->stopping)
            reload(s);
        return;
    default:
        supervisor_ignored(signal);
    }
}

/* --- the parent's loop ------------------------------------------------------------------------ */

/* When something is due without a signal; -1 when nothing is. */
static int64_t due_ms(const struct supervisor *s)
{
    int64_t due = s->stopping ? s->kill_ms : -1;
    for (unsigned i = 0; i < s->count; i++)
        if (s->slots[i].kind == SLOT_PAUSED && (due < 0 || s->slots[i].start_ms < due))
            due = s->slots[i].start_ms;
    return due;
}

static int wait_signal(const struct supervisor *s)
{
    int64_t due = due_ms(s), wait_ms = due - now_ms();
    if (due < 0)
        return sigwaitinfo(&s->signals, NULL);
    wait_ms = wait_ms < 0 ? 0 : wait_ms;
    struct timespec timeout = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    return sigtimedwait(&s->signals, NULL, &timeout);
}

/* Starts what is due; true in a child that has done its work. */
static bool start_due(struct supervisor *s, bool *changed, int *ret_status)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->kind != SLOT_PAUSED || slot->start_ms > now_ms())
            continue;
        *changed = true;
        if (start(s, slot, ret_status))
            return true;
    }
    return false;
}

static int supervise(struct supervisor *s)
{
    bool changed = true;
    while (!all_done(s)) {
        int status = 0;
        if (start_due(s, &changed, &status))
            return status;
        if (changed)
            (void)!tell_pids(s); /* said already; service goes before it */
        take_signal(s, wait_signal(s));
        changed = reap(s);
        if (s->stopping && now_ms() >= s->kill_ms) {
            note("workers-killed", "text=\"they did not stop in time\"");
            signal_workers(s, SIGKILL);
            s->kill_ms = now_ms() + KILL_AFTER_MS;
        }
    }
    remove_pid_file(s->options);
    note("stopped", "status=0");
    return 0;
}

static int run_alone(const struct options *options, struct counts *counts,
                     const struct supervised *worker)
{
    pid_t self = getpid();
    if (write_pids(options->pid_file, &self, 1) != 0)
        return 1;
    counts_starting(counts, 0);
    int status = worker->run(options, counts, 0);
    remove_pid_file(options);
    return status;
}

int supervisor_run(const struct options *options, const struct supervised *worker)
{
    struct counts *counts;
    int error = counts_new(options->workers > 0 ? options->workers : 1, &counts);
    if (error != 0) {
        note("start-failed", "text=\"%s\"", strerror(-error));
        return 1;
    }
    sigset_t signals;
    supervisor_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN); /* of a stderr that nobody reads any more */
    signal(SIGXFSZ, SIG_IGN);
    if (options->workers == 0)
        return run_alone(options, counts, worker);
    struct supervisor s = {
        .options = options, .worker = worker, .counts = counts, .count = options->workers};
    assert(s.count <= WORKERS_MAX);
    for (unsigned i = 0; i < s.count; i++)
        s.slots[i] = (struct slot){.kind = SLOT_PAUSED};
    s.signals = signals;
    sigaddset(&s.signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &s.signals, NULL);
    if (tell_pids(&s) != 0)
        return 1; /* a pid file that cannot be written is a mistake of whoever starts us */
    return supervise(&s);
}
