#include "raft/base/metric.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static char text[8192];

static struct writer page(void)
{
    return writer_of(text, sizeof(text) - 1);
}

/* What was written, as a string. */
static const char *said(struct writer *out)
{
    cr_assert(not(out->bad));
    put_u8(out, 0);
    return text;
}

Test(metric, says_what_a_family_is_before_its_samples)
{
    struct writer out = page();
    metric_counter(&out, "a_total", "Of a.", 7);
    metric_gauge(&out, "b", "Of b.", UINT64_MAX);
    cr_assert(eq(str, (char *)said(&out),
                 "# HELP a_total Of a.\n# TYPE a_total counter\na_total 7\n"
                 "# HELP b Of b.\n# TYPE b gauge\nb 18446744073709551615\n"));
}

Test(metric, escapes_what_a_label_may_not_hold)
{
    struct writer out = page();
    const struct metric_label labels[] = {{"x", bytes_of_text("a\"b\\c\nd}")},
                                          {"y", bytes_of_text("é ,=")}};
    metric_sample(&out, "m", labels, 2, 1);
    cr_assert(eq(str, (char *)said(&out), "m{x=\"a\\\"b\\\\c\\nd}\",y=\"é ,=\"} 1\n"));
}

Test(metric, writes_seconds_with_no_more_decimals_than_they_have)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {{0, "m 0\n"},
                {1, "m 0.000000001\n"},
                {25000, "m 0.000025\n"},
                {1500000000, "m 1.5\n"},
                {UINT64_C(60000000000), "m 60\n"},
                {UINT64_MAX, "m 18446744073.709551615\n"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct writer out = page();
        metric_sample_ns(&out, "m", NULL, 0, rows[i].ns);
        cr_expect(eq(str, (char *)said(&out), (char *)rows[i].text));
    }
}

Test(metric, puts_a_time_up_to_and_with_its_bound)
{
    cr_expect(eq(uint, histogram_place(0), 0));
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        cr_expect(eq(uint, histogram_place(histogram_bound_ns[i]), i));
        cr_expect(eq(uint, histogram_place(histogram_bound_ns[i] + 1), i + 1));
    }
    cr_expect(eq(uint, histogram_place(UINT64_MAX), HISTOGRAM_BOUNDS));
}

Test(metric, counts_each_bound_with_all_below_it)
{
    struct writer out = page();
    struct histogram histogram = {.sum_ns = 0};
    const struct metric_label label = {"l", bytes_of_text("v")};
    histogram_observe(&histogram, 20000);
    histogram_observe(&histogram, 900000);
    histogram_observe(&histogram, UINT64_C(60000000000));
    metric_histogram(&out, "h", &label, 1, &histogram);
    const char *said_text = said(&out);
    static const char *const parts[] = {
        "h_bucket{l=\"v\",le=\"0.000025\"} 1\nh_bucket{l=\"v\",le=\"0.0001\"} 1\n",
        "h_bucket{l=\"v\",le=\"0.0005\"} 1\nh_bucket{l=\"v\",le=\"0.001\"} 2\n",
        "h_bucket{l=\"v\",le=\"10\"} 2\nh_bucket{l=\"v\",le=\"+Inf\"} 3\n",
        "h_sum{l=\"v\"} 60.00092\nh_count{l=\"v\"} 3\n"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        cr_expect(strstr(said_text, parts[i]) != NULL, "%s is not in\n%s", parts[i], said_text);
    unsigned lines = 0;
    for (const char *at = said_text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    cr_expect(eq(uint, lines, METRIC_HISTOGRAM_LINES));
}

Test(metric, without_labels_has_only_the_bound)
{
    struct writer out = page();
    struct histogram histogram = {.sum_ns = 0};
    metric_histogram(&out, "h", NULL, 0, &histogram);
    cr_expect(strstr(said(&out), "h_bucket{le=\"0.000025\"} 0\n") == text);
    cr_expect(strstr(text, "\nh_sum 0\nh_count 0\n") != NULL);
}

Test(metric, that_does_not_fit_is_noticed)
{
    struct writer out = writer_of(text, 40);
    metric_counter(&out, "a_total", "Of a.", 7);
    cr_assert(out.bad);
}
