/*
 * A whole stack of a test's own: nginx, workers, node and Redis, brought up by deploy/local in a
 * temporary folder and on ports that the kernel said were free.
 *
 * Whatever happens to the test, a guardian process takes the stack down and removes the folder when
 * the test's process ends; when it ended badly, the guardian shows the ends of the logs first.
 *
 * Every function here fails the test itself when it cannot do what it says.
 */
#ifndef ROLLCALL_TESTS_E2E_STACK_H
#define ROLLCALL_TESTS_E2E_STACK_H

#include "raft/base/attr.h"

#include <sys/types.h>

struct stack {
    char dir[64];      /* deploy/local's D */
    char node_dir[80]; /* deploy/node's D, of node 1 */
    int nodes;
    int port;     /* the front's; node I's nginx has port + I */
    int guardian; /* a pipe: its end tells the guardian that the test is over */
    pid_t guardian_pid;
};

/* Folder, ports and guardian; nothing runs yet. Settings are put into the environment before. */
struct stack stack_prepare(void);
/* stack_prepare, and all of it runs. */
struct stack stack_start(void);
/* The same with more than one node, all on loopback. */
struct stack stack_prepare_nodes(int nodes);
struct stack stack_start_nodes(int nodes);
/* Stops everything, fails the test when a log tells of a bug (sanitizers, assertions), cleans up.
 */
void stack_stop(struct stack *stack);

/* deploy/local: brings back what is missing; takes all down. */
void stack_up(struct stack *stack);
void stack_down(struct stack *stack);
/* deploy/node up, for node 1 alone. */
void stack_node_up(struct stack *stack);

/* The pid in a pid file of node 1 ("raft.pid", "redis.pid", …), or of the front ("../front.pid").
 */
pid_t stack_pid(const struct stack *stack, const char *file);
/* The workers' pids, as app.pid names them; how many of the two it names at this moment. */
int stack_workers(const struct stack *stack, pid_t ret_workers[2]);
/* kill -9, and waits until that process is gone. */
void stack_kill(pid_t pid);
bool process_lives(pid_t pid);

/*
 * Runs a shell command with D, N (node 1's folder), P (the port), NODES and ROOT set; its exit
 * code.
 */
int stack_shell(const struct stack *stack, const char *command, char *ret_output, size_t size);

/* What is waited for comes at once on a machine that has time: only a hang takes so long. */
#define HANGS_AFTER_S 300

/* Waits until `holds` does: for so long, and never less than a busy machine may need. */
bool wait_for(bool (*holds)(void *context), void *context, int seconds);
void sleep_ms(int ms);
long now_ms(void);

#endif
