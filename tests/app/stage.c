#include "tests/app/stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

long ms_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void ms_sleep(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* --- processes -------------------------------------------------------------------------------- */

/* A child that ends with the test, its stderr in a file. */
static pid_t spawn(const char *stderr_path, char *const *argv)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_DFL); /* as a shell leaves it; ours is ignored */
    int fd = open(stderr_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int null = open("/dev/null", O_RDWR);
    if (fd < 0 || null < 0 || getppid() != parent)
        _exit(126);
    dup2(null, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    closefrom(3);
    execvp(argv[0], argv);
    _exit(127);
}

/* Waits for the test to end, however it does, and removes its folder. */
static void start_guardian(struct stage *stage)
{
    int ends[2];
    cr_assert(eq(int, pipe2(ends, O_CLOEXEC), 0));
    stage->guardian_pid = fork();
    cr_assert(stage->guardian_pid >= 0);
    if (stage->guardian_pid == 0) {
        char byte;
        setsid(); /* a Ctrl-C is not for it */
        close(ends[1]);
        closefrom(ends[0] + 1);
        (void)!read(ends[0], &byte, 1);
        execlp("rm", "rm", "-rf", stage->dir, (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    stage->guardian = ends[1];
}

static void path_in(const struct stage *stage, const char *name, char ret_path[128])
{
    snprintf(ret_path, 128, "%s/%s", stage->dir, name);
}

/* Beside this test's own binary. */
static void program_path(char ret_path[512])
{
    char self[400] = "";
    cr_assert(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    const char *given = getenv("ROLLCALL_BIN");
    snprintf(ret_path, 512, "%s/rollcall-app", given != NULL ? given : dirname(self));
}

bool stage_said(const struct stage *stage, const char *text)
{
    char path[128];
    path_in(stage, "app.log", path);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    static char said[1 << 20];
    size_t len = fread(said, 1, sizeof(said) - 1, file);
    fclose(file);
    said[len] = '\0';
    return strstr(said, text) != NULL;
}

void stage_write_tokens(const struct stage *stage, const char *text)
{
    char path[128];
    path_in(stage, "tokens", path);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

void stage_app_start(struct stage *stage, struct stage_options options)
{
    char program[512], node[128], pids[128], log[128], deadline[16], workers[16];
    program_path(program);
    path_in(stage, "raft.sock", node);
    path_in(stage, "app.pid", pids);
    path_in(stage, "app.log", log);
    unlink(log);
    snprintf(deadline, sizeof(deadline), "%u",
             options.deadline_ms > 0 ? options.deadline_ms : 2000);
    snprintf(workers, sizeof(workers), "%u", options.workers);
    char tokens[128], *access = options.open_access ? "--open-access" : NULL;
    path_in(stage, "tokens", tokens);
    if (options.tokens != NULL) {
        stage_write_tokens(stage, options.tokens);
        access = "--tokens";
    }
    /* -n: spawn-fcgi becomes the program, so that we have its pid and it dies with us. */
    /* clang-format off */
    char *argv[] = {"spawn-fcgi", "-n", "-s", stage->app_sock, "-b", "1024", "--", program,
                    "--node", node, "--pid-file", pids, "--deadline-ms", deadline,
                    "--workers", workers, access, options.tokens != NULL ? tokens : NULL, NULL};
    /* clang-format on */
    stage->app = spawn(log, argv);
    WAIT_UNTIL(stage_said(stage, "event=worker-up"), 10000);
    if (stage->node_runs)
        WAIT_UNTIL(stage_said(stage, "event=node-up"), 10000);
}

static void wait_gone(pid_t pid, int *ret_status)
{
    long until = ms_now() + HANGS_AFTER_MS;
    while (waitpid(pid, ret_status, WNOHANG) == 0) {
        if (ms_now() > until) {
            kill(pid, SIGKILL);
            cr_assert(false, "process %d does not end", (int)pid);
        }
        ms_sleep(2);
    }
}

int stage_app_stop(struct stage *stage)
{
    int status = -1;
    kill(stage->app, SIGTERM);
    wait_gone(stage->app, &status);
    stage->app = 0;
    return status;
}

void stage_node_start(struct stage *stage)
{
    fake_node_start(&stage->node);
    stage->node_runs = true;
}

void stage_node_stop(struct stage *stage)
{
    fake_node_stop(&stage->node);
    stage->node_runs = false;
}

/* --- nginx: the real configuration, in this folder and at a free port ------------------------- */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&address, size) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    close(fd);
    return ntohs(address.sin_port);
}

static int tcp_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool can_connect_tcp(int port)
{
    int fd = tcp_connect(port);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void start_nginx(struct stage *stage)
{
    char command[1024], config[128], log[128];
    stage->port = free_port();
    snprintf(command, sizeof(command),
             "mkdir -p %s/log %s/tmp && cp deploy/guard.conf deploy/watchers.conf "
             "deploy/headers.conf deploy/problems.conf deploy/log.conf %s/ && "
             "sed 's|/var/lib/rollcall|%s|g; s|127.0.0.1:8080|127.0.0.1:%d|g; "
             "s|^worker_processes.*|worker_processes 2;|' nginx.conf > %s/nginx.conf",
             stage->dir, stage->dir, stage->dir, stage->dir, stage->port, stage->dir);
    FILE *shell = popen(command, "r");
    cr_assert(shell != NULL && pclose(shell) == 0, "run the tests from the top of the tree");
    path_in(stage, "nginx.conf", config);
    path_in(stage, "log/nginx.log", log);
    char directives[64] = "daemon off;";
    if (getuid() == 0)
        snprintf(directives, sizeof(directives), "daemon off; user root root;");
    char *argv[] = {"nginx", "-c", config, "-e", log, "-g", directives, NULL};
    stage->nginx = spawn(log, argv);
    WAIT_UNTIL(can_connect_tcp(stage->port), 10000);
}

/* --- life ------------------------------------------------------------------------------------- */

struct stage *stage_start(struct stage_options options)
{
    signal(SIGPIPE, SIG_IGN);
    struct stage *stage = calloc(1, sizeof(*stage));
    cr_assert(stage != NULL);
    snprintf(stage->dir, sizeof(stage->dir), "/tmp/rollcall-app-XXXXXX");
    cr_assert(mkdtemp(stage->dir) != NULL);
    start_guardian(stage);
    snprintf(stage->app_sock, sizeof(stage->app_sock), "%s/app.sock", stage->dir);
    char node[128];
    path_in(stage, "raft.sock", node);
    fake_node_init(&stage->node, node);
    if (!options.without_node)
        stage_node_start(stage);
    stage_app_start(stage, options);
    if (options.nginx)
        start_nginx(stage);
    return stage;
}

void stage_stop(struct stage *stage)
{
    int status = 0;
    if (stage->nginx > 0) {
        kill(stage->nginx, SIGTERM);
        wait_gone(stage->nginx, &status);
    }
    if (stage->app > 0)
        cr_expect(eq(int, stage_app_stop(stage), 0));
    cr_expect(not(stage_said(stage, "ERROR: AddressSanitizer")));
    cr_expect(not(stage_said(stage, "ERROR: LeakSanitizer")));
    cr_expect(not(stage_said(stage, "runtime error")));
    if (stage->node_runs)
        stage_node_stop(stage);
    fake_node_done(&stage->node);
    close(stage->guardian);
    waitpid(stage->guardian_pid, NULL, 0);
    free(stage);
}

/* --- what is known about processes ------------------------------------------------------------ */

unsigned stage_pids(const struct stage *stage, pid_t *ret_pids, unsigned max)
{
    char path[128];
    path_in(stage, "app.pid", path);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "no pid file");
    unsigned count = 0;
    int pid;
    while (fscanf(file, "%d", &pid) == 1) {
        cr_assert(count < max);
        ret_pids[count++] = pid;
    }
    fclose(file);
    return count;
}

pid_t stage_worker(const struct stage *stage)
{
    pid_t pid;
    cr_assert(eq(uint, stage_pids(stage, &pid, 1), 1));
    return pid;
}

long process_kib(pid_t pid, const char *what)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, what, strlen(what)) == 0)
            kib = atol(line + strlen(what) + 1);
    fclose(file);
    return kib;
}

/* --- FastCGI ---------------------------------------------------------------------------------- */

int fcgi_connect(const struct stage *stage)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", stage->app_sock);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0, "%s",
              strerror(errno));
    return fd;
}

