/*
 * rollcall-app: the FastCGI worker. A loop over its FastCGI connections and one connection to the
 * node; a request that waits costs no thread. `serve` is a request's table of contents.
 */
#include "app/access.h"
#include "app/exchange.h"
#include "app/fastcgi.h"
#include "app/fcgi_request.h"
#include "app/note.h"
#include "app/options.h"
#include "app/route.h"
#include "app/supervisor.h"
#include "raft/base/signals.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_FD          STDIN_FILENO /* FastCGI's contract: FCGI_LISTENSOCK_FILENO */
#define DESCRIPTORS_WANTED 65536u

static struct access who_may; /* the parent's, of which each worker begins with a copy */

/* --- a request -------------------------------------------------------------------------------- */

static void respond_allow(struct exchange *x, const struct route *route)
{
    if (route->kind == ROUTE_OPTIONS) {
        struct response response = {
            .status = 204,
            .length_is = LENGTH_NONE,
            .allow = route->allow,
            .accept_patch = route->accept_patch,
        };
        respond(x, &response);
        return;
    }
    const char *detail = "this resource does not take the method; Allow says which it takes";
    struct response response = response_of_problem(PROBLEM_METHOD_NOT_ALLOWED, detail);
    response.allow = route->allow;
    respond(x, &response);
}

static void respond_denied(struct exchange *x, enum problem problem, const char *detail,
                           const char *challenge)
{
    struct response response = response_of_problem(problem, detail);
    response.www_authenticate = challenge;
    respond(x, &response);
}

#define CHALLENGE "Bearer realm=\"rollcall\""

/* Answers what is not granted to those without this role, and says whether it was. */
static bool is_granted(struct exchange *x, enum token_role needed)
{
    char detail[64], challenge[96];
    const char *role = token_role_text(needed);
    switch (access_judge(x->service->access, needed, &x->request, &x->scope)) {
    case ACCESS_GRANTED:
        return true;
    case ACCESS_NO_TOKEN:
        respond_denied(x, PROBLEM_UNAUTHORIZED,
                       "a token is wanted: Authorization: Bearer, and the token", CHALLENGE);
        return false;
    case ACCESS_UNKNOWN_TOKEN:
        respond_denied(x, PROBLEM_UNAUTHORIZED, "this token is not known here",
                       CHALLENGE ", error=\"invalid_token\"");
        return false;
    case ACCESS_TOO_SMALL:
        snprintf(detail, sizeof(detail), "a token of the role %s is wanted", role);
        snprintf(challenge, sizeof(challenge),
                 CHALLENGE ", error=\"insufficient_scope\", scope=\"%s\"", role);
        respond_denied(x, PROBLEM_FORBIDDEN, detail, challenge);
        return false;
    case ACCESS_UNSET:
        respond_problem(x, PROBLEM_FORBIDDEN,
                        "this address is not loopback, and nobody said who may ask here: start "
                        "rollcall-app with --tokens FILE (ROLLCALL_TOKENS), or with --open-access "
                        "(ROLLCALL_OPEN_ACCESS=yes) to let everybody in");
        return false;
    }
    UNREACHABLE();
}

/* Whether a body of this method is read: then its handler refuses too long a one, after what it
 * refuses before. */
static bool reads_body(enum method method)
{
    return method == METHOD_POST || method == METHOD_PUT || method == METHOD_PATCH;
}

/*
 * Who may ask is judged first: unauthenticated clients cannot probe which paths exist. Then 404 and
 * 405, here; the endpoint judges the rest. (The order of an axum server, which this one replaced:
 * tests/e2e/parity.txt.)
 */
static void serve(struct exchange *x)
{
    static uint8_t body[REQUEST_BODY_BYTES_MAX]; /* one request at a time is dispatched */
    size_t body_len = 0;
    exchange_began(x);
    bool too_big = connection_body(x->connection, body, sizeof(body), &body_len) != 0;
    struct request_fault fault;
    if (request_read(connection_environment(x->connection), bytes_of(body, body_len), too_big,
                     &x->request, &fault) != 0) {
        respond_problem(x, PROBLEM_BAD_REQUEST, fault.what);
        return;
    }
    struct route route = route_find(x->request.method, x->request.path);
    if (!is_granted(x, route.role))
        return;
    x->request.user_id = route.user_id;
    x->route = route.place;
    switch (route.kind) {
    case ROUTE_HANDLER:
        if (x->request.too_big && !reads_body(x->request.method))
            respond_too_big(x);
        else if (reads_body(x->request.method) || exchange_knows_query(x, route.parameters))
            route.handler(x);
        return;
    case ROUTE_OPTIONS:
        if (exchange_knows_query(x, route.parameters))
            respond_allow(x, &route);
        return;
    case ROUTE_NOT_ALLOWED:
        respond_allow(x, &route);
        return;
    case ROUTE_NOT_FOUND:
        respond_problem(x, PROBLEM_NOT_FOUND, "there is nothing at this path");
        return;
    }
    UNREACHABLE();
}

/* --- the worker ------------------------------------------------------------------------------- */

