/*
 * Latencies of one measurement, kept whole and sorted once at its end, and the clock they are read
 * from. Nanoseconds inside, microseconds in print.
 */
#ifndef ROLLCALL_BENCH_SAMPLES_H
#define ROLLCALL_BENCH_SAMPLES_H

#include "raft/base/attr.h"

struct samples {
    uint64_t *at_ns;
    size_t len;
    size_t capacity;
};

/* CLOCK_MONOTONIC. */
uint64_t now_ns(void);

/* Zero-initialized is empty. Out of memory ends the program. */
void samples_add(struct samples *samples, uint64_t latency_ns);
void samples_done(struct samples *samples);

/* Sorts; the value that `share` (0..1) of all samples do not exceed, 0 when there are none. */
double samples_us(struct samples *samples, double share);

/* " count=… p50_us=… p99_us=… max_us=…", each key begun with `prefix`. */
void samples_print(struct samples *samples, const char *prefix);

/* Ends the program: "program: what: strerror" on stderr, status 1. */
_Noreturn void die(const char *what);

/* A decimal number in [min, max], or the program ends saying which option was wrong. */
uint64_t number_option(const char *name, const char *text, uint64_t min, uint64_t max);

#endif
