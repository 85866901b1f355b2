#include "raft/base/metric.h"

#define NS_PER_S UINT64_C(1000000000)
#define US       UINT64_C(1000)
#define MS       UINT64_C(1000000)

/* --- lines ------------------------------------------------------------------------------------ */

static const char *type_text(enum metric_type type)
{
    switch (type) {
    case METRIC_COUNTER:
        return "counter";
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_HISTOGRAM:
        return "histogram";
    }
    UNREACHABLE();
}

void metric_family(struct writer *out, const char *name, enum metric_type type, const char *help)
{
    put_text(out, "# HELP ");
    put_text(out, name);
    put_text(out, " ");
    put_text(out, help);
    put_text(out, "\n# TYPE ");
    put_text(out, name);
    put_text(out, " ");
    put_text(out, type_text(type));
    put_text(out, "\n");
}

static void put_escaped(struct writer *out, struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.at[i];
        if (byte == '\n') {
            put_text(out, "\\n");
            continue;
        }
        if (byte == '\\' || byte == '"')
            put_u8(out, '\\');
        put_u8(out, byte);
    }
}

/* Seconds, with as many decimals as it takes and no more. */
static void put_seconds(struct writer *out, uint64_t ns)
{
    uint64_t part = ns % NS_PER_S;
    put_decimal(out, ns / NS_PER_S);
    if (part == 0)
        return;
    put_text(out, ".");
    for (uint64_t unit = NS_PER_S / 10; part > 0; unit /= 10) {
        put_u8(out, (uint8_t)('0' + part / unit));
        part %= unit;
    }
}

/* `bound_ns`: NULL where there is no `le`, UINT64_MAX for the infinite one. */
static void put_line_head(struct writer *out, const char *name, const char *suffix,
                          const struct metric_label *labels, size_t count, const uint64_t *bound_ns)
{
    put_text(out, name);
    put_text(out, suffix);
    for (size_t i = 0; i < count; i++) {
        put_text(out, i == 0 ? "{" : ",");
        put_text(out, labels[i].name);
        put_text(out, "=\"");
        put_escaped(out, labels[i].value);
        put_text(out, "\"");
    }
    if (bound_ns != NULL) {
        put_text(out, count == 0 ? "{le=\"" : ",le=\"");
        if (*bound_ns == UINT64_MAX)
            put_text(out, "+Inf");
        else
            put_seconds(out, *bound_ns);
        put_text(out, "\"");
    }
    put_text(out, count > 0 || bound_ns != NULL ? "} " : " ");
}

void metric_sample(struct writer *out, const char *name, const struct metric_label *labels,
                   size_t count, uint64_t value)
{
    put_line_head(out, name, "", labels, count, NULL);
    put_decimal(out, value);
    put_text(out, "\n");
}

void metric_sample_ns(struct writer *out, const char *name, const struct metric_label *labels,
                      size_t count, uint64_t ns)
{
    put_line_head(out, name, "", labels, count, NULL);
    put_seconds(out, ns);
    put_text(out, "\n");
}

void metric_counter(struct writer *out, const char *name, const char *help, uint64_t value)
{
    metric_family(out, name, METRIC_COUNTER, help);
    metric_sample(out, name, NULL, 0, value);
}

void metric_gauge(struct writer *out, const char *name, const char *help, uint64_t value)
{
    metric_family(out, name, METRIC_GAUGE, help);
    metric_sample(out, name, NULL, 0, value);
}

/* --- histograms ------------------------------------------------------------------------------- */

const uint64_t histogram_bound_ns[HISTOGRAM_BOUNDS] = {
    25 * US, 100 * US, 250 * US, 500 * US, MS,        2500 * US, 5 * MS,    10 * MS,    25 * MS,
    50 * MS, 100 * MS, 250 * MS, 500 * MS, 1000 * MS, 2500 * MS, 5000 * MS, 10000 * MS,
};

unsigned histogram_place(uint64_t ns)
{
    unsigned place = 0;
    while (place < HISTOGRAM_BOUNDS && ns > histogram_bound_ns[place])
        place++;
    return place;
}

void histogram_observe(struct histogram *histogram, uint64_t ns)
{
    histogram->count[histogram_place(ns)]++;
    histogram->sum_ns += ns;
}

void metric_histogram(struct writer *out, const char *name, const struct metric_label *labels,
                      size_t count, const struct histogram *histogram)
{
    uint64_t so_far = 0;
    for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        uint64_t bound_ns = i < HISTOGRAM_BOUNDS ? histogram_bound_ns[i] : UINT64_MAX;
        so_far += histogram->count[i];
        put_line_head(out, name, "_bucket", labels, count, &bound_ns);
        put_decimal(out, so_far);
        put_text(out, "\n");
    }
    put_line_head(out, name, "_sum", labels, count, NULL);
    put_seconds(out, histogram->sum_ns);
    put_text(out, "\n");
    put_line_head(out, name, "_count", labels, count, NULL);
    put_decimal(out, so_far);
    put_text(out, "\n");
}
