/*
 * SipHash-2-4: a short keyed hash (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input
 * PRF", 2012). The same on every processor, so that what is made of it may be compared by nodes.
 */
#ifndef ROLLCALL_BASE_SIPHASH_H
#define ROLLCALL_BASE_SIPHASH_H

#include "raft/base/bytes.h"

/* The key's 16 bytes as two little-endian numbers. */
struct siphash_key {
    uint64_t low, high;
};

uint64_t siphash(struct siphash_key key, struct bytes bytes);

#endif
