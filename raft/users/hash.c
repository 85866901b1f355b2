#include "raft/users/hash.h"

#include "raft/users/command.h"

static struct siphash_key hash_key = {.low = 3, .high = 0};

void users_hash_with(struct siphash_key key)
{
    hash_key = key;
}

uint64_t users_hash(struct bytes bytes)
{
    return siphash(hash_key, bytes);
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

uint64_t users_hash_ignoring_case(struct bytes text)
{
    uint8_t at[USER_EMAIL_BYTES_MAX];
    assert(text.len <= sizeof(at));
    for (size_t i = 0; i < text.len; i++)
        at[i] = lower(text.at[i]);
    return siphash(hash_key, bytes_of(at, text.len));
}

bool users_equal_ignoring_case(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}
