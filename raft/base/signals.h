/*
 * Which signals a program must take a position on: what it does not handle, or block, ends it
 * without a word.
 */
#ifndef ROLLCALL_BASE_SIGNALS_H
#define ROLLCALL_BASE_SIGNALS_H

#include "raft/base/attr.h"

#include <signal.h>

/* Linux has 64, from 1 on. */
#define SIGNALS_MAX 65

/* Not so: those that cannot be had, those of a bug in this process, those without effect by
 * themselves, and those that turn into the error of a call when they are ignored (SIGPIPE,
 * SIGXFSZ). */
static inline bool signal_is_left_alone(int number)
{
    static const int alone[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,
                                SIGABRT, SIGTRAP, SIGSYS,  SIGTSTP, SIGTTIN, SIGTTOU,
                                SIGCONT, SIGCHLD, SIGURG,  SIGPIPE, SIGXFSZ, SIGWINCH};
    for (size_t i = 0; i < ARRAY_LEN(alone); i++) {
        if (number == alone[i])
            return true;
    }
    return number >= 32 && number < SIGRTMIN; /* the C library's own */
}

#endif
