#include "raft/base/crc32c.h"

#include <string.h>

#define POLYNOMIAL_REFLECTED 0x82f63b78u

uint32_t crc32c_portable(uint32_t before, struct bytes bytes)
{
    static uint32_t table[256]; /* the same values whoever fills it, so a race is harmless */
    if (table[1] == 0) {
        for (uint32_t i = 255; i > 0; i--) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = (value >> 1) ^ ((value & 1) != 0 ? POLYNOMIAL_REFLECTED : 0);
            table[i] = value;
        }
    }
    uint32_t crc = ~before;
    for (size_t i = 0; i < bytes.len; i++)
        crc = (crc >> 8) ^ table[(crc ^ bytes.at[i]) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t before, struct bytes bytes)
{
    uint64_t crc = ~before;
    const uint8_t *at = bytes.at;
    size_t left = bytes.len;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        crc = __builtin_ia32_crc32di(crc, word);
    }
    for (; left > 0; left--, at++)
        crc = __builtin_ia32_crc32qi((uint32_t)crc, *at);
    return ~(uint32_t)crc;
}

uint32_t crc32c(uint32_t before, struct bytes bytes)
{
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(before, bytes);
    return crc32c_portable(before, bytes);
}

#else

uint32_t crc32c(uint32_t before, struct bytes bytes)
{
    return crc32c_portable(before, bytes);
}

#endif
