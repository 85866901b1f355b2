#include "tests/bench/samples.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void samples_add(struct samples *samples, uint64_t latency_ns)
{
    if (samples->len == samples->capacity) {
        size_t capacity = samples->capacity > 0 ? samples->capacity * 2 : 4096;
        uint64_t *at_ns = realloc(samples->at_ns, capacity * sizeof(*at_ns));
        if (at_ns == NULL)
            die("samples");
        samples->at_ns = at_ns;
        samples->capacity = capacity;
    }
    samples->at_ns[samples->len++] = latency_ns;
}

void samples_done(struct samples *samples)
{
    free(samples->at_ns);
    *samples = (struct samples){0};
}

static int by_value(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;
    return (*a > *b) - (*a < *b);
}

static double sorted_us(const struct samples *samples, double share)
{
    if (samples->len == 0)
        return 0;
    size_t rank = (size_t)(share * (double)samples->len);
    if (rank >= samples->len)
        rank = samples->len - 1;
    return (double)samples->at_ns[rank] / 1000.0;
}

double samples_us(struct samples *samples, double share)
{
    if (samples->len > 0)
        qsort(samples->at_ns, samples->len, sizeof(*samples->at_ns), by_value);
    return sorted_us(samples, share);
}

void samples_print(struct samples *samples, const char *prefix)
{
    double p50_us = samples_us(samples, 0.50);
    printf(" %scount=%zu %sp50_us=%.1f %sp99_us=%.1f %smax_us=%.1f", prefix, samples->len, prefix,
           p50_us, prefix, sorted_us(samples, 0.99), prefix, sorted_us(samples, 1.0));
}

void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            errno != 0 ? strerror(errno) : "failed");
    exit(1);
}

uint64_t number_option(const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
        fprintf(stderr, "%s: --%s=%s: not a number from %llu to %llu\n",
                program_invocation_short_name, name, text, (unsigned long long)min,
                (unsigned long long)max);
        exit(2);
    }
    return value;
}
