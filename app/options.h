/*
 * Options and environment → one struct. An option wins over its variable.
 */
#ifndef ROLLCALL_APP_OPTIONS_H
#define ROLLCALL_APP_OPTIONS_H

#include "raft/base/attr.h"

#include <stdio.h>

struct options {
    const char *node;     /* the node's unix socket */
    const char *pid_file; /* NULL: none */
    const char *tokens;   /* file of who may ask (access.h); NULL: none */
    bool open_access;     /* without tokens, and all the same from anywhere */
    unsigned deadline_ms;
    unsigned workers; /* 0: be the worker, without a supervisor */
};

enum options_verdict {
    OPTIONS_RUN,
    OPTIONS_EXIT_0, /* --help or --version was printed */
    OPTIONS_EXIT_2, /* what is wrong was said on stderr */
};

enum options_verdict options_read(int argc, char **argv, struct options *ret_options);

#endif
