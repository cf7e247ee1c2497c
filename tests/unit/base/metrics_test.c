/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/metrics.h"

static void expect_rendered(const char *expected) {
    struct strbuf out = {0};
    strbuf_puts(&out, "");
    metrics_render(&out);
    cr_expect_str_eq(out.data, expected);
    strbuf_deinit(&out);
}

Test(metrics, an_empty_registry_renders_nothing) {
    expect_rendered("");
}

Test(metrics, a_counter_counts) {
    struct metric *metric = metrics_counter("requests_total", "Requests.", "");
    expect_rendered("# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total 0\n");
    metric_add(metric, 3);
    metric_add(metric, 4000000000);
    cr_expect_eq(metric_value(metric), 4000000003.0);
    expect_rendered("# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total 4000000003\n");
}

Test(metrics, a_gauge_is_set_and_moved) {
    struct metric *metric = metrics_gauge("depth", "Items waiting.", "stage=\"gate\"");
    metric_set(metric, 2.5);
    metric_add(metric, -4);
    cr_expect_eq(metric_value(metric), -1.5);
    expect_rendered("# HELP depth Items waiting.\n# TYPE depth gauge\ndepth{stage=\"gate\"} -1.5\n");
}

Test(metrics, labels_of_a_name_stand_together_under_one_header) {
    metrics_counter("a_total", "First.", "x=\"1\"");
    metrics_gauge("b", "Other.", "");
    metrics_counter("a_total", "Not shown.", "x=\"2\"");
    expect_rendered("# HELP a_total First.\n# TYPE a_total counter\na_total{x=\"1\"} 0\na_total{x=\"2\"} 0\n"
                    "# HELP b Other.\n# TYPE b gauge\nb 0\n");
}

Test(metrics, registering_again_returns_the_same) {
    char name[] = "a_total", labels[] = "x=\"1\"";
    struct metric *metric = metrics_counter(name, "Help.", labels);
    name[0] = 'z', labels[0] = 'z'; /* the registry has copied them */
    cr_expect_eq(metrics_counter("a_total", "Help.", "x=\"1\""), metric);
    cr_expect_neq(metrics_counter("a_total", "Help.", "x=\"2\""), metric);
}

Test(metrics, a_histogram_is_cumulative_and_bounds_belong_to_their_bucket) {
    static const double bounds[] = {0.001, 0.1, 2};
    struct metric *metric = metrics_histogram("took_seconds", "Time.", "", bounds, 3);
    metric_observe(metric, 0.0005);
    metric_observe(metric, 0.001);
    metric_observe(metric, 0.0625);
    metric_observe(metric, 7);
    cr_expect_eq(metric_value(metric), 4);
    expect_rendered("# HELP took_seconds Time.\n"
                    "# TYPE took_seconds histogram\n"
                    "took_seconds_bucket{le=\"0.001\"} 2\n"
                    "took_seconds_bucket{le=\"0.1\"} 3\n"
                    "took_seconds_bucket{le=\"2\"} 3\n"
                    "took_seconds_bucket{le=\"+Inf\"} 4\n"
                    "took_seconds_sum 7.064\n"
                    "took_seconds_count 4\n");
}

Test(metrics, le_comes_after_the_labels_of_a_histogram) {
    static const double bounds[] = {1};
    metric_observe(metrics_histogram("size", "Sizes.", "stage=\"admit\"", bounds, 1), 1);
    expect_rendered("# HELP size Sizes.\n"
                    "# TYPE size histogram\n"
                    "size_bucket{stage=\"admit\",le=\"1\"} 1\n"
                    "size_bucket{stage=\"admit\",le=\"+Inf\"} 1\n"
                    "size_sum{stage=\"admit\"} 1\n"
                    "size_count{stage=\"admit\"} 1\n");
}

