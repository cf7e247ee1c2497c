/* SPDX-License-Identifier: Apache-2.0 */
/* What `couponctl top` shows: the coupons, their rates since the last look, and the server's own metrics. No terminal,
 * no network; one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "coupon/v1/coupon.pb-c.h"

#define TOP_NAME_SIZE   40
#define TOP_REASONS_MAX 48 /* more than reason.h has */
#define TOP_STAGES_MAX  16
#define TOP_LABEL_SIZE  32

struct top_coupon {
    int64_t id, quantity, accepted, issued;
    double accepted_per_s, issued_per_s;  /* 0 at the first look */
    char name[TOP_NAME_SIZE], status[16]; /* without control characters */
};

/* A number of the metrics with a label, such as a reason. */
struct top_number {
    char label[TOP_LABEL_SIZE];
    double value, per_s;
};

/* The metrics of one instance, or of several together. */
struct top_metrics {
    size_t n_instances; /* that answered; 0: nothing is known */
    struct top_number refused[TOP_REASONS_MAX], queues[TOP_STAGES_MAX];
    size_t n_refused, n_queues;
    double relay_lag, issue_lag, in_flight;
};

/* One look at the server. Zeroed at first. */
struct top_look {
    int64_t at_us; /* clock_mono_us */
    struct top_coupon *coupons;
    size_t n, capacity;
    struct top_metrics metrics;
};
void top_look_deinit(struct top_look *look);
void top_look_add(struct top_look *look, const Coupon__V1__Coupon *coupon);
/* Reads the metrics of one instance, in Prometheus' text format. */
void top_metrics_read(struct top_metrics *metrics, const char *text);
/* Adds an instance. Each instance reports the relay's whole lag, so that one is not summed: the largest counts. */
void top_metrics_add(struct top_metrics *all, const struct top_metrics *one);
/* Computes the rates since an earlier look at the same server. Those of refusals stay 0 while the number of instances
 * changes: a sum over other instances is no rate. */
void top_look_compare(struct top_look *look, const struct top_look *before);

enum top_order { TOP_BY_RATE, TOP_BY_LEFT, TOP_BY_ID, TOP_ORDERS };
void top_look_sort(struct top_look *look, enum top_order order);

struct top_view {
    const char *server, *error; /* error: of the last attempt; NULL: none */
    enum top_order order;
    size_t first;    /* the coupon at the top */
    int rows, width; /* of the terminal; rows 0: no limit, and no line about keys */
    size_t n_asked;  /* instances that were asked for metrics */
    bool has_colors;
};
/* Appends the screen: lines of at most `width` characters. */
void top_render(struct strbuf *out, const struct top_look *look, const struct top_view *view);
/* How many coupons the screen has room for. */
size_t top_room(const struct top_look *look, const struct top_view *view);
