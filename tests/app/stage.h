/*
 * The real worker under real spawn-fcgi, a fake node behind it and, where a test asks for it, the
 * real nginx in front; all in a temporary folder, all gone when the test is, however it ends.
 *
 * Every function fails the test itself when it cannot do what it says.
 */
#ifndef ROLLCALL_TESTS_APP_STAGE_H
#define ROLLCALL_TESTS_APP_STAGE_H

#include "tests/app/fake_node.h"
#include "tests/app/records.h"

#include <sys/types.h>

struct stage {
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

struct stage_options {
    unsigned workers;     /* 0: one, without a supervisor */
    unsigned deadline_ms; /* 0: 2000 */
    const char *tokens;   /* what the file of the tokens holds; NULL: there is none */
    bool open_access;
    bool without_node;
    bool nginx;
};

struct stage *stage_start(struct stage_options options);
void stage_stop(struct stage *stage);

void stage_node_start(struct stage *stage);
void stage_node_stop(struct stage *stage);
/* The worker, and only that, again: its socket and stderr are new. */
void stage_app_start(struct stage *stage, struct stage_options options);
/* What the file of the tokens holds from now on; nobody is told. */
void stage_write_tokens(const struct stage *stage, const char *text);
/* SIGTERM, and its status. */
int stage_app_stop(struct stage *stage);

/* The lines of the pid file; the test fails when there are more than `max` or it is not there. */
unsigned stage_pids(const struct stage *stage, pid_t *ret_pids, unsigned max);
/* The one worker's. */
pid_t stage_worker(const struct stage *stage);
/* What the worker said so far holds this text. */
bool stage_said(const struct stage *stage, const char *text);
/* KiB, from /proc: "VmRSS", "VmHWM". */
long process_kib(pid_t pid, const char *what);

/* --- asking ----------------------------------------------------------------------------------- */

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
int fcgi_connect(const struct stage *stage);
void fcgi_send(int fd, const struct fcgi_ask *ask);
void fcgi_send_bytes(int fd, struct bytes bytes);
/* Reads up to END_REQUEST, to the end, or for so long; from a second on, never for less than a busy
 * machine may need. */
struct reply *fcgi_receive(int fd, int timeout_ms);
/* All of it on a connection of its own; free() what it gives. */
struct reply *fcgi_ask(const struct stage *stage, const struct fcgi_ask *ask);
struct reply *fcgi_post(const struct stage *stage, const char *body);
struct reply *fcgi_get(const struct stage *stage, const char *uri);

/* One HTTP request through nginx, on a connection of its own; NULL where there was no answer. */
struct reply *http_ask(const struct stage *stage, const char *method, const char *uri,
                       const char *body);

/* A header's value as it stands in the head, or "". Valid until the next call. */
const char *reply_header(const struct reply *reply, const char *name);

/* --- time ------------------------------------------------------------------------------------- */

long ms_now(void);
void ms_sleep(long ms);

/* Nothing that is waited for takes so long, unless it hangs. */
#define HANGS_AFTER_MS 120000

/* WAIT_UNTIL(condition, ms): polls for so long, and never less than a busy machine may need. */
#define WAIT_UNTIL(condition, ms)                                                 \
    do {                                                                          \
        long until_ = ms_now() + ((ms) < HANGS_AFTER_MS ? HANGS_AFTER_MS : (ms)); \
        while (!(condition)) {                                                    \
            cr_assert(ms_now() < until_, "not in time: %s", #condition);          \
            ms_sleep(2);                                                          \
        }                                                                         \
    } while (0)

#endif
