/* SHA-256, and a comparison whose time says nothing. The only file that knows OpenSSL. */
#ifndef ROLLCALL_APP_DIGEST_H
#define ROLLCALL_APP_DIGEST_H

#include "raft/base/bytes.h"

#define DIGEST_BYTES 32u

void digest_sha256(struct bytes bytes, uint8_t ret_digest[static DIGEST_BYTES]);
bool digest_equal(const uint8_t a[static DIGEST_BYTES], const uint8_t b[static DIGEST_BYTES]);

#endif
