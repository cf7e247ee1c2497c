/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus metrics. The registry is process-wide. A metric is registered before the threads that use it start, and
 * lives until the process ends. Any thread may update it, without a lock.
 *
 * `name`, `help` and `labels` are copied. `labels` is the text between the braces, e.g. "stage=\"admit\"", or "". A
 * name may be registered with several labels; its help is that of the first registration, and its type must be the
 * same. Registering a name and labels again returns the same metric. */
#pragma once

#include <stdint.h>

#include "base/strbuf.h"

struct metric;

struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
/* Registers a gauge whose value `read` returns at each scrape. `read` runs on the scraping thread and must not register
 * metrics. Registering the gauge again replaces `read` and `arg`; a NULL `read` hides it. When the function returns,
 * the old `read` is neither running nor called again, so that its `arg` may be freed. */
void metrics_gauge_fn(const char *name, const char *help, const char *labels, double (*read)(void *arg), void *arg);
/* Does the same for a counter. */
void metrics_counter_fn(const char *name, const char *help, const char *labels, double (*read)(void *arg), void *arg);
/* `bounds` are n_bounds ascending upper bounds, which are copied; +Inf is added. */
struct metric *metrics_histogram(const char *name, const char *help, const char *labels, const double *bounds,
                                 int n_bounds);

void metric_add(struct metric *metric, int64_t n);                     /* counters (n >= 0) and gauges */
void metric_set(struct metric *metric, double value);                  /* gauges */
void metric_observe(struct metric *metric, double value);              /* histograms */
void metric_observe_n(struct metric *metric, double value, int64_t n); /* the same value n times */
double metric_value(const struct metric *metric);                      /* counters and gauges; a histogram's count */

/* Bounds for latencies in seconds, from 50 µs to 10 s, and for batch sizes, the powers of two from 1 to 16384. */
extern const double METRICS_SECONDS[];
extern const int METRICS_SECONDS_N;
extern const double METRICS_SIZES[];
extern const int METRICS_SIZES_N;

/* Appends all metrics in Prometheus's text format 0.0.4. */
void metrics_render(struct strbuf *out);
