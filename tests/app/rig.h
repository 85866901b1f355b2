/*
 * The real worker under real spawn-fcgi, a fake node behind it and, where a test asks for it, the
 * real nginx in front; all in a temporary folder, all gone when the test is, however it ends.
 *
 * Every function fails the test itself when it cannot do what it says.
 */
#ifndef ROLLCALL_TESTS_APP_RIG_H
#define ROLLCALL_TESTS_APP_RIG_H

#include "tests/app/fake_node.h"
#include "tests/app/records.h"

#include <sys/types.h>

struct rig {
    char dir[64];
    char app_sock[96];
    struct fake_node node;
    bool node_runs;
    pid_t app; /* what spawn-fcgi became: supervisor or worker */
    pid_t nginx;
    int port; /* nginx's */
    int guardian;
    pid_t guardian_pid;
};

struct rig_options {
    unsigned workers;     /* 0: one, without a supervisor */
    unsigned deadline_ms; /* 0: 2000 */
    bool without_node;
    bool nginx;
};

struct rig *rig_start(struct rig_options options);
void rig_stop(struct rig *rig);

void rig_node_start(struct rig *rig);
void rig_node_stop(struct rig *rig);
/* The worker, and only that, again: its socket and stderr are new. */
void rig_app_start(struct rig *rig, struct rig_options options);
/* SIGTERM, and its status. */
int rig_app_stop(struct rig *rig);

/* The lines of the pid file; the test fails when there are more than `max` or it is not there. */
unsigned rig_pids(const struct rig *rig, pid_t *ret_pids, unsigned max);
/* The one worker's. */
pid_t rig_worker(const struct rig *rig);
/* What the worker said so far holds this text. */
bool rig_said(const struct rig *rig, const char *text);
/* KiB, from /proc: "VmRSS", "VmHWM". */
long process_kib(pid_t pid, const char *what);

/* --- asking ------------------------------------------------------------------------------------
 */

#define REPLY_HEAD_MAX 4096
#define REPLY_BODY_MAX (256 << 10)

struct reply {
    bool ended;  /* END_REQUEST came (FastCGI), or all of Content-Length (HTTP) */
    bool closed; /* the peer has closed, or broken, the connection */
    int status;
    char head[REPLY_HEAD_MAX];
    char body[REPLY_BODY_MAX + 1]; /* what is longer is counted and thrown away */
    size_t body_len;
};

/* Connected to the worker. */
int fcgi_connect(const struct rig *rig);
void fcgi_send(int fd, const struct fcgi_ask *ask);
void fcgi_send_bytes(int fd, struct bytes bytes);
/* Reads up to END_REQUEST, to the end, or for so long. */
struct reply *fcgi_receive(int fd, int timeout_ms);
/* All of it on a connection of its own; free() what it gives. */
struct reply *fcgi_ask(const struct rig *rig, const struct fcgi_ask *ask);
struct reply *fcgi_post(const struct rig *rig, const char *body);
struct reply *fcgi_get(const struct rig *rig, const char *uri);

/* One HTTP request through nginx, on a connection of its own; NULL where there was no answer. */
struct reply *http_ask(const struct rig *rig, const char *method, const char *uri,
                       const char *body);

/* A header's value as it stands in the head, or "". Valid until the next call. */
const char *reply_header(const struct reply *reply, const char *name);

/* --- time ---------------------------------------------------------------------------------------
 */

long ms_now(void);
void ms_sleep(long ms);

/* WAIT_UNTIL(condition, ms): polls; fails the test when it does not come true in time. */
#define WAIT_UNTIL(condition, ms)                                        \
    do {                                                                 \
        long until_ = ms_now() + (ms);                                   \
        while (!(condition)) {                                           \
            cr_assert(ms_now() < until_, "not in time: %s", #condition); \
            ms_sleep(2);                                                 \
        }                                                                \
    } while (0)

#endif
