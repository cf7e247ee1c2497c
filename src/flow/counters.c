/* SPDX-License-Identifier: Apache-2.0 */
/* The counters; see counters.h. The metrics registry owns the metrics. */
#include "flow/counters.h"

#include <stdio.h>

#include "base/log.h"
#include "base/metrics.h"

static struct metric *accepted, *issued, *rejected, *dead_lettered, *refused[REASONS], *refused_early;

static double log_lost(void *arg) {
    (void)arg;
    return (double)log_lost_lines();
}

void counters_register(void) {
    accepted = metrics_counter("couponsd_accepted_total", "Tickets given by this process.", "");
    issued = metrics_counter("couponsd_issued_total", "Coupons issued by this process.", "");
    rejected = metrics_counter("couponsd_rejected_total", "Accepted tickets that could not be issued.", "");
    dead_lettered = metrics_counter("couponsd_dead_letters_total", "Events that were put aside as dead letters.", "");
    metrics_counter_fn("couponsd_log_lost_lines_total", "Log lines that could not be written.", "", log_lost, NULL);
    for (int reason = REASON_NONE + 1; reason < REASONS; reason++) {
        char labels[64];
        snprintf(labels, sizeof labels, "reason=\"%s\"", reason_info((enum reason)reason)->name);
        refused[reason] = metrics_counter("couponsd_refused_total", "Calls refused, by reason.", labels);
    }
    refused_early = metrics_counter("couponsd_refused_early_total",
                                    "Calls of couponsd_refused_total that were refused before gRPC read them.", "");
}

static void add(struct metric *metric, int64_t n) {
    if (metric)
        metric_add(metric, n);
}

void counters_accepted(int64_t n) {
    add(accepted, n);
}

void counters_issued(int64_t n) {
    add(issued, n);
}

void counters_rejected(int64_t n) {
    add(rejected, n);
}

void counters_dead_lettered(int64_t n) {
    add(dead_lettered, n);
}

void counters_refused(enum reason reason) {
    add(refused[reason], 1);
}

void counters_refused_early(enum reason reason, int64_t n) {
    add(refused[reason], n);
    add(refused_early, n);
}