struct worker {
    uv_loop_t loop;
    struct service service;
    struct counts *counts;
    struct fastcgi *fastcgi;
    uv_signal_t signals[SIGNALS_MAX]; /* in their places; not all are watched */
    uv_timer_t overtime;
    unsigned deadline_ms;
    bool stopping;
};

static void on_stopped(struct service *service)
{
    struct worker *worker = CONTAINER_OF(service, struct worker, service);
    uv_stop(&worker->loop);
}

/* Every request has had its deadline by now; what is left are readers that do not read. */
static void on_overtime(uv_timer_t *timer)
{
    note("stop-overtime", "text=\"connections are still open, ending anyway\"");
    uv_stop(timer->loop);
}

static void stop(struct worker *worker, int signal)
{
    if (worker->stopping)
        return;
    worker->stopping = true;
    note("stopping", "signal=%d", signal);
    uv_timer_start(&worker->overtime, on_overtime, worker->deadline_ms + 1000, 0);
    fastcgi_stop(worker->fastcgi);
}

/* Reads the file of the tokens; 0 when what it says holds from now on. */
static int load_tokens(void)
{
    struct access_fault fault;
    int error = access_load(&who_may, &fault);
    if (error != 0)
        note("tokens-refused", "file=%s line=%u text=\"%s\"", who_may.path, fault.line, fault.what);
    else if (who_may.path != NULL)
        note("tokens-loaded", "file=%s count=%zu", who_may.path, who_may.count);
    return error;
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct worker *worker = handle->data;
    switch (signal) {
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
        stop(worker, signal);
        return;
    case SIGHUP:
        counts_tokens_refused(worker->counts, load_tokens() != 0);
        return;
    default:
        supervisor_ignored(signal);
    }
}

static int watch_signals(struct worker *worker)
{
    /* After FCGX_Init, which sets handlers of its own, for SIGPIPE even where it was ignored. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    int error = 0;
    for (int number = 1; number < SIGNALS_MAX && error == 0; number++) {
        uv_signal_t *handle = &worker->signals[number];
        if (signal_is_left_alone(number))
            continue;
        handle->data = worker;
        error = uv_signal_init(&worker->loop, handle);
        error = error != 0 ? error : uv_signal_start(handle, on_signal, number);
    }
    sigset_t signals;
    supervisor_signals(&signals);
    sigaddset(&signals, SIGCHLD); /* the parent's */
    if (error == 0 && sigprocmask(SIG_UNBLOCK, &signals, NULL) != 0)
        error = -errno;
    return error;
}

static int worker_init(struct worker *worker, const struct options *options)
{
    worker->deadline_ms = options->deadline_ms;
    worker->service.access = &who_may;
    const struct fastcgi_events events = {
        .service = &worker->service,
        .on_open = exchange_open,
        .on_close = exchange_close,
        .on_request = serve,
        .on_hangup = exchange_hung_up,
        .on_room = exchange_on_room,
        .on_stopped = on_stopped,
    };
    int error = uv_loop_init(&worker->loop);
    error = error != 0 ? error : uv_timer_init(&worker->loop, &worker->overtime);
    error = error != 0 ? error
                       : node_client_open(&worker->loop, options->node, options->deadline_ms,
                                          &worker->service.node);
    error = error != 0 ? error : fastcgi_open(&worker->loop, LISTEN_FD, &events, &worker->fastcgi);
    return error != 0 ? error : watch_signals(worker);
}

/* The process's status. */
static int worker_run(const struct options *options, struct counts *counts, unsigned place)
{
    static struct worker worker;
    worker.service.counts = worker.counts = counts;
    worker.service.slot = counts_start(counts, place);
    int error = worker_init(&worker, options);
    if (error != 0) {
        note("start-failed", "text=\"%s\"", uv_strerror(error));
        return 1;
    }
    note("worker-up", "node=%s deadline_ms=%u", options->node, options->deadline_ms);
    uv_run(&worker.loop, UV_RUN_DEFAULT);
    note("stopped", "status=0");
    return 0;
}

/* A connection is a descriptor, and the usual soft limit of 1024 is kept only for select(). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct options options;
    umask(077);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* it would hold users and tokens */
    switch (options_read(argc, argv, &options)) {
    case OPTIONS_EXIT_0:
        return 0;
    case OPTIONS_EXIT_2:
        return 2;
    case OPTIONS_RUN:
        break;
    }
    if (!fastcgi_is_listening(LISTEN_FD)) {
        fprintf(stderr, "rollcall-app: standard input is no listening socket; "
                        "start it by spawn-fcgi (see --help)\n");
        return 2;
    }
    access_init(&who_may, options.tokens, options.open_access);
    if (load_tokens() != 0)
        return 1; /* not 2: it may be mended while this is tried again */
    raise_descriptor_limit();
    /* libfcgi allocates two buffers of 8 KiB a request, and glibc tidies up its fast bins at every
     * allocation of that size: without them a request costs a tenth less. */
    (void)mallopt(M_MXFAST, 0);
    static const struct supervised worker = {.run = worker_run, .reload = load_tokens};
    int status = supervisor_run(&options, &worker);
    access_done(&who_may);
    return status;
}
