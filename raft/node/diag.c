#include "raft/node/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void diag(const char *event, const char *format, ...)
{
    char line[2048];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof(line), "time=%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + used, sizeof(line) - used, ".%03ldZ event=%s ",
                        now.tv_nsec / 1000000, event);
    used += (size_t)more;

    va_list arguments;
    va_start(arguments, format);
    more = vsnprintf(line + used, sizeof(line) - used - 1, format, arguments);
    va_end(arguments);
    used += more > 0 ? (size_t)more : 0;
    if (used > sizeof(line) - 2)
        used = sizeof(line) - 2; /* cut, with its newline */
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0)
        return; /* nowhere left to say so */
}
