#include "app/metrics.h"

#include "app/counts.h"
#include "app/page.h"
#include "app/route.h"

#include <stdlib.h>

/* No line of ours is longer. */
#define LINE_BYTES_MAX 192u
#define LINES_MAX \
    (COUNTS_ROUTES * COUNTS_METHODS * (COUNTS_STATUSES + COUNTS_CLASSES * METRIC_HISTOGRAM_LINES))
/* Memory of which only what is written is ever touched. */
#define PAGE_BYTES_MAX ((LINES_MAX + 32u) * LINE_BYTES_MAX + CALL_METRICS_BYTES_MAX)

_Static_assert(METHOD_OTHER < COUNTS_METHODS, "each method has its place");

/* --- the workers' part ------------------------------------------------------------------------ */

static const char *method_text(enum method method)
{
    switch (method) {
    case METHOD_GET:
        return "GET";
    case METHOD_HEAD:
        return "HEAD";
    case METHOD_POST:
        return "POST";
    case METHOD_PUT:
        return "PUT";
    case METHOD_PATCH:
        return "PATCH";
    case METHOD_DELETE:
        return "DELETE";
    case METHOD_OPTIONS:
        return "OPTIONS";
    case METHOD_OTHER:
        return "other";
    }
    UNREACHABLE();
}

/* Labels of a route and a method, and a third. */
static void put_labels(unsigned route, enum method method, struct metric_label ret_labels[3])
{
    ret_labels[0] = (struct metric_label){"route", bytes_of_text(route_template(route))};
    ret_labels[1] = (struct metric_label){"method", bytes_of_text(method_text(method))};
}

static void put_requests(struct writer *out, const struct counts *counts, unsigned route,
                         enum method method)
{
    struct metric_label labels[3];
    put_labels(route, method, labels);
    for (unsigned i = 0; counts_status_text(i) != NULL; i++) {
        uint64_t requests = counts_requests(counts, route, method, i);
        labels[2] = (struct metric_label){"status", bytes_of_text(counts_status_text(i))};
        if (requests > 0)
            metric_sample(out, "rollcall_http_requests_total", labels, 3, requests);
    }
}

static void put_durations(struct writer *out, const struct counts *counts, unsigned route,
                          enum method method)
{
    struct metric_label labels[3];
    put_labels(route, method, labels);
    for (unsigned i = 0; i < COUNTS_CLASSES; i++) {
        struct histogram durations;
        labels[2] = (struct metric_label){"class", bytes_of_text(counts_class_text(i))};
        if (counts_durations(counts, route, method, i, &durations))
            metric_histogram(out, "rollcall_http_request_duration_seconds", labels, 3, &durations);
    }
}

/* Combinations that there was no request of have no sample. */
static void put_each(struct writer *out, const struct counts *counts,
                     void (*put)(struct writer *, const struct counts *, unsigned, enum method))
{
    for (unsigned route = 0; route_template(route) != NULL; route++)
        for (enum method method = METHOD_GET; method <= METHOD_OTHER; method++)
            put(out, counts, route, method);
}

static void put_workers(struct writer *out, const struct counts *counts)
{
    metric_family(out, "rollcall_http_requests_total", METRIC_COUNTER,
                  "Requests that this host's workers answered.");
    put_each(out, counts, put_requests);
    metric_family(out, "rollcall_http_request_duration_seconds", METRIC_HISTOGRAM,
                  "From when a worker has a request until its answer is written.");
    put_each(out, counts, put_durations);
    metric_gauge(out, "rollcall_http_requests_in_flight", "Requests that workers are answering.",
                 counts_running(counts));
    metric_gauge(out, "rollcall_workers", "Workers that this host is to have.",
                 counts_slots(counts));
    metric_counter(out, "rollcall_worker_starts_total",
                   "Workers started; what is above rollcall_workers replaced one that ended.",
                   counts_starts(counts));
    metric_gauge(out, "rollcall_tokens_refused",
                 "1 when the file of tokens was no good at the last reload: the old ones hold.",
                 counts_are_tokens_refused(counts));
}

/* --- the page --------------------------------------------------------------------------------- */

/* `node` is NULL when it is away. */
static void answer(struct exchange *x, const struct call_metrics_response *node)
{
    uint8_t *store = malloc(PAGE_BYTES_MAX);
    if (store == NULL) {
        respond_refused(x, "out of memory");
        return;
    }
    struct writer text = writer_of(store, PAGE_BYTES_MAX);
    metric_gauge(&text, "rollcall_node_up", "1 when the node of this host answers its workers.",
                 node != NULL);
    put_workers(&text, x->service->counts);
    if (node != NULL)
        put_raw(&text, node->text);
    assert(!text.bad);
    struct response response = {
        .status = 200,
        .content_type = "text/plain; version=0.0.4; charset=utf-8",
        .cache_control = "no-store",
    };
    page_respond(x, &response, writer_bytes(&text), store);
}

static void on_metrics_answer(struct node_call *call, const struct node_answer *given)
{
    struct exchange *x = exchange_of(call);
    switch (given->kind) {
    case NODE_METRICS:
        if (given->metrics->text.len <= CALL_METRICS_BYTES_MAX) {
            answer(x, given->metrics);
            return;
        }
        node_client_distrust(x->service->node, "its metrics are too long");
        answer(x, NULL);
        return;
    case NODE_REFUSED:
        answer(x, NULL);
        return;
    case NODE_WRITTEN:
    case NODE_USERS:
    case NODE_STATUS:
    case NODE_UNKNOWN:
        break; /* never the answer to a question for the metrics */
    }
    UNREACHABLE();
}

void handle_metrics(struct exchange *x)
{
    x->call.ask.kind = CALL_METRICS;
    x->call.on_answer = on_metrics_answer;
    /* Metrics are about now: no waiting for a node to come back. */
    if (!node_client_connected(x->service->node) ||
        node_client_ask(x->service->node, &x->call) != 0)
        answer(x, NULL);
}
