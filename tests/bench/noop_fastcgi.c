/*
 * The ceiling: the fastest FastCGI program on libfcgi that does nothing. An epoll loop over kept
 * connections; each request is read whole, body included, and answered with bytes from a file.
 *
 *     noop_fastcgi --socket PATH --post FILE --get FILE [--processes 1]
 *
 * FILE holds an answer as a FastCGI program writes it: "Status: …", headers, empty line, body.
 *
 * Driving libfcgi from a loop rests on two facts of the public FCGX_Request: FCGX_Accept_r reads
 * from `ipcFd` where the caller has set it to a connection that it accepted itself (and
 * `keepConnection` with it), and FCGX_Finish_r leaves that descriptor open where nginx asked to
 * keep it. nginx sends a request in one go, so a readable connection holds a whole one and the read
 * does not wait.
 */
#include "tests/bench/samples.h"

#include <errno.h>
#include <fcgiapp.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG       1024
#define EVENTS        256
#define PROCESSES_MAX 8

struct answer {
    char *at;
    int len;
};

struct program {
    int listen_fd;
    int epoll_fd;
    struct answer post;
    struct answer get;
};

static struct answer answer_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die(path);
    static char buffer[1u << 20];
    size_t len = fread(buffer, 1, sizeof(buffer), file);
    if (ferror(file) || len == 0 || len == sizeof(buffer))
        die(path);
    fclose(file);
    struct answer answer = {.at = malloc(len), .len = (int)len};
    if (answer.at == NULL)
        die("malloc");
    memcpy(answer.at, buffer, len);
    return answer;
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        die(path);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        chmod(path, 0666) != 0 || listen(fd, BACKLOG) != 0)
        die(path);
    return fd;
}

static void accept_all(struct program *program)
{
    for (;;) {
        int fd = accept4(program->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED)
                return;
            die("accept");
        }
        FCGX_Request *request = malloc(sizeof(*request));
        if (request == NULL || FCGX_InitRequest(request, -1, 0) != 0)
            die("FCGX_InitRequest");
        request->ipcFd = fd;
        request->keepConnection = 1; /* else FCGX_Accept_r begins by closing it */
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = request};
        if (epoll_ctl(program->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            die("epoll_ctl");
    }
}

static void serve(const struct program *program, FCGX_Request *request)
{
    /* At the end of a connection libfcgi closes it and then fails to accept on -1. */
    if (FCGX_Accept_r(request) < 0) {
        free(request);
        return;
    }
    const char *method = FCGX_GetParam("REQUEST_METHOD", request->envp);
    bool post = method != NULL && strcmp(method, "POST") == 0;
    char body[4096];
    while (FCGX_GetStr(body, sizeof(body), request->in) == (int)sizeof(body))
        ;
    const struct answer *answer = post ? &program->post : &program->get;
    FCGX_PutStr(answer->at, answer->len, request->out);
    FCGX_Finish_r(request);
    if (request->ipcFd < 0)
        free(request);
}

_Noreturn static void loop(struct program *program)
{
    program->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event listening = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = NULL};
    if (program->epoll_fd < 0 ||
        epoll_ctl(program->epoll_fd, EPOLL_CTL_ADD, program->listen_fd, &listening) != 0)
        die("epoll");
    static struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(program->epoll_fd, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(program);
            else
                serve(program, events[i].data.ptr);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"post", required_argument, NULL, 'p'},
        {"get", required_argument, NULL, 'g'},
        {"processes", required_argument, NULL, 'n'},
        {0},
    };
    const char *socket_path = NULL;
    const char *post_path = NULL;
    const char *get_path = NULL;
    uint64_t processes = 1;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's')
            socket_path = optarg;
        else if (option == 'p')
            post_path = optarg;
        else if (option == 'g')
            get_path = optarg;
        else if (option == 'n')
            processes = number_option("processes", optarg, 1, PROCESSES_MAX);
        else
            return 2;
    }
    if (socket_path == NULL || post_path == NULL || get_path == NULL) {
        fputs("noop_fastcgi: --socket, --post and --get are needed\n", stderr);
        return 2;
    }

    struct program program = {.post = answer_read(post_path), .get = answer_read(get_path)};
    if (FCGX_Init() != 0)
        die("FCGX_Init");
    signal(SIGTERM, SIG_DFL); /* FCGX_Init took it */
    program.listen_fd = listen_on(socket_path);
    for (uint64_t i = 1; i < processes; i++) {
        pid_t parent = getpid();
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (child == 0) {
            /* Ends with its parent, whose id is the one that others know. */
            if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
                return 1;
            break;
        }
    }
    loop(&program);
}