void fcgi_send_bytes(int fd, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the reply will tell */
        bytes.at += sent;
        bytes.len -= (size_t)sent;
    }
}

void fcgi_send(int fd, const struct fcgi_ask *ask)
{
    size_t size = ask->body.len + (64 << 10);
    uint8_t *at = malloc(size);
    struct writer out = writer_of(at, size);
    put_request(&out, ask);
    cr_assert(not(out.bad));
    fcgi_send_bytes(fd, writer_bytes(&out));
    free(at);
}

/* Reads exactly so much, before the time is up; false otherwise, and *closed says why. */
static bool read_exactly(int fd, void *at, size_t len, long until, bool *closed)
{
    uint8_t *to = at;
    while (len > 0) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        long left = until - ms_now();
        if (left <= 0 || poll(&poll_fd, 1, (int)left) == 0)
            return false;
        ssize_t got = read(fd, to, len);
        if (got <= 0) {
            *closed = true;
            return false;
        }
        to += got;
        len -= (size_t)got;
    }
    return true;
}

/* CGI output, byte by byte into head and body. */
static void take_output(struct reply *reply, const uint8_t *at, size_t len)
{
    size_t head_len = strlen(reply->head);
    bool in_head = strstr(reply->head, "\r\n\r\n") == NULL;
    for (size_t i = 0; i < len; i++) {
        if (in_head && head_len + 1 < sizeof(reply->head)) {
            reply->head[head_len++] = (char)at[i];
            in_head = head_len < 4 || memcmp(reply->head + head_len - 4, "\r\n\r\n", 4) != 0;
        } else {
            if (reply->body_len < REPLY_BODY_MAX)
                reply->body[reply->body_len] = (char)at[i];
            reply->body_len++;
        }
    }
}

