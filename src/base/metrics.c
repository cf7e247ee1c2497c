/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of metrics, and its text format; see metrics.h.
 *
 *   family   a metric's name with its help and type; it has a metric for each set of labels
 *
 * Families and metrics are lists in the order of registration. `registry.lock` guards them. They are never freed, so
 * pointers to metrics stay valid and updates take no lock. Rendering holds the lock while it calls the functions of
 * metrics_gauge_fn, so a function that was replaced is no longer running. */
#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

struct metric {
    struct metric *next;
    enum kind kind;
    char *labels;
    _Atomic int64_t count; /* counters */
    _Atomic double value;  /* gauges; the sum of a histogram */

    double (*read)(void *arg); /* metrics_gauge_fn and metrics_counter_fn; may be NULL */
    void *arg;
    bool is_read; /* the value comes from `read`; the metric is hidden while that is NULL */

    int n_bounds;
    double *bounds;            /* n_bounds */
    _Atomic uint64_t *buckets; /* n_bounds + 1; the last is +Inf; each value is counted in one bucket only */
};

struct family {
    struct family *next;
    enum kind kind;
    char *name, *help;
    struct metric *metrics;
};

static struct {
    pthread_mutex_t lock;
    struct family *families;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

const double METRICS_SECONDS[] = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                  0.05,    0.1,    0.25,    0.5,    1,     2.5,    5,     10};
const int METRICS_SECONDS_N = sizeof METRICS_SECONDS / sizeof METRICS_SECONDS[0];
const double METRICS_SIZES[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const int METRICS_SIZES_N = sizeof METRICS_SIZES / sizeof METRICS_SIZES[0];

static struct family *family_of(const char *name, const char *help, enum kind kind) {
    struct family **link = &registry.families;
    for (; *link; link = &(*link)->next) {
        if (strcmp((*link)->name, name) != 0)
            continue;
        if ((*link)->kind != kind)
            abort(); /* a defect: the caller registers one name with two types, which no scraper accepts */
        return *link;
    }
    struct family *family = memory_must(calloc(1, sizeof *family));
    family->kind = kind;
    family->name = memory_must(strdup(name));
    family->help = memory_must(strdup(help));
    *link = family;
    return family;
}

/* Finds or adds a metric. The caller holds the lock. */
static struct metric *metric_of(const char *name, const char *help, const char *labels, enum kind kind,
                                const double *bounds, int n_bounds) {
    struct metric **link = &family_of(name, help, kind)->metrics;
    for (; *link; link = &(*link)->next) {
        if (strcmp((*link)->labels, labels) == 0)
            return *link;
    }
    struct metric *metric = memory_must(calloc(1, sizeof *metric));
    metric->kind = kind;
    metric->labels = memory_must(strdup(labels));
    if (kind == KIND_HISTOGRAM) {
        size_t n = (size_t)n_bounds;
        metric->n_bounds = n_bounds;
        metric->bounds = memory_must(malloc((n + 1) * sizeof *bounds));
        memcpy(metric->bounds, bounds, n * sizeof *bounds);
        metric->buckets = memory_must(calloc(n + 1, sizeof *metric->buckets));
    }
    *link = metric;
    return metric;
}

static struct metric *register_metric(const char *name, const char *help, const char *labels, enum kind kind,
                                      const double *bounds, int n_bounds) {
    pthread_mutex_lock(&registry.lock);
    struct metric *metric = metric_of(name, help, labels, kind, bounds, n_bounds);
    pthread_mutex_unlock(&registry.lock);
    return metric;
}

struct metric *metrics_counter(const char *name, const char *help, const char *labels) {
    return register_metric(name, help, labels, KIND_COUNTER, NULL, 0);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *labels) {
    return register_metric(name, help, labels, KIND_GAUGE, NULL, 0);
}

struct metric *metrics_histogram(const char *name, const char *help, const char *labels, const double *bounds,
                                 int n_bounds) {
    return register_metric(name, help, labels, KIND_HISTOGRAM, bounds, n_bounds);
}

static void register_fn(const char *name, const char *help, const char *labels, enum kind kind,
                        double (*read)(void *arg), void *arg) {
    pthread_mutex_lock(&registry.lock);
    struct metric *metric = metric_of(name, help, labels, kind, NULL, 0);
    metric->is_read = true;
    metric->read = read;
    metric->arg = arg;
    pthread_mutex_unlock(&registry.lock);
}

void metrics_gauge_fn(const char *name, const char *help, const char *labels, double (*read)(void *arg), void *arg) {
    register_fn(name, help, labels, KIND_GAUGE, read, arg);
}

void metrics_counter_fn(const char *name, const char *help, const char *labels, double (*read)(void *arg), void *arg) {
    register_fn(name, help, labels, KIND_COUNTER, read, arg);
}

static void add_double(_Atomic double *sum, double n) {
    double old = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(sum, &old, old + n, memory_order_relaxed, memory_order_relaxed))
        ;
}

