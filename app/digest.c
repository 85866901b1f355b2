#include "app/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

void digest_sha256(struct bytes bytes, uint8_t ret_digest[static DIGEST_BYTES])
{
    unsigned len = 0;
    int good = EVP_Digest(bytes.at, bytes.len, ret_digest, &len, EVP_sha256(), NULL);
    assert(good == 1 && len == DIGEST_BYTES);
}

bool digest_equal(const uint8_t a[static DIGEST_BYTES], const uint8_t b[static DIGEST_BYTES])
{
    return CRYPTO_memcmp(a, b, DIGEST_BYTES) == 0;
}