struct reply *fcgi_receive(int fd, int timeout_ms)
{
    struct reply *reply = calloc(1, sizeof(*reply));
    bool is_look = timeout_ms < 1000;
    long until = ms_now() + (is_look || timeout_ms > HANGS_AFTER_MS ? timeout_ms : HANGS_AFTER_MS);
    static uint8_t content[65536 + 256];
    uint8_t header[8];
    while (read_exactly(fd, header, sizeof(header), until, &reply->closed)) {
        size_t len = (size_t)header[4] << 8 | header[5];
        cr_assert(eq(u8, header[0], 1));
        if (!read_exactly(fd, content, len + header[6], until, &reply->closed))
            break;
        if (header[1] == RECORD_STDOUT)
            take_output(reply, content, len);
        if (header[1] == RECORD_END) {
            reply->ended = true;
            break;
        }
    }
    sscanf(reply->head, "Status: %d", &reply->status);
    return reply;
}

struct reply *fcgi_ask(const struct stage *stage, const struct fcgi_ask *ask)
{
    int fd = fcgi_connect(stage);
    fcgi_send(fd, ask);
    struct reply *reply = fcgi_receive(fd, HANGS_AFTER_MS);
    close(fd);
    return reply;
}

struct reply *fcgi_post(const struct stage *stage, const char *body)
{
    return fcgi_ask(stage, &(struct fcgi_ask){.method = "POST", .body = bytes_of_text(body)});
}

struct reply *fcgi_get(const struct stage *stage, const char *uri)
{
    return fcgi_ask(stage, &(struct fcgi_ask){.uri = uri});
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[512];
    char start[64];
    value[0] = '\0';
    snprintf(start, sizeof(start), "\n%s: ", name);
    const char *at = strstr(reply->head, start);
    if (at != NULL)
        sscanf(at + strlen(start), "%511[^\r]", value);
    return value;
}

/* --- HTTP ------------------------------------------------------------------------------------- */

struct reply *http_ask(const struct stage *stage, const char *method, const char *uri,
                       const char *body)
{
    int fd = tcp_connect(stage->port);
    if (fd < 0)
        return NULL;
    char request[8192];
    int len = snprintf(request, sizeof(request),
                       "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       method, uri, body != NULL ? strlen(body) : 0, body != NULL ? body : "");
    fcgi_send_bytes(fd, bytes_of(request, (size_t)len));
    struct reply *reply = calloc(1, sizeof(*reply));
    static _Thread_local uint8_t chunk[65536];
    ssize_t got;
    while ((got = read(fd, chunk, sizeof(chunk))) > 0)
        take_output(reply, chunk, (size_t)got);
    close(fd);
    reply->closed = got < 0;
    if (sscanf(reply->head, "HTTP/1.1 %d", &reply->status) != 1) {
        free(reply);
        return NULL;
    }
    size_t length = (size_t)-1;
    const char *at = strstr(reply->head, "\nContent-Length: ");
    if (at != NULL)
        sscanf(at + 17, "%zu", &length);
    reply->ended = length == reply->body_len;
    return reply;
}