void metric_add(struct metric *metric, int64_t n) {
    if (metric->kind == KIND_GAUGE)
        add_double(&metric->value, (double)n);
    else
        atomic_fetch_add_explicit(&metric->count, n, memory_order_relaxed);
}

void metric_set(struct metric *metric, double value) {
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_observe(struct metric *metric, double value) {
    metric_observe_n(metric, value, 1);
}

void metric_observe_n(struct metric *metric, double value, int64_t n) {
    int bucket = 0;
    while (bucket < metric->n_bounds && value > metric->bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], (uint64_t)n, memory_order_relaxed);
    add_double(&metric->value, value * (double)n);
}

double metric_value(const struct metric *metric) {
    switch (metric->kind) {
    case KIND_COUNTER:
        return (double)atomic_load_explicit(&metric->count, memory_order_relaxed);
    case KIND_GAUGE:
        return atomic_load_explicit(&metric->value, memory_order_relaxed);
    case KIND_HISTOGRAM:
        break;
    }
    uint64_t count = 0;
    for (int i = 0; i <= metric->n_bounds; i++)
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
    return (double)count;
}

/* Writes the shortest decimal that parses to the same double, so that 0.1 is written as 0.1. */
static const char *format_number(double value, char text[static 32]) {
    if (isnan(value))
        return "NaN";
    if (isinf(value))
        return value > 0 ? "+Inf" : "-Inf";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

/* Adds one line. `suffix` is e.g. "_bucket"; `bound` is the value of le=, or NULL. */
static void render_sample(struct strbuf *out, const struct family *family, const struct metric *metric,
                          const char *suffix, const char *bound, double value) {
    char text[32];
    bool has_labels = metric->labels[0] != '\0';
    strbuf_printf(out, "%s%s", family->name, suffix);
    if (has_labels || bound)
        strbuf_printf(out, "{%s", metric->labels);
    if (bound)
        strbuf_printf(out, "%sle=\"%s\"", has_labels ? "," : "", bound);
    if (has_labels || bound)
        strbuf_puts(out, "}");
    strbuf_printf(out, " %s\n", format_number(value, text));
}

static void render_histogram(struct strbuf *out, const struct family *family, const struct metric *metric) {
    /* _count is the sum of the buckets rather than a counter of its own, so that each scrape is consistent. */
    uint64_t count = 0;
    for (int i = 0; i <= metric->n_bounds; i++) {
        char text[32];
        const char *bound = i < metric->n_bounds ? format_number(metric->bounds[i], text) : "+Inf";
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        render_sample(out, family, metric, "_bucket", bound, (double)count);
    }
    double sum = atomic_load_explicit(&metric->value, memory_order_relaxed);
    render_sample(out, family, metric, "_sum", NULL, sum);
    render_sample(out, family, metric, "_count", NULL, (double)count);
}

static void render_header(struct strbuf *out, const struct family *family) {
    static const char *const types[] = {
        [KIND_COUNTER] = "counter", [KIND_GAUGE] = "gauge", [KIND_HISTOGRAM] = "histogram"};
    strbuf_printf(out, "# HELP %s ", family->name);
    for (const char *p = family->help; *p; p++) {
        if (*p == '\n')
            strbuf_puts(out, "\\n");
        else if (*p == '\\')
            strbuf_puts(out, "\\\\");
        else
            strbuf_add(out, p, 1);
    }
    strbuf_printf(out, "\n# TYPE %s %s\n", family->name, types[family->kind]);
}

static void render_metric(struct strbuf *out, const struct family *family, const struct metric *metric) {
    if (metric->kind == KIND_HISTOGRAM)
        render_histogram(out, family, metric);
    else if (!metric->is_read)
        render_sample(out, family, metric, "", NULL, metric_value(metric));
    else if (metric->read)
        render_sample(out, family, metric, "", NULL, metric->read(metric->arg));
}

void metrics_render(struct strbuf *out) {
    pthread_mutex_lock(&registry.lock);
    for (const struct family *family = registry.families; family; family = family->next) {
        render_header(out, family);
        for (const struct metric *metric = family->metrics; metric; metric = metric->next)
            render_metric(out, family, metric);
    }
    pthread_mutex_unlock(&registry.lock);
}
