/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics in the Prometheus sense. The registry is process-wide; a metric is registered once, before the threads that
 * use it start, and lives until the process ends. Updating is for any thread and takes no lock.
 *
 * `name` and `labels` must outlive the process (literals) or are copied: they are copied. `labels` is what stands
 * between the braces, e.g. "stage=\"admit\"", or "". The same name may be registered with several labels; help and type
 * are those of the first. Registering the same name and labels again returns the same metric. */
#pragma once

#include <stdint.h>

#include "base/strbuf.h"

struct metric;

struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
/* A gauge whose value is asked for at each scrape, on the scraping thread, which must not register metrics then.
 * Registering it again replaces `read` and `arg`; with NULL for `read` it is no longer shown. After either, the old
 * function is not running and is not called again, so that what `arg` points to may be freed. */
void metrics_gauge_fn(const char *name, const char *help, const char *labels, double (*read)(void *arg), void *arg);
/* The same for what never falls. */
void metrics_counter_fn(const char *name, const char *help, const char *labels, double (*read)(void *arg), void *arg);
/* `bounds`: ascending upper bounds, `n_bounds` of them, copied; +Inf is added. */
struct metric *metrics_histogram(const char *name, const char *help, const char *labels, const double *bounds,
                                 int n_bounds);

void metric_add(struct metric *metric, int64_t n);        /* counters (n >= 0) and gauges */
void metric_set(struct metric *metric, double value);     /* gauges */
void metric_observe(struct metric *metric, double value); /* histograms */
double metric_value(const struct metric *metric);         /* counters and gauges; a histogram's count */

/* From 50 us to 10 s, for latencies in seconds; from 1 to 16384 by powers of two, for batch sizes. */
extern const double METRICS_SECONDS[];
extern const int METRICS_SECONDS_N;
extern const double METRICS_SIZES[];
extern const int METRICS_SIZES_N;

/* Adds all metrics in the text format 0.0.4. */
void metrics_render(struct strbuf *out);
