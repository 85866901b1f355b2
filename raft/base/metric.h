/*
 * Metrics as text, in Prometheus' exposition format 0.0.4: families of HELP, TYPE and samples.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 *
 * Names keep to its conventions (base units, `_total` on counters); promtool judges them in a test.
 * Time comes in nanoseconds and is written in seconds, without floating point.
 */
#ifndef ROLLCALL_BASE_METRIC_H
#define ROLLCALL_BASE_METRIC_H

#include "raft/base/bytes.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* A value may be any UTF-8. */
struct metric_label {
    const char *name;
    struct bytes value;
};

/* A family begins: all its samples follow, and nothing else between them. `help` is one line. */
void metric_family(struct writer *out, const char *name, enum metric_type type, const char *help);
void metric_sample(struct writer *out, const char *name, const struct metric_label *labels,
                   size_t count, uint64_t value);
void metric_sample_ns(struct writer *out, const char *name, const struct metric_label *labels,
                      size_t count, uint64_t ns);

/* A family of one sample without labels. */
void metric_counter(struct writer *out, const char *name, const char *help, uint64_t value);
void metric_gauge(struct writer *out, const char *name, const char *help, uint64_t value);

/* --- histograms of time ----------------------------------------------------------------------- */

/* From 25 µs, which is a request that waits for nothing, to 10 s, twice any deadline. */
#define HISTOGRAM_BOUNDS 17u
extern const uint64_t histogram_bound_ns[HISTOGRAM_BOUNDS];

struct histogram {
    uint64_t count[HISTOGRAM_BOUNDS + 1]; /* up to this bound and over the one before; the rest */
    uint64_t sum_ns;
};

/* The place in `count` for a time. */
unsigned histogram_place(uint64_t ns);
void histogram_observe(struct histogram *histogram, uint64_t ns);
/* Its samples: one a bound, the sum and the count. */
void metric_histogram(struct writer *out, const char *name, const struct metric_label *labels,
                      size_t count, const struct histogram *histogram);
/* Of lines that metric_histogram writes. */
#define METRIC_HISTOGRAM_LINES (HISTOGRAM_BOUNDS + 3)

#endif
