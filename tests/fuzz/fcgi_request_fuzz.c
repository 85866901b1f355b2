/*
 * What stands between the web server's bytes and libfcgi: a request that is taken for whole must be
 * so at no shorter length, whatever the bytes. The worker's own source is compiled in, since the
 * fuzzers are linked with nothing of app/.
 */
#include "app/fcgi_request.c" /* NOLINT(bugprone-suspicious-include) */

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of its own, so that the sanitizer sees a read beyond the end. */
static enum fcgi_request_state scan_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    enum fcgi_request_state found = fcgi_request_state(bytes_of(copy, size));
    free(copy);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum fcgi_request_state found = scan_copy(data, size);
    if (size == 0)
        return 0;
    enum fcgi_request_state before = scan_copy(data, size - 1);
    if (found == FCGI_REQUEST_WHOLE && before != FCGI_REQUEST_PARTIAL)
        abort();
    if (found == FCGI_REQUEST_PARTIAL && before != FCGI_REQUEST_PARTIAL)
        abort();
    if (before == FCGI_REQUEST_WHOLE && found != FCGI_REQUEST_BROKEN)
        abort();
    return 0;
}