Test(metrics, numbers_are_written_as_prometheus_reads_them) {
    metric_set(metrics_gauge("g", "G.", "n=\"0\""), 0.1);
    metric_set(metrics_gauge("g", "G.", "n=\"1\""), 1.0 / 3);
    metric_set(metrics_gauge("g", "G.", "n=\"2\""), INFINITY);
    metric_set(metrics_gauge("g", "G.", "n=\"3\""), -INFINITY);
    metric_set(metrics_gauge("g", "G.", "n=\"4\""), NAN);
    metric_set(metrics_gauge("g", "G.", "n=\"5\""), 1e300);
    expect_rendered("# HELP g G.\n# TYPE g gauge\n"
                    "g{n=\"0\"} 0.1\ng{n=\"1\"} 0.3333333333333333\ng{n=\"2\"} +Inf\ng{n=\"3\"} -Inf\ng{n=\"4\"} NaN\n"
                    "g{n=\"5\"} 1e+300\n");
}

Test(metrics, help_is_escaped) {
    metrics_gauge("g", "one\\two\nthree", "");
    expect_rendered("# HELP g one\\\\two\\nthree\n# TYPE g gauge\ng 0\n");
}

static double read_number(void *arg) {
    return *(double *)arg;
}

Test(metrics, a_read_gauge_is_asked_at_each_rendering) {
    double value = 1;
    metrics_gauge_fn("g", "G.", "", read_number, &value);
    expect_rendered("# HELP g G.\n# TYPE g gauge\ng 1\n");
    value = 2;
    expect_rendered("# HELP g G.\n# TYPE g gauge\ng 2\n");
}

Test(metrics, a_read_gauge_can_be_replaced_and_taken_out) {
    double old = 1, new = 2;
    metrics_gauge_fn("g", "G.", "", read_number, &old);
    metrics_gauge_fn("g", "G.", "", read_number, &new);
    expect_rendered("# HELP g G.\n# TYPE g gauge\ng 2\n");
    metrics_gauge_fn("g", "G.", "", NULL, NULL);
    expect_rendered("# HELP g G.\n# TYPE g gauge\n");
}

Test(metrics, the_common_bounds_ascend_over_what_they_promise) {
    for (int i = 1; i < METRICS_SECONDS_N; i++)
        cr_expect_gt(METRICS_SECONDS[i], METRICS_SECONDS[i - 1]);
    cr_expect_eq(METRICS_SECONDS[0], 0.00005);
    cr_expect_eq(METRICS_SECONDS[METRICS_SECONDS_N - 1], 10);
    for (int i = 0; i < METRICS_SIZES_N; i++)
        cr_expect_eq(METRICS_SIZES[i], 1 << i);
    cr_expect_eq(METRICS_SIZES[METRICS_SIZES_N - 1], 16384);
}

enum { THREADS = 4, UPDATES = 20000 };
static struct metric *counter, *gauge, *histogram;
static atomic_bool stop_rendering;

static void *update(void *arg) {
    for (int i = 0; i < UPDATES; i++) {
        metric_add(counter, 1);
        metric_add(gauge, 2);
        metric_observe(histogram, i % 3);
    }
    return arg;
}

static void *render(void *arg) {
    while (!atomic_load(&stop_rendering)) {
        struct strbuf out = {0};
        metrics_render(&out);
        strbuf_deinit(&out);
    }
    return arg;
}

Test(metrics, no_update_is_lost_among_threads_and_scrapes) {
    static const double bounds[] = {0, 1};
    counter = metrics_counter("c_total", "C.", "");
    gauge = metrics_gauge("g", "G.", "");
    histogram = metrics_histogram("h", "H.", "", bounds, 2);
    pthread_t threads[THREADS], renderer;
    pthread_create(&renderer, NULL, render, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, update, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop_rendering, true);
    pthread_join(renderer, NULL);
    cr_expect_eq(metric_value(counter), THREADS * UPDATES);
    cr_expect_eq(metric_value(gauge), 2 * THREADS * UPDATES);
    cr_expect_eq(metric_value(histogram), THREADS * UPDATES);
}
